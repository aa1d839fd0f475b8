"""
GFP masks: what an allocation asked for.

Flag bits moved five times, and kernels before 4.6 print only the number, so a mask must first be told apart from the
other layouts (:func:`layout_of`). Where the kernel printed names (>= 4.6) those are authoritative: feed them to
:func:`expand_flags` and do not decode the number again.

Sources: include/linux/gfp.h (2.6.24 … 6.0), include/linux/gfp_types.h (6.1+), include/trace/events/mmflags.h (4.6+).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

from oomsight._named import NamedTuple

if TYPE_CHECKING:
    from oomsight.kernel.release import Release

ZoneName = Literal["DMA", "DMA32", "Normal", "HighMem", "Movable"]
"""Zone names as the kernel prints them."""

_ZONE_BITS: Final = {"__GFP_DMA": 0x1, "__GFP_HIGHMEM": 0x2, "__GFP_DMA32": 0x4}
_ABCD_BITS: Final = {  # the middle bits that stood still from 2.6.11 to 5.0
    "__GFP_HIGH": 0x20,
    "__GFP_IO": 0x40,
    "__GFP_FS": 0x80,
    "__GFP_NOWARN": 0x200,
    "__GFP_NOFAIL": 0x800,
    "__GFP_NORETRY": 0x1000,
    "__GFP_MEMALLOC": 0x2000,
    "__GFP_COMP": 0x4000,
    "__GFP_ZERO": 0x8000,
    "__GFP_NOMEMALLOC": 0x10000,
    "__GFP_HARDWALL": 0x20000,
    "__GFP_THISNODE": 0x40000,
}
_A_BITS: Final = _ZONE_BITS | _ABCD_BITS | {
    "__GFP_WAIT": 0x10,
    "__GFP_COLD": 0x100,
    "__GFP_REPEAT": 0x400,
    "__GFP_RECLAIMABLE": 0x80000,
}
_BCD_BITS: Final = _ZONE_BITS | _ABCD_BITS | {
    "__GFP_MOVABLE": 0x8,
    "__GFP_RECLAIMABLE": 0x10,
    "__GFP_ATOMIC": 0x80000,
    "__GFP_ACCOUNT": 0x100000,
}


class Layout(NamedTuple):
    """One arrangement of the GFP bits."""

    name: str  #: ``A0`` and ``A`` … ``E``
    since: Release
    until: Release | None  #: last release line, ``None`` = still in use
    bits: Mapping[str, int]  #: flag name -> bit
    reclaim: int  #: bits that mean "this request may reclaim"; an OOM trigger practically always has all of them
    source: str  #: file and trees it was read in


LAYOUTS: Final[tuple[Layout, ...]] = (
    Layout(
        "A0", (2, 6, 11), (2, 6, 30), _A_BITS | {"__GFP_MOVABLE": 0x100000}, 0x10,
        "include/linux/gfp.h 2.6.24; __GFP_MOVABLE moved to 0x8 in 2.6.31",
    ),
    Layout(
        "A", (2, 6, 31), (4, 3),
        _A_BITS | {
            "__GFP_MOVABLE": 0x8,
            "__GFP_NOTRACK": 0x200000,
            "__GFP_NO_KSWAPD": 0x400000,
            "__GFP_OTHER_NODE": 0x800000,
            "__GFP_WRITE": 0x1000000,
        },  # 0x100000 means different things between 3.8 and 4.3 and stays a number
        0x10, "include/linux/gfp.h 3.0.8, 3.10, 4.3",
    ),
    Layout(
        "B", (4, 4), (4, 9),
        _BCD_BITS | {
            "__GFP_COLD": 0x100,
            "__GFP_REPEAT": 0x400,
            "__GFP_NOTRACK": 0x200000,
            "__GFP_DIRECT_RECLAIM": 0x400000,
            "__GFP_OTHER_NODE": 0x800000,
            "__GFP_WRITE": 0x1000000,
            "__GFP_KSWAPD_RECLAIM": 0x2000000,
        },
        0x2400000, "include/linux/gfp.h 4.6.2",
    ),
    Layout(
        "C", (4, 10), (4, 17),
        _BCD_BITS | {
            "__GFP_COLD": 0x100,
            "__GFP_RETRY_MAYFAIL": 0x400,  # __GFP_REPEAT until 4.12, same bit
            "__GFP_NOTRACK": 0x200000,
            "__GFP_DIRECT_RECLAIM": 0x400000,
            "__GFP_WRITE": 0x800000,
            "__GFP_KSWAPD_RECLAIM": 0x1000000,
            "__GFP_NOLOCKDEP": 0x2000000,
        },
        0x1400000, "include/linux/gfp.h 4.10 … 4.17",
    ),
    Layout(
        "D", (4, 18), (5, 1),
        _BCD_BITS | {
            "__GFP_WRITE": 0x100,
            "__GFP_RETRY_MAYFAIL": 0x400,
            "__GFP_DIRECT_RECLAIM": 0x200000,
            "__GFP_KSWAPD_RECLAIM": 0x400000,
            "__GFP_NOLOCKDEP": 0x800000,
        },
        0x600000, "include/linux/gfp.h 4.18, 5.0",
    ),
    Layout(
        "E", (5, 2), None,
        _ZONE_BITS | {
            "__GFP_MOVABLE": 0x8,
            "__GFP_RECLAIMABLE": 0x10,
            "__GFP_HIGH": 0x20,
            "__GFP_IO": 0x40,
            "__GFP_FS": 0x80,
            "__GFP_ZERO": 0x100,
            "__GFP_ATOMIC": 0x200,  # unused from 6.4
            "__GFP_DIRECT_RECLAIM": 0x400,
            "__GFP_KSWAPD_RECLAIM": 0x800,
            "__GFP_WRITE": 0x1000,
            "__GFP_NOWARN": 0x2000,
            "__GFP_RETRY_MAYFAIL": 0x4000,
            "__GFP_NOFAIL": 0x8000,
            "__GFP_NORETRY": 0x10000,
            "__GFP_MEMALLOC": 0x20000,
            "__GFP_COMP": 0x40000,
            "__GFP_NOMEMALLOC": 0x80000,
            "__GFP_HARDWALL": 0x100000,
            "__GFP_THISNODE": 0x200000,
            "__GFP_ACCOUNT": 0x400000,
        },  # from 0x800000 on the bits depend on configuration and release (NOLOCKDEP, ZEROTAGS, SKIP_KASAN)
        0xC00, "include/linux/gfp.h 5.4, include/linux/gfp_types.h 6.x",
    ),
)
"""Every known layout, oldest first."""

_BY_NAME: Final = {layout.name: layout for layout in LAYOUTS}

_RECLAIM: Final = ("__GFP_DIRECT_RECLAIM", "__GFP_KSWAPD_RECLAIM")
_KERNEL: Final = (*_RECLAIM, "__GFP_IO", "__GFP_FS")
_USER: Final = (*_KERNEL, "__GFP_HARDWALL")
_HIGHUSER: Final = (*_USER, "__GFP_HIGHMEM")
_MOVABLE: Final = (*_HIGHUSER, "__GFP_MOVABLE")
_THP: Final = (  # user memory that must not wait: the reclaim bits are taken out again
    "__GFP_IO", "__GFP_FS", "__GFP_HARDWALL", "__GFP_HIGHMEM", "__GFP_MOVABLE",
    "__GFP_COMP", "__GFP_NOMEMALLOC", "__GFP_NOWARN",
)  # fmt: skip

COMBINATIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "GFP_TRANSHUGE": (*_THP, "__GFP_DIRECT_RECLAIM"),
    "GFP_TRANSHUGE_LIGHT": _THP,
    "GFP_HIGHUSER_MOVABLE": _MOVABLE,
    "GFP_HIGHUSER": _HIGHUSER,
    "GFP_USER": _USER,
    "GFP_TEMPORARY": (*_KERNEL, "__GFP_RECLAIMABLE"),
    "GFP_KERNEL_ACCOUNT": (*_KERNEL, "__GFP_ACCOUNT"),
    "GFP_KERNEL": _KERNEL,
    "GFP_NOFS": (*_RECLAIM, "__GFP_IO"),
    "GFP_ATOMIC": ("__GFP_HIGH", "__GFP_ATOMIC", "__GFP_KSWAPD_RECLAIM"),
    "GFP_NOIO": _RECLAIM,
    "GFP_NOWAIT": ("__GFP_KSWAPD_RECLAIM",),
    "GFP_DMA": ("__GFP_DMA",),
    "GFP_DMA32": ("__GFP_DMA32",),
}
"""The kernel's named combinations in the order it tries them: most bits first (mmflags.h 4.6 … 6.x)."""

_SINGLES: Final = (  # order of single flags in mmflags.h 4.6 … 6.12; newer kernels print them in bit order
    "__GFP_HIGHMEM", "__GFP_HIGH", "__GFP_ATOMIC", "__GFP_IO", "__GFP_FS", "__GFP_COLD", "__GFP_NOWARN",
    "__GFP_REPEAT", "__GFP_RETRY_MAYFAIL", "__GFP_NOFAIL", "__GFP_NORETRY", "__GFP_COMP", "__GFP_ZERO",
    "__GFP_NOMEMALLOC", "__GFP_MEMALLOC", "__GFP_HARDWALL", "__GFP_THISNODE", "__GFP_RECLAIMABLE", "__GFP_MOVABLE",
    "__GFP_ACCOUNT", "__GFP_NOTRACK", "__GFP_WRITE", "__GFP_RECLAIM", "__GFP_WAIT", "__GFP_DIRECT_RECLAIM",
    "__GFP_KSWAPD_RECLAIM", "__GFP_NO_KSWAPD", "__GFP_OTHER_NODE", "__GFP_NOLOCKDEP",
)  # fmt: skip

_EXPANSION: Final[Mapping[str, tuple[str, ...]]] = {
    **COMBINATIONS,
    "__GFP_RECLAIM": _RECLAIM,
    "__GFP_WAIT": _RECLAIM,  # before 4.4 one bit said both
}

ZONE_OF: Final[Mapping[frozenset[str], ZoneName]] = {
    frozenset(): "Normal",
    frozenset({"__GFP_MOVABLE"}): "Normal",  # a policy without HIGHMEM, not a zone
    frozenset({"__GFP_DMA"}): "DMA",
    frozenset({"__GFP_DMA", "__GFP_MOVABLE"}): "DMA",
    frozenset({"__GFP_DMA32"}): "DMA32",
    frozenset({"__GFP_DMA32", "__GFP_MOVABLE"}): "DMA32",
    frozenset({"__GFP_HIGHMEM"}): "HighMem",
    frozenset({"__GFP_HIGHMEM", "__GFP_MOVABLE"}): "Movable",
}
"""Zone selector flags -> highest zone the request may reach (GFP_ZONE_TABLE, include/linux/gfp.h 2.6.31 … 6.x)."""

_ZONE_FLAGS: Final = frozenset().union(*ZONE_OF)


@lru_cache(maxsize=256)
def layout_of(mask: int) -> str | None:
    """
    Name of the bit layout of ``mask``, told from its reclaim bits, or ``None`` where the number fits several.

    Only requests that may sleep can invoke the OOM killer, so the "may reclaim" bits are there, and they are what
    moved. E is tried first: its pair would be REPEAT|NOFAIL before 5.2, which nobody asks for.
    """
    for name in ("E", "B", "C", "D"):
        if mask & _BY_NAME[name].reclaim == _BY_NAME[name].reclaim:
            return name
    if mask & 0x10:  # __GFP_WAIT; a RECLAIMABLE of B..E came with the reclaim pair above
        old_movable = mask & 0x100002 == 0x100002 and not mask & 0x8  # 0x1200d2, 0x1201d2 of 2.6.24 … 2.6.30
        return "A0" if old_movable else "A"
    return "E" if mask & 0x400 and not mask & 0xC00000 else None  # huge page: DIRECT_RECLAIM without KSWAPD


def decode_gfp(mask: int, layout: str | None = None) -> tuple[str, ...]:
    """
    Names of the flags in ``mask``: known combinations first, then single flags, what is left as one hex number.

    ``layout`` (``"A0"``, ``"A"`` … ``"E"``) defaults to :func:`layout_of`; an unknown layout decodes nothing.
    """
    known = _BY_NAME.get(layout or layout_of(mask) or "")
    if known is None:
        return (hex(mask),) if mask else ()
    bits = dict(known.bits)
    combinations = dict(COMBINATIONS)
    if "__GFP_WAIT" in bits:
        # One wait bit stood for both kinds of reclaim, so the combinations keep their values with it.
        bits |= dict.fromkeys(_RECLAIM, bits["__GFP_WAIT"])
        combinations |= {"GFP_ATOMIC": ("__GFP_HIGH",), "GFP_NOWAIT": ()}
    else:
        bits["__GFP_RECLAIM"] = known.reclaim
    if known.since >= (4, 18):
        del combinations["GFP_TEMPORARY"]  # gone in 4.15
    names: list[str] = []
    left = mask
    for name, parts in (combinations | {flag: (flag,) for flag in _SINGLES if flag in bits}).items():
        if not all(part in bits for part in parts):
            continue
        wanted = 0
        for part in parts:
            wanted |= bits[part]
        if wanted and left & wanted == wanted:
            names.append(name)
            left &= ~wanted
    if left:
        names.append(hex(left))
    return tuple(names)


def expand_flags(names: Iterable[str]) -> frozenset[str]:
    """
    The primitive ``__GFP_…`` flags behind ``names``, in today's vocabulary.

    Combinations are taken apart and ``__GFP_WAIT`` / ``__GFP_RECLAIM`` become the two reclaim flags; names this
    table does not know (new kernels, hex remainders) are kept as they are.
    """
    return frozenset(flag for name in names for flag in _EXPANSION.get(name, (name,)))


def highest_zone(flags: Iterable[str]) -> ZoneName:
    """
    Highest zone the request may take pages from; it may fall back to every lower one.

    On 64-bit kernels there is no HighMem and the answer ``"HighMem"`` means Normal, as does ``"Movable"`` without a
    Movable zone. Forbidden selector mixes, which the kernel never allocates, read as their lowest zone.
    """
    selected = expand_flags(flags) & _ZONE_FLAGS
    zone = ZONE_OF.get(selected)
    if zone is not None:
        return zone
    return "DMA" if "__GFP_DMA" in selected else "DMA32"


def words_of(flags: Iterable[str], order: int, page_size: int = 4096) -> str:
    """
    One plain sentence part: what was asked for, e.g. ``one page (4 KiB) of movable user memory; may sleep, may do
    I/O``. ``order`` -1 is the SysRq key (>= 4.3). Empty ``flags`` is mask 0, the page-fault path (<= 5.15).
    """
    if order < 0:
        return "no allocation: the OOM killer was called by hand (SysRq-f)"
    have = expand_flags(flags)
    kib = (page_size << order) // 1024
    size = f"one page ({kib} KiB)" if order == 0 else f"{1 << order} contiguous pages ({kib} KiB)"
    if not have:
        return f"{size}; no flags recorded, as when a page fault reports that it ran out of memory"
    if all(flag.startswith("0x") for flag in have):
        return f"{size}; flags not decoded ({', '.join(sorted(have))})"
    return f"{size} of {_kind(have)}; {_may(have)}"


def _kind(have: frozenset[str]) -> str:
    if {"__GFP_HIGHMEM", "__GFP_MOVABLE"} <= have:
        kind = "movable user memory" if "__GFP_ZERO" in have else "movable user memory or page cache"
    elif "__GFP_HARDWALL" in have:
        kind = "user memory"
    elif "__GFP_RECLAIMABLE" in have:
        kind = "reclaimable kernel memory"
    else:
        kind = "kernel memory"
    if "__GFP_ZERO" in have:
        kind = f"zeroed {kind}"
    if "__GFP_ACCOUNT" in have:
        kind += " charged to the cgroup"
    zone = highest_zone(have)
    if zone in {"DMA", "DMA32"}:
        kind += f" from zone {zone} or lower"
    if "__GFP_THISNODE" in have:
        kind += " from one node only"
    return kind


def _may(have: frozenset[str]) -> str:
    if "__GFP_DIRECT_RECLAIM" not in have:
        return "must not sleep"
    if "__GFP_IO" not in have:
        return "may sleep, must not start I/O"
    return "may sleep, may do I/O" if "__GFP_FS" in have else "may sleep, may do I/O, must not enter a file system"
