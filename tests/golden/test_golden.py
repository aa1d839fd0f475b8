"""Every golden log against what was true in the guest, and against what the product said about it before."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oomsight.report.model import EventKind, OomReport

from .goldens import HERE, NAMES, carriers, expected_text, incidents, log, reports, truth

if TYPE_CHECKING:
    from oomsight.diagnose.model import Incident

WITH_KILLS = tuple(n for n in NAMES if truth(n)["kills"])
# The truth has more kills than the log: the ring buffer overflowed, or the carriers were copied before the last kill.
PARTIAL = tuple(n for n in NAMES if truth(n)["scenario"] in {"logwrap", "formats"})
KILL_LINE = re.compile(
    rb"Killed process (\d+) \((.*?)\) total-vm:(\d+)kB, anon-rss:(\d+)kB, file-rss:(\d+)kB, shmem-rss:(\d+)kB,"
    rb" UID:(\d+) pgtables:(\d+)kB oom_score_adj:(-?\d+)", re.S,
)  # fmt: skip
_KINDS = {
    "memcg": EventKind.MEMCG, "forkbomb": EventKind.MEMCG, "ratelimit": EventKind.MEMCG, "weird": EventKind.MEMCG,
    "nokillable": EventKind.NO_KILLABLE, "panic": EventKind.PANIC, "numa_cpuset": EventKind.CPUSET,
    "numa_mempolicy": EventKind.MEMPOLICY, "sysrq": EventKind.SYSRQ, "negatives": EventKind.ALLOCATION_FAILURE,
}  # fmt: skip


def victims(found: tuple[OomReport, ...]) -> list[tuple[int | None, str | None]]:
    return [(v.pid, v.comm) for r in found for v in r.victims]


def test_goldens_cover_every_kernel_and_scenario() -> None:
    kernels = [truth(n)["kernel"] for n in NAMES]
    assert len(NAMES) >= 64
    assert {k: kernels.count(k) >= 10 for k in set(kernels)} == dict.fromkeys(set(kernels), True)
    assert len(set(kernels)) == 5
    assert len({truth(n)["scenario"] for n in NAMES}) == 36
    assert sum(p.stat().st_size for p in HERE.rglob("*") if p.is_file()) < 8_000_000


@pytest.mark.parametrize("golden", NAMES)
def test_golden_is_explained_as_before(golden: str, request: pytest.FixtureRequest) -> None:
    path: Path = HERE / golden / "expected.json"
    text = expected_text(golden)
    if request.config.getoption("--update-golden", default=False):
        path.write_text(text)
    assert json.loads(text) == json.loads(path.read_text())


@pytest.mark.parametrize("golden", NAMES)
def test_every_kill_is_found_and_none_invented(golden: str) -> None:
    want = [k["pid"] for k in truth(golden)["kills"]]
    if golden in PARTIAL:
        kept = [int(m[1]) for m in KILL_LINE.finditer(log(golden))]
        want = [p for p in want if p in kept]
        assert want
    assert [pid for pid, _ in victims(reports(golden))] == want


@pytest.mark.parametrize("golden", [n for n in NAMES if truth(n)["oom_kill"] is not None and n not in PARTIAL])
def test_kills_agree_with_the_kernels_own_counter(golden: str) -> None:
    counted = truth(golden)["oom_kill"]
    # A first group victim listed again is counted again by kernels that do not skip it (reference: 1.5).
    again = sum(
        int(re.search(r"stands (\d+) times", n.text)[1]) - 1  # type: ignore[index]
        for r in reports(golden) for n in r.notes if n.code == "kill_line_repeated"
    )  # fmt: skip
    assert len(victims(reports(golden))) + again == counted


@pytest.mark.parametrize("golden", WITH_KILLS)
def test_kind_and_limit_are_those_of_the_scenario(golden: str) -> None:
    scenario = truth(golden)["scenario"]
    kind = next((k for start, k in _KINDS.items() if scenario.startswith(start)), EventKind.GLOBAL)
    kinds = {r.kind for r in reports(golden) if r.victims}
    if scenario == "sysrq_f":
        assert {EventKind.SYSRQ} <= kinds
        return
    assert kinds == {kind}
    for report in reports(golden):
        if not report.victims or report.memcg is None or report.memcg.memory is None or report.oom_memcg is None:
            continue
        limit = truth(golden)["cgroups"].get(report.oom_memcg, {}).get("memory.max")
        if limit is not None and limit.isdigit():
            assert report.memcg.memory.limit_kib == int(limit) // 1024
            assert report.memcg.memory.usage_kib <= int(limit) // 1024


@pytest.mark.parametrize("golden", WITH_KILLS)
def test_victims_are_what_proc_said(golden: str) -> None:
    """Names, users and adj exactly; memory of processes that did not change within the counters' error."""
    known = {k["pid"]: k for k in truth(golden)["kills"] if "comm" in k}
    checked = 0
    for report in reports(golden):
        for v in report.victims:
            k = known.get(v.pid)
            if k is None:
                continue
            checked += 1
            assert (v.comm, v.oom_score_adj) == (k["comm"], k["oom_score_adj"])
            assert v.uid == k["uid"]
            if v.role != "group" and k["cgroup"] and report.task_memcg:
                assert v.task_memcg == k["cgroup"]
            assert v.anon_rss_kib is not None
            assert v.file_rss_kib is not None
            rss = v.anon_rss_kib + v.file_rss_kib + (v.shmem_rss_kib or 0)
            error = 3 * 64 * k["threads"] * truth(golden)["page_size"] // 1024  # three counters of 64 cached pages a thread
            row = next((t for t in report.tasks if t.pid == v.pid), None)
            if row is not None and not row.swapents_pages:
                assert rss >= k["rss_kib"] - error  # processes of the scenarios only grow
    assert checked or not known


@pytest.mark.parametrize("golden", WITH_KILLS)
def test_fields_are_those_of_the_kill_line(golden: str) -> None:
    lines = {}
    for m in KILL_LINE.finditer(log(golden)):
        lines.setdefault(int(m[1]), [int(x) for x in m.groups()[2:]])
    for report in reports(golden):
        for v in report.victims:
            assert [v.total_vm_kib, v.anon_rss_kib, v.file_rss_kib, v.shmem_rss_kib, v.uid, v.pgtables_kib,
                    v.oom_score_adj] == lines[v.pid or 0]  # fmt: skip


@pytest.mark.parametrize("golden", WITH_KILLS)
def test_every_choice_is_explained_or_says_why_not(golden: str) -> None:
    for incident in incidents(golden):
        if not incident.report.victims:
            continue
        selection = incident.selection
        if selection is None:
            assert not incident.report.tasks
            assert "table_missing" in {n.code for n in incident.report.notes}
        elif selection.explained:
            assert selection.ranking[0].pid in {v.pid for v in incident.report.victims} | {
                v.tgid for v in incident.report.victims
            }
        else:
            assert selection.reason


def test_choices_of_whole_reports_are_explained_except_where_sysctl_forbids() -> None:
    """The kernel's arithmetic, recomputed, names the task the kernel chose: over all goldens."""
    missed = [
        (golden, incident.source.first_line)
        for golden in WITH_KILLS
        for incident in incidents(golden)
        if incident.report.complete and incident.selection is not None and not incident.selection.explained
        and not incident.report.allocating_task_killed
    ]  # fmt: skip
    assert missed == []


@pytest.mark.parametrize(
    "golden", [n for n in WITH_KILLS if {r.kind for r in reports(n)} == {EventKind.GLOBAL} and truth(n)["ranking"]]
)
def test_ranking_agrees_with_oom_score_of_proc(golden: str) -> None:
    """oom_score of /proc is badness over the same total: its order is ours for tasks that did not change since."""
    incident: Incident = next((i for i in incidents(golden) if i.selection and i.selection.ranking), incidents(golden)[0])
    if incident.selection is None or not incident.selection.ranking:
        pytest.skip("no table in the log (vm.oom_dump_tasks=0)")
    tasks = {t.pid: t for t in incident.report.tasks}
    points = {r.pid: r.points_pages for r in incident.selection.ranking}
    same = [
        t for t in truth(golden)["ranking"]
        if points.get(t["pid"]) is not None and abs(tasks[t["pid"]].rss_pages - t["rss_pages"]) <= 64
    ]  # fmt: skip
    pairs = [(a, b) for a in same for b in same if a["oom_score"] > b["oom_score"] + 4]
    assert [(a["pid"], b["pid"]) for a, b in pairs if points[a["pid"]] <= points[b["pid"]]] == []  # type: ignore[operator]


@pytest.mark.parametrize("golden", [n for n in NAMES if len(carriers(n)) > 1 and truth(n)["scenario"] != "negatives"])
def test_every_carrier_gives_the_same_incidents(golden: str) -> None:
    def facts(carrier: str) -> list[object]:
        return [
            (i.id if i.report.victims else None, i.report.kind, i.report.constraint, i.report.oom_memcg, i.report.task_memcg,
             t and (t.gfp_mask, t.order, t.pid, t.oom_score_adj),
             [(v.pid, v.role, v.total_vm_kib, v.anon_rss_kib, v.uid, v.oom_score_adj) for v in i.report.victims],
             len(i.report.tasks), i.report.complete,
             i.report.memcg and (i.report.memcg.memory, i.report.memcg.swap, i.report.memcg.memsw),
             i.report.meminfo and (i.report.meminfo.pages, i.report.meminfo.counts, len(i.report.meminfo.zones)))
            for i in incidents(golden, carrier)
            for t in [i.report.trigger]
        ]  # fmt: skip

    first, *others = carriers(golden)
    want = facts("console" if golden in PARTIAL and "console" in others else first)
    for carrier in (first, *others):
        got = facts(carrier)
        # Copies made before the last kill, or of a daemon started later, have only some.
        assert got == ([f for f in want if f in got] if golden in PARTIAL else want), carrier
        assert got


def test_spoofed_kill_line_is_not_believed_where_the_carrier_says_who_wrote_it() -> None:
    for golden in (n for n in NAMES if truth(n)["scenario"] == "negatives"):
        assert b"Killed process 4242 (spoofed)" in log(golden)
        assert victims(reports(golden, "kmsg")) == []
        assert [r.kind for r in reports(golden, "kmsg")] == [EventKind.ALLOCATION_FAILURE]


@pytest.mark.parametrize("golden", [name for name in NAMES if "weird" in name])
def test_every_event_has_its_time_whatever_its_name_holds(golden: str) -> None:
    clocks = [report.when.uptime_s for report in reports(golden, "dmesg")]
    assert None not in clocks
    assert clocks == sorted(clocks)
