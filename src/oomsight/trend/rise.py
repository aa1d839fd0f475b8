"""How something grew before a moment: since when, from what to what, how fast, evenly or at once."""

from __future__ import annotations

from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING, Final, Literal

from oomsight._record import dataclass, replaced

if TYPE_CHECKING:
    from oomsight.trend.series import Series

LEAST_BYTES: Final = 1 << 20  #: growth by less is none, …
LEAST_SHARE: Final = 0.1  #: … and by less than this share of what it came to
FOOT: Final = 0.1  #: a rise begins when a tenth of it is done: before that it is noise about the level
AT_ONCE_SECONDS: Final = 5.0
EVEN: Final = 0.2  #: a rise is even if it is never farther from the line than this share of itself

Shape = Literal["even", "uneven", "at once"]


@dataclass(frozen=True, slots=True)
class Rise:
    """The last growth before a moment."""

    since: float  #: unix seconds of the last sample at its foot
    until: float  #: of its highest sample
    low: float  #: value at its foot
    high: float
    level_seconds: float  #: for how long before it was at that level, as far as the samples reach
    shape: Shape

    @property
    def grown(self) -> float:
        """By how much."""
        return self.high - self.low

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.until - self.since

    @property
    def per_second(self) -> float:
        """Its mean rate."""
        return self.grown / self.seconds if self.seconds > 0 else self.grown

    @property
    def whole(self) -> bool:
        """Whether the samples reach back to before it began: more than the foot of a ramp is level."""
        return self.level_seconds > 2 * FOOT * self.seconds


def rise(series: Series, until: float) -> Rise | None:
    """
    Return the growth that led to the highest value in the last tenth of *series* before *until*; ``None`` = it did not
    grow. Only the life since the last restart counts.
    """
    life = series.life(until)
    points = [(t, v) for t, v in zip(life.times, life.values, strict=True) if isfinite(v)]
    if len(points) < 2:
        return None
    tail = points[-1][0] - max((points[-1][0] - points[0][0]) * FOOT, AT_ONCE_SECONDS)
    top = max((i for i, (t, _) in enumerate(points) if t >= tail), key=lambda i: (points[i][1], -i))
    end, high = points[top]
    low = min(v for _, v in points[: top + 1])
    if high - low < max(LEAST_BYTES, LEAST_SHARE * high):
        return None
    foot = low + FOOT * (high - low)
    begin = max(i for i, (_, v) in enumerate(points[: top + 1]) if v <= foot)
    since, start = points[begin]
    # How long it was at that level: back to where it was last clearly off it.
    off = [t for t, v in points[:begin] if abs(v - start) > FOOT * (high - low)]
    found = Rise(since, end, start, high, since - (off[-1] if off else points[0][0]), "even")
    if not found.whole:  # there is no level before it: its foot is part of it
        begin = max(range(begin + 1), key=lambda i: (-points[i][1], i))
        found = Rise(points[begin][0], end, points[begin][1], high, 0.0, "even")
    return replaced(found, shape=_shape(points[begin : top + 1]))


def _shape(points: list[tuple[float, float]]) -> Shape:
    (since, low), (until, high) = points[0], points[-1]
    if until - since <= AT_ONCE_SECONDS:
        return "at once"
    rate, rough = (high - low) / (until - since), EVEN * (high - low)
    even = all(abs(low + rate * (t - since) - v) <= rough for t, v in points)
    # One step from a sample to the next is no ramp, however far apart they are.
    steps = max(b[1] - a[1] for a, b in pairwise(points))
    if steps >= 0.8 * (high - low) and len(points) > 2:
        return "at once"
    return "even" if even else "uneven"
