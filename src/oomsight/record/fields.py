"""
What is recorded of each kind of entity: one row per figure, in the order in which the values are stored.

Sizes are stored in KiB and given in bytes. A value is a whole number, ``None`` = not known, :data:`UNLIMITED` = a limit
that does not limit. A tier coarser than the samples keeps one value per step by :attr:`Field.rule`: the highest for
what fills memory, the lowest for what is left of it, the last of a counter.
"""

from __future__ import annotations

import math
from typing import Final, Literal

from oomsight._named import NamedTuple

UNLIMITED: Final = -(1 << 40)
"""Stored in place of a limit that does not limit; a series shows it as infinity. No priority or adj is that low."""

Rule = Literal["max", "min", "last"]


class Field(NamedTuple):
    """One figure."""

    name: str  #: with its unit; the public ``--field`` value
    rule: Rule  #: what a coarser tier keeps of a step
    meaning: str
    source: str  #: file and line of the kernel's interface

    @property
    def scale(self) -> int:
        """What a stored number is multiplied with."""
        return 1024 if self.name.endswith("_bytes") else 1


def _host() -> tuple[Field, ...]:
    info, vm, psi = "/proc/meminfo", "/proc/vmstat", "/proc/pressure/memory"
    return (
        Field("anon_bytes", "max", "anonymous memory in RAM", f"{info} AnonPages"),
        Field("mem_total_bytes", "last", "RAM the kernel manages", f"{info} MemTotal"),
        Field("mem_available_bytes", "min", "what can be had without swapping, by the kernel", f"{info} MemAvailable"),
        Field("mem_free_bytes", "min", "unused RAM", f"{info} MemFree"),
        Field("file_bytes", "max", "page cache and buffers, without shmem", f"{info} Cached + Buffers - Shmem"),
        Field("shmem_bytes", "max", "shared memory and tmpfs", f"{info} Shmem"),
        Field("slab_reclaimable_bytes", "max", "kernel caches that can shrink", f"{info} SReclaimable"),
        Field("slab_unreclaimable_bytes", "max", "kernel objects that cannot shrink", f"{info} SUnreclaim"),
        Field("page_tables_bytes", "max", "page tables", f"{info} PageTables"),
        Field("kernel_stack_bytes", "max", "stacks of threads in the kernel", f"{info} KernelStack"),
        Field("percpu_bytes", "max", "per-CPU memory", f"{info} Percpu"),
        Field("vmalloc_used_bytes", "max", "vmalloc areas in use", f"{info} VmallocUsed"),
        Field("hugetlb_bytes", "last", "reserved huge pages", f"{info} Hugetlb"),
        Field("unevictable_bytes", "max", "memory that cannot be reclaimed (mlock, ramfs)", f"{info} Unevictable"),
        Field("dirty_bytes", "max", "waits to be written, or is being written", f"{info} Dirty + Writeback"),
        Field("swap_total_bytes", "last", "swap there is", f"{info} SwapTotal"),
        Field("swap_free_bytes", "min", "swap that is free", f"{info} SwapFree"),
        Field("swap_cached_bytes", "max", "in RAM and in swap", f"{info} SwapCached"),
        Field("committed_bytes", "max", "promised to processes", f"{info} Committed_AS"),
        Field("commit_limit_bytes", "last", "most that is promised with overcommit_memory=2", f"{info} CommitLimit"),
        Field("zswap_bytes", "max", "RAM the compressed pool takes", f"{info} Zswap (5.19+)"),
        Field("zswapped_bytes", "max", "what is in the compressed pool, uncompressed", f"{info} Zswapped (5.19+)"),
        Field("zram_stored_bytes", "max", "what is in zram, uncompressed", "/sys/block/zram*/mm_stat"),
        Field("zram_bytes", "max", "RAM zram takes", "/sys/block/zram*/mm_stat"),
        Field("psi_some_us", "last", "time in which some task waited for memory", f"{psi} some total"),
        Field("psi_full_us", "last", "time in which all tasks waited for memory", f"{psi} full total"),
        Field("psi_some_pct", "max", "whole percent of the last 10 s in which some task waited", f"{psi} some avg10"),
        Field("pgmajfault", "last", "page faults that read from disk", f"{vm} pgmajfault"),
        Field("pswpin", "last", "pages swapped in", f"{vm} pswpin"),
        Field("pswpout", "last", "pages swapped out", f"{vm} pswpout"),
        Field("allocstall", "last", "allocations that had to reclaim themselves", f"{vm} allocstall_*"),
        Field("workingset_refault", "last", "pages needed again soon after reclaim", f"{vm} workingset_refault_*"),
        Field("oom_kill", "last", "processes the OOM killer ended", f"{vm} oom_kill (4.13+)"),
        Field("processes", "max", "processes with memory of their own", "/proc"),
        Field("forks", "last", "processes and threads begun", "/proc/loadavg last pid, or /proc/stat processes"),
        Field("unseen_bytes", "max", "memory of processes too short-lived for a row of their own", "/proc/PID/statm"),
    )  # fmt: skip


_MEMORY: Final = (
    Field("rss_anon_bytes", "max", "anonymous memory in RAM", "/proc/PID/statm resident - shared; status RssAnon"),
    Field("rss_file_bytes", "max", "mapped files in RAM", "/proc/PID/statm, status RssFile"),
    Field("rss_shmem_bytes", "max", "shared memory in RAM", "/proc/PID/status RssShmem"),
    Field("swap_bytes", "max", "in swap", "/proc/PID/status VmSwap"),
    Field("pgtables_bytes", "max", "page tables", "/proc/PID/status VmPTE + VmPMD"),
)

FIELDS: Final[dict[str, tuple[Field, ...]]] = {
    "host": _host(),
    "process": (
        *_MEMORY,
        Field("oom_score_adj", "last", "the killer's bias", "/proc/PID/oom_score_adj"),
        Field("private_bytes", "max", "what its end would free; of suspects", "/proc/PID/smaps_rollup Private_*"),
        Field("floor_anon_bytes", "min", "the lowest anonymous memory of a step", "/proc/PID/statm"),
    ),
    "name": (
        *_MEMORY,
        Field("processes", "max", "processes of this name", "/proc/PID/stat"),
        Field("started", "last", "processes of this name seen so far", "/proc/PID/stat"),
    ),
    "cgroup": (
        Field("working_set_bytes", "max", "usage - inactive_file, as the kubelet counts", "both files"),
        Field("usage_bytes", "max", "what is charged", "memory.current; v1 memory.usage_in_bytes"),
        Field("limit_bytes", "last", "at which the kernel kills", "memory.max; v1 memory.limit_in_bytes"),
        Field("high_bytes", "last", "above which it is throttled (v2)", "memory.high"),
        Field("peak_bytes", "last", "highest usage so far", "memory.peak (5.19+); v1 memory.max_usage_in_bytes"),
        Field("anon_bytes", "max", "anonymous memory", "memory.stat anon; v1 total_rss"),
        Field("file_bytes", "max", "page cache, shmem included", "memory.stat file; v1 total_cache"),
        Field("shmem_bytes", "max", "shared memory and tmpfs", "memory.stat shmem; v1 total_shmem"),
        Field("kernel_bytes", "max", "kernel memory", "memory.stat kernel (5.18+), slab; v1 memory.kmem.*"),
        Field("inactive_file_bytes", "max", "page cache that goes first", "memory.stat inactive_file"),
        Field("floor_working_set_bytes", "min", "the lowest working set of a step", "both files"),
        Field("swap_bytes", "max", "in swap", "memory.swap.current; v1 memory.stat total_swap"),
        Field("swap_limit_bytes", "last", "swap it may use (v1: with memory)", "memory.swap.max; v1 memory.memsw.*"),
        Field("psi_some_us", "last", "time in which some task waited", "memory.pressure (v2)"),
        Field("psi_full_us", "last", "time in which all tasks waited", "memory.pressure (v2)"),
        Field("events_high", "last", "times it was throttled at high", "memory.events high (v2)"),
        Field("events_max", "last", "times it was at its limit", "memory.events max; v1 memory.failcnt"),
        Field("events_oom_kill", "last", "processes killed in it", "memory.events oom_kill; v1 memory.oom_control"),
        Field("zswap_bytes", "max", "RAM its share of the compressed pool takes", "memory.stat zswap (v2, 5.19+)"),
        Field("zswapped_bytes", "max", "what is in there, uncompressed", "memory.stat zswapped (v2, 5.19+)"),
    ),
    "zone": (
        Field("free_bytes", "min", "free pages", "/proc/zoneinfo free"),
        Field("min_bytes", "last", "below: only for those who free memory", "/proc/zoneinfo min"),
        Field("low_bytes", "last", "below: kswapd works", "/proc/zoneinfo low"),
        Field("high_bytes", "last", "kswapd rests", "/proc/zoneinfo high"),
        Field("managed_bytes", "last", "pages of the zone", "/proc/zoneinfo managed"),
    ),
    "swap": (
        Field("used_bytes", "max", "of it in use", "/proc/swaps Used"),
        Field("size_bytes", "last", "size of the device or file", "/proc/swaps Size"),
        Field("priority", "last", "higher is used first", "/proc/swaps Priority"),
    ),
}  # fmt: skip
"""Kind of stored entity -> its figures. Figures added at the end of a kind keep old stores readable."""

MAIN: Final = {
    "host": "anon_bytes", "process": "rss_anon_bytes", "name": "rss_anon_bytes", "cgroup": "working_set_bytes",
    "zone": "free_bytes", "swap": "used_bytes",
}  # fmt: skip
"""The figure of a kind that answers "how big", shown where none is asked for; always the first of its kind."""

DERIVED: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "process": {"need_bytes": ("rss_anon_bytes", "rss_shmem_bytes", "swap_bytes", "pgtables_bytes"),
                "rss_bytes": ("rss_anon_bytes", "rss_file_bytes", "rss_shmem_bytes")},
    "name": {"need_bytes": ("rss_anon_bytes", "rss_shmem_bytes", "swap_bytes", "pgtables_bytes"),
             "rss_bytes": ("rss_anon_bytes", "rss_file_bytes", "rss_shmem_bytes")},
}  # fmt: skip
"""Figures that are sums of stored ones."""

LEFT: Final = frozenset(
    field.name for fields in FIELDS.values() for field in fields
    if field.rule == "min" and not field.name.startswith("floor_")
)  # fmt: skip
"""Figures of what is left: the lower the worse."""

STORED_KIND: Final = {"unit": "cgroup", "container": "cgroup"}
"""Kinds that are a way to look at another: a unit's or a container's figures are those of its cgroup."""

INDEX: Final = {kind: {field.name: i for i, field in enumerate(fields)} for kind, fields in FIELDS.items()}


def stored_kind(kind: str) -> str:
    """The kind under which *kind* is stored."""
    return STORED_KIND.get(kind, kind)


def field_names(kind: str) -> list[str]:
    """Every ``--field`` of *kind*, the derived ones last."""
    kind = stored_kind(kind)
    return [*INDEX[kind], *DERIVED.get(kind, ())]


def parts_of(kind: str, field: str) -> tuple[int, ...]:
    """Places of the stored values that *field* is the sum of. Raises :class:`KeyError` for what is no field."""
    kind = stored_kind(kind)
    names = DERIVED.get(kind, {}).get(field) or (field,)
    return tuple(INDEX[kind][name] for name in names)


def shown(stored: int | None, scale: int) -> float | None:
    """A stored value in the unit its name says; infinity for a limit that does not limit."""
    if stored is None:
        return None
    return math.inf if stored == UNLIMITED else stored * scale
