"""
How fast a need grows, from the few samples of the last minutes: enough for "how long have we got", not for a verdict.

The slope is the median of the slopes between all pairs of samples (Theil 1950, Sen 1968): a jump or one odd sample does
not move it. Where the whole time shows no growth, its last half, quarter and so on are asked, for a leak begins when it
does. Whether a growth is a leak is asked of the history (:mod:`oomsight.trend`), which knows days.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

from oomsight._named import NamedTuple
from oomsight.trend.robust import theil_sen

WINDOW_SECONDS: Final = 600.0
MOST_POINTS: Final = 40
NEWEST_POINTS: Final = 12  #: of these as dense as they come, for a leak of seconds; older ones are thinned out evenly
PACE_POINTS: Final = 12  #: at most, evenly apart, of which a pace is made: 66 pairs
LEAST_POINTS: Final = 4
LATER_POINTS: Final = 6  #: … after a level stretch
FURTHEST: Final = 3.0  #: times the length of what was seen that is looked ahead: a program that starts is no leak
LATER_FURTHEST: Final = 1.0  #: … after a level stretch, below SURE_SECONDS: a job that begins is none either
SURE_SECONDS: Final = 120.0  #: a growth seen for less counts only when half of the limit is used
LEAST_SHARE: Final = 0.02  #: of the limit that the growth must come to, so that a breathing heap is none
LEAST_BYTES: Final = 1 << 20
DROP_SHARE: Final = 0.05  #: of the limit that a fall must come to, to be the end of a story
DROP_SECONDS: Final = 15.0  #: within which it falls by that
RISING_SHARE: Final = 0.6  #: of the steps that must go up: a saw-tooth climbs in half of them
EXPLAINS: Final = 0.5  #: share of the growth that the line must come to: a jump is no pace, nor is what began lately
GOES_ON: Final = 0.5  #: of its pace at which the last third must have grown of what began after a level stretch

Point = tuple[float, float]
"""Unix seconds, bytes."""


class Pace(NamedTuple):
    """A growth."""

    bytes_per_second: float
    grown_bytes: float  #: over the samples
    seconds: float  #: the samples span
    later: bool = False  #: it began after a level stretch

    def time_left_seconds(self, room_bytes: float, limit_bytes: float) -> float | None:
        """Until *room_bytes* are used up; ``None`` = it does not grow, or that is too far ahead to say."""
        young = self.seconds < SURE_SECONDS
        if self.bytes_per_second <= 0 or (young and room_bytes > limit_bytes / 2):
            return None
        left = room_bytes / self.bytes_per_second
        return left if left <= (LATER_FURTHEST if young and self.later else FURTHEST) * self.seconds else None


def add_point(points: list[Point], at: float, value: float) -> None:
    """Append a sample, forget what is older than the window and thin out what is denser than needed."""
    if points and at <= points[-1][0]:  # a clock that was set back: begin anew
        points.clear()
    points.append((at, value))
    while len(points) > 2 and points[0][0] < at - WINDOW_SECONDS:
        points.pop(0)
    if len(points) > MOST_POINTS:  # the older one with the nearest neighbours goes
        older = range(1, len(points) - NEWEST_POINTS)
        points.pop(min(older, key=lambda i: points[i + 1][0] - points[i - 1][0]))


def pace_of(points: Sequence[Point], limit_bytes: float) -> Pace | None:
    """The growth *points* show against a limit; ``None`` = too few to tell. A pace of 0 = it does not grow."""
    if len(points) < LEAST_POINTS:
        return None
    start = _after_last_drop(points, limit_bytes)
    peak = max((value for _, value in points[:start]), default=0.0)
    story, least = points[start:], max(LEAST_SHARE * limit_bytes, LEAST_BYTES)
    # A heap that was collected climbs again every time: that is growth only above where it has been before.
    if len(story) < LEAST_POINTS or (start and story[-1][1] <= peak + least):
        return Pace(0.0, 0.0, 0.0)
    whole = _pace(story, least)
    return whole if whole.bytes_per_second > 0 else _later(story, least) or whole


def _later(story: Sequence[Point], least: float) -> Pace | None:
    """The growth of the last half, quarter, … of a story, which is above all before and goes on; the longest counts."""
    tops = list(accumulate((value for _, value in story), max))
    end, seconds = story[-1][0], (story[-1][0] - story[0][0]) / 2
    while True:
        first = next(i for i, (at, _) in enumerate(story) if at >= end - seconds)
        part = story[first:]
        if len(part) < LATER_POINTS:
            return None
        if first and part[-1][1] - tops[first - 1] >= least:
            found = _pace(part, least)
            if found.bytes_per_second > 0 and _goes_on(part, found):
                return found._replace(later=True)
        seconds /= 2


def _goes_on(part: Sequence[Point], pace: Pace) -> bool:
    at, value = part[-1]
    before = next(point for point in reversed(part) if at - point[0] >= pace.seconds / 3)
    return value - before[1] >= GOES_ON * pace.bytes_per_second * (at - before[0])


def _pace(story: Sequence[Point], least: float) -> Pace:
    points = _evenly(story)
    seconds, grown = points[-1][0] - points[0][0], points[-1][1] - points[0][1]
    steps = [after[1] - before[1] for before, after in pairwise(points)]
    rising = sum(step > 0 for step in steps) / len(steps)
    if grown < least or rising < RISING_SHARE:
        return Pace(0.0, max(grown, 0.0), seconds)
    line = theil_sen([at for at, _ in points], [value for _, value in points])
    slope = max(line.slope, 0.0) if line is not None else 0.0
    return Pace(slope if slope * seconds >= EXPLAINS * grown else 0.0, grown, seconds)


def _evenly(points: Sequence[Point]) -> list[Point]:
    """The first, the last, and between them no more than are about evenly apart."""
    apart = (points[-1][0] - points[0][0]) / (PACE_POINTS - 1)
    kept = [points[0]]
    kept += [point for i, point in enumerate(points[1:-1], 1) if int((point[0] - points[0][0]) / apart)
             > int((points[i - 1][0] - points[0][0]) / apart)]  # fmt: skip
    return [*kept, points[-1]]


def _after_last_drop(points: Sequence[Point], limit_bytes: float) -> int:
    """Index of the lowest point of the last big fall (a restart, a collection, a kill); 0 = there was none."""
    values = [value for _, value in points]
    if max(values) - min(values) <= DROP_SHARE * limit_bytes:
        return 0
    for index in range(len(points) - 1, 0, -1):
        at, value = points[index]
        first = index - 1
        while first > 0 and points[first - 1][0] >= at - DROP_SECONDS:
            first -= 1
        top = max(range(first, index), key=lambda i: points[i][1])
        if points[top][1] - value > DROP_SHARE * limit_bytes:
            return min(range(top + 1, index + 1), key=lambda i: points[i][1])
    return 0
