"""
T, the "totalpages" a badness is measured against, for each OOM constraint.

T scales ``oom_score_adj`` and nothing else in the choice of a victim (>= 3.5), so a wrong T only matters where
adjustments differ. Each function returns the pages and how they came about, in words.

Sources: constrained_alloc() of mm/oom_kill.c (2.6.36 … 6.19); mem_cgroup_get_limit() / mem_cgroup_get_max() of
mm/memcontrol.c (2.6.36 … 6.19).
"""

from __future__ import annotations

from oomsight._named import NamedTuple
from oomsight.kernel.release import in_range

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final, Literal

    from oomsight.kernel.release import Release

    LimitPages = int | Literal["unlimited"] | None
    """A limit in pages, ``"unlimited"``, or ``None`` where it is not known."""

    Constraint = Literal["CONSTRAINT_NONE", "CONSTRAINT_CPUSET", "CONSTRAINT_MEMORY_POLICY", "CONSTRAINT_MEMCG"]
    """The kernel's own names."""

    MemcgHow = Literal["plain_bug", "plain", "plain_swappiness", "swap_max_and_memsw", "v1", "v2"]


class Total(NamedTuple):
    """T and how it was obtained."""

    pages: int
    how: str


def t_global(ram_pages: int, swap_pages: int) -> Total:
    """
    CONSTRAINT_NONE, any kernel without NUMA, and __GFP_THISNODE requests: all managed RAM and all swap.

    ``ram_pages`` is MemTotal (``pages RAM`` - ``pages reserved``), ``swap_pages`` all configured swap, used or not.
    """
    return Total(ram_pages + swap_pages, f"RAM {ram_pages:,} + swap {swap_pages:,} pages")


def t_nodes(node_pages: Iterable[int], swap_pages: int, spanned: bool = False) -> Total:
    """
    CONSTRAINT_CPUSET (nodes of the allocating task's mems_allowed) and CONSTRAINT_MEMORY_POLICY (nodes of the mask).

    ``node_pages``: *present* pages of each allowed node from 5.4 on, *spanned* ones (with holes) before; pass
    ``spanned=True`` with the latter. Swap is added in full whatever the nodes.
    """
    pages = list(node_pages)
    kind = "spanned" if spanned else "present"
    nodes = "1 node" if len(pages) == 1 else f"{len(pages)} nodes"
    return Total(sum(pages) + swap_pages, f"{sum(pages):,} {kind} pages on {nodes} + swap {swap_pages:,}")


class MemcgEra(NamedTuple):
    """How one span of kernels added swap to a cgroup's limit."""

    how: MemcgHow
    since: Release
    until: Release | None
    versions: frozenset[int]  #: cgroup versions it applies to
    source: str
    words: str


_BOTH: Final = frozenset({1, 2})
MEMCG_ERAS: Final[tuple[MemcgEra, ...]] = (
    MemcgEra(
        "plain_bug", (2, 6, 36), (2, 6, 38), _BOTH, "mm/memcontrol.c 2.6.36, 2.6.37",
        "min(limit in bytes + total swap in PAGES, memsw limit): swap practically ignored",
    ),
    MemcgEra(
        "plain", (2, 6, 39), (3, 7), _BOTH, "mm/memcontrol.c 3.0.1, 3.6.5",
        "min(limit + total swap, memsw limit)",
    ),
    MemcgEra(
        "plain_swappiness", (3, 8), (4, 4), _BOTH, "mm/memcontrol.c 3.10, 4.4.11",
        "min(limit + total swap, memsw limit), the limit alone at swappiness 0",
    ),
    MemcgEra(
        "swap_max_and_memsw", (4, 5), (5, 9), _BOTH, "mm/memcontrol.c 4.5.7, 5.8.1",
        "min(max + min(swap.max, total swap), memsw max), max alone at swappiness 0",
    ),
    MemcgEra(
        "v1", (5, 10), None, frozenset({1}), "mm/memcontrol.c 5.10.44, 6.18",
        "max + min(memsw - max, total swap), max alone at swappiness 0",
    ),
    MemcgEra(
        "v2", (5, 10), None, frozenset({2}), "mm/memcontrol.c 5.10.44, 6.18",
        "max + min(swap.max, total swap), max alone at swappiness 0",
    ),
)
"""Swap allowance of a memory cgroup by era; the bracket 5.8 -> 5.10 is mainline's 5.10."""


def memcg_era(release: Release, cgroup_version: int) -> MemcgEra:
    """The row for a kernel release and cgroup version 1 or 2; the nearest row where none fits."""
    rows = [row for row in MEMCG_ERAS if cgroup_version in row.versions]
    return next((row for row in rows if in_range(release, row.since, row.until)), rows[0])


def t_memcg(
    era: MemcgEra,
    limit_pages: int,
    *,
    total_swap_pages: int | None,
    swap_used_pages: int = 0,
    swap_max_pages: LimitPages = None,
    memsw_pages: LimitPages = None,
    swappiness: int | None = None,
    page_size: int = 4096,
) -> Total:
    """
    CONSTRAINT_MEMCG: the limit of the cgroup that ran out, plus the swap it may use. Ancestors' limits do not count.

    ``swap_max_pages`` (v2 ``memory.swap.max``) and ``memsw_pages`` (v1 memory+swap limit): ``"unlimited"`` or
    ``None`` do not bound. ``swappiness`` ``None`` counts as above 0, the default. ``total_swap_pages`` ``None`` (a
    cgroup's report does not print it) counts as what the cgroup has in swap (``swap_used_pages``): the machine has no
    less. That makes T a lower bound, unless it is as much as the cgroup may swap.
    A limit of 0 yields T = 1, as in the kernel.
    """
    if era.how not in {"plain_bug", "plain"} and swappiness == 0:
        return Total(max(limit_pages, 1), f"limit {limit_pages}; no swap at swappiness 0")
    swap = swap_used_pages if total_swap_pages is None else total_swap_pages
    swap_max = swap_max_pages if isinstance(swap_max_pages, int) else None
    memsw = memsw_pages if isinstance(memsw_pages, int) else None
    if era.how in {"swap_max_and_memsw", "v2"} and swap_max is not None:
        swap = min(swap, swap_max)
    if era.how == "plain_bug":
        swap //= page_size  # pages taken for bytes
    room = None if memsw is None or era.how == "v2" else max(memsw - limit_pages, 0)
    if room is not None:
        swap = min(swap, room)
    # A memory+swap limit below the memory limit cannot be set, so "min of both" and "limit + min(swap, room)" agree.
    all_of_it = swap == room or (swap == swap_max and era.how in {"swap_max_and_memsw", "v2"})
    unknown = "" if total_swap_pages is not None or all_of_it else "; at least, the machine's swap is not known"
    return Total(max(limit_pages + swap, 1), f"limit {limit_pages:,} + usable swap {swap:,} pages{unknown}")
