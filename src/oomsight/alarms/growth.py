"""
How fast a need grows, from the few samples of the last minutes: enough for "how long have we got", not for a verdict.

The slope is the median of the slopes between all pairs of samples (Theil 1950, Sen 1968): a jump or one odd sample does
not move it. Whether a growth is a leak is asked of the history (:mod:`oomsight.trend`), which knows days.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from oomsight._named import NamedTuple
from oomsight.trend.robust import theil_sen

WINDOW_SECONDS: Final = 600.0
MOST_POINTS: Final = 40  #: 780 pairs; denser samples replace each other
LEAST_POINTS: Final = 4
FURTHEST: Final = 3.0  #: times the length of what was seen that is looked ahead: a program that starts is no leak
SURE_SECONDS: Final = 120.0  #: a growth seen for less counts only when half of the limit is used
LEAST_SHARE: Final = 0.02  #: of the limit that the growth must come to, so that a breathing heap is none
LEAST_BYTES: Final = 1 << 20
DROP_SHARE: Final = 0.05  #: of the limit that a fall must come to, to be the end of a story
RISING_SHARE: Final = 0.6  #: of the steps that must go up: a saw-tooth climbs in half of them

Point = tuple[float, float]
"""Unix seconds, bytes."""


class Pace(NamedTuple):
    """A growth."""

    bytes_per_second: float
    grown_bytes: float  #: over the samples
    seconds: float  #: the samples span

    def time_left_seconds(self, room_bytes: float, limit_bytes: float) -> float | None:
        """Until *room_bytes* are used up; ``None`` = it does not grow, or that is too far ahead to say."""
        if self.bytes_per_second <= 0 or (self.seconds < SURE_SECONDS and room_bytes > limit_bytes / 2):
            return None
        left = room_bytes / self.bytes_per_second
        return left if left <= FURTHEST * self.seconds else None


def add_point(points: list[Point], at: float, value: float) -> None:
    """Append a sample, forget what is older than the window and thin out what is denser than needed."""
    if points and at <= points[-1][0]:  # a clock that was set back: begin anew
        points.clear()
    least = WINDOW_SECONDS / MOST_POINTS
    # The first half may be as dense as it comes, for a leak of seconds; then the newest gives way to a newer one.
    if len(points) >= MOST_POINTS // 2 and points[-1][0] - points[-2][0] < least:
        points.pop()
    points.append((at, value))
    while len(points) > 2 and points[0][0] < at - WINDOW_SECONDS:
        points.pop(0)


def pace_of(points: Sequence[Point], limit_bytes: float) -> Pace | None:
    """The growth *points* show against a limit; ``None`` = too few to tell. A pace of 0 = it does not grow."""
    if len(points) < LEAST_POINTS:
        return None
    start = _after_last_drop(points, limit_bytes)
    peak = max((value for _, value in points[:start]), default=0.0)
    points = points[start:]
    # A heap that was collected climbs again every time: that is growth only above where it has been before.
    if len(points) < LEAST_POINTS or points[-1][1] <= peak:
        return Pace(0.0, 0.0, 0.0)
    seconds, grown = points[-1][0] - points[0][0], points[-1][1] - points[0][1]
    steps = [after[1] - before[1] for before, after in pairwise(points)]
    rising = sum(step > 0 for step in steps) / len(steps)
    if grown < max(LEAST_SHARE * limit_bytes, LEAST_BYTES) or rising < RISING_SHARE:
        return Pace(0.0, max(grown, 0.0), seconds)
    line = theil_sen([at for at, _ in points], [value for _, value in points])
    return Pace(max(line.slope, 0.0) if line is not None else 0.0, grown, seconds)


def _after_last_drop(points: Sequence[Point], limit_bytes: float) -> int:
    """Index of the first point after the last big fall (a restart, a collection, a kill); 0 = there was none."""
    for index in range(len(points) - 1, 0, -1):
        if points[index - 1][1] - points[index][1] > DROP_SHARE * limit_bytes:
            return index
    return 0
