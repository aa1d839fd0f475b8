"""
How far a task's memory counters may be off, both in the kernel's choice and in what a report prints.

From 2.6.34 on rss and swap are counted in pieces (per thread, then per CPU). Until 6.19 badness read them without
summing, so the kernel itself may prefer another task than exact numbers would, and predictions carry this interval.
Which file of /proc comes nearest to what badness reads changes with it: see :attr:`CounterEra.rss_from`.

Sources: SPLIT_RSS in mm/memory.c (2.6.34-6.1); lib/percpu_counter.c, include/linux/mm.h, mm/oom_kill.c (6.2+).
"""

from __future__ import annotations

from oomsight._named import NamedTuple
from oomsight.kernel.release import in_range

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from typing import Final, Literal

    from oomsight.kernel.release import Release

    CounterKind = Literal["exact", "split_rss", "percpu", "percpu_sum"]


_SPLIT_BATCH_PAGES: Final = 64  # TASK_RSS_EVENTS_THRESH: faults a thread keeps to itself
_PERCPU_BATCH_MIN: Final = 32  # percpu_counter_batch = max(32, 2 * online CPUs)


class CounterEra(NamedTuple):
    """One way of counting a process's pages."""

    kind: CounterKind
    since: Release
    until: Release | None
    source: str
    words: str
    rss_from: Literal["stat", "status"] = "stat"
    """Where /proc/PID shows the rss badness reads: ``stat`` (field 24) or ``status`` (VmRSS)."""


COUNTER_ERAS: Final[tuple[CounterEra, ...]] = (
    CounterEra("exact", (2, 6, 11), (2, 6, 33), "include/linux/sched.h 2.6.24", "one counter for each process"),
    CounterEra(
        "split_rss", (2, 6, 34), (6, 1), "mm/memory.c 2.6.34 … 6.1",
        "each thread keeps up to 64 pages of change to itself",
    ),
    CounterEra(
        "percpu", (6, 2), (6, 19), "lib/percpu_counter.c 6.2 … 6.19",
        "each CPU keeps up to a batch of max(32, 2 x CPUs) pages to itself",
    ),
    CounterEra(
        # oom_badness() and dump_task() call get_mm_rss_sum(); /proc/PID/stat still shows the approximate number.
        # Tagged for stable, so older release lines may do the same: an error of 0 is then only better than said.
        "percpu_sum", (7, 0), None, "mm/oom_kill.c after 6.19; oom_score of 7.3.4 equals VmRSS + VmSwap + VmPTE",
        "counted per CPU, but summed exactly when the OOM killer looks", "status",
    ),
)
"""Counting methods, oldest first; one row per method."""


def counter_era(release: Release) -> CounterEra:
    """How mainline ``release`` counted; the oldest row for kernels before the table."""
    return next((era for era in COUNTER_ERAS if in_range(release, era.since, era.until)), COUNTER_ERAS[0])


def counter_error_pages(era: CounterEra, cpus: int | None = None, threads: int | None = None) -> int | None:
    """
    Bound on the error of ONE counter (anon, file, shmem and swap each have one), in pages.

    ``cpus``: online CPUs, needed by ``percpu``; ``threads``: of the process, needed by ``split_rss``. ``None`` = the
    needed number is not known. The error may go either way; a counter is never read below 0.
    """
    if era.kind in {"exact", "percpu_sum"}:
        return 0
    if era.kind == "split_rss":
        return None if threads is None else _SPLIT_BATCH_PAGES * threads
    return None if cpus is None else max(_PERCPU_BATCH_MIN, 2 * cpus) * cpus
