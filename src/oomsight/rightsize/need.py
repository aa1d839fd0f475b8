"""
What a cgroup needs: its memory without the page cache that the kernel would give back rather than kill.

Page cache is no need: reclaim takes it before the OOM killer is asked (mm/vmscan.c). Shared memory and tmpfs are need,
though the kernel counts them as file pages: without swap they cannot be taken back. So is kernel memory (slab, stacks,
page tables, sockets). Every source has other counters; :data:`BASES` says which sum stands for need with each of them,
the most exact first.

Sources: Documentation/admin-guide/cgroup-v2.rst (memory.stat: ``file`` includes ``shmem``); mm/memcontrol-v1.c
(``cache`` includes ``shmem``); cAdvisor's metrics (container_memory_*).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Basis(NamedTuple):
    """One sum that stands for need."""

    name: str
    plus: tuple[str, ...]  #: counters that are added
    minus: tuple[str, ...]
    optional: tuple[str, ...]  #: added where the source has them
    exact: bool  #: False = an upper or lower bound, as ``words`` say
    words: str
    source: str


BASES: Final = (
    Basis("charged", ("usage_bytes", "shmem_bytes"), ("file_bytes",), ("swap_bytes",), True,
          "charged memory without page cache, with tmpfs, kernel memory and swap",
          "memory.current, memory.stat file and shmem, memory.swap.current"),
    Basis("lru", ("usage_bytes",), ("active_file_bytes", "inactive_file_bytes"), ("swap_bytes",), True,
          "charged memory without the page cache on the file LRU lists, with tmpfs, kernel memory and swap",
          "memory.stat active_file, inactive_file; container_memory_total_{active,inactive}_file_bytes"),
    Basis("anon", ("anon_bytes", "shmem_bytes"), (), ("kernel_bytes", "swap_bytes"), True,
          "anonymous memory, tmpfs, kernel memory and swap",
          "memory.stat anon, shmem, kernel"),
    Basis("process", ("rss_anon_bytes", "rss_shmem_bytes"), (), ("swap_bytes", "pgtables_bytes"), True,
          "anonymous and shared memory, swap and page tables of the processes; kernel memory is not seen",
          "/proc/PID/status RssAnon, RssShmem, VmSwap, VmPTE"),
    Basis("headroom", ("limit_bytes",), ("headroom_bytes",), (), True,
          "the limit minus the headroom the agent measured, page cache not counted",
          "oomsight_cgroup_memory_limit_bytes, oomsight_cgroup_memory_headroom_bytes"),
    Basis("working_set", ("working_set_bytes",), (), ("swap_bytes",), False,
          "the working set, which still holds recently used page cache: an upper bound",
          "usage minus inactive_file; container_memory_working_set_bytes"),
    Basis("rss", ("rss_bytes",), (), ("swap_bytes",), False,
          "resident anonymous memory only; kernel memory and tmpfs are not seen: a lower bound",
          "container_memory_rss"),
)  # fmt: skip
"""Sums for need, the most exact first."""


def need_bytes(values: Mapping[str, float | None], basis: Basis) -> float | None:
    """
    Return the need at one moment, in bytes; ``None`` where a counter is missing.

    Counters are read one after the other and batched per CPU in the kernel, so a difference may dip below 0 by a few
    pages: then it is 0.
    """
    total = 0.0
    for name in basis.plus:
        if (value := values.get(name)) is None:
            return None
        total += value
    for name in basis.minus:
        if (value := values.get(name)) is None:
            return None
        total -= value
    for name in basis.optional:
        total += values.get(name) or 0.0
    return max(total, 0.0)
