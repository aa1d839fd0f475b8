"""
Events without a log line: from the ``oom:mark_victim`` tracepoint or from a cgroup's counter alone.

Used where the kernel log cannot be read (no CAP_SYSLOG, a container). They say what the source says and no more; a
tracepoint that prints sizes (6.9, also in 5.15.215 and 6.1.192) gives the event the id its log line would give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oomsight.diagnose.explain import explain_report
from oomsight.live.events import Kill, LiveEvent, Stage, kill_id, weigh
from oomsight.report.model import EventKind, Note, OomReport, Span, Victim, When

if TYPE_CHECKING:
    from oomsight.live.counters import CgroupChange


@dataclass(frozen=True, slots=True)
class Mark:
    """One ``oom:mark_victim``: the kernel has decided that this thread's process dies."""

    pid: int
    time_us: int
    comm: str | None = None
    uid: int | None = None
    total_vm_kib: int | None = None
    anon_rss_kib: int | None = None
    file_rss_kib: int | None = None
    shmem_rss_kib: int | None = None
    pgtables_kib: int | None = None
    oom_score_adj: int | None = None


def event_of_mark(mark: Mark, boot_id: str | None, time: str | None, cgroup: str | None = None) -> LiveEvent:
    """Return the event *mark* tells of; *time* is ISO 8601, *cgroup* the victim's where it could still be read."""
    text = "seen through the tracepoint oom:mark_victim: the kernel log cannot be read, the report is not known"
    victim = Victim(
        mark.pid, mark.comm, uid=mark.uid, total_vm_kib=mark.total_vm_kib, anon_rss_kib=mark.anon_rss_kib,
        file_rss_kib=mark.file_rss_kib, shmem_rss_kib=mark.shmem_rss_kib, pgtables_kib=mark.pgtables_kib,
        oom_score_adj=mark.oom_score_adj, task_memcg=cgroup,
    )  # fmt: skip
    report = _report("oom:mark_victim", time, boot_id, mark.time_us, text)
    report.victims, report.task_memcg = [victim], cgroup
    kill = Kill(kill_id(boot_id, mark.time_us, mark.pid), mark.pid, mark.comm, mark.time_us)
    return _event(report, kill.kill_id, (kill,), boot_id, mark.time_us)


def event_of_count(change: CgroupChange, boot_id: str | None, time: str, time_us: int) -> LiveEvent:
    """Return the event of kills that only the counters of a cgroup tell of."""
    count = change.grown.get("oom_kill", 0)
    file = "memory.events" if change.version == 2 else "memory.oom_control"
    text = f"only counted, by {file}: the kernel log cannot be read"
    report = _report(f"cgroup v{change.version}", time, boot_id, time_us, text)
    report.task_memcg = change.path
    if change.grown.get("oom"):
        report.kind, report.oom_memcg = EventKind.MEMCG, change.path
    report.victims = [Victim(None, None, task_memcg=change.path) for _ in range(count)]
    name = f"{change.path} {change.now.get('oom_kill')}"
    kills = tuple(Kill(kill_id(boot_id, time_us, n, name), None, None, time_us) for n in range(count))
    return _event(report, kills[0].kill_id if kills else kill_id(boot_id, time_us, None, name), kills, boot_id, time_us)


def _report(source: str, time: str | None, boot_id: str | None, time_us: int, note: str) -> OomReport:
    when = When(time=time, uptime_s=time_us / 1e6, boot_id=boot_id)
    # The constraint is not known, only that a kill was done: what reaper lines without their report are, too.
    return OomReport(
        EventKind.REAPER_ONLY, Span(source, 0, 0), when, notes=[Note("no_log", None, note)], container_lost=True
    )


def _event(
    report: OomReport, event_id: str, kills: tuple[Kill, ...], boot_id: str | None, time_us: int
) -> LiveEvent:
    incident = explain_report(report)
    return LiveEvent(
        event_id, Stage.COMPLETE, incident, kills, boot_id, time_us, report.source.name, b"", weigh(incident)
    )
