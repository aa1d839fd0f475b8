"""A report or a live snapshot as a :class:`~oomsight.simulate.whatif.Moment`: the input of ``simulate``'s what-ifs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomsight.kernel.badness import TaskFacts, rule_by_name
from oomsight.kernel.constraint import Total
from oomsight.kernel.release import parse_release
from oomsight.kernel.selection import Candidate
from oomsight.naming.marked import Kind, mark
from oomsight.score.rules import facts, is_init, memory_reader
from oomsight.simulate.whatif import Moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oomsight.diagnose.model import Incident
    from oomsight.proc.memcg import Memcg
    from oomsight.report.model import Task
    from oomsight.score.model import Rules, Snapshot


def moment_of_incident(incident: Incident) -> Moment | str:
    """The moment of a kernel OOM report, or why it holds none."""
    report, view = incident.report, incident.selection
    if view is None or not report.tasks:
        return "the report has no task table: nobody knows who else could have died"
    rule = rule_by_name(view.rule)
    if rule is None:
        return f"the badness rule {view.rule} is not known"
    page_size = report.page_size or 4096
    memcg = report.oom_memcg or "/"
    victims = {v.tgid or v.pid for v in report.victims}
    tasks, freeable, exact = [], {}, True
    for task in report.tasks:
        # A report names the cgroup of the victim and of the limit, and of nobody else.
        path = report.task_memcg if task.tgid in victims and report.task_memcg else memcg
        tasks.append(Candidate(pid=task.tgid, comm=task.comm, memcg=path, facts=_facts(task)))
        anon = task.rss_anon_pages
        exact = exact and anon is not None
        tables = (task.pgtables_bytes or 0) // page_size
        freeable[task.tgid] = (task.rss_pages if anon is None else anon) + (task.swapents_pages or 0) + tables
    trigger = report.trigger
    info = report.meminfo
    swap_kib = info.total_swap_kib if info is not None else None
    block = report.memcg.memory if report.memcg is not None else None
    order = trigger.order if trigger is not None and trigger.order is not None else 0
    return Moment(
        source=f"the report in {mark(report.source.name, Kind.FILE)}",
        tasks=tuple(tasks), rule=rule, rule_why=view.rule_why,
        release=parse_release(trigger.kernel_release) if trigger else None,
        total=Total(view.total_pages or 0, view.total_pages_from or "not known"),
        total_exact=view.total_pages is not None and (report.oom_memcg is None or swap_kib is not None),
        constraint="CONSTRAINT_MEMCG" if report.oom_memcg else "CONSTRAINT_NONE",
        oom_memcg=memcg, page_size=page_size, need_pages=1 << max(order, 0), freeable_pages=freeable,
        freeable_exact=exact, charged_pages={memcg: block.usage_kib * 1024 // page_size} if block is not None else {},
        swap_pages=(swap_kib or 0) * 1024 // page_size,
        allocating_pid=trigger.pid if trigger else None, kill_allocating=report.allocating_task_killed,
        died=tuple(pid for pid in victims if pid is not None),
    )  # fmt: skip


def _facts(task: Task) -> TaskFacts:
    return TaskFacts(
        rss_pages=task.rss_pages, swap_pages=task.swapents_pages, pgtables_bytes=task.pgtables_bytes,
        nr_ptes=task.nr_ptes, nr_pmds=task.nr_pmds, oom_score_adj=task.oom_score_adj,
        cap_sys_admin=task.uid == 0,  # not printed; the best guess there is
        total_vm_pages=task.total_vm_pages, oom_adj=task.oom_adj, is_init=task.tgid == 1,
    )  # fmt: skip


def moment_of_snapshot(snapshot: Snapshot, rules: Rules, cgroups: Mapping[str, Memcg]) -> Moment:
    """The moment of a live machine, were it to run out of memory now."""
    machine = snapshot.machine
    read = memory_reader(machine, rules.era)
    page_kib = max(machine.page_size >> 10, 1)
    tasks, freeable = [], {}
    for process in snapshot.processes:
        if process.stat.is_kthread:
            continue
        memory = read(process)
        status = process.status
        tasks.append(Candidate(
            pid=process.pid, comm=process.comm, memcg=process.cgroup or "", mm=process.shares_with,
            facts=facts(process, memory, machine), in_vfork=process.in_vfork and not is_init(process),
        ))  # fmt: skip
        anon = memory.rss_pages if status.rss_anon_kib is None else status.rss_anon_kib // page_kib
        freeable[process.pid] = anon + memory.swap_pages + memory.pgtables_bytes // machine.page_size
    return Moment(
        source="the live machine", tasks=tuple(tasks), rule=rules.rule, rule_why=rules.words, release=rules.release,
        total=machine.total, page_size=machine.page_size, freeable_pages=freeable, swap_pages=machine.swap_pages,
        charged_pages={path: memcg.need_bytes // machine.page_size for path, memcg in cgroups.items()
                       if memcg.need_bytes is not None},
        oom_group=frozenset(path for path, memcg in cgroups.items() if memcg.oom_group),
        cgroup_version=next((memcg.version for memcg in cgroups.values()), 2),
    )  # fmt: skip
