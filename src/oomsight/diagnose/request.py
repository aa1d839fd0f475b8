"""
The failed request: what was asked for, which zones could have served it, and why none did.

Watermark arithmetic is :func:`oomsight.kernel.watermark.zone_check`; here the printed numbers are brought to it and
the outcome is put into words.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight.diagnose.model import GfpWords, ZoneCheck
from oomsight.diagnose.scope import allowed_nodes, page_kib_of
from oomsight.diagnose.wording import prints_no_table, size
from oomsight.kernel.gfp import decode_gfp, expand_flags, highest_zone, layout_of, words_of
from oomsight.kernel.watermark import OrderRule, free_blocks, zone_check
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.kernel.gfp import ZoneName
    from oomsight.report.model import OomReport, Trigger, Zone

# include/linux/mmzone.h enum zone_type, 2.6.24 … 6.19; lowest first. Which exist depends on the configuration.
_ZONE_ORDER: Final = ("DMA", "DMA32", "Normal", "HighMem", "Movable", "Device")
_MAX_ORDER: Final = 32  #: far above MAX_PAGE_ORDER of any architecture; a bigger number is damage
_RANK: Final = {name: rank for rank, name in enumerate(_ZONE_ORDER)}


def gfp_flags(trigger: Trigger) -> tuple[str, ...] | None:
    """Flag names as printed (4.6+), else decoded from the mask by its bit layout; ``None`` = no mask in the text."""
    if trigger.gfp_flags is not None:
        return trigger.gfp_flags
    return None if trigger.gfp_mask is None else decode_gfp(trigger.gfp_mask, layout_of(trigger.gfp_mask))


def gfp_words(report: OomReport) -> GfpWords | None:
    """The request of *report* in words; ``None`` when the text has no gfp mask."""
    trigger = report.trigger
    flags = gfp_flags(trigger) if trigger is not None else None
    if trigger is None or flags is None:
        return None
    order = trigger.order if (trigger.order or 0) <= _MAX_ORDER else None
    by_hand = order is not None and order < 0
    page_size = page_kib_of(report) << 10
    words, zone = _in_words(tuple(flags), order or 0, page_size)
    if prints_no_table(report) and "__GFP_HIGHMEM" in flags:  # up to 2.6.14 no other flag tells user memory
        words = words.replace("kernel memory", "user memory, page cache or an area of vmalloc")
    size_kib = None if order is None or by_hand else (page_size << order) >> 10
    if order is None:  # 2.6.11 prints none, and lines get cut; an area of vmalloc has none
        amount = "an unknown number of pages"
        if report.failure_bytes is not None:
            size_kib = report.failure_bytes >> 10
            amount = size(size_kib)
        words = f"{amount} of {words.partition(' of ')[2] or 'memory'}"
    return GfpWords(size_kib, words, flags, None if by_hand else zone)


@lru_cache(maxsize=256)  # the same few requests fail again and again
def _in_words(flags: tuple[str, ...], order: int, page_size: int) -> tuple[str, ZoneName]:
    return words_of(flags, order, page_size), highest_zone(flags)


@lru_cache(maxsize=256)
def _expanded(flags: tuple[str, ...]) -> tuple[frozenset[str], int]:
    """*flags* with what their combinations stand for, and the rank of the highest zone they allow."""
    have = expand_flags(flags)
    return have, _RANK[highest_zone(have)]


def zone_checks(report: OomReport) -> list[ZoneCheck]:
    """
    Watermark arithmetic of every zone listed in *report*, lowest first as printed; empty without zones or request.

    The mark is ``min``, the least a request that may wait must leave; the kernel's last attempt before a kill even
    wants ``high``. ``passes`` is ``None`` when order > 0 depends on a buddy line that is not there, and when the order
    is not in the text (2.6.11 printed none): a zone that cannot give one page cannot give more; one that can may not.
    """
    info, trigger = report.meminfo, report.trigger
    if info is None or not info.zones or trigger is None:
        return []
    if not 0 <= (trigger.order or 0) <= _MAX_ORDER:
        return []
    flags = gfp_flags(trigger)
    if flags is None:
        return []
    have, rank = _expanded(tuple(flags))
    columns = 0
    for zone in info.zones:
        if zone.lowmem_reserve_pages:
            columns = max(columns, len(zone.lowmem_reserve_pages))
    asked = _Asked(
        trigger.order or 0,
        trigger.order is not None,
        rank,
        _reserve_index(tuple([zone.name for zone in info.zones]), columns, rank),
        allowed_nodes(report),
        "__GFP_MOVABLE" in have,
        "__GFP_HIGH" in have,
        page_kib_of(report),
        # Bit layouts A0 and A end with 4.3, and so does the older test for orders above 0.
        "halving" if trigger.gfp_mask is not None and layout_of(trigger.gfp_mask) in {"A0", "A"} else "list",
    )
    return [_check(zone, asked) for zone in info.zones]


class _Asked(NamedTuple):
    """What the failed request means for every zone."""

    order: int
    order_known: bool  #: else 0 stands for it
    rank: int  #: of the highest zone it may use, in :data:`_ZONE_ORDER`
    reserve_index: int  #: its column in ``lowmem_reserve[]``
    nodes: frozenset[int] | None  #: ``None`` = any
    movable: bool  #: may use CMA areas
    high: bool  #: may use reserves
    page_kib: int
    order_rule: OrderRule


@lru_cache(maxsize=64)  # all reports of a machine list the same few zones
def _reserve_index(names: tuple[str, ...], columns: int, rank: int) -> int:
    """
    Position of the request's highest zone in ``lowmem_reserve[]``, which has one column for each *configured* zone.

    Normal and Movable are always configured (Movable since 2.6.23); DMA, DMA32 and HighMem are when a zone shows it.
    Five columns with DMA but no HighMem are DMA, DMA32, Normal, Movable, Device.
    """
    seen = {*names, "Normal", "Movable"}
    if columns >= 5 and "DMA" in names and "HighMem" not in names:
        seen.add("DMA32")
    below = sum(1 for name in seen if _RANK.get(name, len(_ZONE_ORDER)) <= rank)
    return max(0, min(below, columns or below) - 1)


def _check(zone: Zone, asked: _Asked) -> ZoneCheck:
    kib = zone.kib
    free, low = kib.get("free", 0), kib.get("min", 0)
    reserves, order, page_size = zone.lowmem_reserve_pages, asked.order, asked.page_kib << 10
    reserve = reserves[min(asked.reserve_index, len(reserves) - 1)] * asked.page_kib if reserves else 0
    done = zone_check(
        free,
        low,
        reserve,
        order=order,
        free_cma_kib=kib.get("free_cma", 0),
        highatomic_kib=kib.get("free_highatomic", kib.get("reserved_highatomic", 0)),
        may_use_cma=asked.movable,
        may_use_reserves=asked.high,
        buddy=zone.buddy,
        page_size=page_size,
        order_rule=asked.order_rule,
    )
    blocks = None
    if zone.buddy is not None and asked.order_known:
        blocks = free_blocks(zone.buddy, order, page_size, may_use_cma=asked.movable, may_use_reserves=asked.high)
    usable = max(0, done.usable_kib)
    barred = None
    if _RANK.get(zone.name, len(_ZONE_ORDER)) > asked.rank:
        barred = f"above {_ZONE_ORDER[asked.rank]}, the highest zone this request may use"
    elif zone.kib.get("present") == 0:
        barred = "it has no pages"
    elif asked.nodes is not None and zone.node is not None and zone.node not in asked.nodes:
        barred = "on a node this request may not use"
    where = zone.name if zone.name in _RANK else mark(zone.name, Kind.OWNER)
    if zone.node is not None:
        where = f"node {zone.node} {where}"
    if barred:
        words = f"{where}: {barred}; {size(free)} free"
    elif done.enough_free and done.has_block is False:
        words = f"{where}: enough memory is free but in small pieces: {done.words}"
    elif done.passes and usable <= kib.get("high", 0) + reserve:
        words = f"{where}: {done.words}; the last attempt before a kill wants more than {kib['high'] + reserve:,} KiB"
    else:
        words = f"{where}: {done.words}"
    passes = done.passes if asked.order_known or not done.passes else None
    return ZoneCheck(zone.node, zone.name, barred is None, free, usable, low, reserve, passes, blocks, words)
