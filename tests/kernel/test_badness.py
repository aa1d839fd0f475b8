"""oomsight.kernel.badness"""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.kernel.badness import (
    BADNESS_RULES,
    TaskFacts,
    badness,
    badness_modern,
    oom_score,
    pages_below_score,
    printed_score,
    rule_by_name,
    rule_for_release,
)

T_1G = 262144  # pages of 4 KiB


def total(rule, facts, total_pages=T_1G, page_size=4096):
    points = badness(rule_by_name(rule), facts, total_pages, page_size)
    return None if points is None else points.total


def test_rules_cover_all_releases_without_overlap():
    for older, newer in pairwise(BADNESS_RULES):
        assert older.until is not None
        assert older.until < newer.since
    assert BADNESS_RULES[-1].until is None
    assert rule_for_release((2, 6, 9)).name == "2.6.11"


@pytest.mark.parametrize(
    ("release", "name"),
    [((2, 6, 35, 3), "2.6.32"), ((3, 13, 10), "3.5"), ((3, 14), "3.14"), ((4, 14, 74), "4.0"), ((4, 16, 13), "4.15"),
     ((5, 8, 1), "4.17"), ((5, 9), "5.9"), ((7, 3, 4), "5.9")],
)  # fmt: skip
def test_rule_for_release_at_boundaries(release, name):
    assert rule_for_release(release).name == name


def test_badness_5_9_swap_and_page_tables():
    # firefox-esr of Debian 6.1.192, scenario global_swap_disk: T = 81781 - 10106 + 98300 / 4
    facts = TaskFacts(rss_pages=5927, swap_pages=17204, pgtables_bytes=221184, oom_score_adj=0)
    points = badness(rule_by_name("5.9"), facts, 96250, 4096)
    assert points.total == 5927 + 17204 + 54 == 23185
    assert [tuple(term) for term in points.terms] == [
        ("rss_pages", 5927), ("swap_pages", 17204), ("pgtables_bytes", 54), ("oom_score_adj", 0),
    ]  # fmt: skip
    assert (points.base, points.adj, points.unit, points.missing) == (23185, 0, "pages", ())


def test_badness_adj_divides_total_first():
    # 3 MiB cgroup, T = 768 pages: seen on 6.18, the adj +1000 task of 297 pages survived the one of 745.
    assert total("5.9", TaskFacts(rss_pages=297, swap_pages=0, pgtables_bytes=0, oom_score_adj=1000), 768) == 297
    assert total("5.9", TaskFacts(rss_pages=297, swap_pages=0, pgtables_bytes=0, oom_score_adj=1000), 1999) == 1297


def test_badness_negative_points_floor_only_before_5_9():
    facts = TaskFacts(rss_pages=348, swap_pages=0, pgtables_bytes=40960, oom_score_adj=-999)
    assert total("5.9", facts, 91652) == 348 + 10 - 999 * 91
    assert total("4.17", facts, 91652) == 1


def test_badness_exempt_is_none():
    assert total("5.9", TaskFacts(rss_pages=9, oom_score_adj=-1000)) is None
    assert total("3.5", TaskFacts(rss_pages=9, oom_score_adj=-1000)) is None
    assert total("5.9", TaskFacts(rss_pages=9, oom_score_adj=-999)) is not None
    assert total("2.6.32", TaskFacts(rss_pages=9, total_vm_pages=9, oom_adj=-17)) is None
    assert total("5.9", TaskFacts(rss_pages=9, is_init=True)) is None
    assert total("5.9", TaskFacts(rss_pages=0, no_mm=True)) is None
    # 2.6.11 had no exemption yet: -17 is only a very long shift.
    assert total("2.6.11", TaskFacts(rss_pages=9, total_vm_pages=1 << 20, oom_adj=-17)) == 8


def test_badness_root_bonus_by_era():
    root = TaskFacts(rss_pages=10000, swap_pages=199, nr_ptes=0, nr_pmds=0, pgtables_bytes=0, oom_score_adj=0,
                     cap_sys_admin=True)  # fmt: skip
    assert total("3.2", root) == 38 - 30
    assert total("3.5", root) == 10199 - 30 * 262
    assert total("3.14", root) == 10199 - 305  # 10199 * 3 / 100 = 305.97
    assert total("4.0", root) == 10199 - 305
    assert total("4.15", root) == 10199 - 305
    assert total("4.17", root) == 10199


def test_badness_page_tables_by_era():
    facts = TaskFacts(rss_pages=100, swap_pages=0, nr_ptes=7, nr_pmds=3, pgtables_bytes=61440, oom_score_adj=0,
                      cap_sys_admin=False)  # fmt: skip
    assert [total(name, facts) for name in ("3.5", "3.14", "4.0", "4.15", "5.9")] == [107, 107, 110, 115, 115]
    assert total("5.9", facts, page_size=65536) == 100  # 61440 bytes are less than one 64 KiB page


def test_badness_per_mille_clamps():
    def task(rss, adj):
        return TaskFacts(rss_pages=rss, swap_pages=0, nr_ptes=0, oom_score_adj=adj, cap_sys_admin=False)

    assert total("2.6.36", task(T_1G // 2, 0)) == 500
    assert total("2.6.36", task(T_1G // 2, 600)) == 1000
    assert total("2.6.36", task(10, 0)) == 1
    assert total("2.6.36", task(10, -500)) == 1


def test_badness_2_6_39_overflows_above_2_1_million_pages():
    big = TaskFacts(rss_pages=2_200_000, swap_pages=0, nr_ptes=0, oom_score_adj=0, cap_sys_admin=False)
    t_16g = 4_194_304
    assert total("3.2", big, t_16g) == 524
    # 2 200 000 000 as int is -2 094 967 296; as unsigned long / T it is 4398046510604 (and a bit), as int again -501.
    assert badness(rule_by_name("2.6.39"), big, t_16g, 4096).raw == (
        ((1 << 64) - 2_094_967_296) // t_16g + (1 << 31)
    ) % (1 << 32) - (1 << 31)
    assert total("2.6.39", big, t_16g) == 1


def test_badness_legacy_order_of_steps():
    facts = TaskFacts(
        rss_pages=0, total_vm_pages=10000, child_total_vm_pages=(1001, 2000), hz=1000, nice=5,
        cpu_time_jiffies=100 << 13,  # isqrt(100) = 10
        run_time_seconds=81 << 10,  # isqrt(isqrt(81)) = 3
        cap_sys_admin=True, cap_sys_resource=True, cap_sys_rawio=False, oom_adj=3,
    )  # fmt: skip
    points = badness(rule_by_name("2.6.24"), facts, T_1G, 4096)
    assert dict(points.terms) == {
        "total_vm_pages": 10000,
        "children": 501 + 1001,
        "cpu_time": 1150 - 11502,
        "run_time": 383 - 1150,
        "nice": 383,
        "root": 191 - 766,
        "oom_adj": 1528 - 191,
    }
    assert points.total == 1528
    assert total("2.6.11", facts) == (13001 // 10 // 3 * 2 // 4) << 3


def test_badness_legacy_capabilities_and_cpuset():
    def task(**more):
        return TaskFacts(rss_pages=0, total_vm_pages=800, cpu_time_jiffies=0, run_time_seconds=0, nice=0, oom_adj=0,
                         **({"cap_sys_admin": False, "cap_sys_resource": False, "cap_sys_rawio": False} | more))  # fmt: skip

    assert total("2.6.32", task(cap_sys_resource=True)) == 200
    assert total("2.6.24", task(cap_sys_resource=True)) == 800
    assert total("2.6.32", task(cap_sys_admin=True, cap_sys_rawio=True)) == 50
    assert total("2.6.32", task(other_cpuset=True)) == 100
    assert total("2.6.18", task(other_cpuset=True)) == 800  # such tasks are skipped there
    assert total("2.6.32", task(oom_origin=True)) == (1 << 64) - 1


def test_badness_legacy_positive_adj_lifts_zero_from_2_6_24():
    facts = TaskFacts(rss_pages=0, total_vm_pages=0, oom_adj=4)
    assert total("2.6.2x", facts) == 0
    assert total("2.6.24", facts) == 16


def test_badness_names_missing_facts():
    points = badness(rule_by_name("2.6.36"), TaskFacts(rss_pages=2622, oom_score_adj=0), T_1G, 4096)
    assert points.total == 10
    assert points.missing == ("swap_pages", "cap_sys_admin")


counts = st.integers(min_value=0, max_value=1 << 34)
facts_strategy = st.builds(
    TaskFacts, rss_pages=counts, swap_pages=counts, pgtables_bytes=counts, nr_ptes=counts, nr_pmds=counts,
    oom_score_adj=st.integers(-999, 1000), cap_sys_admin=st.booleans(), total_vm_pages=counts,
    oom_adj=st.integers(-16, 15), child_total_vm_pages=st.tuples(counts, counts), cpu_time_jiffies=counts,
    run_time_seconds=counts, hz=st.sampled_from((100, 250, 300, 1000)), nice=st.integers(-20, 19),
    cap_sys_resource=st.booleans(), cap_sys_rawio=st.booleans(), other_cpuset=st.booleans(),
    oom_origin=st.just(False), no_mm=st.just(False), is_init=st.just(False),
)  # fmt: skip


@given(facts_strategy, st.sampled_from(BADNESS_RULES), st.integers(0, 1 << 34), st.sampled_from((4096, 16384, 65536)))
def test_badness_terms_add_up(facts, rule, total_pages, page_size):
    points = badness(rule, facts, total_pages, page_size)
    assert sum(term.points for term in points.terms) == points.raw
    assert points.base + points.adj == points.raw
    assert points.missing == ()
    low, high = rule.floor, rule.ceiling
    assert points.total == max(points.raw if high is None else min(points.raw, high), points.raw if low is None else low)


@given(counts, counts, counts, st.integers(-999, 1000), st.integers(0, 1 << 34), st.sampled_from((4096, 65536)))
def test_badness_modern_equals_table(rss, swap, pgtables_bytes, adj, total_pages, page_size):  # noqa: PLR0917
    facts = TaskFacts(rss_pages=rss, swap_pages=swap, pgtables_bytes=pgtables_bytes, oom_score_adj=adj)
    for name in ("4.17", "5.9"):
        rule = rule_by_name(name)
        expected = badness(rule, facts, total_pages, page_size).total
        assert badness_modern(rss, swap, pgtables_bytes, adj, total_pages, page_size, rule.floor) == expected


@given(st.integers(0, 1 << 24), st.integers(0, 1 << 16), st.integers(0, 1 << 16), st.integers(-999, 1000), counts)
def test_badness_modern_counts_tables_of_4_0(rss, ptes, pmds, adj, total_pages):
    facts = TaskFacts(rss_pages=rss, swap_pages=0, nr_ptes=ptes, nr_pmds=pmds, oom_score_adj=adj, cap_sys_admin=False)
    expected = badness(rule_by_name("4.0"), facts, total_pages, 4096).total
    assert badness_modern(rss, 0, (ptes + pmds) * 4096, adj, total_pages, 4096, 1) == expected


@pytest.mark.parametrize(
    ("rule", "points", "total_pages", "score"),
    [
        ("5.9", 0, T_1G, 666),  # idle, adj 0
        ("5.9", 1000 * 262, T_1G, 1332),  # adj +1000: 999 per mille after both divisions
        ("5.9", 1000 * 1000, 1_000_000, 1333),
        ("5.9", -999 * 1000, 1_000_000, 0),
        ("5.9", -1, T_1G, 666),  # -1000 / T truncates to 0, not to -1
        ("5.9", None, T_1G, 0),
        ("4.17", T_1G // 4, T_1G, 250),
        ("4.17", 1, T_1G, 0),
        ("3.2", 17, T_1G, 17),
        ("2.6.24", 123456, T_1G, 123456),
    ],
)
def test_oom_score_by_era(rule, points, total_pages, score):
    assert oom_score(rule_by_name(rule), points, total_pages) == score


def test_oom_score_of_a_live_process():
    # Debian 7.3.4, scenario memcg_pod, "node": VmRSS 21288 kB, VmPTE 80 kB, adj 968, MemTotal 275496 kB, no swap.
    facts = TaskFacts(rss_pages=5322, swap_pages=0, pgtables_bytes=20 * 4096, oom_score_adj=968)
    rule = rule_by_name("5.9")
    assert oom_score(rule, badness(rule, facts, 68874, 4096).total, 68874) == 1355


def test_printed_score_by_era():
    assert printed_score(rule_by_name("3.14"), 131072, T_1G) == 500
    assert printed_score(rule_by_name("2.6.36"), 17, T_1G) == 17
    assert printed_score(rule_by_name("2.6.24"), 4711, T_1G) == 4711
    assert printed_score(rule_by_name("5.9"), 4711, T_1G) is None


@pytest.mark.parametrize("total_pages", [999, 4096, 6_171_023])
def test_pages_below_score_bounds_every_lower_score(total_pages):
    rule = rule_for_release((6, 12))
    for points in range(-total_pages, 2 * total_pages, max(total_pages // 997, 1)):
        shown = oom_score(rule, points, total_pages)
        assert points <= pages_below_score(shown + 1, total_pages)
        # … and not by much: a step of oom_score is one and a half thousandths of all
        assert points + 4 * total_pages // 1000 + 4 >= pages_below_score(shown + 1, total_pages)
