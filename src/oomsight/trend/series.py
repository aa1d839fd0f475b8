"""One quantity over time, and how it is cut into pieces."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise

from oomsight._named import NamedTuple
from oomsight._record import dataclass


@dataclass(frozen=True, slots=True)
class Series:
    """
    One quantity over time. Gaps (suspend, recorder down) are real gaps in ``times``, never interpolated.

    ``times`` are unix seconds, ascending: wall clock, a stepped clock corrected by whoever recorded it. ``values`` are
    in the unit the field's name says; bytes for memory. The two are equally long.
    """

    times: Sequence[float]
    values: Sequence[float]
    restarts: tuple[float, ...] = ()  #: moments at which the process or container behind it was started anew
    step_seconds: float | None = None  #: nominal distance of samples in the coarsest part; ``None`` = not known

    def __len__(self) -> int:
        return len(self.times)

    def between(self, since: float, until: float) -> Series:
        """Return the part from *since* to *until*, both included, and its restarts; where that is all, this one."""
        low, high = bisect_left(self.times, since), bisect_right(self.times, until)
        restarts = tuple(moment for moment in self.restarts if since <= moment <= until)
        if high - low == len(self.times) and len(restarts) == len(self.restarts):
            return self
        return Series(self.times[low:high], self.values[low:high], restarts, self.step_seconds)

    def life(self, now: float) -> Series:
        """Return the part up to *now* since the last restart: the only one that says anything about today's process."""
        started = [moment for moment in self.restarts if moment <= now]
        return self.between(max(started) if started else float("-inf"), now)


def apart(series: Series) -> float:
    """
    Return how many seconds samples are apart: the step of their tier, or what most of them are, where the recorder was
    told to be slower or the series is thinned. What is far longer is a gap.
    """
    distances = sorted(b - a for a, b in pairwise(series.times))
    return max(series.step_seconds or 1.0, distances[(len(distances) - 1) // 2] if len(distances) > 1 else 0.0)


class Buckets(NamedTuple):
    """What happened in equally long stretches of time, those without samples left out: a column for each figure."""

    times: list[float]  #: middle of the samples
    lows: list[float]
    middles: list[float]  #: median
    highs: list[float]


def buckets(series: Series, most: int) -> Buckets:
    """
    Cut the series into at most *most* equally long stretches, first to last sample.

    All that is slow works on these: 60 of them show every shape that matters, whatever the number of samples.
    """
    times, values = series.times, series.values
    cuts = _cuts(times, 0, len(times), most)
    middles = [(times[low] + times[high - 1]) / 2 for low, high in pairwise(cuts)]
    found = [sorted(values[low:high]) for low, high in pairwise(cuts)]
    medians = [(part[(len(part) - 1) // 2] + part[len(part) // 2]) / 2 for part in found]
    return Buckets(middles, [part[0] for part in found], medians, [part[-1] for part in found])


def lows_between(series: Series, since: float, until: float, most: int) -> list[float]:
    """Return the low points of the stretches into which :func:`buckets` would cut that part of the series."""
    begin, end = bisect_left(series.times, since), bisect_right(series.times, until)
    return [min(series.values[low:high]) for low, high in pairwise(_cuts(series.times, begin, end, most))]


def _cuts(times: Sequence[float], begin: int, end: int, most: int) -> list[int]:
    """Where each of at most *most* equally long stretches of the times from *begin* to *end* has its samples."""
    if begin >= end:
        return []
    first, length, count = times[begin], times[end - 1] - times[begin], min(most, end - begin)
    cuts = [bisect_left(times, first + length * number / count, begin, end) for number in range(1, count)]
    return [begin, *[cut for before, cut in pairwise([begin, *cuts]) if cut > before], end]
