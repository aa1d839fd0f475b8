"""The failed request and the zones that could not serve it, with numbers of real reports."""

from __future__ import annotations

import pytest

from oomsight.diagnose.request import gfp_words, zone_checks
from oomsight.report.model import EventKind, MemInfo, OomReport, Span, Trigger, Zone

HIGHUSER = ("GFP_HIGHUSER_MOVABLE", "__GFP_ZERO", "__GFP_COMP")
KERNEL = ("GFP_KERNEL_ACCOUNT", "__GFP_NOWARN", "__GFP_COMP", "__GFP_NOMEMALLOC")


def buddy(text: str) -> tuple[tuple[int, int, str], ...]:
    """``1*4 M`` per order, as the parser reads it."""
    rows = []
    for part in text.split(","):
        count, _, rest = part.strip().partition("*")
        kib, _, letters = rest.partition(" ")
        rows.append((int(count), int(kib), letters))
    return tuple(rows)


def report(zones: list[Zone], order: int | None = 0, flags=HIGHUSER, mask: int | None = None, **fields) -> OomReport:
    trigger = Trigger("x", gfp_mask=mask, gfp_flags=flags, order=order)
    for name in ("nodemask", "mems_allowed"):
        if name in fields:
            setattr(trigger, name, fields.pop(name))
    kind = fields.pop("kind", EventKind.GLOBAL)
    return OomReport(kind, Span("t", 1, 1), trigger=trigger, meminfo=MemInfo(zones=zones), page_size=4096, **fields)


# Debian 6.12.107, rig scenario movable_zone: an order-2 request for kernel memory; Movable is not listed.
DMA = Zone(
    0, "DMA", {"free": 1092, "min": 120, "low": 148, "high": 176, "reserved_highatomic": 0, "free_cma": 0},
    lowmem_reserve_pages=(0, 240, 240, 449, 449),
    buddy=buddy("1*4 U, 0*8, 0*16, 0*32, 1*64 U, 0*128, 0*256, 0*512, 1*1024 U, 0*2048, 0*4096"),
)  # fmt: skip
DMA32 = Zone(
    0, "DMA32", {"free": 1904, "min": 1920, "low": 2400, "high": 2880, "reserved_highatomic": 0, "free_cma": 0},
    lowmem_reserve_pages=(0, 0, 0, 209, 209),
    buddy=buddy("2*4 UE, 5*8 UE, 6*16 E, 3*32 UE, 2*64 UE, 2*128 E, 1*256 E, 2*512 UE, 0*1024, 0*2048, 0*4096"),
)  # fmt: skip


def test_real_order_2_request_fails_on_free_memory():
    dma, dma32 = zone_checks(report([DMA, DMA32], order=2, flags=KERNEL))
    # 1092 − 3 pages; reserve 240 pages against Normal; 2 blocks of 16 KiB and more.
    assert (dma.free_kib, dma.usable_kib, dma.min_kib, dma.reserve_kib, dma.passes, dma.blocks) == (1092, 1080, 120, 960, False, 2)
    assert (dma32.usable_kib, dma32.reserve_kib, dma32.passes, dma32.blocks) == (1892, 0, False, 16)
    assert (dma.eligible, dma32.eligible) == (True, True)
    assert dma32.words.startswith("node 0 DMA32: 1,892 KiB usable of 1,904 KiB free")


def test_movable_request_meets_the_bigger_reserve():
    dma, dma32 = zone_checks(report([DMA, DMA32]))
    assert (dma.reserve_kib, dma32.reserve_kib) == (449 * 4, 209 * 4)


def test_fragmentation_is_said_when_only_the_block_is_missing():
    zone = Zone(0, "Normal", {"free": 50000, "min": 1000, "low": 1250, "high": 1500},
                buddy=buddy("10000*4 UME, 1250*8 M, 3*16 H, 1*32 C"))  # fmt: skip
    (check,) = zone_checks(report([zone], order=2, flags=("GFP_KERNEL",)))
    assert (check.passes, check.blocks) == (False, 0)
    assert check.words.startswith("node 0 Normal: enough memory is free but in small pieces: ")


def test_cma_counts_only_for_movable_requests():
    zone = Zone(0, "Normal", {"free": 9000, "min": 1000, "high": 1500, "free_cma": 8500}, buddy=buddy("0*4, 0*8, 10*16 C"))
    (movable,) = zone_checks(report([zone], order=2))
    (kernel,) = zone_checks(report([zone], order=2, flags=("GFP_KERNEL",)))
    assert (movable.usable_kib, movable.passes, movable.blocks) == (8988, True, 10)
    assert (kernel.usable_kib, kernel.passes, kernel.blocks) == (488, False, 0)


def test_only_the_free_part_of_highatomic_is_kept_back_where_it_is_printed():
    kib = {"free": 5000, "min": 1000, "high": 1500, "reserved_highatomic": 4096}
    (whole,) = zone_checks(report([Zone(0, "Normal", kib)]))
    (free,) = zone_checks(report([Zone(0, "Normal", kib | {"free_highatomic": 1024})]))
    assert (whole.usable_kib, whole.passes) == (904, False)
    assert (free.usable_kib, free.passes) == (3976, True)


def test_zone_between_min_and_high_says_what_the_last_attempt_wants():
    (check,) = zone_checks(report([Zone(0, "Normal", {"free": 1400, "min": 1000, "high": 1500})]))
    assert check.passes is True
    assert check.words.endswith("the last attempt before a kill wants more than 1,500 KiB")


def test_low_zone_request_may_not_use_normal():
    zones = [Zone(0, "DMA", {"free": 10, "min": 50}, lowmem_reserve_pages=(0, 100)), Zone(0, "Normal", {"free": 99999, "min": 50})]
    dma, normal = zone_checks(report(zones, flags=("GFP_KERNEL", "GFP_DMA")))
    assert (dma.eligible, dma.reserve_kib, dma.passes) == (True, 0, False)
    assert normal.eligible is False
    assert normal.words == "node 0 Normal: above DMA, the highest zone this request may use; 97.7 MiB free"


def test_nodes_outside_the_mask_are_not_eligible():
    zones = [Zone(0, "DMA32", {"free": 10, "min": 50}), Zone(1, "Normal", {"free": 9000, "min": 50})]
    first, second = zone_checks(report(zones, kind=EventKind.MEMPOLICY, nodemask="0", mems_allowed="0-1"))
    assert (first.eligible, second.eligible) == (True, False)
    assert "on a node this request may not use" in second.words
    # The same lists mean nothing without the constraint.
    assert [c.eligible for c in zone_checks(report(zones, nodemask="0", mems_allowed="0"))] == [True, True]


def test_32_bit_kernel_has_highmem_in_its_reserve():
    # DMA, Normal, HighMem, Movable: a kernel request counts against Normal, a user request against HighMem.
    zones = [
        Zone(None, "DMA", {"free": 3000, "min": 64}, lowmem_reserve_pages=(0, 800, 4000, 4000)),
        Zone(None, "Normal", {"free": 3000, "min": 3700}, lowmem_reserve_pages=(0, 0, 25000, 25000)),
        Zone(None, "HighMem", {"free": 900000, "min": 512}, lowmem_reserve_pages=(0, 0, 0, 0)),
    ]
    kernel = zone_checks(report(zones, flags=None, mask=0xD0))
    assert [(c.eligible, c.reserve_kib, c.passes) for c in kernel] == [(True, 3200, False), (True, 0, False), (False, 0, True)]
    user = zone_checks(report(zones, flags=None, mask=0x200D2))
    assert [(c.eligible, c.reserve_kib) for c in user] == [(True, 16000), (True, 100000), (True, 0)]
    assert kernel[1].words.startswith("Normal: 3,000 KiB usable")


def test_missing_buddy_line_leaves_high_orders_open():
    (check,) = zone_checks(report([Zone(0, "Normal", {"free": 9000, "min": 50, "high": 90})], order=3))
    assert (check.passes, check.blocks) == (None, None)


def test_unknown_zone_name_is_marked_and_not_eligible():
    (check,) = zone_checks(report([Zone(0, "Fancy", {"free": 1, "min": 2})]))
    assert check.eligible is False
    assert "\x02oFancy" not in check.words
    assert "\x02o\x1fFancy\x03" in check.words


def test_a_zone_that_cannot_give_one_page_fails_whatever_the_order_was():
    # 2.6.11 printed no order, and there the low memory of 32-bit machines ran out.
    full = Zone(None, "Normal", {"free": 900, "min": 936})
    check, other = zone_checks(report([full, Zone(None, "DMA", {"free": 12540, "min": 16})], order=None, mask=0xD0))
    assert (check.passes, check.blocks) == (False, None)
    assert (other.passes, other.blocks) == (None, None)


@pytest.mark.parametrize("order", [-1, 10**6])
def test_no_request_gives_no_checks(order):
    assert zone_checks(report([DMA], order=order)) == []


def test_no_zones_or_flags_give_no_checks():
    assert zone_checks(report([])) == []
    assert zone_checks(report([DMA], flags=None)) == []
    assert gfp_words(report([], flags=None)) is None


def test_words_of_a_named_request():
    words = gfp_words(report([], order=2))
    assert words is not None
    assert (words.size_kib, words.zone, words.flags) == (16, "Movable", HIGHUSER)
    assert "16 KiB" in words.words
    assert "movable user memory" in words.words


def test_mask_without_names_is_decoded():
    words = gfp_words(report([], flags=None, mask=0x280DA))
    assert words is not None
    assert words.flags == ("GFP_HIGHUSER_MOVABLE", "__GFP_ZERO")
    assert words.zone == "Movable"


def test_sysrq_asks_for_nothing():
    words = gfp_words(report([], order=-1, flags=("GFP_KERNEL",)))
    assert words is not None
    assert (words.size_kib, words.zone) == (None, None)
    assert "SysRq" in words.words


def test_64_kib_pages_scale_order_and_reserve():
    made = report([Zone(0, "DMA", {"free": 6400, "min": 640}, lowmem_reserve_pages=(0, 10, 10))], order=1)
    made.page_size = 65536
    (check,) = zone_checks(made)
    assert (check.usable_kib, check.reserve_kib) == (6336, 640)
    assert gfp_words(made).size_kib == 128


@pytest.mark.parametrize("order", [None, 10**6])
def test_unknown_order_is_not_taken_for_one_page(order):
    words = gfp_words(report([], order=order, flags=("GFP_KERNEL",)))
    assert words is not None
    assert words.size_kib is None
    assert words.words == "an unknown number of pages of kernel memory; may sleep, may do I/O"
