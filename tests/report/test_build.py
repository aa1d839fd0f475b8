"""Drafts to reports: the oom-kill: line, kinds, page size, notes, line numbers."""

from __future__ import annotations

import pytest

from oomsight.report import parse_text
from oomsight.report.model import EventKind
from oomsight.report.summary import split_summary

from ..golden.goldens import log
from .written import Written, kmsg


@pytest.mark.parametrize(
    ("rest", "names", "want"),
    [
        (",global_oom,task_memcg=/b,task=c,pid=1,uid=2", set(), (None, "/b", "c", 1, 2)),
        (",oom_memcg=/a,task_memcg=/a/b,task=c,pid=1,uid=2", set(), ("/a", "/a/b", "c", 1, 2)),
        (",oom_memcg=/,task_memcg=/b,task=c,pid=1,uid=2", set(), ("/", "/b", "c", 1, 2)),
        (",oom_memcg=/x,task_memcg=/y,task_memcg=/x,task_memcg=/y,task=c,pid=1,uid=2", set(),
         ("/x,task_memcg=/y", "/x,task_memcg=/y", "c", 1, 2)),
        (",oom_memcg=/a,task=z,task_memcg=/a,task=z,task=c,pid=1,uid=2", {"c"}, ("/a,task=z", "/a,task=z", "c", 1, 2)),
        (",global_oom,task_memcg=/b,task=a,task=x,pid=1,uid=2", {"a,task=x"}, (None, "/b", "a,task=x", 1, 2)),
        (",global_oom,task_memcg=/b,task=a,task=x,pid=1,uid=2", {"x"}, (None, "/b,task=a", "x", 1, 2)),
        (",global_oom,task_memcg=/b,,task=c,pid=1,uid=2", set(), (None, "/b,", "c", 1, 2)),
        (", oom_memcg=/a, task_memcg=/a/b, task=c, pid=1, uid=2", set(), ("/a", "/a/b", "c", 1, 2)),
        (",task=c,pid=1,uid=2", set(), (None, None, "c", 1, 2)),
        (",global_oom,task_memcg=/b,task=c", set(), (None, "/b", "c", None, None)),
        ("", set(), (None, None, None, None, None)),
    ],
)
def test_split_summary(rest: str, names: set[str], want: tuple[object, ...]) -> None:
    assert split_summary(rest, names) == want


@pytest.mark.parametrize(
    ("constraint", "rest", "kind"),
    [
        ("CONSTRAINT_NONE", "global_oom,task_memcg=/b", EventKind.GLOBAL),
        ("CONSTRAINT_CPUSET", "global_oom,task_memcg=/b", EventKind.CPUSET),
        ("CONSTRAINT_MEMORY_POLICY", "global_oom,task_memcg=/b", EventKind.MEMPOLICY),
        ("CONSTRAINT_MEMCG", "oom_memcg=/,task_memcg=/b", EventKind.MEMCG),
    ],
)
def test_lone_summary_is_an_event_of_its_kind_without_victim(constraint: str, rest: str, kind: EventKind) -> None:
    (report,) = parse_text(f"oom-kill:constraint={constraint},nodemask=0-1,cpuset=/x,mems_allowed=0,{rest},task=c,pid=1,uid=2\n")
    assert (report.kind, report.constraint, report.victims) == (kind, constraint, [])
    assert report.selected is not None
    assert (report.selected.pid, report.selected.comm, report.selected.uid) == (1, "c", 2)


@pytest.mark.parametrize(
    ("prefix", "kind", "constraint"),
    [
        ("Out of memory", EventKind.GLOBAL, None),
        ("Memory cgroup out of memory", EventKind.MEMCG, "CONSTRAINT_MEMCG"),
        ("No available memory (MPOL_BIND)", EventKind.MEMPOLICY, "CONSTRAINT_MEMORY_POLICY"),
        ("No available memory in cpuset", EventKind.CPUSET, "CONSTRAINT_CPUSET"),
        ("Out of memory (oom_kill_allocating_task)", EventKind.GLOBAL, None),
    ],
)
def test_kind_from_the_kill_message_alone(prefix: str, kind: EventKind, constraint: str | None) -> None:
    (report,) = parse_text(f"{prefix}: Killed process 5 (a) total-vm:9kB, anon-rss:8kB, file-rss:0kB, shmem-rss:0kB\n")
    assert (report.kind, report.constraint, report.victims[0].prefix) == (kind, constraint, prefix)
    assert report.allocating_task_killed is ("allocating" in prefix)
    assert {"head_missing", "table_missing"} <= {n.code for n in report.notes}
    assert not report.complete


def test_line_numbers_point_at_the_lines() -> None:
    lines = Written().lines()
    (report,) = parse_text(b"noise\n\n" + kmsg(lines), first_line=100)
    at = {text.split(":")[0][:20]: 102 + i for i, text in enumerate(lines)}
    assert report.source.first_line == 102
    assert report.source.last_line == 101 + len(lines)
    assert report.lines["head"] == 102
    assert report.lines["cpu"] == 103
    assert report.lines["memcg"] == at["memory"]
    assert report.lines["oom_kill"] == at["oom-kill"]
    assert report.lines["kill"] == report.victims[0].line == at["Memory cgroup out of"]
    assert [t.line for t in report.tasks] == [report.lines["table_first"] + 1, report.lines["table_last"]]


@pytest.mark.parametrize(
    ("golden", "why"),
    [("5.10.262-global_swap_zram", "buddy"), ("6.18.15-memcg_nested", "victim's row")],
)
def test_page_size_is_inferred_and_says_how(golden: str, why: str) -> None:
    report = parse_text(log(golden))[0]
    assert report.page_size == 4096
    assert report.page_size_from is not None
    assert why in report.page_size_from


@pytest.mark.parametrize("size", [4, 16, 64])
def test_page_size_of_other_architectures(size: int) -> None:
    (report,) = parse_text(
        f"a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\nMem-Info:\nactive_anon:5 inactive_anon:6\n"
        f"Node 0 Normal free:5kB min:1kB\nNode 0 Normal: 1*{size}kB (U) 2*{2 * size}kB (M) = {5 * size}kB\n"
        "Out of memory: Killed process 5 (a) total-vm:9kB, anon-rss:8kB, file-rss:0kB, shmem-rss:0kB\n"
    )
    assert report.page_size == size * 1024


def test_memory_of_another_kind_of_report_is_left_out() -> None:
    """Mixed reports: what the oom-kill: line rules out is not shown as this event's."""
    lines = Written().lines()
    lines[8:8] = ["Mem-Info:", "active_anon:5 inactive_anon:6 isolated_anon:0", "81781 pages RAM"]
    (report,) = parse_text(kmsg(lines))
    assert report.meminfo is None
    assert report.memcg is not None
    assert "reports_mixed" in {n.code for n in report.notes}


def test_trigger_of_another_cpu_line_gives_no_pid() -> None:
    lines = Written().lines()
    lines[1] = lines[1].replace("asker", "stranger")
    (report,) = parse_text(kmsg(lines))
    assert report.trigger is not None
    assert (report.trigger.comm, report.trigger.pid, report.trigger.kernel_release) == ("asker", None, None)


def test_lines_after_a_glued_one_keep_the_numbers_of_their_source() -> None:
    """Undoing the damage makes two lines of one; the empty last one goes: as many as before, but not the same."""
    kill = "Out of memory: Kill process 16711 (stress) score 205 or sacrifice child Killed process 16711 (stress), UID 0,"
    text = [
        "default  Warning  nginx-b8.1  2020-11-27T17:09:24+08:00  Failed  Error: ImagePullBackOff",
        "default  Warning  node3.1  2020-11-27T19:01:09+08:00  SystemOOM  System OOM encountered, victim process: stress,"
        " pid: 16713",
        f"default  Warning  node3.2  2020-11-27T19:01:27+08:00  OOMKilling  {kill} total-vm:826516kB, anon-rss:819296kB,"
        " file-rss:0kB, shmem-rss:0kB",
        "agent  Warning  workloads.1  2020-11-27T16:57:05+08:00  DeadlineExceeded  Job was active longer than specified"
        " deadline",
        "",
    ]
    found = parse_text("\n".join(text), first_line=7)
    assert [r.source.first_line for r in found if r.victims] == [9]
