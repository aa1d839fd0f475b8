"""
What is measured on a memory curve before anybody judges it: a dozen numbers without a unit, each with its meaning.

All of them look at low points (the least of each of 60 stretches of time): what a heap keeps after its collections and
a service after its requests. RESIN (OSDI '22) takes the same view of a process's memory over days.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from typing import Final

from oomsight._record import dataclass
from oomsight.trend.hinge import hinge, thirds
from oomsight.trend.lately import LATELY, lately
from oomsight.trend.manner import Manner, clip
from oomsight.trend.robust import Line, mann_kendall, theil_sen
from oomsight.trend.series import Bucket, Series, buckets, lows_between
from oomsight.trend.texture import CURVATURE, STAIRS, curvature, stairs
from oomsight.trend.yesterday import YESTERDAY, beyond

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
    """A curve in numbers. How it grew is in :class:`~oomsight.trend.manner.Manner`."""

    life: Series  #: since the last restart
    limit_bytes: float | None
    parts: Sequence[Bucket]
    times: Sequence[float]  #: of the parts: their times, …
    lows: Sequence[float]  #: … low points …
    highs: Sequence[float]  #: … and highest ones
    bend: int  #: index of the part at which the present growth began
    line: Line  #: through the low points since then
    level: float  #: of the line now
    grown: float  #: bytes along the line since ``since``
    life_days: float  #: how long the curve is
    days: float  #: how long it has been growing
    tau: float  #: Kendall's tau of the low points since then, -1 … 1
    p: float
    slowing: float  #: 0 = as fast as ever, 1 = has stopped, negative = ever faster
    size: float  #: growth as a share of what was free when it began; of the peak where there is no limit

    @property
    def since(self) -> float:
        """Unix seconds at which the present growth began."""
        return self.times[self.bend]

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
    times, lows, _, highs, _ = map(list, zip(*parts, strict=True))
    bend = _bend(times, lows)
    segment = lows[bend:]
    line = theil_sen(times[bend:], segment)
    if line is None:
        return None
    grown = line.slope * (times[-1] - times[bend])
    level = line.at(times[-1])
    first, middle, last = thirds(segment)
    trend = mann_kendall(segment)
    free = limit_bytes - (level - grown) if limit_bytes else max(highs)
    return Shape(
        life=whole,
        limit_bytes=limit_bytes,
        parts=parts,
        times=times,
        lows=lows,
        highs=highs,
        bend=bend,
        line=line,
        level=level,
        grown=grown,
        life_days=(times[-1] - times[0]) / DAY,
        days=(times[-1] - times[bend]) / DAY,
        tau=trend.tau,
        p=trend.p,
        slowing=clip(1 - (last - middle) / (middle - first), -2, 2)
        if middle > first
        else (-2.0 if last > middle else 1.0),
        size=clip(grown / free, 0, 1) if free > 0 else 1.0,
    )


def _bend(times: Sequence[float], lows: Sequence[float]) -> int:
    """Return where the present growth began: the best bend, and the best in what follows, as long as they explain."""
    start = 0
    for _ in range(3):
        found = hinge(times[start:], lows[start:])
        if found is None or found.explained < BEND_EXPLAINS or len(times) - start - found.bend < FEWEST - 2:
            break
        start += found.bend
    return start


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


def features(s: Shape, how: Manner) -> list[float]:
    """Return the numbers that the verdict weighs, in the order of :data:`FEATURES`; *how*: it grew."""
    lows = s.lows[s.bend :]
    limit, peak = s.limit_bytes, max(s.highs)
    free, free_once = (max(limit - min(least), 1.0) if limit else peak for least in (lows, s.lows))
    fine = lows_between(s.life, s.since, s.life.times[-1], FINE)
    return [
        *_plain(s, how),
        log2(max(s.life_days, 0.02)),
        log2(max(0.01, min(s.line.slope * DAY / free, 20.0))),
        *stairs(lows, free),
        *curvature(lows),
        *curvature(s.lows),
        *stairs(fine, free),
        *curvature(fine),
        *beyond(s.times, s.lows, free),
        *lately(s.parts, free_once),
    ]


def _plain(s: Shape, how: Manner) -> tuple[float, ...]:
    days = max(s.days, 0.02)
    young = max(0.0, 1 - s.life_days) * how.from_start
    slowing = max(0.0, min(1.5, s.slowing))
    return (
        clip(log2(days), -3, 3),
        clip(log2(days / how.earlier_days), -3, 3) if how.earlier_days > 0.02 else 1.5,
        clip(-log2(max(how.earlier_height, 0.03)), -2, 5),
        s.tau,
        clip(-log2(max(how.noise, 0.01)), 0, 6),
        slowing,
        min(how.jump, 1.0),
        clip(log2(max(s.size * (1 - min(how.jump, 1.0)), 0.01)), -6, 0),
        how.even,
        min(how.recent, 1.5),
        how.from_start,
        young,
        slowing * how.from_start,
        how.above_before,
        clip(log2(max(s.size, 0.01)), -6, 0),
        how.dropped,
        0.0 if how.since_yesterday is None else how.since_yesterday,
        1.0 if how.since_yesterday is None else 0.0,
        max(0.0, 1 - s.days / 0.6) if how.since_yesterday is None else 0.0,
    )
