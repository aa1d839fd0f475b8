"""
Whether a zone could have served a request: the page allocator's watermark test on printed numbers.

A zone passes when its free memory, less what this request may not touch, exceeds the watermark plus the lowmem
reserve, and for order > 0 a free block of that order lies on a list the request may use. "Free" is therefore never
0 when the OOM killer runs, and a zone can fail with plenty of free memory in small pieces.

Sources: __zone_watermark_ok() and __zone_watermark_unusable_free() in mm/page_alloc.c 3.10, 4.4 … 6.18.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from oomsight._named import NamedTuple

BuddyLine = Sequence[tuple[int, int, str]]
"""(free blocks, KiB of one block, migrate-type letters) per order, as in ``3*4kB (UM)``."""

USABLE_TYPES: Final = frozenset("UEMR")
"""Letters of the lists any request may take from: unmovable, reclaimable, movable; R = reserve (<= 4.3)."""
CMA_TYPE: Final = "C"  #: only for movable requests
HIGHATOMIC_TYPE: Final = "H"  #: only for requests with access to reserves (>= 4.4)

_LISTS: Final = {
    (cma, reserves): USABLE_TYPES | frozenset(CMA_TYPE * cma + HIGHATOMIC_TYPE * reserves)
    for cma in (False, True) for reserves in (False, True)
}  # fmt: skip
"""The lists a request may take from: may it use CMA areas, may it use reserves."""

OrderRule = Literal["list", "halving"]
"""How order > 0 is tested: ``list`` looks for a block (>= 4.4), ``halving`` halves the mark per order (<= 4.3)."""


class ZoneCheck(NamedTuple):
    """Outcome for one zone. KiB values are the kernel's page numbers times the page size."""

    usable_kib: int  #: free memory this request could count on
    needed_kib: int  #: watermark + lowmem reserve; usable must be MORE than this
    enough_free: bool  #: the order-0 part of the test
    has_block: bool | None  #: a block of the order is free on a usable list; ``None`` = no buddy line
    passes: bool | None  #: the whole test; ``None`` = depends on the unknown buddy line
    words: str

    @property
    def margin_kib(self) -> int:
        """How far above (or, negative, below) the mark the zone was."""
        return self.usable_kib - self.needed_kib


def free_blocks(
    buddy: BuddyLine, order: int, page_size: int = 4096, *, may_use_cma: bool = False, may_use_reserves: bool = False
) -> int:
    """
    Free blocks of at least ``order`` pages in lists the request may use.

    The letters say which lists of an order are not empty, not how many blocks are on each: 0 is certain, a number
    above 0 is an upper bound with at least one usable block. Kernels <= 3.7 print no letters: all blocks count.
    """
    wanted = _LISTS[may_use_cma, may_use_reserves]
    block_kib = (page_size << order) // 1024
    blocks = 0
    for count, kib, letters in buddy:
        if count and kib >= block_kib and (not letters or not wanted.isdisjoint(letters)):
            blocks += count
    return blocks


def zone_check(
    free_kib: int,
    min_kib: int,
    lowmem_reserve_kib: int = 0,
    *,
    order: int = 0,
    free_cma_kib: int = 0,
    highatomic_kib: int = 0,
    may_use_cma: bool = False,
    may_use_reserves: bool = False,
    buddy: BuddyLine | None = None,
    page_size: int = 4096,
    order_rule: OrderRule = "list",
) -> ZoneCheck:
    """
    The watermark test for a request of 2^``order`` pages.

    ``min_kib``: the mark tested against (``min`` in the slow path, ``high`` for the last attempt before a kill).
    ``lowmem_reserve_kib``: the zone's reserve against the request's highest zone (printed in pages, convert first).
    ``highatomic_kib``: pages set aside for atomic requests (``free_highatomic`` where printed, else the whole
    ``reserved_highatomic``). ``may_use_cma``: movable requests; ``may_use_reserves``: __GFP_HIGH, half the mark.
    """
    kib = page_size // 1024 or 1
    free, mark, reserve = free_kib // kib, min_kib // kib, lowmem_reserve_kib // kib
    if may_use_reserves:
        mark -= mark // 2
    unusable = (1 << max(order, 0)) - 1
    unusable += 0 if may_use_cma else free_cma_kib // kib
    unusable += 0 if may_use_reserves else highatomic_kib // kib
    usable, needed = free - unusable, mark + reserve
    enough = usable > needed
    has_block: bool | None = True
    if order > 0:
        has_block = None
        if buddy is not None:
            blocks = free_blocks(
                buddy, order, page_size, may_use_cma=may_use_cma, may_use_reserves=may_use_reserves
            )
            has_block = blocks > 0
            if order_rule == "halving":
                has_block = _halving(free - (1 << order) + 1, mark, order, buddy)
    passes = False if not enough else has_block
    words = (
        f"{usable * kib:,} KiB usable of {free_kib:,} KiB free, "
        f"{'more than' if enough else 'not more than'} the {needed * kib:,} KiB it must keep"
    )
    if order > 0 and has_block is not None:
        words += f"; {'a' if has_block else 'no'} usable block of {(page_size << order) // 1024:,} KiB"
    return ZoneCheck(usable * kib, needed * kib, enough, has_block, passes, words)


def _halving(free: int, mark: int, order: int, buddy: BuddyLine) -> bool:
    """<= 4.3: blocks below the order do not count, and the mark halves with each order."""
    for lower, (count, _, _) in zip(range(order), buddy, strict=False):
        free -= count << lower
        mark >>= 1
        if free <= mark:
            return False
    return True
