"""Memory blocks: Mem-Info of old and new kernels, the cgroup block, units."""

from __future__ import annotations

import pytest

from oomsight.report.grammar import classify
from oomsight.report.memory import PAGE_COUNTS, limit_kib, parse_memcg, parse_meminfo
from oomsight.report.model import UNLIMITED


def parts(text: str) -> dict[str, list[tuple[int, str]]]:
    found: dict[str, list[tuple[int, str]]] = {}
    for no, line in enumerate(text.strip().split("\n"), 1):
        found.setdefault(classify(line.strip()) or "?", []).append((no, line.strip()))
    return found


INFO = """
Mem-Info:
active_anon:739 inactive_anon:60531 isolated_anon:1
 free:672 free_pcp:660 free_cma:3
Node 0 active_anon:2956kB inactive_anon:242124kB isolated(anon):4kB shmem_thp: 8kB kernel_stack:1600kB all_unreclaimable? no Balloon:12kB
Node 0 DMA32 free:1652kB boost:4096kB min:6044kB low:6528kB high:7012kB reserved_highatomic:64KB managed:265936kB free_cma:0kB
lowmem_reserve[]: 0 259 300
Node 0 DMA32: 2*4kB (UM) 1*8kB (H) 0*16kB = 16kB
Node 0 hugepages_total=4 hugepages_free=3 hugepages_surp=1 hugepages_size=2048kB
22600 total pagecache pages
5 pages in swap cache
Free swap  = 98044kB
Total swap = 262140kB
81781 pages RAM
0 pages HighMem/MovableOnly
11457 pages reserved
2 pages hwpoisoned
Unreclaimable slab info:
Name                      Used          Total
skbuff_head_cache    3207098KB    3375622KB
Memory allocations:
   48.2 MiB  12345 mm/slub.c:2420 func:alloc_slab_page
"""


def test_meminfo_every_kind_of_line() -> None:
    info = parse_meminfo(parts(INFO))
    assert info is not None
    assert info.pages == {"active_anon": 739, "inactive_anon": 60531, "isolated_anon": 1, "free": 672, "free_pcp": 660, "free_cma": 3}
    (node,) = info.nodes
    assert (node.node, node.all_unreclaimable) == (0, False)
    assert node.kib == {"active_anon": 2956, "inactive_anon": 242124, "isolated(anon)": 4, "shmem_thp": 8, "kernel_stack": 1600, "Balloon": 12}
    (zone,) = info.zones
    assert (zone.node, zone.name, zone.lowmem_reserve_pages) == (0, "DMA32", (0, 259, 300))
    assert zone.kib["free"] == 1652
    assert zone.kib["reserved_highatomic"] == 64
    assert zone.buddy == ((2, 4, "UM"), (1, 8, "H"), (0, 16, ""))
    assert zone.buddy_total_kib == 16
    (huge,) = info.hugepages
    assert (huge.node, huge.total, huge.free, huge.surp, huge.size_kib) == (0, 4, 3, 1, 2048)
    assert (info.free_swap_kib, info.total_swap_kib) == (98044, 262140)
    assert info.counts == {"pagecache": 22600, "swapcache": 5, "ram": 81781, "highmem": 0, "reserved": 11457, "hwpoisoned": 2}
    assert info.slabs == [("skbuff_head_cache", 3207098, 3375622)]
    assert info.alloc_sites == [(round(48.2 * 1024 * 1024), 12345, "mm/slub.c:2420 func:alloc_slab_page")]


def test_meminfo_without_numa_and_absent_counters() -> None:
    info = parse_meminfo(parts("DMA free:512kB min:88kB pages_scanned:7 all_unreclaimable? yes\nDMA: 1*4kB 2*8kB = 20kB"))
    assert info is not None
    (zone,) = info.zones
    assert (zone.node, zone.name, zone.pages_scanned, zone.all_unreclaimable) == (None, "DMA", 7, True)
    assert zone.buddy == ((1, 4, ""), (2, 8, ""))
    assert (info.free_swap_kib, info.total_swap_kib, info.pages, info.counts) == (None, None, {}, {})
    assert parse_meminfo({}) is None


@pytest.mark.parametrize(("words", "key"), PAGE_COUNTS)
def test_every_page_count_line_has_its_shape_and_key(words: str, key: str) -> None:
    info = parse_meminfo(parts(f"41 {words}"))
    assert info is not None
    assert info.counts == {key: 41}


@pytest.mark.parametrize(
    ("printed", "limit"),
    [(0, 0), (65536, 65536), (9007199254740988, UNLIMITED), (9007199254740991, UNLIMITED), (18014398509481983, UNLIMITED),
     (9007199254740928, UNLIMITED), (144115188075855360, UNLIMITED), (2**40, 2**40)],
)  # fmt: skip
def test_unlimited_of_every_page_size(printed: int, limit: object) -> None:
    assert limit_kib(printed) == limit


def test_memcg_v2_block_is_in_bytes() -> None:
    found = parts("memory: usage 98304kB, limit 98304kB, failcnt 23\nswap: usage 0kB, limit 9007199254740988kB, failcnt 0\n"
                  "Memory cgroup stats for /a b:c:\nanon 100442112\npgfault 31337\nfile 0")  # fmt: skip
    memcg = parse_memcg(found, found["stat"])
    assert memcg is not None
    assert memcg.memory is not None
    assert memcg.swap is not None
    assert (memcg.memory.usage_kib, memcg.memory.limit_kib, memcg.memory.failcnt) == (98304, 98304, 23)
    assert (memcg.swap.limit_kib, memcg.memsw, memcg.kmem) == (UNLIMITED, None, None)
    assert [(s.path, s.stats) for s in memcg.stats] == [("/a b:c", {"anon": 100442112, "pgfault": 31337, "file": 0})]
    assert not memcg.stats_cut


def test_memcg_statistics_before_5_3_are_kib_and_one_line_a_cgroup() -> None:
    memcg = parse_memcg(parts("Memory cgroup stats for /lxc: cache:1KB rss:2KB\nMemory cgroup stats for /lxc/a: cache:3KB rss:4KB"), ())
    assert memcg is not None
    assert [(s.path, s.stats) for s in memcg.stats] == [("/lxc", {"cache": 1024, "rss": 2048}), ("/lxc/a", {"cache": 3072, "rss": 4096})]


def test_memcg_statistics_cut_at_the_record_limit_are_told() -> None:
    found = parts("Memory cgroup stats for /a:\n" + "\n".join(f"s{c} 1" for c in "abcdefg"))
    memcg = parse_memcg(found, found["stat"])
    assert memcg is not None
    assert memcg.stats_cut


def test_memcg_protection_and_absence() -> None:
    memcg = parse_memcg(parts("memory: usage 5kB, limit 6kB, failcnt 0\nMemory cgroup min protection 12kB -- low protection 34kB"), ())
    assert memcg is not None
    assert (memcg.min_protection_kib, memcg.low_protection_kib) == (12, 34)
    assert parse_memcg({}, ()) is None


@pytest.mark.parametrize(
    ("line", "blocks", "total"),
    [
        ("1*4kB (M) 0*8kB 12*16kB (UME) = 200kB", ((1, 4, "M"), (0, 8, ""), (12, 16, "UME")), 200),
        ("1*4kB 2*8kB (C) = 20kB", ((1, 4, ""), (2, 8, "C")), 20),
        ("1*4kB (EM) 2*8kB = 20kB", ((1, 4, "EM"), (2, 8, "")), 20),  # in an order of no kernel that was read
        ("1*4kB (M) 2*8kB", ((1, 4, "M"), (2, 8, "")), None),  # cut
        ("1*4kB (M) 2*8kB (U", ((1, 4, "M"), (2, 8, "")), None),
        ("1*4kB (M) 2*8kB (U) 4", ((1, 4, "M"), (2, 8, "U")), None),
        ("1*4kB 2*8kB = 20kB = 20kB", ((1, 4, ""), (2, 8, "")), 20),
        ("1*4kB (M) 2*8kB = 20", ((1, 4, "M"), (2, 8, "")), None),
        ("007*4kB 2*8kB = 44kB", ((7, 4, ""), (2, 8, "")), 44),
        ("1*4kB 2*8kB = 12*16kB", ((1, 4, ""), (2, 8, ""), (12, 16, "")), None),
        ("1*4kB 2*8k5B = 20kB", ((1, 4, ""),), 20),
        ("1*4kB 3 2*8kB = 20kB", ((1, 4, ""), (2, 8, "")), 20),
        ("1*4kB (M) 2*8kB = \u0661kB", ((1, 4, "M"), (2, 8, "")), None),
        ("empty", (), None),
    ],
)
def test_free_blocks(line: str, blocks: tuple[tuple[int, int, str], ...], total: int | None) -> None:
    info = parse_meminfo({"buddy": [(7, f"Node 0 DMA32: {line}")]})
    assert info is not None
    assert info.zones[0].buddy == blocks
    assert info.zones[0].buddy_total_kib == total
