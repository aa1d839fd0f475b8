"""Which lines belong to which event."""

from __future__ import annotations

import pytest

from oomsight.report import parse_text
from oomsight.report.assemble import Assembler
from oomsight.report.carriers import strip_lines
from oomsight.report.draft import SECTION
from oomsight.report.grammar import LINE_RULES
from oomsight.report.model import EventKind

HEAD = "worker invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0"
SIZES = "total-vm:9000kB, anon-rss:8000kB, file-rss:4kB, shmem-rss:0kB, UID:7 pgtables:40kB oom_score_adj:0"


def kill(pid: int, comm: str = "worker", prefix: str = "Memory cgroup out of memory") -> str:
    return f"{prefix}: Killed process {pid} ({comm}) {SIZES}"


def summary(pid: int, comm: str = "worker") -> str:
    return (f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b,"
            f"task={comm},pid={pid},uid=7")  # fmt: skip


def log(*lines: str, start: float = 100.0, step: float = 0.0001) -> str:
    return "".join(f"[{start + i * step:12.6f}] {line}\n" for i, line in enumerate(lines))


def test_every_shape_of_a_section_is_a_line_rule() -> None:
    assert set(SECTION) - {rule.name for rule in LINE_RULES} == {"head", "cpuset"}


def test_kill_closes_its_report() -> None:
    (draft,) = Assembler(strip_lines(log(HEAD, summary(5), kill(5)).splitlines())).run()
    assert draft.closed
    assert (draft.head, [k.pid for k in draft.kills], draft.start, draft.last) == (0, [5], 0, 2)


def test_two_reports_in_a_row() -> None:
    a, b = parse_text(log(HEAD, summary(5), kill(5), HEAD.replace("worker", "other"), summary(6), kill(6)))
    assert (a.trigger and a.trigger.comm, [v.pid for v in a.victims]) == ("worker", [5])
    assert (b.trigger and b.trigger.comm, [v.pid for v in b.victims]) == ("other", [6])


def test_rate_limited_kills_have_no_trigger() -> None:
    first, *rest = parse_text(log(HEAD, summary(5), kill(5), kill(6), kill(7)))
    assert first.trigger is not None
    assert [[v.pid for v in r.victims] for r in rest] == [[6], [7]]
    assert {r.trigger for r in rest} == {None}


def test_group_kill_is_one_event_and_its_first_victim_is_counted_once() -> None:
    (report,) = parse_text(
        log(HEAD, summary(5), kill(5), "Tasks in /a are going to be killed due to memory.oom.group set", kill(6, "sh"), kill(7, "sh"), kill(5))
    )
    assert [(v.pid, v.role) for v in report.victims] == [(5, "selected"), (6, "group"), (7, "group")]
    assert report.group_memcg == "/a"
    assert "kill_line_repeated" in {n.code for n in report.notes}


def test_group_kill_ends_with_time() -> None:
    text = log(HEAD, summary(5), kill(5), "Tasks in /a are going to be killed due to memory.oom.group set", kill(6, "sh"))
    a, b = parse_text(text + log(kill(9, "late"), start=200))
    assert [v.pid for v in a.victims] == [5, 6]
    assert [(v.pid, v.role) for v in b.victims] == [(9, "selected")]


def test_kill_long_after_a_head_is_another_event() -> None:
    a, b = parse_text(log(HEAD) + log(kill(5), start=200))
    assert (a.trigger is not None, a.victims, "kill_missing" in {n.code for n in a.notes}) == (True, [], True)
    assert (b.trigger, [v.pid for v in b.victims]) == (None, [5])


def test_head_and_kill_alone_belong_together() -> None:
    (report,) = parse_text(log(HEAD, kill(5)))
    assert report.trigger is not None
    assert [v.pid for v in report.victims] == [5]


def test_host_kill_does_not_end_a_cgroup_report() -> None:
    reports = parse_text(log(HEAD, "memory: usage 5kB, limit 5kB, failcnt 1", kill(5, prefix="Out of memory")))
    killed = next(r for r in reports if r.victims)
    assert (killed.trigger, killed.memcg, killed.kind) == (None, None, EventKind.GLOBAL)


def test_leader_that_exited_is_killed_as_a_thread() -> None:
    header = "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name"
    row = "[    62]     7    61     2250     2001    40960        0             0 thread"
    (report,) = parse_text(log(HEAD, header, row, summary(61, "leader"), kill(62, "thread")))
    (victim,) = report.victims
    assert (victim.pid, victim.tgid, victim.comm, victim.role) == (62, 61, "thread", "selected")
    assert report.selected is not None
    assert (report.selected.pid, report.selected.comm) == (61, "leader")


@pytest.mark.parametrize(
    ("line", "reaped", "left"),
    [("oom_reaper: reaped process 5 (worker), now anon-rss:0kB, file-rss:4kB, shmem-rss:12kB", True, 16),
     ("oom_reaper: unable to reap pid:5 (worker)", False, None),
     ("oom_reaper: giving up pid:5 (worker)", False, None)],
)  # fmt: skip
def test_reaper_line_joins_its_kill(line: str, reaped: bool, left: int | None) -> None:
    (report,) = parse_text(log(HEAD, kill(5), line))
    assert (report.victims[0].reaped, report.victims[0].reaped_left_kib) == (reaped, left)


def test_reaper_line_alone_invents_no_victim() -> None:
    (report,) = parse_text(log("oom_reaper: reaped process 5 (worker), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB"))
    assert (report.kind, report.victims, report.reaped_only) == (EventKind.REAPER_ONLY, [], [(5, "worker")])


def test_pid_used_again_is_another_kill() -> None:
    a, b = parse_text(log(kill(5)) + log(kill(5, "other"), start=4000))
    assert [(v.pid, v.comm) for r in (a, b) for v in r.victims] == [(5, "worker"), (5, "other")]


@pytest.mark.parametrize("gap", [0.0, 900.0])
def test_same_report_twice_in_a_text(gap: float) -> None:
    """The same clock: a copy. Another clock: the process of that pid died again."""
    once = log(HEAD, summary(5), kill(5))
    reports = parse_text(once + log(HEAD, summary(5), kill(5), start=100 + gap))
    assert len(reports) == (1 if gap == 0 else 2)
    assert ("report_repeated" in {n.code for n in reports[0].notes}) is (gap == 0)


def test_copies_of_two_hosts_are_two_events() -> None:
    text = "".join(f"Nov 23 09:58:14 {host} kernel: [  100.000000] {kill(5)}\n" for host in ("db1", "db2"))
    assert len(parse_text(text)) in {1, 2}  # a bare kill line repeated next to itself
    full = "".join(
        f"Nov 23 09:58:14 {host} kernel: [  100.000000] {line}\n" for host in ("db1", "db2") for line in (HEAD, summary(5), kill(5))
    )
    assert [r.when.host for r in parse_text(full)] == ["db1", "db2"]


def test_panic_and_nobody_left() -> None:
    (report,) = parse_text(log(HEAD, "Out of memory and no killable processes...", "Kernel panic - not syncing: System is deadlocked on memory"))
    assert (report.kind, report.panic) == (EventKind.NO_KILLABLE, "Kernel panic - not syncing: System is deadlocked on memory")
    (report,) = parse_text(log(HEAD, "Kernel panic - not syncing: Out of memory: system-wide panic_on_oom is enabled"))
    assert (report.kind, report.victims) == (EventKind.PANIC, [])
    assert parse_text(log("Kernel panic - not syncing: Fatal exception in interrupt")) == []


def test_sysrq_names_its_report() -> None:
    (report,) = parse_text(log("sysrq: Manual OOM execution", HEAD.replace("order=0", "order=-1"), kill(5, prefix="Out of memory")))
    assert (report.kind, report.sysrq, report.trigger and report.trigger.order) == (EventKind.SYSRQ, True, -1)
    (ignored,) = parse_text(log("sysrq: OOM request ignored. No task eligible"))
    assert (ignored.kind, ignored.victims) == (EventKind.SYSRQ, [])


def test_other_lines_of_a_kill() -> None:
    (report,) = parse_text(log(HEAD, kill(5), "Kill process 8 (twin) sharing same memory", "oom killer 5 (worker) has mm pinned by 1 (init)"))
    assert report.sharing_killed == [(8, "twin")]
    assert report.pinned_by == ["oom killer 5 (worker) has mm pinned by 1 (init)"]
    (report,) = parse_text(log("Memory cgroup out of memory: OOM victim 12 (a) is already exiting. Skip killing the task"))
    assert (report.skipped_exiting, report.victims) == ([(12, "a")], [])
    (report,) = parse_text(log("oom_kill_process: 15 callbacks suppressed", HEAD, kill(5)))
    assert report.suppressed_callbacks == 15


def test_kills_that_openvz_only_counts_are_told_with_the_kill_they_came_with() -> None:
    def of(ub: int, number: int) -> str:
        return f"OOM killer in rage, {number} tasks killed in ub {ub}"

    first, second = "Out of memory in UB 7: OOM killed process 5 (a) score 0 vm:9kB, rss:4kB, swap:0kB", kill(6)
    counted, plain = parse_text(log(of(7, 16), first, second))
    assert (counted.killed_unnamed, counted.oom_memcg, counted.source.first_line) == (16, "UB 7", 1)
    assert [v.pid for v in counted.victims] == [5]
    assert plain.killed_unnamed is None
    # Nobody is named, and it is still a kill; two of them are two.
    alone = parse_text(log(of(7, 16), of(8, 32)))
    assert [(r.killed_unnamed, r.oom_memcg, r.victims) for r in alone] == [(16, "UB 7", []), (32, "UB 8", [])]
    # A kill long after is another event.
    late = parse_text("[ 10.000000] " + of(7, 16) + "\n[ 99.000000] " + first + "\n")
    assert [r.killed_unnamed for r in late] == [16, None]


CPU = "CPU: 2 PID: 22 Comm: asker Tainted: G  O  3.10.0-957.el7.x86_64 #1"
STACK = ["Hardware name: A", "Call Trace:", "[<ffffffff8b362e41>] dump_stack+0x19/0x1b"]
OF_OOM = ["[<ffffffff8b35d86a>] dump_header+0x90/0x229", "[<ffffffff8adba604>] oom_kill_process+0x254/0x3d0"]
CPUSET = "asker cpuset=docker-" + "3f" * 32 + ".scope mems_allowed=0"


@pytest.mark.parametrize(
    ("lines", "who", "first"),
    [
        ([CPUSET, CPU, *STACK, *OF_OOM], ("asker", 22), 1),
        ([CPU, *STACK, *OF_OOM, "Mem-Info:", "active_anon:739 inactive_anon:60531 isolated_anon:0"], ("asker", 22), 1),
        # a line of another program in between: what stands above may be of another event
        ([CPU, "sshd[7]: hello", *STACK, *OF_OOM], None, 3),
        # a warning's stack above the numbers of a kill is not who asked
        ([CPU, *STACK, "[<ffffffff8b35d86a>] warn_slowpath+0x90/0x229",
          "Memory cgroup stats for /a: cache:4KB rss:0KB rss_huge:0KB", kill(5)], None, 6),
    ],
)  # fmt: skip
def test_who_asked_is_known_from_the_lines_below_a_head_that_is_missing(lines, who, first) -> None:
    (report,) = parse_text(log(*lines))
    found = None if report.trigger is None else (report.trigger.comm, report.trigger.pid)
    assert (found, report.source.first_line, report.complete) == (who, first, False)


def test_a_footnote_below_a_table_is_no_row_of_it() -> None:
    header = "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name"
    rows = [f"[{pid:7d}]     7 {pid:5d}     2250     2001    40960        0             0 worker" for pid in (50, 51)]
    for last, notes in (('[1] commit 8cee852ec53f ("mm, procfs")', set()), ("[     52]     7    52  2250 lost", {"table_rows_damaged"})):
        (report,) = parse_text(log(header, *rows, last))
        assert {note.code for note in report.notes} & {"table_rows_damaged"} == notes


def test_text_torn_inside_two_tables_keeps_only_what_is_sure() -> None:
    """A console lost lines between two reports: the head above is not the kill's."""
    header = "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name"
    rows = [f"[{pid:7d}]     7 {pid:5d}     2250     2001    40960        0             0 worker" for pid in range(50, 60)]
    (report,) = parse_text(log(HEAD, header, *rows[:8], rows[3], *rows[4:], summary(55), kill(55)))
    assert report.trigger is None
    assert [v.pid for v in report.victims] == [55]
    assert "reports_mixed" in {n.code for n in report.notes}
    assert len({t.pid for t in report.tasks}) == len(report.tasks)


def test_kill_behind_a_later_whole_report_takes_no_earlier_head() -> None:
    """The first report's end was cut out; the last kill, rate-limited, is not its."""
    header = "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name"
    row = "[     77]     7    77     2250     2001    40960        0             0 worker"
    a, b, c = parse_text(log(HEAD, header, row, HEAD.replace("worker", "second"), summary(5), kill(5), kill(77)))
    assert (a.victims, a.trigger and a.trigger.comm) == ([], "worker")
    assert ([v.pid for v in b.victims], b.trigger and b.trigger.comm) == ([5], "second")
    assert ([v.pid for v in c.victims], c.trigger) == ([77], None)


@pytest.mark.parametrize("stamps", [("Dec  9 04:42:16", "Dec  9 19:18:26"), ("Dec  9 23:10:16", "Dec 10 01:18:26"),
                                    ("2024-12-09T04:42:16", "2024-12-10T04:42:20")])  # fmt: skip
def test_wall_clocks_keep_a_kill_from_the_head_of_hours_before(stamps: tuple[str, str]) -> None:
    head, kill = (f"{stamp} host1 kernel: " for stamp in stamps)
    lines = [
        head + "python3 invoked oom-killer: gfp_mask=0x1100cca(GFP_HIGHUSER_MOVABLE), order=0, oom_score_adj=0",
        kill + "Out of memory: Killed process 558816 (postgres) total-vm:103014104kB, anon-rss:3796kB, file-rss:1272kB",
    ]
    for text in ("\n".join(lines), "\n".join(lines[::-1])):
        told = [(r.trigger and r.trigger.comm, [v.comm for v in r.victims]) for r in parse_text(text)]
        assert sorted(told, key=str) == [("python3", []), (None, ["postgres"])]


def test_a_kill_two_seconds_and_a_midnight_behind_its_head_is_its_end() -> None:
    text = (
        "Dec  9 23:59:59 host1 kernel: python3 invoked oom-killer: gfp_mask=0x1100cca(GFP_HIGHUSER_MOVABLE), order=0\n"
        "Dec 10 00:00:01 host1 kernel: Out of memory: Killed process 9 (postgres) total-vm:10kB, anon-rss:3kB, file-rss:1kB\n"
    )
    (report,) = parse_text(text)
    assert report.trigger is not None
    assert [v.comm for v in report.victims] == ["postgres"]


HOG = "Out of memory: Kill process 3359 (a.out) score 834 or sacrifice child\n[  703.194707] Killed process 3359 (a.out) total-vm:4267252kB, anon-rss:2894908kB, file-rss:0kB\n"
NEXT = """\
[  {at}] rsyslogd invoked oom-killer: gfp_mask=0x6200ca(GFP_HIGHUSER_MOVABLE), nodemask=(null), order=0, oom_score_adj=0
[  {at}] Mem-Info:
[  {at}] active_anon:243554 inactive_anon:3457 isolated_anon:0
[  {at}]  free:{free} free_pcp:502 free_cma:0
[  {at}] Out of memory: Kill process 1089 (java) score 52 or sacrifice child
[  {at}] Killed process 1089 (java) total-vm:5555688kB, anon-rss:181976kB, file-rss:0kB
"""


@pytest.mark.parametrize(
    ("at", "free", "noted"),
    [("703.203016", 562331, True), ("703.203016", 12000, False), ("723.203016", 562331, False)],
    ids=["came back", "not yet", "later"],
)
def test_a_kill_while_the_memory_of_another_comes_back(at: str, free: int, noted: bool) -> None:
    first, second = parse_text("[  703.190058] " + HOG + NEXT.format(at=at, free=free))
    assert [v.comm for v in (*first.victims, *second.victims)] == ["a.out", "java"]
    assert ("kill_just_before" in {n.code for n in second.notes}) is noted
