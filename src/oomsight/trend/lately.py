"""
What a curve holds now that it did not hold before: peaks of the last hours, and the least of each part of its life.

Jobs and a collected heap go up and down, and no straight line through their low points says much; but what they come
back to between two of them, and what they come up to, stands still unless something is kept. So equally long stretches
are compared, whatever happened within: long ones, in which everything that comes and goes has come and gone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from math import copysign, log2
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from oomsight.trend.series import Buckets

DAY: Final = 86400.0
UNKNOWN: Final = -9.0  #: the record does not reach back so far
HOURS: Final = (6, 12, 24, 36, 48)
PIECES: Final = (4, 6, 10)  #: into how many equal parts a life is cut
REACHES: Final = 1.9  #: times such hours that a record must be long
LEAST: Final = 0.005  #: share of the free memory that counts as one doubling
MOST: Final = 8.0  #: doublings

LATELY: Final[tuple[tuple[str, str], ...]] = (
    *((f"peak_{hours}", f"by how much the peak of the last {hours} hours is above that of the {hours} before, per day")
      for hours in HOURS),
    *((f"{name}_{pieces}", words.format(f"{pieces} parts of its life"))
      for pieces in PIECES
      for name, words in (
          ("kept", "by how much the least of the last of {} is above that of the first"),
          ("kept_last", "the same of the last of {} and the one before"),
          ("kept_twice", "the less of that of the last of {} and of the one before"),
          ("kept_at_once", "the biggest rise between two of {}, as a share of all"),
      )),
)  # fmt: skip
"""Names and meanings of what :func:`lately` returns; sizes are shares of the free memory, in doublings (signed)."""


def lately(parts: Buckets, free: float) -> list[float]:
    """Return the numbers of :data:`LATELY` of a life cut into *parts*; *free*: memory free at its lowest, > 0."""
    return [*(_peak(parts.times, parts.highs, hours * 3600.0, free) for hours in HOURS), *_kept(parts, free)]


def _peak(times: Sequence[float], highs: Sequence[float], seconds: float, free: float) -> float:
    last = times[-1]
    if last - times[0] < REACHES * seconds:
        return UNKNOWN
    begin = bisect_left(times, last - seconds)
    before = highs[bisect_left(times, last - 2 * seconds) : begin]
    return _doublings((max(highs[begin:]) - max(before)) / free * DAY / seconds) if before else UNKNOWN


def _kept(parts: Buckets, free: float) -> list[float]:
    found: list[float] = []
    for count in PIECES:
        least = least_of(parts, count)
        steps = [(b - a) / free for a, b in pairwise(least)]
        grown = (least[-1] - least[0]) / free
        found += [
            _doublings(grown),
            _doublings(steps[-1]),
            _doublings(min(steps[-2:])),
            max(0.0, min(5.0, max(steps) / max(abs(grown), LEAST))),
        ]
    return found


def least_of(parts: Buckets, count: int) -> list[float]:
    """Return the least of each of *count* equally long parts of a life; where nothing was seen, that of the next."""
    times, lows = parts.times, parts.lows
    first, length = times[0], times[-1] - times[0]
    found, following, end = [], lows[-1], len(lows)
    for place in range(count - 1, -1, -1):
        begin = bisect_left(times, first + length * place / count, 0, end)
        following = min(lows[begin:end], default=following)
        found.append(following)
        end = begin
    return found[::-1]


def _doublings(share: float) -> float:
    return copysign(min(MOST, log2(1 + abs(share) / LEAST)), share)
