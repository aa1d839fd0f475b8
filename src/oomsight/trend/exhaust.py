"""When something that grows hits its limit."""

from __future__ import annotations

from itertools import pairwise
from math import exp
from typing import TYPE_CHECKING, Final

from oomsight._record import dataclass
from oomsight.trend.growth import Growth, growth_of
from oomsight.trend.robust import mann_kendall, theil_sen
from oomsight.trend.shape import DAY, FEWEST, Shape, shape, trends_up
from oomsight.trend.words import span

if TYPE_CHECKING:
    from oomsight.trend.series import Series


@dataclass(frozen=True, slots=True)
class Exhaustion:
    """Time left until *limit_bytes*, counted from *now*."""

    seconds: float  #: most likely
    low_seconds: float  #: with ``high``: 80 % interval
    high_seconds: float | None  #: ``None`` = perhaps never
    now: float
    limit_bytes: float
    headroom_bytes: float  #: at *now*
    growth: Growth  #: what it rests on
    method: str  #: in words

    @property
    def at(self) -> float:
        """Most likely moment, unix seconds."""
        return self.now + self.seconds


PEAKS: Final = 0.9
"""Quantile of how far the peaks reach above the line of low points: the limit is hit by a peak."""

ONE_JUMP: Final = 0.8
"""Share of a growth in one jump from which it is a step: its line has no rate, and ends where nothing has been."""

MARGIN: Final = 0.2
SLOPE_MARGIN: Final = 2.0
"""
What the interval is widened by, as logarithms: so much in any case, and so many times the relative half width of the
slope's interval (neighbouring samples are alike, so that Sen's interval is too narrow). Chosen on the training split of
the corpus: the narrowest with 81 to 86 % of the truth inside.
"""


YOUNG: Final = 6
"""Samples from which a curve too young for a shape may be followed: fewer cannot rise by less than chance explains."""


def time_left_young(series: Series, limit_bytes: float, now: float) -> Exhaustion | None:
    """
    As :func:`time_left`, of what is too young for a shape: where each of its few samples is above the one before.
    Who fills a limit within half a minute is gone before there is more.
    """
    life = series.life(now)
    values, times = life.values, life.times
    if not YOUNG <= len(life) < FEWEST or any(b <= a for a, b in pairwise(values)):
        return None
    line = theil_sen(times, values)
    if line is None or line.low_slope <= 0:
        return None
    free = max(0.0, limit_bytes - line.at(now))
    margin = exp(MARGIN + SLOPE_MARGIN * (line.high_slope - line.low_slope) / 2 / line.slope)
    grown = line.slope * (times[-1] - times[0])
    rate = Growth(line.slope, line.low_slope, line.high_slope, since=times[0], until=times[-1], grown_bytes=grown,
                  level_bytes=line.at(times[-1]), p=mann_kendall(values).p)  # fmt: skip
    return Exhaustion(
        seconds=free / line.slope, low_seconds=free / line.slope / margin, high_seconds=free / line.slope * margin,
        now=now, limit_bytes=limit_bytes, headroom_bytes=free, growth=rate,
        method=f"Theil-Sen line of the first {len(life)} samples",
    )  # fmt: skip


def _is_step(found: Shape) -> bool:
    jump = max((b - a for a, b in pairwise(found.lows[found.bend :])), default=0.0)
    return jump >= ONE_JUMP * found.grown


def time_left(series: Series, limit_bytes: float, now: float, *, leaks: bool = False) -> Exhaustion | None:
    """
    Return when *series* reaches *limit_bytes*; ``None`` when it does not grow or nothing can be said yet.

    *leaks*: that it does is known, so a line is followed of which Mann and Kendall's test is not sure.
    """
    if not leaks and not trends_up(series, now):
        return None
    found = shape(series, limit_bytes, now)
    if found is None or not (found.rises or (leaks and found.grows)):
        return None
    if not leaks and _is_step(found):
        return None
    line = found.line
    above = sorted([high - line.at(time) for time, high in
                    zip(found.times[found.bend :], found.highs[found.bend :], strict=True)])  # fmt: skip
    peak = max(0.0, above[int(PEAKS * (len(above) - 1))])
    free = max(0.0, limit_bytes - line.at(now))
    wide = (line.high_slope - line.low_slope) / 2 / line.slope
    margin = exp(MARGIN + SLOPE_MARGIN * min(wide, 1.0))
    low = max(0.0, free - peak) / line.slope / margin
    high = free / line.slope * margin if wide < 1 else None
    likely = max(0.0, free - peak / 2) / line.slope
    return Exhaustion(
        seconds=likely, low_seconds=low, high_seconds=high, now=now, limit_bytes=limit_bytes, headroom_bytes=free,
        growth=growth_of(found), method=f"Theil-Sen line of the low points over {span(found.days * DAY)}",
    )  # fmt: skip
