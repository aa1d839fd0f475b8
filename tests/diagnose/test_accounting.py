"""Accounting: exact sums from real counters, and the sum rule for any counters at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.diagnose.accounting import ROWS, account
from oomsight.diagnose.scope import managed_kib
from oomsight.naming.marked import unmark
from oomsight.report.model import (
    EventKind,
    HugePages,
    Memcg,
    MemcgLine,
    MemcgStats,
    MemInfo,
    NodeMem,
    OomReport,
    Span,
    Zone,
)


def report(kind: EventKind = EventKind.GLOBAL, **fields: object) -> OomReport:
    return OomReport(kind, Span("test", 1, 1), **fields)  # type: ignore[arg-type]


def by_key(accounting) -> dict[str, int]:
    return {item.key: item.kib for item in accounting.items}


def hugetlb_host() -> MemInfo:
    # Debian 6.18.15, 400 MiB guest, 80 huge pages reserved and unused (rig scenario hugetlb_reserved).
    return MemInfo(
        pages={
            "active_anon": 40093, "inactive_anon": 0, "isolated_anon": 0, "active_file": 0, "inactive_file": 0,
            "isolated_file": 0, "unevictable": 2375, "dirty": 0, "writeback": 0, "slab_reclaimable": 200,
            "slab_unreclaimable": 1982, "mapped": 696, "shmem": 1582, "pagetables": 212, "sec_pagetables": 0,
            "bounce": 0, "kernel_misc_reclaimable": 0, "free": 889, "free_pcp": 728, "free_cma": 0,
        },
        counts={"ram": 102270, "reserved": 12437, "highmem": 0, "hwpoisoned": 0, "pagecache": 1582, "swapcache": 0},
        nodes=[NodeMem(0, {"active_anon": 160372, "unevictable": 9500, "shmem": 6328, "kernel_stack": 896,
                           "pagetables": 848, "sec_pagetables": 0})],
        zones=[
            Zone(0, "DMA", {"free": 1420, "min": 104, "present": 15992, "managed": 15360}),
            Zone(0, "DMA32", {"free": 2136, "min": 2236, "present": 393088, "managed": 343972, "mlocked": 9512}),
        ],
        hugepages=[HugePages(0, 80, 80, 0, 2048)],
        free_swap_kib=0, total_swap_kib=0,
    )  # fmt: skip


def test_host_of_a_real_report_adds_up_to_the_managed_memory():
    (host,) = account(report(meminfo=hugetlb_host(), page_size=4096))
    assert host.total_kib == 359332 == (102270 - 12437) * 4
    assert by_key(host) == {
        "anon": (40093 - 1582) * 4, "shmem": 1582 * 4, "file": 0, "unevictable": 9500, "slab_reclaimable": 800,
        "slab_unreclaimable": 7928, "kernel_misc_reclaimable": 0, "pagetables": 848, "sec_pagetables": 0,
        "kernel_stack": 896, "bounce": 0, "hugepages": 80 * 2048, "free_pcp": 2912, "free": 3556, "unaccounted": 8680,
    }  # fmt: skip
    assert not host.approximate
    assert host.basis == "managed memory of all zones"
    assert (host.swap_total_kib, host.swap_free_kib) == (0, 0)


def test_parts_refine_but_do_not_add():
    (host,) = account(report(meminfo=hugetlb_host(), page_size=4096))
    parts = {item.key: {p.key: p.kib for p in item.parts} for item in host.items if item.parts}
    assert parts == {
        "unevictable": {"mlocked": 9500},  # printed 9512 for the zones: per-CPU drift, cut to its item
        "hugepages": {"hugepages_free": 163840},
        "free": {"free_reserve": 104 + 2136},
    }


def test_reserved_of_3_13_is_not_believed_when_all_zones_are_listed():
    info = MemInfo(
        pages={"free": 100},
        counts={"ram": 2000, "reserved": 10},  # the last zone's only
        zones=[Zone(0, "DMA", {"present": 4000, "managed": 3600}), Zone(0, "Normal", {"present": 4000, "managed": 3960})],
    )
    assert managed_kib(info, 4) == (7560, "managed memory of all zones")


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        # Debian 5.10.262, allocation bound to node 0: node 1 is not listed.
        (MemInfo(counts={"ram": 130942, "reserved": 9073},
                 zones=[Zone(0, "DMA", {"present": 15992, "managed": 15908}),
                        Zone(0, "DMA32", {"present": 245760, "managed": 241228})]),
         (487476, "pages RAM − pages reserved")),
        (MemInfo(zones=[Zone(0, "DMA32", {"present": 10, "managed": 8})]), (8, "managed memory of the zones listed")),
        (MemInfo(counts={"ram": 100}), (400, "pages RAM (the reserved part is not known)")),
        (MemInfo(zones=[Zone(None, "DMA", {"present": 10})]), (10, "present memory of the zones listed")),
        (MemInfo(), None),
    ],
)  # fmt: skip
def test_managed_falls_back_to_what_is_printed(info, expected):
    assert managed_kib(info, 4) == expected


def test_node_accounting_appears_when_nodes_are_hidden():
    info = MemInfo(
        pages={"active_anon": 724, "inactive_anon": 90444, "unevictable": 2377, "shmem": 1592, "free": 22307},
        counts={"ram": 130942, "reserved": 9073},
        nodes=[NodeMem(0, {"active_anon": 1436, "inactive_anon": 237300, "unevictable": 332, "shmem": 3180,
                           "active_file": 0, "inactive_file": 0, "kernel_stack": 704})],
        zones=[
            Zone(0, "DMA", {"free": 1024, "present": 15992, "managed": 15908, "pagetables": 28}),
            Zone(0, "DMA32", {"free": 1364, "present": 245760, "managed": 241228, "pagetables": 440}),
        ],
    )  # fmt: skip
    host, node = account(report(EventKind.MEMPOLICY, meminfo=info, page_size=4096))
    assert (host.scope, node.scope, node.name) == ("host", "node", "node 0")
    assert node.total_kib == 15908 + 241228
    assert by_key(node) == {
        "anon": 1436 + 237300 - 3180, "shmem": 3180, "file": 0, "unevictable": 332, "pagetables": 468,
        "kernel_stack": 704, "free": 2388, "unaccounted": 257136 - 238736 - 332 - 468 - 704 - 2388,
    }  # fmt: skip
    assert "slab" in (node.items[-1].note or "")


def test_kernel_2_6_18_counters_become_one_lru_item():
    info = MemInfo(
        pages={"Active": 1000, "inactive": 200, "free": 50, "slab": 30, "mapped": 900, "pagetables": 5},
        counts={"ram": 1500, "reserved": 100},
    )
    (host,) = account(report(meminfo=info, page_size=4096))
    assert by_key(host) == {"lru": 4800, "slab": 120, "pagetables": 20, "free": 200, "unaccounted": 460}


def test_unknown_page_size_is_said():
    info = MemInfo(pages={"free": 10}, counts={"ram": 20, "reserved": 0})
    (host,) = account(report(meminfo=info))
    assert host.total_kib == 80
    assert host.basis == "pages RAM − pages reserved; page size not known, 4 KiB assumed"


def test_64_kib_pages_scale_every_global_counter():
    info = MemInfo(pages={"free": 10, "active_anon": 5}, counts={"ram": 20, "reserved": 0})
    (host,) = account(report(meminfo=info, page_size=65536))
    assert (host.total_kib, by_key(host)["anon"], by_key(host)["free"]) == (1280, 320, 640)


def test_small_excess_is_cut_from_the_biggest_item_and_said():
    info = MemInfo(pages={"active_anon": 1000, "free": 10}, counts={"ram": 1000, "reserved": 0})
    (host,) = account(report(meminfo=info, page_size=4096))
    assert by_key(host) == {"anon": 3960, "free": 40, "unaccounted": 0}
    assert host.approximate
    assert host.items[0].note == "printed as 4000 KiB; 40 KiB more than fits into the total"


def test_big_excess_makes_the_sum_the_total():
    info = MemInfo(pages={"active_anon": 9000, "free": 10}, counts={"ram": 1000, "reserved": 0})
    (host,) = account(report(meminfo=info, page_size=4096))
    assert (host.total_kib, host.approximate) == (36040, True)
    assert "gives 4000 KiB" in host.basis


def test_nothing_printed_gives_no_accounting():
    assert account(report()) == []
    assert account(report(meminfo=MemInfo(counts={"ram": 5}), memcg=Memcg())) == []


def memcg_report(stats: list[MemcgStats], **fields: object) -> OomReport:
    memcg = Memcg(memory=MemcgLine(49152, 49152, 220), stats=stats, **fields)  # type: ignore[arg-type]
    return report(EventKind.MEMCG, memcg=memcg, oom_memcg="/system.slice/db.service", page_size=4096)


def test_memcg_v2_of_a_real_report_is_accounted_to_the_byte():
    # Debian 7.3.4, rig scenario memcg_swap: anon + kernel + unmapped swap cache are exactly the usage.
    stats = {
        "anon": 49938432, "file": 0, "kernel": 167936, "kernel_stack": 0, "pagetables": 163840, "percpu": 0, "sock": 0,
        "shmem": 0, "swapcached": 225280, "inactive_anon": 17096704, "active_anon": 33067008, "slab": 1536,
    }  # fmt: skip
    swap = MemcgLine(32576, 32768, 0)
    (cgroup,) = account(memcg_report([MemcgStats("/system.slice/db.service", stats)], swap=swap))
    assert by_key(cgroup) == {
        "anon": 48768, "shmem": 0, "file": 0, "swapcached": 220, "kernel": 164, "unaccounted": 0,
    }  # fmt: skip
    assert (cgroup.total_kib, cgroup.approximate) == (49152, False)
    assert {p.key: p.kib for p in cgroup.items[4].parts} == {"pagetables": 160, "slab": 1}
    assert unmark(cgroup.name) == "/system.slice/db.service"
    assert (cgroup.swap_total_kib, cgroup.swap_free_kib) == (32768, 192)


def test_memcg_file_does_not_contain_shmem_twice():
    stats = {"anon": 10 << 20, "file": 30 << 20, "shmem": 20 << 20, "file_dirty": 1 << 20, "sock": 4096}
    (cgroup,) = account(memcg_report([MemcgStats("/a", stats)]))
    assert by_key(cgroup) == {"anon": 10240, "shmem": 20480, "file": 10240, "sock": 4, "unaccounted": 8188}
    assert [(p.key, p.kib) for p in cgroup.items[2].parts] == [("dirty", 1024)]


def test_memcg_v1_on_5_10_takes_kernel_memory_from_the_kmem_line():
    # Debian 5.10.262, rig scenario memcg_v1: v2 names on v1, no "kernel" statistic.
    stats = {"anon": 50147328, "file": 0, "kernel_stack": 0, "percpu": 0, "sock": 0, "shmem": 0, "slab": 0,
             "inactive_anon": 50147328, "active_anon": 0}  # fmt: skip
    (cgroup,) = account(memcg_report([MemcgStats("/docker/x", stats)], kmem=MemcgLine(120, "unlimited", 0)))
    assert by_key(cgroup) == {"anon": 48972, "shmem": 0, "file": 0, "kernel": 120, "unaccounted": 60}


def test_memcg_3_10_sums_the_subtree_and_derives_shmem():
    mib = 1 << 20
    own = MemcgStats("/a", {"cache": 0, "rss": mib, "active_anon": mib, "inactive_anon": 0, "swap": 0})
    child = MemcgStats("/a/b", {"cache": 6 * mib, "rss": 8 * mib, "active_anon": 10 * mib, "inactive_anon": mib})
    (cgroup,) = account(memcg_report([own, child]))
    assert by_key(cgroup) == {"anon": 9216, "shmem": 3072, "file": 3072, "unaccounted": 49152 - 15360}
    assert "summed over 2 cgroups" in cgroup.basis


def test_memcg_without_statistics_is_one_unaccounted_item():
    (cgroup,) = account(memcg_report([]))
    assert by_key(cgroup) == {"unaccounted": 49152}
    assert cgroup.items[0].note == "the report has no statistics of this cgroup"


NUMBERS = st.integers(min_value=-(2**20), max_value=2**44)
PAGE_NAMES = sorted({name for row in ROWS for name in row.pages} | {"dirty", "free_cma", "mapped"})
KIB_NAMES = sorted({name for row in ROWS for name in row.node_kib + row.zone_kib} | {"present", "managed", "min"})
STAT_NAMES = ["anon", "file", "shmem", "kernel", "slab", "sock", "cache", "rss", "total_rss", "total_cache",
              "swapcached", "active_anon", "inactive_anon", "zswap", "hugetlb", "swap"]  # fmt: skip
TABLE = st.dictionaries(st.sampled_from(KIB_NAMES), NUMBERS, max_size=8)
INFOS = st.builds(
    MemInfo,
    pages=st.dictionaries(st.sampled_from(PAGE_NAMES), NUMBERS),
    counts=st.dictionaries(st.sampled_from(["ram", "reserved", "swapcache"]), NUMBERS),
    nodes=st.lists(st.builds(NodeMem, node=st.integers(0, 2), kib=TABLE), max_size=3),
    zones=st.lists(st.builds(Zone, node=st.none() | st.integers(0, 2), name=st.just("Z"), kib=TABLE), max_size=4),
    hugepages=st.lists(st.builds(HugePages, st.none() | st.integers(0, 2), NUMBERS, NUMBERS, NUMBERS, NUMBERS), max_size=2),
    slabs=st.lists(st.tuples(st.text(max_size=3), NUMBERS, NUMBERS), max_size=2),
)
LINES = st.builds(MemcgLine, NUMBERS, st.none() | st.just("unlimited") | NUMBERS, st.none())
MEMCGS = st.builds(
    Memcg,
    memory=st.none() | LINES, memsw=st.none() | LINES, kmem=st.none() | LINES, swap=st.none() | LINES,
    stats=st.lists(st.builds(MemcgStats, st.none() | st.text(max_size=3), st.dictionaries(st.sampled_from(STAT_NAMES), NUMBERS)), max_size=3),
)  # fmt: skip


@given(info=st.none() | INFOS, memcg=st.none() | MEMCGS, page_size=st.sampled_from([None, 4096, 16384, 65536]))
def test_items_always_add_up_and_are_never_negative(info, memcg, page_size):
    for accounting in account(report(meminfo=info, memcg=memcg, page_size=page_size)):
        assert sum(item.kib for item in accounting.items) == accounting.total_kib
        assert all(item.kib >= 0 for item in accounting.items)
        assert all(0 <= part.kib <= item.kib for item in accounting.items for part in item.parts if item.key != "kernel")
        assert len({item.key for item in accounting.items}) == len(accounting.items)
        assert accounting.items[-1].key == "unaccounted"
