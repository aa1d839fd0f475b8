"""
What is measured on a memory curve before anybody judges it: a dozen numbers without a unit, each with its meaning.

All of them look at low points (the least of each of 60 stretches of time): what a heap keeps after its collections and
a service after its requests. RESIN (OSDI '22) takes the same view of a process's memory over days.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from oomsight._named import NamedTuple
from oomsight._record import dataclass, replaced
from oomsight.trend.hinge import hinge, thirds
from oomsight.trend.robust import Line, Trend, clip, mann_kendall, theil_sen
from oomsight.trend.series import Buckets, Series, buckets

DAY: Final = 86400.0
BUCKETS: Final = 60
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
    parts: Buckets
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
        return self.line.slope > 0 and _is_trend(self.tau, self.p)

    @property
    def grows(self) -> bool:
        """Whether it has grown by an amount that matters, however unsteadily: jobs and heaps hide a trend for long."""
        return self.line.slope > 0 and self.size >= LEAST_SHARE


class Outline(NamedTuple):
    """What a shape begins with: the curve cut into stretches, where it bends, and the trend since then."""

    life: Series
    parts: Buckets
    bend: int
    trend: Trend


_outline: Final[list[Outline | None]] = [None]
_latest: Final[list[Shape | None]] = [None]
"""Those of the curve measured last: several questions in turn are asked about one, and their limits may differ."""


def falls(series: Series, now: float) -> bool:
    """
    Whether more pairs of low points fall than rise since the bend. Then no Theil-Sen line through them leads upwards:
    the curve neither grows nor rises, and nobody need draw the line to know.
    """
    found = _outlined(series.life(now))
    return found is not None and found.trend.s < 0


def trends_up(series: Series, now: float) -> bool:
    """Whether the low points since the bend rise more steadily than chance explains: what does not has no forecast."""
    found = _outlined(series.life(now))
    return found is not None and _is_trend(found.trend.tau, found.trend.p)


def _is_trend(tau: float, p: float) -> bool:
    return p < CHANCE and tau >= LEAST_TAU


def shape(series: Series, limit_bytes: float | None, now: float) -> Shape | None:
    """Measure the curve since the last restart; ``None`` with too few samples."""
    life = series.life(now)
    found = _latest[0]
    if found is None or not _is_same(found.life, life):
        outline = _outlined(life)
        found = _latest[0] = _measured(outline, limit_bytes) if outline is not None else None
    elif found.limit_bytes != limit_bytes:
        size = _size(found.grown, found.level, found.highs, limit_bytes)
        found = replaced(found, limit_bytes=limit_bytes, size=size)
    return found


def _is_same(one: Series, other: Series) -> bool:
    return one is other or (one.values == other.values and one == other)  # many curves have the same moments


def _outlined(life: Series) -> Outline | None:
    found = _outline[0]
    if found is None or not _is_same(found.life, life):
        parts = buckets(life, BUCKETS)
        if len(parts.times) < FEWEST:
            return None
        bend = _bend(parts.times, parts.lows)
        found = _outline[0] = Outline(life, parts, bend, mann_kendall(parts.lows[bend:]))
    return found


def _size(grown: float, level: float, highs: Sequence[float], limit_bytes: float | None) -> float:
    free = limit_bytes - (level - grown) if limit_bytes else max(highs)
    return clip(grown / free, 0, 1) if free > 0 else 1.0


def _measured(outline: Outline, limit_bytes: float | None) -> Shape | None:
    life, parts, bend, trend = outline
    times, lows, highs = parts.times, parts.lows, parts.highs
    segment = lows[bend:]
    line = theil_sen(times[bend:], segment)
    if line is None:
        return None
    grown = line.slope * (times[-1] - times[bend])
    level = line.at(times[-1])
    first, middle, last = thirds(segment)
    return Shape(
        life=life,
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
        size=_size(grown, level, highs, limit_bytes),
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
