"""Who held the memory: groups, shares, and the culprit, who need not be the victim."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.diagnose.accounting import account
from oomsight.diagnose.consumers import consumers, culprit
from oomsight.diagnose.scope import limit_kib
from oomsight.report.model import (
    EventKind,
    HugePages,
    Memcg,
    MemcgLine,
    MemcgStats,
    MemInfo,
    OomReport,
    Span,
    Task,
    Trigger,
    Victim,
    Zone,
)

if TYPE_CHECKING:
    from oomsight.diagnose.model import Consumer


def row(  # noqa: PLR0917 - reads like the kernel's row
    pid: int, uid: int, anon: int, shmem: int, pgt: int, comm: str, swap: int = 0, tgid: int | None = None
) -> Task:
    """A row of 6.8+; *pgt* in bytes, the rest in pages."""
    return Task(pid, uid, pid if tgid is None else tgid, 999999, anon + shmem, anon, 0, shmem, pgt, None, None, swap,
                0, None, comm, pid)  # fmt: skip


def host(tasks: list[Task], pages: dict[str, int], victim: int | None = None, **fields) -> OomReport:
    info = MemInfo(pages=pages, counts={"ram": 10000, "reserved": 0}, total_swap_kib=0, free_swap_kib=0)
    for name in ("total_swap_kib", "free_swap_kib", "hugepages", "slabs"):
        if name in fields:
            setattr(info, name, fields.pop(name))
    made = OomReport(EventKind.GLOBAL, Span("test", 1, 1), meminfo=info, tasks=tasks, page_size=4096, **fields)
    if victim is not None:
        made.victims = [Victim(victim, "victim")]
    return made


def the(found: list[Consumer], kind: str) -> list[tuple[str, int, float | None, int]]:
    return [(c.name, c.kib, c.share_pct, c.count) for c in found if c.kind == kind]


def culprit_of(report: OomReport) -> Consumer | None:
    accountings = account(report)
    return culprit(report, accountings, consumers(report, accountings))


def test_process_is_anon_swap_shared_and_page_tables():
    tasks = [row(1, 0, 1000, 100, 8192, "db", swap=500), row(2, 5, 10, 0, 4096, "sh")]
    report = host(tasks, {"active_anon": 2000, "free": 10}, victim=1, total_swap_kib=8000, free_swap_kib=6000)
    found = consumers(report)
    # 40000 KiB managed + 2000 KiB of swap in use.
    assert the(found, "process") == [("db", 1600 * 4 + 8, 15.3, 1), ("sh", 44, 0.1, 1)]
    assert [c.is_victim for c in found if c.kind == "process"] == [True, False]
    assert the(found, "user") == [("0", 6408, 15.3, 1), ("5", 44, 0.1, 1)]


def test_pool_counts_shared_memory_once():
    tasks = [row(p, 26, 100, 2000, 4096, "postgres") for p in (1, 2, 3)]
    found = consumers(host(tasks, {"active_anon": 9000, "mapped": 2000}, victim=2))
    assert the(found, "name") == [("postgres", 3 * 404 + 8000, 23.0, 3)]
    pool = next(c for c in found if c.kind == "name")
    assert (pool.pids, pool.is_victim, pool.note) == ((1, 2, 3), True, "shared memory counted once")


def test_pool_without_shmem_column_is_cut_to_what_processes_can_hold():
    tasks = [Task(p, 26, p, 9999, 5000, None, None, None, 4096, None, None, 0, 0, None, "postgres", p) for p in (1, 2, 3)]
    found = consumers(host(tasks, {"active_anon": 2000, "shmem": 1000, "mapped": 3000, "pagetables": 10}))
    # anon 1000 + mapped 3000 + page tables 10 pages, instead of 3 × 5001.
    assert the(found, "name") == [("postgres", 4010 * 4, 40.1, 3)]
    assert "cut to what all processes" in (next(c for c in found if c.kind == "name").note or "")


def test_numbered_workers_are_one_pool_and_python3_is_not():
    names = ["worker-1", "worker-2", "worker-10", "python3", "python2", "7"]
    tasks = [row(p, 0, 10, 0, 0, name) for p, name in enumerate(names, 1)]
    assert [c.name for c in consumers(host(tasks, {"free": 1})) if c.kind == "name"] == ["worker-*"]


def test_table_without_columns_of_its_parts_is_ordered_by_all_a_row_holds():
    """Page tables that are whole pages, or not (then no other part of the diagnosis has the same sums)."""
    for size in (8192, 8192 + 1024):
        tasks = [
            Task(pid, uid, pid, 99, rss, None, None, None, size, None, None, swap, 0, None, comm, pid)
            for pid, uid, rss, swap, comm in [(1, 0, 5, 0, "a"), (2, 0, 9, 1, "b"), (3, 7, 10, 0, "b"), (4, 7, 10, 0, "c")]
        ]
        found = consumers(host(tasks, {"active_anon": 40}))
        assert [name for name, *_ in the(found, "process")] == ["b", "b", "c", "a"]  # equal ones in the table's order
        assert [c.pids for c in found if c.kind == "process"] == [(2,), (3,), (4,), (1,)]
        kib = size >> 10
        assert [c.kib for c in found if c.kind == "process"] == [40 + kib, 40 + kib, 40 + kib, 20 + kib]
        assert [(c.name, c.kib, c.pids) for c in found if c.kind == "name"] == [("b", 80 + 2 * kib, (2, 3))]
        assert [(c.name, c.kib, c.pids) for c in found if c.kind == "user"] == [
            ("7", 80 + 2 * kib, (3, 4)), ("0", 60 + 2 * kib, (1, 2)),
        ]  # fmt: skip


def test_threads_of_one_process_are_counted_once():
    tasks = [row(1, 0, 100, 0, 0, "java"), row(2, 0, 100, 0, 0, "java", tgid=1)]
    assert the(consumers(host(tasks, {"free": 1})), "process") == [("java", 400, 1.0, 1)]


def test_unmapped_shmem_is_the_culprit_of_a_full_tmpfs():
    # Debian 5.10.262, rig scenario tmpfs_fill: 292572 KiB managed, 51876 pages of shmem, 530 pages mapped.
    tasks = [Task(88, 113, 88, 10534, 10313, None, None, None, 118784, None, None, 0, 0, None, "postgres", 1)]
    report = host(tasks, {"active_anon": 67072, "shmem": 51876, "mapped": 530, "free": 790}, victim=88)
    assert report.meminfo is not None
    report.meminfo.counts["ram"] = 73143
    found = culprit_of(report)
    assert found is not None
    assert (found.kind, found.name, found.kib, found.share_pct, found.is_victim) == (
        "shared", "shared memory and tmpfs", (51876 - 530) * 4, 70.2, False,
    )  # fmt: skip


def test_slab_is_the_culprit_and_its_cache_is_named():
    slabs = [("dentry", 1, 2000), ("kmalloc-64", 1, 20000)]
    report = host([row(1, 0, 500, 0, 0, "x")], {"slab_unreclaimable": 6000, "active_anon": 500}, slabs=slabs)
    found = culprit_of(report)
    assert found is not None
    assert (found.kind, found.kib, found.share_pct) == ("kernel", 24000, 60.0)
    assert "kmalloc-64" in (found.note or "")
    assert "19.5 MiB" in (found.note or "")
    report.meminfo.slabs = [("skbuff_head_cache", 1, 3692)]
    assert "only 3.6 MiB" in (culprit_of(report).note or "")


def test_reserved_huge_pages_are_the_culprit():
    # Debian 6.18.15, rig scenario hugetlb_reserved: the victim holds less than the unused pool.
    report = host([row(134, 1001, 30944, 98, 286720, "leaky")], {"active_anon": 40093, "shmem": 1582, "free": 889},
                  victim=134, hugepages=[HugePages(0, 80, 80, 0, 2048)])  # fmt: skip
    report.meminfo.counts.update(ram=102270, reserved=12437)
    found = culprit_of(report)
    assert found is not None
    assert (found.kind, found.name, found.kib, found.share_pct) == ("kernel", "huge pages pool (hugetlb)", 163840, 45.6)


def test_protected_process_is_the_culprit_not_the_victim():
    found = culprit_of(host([row(1, 0, 5000, 0, 0, "shielded"), row(2, 0, 900, 0, 0, "victim")], {"free": 9}, victim=2))
    assert found is not None
    assert (found.name, found.is_victim) == ("shielded", False)


def test_many_equal_workers_make_the_pool_the_culprit():
    tasks = [row(p, 33, 100, 0, 0, "apache2") for p in range(1, 51)]
    found = culprit_of(host(tasks, {"active_anon": 6000}, victim=7))
    assert found is not None
    assert (found.kind, found.name, found.count, found.share_pct, found.is_victim) == ("name", "apache2", 50, 50.0, True)


def test_user_of_many_different_processes_is_the_culprit_unless_it_is_root():
    tasks = [row(p, 1000, 500, 0, 0, f"tool{chr(96 + p)}") for p in range(1, 11)] + [row(99, 7, 10, 0, 0, "y")]
    found = culprit_of(host(tasks, {"active_anon": 6000}))
    assert found is not None
    assert (found.kind, found.name, found.count, found.share_pct) == ("user", "1000", 10, 50.0)
    for task in tasks:
        task.uid = task.uid % 1000
    assert culprit_of(host(tasks, {"active_anon": 6000})) is None


def test_nobody_with_a_tenth_is_no_culprit():
    assert culprit_of(host([row(1, 0, 900, 0, 0, "x")], {"free": 9}, victim=1)) is None


def test_without_a_table_the_kill_line_is_used_if_there_is_something_to_compare_with():
    report = host([], {"free": 9})
    report.victims = [Victim(5, "leaky", anon_rss_kib=20000, shmem_rss_kib=100, pgtables_kib=60)]
    found = culprit_of(report)
    assert found is not None
    assert (found.name, found.kib, found.share_pct, found.is_victim) == ("leaky", 20160, 50.4, True)
    report.meminfo = None
    assert culprit_of(report) is None
    assert [c.name for c in consumers(report)] == ["leaky"]


def test_unaccounted_memory_is_the_culprit_only_when_all_counters_are_there():
    pages = {"active_anon": 1000, "free": 100, "slab_unreclaimable": 300}
    found = culprit_of(host([row(1, 0, 900, 0, 0, "x")], pages))
    assert found is not None
    assert (found.kind, found.name, found.kib) == ("kernel", "not accounted for in this report", 34400)
    del pages["free"]
    assert culprit_of(host([row(1, 0, 900, 0, 0, "x")], pages)) is None


def test_without_a_table_an_item_must_outweigh_anonymous_memory():
    pages = {"active_anon": 6000, "slab_unreclaimable": 2500, "free": 100}
    assert culprit_of(host([], pages)) is None
    found = culprit_of(host([], pages | {"active_anon": 1000, "slab_unreclaimable": 7500}))
    assert found is not None
    assert found.name == "unreclaimable kernel objects (slab)"


def test_memcg_shares_are_of_the_limit_and_its_swap_in_use():
    memcg = Memcg(memory=MemcgLine(9000, 10000, 1), swap=MemcgLine(2000, "unlimited", 0))
    report = OomReport(EventKind.MEMCG, Span("t", 1, 1), memcg=memcg, tasks=[row(1, 0, 2250, 0, 0, "x", swap=500)])
    assert limit_kib(report) == 10000
    assert the(consumers(report), "process") == [("x", 11000, 91.7, 1)]


def test_share_never_exceeds_all():
    memcg = Memcg(memory=MemcgLine(1000, 1000, 1))
    report = OomReport(EventKind.MEMCG, Span("t", 1, 1), memcg=memcg, tasks=[row(1, 0, 400, 0, 0, "x")])
    assert the(consumers(report), "process") == [("x", 1600, 100.0, 1)]


def test_cgroups_of_the_subtree_are_consumers_where_each_has_a_line():
    mib = 1 << 20
    stats = [MemcgStats("/a", {"rss": mib}), MemcgStats("/a/b", {"rss": 6 * mib, "cache": 2 * mib, "swap": mib})]
    memcg = Memcg(memory=MemcgLine(10240, 10240, 1), stats=stats)
    report = OomReport(EventKind.MEMCG, Span("t", 1, 1), memcg=memcg, task_memcg="/a/b", victims=[Victim(1, "x")])
    found = [c for c in consumers(report) if c.kind == "cgroup"]
    assert [(c.name, c.kib, c.is_victim) for c in found] == [("/a/b", 9216, True), ("/a", 1024, False)]


@pytest.mark.parametrize(
    ("kind", "mems", "mask", "expected"),
    [
        (EventKind.CPUSET, "1", None, 2000),
        (EventKind.MEMPOLICY, "0-1", "0", 1000),
        (EventKind.MEMPOLICY, "0-1", "0-1", 3000),
        (EventKind.GLOBAL, "1", "1", 40000),
        (EventKind.CPUSET, "junk", None, 40000),
    ],
)
def test_limit_of_a_bound_request_is_that_of_its_nodes(kind, mems, mask, expected):
    report = host([], {"free": 1}, trigger=Trigger("x", mems_allowed=mems, nodemask=mask))
    report.kind = kind
    report.meminfo.zones = [Zone(0, "Normal", {"managed": 1000}), Zone(1, "Normal", {"managed": 2000})]
    assert limit_kib(report) == expected


def test_memory_of_another_node_is_not_blamed_for_a_bound_request():
    report = host([row(1, 0, 300, 0, 0, "x")], {"active_anon": 500, "shmem": 9000},
                  trigger=Trigger("x", mems_allowed="0-1", nodemask="1"))  # fmt: skip
    report.kind = EventKind.MEMPOLICY
    report.meminfo.zones = [
        Zone(0, "Normal", {"managed": 30000, "shmem": 28000, "active_anon": 28000}),
        Zone(1, "Normal", {"managed": 2000, "shmem": 100, "active_anon": 1600}),
    ]
    assert [c.kib for c in consumers(report) if c.kind == "shared"] == [100]
    found = culprit_of(report)
    assert found is not None
    assert (found.name, found.share_pct) == ("x", 60.0)


TASKS = st.builds(
    row, st.integers(1, 30), st.integers(0, 3), st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**10),
    st.text(max_size=15), st.integers(0, 10**7),
)  # fmt: skip


@given(tasks=st.lists(TASKS, max_size=20), pages=st.dictionaries(st.sampled_from(["active_anon", "shmem", "slab_unreclaimable", "mapped"]), st.integers(0, 10**9)), victim=st.none() | st.integers(1, 30))
def test_any_table_gives_sane_consumers(tasks, pages, victim):
    report = host(tasks, pages, victim)
    accountings = account(report)
    found = consumers(report, accountings)
    assert all(c.kib > 0 and (c.share_pct is None or 0 <= c.share_pct <= 100) for c in found)
    for kind in ("process", "name", "user"):
        sizes = [c.kib for c in found if c.kind == kind]
        assert len(sizes) <= 10
    processes = [c.kib for c in found if c.kind == "process"]
    assert processes == sorted(processes, reverse=True)
    guilty = culprit(report, accountings, found)
    assert guilty is None or guilty in found
