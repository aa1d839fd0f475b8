"""
Today's curve less yesterday's: what is left is no traffic that follows the day.

Seasonal differencing: the low points of the last day, each less what there was at the same time of the day before. A
service that follows the day leaves a level line, a jump a step, a leak a ramp; and a leak that grows with the traffic
shows in it a day earlier than in the curve itself.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import log2
from typing import Final

from oomsight.trend.robust import kendall, median

DAY: Final = 86400.0
UNKNOWN: Final = -9.0  #: no yesterday, or too few points of it
FEWEST: Final = 4
GAP: Final = DAY / 4  #: low points farther apart do not tell what was between
LEAST: Final = 0.002  #: share of the free memory below which growth is none
STEADIEST: Final = 64.0  #: growth over scatter, at most

YESTERDAY: Final[tuple[tuple[str, str], ...]] = (
    ("steady", "Kendall's tau"),
    ("grew", "share of the free memory that it grew by: log2"),
    ("grew_1", "the same without its biggest jump"),
    ("above", "share of the free memory that its last quarter is above yesterday by: log2"),
    ("least", "the same of the least of its last quarter"),
    ("above_1", "as above, less its biggest jump"),
    ("signal", "growth over scatter: log2"),
    ("points", "how many low points have a yesterday"),
)
"""Names and meanings of what :func:`beyond` returns, all of today's low points less yesterday's."""


def excess_at(times: Sequence[float], lows: Sequence[float], place: int) -> float | None:
    """Return the low point at *place* less what there was a day before it; ``None`` where that is not on record."""
    then = times[place] - DAY
    if then < times[0]:
        return None
    i = max(1, bisect_left(times, then))
    a, b = times[i - 1], times[i]
    if b - a > GAP:
        return None
    return lows[place] - (lows[i - 1] + (lows[i] - lows[i - 1]) * (then - a) / (b - a))


def excess(times: Sequence[float], lows: Sequence[float]) -> list[float]:
    """Return the last day's low points less those at the same times of the day before, as far as there are any."""
    found: list[float] = []
    for place in range(len(times) - 1, -1, -1):
        more = excess_at(times, lows, place) if times[place] >= times[-1] - DAY else None
        if more is None:
            break
        found.append(more)
    return found[::-1]


def beyond(times: Sequence[float], lows: Sequence[float], free: float) -> list[float]:
    """Return the numbers of :data:`YESTERDAY`; *free*: memory that was free when the present growth began."""
    more = excess(times, lows)
    n = len(more)
    if n < FEWEST:
        return [UNKNOWN] * len(YESTERDAY)
    end = max(2, n // 4)
    steps = [b - a for a, b in pairwise(more)]
    biggest = max(steps)
    jump = max(0.0, biggest - median(steps))
    steps[steps.index(biggest)] -= jump
    rest = [*accumulate(steps, initial=more[0])]
    last, first = median(more[-end:]), median(more[:end])
    return [
        kendall(more),
        _share((last - first) / free),
        _share((median(rest[-end:]) - median(rest[:end])) / free),
        _share(last / free),
        _share(min(more[-end:]) / free),
        _share((last - jump) / free),
        log2(max(0.05, min(_signal(more, free), STEADIEST))),
        n / 60,
    ]


def _signal(more: Sequence[float], free: float) -> float:
    """Return how much a line through the points rises, over their mean distance from it."""
    n, mean = len(more), sum(more) / len(more)
    x = [i - (n - 1) / 2 for i in range(n)]
    slope = sum(a * value for a, value in zip(x, more, strict=True)) / sum(a * a for a in x)
    scatter = sum(abs(value - mean - slope * a) for a, value in zip(x, more, strict=True)) / n
    return slope * n / (scatter + 1e-6 * free)


def _share(share: float) -> float:
    return log2(max(LEAST, min(share, 8.0)))
