"""What comes and goes: the day, jobs, collections of a heap."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight.trend.robust import median

if TYPE_CHECKING:
    from oomsight.trend.series import Bucket

DAY: Final = 86400.0
TOOTH: Final = 0.4  #: share of the whole range that must be given back for a peak to count


class Rhythm(NamedTuple):
    """What repeats in a curve."""

    daily: float  #: correlation with itself one day before; 0 without a day
    teeth: int  #: how many peaks were given back
    swing: float  #: range of the curve as a share of its peak
    idle: float  #: share of the time spent in the lowest quarter of the range


def rhythm(parts: Sequence[Bucket]) -> Rhythm:
    """Measure what repeats, on the middles of equally long stretches of time."""
    values = [part.middle for part in parts]
    low, high = min(part.low for part in parts), max(part.high for part in parts)
    reach = high - low
    if reach <= 0:
        return Rhythm(0.0, 0, 0.0, 1.0)
    teeth, top = 0, values[0]
    for part in parts:
        if top - part.low >= TOOTH * reach:
            teeth, top = teeth + 1, part.low
        top = max(top, part.high)
    idle = sum(value <= low + reach / 4 for value in values) / len(values)
    return Rhythm(_daily(parts, values), teeth, reach / high if high > 0 else 0.0, idle)


def _daily(parts: Sequence[Bucket], values: Sequence[float]) -> float:
    """Return the correlation of the curve, its straight line taken off, with itself a day before."""
    step = median([b.time - a.time for a, b in pairwise(parts)])
    lag = round(DAY / step) if step > 0 else 0
    if lag < 3 or len(values) - lag < 5:
        return 0.0
    n = len(values)
    slope = (values[-1] - values[0]) / (n - 1)
    flat = [value - slope * i for i, value in enumerate(values)]
    a, b = flat[lag:], flat[:-lag]
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    above = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    below = sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))
    return above / below if below > 0 else 0.0
