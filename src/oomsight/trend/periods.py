"""What comes and goes: the day, jobs, collections of a heap."""

from __future__ import annotations

from bisect import bisect_right
from math import sqrt
from operator import mul, sub
from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight.trend.robust import median

if TYPE_CHECKING:
    from oomsight.trend.series import Buckets

DAY: Final = 86400.0
TOOTH: Final = 0.4  #: share of the whole range that must be given back for a peak to count


class Rhythm(NamedTuple):
    """What comes and goes in a curve."""

    teeth: int  #: how many peaks were given back
    swing: float  #: range of the curve as a share of its peak
    idle: float  #: share of the time spent in the lowest quarter of the range


def rhythm(parts: Buckets) -> Rhythm:
    """Measure what comes and goes, on equally long stretches of time."""
    lows, highs = parts.lows, parts.highs
    low, high = min(lows), max(highs)
    reach = high - low
    if reach <= 0:
        return Rhythm(0, 0.0, 1.0)
    teeth, top, tooth = 0, parts.middles[0], TOOTH * reach
    for least, most in zip(lows, highs, strict=True):
        if top - least >= tooth:
            teeth, top = teeth + 1, least
        top = max(top, most)
    idle = bisect_right(sorted(parts.middles), low + reach / 4) / len(lows)
    return Rhythm(teeth, reach / high if high > 0 else 0.0, idle)


def daily(parts: Buckets) -> float:
    """Return the correlation of the curve, its straight line taken off, with itself a day before; 0 without a day."""
    times, values = parts.times, parts.middles
    step = median(list(map(sub, times[1:], times)))
    lag = round(DAY / step) if step > 0 else 0
    if lag < 3 or len(values) - lag < 5:
        return 0.0
    n = len(values)
    slope = (values[-1] - values[0]) / (n - 1)
    flat = [value - slope * i for i, value in enumerate(values)]
    a, b = flat[lag:], flat[:-lag]
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    off_a, off_b = [x - mean_a for x in a], [y - mean_b for y in b]
    above = sum(map(mul, off_a, off_b))
    below = sqrt(sum(map(mul, off_a, off_a)) * sum(map(mul, off_b, off_b)))
    return above / below if below > 0 else 0.0
