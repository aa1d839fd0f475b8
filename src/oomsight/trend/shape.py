"""
What is measured on a memory curve before anybody judges it: a dozen numbers without a unit, each with its meaning.

All of them look at low points (the least of each of 60 stretches of time): what a heap keeps after its collections and
a service after its requests. RESIN (OSDI '22) takes the same view of a process's memory over days.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import log2
from typing import Final

from oomsight._record import dataclass
from oomsight.trend.hinge import hinge, thirds
from oomsight.trend.lately import LATELY, lately
from oomsight.trend.robust import Line, mann_kendall, median, spread, theil_sen
from oomsight.trend.series import Bucket, Series, buckets
from oomsight.trend.texture import CURVATURE, STAIRS, curvature, stairs
from oomsight.trend.yesterday import YESTERDAY, beyond, excess_at

DAY: Final = 86400.0
BUCKETS: Final = 60
FINE: Final = 40  #: stretches into which what grew is cut once more
FEWEST: Final = 10  #: stretches with samples; below that a curve has no shape
CHANCE: Final = 0.01  #: Mann-Kendall: such a trend would come by chance in one of a hundred level curves
LEAST_TAU: Final = 0.5  #: chosen on the training split, as CHANCE
LEAST_SHARE: Final = 0.02  #: of the free memory; what took less need not wake anybody yet
BEND_EXPLAINS: Final = 0.3  #: share of the squared error that a bend must take away to be believed


@dataclass(frozen=True, slots=True)
class Shape:
    """A curve in numbers. Shares are of the growth since ``since`` unless they say otherwise."""

    life: Series  #: since the last restart
    limit_bytes: float | None
    parts: Sequence[Bucket]
    bend: int  #: index of the part at which the present growth began
    line: Line  #: through the low points since then
    level: float  #: of the line now
    grown: float  #: bytes along the line since ``since``
    life_days: float  #: how long the curve is
    days: float  #: how long it has been growing
    tau: float  #: Kendall's tau of the low points since then, -1 … 1
    p: float
    noise: float  #: scatter around the line, as a share
    slowing: float  #: 0 = as fast as ever, 1 = has stopped, negative = ever faster
    even: float  #: early growth (first to middle third) and late one (middle to last): the less over the more
    recent: float  #: rate of the last third over the whole's, -1 … 3
    jump: float  #: share that came in the biggest single jump
    from_start: float  #: share of the curve's length since it began to grow; 1 = from its start
    above_before: float  #: how far today's low points are above the highest ever before, as a share; -1 … 1
    size: float  #: growth as a share of what was free when it began; of the peak where there is no limit
    full: float  #: level as a share of the limit; ``0`` without one
    dropped: float  #: how far it is now below the highest point since then, as a share
    since_yesterday: float | None  #: excess over the same time of the day before, as a share of a day's growth; -1 … 2
    earlier_days: float  #: longest earlier rise that was given back, days
    earlier_height: float  #: highest earlier rise that was given back, as a share

    @property
    def since(self) -> float:
        """Unix seconds at which the present growth began."""
        return self.parts[self.bend].time

    @property
    def rises(self) -> bool:
        """Whether there is a trend upwards, however small."""
        return self.line.slope > 0 and self.p < CHANCE and self.tau >= LEAST_TAU

    @property
    def grows(self) -> bool:
        """Whether it has grown by an amount that matters, however unsteadily: jobs and heaps hide a trend for long."""
        return self.line.slope > 0 and self.size >= LEAST_SHARE


def shape(series: Series, limit_bytes: float | None, now: float) -> Shape | None:
    """Measure the curve since the last restart; ``None`` with too few samples."""
    whole = series.life(now)
    parts = buckets(whole, BUCKETS)
    if len(parts) < FEWEST:
        return None
    times, lows = [part.time for part in parts], [part.low for part in parts]
    bend = _bend(times, lows)
    line = theil_sen(times[bend:], lows[bend:])
    if line is None:
        return None
    segment = lows[bend:]
    days, life = (times[-1] - times[bend]) / DAY, (times[-1] - times[0]) / DAY
    level = line.at(times[-1])
    grown = line.slope * (times[-1] - times[bend])
    unit = abs(grown) or 1.0
    first, middle, last = thirds(segment)
    trend = mann_kendall(segment)
    free = limit_bytes - (level - grown) if limit_bytes else max(part.high for part in parts)
    before = [part.high for part in parts[:bend]]
    step = max((b - a for a, b in pairwise(segment)), default=0.0)
    earlier_days, earlier_height = _given_back(times, lows, bend)
    return Shape(
        life=whole,
        limit_bytes=limit_bytes,
        parts=parts,
        bend=bend,
        line=line,
        level=level,
        grown=grown,
        life_days=life,
        days=days,
        tau=trend.tau,
        p=trend.p,
        noise=spread([v - line.at(t) for t, v in zip(times[bend:], segment, strict=True)]) / unit,
        slowing=_clip(1 - (last - middle) / (middle - first), -2, 2)
        if middle > first
        else (-2.0 if last > middle else 1.0),
        even=_even(middle - first, last - middle),
        recent=_recent(times[bend:], segment, line.slope),
        jump=_clip(step / unit, 0, 2),
        from_start=days / life if life else 1.0,
        above_before=_clip((median(segment[-max(2, len(segment) // 6) :]) - max(before)) / unit, -1, 1)
        if before
        else 0.0,
        size=_clip(grown / free, 0, 1) if free > 0 else 1.0,
        full=level / limit_bytes if limit_bytes else 0.0,
        dropped=_clip((max(part.high for part in parts[bend:]) - lows[-1]) / unit, 0, 2),
        since_yesterday=_since_yesterday(times, lows, line.slope, days),
        earlier_days=earlier_days / DAY,
        earlier_height=_clip(earlier_height / unit, 0, 4),
    )


def _clip(value: float, low: float, high: float) -> float:
    return low if value < low else high if value > high else value


def _even(early: float, late: float) -> float:
    """Return the less over the more of two growths; 0 when one of them is none."""
    return min(early, late) / max(early, late) if early > 0 and late > 0 else 0.0


def _recent(times: Sequence[float], lows: Sequence[float], slope: float) -> float:
    part = max(4, len(times) // 3)
    line = theil_sen(times[-part:], lows[-part:])
    return _clip(line.slope / slope, -1, 3) if line is not None and slope else 1.0


def _bend(times: Sequence[float], lows: Sequence[float]) -> int:
    """Return where the present growth began: the best bend, and the best in what follows, as long as they explain."""
    start = 0
    for _ in range(3):
        found = hinge(times[start:], lows[start:])
        if found is None or found.explained < BEND_EXPLAINS or len(times) - start - found.bend < FEWEST - 2:
            break
        start += found.bend
    return start


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
    return _clip(median(excess) / expected, -1, 2) if expected else 0.0


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


FEATURES: Final[tuple[tuple[str, str], ...]] = (
    ("duration", "how long it has grown: log2 of days"),
    ("duration_over_earlier", "how much longer than any earlier rise that was given back: log2"),
    ("height_over_earlier", "how much higher than any earlier rise that was given back: log2"),
    ("tau", "how steadily: Kendall's tau of the low points"),
    ("signal", "growth over scatter: log2"),
    ("slowing", "whether the last third grew less than the one before"),
    ("jump", "share of the biggest single jump"),
    ("without_jump", "share of the free memory that it took without its biggest jump: log2"),
    ("even", "whether it grew as much late as early"),
    ("recent", "rate of the last third over the whole's"),
    ("from_start", "whether it has grown from its start"),
    ("young", "grown from its start, and that was less than a day ago"),
    ("slowing_from_start", "both: what warms up and what fills does so"),
    ("above_before", "whether today's low points are above all earlier peaks"),
    ("size", "share of the free memory that it took: log2"),
    ("dropped", "how far below its highest point it is now"),
    ("since_yesterday", "whether it is above the same time of yesterday"),
    ("no_yesterday", "there is no yesterday to compare with"),
    ("short", "a rise shorter than 14 hours without a yesterday: may be the day itself"),
    ("life", "how long the curve is: log2 of days"),
    ("pace", "share of the free memory that it takes in a day: log2"),
    *STAIRS,
    *CURVATURE,
    *((f"life_{name}", f"{words}; of the whole curve") for name, words in CURVATURE),
    *((f"fine_{name}", f"{words}; in finer stretches") for name, words in (*STAIRS, *CURVATURE)),
    *((f"yesterday_{name}", f"{words}; of today's low points less yesterday's") for name, words in YESTERDAY),
    *LATELY,
)
"""Names and meanings of what :func:`features` returns, in its order."""


def features(s: Shape) -> list[float]:
    """Return the numbers that the verdict weighs, in the order of :data:`FEATURES`."""
    times, life = [part.time for part in s.parts], [part.low for part in s.parts]
    lows = life[s.bend :]
    at_its_peak = max(part.high for part in s.parts)
    free, free_once = (max(s.limit_bytes - min(least), 1.0) if s.limit_bytes else at_its_peak for least in (lows, life))
    fine = [part.low for part in buckets(s.life.between(s.since, s.life.times[-1]), FINE)]
    return [
        *_plain(s),
        log2(max(s.life_days, 0.02)),
        log2(max(0.01, min(s.line.slope * DAY / free, 20.0))),
        *stairs(lows, free),
        *curvature(lows),
        *curvature(life),
        *stairs(fine, free),
        *curvature(fine),
        *beyond(times, life, free),
        *lately(s.parts, free_once),
    ]


def _plain(s: Shape) -> tuple[float, ...]:
    days = max(s.days, 0.02)
    young = max(0.0, 1 - s.life_days) * s.from_start
    slowing = max(0.0, min(1.5, s.slowing))
    return (
        _clip(log2(days), -3, 3),
        _clip(log2(days / s.earlier_days), -3, 3) if s.earlier_days > 0.02 else 1.5,
        _clip(-log2(max(s.earlier_height, 0.03)), -2, 5),
        s.tau,
        _clip(-log2(max(s.noise, 0.01)), 0, 6),
        slowing,
        min(s.jump, 1.0),
        _clip(log2(max(s.size * (1 - min(s.jump, 1.0)), 0.01)), -6, 0),
        s.even,
        min(s.recent, 1.5),
        s.from_start,
        young,
        slowing * s.from_start,
        s.above_before,
        _clip(log2(max(s.size, 0.01)), -6, 0),
        s.dropped,
        0.0 if s.since_yesterday is None else s.since_yesterday,
        1.0 if s.since_yesterday is None else 0.0,
        max(0.0, 1 - s.days / 0.6) if s.since_yesterday is None else 0.0,
    )
