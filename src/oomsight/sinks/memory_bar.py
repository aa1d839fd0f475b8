"""The memory bar: an accounting folded into the few kinds of memory a reader tells apart at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight.sinks.blocks import Bar, Segment, human_kib

if TYPE_CHECKING:
    from oomsight.diagnose import model
    from oomsight.diagnose.model import Accounting, Incident


class MemoryKind(NamedTuple):
    """One segment of the bar and the keys of the accounting items it shows."""

    letter: str
    label: str
    keys: tuple[str, ...]


MEMORY_KINDS: Final = (
    MemoryKind("A", "anonymous (heap, stack)", ("anon", "swapcached")),
    MemoryKind("S", "shared memory, tmpfs", ("shmem",)),
    MemoryKind("L", "locked, unevictable", ("unevictable",)),
    MemoryKind("C", "page cache", ("file",)),
    MemoryKind("M", "anonymous and page cache", ("lru",)),  # 2.6 kernels do not tell the two apart
    MemoryKind("H", "huge page pool", ("hugepages", "hugetlb")),
    MemoryKind("B", "slab (kernel objects)", ("slab", "slab_reclaimable", "slab_unreclaimable")),
    MemoryKind("P", "page tables", ("pagetables", "sec_pagetables")),
    MemoryKind("Z", "compressed swap", ("zspages", "zswap", "zram")),
    MemoryKind("G", "GPU drivers", ("gpu_active", "gpu_reclaim")),
    MemoryKind("K", "other kernel memory", ()),  # every key no other row names
    MemoryKind("?", "unaccounted", ("unaccounted",)),
    MemoryKind("F", "free", ("free", "free_pcp")),
)
"""Segments from left to right: what processes hold, what the kernel holds, what nobody explains, what is free."""

_OTHER: Final = next(i for i, kind in enumerate(MEMORY_KINDS) if not kind.keys)
_INDEX: Final = {key: i for i, kind in enumerate(MEMORY_KINDS) for key in kind.keys}


def primary_accounting(incident: Incident) -> Accounting | None:
    """Return the accounting of the limit that was hit: the cgroup's for a memcg OOM, else the host's; or the first."""
    wanted = "memcg" if incident.report.kind == "memcg" or incident.report.oom_memcg else "host"
    for accounting in incident.accountings:
        if accounting.scope == wanted:
            return accounting
    return incident.accountings[0] if incident.accountings else None


def memory_bar(accounting: Accounting, owner: str | None = None, *, details: bool = True) -> Bar:
    """
    Return the bar of *accounting*; its segments sum to the total, kinds without memory are left out.

    *owner* (marked text) names a cgroup better than its path. Without *details* only segments of at least 5 % say
    what they consist of.
    """
    kinds: dict[int, list[model.Item]] = {}
    for item in accounting.items:
        if item.kib:
            kinds.setdefault(_INDEX.get(item.key, _OTHER), []).append(item)
    segments = []
    for index, items in sorted(kinds.items()):
        kib = sum(item.kib for item in items)
        detail = _detail(items) if details or kib * 20 >= accounting.total_kib else None
        segments.append(Segment(MEMORY_KINDS[index].letter, _label(index, items), kib, index, detail))
    name = f"Memory of {owner or accounting.name}"
    if accounting.scope == "host":
        name = "The host's memory, as far as this text counts it" if accounting.is_sum else "The host's memory"
    return Bar(f"{name}: {human_kib(accounting.total_kib)}", accounting.total_kib, tuple(segments))


def _label(kind: int, items: list[model.Item]) -> str:
    """Return the kind's label; a lone item of the catch-all kind speaks for itself."""
    return items[0].label if kind == _OTHER and len(items) == 1 else MEMORY_KINDS[kind].label


def _detail(items: list[model.Item]) -> str | None:
    """Return what a segment consists of: its items where they are several, else the parts of its one item."""
    parts = items if len(items) > 1 else [part for part in items[0].parts if part.kib]
    words = [f"{part.label} {human_kib(part.kib)}" for part in sorted(parts, key=lambda part: -part.kib)]
    words += dict.fromkeys(item.note for item in items if item.note)
    return "; ".join(words) or None
