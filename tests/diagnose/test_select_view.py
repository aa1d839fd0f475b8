"""The recomputed choice: tables of real kernels, and every way the real choice may differ from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.diagnose.select_view import selection
from oomsight.naming.marked import unmark
from oomsight.report.model import (
    EventKind,
    Memcg,
    MemcgLine,
    MemInfo,
    OomReport,
    Selected,
    Span,
    Task,
    Trigger,
    Victim,
)


def row(  # noqa: PLR0917 - reads like the kernel's row
    pid: int, uid: int, vm: int, rss: int, pgt: int | None, swap: int | None, adj: int | None, comm: str, **more
) -> Task:
    fields = {"rss_anon_pages": rss, "rss_file_pages": 0, "rss_shmem_pages": 0, "nr_ptes": None, "nr_pmds": None,
              "oom_adj": None, "tgid": pid} | more  # fmt: skip
    return Task(pid=pid, uid=uid, total_vm_pages=vm, rss_pages=rss, pgtables_bytes=pgt, swapents_pages=swap,
                oom_score_adj=adj, comm=comm, line=pid, **fields)  # fmt: skip


def report(tasks: list[Task], victim: Victim | None, ram: int = 90292, kind=EventKind.GLOBAL, **fields) -> OomReport:
    made = OomReport(kind, Span("test", 1, 1), tasks=tasks, page_size=4096, lines={"oom_kill": 9}, **fields)
    if "meminfo" not in fields and kind is not EventKind.MEMCG:
        made.meminfo = MemInfo(counts={"ram": ram, "reserved": 0}, total_swap_kib=0, free_swap_kib=0)
    if victim is not None:
        made.victims = [victim]
    return made


def killed(pid: int, comm: str = "victim", **more) -> Victim:
    return Victim(pid, comm, total_vm_kib=1, shmem_rss_kib=0, pgtables_kib=1, **more)


def adj_biased() -> list[Task]:
    # Debian 6.12.107, rig scenario adj_biased, first report.
    return [
        row(143, 0, 31014, 30786, 282624, 0, -1000, "biggest-immune"),
        row(145, 0, 20774, 20546, 200704, 0, -500, "big-minus500"),
        row(147, 1000, 10534, 10306, 122880, 0, 0, "mid-zero"),
        row(149, 1001, 2342, 2114, 57344, 0, 300, "small-plus300"),
        row(151, 1002, 550, 322, 40960, 0, 1000, "tiny-plus1000"),
        row(153, 1003, 550, 322, 40960, 0, -999, "tiny-minus999"),
        row(163, 0, 16678, 16354, 167936, 0, -1000, "grower"),
    ]


def test_real_report_with_adjustments_is_explained():
    view = selection(report(adj_biased(), killed(151)))
    assert view is not None
    assert (view.rule, view.total_pages, view.explained, view.reason) == ("5.9", 90292, True, None)
    # rss + pgtables/4096 + adj * 90
    assert [(t.rank, t.pid, t.points_pages, t.adj_points_pages, t.per_mille) for t in view.ranking] == [
        (1, 151, 322 + 10 + 90000, 90000, 1000),
        (2, 149, 2114 + 14 + 27000, 27000, 322),
        (3, 147, 10306 + 30, 0, 114),
        (4, 145, 20546 + 49 - 45000, -45000, -270),
        (5, 153, 322 + 10 - 89910, -89910, -992),
        (None, 143, None, None, None),
        (None, 163, None, None, None),
    ]
    assert [t.skipped for t in view.ranking[5:]] == ["oom_score_adj -1000"] * 2
    assert view.margin_pages == 90332 - 29128
    assert unmark(view.why) == (
        "biggest-immune (pid 143) is bigger (120.5 MiB) but exempt by oom_score_adj -1000; big-minus500 (pid 145) is "
        "bigger (80.4 MiB) than tiny-plus1000 (pid 151) (1.3 MiB), but the victim's oom_score_adj +1000 adds 1000/1000 "
        "of RAM and swap, 351.6 MiB."
    )


def test_third_kill_of_the_same_machine_blames_the_negative_adjustment():
    tasks = [t for t in adj_biased() if t.pid not in (149, 151)]
    view = selection(report(tasks, killed(147)))
    assert view is not None
    assert view.explained
    assert "but its oom_score_adj -500 takes off 500/1000 of RAM and swap, 175.8 MiB." in unmark(view.why)


def test_sizes_of_a_row_are_in_kib():
    (ranked,) = selection(report([row(7, 0, 50, 20, 8192, 5, 0, "x")], killed(7))).ranking
    assert (ranked.rss_kib, ranked.swap_kib, ranked.pgtables_kib, ranked.points_pages) == (80, 20, 8, 27)


def test_tie_goes_to_the_last_row_on_new_kernels():
    tasks = [row(p, 1000, 600, 500, 40960, 0, 0, "apache2") for p in (10, 11, 12)]
    view = selection(report(tasks, killed(12)))
    assert view is not None
    assert (view.explained, view.margin_pages) == (True, 0)
    assert "the last scanned is taken" in view.why
    other = selection(report(tasks, killed(10)))
    assert other is not None
    assert not other.explained
    assert "same points" in (other.reason or "")


def test_vfork_twins_share_memory_so_the_margin_skips_them():
    # Debian 6.12.107, rig scenario threads_sharedmm: two processes, one mm, bigger than half of RAM.
    tasks = [
        row(139, 1000, 50996, 50225, 446464, 0, 100, "java"),
        row(170, 1000, 50996, 50225, 446464, 0, 100, "java-vfork"),
        row(172, 1000, 10534, 10306, 122880, 0, 0, "other"),
    ]
    view = selection(report(tasks, killed(170), ram=70324))
    assert view is not None
    assert view.explained
    assert view.margin_pages == (50225 + 109 + 7000) - (10306 + 30)
    twin = selection(report(tasks, killed(139), ram=70324))
    assert twin is not None
    assert not twin.explained
    assert "shares its memory" in (twin.reason or "")


def test_oom_kill_allocating_task_is_the_reason():
    # Debian 5.10.262, rig scenario kill_allocating.
    tasks = [row(87, 110, 38694, 38495, 348160, 0, 0, "mysqld"), row(89, 1000, 25126, 24849, 241664, 0, 0, "cron-job")]
    view = selection(report(tasks, killed(89), allocating_task_killed=True))
    assert view is not None
    assert (view.explained, view.margin_pages) == (False, (24849 + 59) - (38495 + 85))
    assert "oom_kill_allocating_task" in (view.reason or "")
    assert unmark(view.why).startswith("cron-job (pid 89) was killed because it asked for memory")


def test_leader_that_exited_is_joined_through_the_tgid():
    tasks = [row(22762, 0, 100, 90, 4096, 0, 0, "subthread", tgid=22761), row(5, 0, 10, 9, 4096, 0, 0, "small")]
    view = selection(report(tasks, killed(22762), selected=Selected(22761, "leadername")))
    assert view is not None
    assert view.explained


def memcg(tasks: list[Task], victim: Victim, limit_kib: int, swap: MemcgLine | None) -> OomReport:
    lines = Memcg(memory=MemcgLine(limit_kib, limit_kib, 1), swap=swap)
    return report(tasks, victim, kind=EventKind.MEMCG, memcg=lines)


def test_limit_below_1000_pages_makes_adjustments_void():
    # A cgroup of 3 MiB: the task with adj +1000 survives, the bigger one dies.
    tasks = [row(1001, 0, 400, 297, 40960, 0, 1000, "wanted"), row(1002, 0, 900, 745, 40960, 0, 0, "big")]
    view = selection(memcg(tasks, killed(1002), 3072, MemcgLine(0, 0, 0)))
    assert view is not None
    assert (view.total_pages, view.explained, view.ranking[0].points_pages) == (768, True, 755)
    assert unmark(view.why).endswith("; the limit is less than 1000 pages, so oom_score_adj has no effect.")


def test_unlimited_swap_makes_t_a_lower_bound_and_says_so():
    # limit 40000 KiB = 10000 pages; with 1 GiB of swap allowed T is bigger and +100 wins.
    tasks = [row(2, 0, 4000, 3000, 0, 0, 0, "big"), row(3, 0, 2000, 1500, 0, 0, 100, "small")]
    view = selection(memcg(tasks, killed(3), 40000, MemcgLine(0, "unlimited", 0)))
    assert view is not None
    assert (view.total_pages, view.explained) == (10000, False)
    assert "only known as a lower bound" in (view.reason or "")


def test_without_t_rows_are_compared_by_memory():
    tasks = [row(2, 0, 4000, 3000, 4096, 0, 0, "big"), row(3, 0, 2000, 1500, 4096, 0, 0, "small")]
    view = selection(report(tasks, killed(2), meminfo=None))
    assert view is not None
    assert (view.total_pages, view.explained, view.ranking[0].per_mille, view.ranking[0].points_pages) == (
        None, True, None, 3001,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("gap", "words"),
    [(100, "within the error"), (3000, "printed after the choice"), (40000, "passed it over")],
)
def test_small_and_big_gaps_have_different_reasons(gap, words):
    tasks = [row(2, 1000, 90000, 10000 + gap, 0, 0, 0, "ahead"), row(3, 1000, 90000, 10000, 0, 0, 0, "dead")]
    # 6.12 counts per CPU: 32 pages on each of 2 CPUs in each of 4 counters are 256 pages.
    view = selection(report(tasks, killed(3), trigger=Trigger("x", kernel_release="6.12.107")))
    assert view is not None
    assert not view.explained
    assert words in (view.reason or "")


def test_rival_that_was_exiting_is_the_reason():
    tasks = [row(2, 0, 90000, 60000, 0, 0, 0, "ahead"), row(3, 0, 90000, 10000, 0, 0, 0, "dead")]
    view = selection(report(tasks, killed(3), skipped_exiting=[(2, "ahead")]))
    assert view is not None
    assert "already exiting" in (view.reason or "")


def old(pid: int, uid: int, rss: int, ptes: int, adj: int, comm: str) -> Task:  # noqa: PLR0917
    return row(pid, uid, rss, rss, None, 0, adj, comm, rss_anon_pages=None, rss_file_pages=None,
               rss_shmem_pages=None, nr_ptes=ptes)  # fmt: skip


def test_3_10_gives_root_30_thousandths_and_the_first_of_a_tie():
    tasks = [old(2, 0, 10100, 20, 0, "root"), old(3, 1000, 10000, 20, 0, "first"), old(4, 1000, 10000, 20, 0, "second")]
    made = report(tasks, Victim(3, "first", total_vm_kib=1), ram=100000, trigger=Trigger("x", kernel_release="3.10.0"))
    made.lines = {}
    made.selected = Selected(3, "first", score=100)
    view = selection(made)
    assert view is not None
    assert (view.rule, view.explained, view.reason) == ("3.5", True, None)
    assert [(t.pid, t.points_pages) for t in view.ranking] == [(3, 10020), (4, 10020), (2, 10120 - 3000)]


def test_printed_score_that_differs_is_never_silent():
    made = report([old(3, 1000, 10000, 20, 0, "x")], Victim(3, "x", score=80), ram=100000)
    made.lines = {}
    made.trigger = Trigger("x", kernel_release="3.10.0")
    view = selection(made)
    assert view is not None
    assert view.explained
    assert "printed score 80, the table gives 100" in (view.reason or "")


def test_2_6_36_counts_per_mille_and_shows_pages():
    task = row(3, 1000, 90000, 50000, None, None, 10, "x", rss_anon_pages=None, oom_adj=0)
    made = report([task], Victim(3, "x", total_vm_kib=1), ram=100000, trigger=Trigger("x", kernel_release="2.6.36"))
    made.lines = {}
    view = selection(made)
    assert view is not None
    assert view.rule == "2.6.36"
    assert (view.ranking[0].per_mille, view.ranking[0].points_pages, view.ranking[0].adj_points_pages) == (510, 51000, 1000)


def test_2_6_32_admits_that_the_table_is_not_enough():
    tasks = [row(p, 0, vm, 10, None, None, None, "x", rss_anon_pages=None, oom_adj=adj)
             for p, vm, adj in ((2, 1000, 0), (3, 500, 0), (4, 9000, -17))]  # fmt: skip
    made = report(tasks, Victim(3, "x"), trigger=Trigger("x", kernel_release="2.6.32"))
    made.lines = {}
    view = selection(made)
    assert view is not None
    assert (view.rule, [t.pid for t in view.ranking], view.ranking[2].skipped) == ("2.6.32", [2, 3, 4], "oom_adj -17")
    assert "CPU time" in (view.reason or "")


def test_nobody_killable_is_explained_by_the_exemptions():
    view = selection(report([row(3, 0, 10, 10, 0, 0, -1000, "x")], None, kind=EventKind.NO_KILLABLE))
    assert view is not None
    assert view.explained
    assert "exempt" in view.why


def test_victim_missing_from_the_table_has_a_reason():
    view = selection(report([row(3, 0, 10, 10, 0, 0, 0, "x")], killed(99, "gone")))
    assert view is not None
    assert (view.explained, view.margin_pages) == (False, None)
    assert "not in the task table" in (view.reason or "")


def test_no_table_gives_no_selection():
    assert selection(report([], killed(1))) is None


ROWS = st.builds(
    row, st.integers(1, 50), st.sampled_from([0, 1000]), st.integers(0, 10**6), st.integers(0, 10**6),
    st.none() | st.integers(0, 10**9), st.none() | st.integers(0, 10**6), st.none() | st.integers(-1000, 1000),
    st.text(max_size=15), nr_ptes=st.none() | st.integers(0, 99), oom_adj=st.none() | st.integers(-17, 15),
)  # fmt: skip


@given(
    tasks=st.lists(ROWS, max_size=8),
    pid=st.none() | st.integers(1, 50),
    kind=st.sampled_from(list(EventKind)),
    ram=st.integers(0, 10**6),
    release=st.sampled_from([None, "2.6.18", "2.6.32", "3.2.0", "3.10.0", "4.4.0", "4.18.0", "6.8.0"]),
)
def test_any_table_is_ranked_once_each_and_a_difference_has_a_reason(tasks, pid, kind, ram, release):
    made = report(tasks, killed(pid) if pid else None, ram=ram, kind=kind, trigger=Trigger("x", kernel_release=release))
    view = selection(made)
    if view is None:
        return
    assert len(view.ranking) == len(tasks)
    assert [t.rank for t in view.ranking if t.rank is not None] == list(range(1, sum(t.skipped is None for t in view.ranking) + 1))
    assert view.explained or view.reason
    assert view.why.endswith(".")
