"""One quantity over time, and how it is cut into pieces."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

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


class Bucket(NamedTuple):
    """What happened in one of equally long stretches of time."""

    time: float  #: middle of its samples
    low: float
    middle: float  #: median
    high: float
    samples: int


def buckets(series: Series, most: int) -> list[Bucket]:
    """
    Cut the series into at most *most* equally long stretches, first to last sample; those without samples are left out.

    All that is slow works on these: 60 of them show every shape that matters, whatever the number of samples.
    """
    times, values, found = series.times, series.values, []
    for low, high in _stretches(times, 0, len(times), most):
        ordered = sorted(values[low:high])
        size = high - low
        middle = (ordered[(size - 1) // 2] + ordered[size // 2]) / 2
        found.append(Bucket((times[low] + times[high - 1]) / 2, ordered[0], middle, ordered[-1], size))
    return found


def lows_between(series: Series, since: float, until: float, most: int) -> list[float]:
    """Return the low points of the stretches into which :func:`buckets` would cut that part of the series."""
    low, high = bisect_left(series.times, since), bisect_right(series.times, until)
    return [min(series.values[a:b]) for a, b in _stretches(series.times, low, high, most)]


def _stretches(times: Sequence[float], begin: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield where each of at most *most* equally long stretches of the times from *begin* to *end* has its samples."""
    if begin >= end:
        return
    first, last = times[begin], times[end - 1]
    count = min(most, end - begin)
    if last <= first or count == 1:
        yield begin, end
        return
    low = begin
    for number in range(1, count + 1):
        high = end if number == count else bisect_left(times, first + (last - first) * number / count, low, end)
        if high > low:
            yield low, high
        low = high
