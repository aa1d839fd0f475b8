"""Which part of a record a forecast rests on: what fills within minutes does not show in a week's curve."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from math import inf
from typing import TYPE_CHECKING, Final

from oomsight.trend.exhaust import Exhaustion, time_left, time_left_young
from oomsight.trend.leak import Verdict, judge

if TYPE_CHECKING:
    from oomsight.trend.series import Series

WINDOWS: Final = (600.0, 3600.0, 6 * 3600.0, 86400.0, 3 * 86400.0, inf)
"""Seconds before the moment asked about."""

FURTHEST: Final = 5.0  #: times the growth seen that is looked ahead
COMES_AND_GOES: Final = frozenset({Verdict.SAWTOOTH, Verdict.BATCH, Verdict.DAILY, Verdict.LEVEL})
SURE: Final = 0.95  #: from which a verdict on the curve outweighs its slope


def soonest(series: Series, limit_bytes: float | None, now: float) -> Exhaustion | None:
    """
    Return when *series* reaches its limit, by the window that says it soonest; ``None`` = not, as far as one can tell.

    A window shorter than the life counts only when the curve is above all it has been before it, as everything that
    comes and goes rises again and again. No window looks ahead more than a few times the growth it has seen, and none
    counts whose curve surely comes and goes.
    """
    if limit_bytes is None or limit_bytes == inf:
        return None
    life = series.life(now)
    best: Exhaustion | None = None
    for window in WINDOWS:
        begin = bisect_left(life.times, now - window)
        if begin == len(life):
            continue
        whole = begin == 0
        if not whole and life.values[-1] <= _highest(life, life.times[begin]):
            continue  # whatever it shows, it would not count
        part = life.between(now - window, now)
        left = time_left(part, limit_bytes, now)
        if left is None and whole:
            left = time_left_young(life, limit_bytes, now)
        sooner = left is not None and (best is None or left.seconds < best.seconds)
        if left is not None and sooner and _counts(left, life, part, whole=whole):
            best = left
        if whole:
            break
    return best


def given_back(left: Exhaustion, series: Series) -> bool:
    """
    Whether most of the growth that *left* rests on is gone again: who grew was killed, or ended, and a line through the
    low points has not seen it yet. Only of the moment; the next samples say more.
    """
    return bool(len(series)) and series.values[-1] < left.growth.level_bytes - left.growth.grown_bytes / 2


def _counts(left: Exhaustion, life: Series, part: Series, *, whole: bool) -> bool:
    if left.seconds > FURTHEST * (left.growth.until - left.growth.since):
        return False
    if not whole:
        before = _highest(life, max(left.growth.since, part.times[0]))
        if min(left.growth.level_bytes, life.values[-1]) <= before:
            return False
    finding = judge(part, left.limit_bytes, left.now)
    return not (finding.verdict in COMES_AND_GOES and finding.confidence >= SURE)


def _highest(life: Series, moment: float) -> float:
    """The highest value before *moment*."""
    return max(life.values[: bisect_right(life.times, moment - 1e-6)])
