"""
How a curve rises: evenly or in jumps, straight or towards an end. Numbers for the verdict, none with a unit.

A step is no leak, nor is a heap that took what it needed in a few pieces: what matters is how much growth is left when
its biggest jumps are taken out. A cache that fills follows an exponential to its end, or a ramp and then a level; how
much better these fit than a straight line is told long before they are level.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from math import exp, log, log2
from operator import mul, sub
from typing import Final

from oomsight.trend.robust import kendall, median

UNKNOWN: Final = -9.0  #: too few points to say
FEWEST: Final = 6
ENDS: Final = (0.08, 0.15, 0.3, 0.5, 0.8, 1.5)  #: time constants of exponentials, as shares of the stretch
RAMPS: Final = (0.3, 0.45, 0.6, 0.75, 0.88)  #: shares of the stretch at which a ramp ends

STAIRS: Final[tuple[tuple[str, str], ...]] = (
    ("steady_1", "Kendall's tau without the biggest jump"),
    ("left_1", "share of the growth that is left without it"),
    ("size_1", "share of the free memory that took: log2"),
    ("steady_2", "the same without the two biggest jumps"),
    ("left_2", "the same without the two biggest jumps"),
    ("size_2", "the same without the two biggest jumps"),
    ("steady_3", "the same without the three biggest jumps"),
    ("left_3", "the same without the three biggest jumps"),
    ("pieces", "in how many equal pieces it would have come: log2 (participation ratio)"),
    ("evenness", "pieces as a share of the points"),
    ("steady_after", "Kendall's tau after the biggest jump"),
    ("size_after", "share of the free memory that it took after it: log2"),
)
CURVATURE: Final[tuple[tuple[str, str], ...]] = (
    ("to_an_end", "how much better an exponential to an end fits than a line: log of the squared errors"),
    ("end", "its time constant as a share of the stretch: log2"),
    ("ramp", "how much better a ramp that ended fits than a line: log of the squared errors"),
    ("ramp_end", "where it ended, as a share of the stretch"),
)


def stairs(lows: Sequence[float], free: float) -> list[float]:
    """Return the numbers of :data:`STAIRS` of low points; *free*: memory that was free when they began."""
    n = len(lows)
    if n < FEWEST:
        return [UNKNOWN] * len(STAIRS)
    rises = list(map(sub, lows[1:], lows))
    up = [rise for rise in rises if rise > 0]
    order = sorted(range(n - 1), key=rises.__getitem__, reverse=True)
    usual, grown = median(rises), max(_gain(lows), 1e-9)
    found: list[float] = []
    for count in (1, 2, 3):
        for place in order[count - 1 : count]:
            rises[place] = min(usual, rises[place])
        rest = [*accumulate(rises, initial=0.0)]
        gain = _gain(rest)
        found += [kendall(rest), max(-1.0, min(2.0, gain / grown))]
        if count < 3:
            found.append(_log_share(gain / free))
    pieces = sum(up) ** 2 / max(sum(map(mul, up, up)), 1e-30)
    after = lows[order[0] + 1 :]
    found += [log2(max(pieces, 1.0)), pieces / n]
    found += [kendall(after), _log_share(_gain(after) / free)] if len(after) >= FEWEST - 1 else [UNKNOWN, UNKNOWN]
    return found


def curvature(lows: Sequence[float]) -> list[float]:
    """Return the numbers of :data:`CURVATURE` of low points that are about equally far apart."""
    n = len(lows)
    if n < FEWEST + 2:
        return [UNKNOWN] * len(CURVATURE)
    mean = sum(lows) / n
    y = [value - mean for value in lows]
    whole = sum(map(mul, y, y)) + 1e-9
    # A fit's share of the squared error that it leaves; an exact one is told from no other.
    line, *others = (
        max(1 - sum(map(mul, basis, y)) ** 2 / (power * whole), 1e-6) for basis, power in _bases(n)
    )
    ends, ramps = others[: len(ENDS)], others[len(ENDS) :]
    end, ramp = min(ends), min(ramps)
    best_end, best_ramp = ENDS[ends.index(end)], RAMPS[ramps.index(ramp)]
    return [log(line) - log(end), log2(best_end), log(line) - log(ramp), best_ramp]


@lru_cache(maxsize=128)
def _bases(n: int) -> list[tuple[list[float], float]]:
    """Return the line, the exponentials and the ramps over *n* points, centred, each with its sum of squares."""
    x = [i / (n - 1) for i in range(n)]
    curves = [x, *([1 - exp(-a / tau) for a in x] for tau in ENDS), *([min(a / q, 1.0) for a in x] for q in RAMPS)]
    found = []
    for curve in curves:
        mean = sum(curve) / n
        centred = [value - mean for value in curve]
        found.append((centred, sum(map(mul, centred, centred))))
    return found


def _gain(values: Sequence[float]) -> float:
    """Return the median of the last fifth less that of the first."""
    part = max(2, len(values) // 5)
    return median(values[-part:]) - median(values[:part])


def _log_share(share: float) -> float:
    return log2(max(0.003, min(share, 1.0)))
