"""What the model leaves out, so that nobody takes it for more than it is. Shown in every output and in the docs."""

from __future__ import annotations

from typing import Final, NamedTuple


class Gap(NamedTuple):
    """One thing the model does not do as Linux does."""

    code: str
    short: str  #: as part of a list
    words: str  #: what is left out
    effect: str  #: what that does to the result


GAPS: Final[tuple[Gap, ...]] = (
    Gap("time", "the time that swapping and thrashing cost",
        "Swapping, reclaim and thrashing cost no time; nothing gets slower when memory is short.",
        "A real machine near its limit crawls first: the kill comes later than here, or a person comes first."),
    Gap("cold", "which memory is in use and which is idle",
        "Swap takes any page at once, and it comes back as soon as there is room.",
        "Memory in constant use cannot be swapped without thrashing: swap helps less than here."),
    Gap("cache", "page cache that is dirty or in use",
        "Page cache is dropped to the last page before anybody dies; dirty pages cost no time to write.",
        "Real kills may come with some cache left; slow disks can kill small cgroups earlier."),
    Gap("shared", "shared memory",
        "Memory is never shared: every process has its own, fork copies nothing.",
        "Prefork servers hold less than here."),
    Gap("high", "the exact delay above memory.high",
        "Above memory.high a process grows by at most 128 KiB a second; the kernel's delay depends on how far"
        " above it is.", "How long a throttled process takes to the hard limit is rough."),
    Gap("zones", "nodes, zones, fragmentation, huge pages, zram",
        "One node, one zone, no fragmentation, no huge pages, no mlock, no zram or zswap.",
        "OOM kills for those reasons do not happen here."),
    Gap("exit", "the time a victim takes to die",
        "A victim is gone at once; the kernel waits for it, and so may another allocation.",
        "Chains of kills are a few milliseconds shorter than in life."),
    Gap("counters", "the error of the kernel's counters",
        "Sizes are exact; kernels 6.2 to 6.19 choose by counters that may be off by a few pages for each"
        " CPU.", "Between processes of nearly the same size the kernel may take the other one."),
    Gap("privilege", "privileges, age and CPU time (old kernels)",
        "Nobody has CAP_SYS_ADMIN, nice is 0, CPU time and age are 0.",
        "Kernels before 4.17 (root's bonus) and before 2.6.36 (age) may choose otherwise."),
    Gap("guard", "real PSI",
        "The guard's pressure is the share of wanted memory that is not in RAM; PSI measures time lost.",
        "Thresholds of the two cannot be compared."),
)  # fmt: skip
"""One row per gap."""
