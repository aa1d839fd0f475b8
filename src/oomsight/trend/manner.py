"""How the present growth came about, and what was before it: numbers that only what grows is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from oomsight._record import dataclass
from oomsight.trend.hinge import thirds
from oomsight.trend.robust import clip, median, spread, theil_sen
from oomsight.trend.shape import DAY, Shape
from oomsight.trend.yesterday import excess_at


@dataclass(frozen=True, slots=True)
class Manner:
    """Numbers beside those of a :class:`~oomsight.trend.shape.Shape`. Shares are of the growth since it began."""

    noise: float  #: scatter around the line, as a share
    even: float  #: early growth (first to middle third) and late one (middle to last): the less over the more
    recent: float  #: rate of the last third over the whole's, -1 … 3
    jump: float  #: share that came in the biggest single jump
    from_start: float  #: share of the curve's length since it began to grow; 1 = from its start
    above_before: float  #: how far today's low points are above the highest ever before, as a share; -1 … 1
    dropped: float  #: how far it is now below the highest point since then, as a share
    since_yesterday: float | None  #: excess over the same time of the day before, as a share of a day's growth; -1 … 2
    earlier_days: float  #: longest earlier rise that was given back, days
    earlier_height: float  #: highest earlier rise that was given back, as a share


def manner(s: Shape) -> Manner:
    """Measure how *s* grew."""
    times, lows, highs = s.times, s.lows, s.highs
    when, segment, line = times[s.bend :], lows[s.bend :], s.line
    unit = abs(s.grown) or 1.0
    first, middle, last = thirds(segment)
    before = highs[: s.bend]
    step = max((b - a for a, b in pairwise(segment)), default=0.0)
    longest, highest = _given_back(times, lows, s.bend)
    return Manner(
        noise=spread([v - line.at(t) for t, v in zip(when, segment, strict=True)]) / unit,
        even=_even(middle - first, last - middle),
        recent=_recent(when, segment, line.slope),
        jump=clip(step / unit, 0, 2),
        from_start=s.days / s.life_days if s.life_days else 1.0,
        above_before=clip((median(segment[-max(2, len(segment) // 6) :]) - max(before)) / unit, -1, 1)
        if before
        else 0.0,
        dropped=clip((max(highs[s.bend :]) - lows[-1]) / unit, 0, 2),
        since_yesterday=_since_yesterday(times, lows, line.slope, s.days),
        earlier_days=longest / DAY,
        earlier_height=clip(highest / unit, 0, 4),
    )


def _even(early: float, late: float) -> float:
    """Return the less over the more of two growths; 0 when one of them is none."""
    return min(early, late) / max(early, late) if early > 0 and late > 0 else 0.0


def _recent(times: Sequence[float], lows: Sequence[float], slope: float) -> float:
    part = max(4, len(times) // 3)
    line = theil_sen(times[-part:], lows[-part:])
    return clip(line.slope / slope, -1, 3) if line is not None and slope else 1.0


def _since_yesterday(times: Sequence[float], lows: Sequence[float], slope: float, days: float) -> float | None:
    """
    Return the median excess of the last quarter day over the same time yesterday, in units of a day's growth.

    What follows the day has none, however steep its morning is. ``None`` while there is no yesterday.
    """
    excess: list[float] = []
    for place in range(len(times) - 1, -1, -1):
        if times[place] < times[-1] - DAY / 4 and len(excess) >= 3:
            break
        more = excess_at(times, lows, place)
        if more is None:
            return None
        excess.append(more)
    expected = abs(slope) * DAY * min(1.0, days)
    return clip(median(excess) / expected, -1, 2) if expected else 0.0


def _given_back(times: Sequence[float], lows: Sequence[float], bend: int) -> tuple[float, float]:
    """
    Return the longest (seconds) and the highest (bytes) rise before the present one that was given back.

    A rise is given back when the curve comes back to the lower half of it. What a service has done before, it may do
    again: jobs, collections, the day.
    """
    longest = highest = 0.0
    start = peak = 0
    for i in range(1, len(lows)):
        if lows[i] >= lows[peak]:
            peak = i
        elif lows[i] <= (lows[start] + lows[peak]) / 2:  # given back
            if peak > start and start < max(bend, 1):
                longest, highest = max(longest, times[i] - times[start]), max(highest, lows[peak] - lows[start])
            start = peak = i
        if lows[i] < lows[start]:
            start = peak = i
    return longest, highest
