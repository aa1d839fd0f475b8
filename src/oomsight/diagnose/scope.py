"""
What ran out, as the report tells it: the machine, some of its nodes or a cgroup; how much of it there was, and the swap
in use. Every part of the diagnosis measures against this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight.report.model import EventKind

if TYPE_CHECKING:
    from oomsight.report.model import MemInfo, OomReport

# Looked up once: the member of an enumeration is found by a call in Python, and these are asked for all the time.
_MEMCG, _CPUSET, _MEMPOLICY = EventKind.MEMCG, EventKind.CPUSET, EventKind.MEMPOLICY
DEFAULT_PAGE_SIZE: Final = 4096
"""Page size in bytes assumed when the report does not give it away."""


def page_kib_of(report: OomReport) -> int:
    """Page size of *report* in KiB; :data:`DEFAULT_PAGE_SIZE` when the text does not give it away."""
    return (report.page_size or DEFAULT_PAGE_SIZE) >> 10


def in_memcg(report: OomReport) -> bool:
    """Whether a cgroup's limit is what ran out, whatever came of it (a kill, a panic, nobody killable)."""
    return (
        report.kind is _MEMCG
        or report.constraint == "CONSTRAINT_MEMCG"
        or (report.memcg is not None and report.meminfo is None)
    )


_IN_USE_OR_FREE: Final = (
    "free", "active_anon", "inactive_anon", "active_file", "inactive_file", "unevictable", "slab_reclaimable",
    "slab_unreclaimable", "pagetables",
)  # fmt: skip


def managed_kib(info: MemInfo | None, page_kib: int) -> tuple[int, str] | None:
    """
    RAM the page allocator manages (totalram_pages) in KiB and how it was found; ``None`` when nothing tells.

    ``pages reserved`` of 3.13–3.16 is only the last zone's, so the zones are believed where all of them are listed
    (their present pages make up ``pages RAM``); else RAM − reserved, since zones and nodes may be left out (2.6.39+,
    6.1+); else whatever zones there are, and where the counters hold more than those, zones were cut out.
    """
    if info is None:
        return None
    ram, reserved = info.counts.get("ram"), info.counts.get("reserved")
    present = managed = 0
    for zone in info.zones:
        kib = zone.kib
        present += kib.get("present", 0)
        managed += kib.get("managed", 0)
    if ram is not None:
        if managed > 0 and present == ram * page_kib:
            return managed, "managed memory of all zones"
        if reserved is not None and 0 <= reserved < ram:
            return (ram - reserved) * page_kib, "pages RAM − pages reserved"
    if ram is not None and ram > 0 and not managed:
        return ram * page_kib, "pages RAM (the reserved part is not known)"
    word, listed = ("managed", managed) if managed > 0 else ("present", present)
    counted = sum(info.pages.get(name, 0) for name in _IN_USE_OR_FREE) * page_kib
    if listed > 0 and counted > max(listed, present):
        return counted, "what the counters hold; zones are missing in this text"
    return (listed, f"{word} memory of the zones listed") if listed > 0 else None


def allowed_nodes(report: OomReport) -> frozenset[int] | None:
    """
    NUMA nodes the failed request was bound to: the policy's mask or the cpuset's mems; ``None`` = any node, or not
    printed. Every report prints these lists, they only mean something under CPUSET and MEMORY_POLICY constraints.
    """
    trigger, kind, constraint = report.trigger, report.kind, report.constraint
    cpuset = kind is _CPUSET or constraint == "CONSTRAINT_CPUSET"
    if trigger is None or not (cpuset or kind is _MEMPOLICY or constraint == "CONSTRAINT_MEMORY_POLICY"):
        return None
    mems = trigger.mems_allowed if cpuset else trigger.nodemask
    if not mems:
        return None
    nodes: set[int] = set()
    for part in mems.split(","):
        first, _, last = part.strip().partition("-")
        # A node number is at most NODES_SHIFT (10) bits wide; anything bigger is not a node list.
        if not (first.isdecimal() and (last or first).isdecimal() and len(first) <= 4 and len(last) <= 4):
            return None
        nodes.update(range(int(first), int(last or first) + 1))
    return frozenset(nodes)


def swap_in_use_kib(report: OomReport) -> int:
    """Swap in use in KiB (uncompressed size) by the cgroup or, without one, the machine; 0 when not printed."""
    memcg, info = report.memcg, report.meminfo
    if memcg is not None:
        if memcg.swap is not None:
            return memcg.swap.usage_kib
        if memcg.memsw is not None and memcg.memory is not None:
            return max(0, memcg.memsw.usage_kib - memcg.memory.usage_kib)
        return 0
    if info is None or info.total_swap_kib is None or info.free_swap_kib is None:
        return 0
    return max(0, info.total_swap_kib - info.free_swap_kib)  # free is below zero while swap is turned off


def limit_kib(report: OomReport) -> int | None:
    """
    The memory that ran out, in KiB: limit (else usage) of the cgroup, managed memory of the nodes the request was
    bound to, or managed RAM. ``None`` = not known.
    """
    memcg = report.memcg
    if in_memcg(report):
        if memcg is None or memcg.memory is None:
            return None
        limit = memcg.memory.limit_kib
        return limit if isinstance(limit, int) and limit > 0 else memcg.memory.usage_kib or None
    nodes, info = allowed_nodes(report), report.meminfo
    if nodes is not None and info is not None:
        return sum(z.kib.get("managed", z.kib.get("present", 0)) for z in info.zones if z.node in nodes) or None
    total = managed_kib(info, page_kib_of(report))
    return total[0] if total else None
