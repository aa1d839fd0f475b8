"""oomsight.kernel.watermark; numbers of the real zone are from Debian 6.1.192, scenario global_noswap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.kernel.watermark import free_blocks, zone_check

DMA32 = (
    (2, 4, "UE"), (3, 8, "UME"), (2, 16, "UM"), (2, 32, "UM"), (2, 64, "UM"), (1, 128, "M"), (0, 256, ""),
    (1, 512, "E"), (1, 1024, "M"), (0, 2048, ""), (0, 4096, ""),
)  # fmt: skip


def test_zone_check_real_zone_below_min():
    check = zone_check(1920, 1964)
    assert (check.enough_free, check.passes, check.margin_kib) == (False, False, -44)
    assert check.words == "1,920 KiB usable of 1,920 KiB free, not more than the 1,964 KiB it must keep"


def test_zone_check_lowmem_reserve_protects_lower_zone():
    # Zone DMA of the same report: 1168 kB free, min 116 kB, but 265 pages kept from requests for higher zones.
    assert zone_check(1168, 116, 265 * 4).passes is False
    assert zone_check(1168, 116, 265 * 4).margin_kib == -8
    assert zone_check(1168, 116).passes is True


def test_zone_check_must_exceed_not_reach_the_mark():
    assert zone_check(4000, 4000).passes is False
    assert zone_check(4004, 4000).passes is True


def test_zone_check_cma_and_highatomic_are_not_usable():
    assert zone_check(5000, 4000, free_cma_kib=2000).passes is False
    assert zone_check(5000, 4000, free_cma_kib=2000, may_use_cma=True).passes is True
    assert zone_check(5000, 4000, highatomic_kib=2000).passes is False
    assert zone_check(5000, 4000, highatomic_kib=2000, may_use_reserves=True).needed_kib == 2000


def test_zone_check_order_needs_a_block_on_a_usable_list():
    plenty = 100_000
    fragmented = ((20000, 4, "UM"), (2500, 8, "U"), (1, 16, "H"), (1, 32, "C"))
    assert zone_check(plenty, 1000, order=1, buddy=fragmented).passes is True
    check = zone_check(plenty, 1000, order=2, buddy=fragmented)
    assert (check.enough_free, check.has_block, check.passes) == (True, False, False)
    assert check.words.endswith("; no usable block of 16 KiB")
    assert zone_check(plenty, 1000, order=2, buddy=fragmented, may_use_cma=True).passes is True
    assert zone_check(plenty, 1000, order=2, buddy=fragmented, may_use_reserves=True).passes is True


def test_zone_check_order_without_buddy_line_is_unknown():
    check = zone_check(100_000, 1000, order=2)
    assert (check.enough_free, check.has_block, check.passes) == (True, None, None)
    assert zone_check(500, 1000, order=2).passes is False


def test_zone_check_halving_rule_of_old_kernels():
    # 1000 small pages and two blocks of 16 KiB: the block exists, but <= 4.3 asks for more free memory above order 0.
    buddy = ((1000, 4, ""), (0, 8, ""), (2, 16, ""))
    free_kib = 1000 * 4 + 2 * 16
    assert zone_check(free_kib, 400, order=2, buddy=buddy).passes is True
    assert zone_check(free_kib, 400, order=2, buddy=buddy, order_rule="halving").passes is False


@pytest.mark.parametrize(("order", "blocks"), [(0, 14), (4, 5), (5, 3), (7, 2), (8, 1), (9, 0)])
def test_free_blocks_counts_from_the_order_up(order, blocks):
    assert free_blocks(DMA32, order) == blocks


def test_free_blocks_page_size_of_64_kib():
    assert free_blocks(((3, 64, "U"), (1, 128, "M")), 1, 65536) == 1


sizes = st.integers(0, 1 << 24)


@given(sizes, sizes, sizes, sizes, sizes, st.booleans(), st.booleans(), st.integers(0, 10))
def test_zone_check_more_free_never_fails_more(free, mark, reserve, cma, atomic, use_cma, use_reserves, order):  # noqa: PLR0917
    def check(kib):
        return zone_check(kib, mark, reserve, order=order, free_cma_kib=cma, highatomic_kib=atomic,
                          may_use_cma=use_cma, may_use_reserves=use_reserves, buddy=DMA32)  # fmt: skip

    less, more = check(free), check(free + 4096)
    assert more.margin_kib == less.margin_kib + 4096
    assert not (less.passes and not more.passes)
