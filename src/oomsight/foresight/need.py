"""Figures on record -> the memory that somebody needs, as one curve."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from oomsight.trend.series import Series


def need_of(figures: Mapping[str, Series]) -> Series | None:
    """Charged memory without page cache, with tmpfs, where these three are on record."""
    usage, files, shmem = (figures.get(name) for name in ("usage_bytes", "file_bytes", "shmem_bytes"))
    if usage is None or files is None or not len(usage):
        return None
    return combined(usage, [(files, -1.0), (shmem, 1.0)])


def host_of(figures: Mapping[str, Series]) -> tuple[Series, float] | None:
    """RAM and swap in use, and how much there is of both."""
    total, available = figures.get("mem_total_bytes"), figures.get("mem_available_bytes")
    if total is None or available is None or not len(total) or not len(available):
        return None
    swap, free = figures.get("swap_total_bytes"), figures.get("swap_free_bytes")
    parts = [(available, -1.0)]
    limit = total.values[-1]
    if swap is not None and free is not None and len(swap):
        parts += [(swap, 1.0), (free, -1.0)]
        limit += swap.values[-1]
    return combined(total, parts), limit


def combined(first: Series, others: Iterable[tuple[Series | None, float]]) -> Series:
    """The sum of series, each with its sign, at the moments of *first*; never below 0. A missing one counts as 0."""
    values = list(first.values)
    for series, sign in others:
        if series is None or not len(series):
            continue
        known = dict(zip(series.times, series.values, strict=True))
        last = series.values[0]
        for index, moment in enumerate(first.times):
            last = known.get(moment, last)
            values[index] += sign * last
    return Series(first.times, [max(value, 0.0) for value in values], first.restarts, first.step_seconds)
