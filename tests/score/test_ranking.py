"""oomsight.score.ranking, against real kills and against the full engine"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.kernel.badness import BADNESS_RULES, badness
from oomsight.kernel.release import NEWEST
from oomsight.kernel.selection import Candidate, Scene, select
from oomsight.proc.memcg import Memcg
from oomsight.score.ranking import cgroup_members, cgroup_total, rank_cgroup, rank_host, settled
from oomsight.score.rules import facts, memory_reader, recognise

from .captured import load, ranking_for, verdict
from .samples import machine, process, snapshot

KILLS = [moment for moment in load() if moment.kill is not None]
GROWN = {  # the victim still grew between the snapshot and the kill, as the kernel's own table shows
    "5.10.262/memcg_group lastpre_1", "5.10.262/memcg_v1 lastpre_1", "6.1.192/memcg_max lastpre_1",
    "6.1.192/memcg_v1 lastpre_1", "6.1.192/ratelimit lastpre_1", "6.12.107/forkbomb_memcg lastpre_1",
    "6.12.107/memcg_max lastpre_1", "6.12.107/ratelimit lastpre_2", "6.18.15/forkbomb_memcg lastpre_1",
    "6.18.15/forkbomb_memcg lastpre_2", "6.18.15/memcg_max lastpre_1", "6.18.15/ratelimit lastpre_2",
    "7.3.4/forkbomb_memcg lastpre_1", "7.3.4/memcg_max lastpre_1", "7.3.4/ratelimit lastpre_2",
}  # fmt: skip
ALLOCATING = {"5.10.262/kill_allocating lastpre_1", "7.3.4/kill_allocating lastpre_1"}  # vm.oom_kill_allocating_task


@pytest.mark.parametrize("moment", KILLS, ids=lambda moment: moment.name)
def test_victim_of_every_recorded_kill(moment):
    expected = "grown" if moment.name in GROWN else "allocating" if moment.name in ALLOCATING else "exact"
    assert verdict(moment) == expected


def test_recorded_kills_are_all_there():
    # what docs/explanation/badness.md says of them
    assert (len(KILLS), len(GROWN), len(ALLOCATING)) == (171, 15, 2)
    assert {moment.name for moment in KILLS} >= GROWN | ALLOCATING


def test_recorded_kills_are_of_hosts_and_of_cgroups():
    totals = {(ranking_for(m).scope, ranking_for(m).total == m.snapshot.machine.total) for m in KILLS}
    assert {("host", True), ("cgroup", False)} <= totals


def host_ranking(*processes, **on):
    shot = snapshot(*processes, on=machine(**on))
    return rank_host(shot, recognise(shot.machine, ()))


def test_rank_host_order_shares_and_margin():
    ranking = host_ranking(process(10, 5000), process(11, 3000, adj=10, pgtables_kib=40), process(12, 5300, adj=-3))
    assert [(row.process.pid, row.points, row.adj_points) for row in ranking.rows] == [
        (11, 3000 + 10 + 2620, 2620), (10, 5000, 0), (12, 5300 - 786, -786),
    ]  # fmt: skip
    assert [row.rank for row in ranking.rows] == [1, 2, 3]
    assert (ranking.margin_pages, ranking.tied) == (630, False)
    assert ranking.total == (262144, "RAM 262,144 + swap 0 pages")


@pytest.mark.parametrize(("release", "winner"), [("5.3", 11), ("6.12", 11), ("4.19", 10), ("3.10", 10), ("4.8", 11)])
def test_rank_host_tie_by_era(release, winner):
    ranking = host_ranking(process(10, 5000), process(11, 5000), release=release)
    assert (ranking.victim.process.pid, ranking.tied) == (winner, True)


def test_rank_host_rivals_are_those_within_the_error():
    ranking = host_ranking(process(10, 5000), process(11, 4937), process(12, 4935))  # ± 32 pages each: one CPU
    assert [row.process.pid for row in ranking.rivals] == [11]
    assert (ranking.victim.low, ranking.victim.high) == (4968, 5032)


def test_rank_host_exempt_are_kept_but_kernel_threads_are_not():
    ranking = host_ranking(process(1, 10, score=0), process(2, kthread=True), process(7, 900, adj=-1000), process(8, 5))
    assert [(row.process.pid, row.skipped, row.points, row.rank) for row in ranking.exempt] == [
        (7, "oom_score_adj -1000", None, None), (1, "global init", None, None),
    ]  # fmt: skip
    assert ranking.of(7).skipped == "oom_score_adj -1000"
    assert ranking.of(2) is None


def cgroup_ranking(*processes, path="/a", cgroups, **on):
    shot = snapshot(*processes, on=machine(**on), cgroups=cgroups)
    return rank_cgroup(shot, recognise(shot.machine, ()), path)


def test_rank_cgroup_only_its_own_and_those_below():
    ranking = cgroup_ranking(
        process(10, 5000, cgroup="/b"), process(11, 10, cgroup="/a/x"), process(12, 20, cgroup="/a"), process(13, 99, cgroup="/ab"),
        cgroups=(Memcg(path="/a", version=2, limit_bytes=64 << 20),),
    )  # fmt: skip
    assert [row.process.pid for row in ranking.rows] == [12, 11]
    assert ranking.total.pages == 16384


def test_rank_cgroup_small_limit_takes_the_effect_of_adj():
    # 3 MiB: T / 1000 is 0. Seen on 6.18: 297 pages with adj 1000 survived, 745 pages with adj 0 died.
    ranking = cgroup_ranking(
        process(10, 745, cgroup="/a"), process(11, 297, adj=1000, cgroup="/a"),
        cgroups=(Memcg(path="/a", version=1, limit_bytes=3 << 20),),
    )  # fmt: skip
    assert [(row.process.pid, row.points) for row in ranking.rows] == [(10, 745), (11, 297)]


@pytest.mark.parametrize(
    ("memcg", "swappiness", "pages"),
    [
        (Memcg(path="/a", version=2, limit_bytes=4 << 20, swap_limit_bytes="unlimited"), 60, 1024 + 5000),
        (Memcg(path="/a", version=2, limit_bytes=4 << 20, swap_limit_bytes=1 << 20), 60, 1024 + 256),
        (Memcg(path="/a", version=2, limit_bytes=4 << 20, swap_limit_bytes=1 << 20), 0, 1024),
        (Memcg(path="/a", version=1, limit_bytes=4 << 20, memsw_limit_bytes=6 << 20, swappiness=60), 0, 1024 + 512),
        (Memcg(path="/a", version=1, limit_bytes=4 << 20, memsw_limit_bytes="unlimited", swappiness=0), 60, 1024),
    ],
)  # fmt: skip
def test_cgroup_total_swap_allowance(memcg, swappiness, pages):
    shot = snapshot(on=machine(swap=5000, swappiness=swappiness), cgroups=(memcg,))
    assert cgroup_total(shot, recognise(shot.machine, ()), "/a").pages == pages


def test_cgroup_total_without_limit_is_none():
    shot = snapshot(cgroups=(Memcg(path="/a", version=2, limit_bytes="unlimited"),))
    assert cgroup_total(shot, recognise(shot.machine, ()), "/a") is None
    assert cgroup_total(shot, recognise(shot.machine, ()), "/b") is None


def test_cgroup_members_in_the_order_of_the_kernels_walk():
    shot = snapshot(
        process(10, cgroup="/a/old"), process(11, cgroup="/a"), process(12, cgroup="/a/new"), process(13, cgroup="/a/old"),
        process(14, cgroup="/a/gone"),
        cgroups=(Memcg(path="/a", version=2), Memcg(path="/a/old", version=2, pids=(13, 10)), Memcg(path="/a/new", version=2)),
    )  # fmt: skip
    assert [p.pid for p in cgroup_members(shot, "/a")] == [11, 13, 10, 12, 14]


RELEASES = [rule.since for rule in BADNESS_RULES if rule.since >= (2, 6, 36)]
SUBJECTS = st.lists(
    st.builds(
        lambda rss, adj, swap, tables, cap: (rss, adj, swap, tables, cap),
        st.integers(0, 300), st.one_of(st.just(0), st.integers(-1000, 1000)), st.integers(0, 50), st.integers(0, 5),
        st.sampled_from((0, 1 << 21)),
    ),
    max_size=12,
)  # fmt: skip


@given(SUBJECTS, st.sampled_from(RELEASES), st.booleans(), st.sampled_from((700, 5000, 100000)))
def test_ranking_equals_the_full_engine(subjects, release, in_cgroup, total_pages):
    """The first of the ranking is whom the engine's own scan chooses, with the same points; so for each that is left."""
    processes = [
        process(pid, rss, adj=adj, swap=swap, pgtables_kib=tables * 4, cgroup="/a", cap=cap)
        for pid, (rss, adj, swap, tables, cap) in enumerate(subjects, 10)
    ]
    shot = snapshot(
        *processes, on=machine(ram=total_pages, release=".".join(map(str, release))),
        cgroups=(Memcg(path="/a", version=1, limit_bytes=total_pages * 4096, swappiness=0),),
    )  # fmt: skip
    rules = recognise(shot.machine, ())
    ranking = rank_cgroup(shot, rules, "/a") if in_cgroup else rank_host(shot, rules)
    read, left = memory_reader(shot.machine, rules.era), list(processes)
    scene = Scene(
        total_pages=ranking.total.pages, constraint="CONSTRAINT_MEMCG" if in_cgroup else "CONSTRAINT_NONE",
        oom_memcg="/a", release=rules.release or NEWEST,
    )  # fmt: skip
    for row in ranking.rows:
        candidates = [Candidate(pid=p.pid, facts=facts(p, read(p), shot.machine), memcg="/a") for p in left]
        chosen = select(candidates, rules.rule, scene)
        if chosen.chosen is None:  # up to 5.8 nobody with 0 points is chosen
            assert row.points == 0
            break
        assert (chosen.chosen, chosen.points.total) == (row.process.pid, row.points)
        left = [p for p in left if p.pid != row.process.pid]
    for row in ranking.exempt:
        assert badness(rules.rule, facts(row.process, read(row.process), shot.machine), total_pages, 4096) is None


def test_settled_unless_a_counter_could_lift_one_that_was_passed_over():
    # T = 1,000,000 pages: oom_score 667 begins at 1,000 pages; counters of 6.12 err by 4 times 32 pages on one CPU
    on = machine(ram=1_000_000)
    for rss, score, settled_so in ((1_100, 667, False), (2_000, 668, True)):
        shot = snapshot(process(1, rss, score=score), process(2, 1_050, score=667), on=on)._replace(
            passed_over=9, lowest_score=667
        )
        rules = recognise(shot.machine, shot.processes)
        assert settled(rank_host(shot, rules), shot) is settled_so
        assert settled(rank_host(shot, rules), shot._replace(passed_over=0))


def test_not_settled_by_rules_that_do_not_fit():
    shot = snapshot(process(1, 200_000, score=5), on=machine(ram=1_000_000))._replace(passed_over=9, lowest_score=5)
    assert not settled(rank_host(shot, recognise(shot.machine, shot.processes)), shot)
