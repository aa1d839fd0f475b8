"""oomsight.kernel.gfp; masks with names were printed by Debian kernels 5.10, 6.1 and 6.12, the others are the same
requests in the older layouts (include/linux/gfp.h of the releases named in the table)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.kernel.gfp import COMBINATIONS, LAYOUTS, decode_gfp, expand_flags, highest_zone, layout_of, words_of

SAME_REQUEST = {  # per row: A, B, C, D, E
    "GFP_KERNEL": (0xD0, 0x24000C0, 0x14000C0, 0x6000C0, 0xCC0),
    "GFP_NOFS": (0x50, 0x2400040, 0x1400040, 0x600040, 0xC40),
    "GFP_HIGHUSER_MOVABLE": (0x200DA, 0x24200CA, 0x14200CA, 0x6200CA, 0x100CCA),
    "GFP_HIGHUSER_MOVABLE|__GFP_ZERO": (0x280DA, 0x24280CA, 0x14280CA, 0x6280CA, 0x100DCA),
    "GFP_HIGHUSER_MOVABLE|__GFP_COLD": (0x201DA, 0x24201CA, 0x14201CA, None, None),
    "GFP_HIGHUSER_MOVABLE|__GFP_COMP": (0x240DA, 0x24240CA, 0x14240CA, 0x6240CA, 0x140CCA),
    "GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO": (0x2C0DA, None, None, None, 0x140DCA),
    "GFP_KERNEL|__GFP_COMP": (0x40D0, 0x24040C0, 0x14040C0, 0x6040C0, 0x40CC0),
}
PRINTED = {  # what 5.10.262, 6.1.192 and 6.12.107 printed beside the number
    0x2DC2: "GFP_KERNEL|__GFP_HIGHMEM|__GFP_NOWARN|__GFP_ZERO",
    0x400DC0: "GFP_KERNEL_ACCOUNT|__GFP_ZERO",
    0x40CD0: "GFP_KERNEL|__GFP_COMP|__GFP_RECLAIMABLE",
    0x4C2CC0: "GFP_KERNEL_ACCOUNT|__GFP_NOWARN|__GFP_COMP|__GFP_NOMEMALLOC",
    0xCD0: "GFP_KERNEL|__GFP_RECLAIMABLE",
    0x102DC2: "GFP_HIGHUSER|__GFP_NOWARN|__GFP_ZERO",
    0x440DC0: "GFP_KERNEL_ACCOUNT|__GFP_COMP|__GFP_ZERO",
}


@pytest.mark.parametrize(
    ("mask", "layout", "names"),
    [(m, name, names) for names, row in SAME_REQUEST.items() for m, name in zip(row, "ABCDE", strict=True) if m],
)
def test_decode_gfp_same_request_in_every_layout(mask, layout, names):
    assert layout_of(mask) == layout
    assert "|".join(decode_gfp(mask)) == names


@pytest.mark.parametrize(("mask", "names"), PRINTED.items())
def test_decode_gfp_matches_what_kernels_printed(mask, names):
    assert layout_of(mask) == "E"
    assert "|".join(decode_gfp(mask)) == names


def test_decode_gfp_movable_bit_of_old_2_6():
    assert layout_of(0x1201D2) == "A0"
    assert decode_gfp(0x1201D2) == ("GFP_HIGHUSER_MOVABLE", "__GFP_COLD")


def test_decode_gfp_keeps_unknown_bits_as_hex():
    assert decode_gfp(0x3000D0) == ("GFP_KERNEL", "__GFP_NOTRACK", "0x100000")
    assert decode_gfp(0x20) == ("0x20",)
    assert decode_gfp(0xCC0, "nonsense") == ("0xcc0",)
    assert decode_gfp(0) == ()


def test_layout_of_account_on_one_node_is_not_taken_for_4_18():
    assert layout_of(0x600CC0) == "E"


def test_layout_of_undecidable_masks():
    assert layout_of(0) is None
    assert layout_of(0x20) is None
    assert layout_of(0x400000) is None


@given(st.integers(min_value=0, max_value=(1 << 40) - 1), st.sampled_from([row.name for row in LAYOUTS]))
def test_decode_gfp_loses_no_bit(mask, layout):
    bits = dict(next(row.bits for row in LAYOUTS if row.name == layout))
    wait = bits.get("__GFP_WAIT")
    bits |= {"__GFP_DIRECT_RECLAIM": wait, "__GFP_KSWAPD_RECLAIM": wait} if wait else {}
    back = 0
    for name in decode_gfp(mask, layout):
        if name.startswith("0x"):
            back |= int(name, 16)
        elif name == "GFP_ATOMIC" and wait:
            back |= bits["__GFP_HIGH"]
        else:
            for flag in expand_flags([name]):
                back |= bits[flag]
    assert back == mask


@pytest.mark.parametrize(
    ("flags", "zone"),
    [
        (["GFP_KERNEL"], "Normal"),
        (["GFP_HIGHUSER_MOVABLE", "__GFP_ZERO"], "Movable"),
        (["GFP_HIGHUSER"], "HighMem"),
        (["GFP_KERNEL", "GFP_DMA32"], "DMA32"),
        (["GFP_KERNEL", "GFP_DMA"], "DMA"),
        (["GFP_KERNEL", "__GFP_MOVABLE"], "Normal"),
        (["GFP_HIGHUSER_MOVABLE", "GFP_DMA32"], "DMA32"),
        ([], "Normal"),
    ],
)
def test_highest_zone_by_selector_bits(flags, zone):
    assert highest_zone(flags) == zone


def test_expand_flags_speaks_todays_vocabulary():
    kernel = {"__GFP_DIRECT_RECLAIM", "__GFP_KSWAPD_RECLAIM", "__GFP_IO", "__GFP_FS"}
    assert expand_flags(["GFP_KERNEL"]) == kernel
    assert expand_flags(["__GFP_WAIT", "__GFP_IO", "__GFP_FS"]) == kernel
    assert expand_flags(["__GFP_NEW_THING"]) == {"__GFP_NEW_THING"}
    assert all(flag.startswith("__") for name in COMBINATIONS for flag in expand_flags([name]))


@pytest.mark.parametrize(
    ("mask", "order", "page_size", "words"),
    [
        (0x100DCA, 0, 4096, "one page (4 KiB) of zeroed movable user memory; may sleep, may do I/O"),
        (0x100CCA, 0, 65536, "one page (64 KiB) of movable user memory or page cache; may sleep, may do I/O"),
        (0xC40, 2, 4096, "4 contiguous pages (16 KiB) of kernel memory; may sleep, may do I/O, must not enter a file system"),
        (0xC00, 0, 4096, "one page (4 KiB) of kernel memory; may sleep, must not start I/O"),
        (0xCC4, 0, 4096, "one page (4 KiB) of kernel memory from zone DMA32 or lower; may sleep, may do I/O"),
        (0xCC0, -1, 4096, "no allocation: the OOM killer was called by hand (SysRq-f)"),
        (0x20, 0, 4096, "one page (4 KiB); flags not decoded (0x20)"),
        (0, 0, 4096, "one page (4 KiB); no flags recorded, as when a page fault reports that it ran out of memory"),
    ],
)
def test_words_of_request(mask, order, page_size, words):
    assert words_of(decode_gfp(mask), order, page_size) == words
