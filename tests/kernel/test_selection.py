"""oomsight.kernel.selection"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.kernel.badness import BADNESS_RULES, TaskFacts, rule_by_name
from oomsight.kernel.selection import (
    SCAN_RULES,
    Candidate,
    Outcome,
    Scene,
    inside,
    rank,
    scan_rule,
    select,
)

T = 100_000
NEW = rule_by_name("5.9")
OLD = rule_by_name("4.17")


def task(pid, rss, adj=0, facts=None, **more):
    legacy = {"total_vm_pages": rss, "oom_adj": 0}
    facts = legacy | {"oom_score_adj": adj} | (facts or {})
    return Candidate(pid=pid, facts=TaskFacts(rss_pages=rss, **facts), **more)


def play(tasks, rule=NEW, **scene):
    return select(tasks, rule, Scene(total_pages=T, **scene))


def verdicts(result):
    return {step.pid: (step.verdict, step.words) for step in result.trace}


def test_select_most_points():
    result = play([task(10, 500), task(11, 900), task(12, 100)])
    assert (result.outcome, result.chosen, result.points.total) == (Outcome.KILLED, 11, 900)
    assert [(k.pid, k.role, k.logged) for k in result.kills] == [(11, "selected", True)]


def test_select_real_report_with_adjustments():
    # Debian 6.1.192, scenario adj_biased: the tiny task with adj +1000 died first, then the one with +300.
    table = ((96, 30758, 290816, -1000), (98, 20527, 204800, -500), (100, 10313, 122880, 0), (102, 2129, 57344, 300),
             (104, 347, 45056, 1000), (106, 348, 40960, -999), (116, 15726, 167936, -1000))  # fmt: skip
    tasks = [
        Candidate(pid=pid, facts=TaskFacts(rss_pages=rss, swap_pages=0, pgtables_bytes=tables, oom_score_adj=adj))
        for pid, rss, tables, adj in table
    ]
    scene = Scene(total_pages=102270 - 10618)
    assert select(tasks, NEW, scene).chosen == 104
    assert select([t for t in tasks if t.pid != 104], NEW, scene).chosen == 102


@pytest.mark.parametrize(
    ("rule", "release", "memcg", "tie", "unit"),
    [
        ("5.9", None, False, "last", "processes"),
        ("4.17", (5, 4), True, "last", "processes"),
        ("4.17", (5, 0), False, "first_leader", "processes"),
        ("4.17", (4, 19), True, "first_leader", "threads"),
        ("4.17", None, False, "last", "processes"),  # newest of the era: 5.8
        ("4.0", (4, 8, 15), False, "last", "processes"),
        ("4.0", (4, 8, 15), True, "first_leader", "threads"),
        ("3.14", None, False, "first_leader", "threads"),
        ("3.5", None, True, "first", "threads"),
        ("2.6.36", (2, 6, 32), False, "first", "processes"),  # RHEL 6: moved into the era
    ],
)
def test_scan_rule_by_era(rule, release, memcg, tie, unit):
    row = scan_rule(rule_by_name(rule), memcg, release)
    assert (row.tie, row.unit) == (tie, unit)


@pytest.mark.parametrize(("release", "winner"), [((5, 0), 10), ((5, 3), 12), ((5, 8), 12)])
def test_select_tie_by_release(release, winner):
    assert play([task(10, 700), task(11, 5), task(12, 700)], OLD, release=release).chosen == winner


def test_rank_ties_and_exempt_entries():
    points = [5, None, 9, 9, 2]
    assert rank(points, scan_rule(NEW, False)) == [3, 2, 0, 4]
    assert rank(points, scan_rule(rule_by_name("3.5"), False)) == [2, 3, 0, 4]
    leaders = [True, True, False, True, True]
    assert rank(points, scan_rule(rule_by_name("3.14"), False), leaders) == [3, 2, 0, 4]


tables = st.lists(st.tuples(st.integers(0, 30), st.integers(-1000, 1000), st.booleans()), min_size=1, max_size=12)


@given(tables, st.sampled_from([r for r in BADNESS_RULES if r.since >= (2, 6, 36)]), st.booleans())
def test_rank_and_select_agree(rows, rule, memcg):
    tasks = [task(100 + i, rss, adj, is_leader=leader) for i, (rss, adj, leader) in enumerate(rows)]
    scene = Scene(total_pages=2000, constraint="CONSTRAINT_MEMCG" if memcg else "CONSTRAINT_NONE")
    result = select(tasks, rule, scene)
    scored = {step.pid: step.points for step in result.trace}
    order = rank([scored[t.pid] for t in tasks], scan_rule(rule, memcg), [t.is_leader for t in tasks])
    assert result.chosen == (tasks[order[0]].pid if order else None)


def test_select_negative_points_win_only_from_5_9():
    # One eligible task with points below zero: killed since 5.9, lifted to 1 (and killed too) before.
    lonely = [task(10, 5, -500), task(11, 5, -1000)]
    assert play(lonely).points.total == 5 - 500 * 100
    assert play(lonely, OLD).points.total == 1


def test_select_skips_say_why():
    result = play(
        [task(1, 900, facts={"is_init": True}), task(2, 0, is_kthread=True), task(3, 900, adj=-1000),
         task(4, 900, oom_skip=True), task(5, 900, in_vfork=True), task(6, 900, nodes_overlap=False),
         task(7, 0, facts={"no_mm": True}), task(8, 1)]
    )  # fmt: skip
    assert result.chosen == 8
    seen = {pid: words for pid, (verdict, words) in verdicts(result).items() if verdict == "skipped"}
    assert seen == {
        1: "global init", 2: "kernel thread", 3: "oom_score_adj -1000", 4: "memory already reaped", 5: "inside vfork",
        6: "no allowed node in common", 7: "no memory of its own",
    }  # fmt: skip


def test_select_memcg_only_its_subtree_and_any_node():
    tasks = [task(10, 900, memcg="/a2"), task(11, 100, memcg="/a/b"), task(12, 50, memcg="/a", nodes_overlap=False)]
    result = play(tasks, constraint="CONSTRAINT_MEMCG", oom_memcg="/a")
    assert result.chosen == 11
    assert verdicts(result)[10] == ("skipped", "outside the cgroup")
    assert verdicts(result)[12][0] == "passed"
    assert verdicts(play(tasks, OLD, constraint="CONSTRAINT_MEMCG", oom_memcg="/a", release=(5, 0)))[12] == (
        "skipped", "no allowed node in common",
    )  # fmt: skip


def test_select_old_victim_aborts_unless_reaped_or_sysrq():
    dying = [task(10, 900, is_victim=True), task(11, 100)]
    assert play(dying).outcome is Outcome.ABORTED
    assert play(dying).kills == ()
    assert play(dying, sysrq=True).outcome is Outcome.KILLED
    assert play([task(10, 900, is_victim=True, oom_skip=True), task(11, 100)]).chosen == 11
    assert play([task(10, 900, is_victim=True, oom_skip=True), task(11, 100)], rule_by_name("3.14")).outcome is (
        Outcome.ABORTED
    )


def test_select_exiting_task_aborts_only_old_kernels():
    tasks = [task(10, 900), task(11, 100, exiting=True)]
    assert play(tasks, rule_by_name("3.14")).outcome is Outcome.ABORTED
    assert play(tasks).chosen == 10


def test_select_exiting_current_or_victim_is_silent():
    assert play([task(10, 900), task(11, 100, exiting=True)], current_pid=11).outcome is Outcome.EXITING
    result = play([task(10, 900, exiting=True), task(11, 100)])
    assert (result.outcome, result.chosen, result.kills) == (Outcome.EXITING, 10, ())


def test_select_oom_origin_by_era():
    tasks = [task(10, 1, facts={"oom_origin": True}), task(11, 900), task(12, 2, facts={"oom_origin": True})]
    assert play(tasks).chosen == 12  # the last origin scanned
    assert play(tasks, rule_by_name("2.6.11")).chosen == 10  # the first one ends the scan
    assert play(tasks, rule_by_name("2.6.32")).chosen == 10  # ULONG_MAX points, first wins


def test_select_sacrifices_child_until_5_0():
    tasks = [task(10, 900, children=(11, 12, 13, 14)), task(11, 5), task(12, 30), task(13, 600, mm=10),
             task(14, 700, adj=-1000)]  # fmt: skip
    tasks[0] = task(10, 900, children=(11, 12, 13, 14), mm=10)
    result = play(tasks, OLD, release=(5, 0))
    assert (result.chosen, result.points.total) == (10, 900)
    assert [(k.pid, k.role) for k in result.kills] == [(12, "child")]
    assert [k.pid for k in play(tasks, rule_by_name("2.6.32")).kills] == [11]  # the first child, however small
    assert [(k.pid, k.role) for k in play(tasks, OLD, release=(5, 4)).kills] == [(10, "selected"), (13, "shared")]


@pytest.mark.parametrize(
    ("rule", "release", "shared"),
    [
        ("5.9", None, [(11, False), (12, False)]),  # silent, protection does not help
        ("4.0", (4, 4), [(11, False)]),  # silent, the protected one is spared
        ("3.14", (3, 16), [(11, True)]),
        ("2.6.36", (2, 6, 36), []),  # not killed at all
    ],
)
def test_select_sharers_of_the_address_space(rule, release, shared):
    tasks = [task(10, 900, mm=7), task(11, 800, mm=7), task(12, 0, adj=-1000, mm=7), task(13, 1)]
    result = play(tasks, rule_by_name(rule), release=release)
    assert result.chosen == 10
    assert [(k.pid, k.logged) for k in result.kills if k.role == "shared"] == shared


def test_select_group_kills_highest_marked_cgroup_in_the_domain():
    tasks = [task(1, 5, memcg="/pod", facts={"is_init": True}), task(10, 900, memcg="/pod/a"),
             task(11, 1, memcg="/pod/b"), task(12, 1, adj=-1000, memcg="/pod/b"), task(13, 1, memcg="/other")]  # fmt: skip
    marked = frozenset({"/pod", "/pod/a"})
    whole = play(tasks, constraint="CONSTRAINT_MEMCG", oom_memcg="/pod", oom_group=marked)
    assert [(k.pid, k.role, k.logged) for k in whole.kills] == [(10, "selected", True), (11, "group", True)]
    inner = play(tasks, constraint="CONSTRAINT_MEMCG", oom_memcg="/pod/a", oom_group=marked)
    assert [k.pid for k in inner.kills] == [10]  # /pod lies above the domain
    host = play(tasks, oom_group=marked)
    assert [k.pid for k in host.kills] == [10, 11]
    before = play(tasks, OLD, oom_group=marked, release=(4, 18))
    assert [k.pid for k in before.kills] == [10]


def test_select_allocating_task_when_asked_and_eligible():
    tasks = [task(10, 900), task(11, 5), task(12, 5, adj=-1000)]
    asked = play(tasks, oom_kill_allocating_task=True, current_pid=11)
    assert [(k.pid, k.role) for k in asked.kills] == [(11, "allocating")]
    assert asked.points is None
    assert play(tasks, oom_kill_allocating_task=True, current_pid=12).chosen == 10
    memcg = play(tasks, oom_kill_allocating_task=True, current_pid=11, constraint="CONSTRAINT_MEMCG")
    assert memcg.chosen == 10


def test_select_mempolicy_kills_current_in_2_6():
    tasks = [task(10, 900), task(11, 5)]
    scene = {"constraint": "CONSTRAINT_MEMORY_POLICY", "current_pid": 11}
    assert play(tasks, rule_by_name("2.6.24"), **scene).chosen == 11
    assert play(tasks, rule_by_name("3.5"), **scene).chosen == 10


def test_select_panic_on_oom():
    tasks = [task(10, 900)]
    assert play(tasks, panic_on_oom=1).outcome is Outcome.PANIC
    assert play(tasks, panic_on_oom=1, constraint="CONSTRAINT_MEMCG").outcome is Outcome.KILLED
    assert play(tasks, panic_on_oom=2, constraint="CONSTRAINT_MEMCG").outcome is Outcome.PANIC
    assert play(tasks, panic_on_oom=2, sysrq=True).outcome is Outcome.KILLED
    assert play(tasks, rule_by_name("3.14"), panic_on_oom=2, sysrq=True).outcome is Outcome.PANIC


def test_select_nobody_eligible():
    tasks = [task(10, 900, adj=-1000)]
    assert play(tasks).outcome is Outcome.NO_KILLABLE
    assert "panics" in play(tasks).words
    assert "panics" not in play(tasks, constraint="CONSTRAINT_MEMCG").words
    assert play([]).outcome is Outcome.NO_KILLABLE


def test_inside_is_about_path_parts():
    assert inside("/a/b", "/a")
    assert inside("/a", "/a")
    assert inside("/anything", "/")
    assert not inside("/ab", "/a")


def test_scan_rules_cover_every_badness_era_once():
    for rule in BADNESS_RULES:
        for scope in ("global", "memcg"):
            rows = [r for r in SCAN_RULES if scope in r.scopes and r.since <= rule.since]
            assert rows[-1].until is None or rule.since <= rows[-1].until
