"""How good forecasts would have been on a curve that is on record: each made with nothing but what was known then."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from oomsight._enums import StrEnum
from oomsight._record import dataclass
from oomsight.trend.growth import growth
from oomsight.trend.robust import median
from oomsight.trend.windows import soonest

if TYPE_CHECKING:
    from oomsight.trend.series import Series

CHECKS: Final = 48  #: moments of the past at which a forecast is made
FULL: Final = 0.98  #: of the limit at which it counts as reached: a kill comes before the last page shows in a sample


class Came(StrEnum):
    """What came of a forecast."""

    INSIDE = "inside"  #: within the 80 % interval
    EARLY = "early"  #: sooner than the interval said
    LATE = "late"  #: later than the interval said, or not by its end
    OPEN = "open"  #: restarted, or the record ends before the interval does: nobody knows


@dataclass(frozen=True, slots=True)
class Check:
    """One forecast and what came of it."""

    made: float  #: unix seconds
    level_bytes: float  #: what was to be reached
    real: bool  #: it is the limit; else as far again as it had grown by then
    seconds: float  #: forecast
    low_seconds: float
    high_seconds: float | None
    truth_seconds: float | None  #: what it took; ``None`` = not reached on record
    came: Came

    @property
    def error(self) -> float | None:
        """Of the time left, as a share of the truth; ``None`` = not reached."""
        return abs(self.seconds - self.truth_seconds) / self.truth_seconds if self.truth_seconds else None


@dataclass(frozen=True, slots=True)
class Backtest:
    """What all the forecasts of some curves were worth."""

    checks: Sequence[Check]

    @property
    def decided(self) -> list[Check]:
        """Those of which one knows."""
        return [check for check in self.checks if check.came is not Came.OPEN]

    @property
    def inside(self) -> float | None:
        """Share of the decided ones inside the 80 % interval."""
        known = self.decided
        return sum(check.came is Came.INSIDE for check in known) / len(known) if known else None

    @property
    def error(self) -> float | None:
        """Median error of the time left, as a share of the truth."""
        errors = [check.error for check in self.checks if check.error is not None]
        return median(errors) if errors else None

    def count(self, came: Came) -> int:
        """How many came like this."""
        return sum(check.came is came for check in self.checks)


def backtest(series: Series, limit_bytes: float | None, checks: int = CHECKS) -> Backtest:
    """
    Make the forecasts of *checks* moments of the past, evenly spread, and hold them against what came.

    What never reached its limit has forecasts too: of the moment at which it would have grown as far again. So a
    record without a single kill tells whether they can be trusted.
    """
    return Backtest(tuple(_checks(series, limit_bytes, checks)))


def _checks(series: Series, limit_bytes: float | None, checks: int) -> Iterator[Check]:
    if len(series) < 2:
        return
    first, last = series.times[0], series.times[-1]
    for number in range(1, checks):
        now = first + (last - first) * number / checks
        known = series.between(first, now)
        if not len(known):
            continue
        end = min([moment for moment in series.restarts if moment > now], default=last)
        future = series.between(now, end)
        reached = limit_bytes is not None and max(future.values, default=0.0) >= FULL * limit_bytes
        level = limit_bytes
        if not reached or level is None:
            grows = growth(known, now)
            if grows is None or grows.grown_bytes <= 0:
                continue
            again = max(known.between(grows.since, now).values) + grows.grown_bytes
            level = again if limit_bytes is None else min(again, limit_bytes)
        left = soonest(known, level, now)
        if left is None:
            continue
        truth = _until(series, now, end, level * FULL if reached else level)
        yield Check(now, level, reached, left.seconds, left.low_seconds, left.high_seconds, truth,
                    _came(truth, end - now, left.low_seconds, left.high_seconds))  # fmt: skip


def _until(series: Series, now: float, end: float, level: float) -> float | None:
    """Seconds until *series* is at *level*; ``None`` = not until *end*."""
    low, high = bisect_right(series.times, now), bisect_left(series.times, end) + 1
    for moment, value in zip(series.times[low:high], series.values[low:high], strict=True):
        if value >= level:
            return moment - now
    return None


def _came(truth: float | None, record: float, low: float, high: float | None) -> Came:
    if truth is None:
        return Came.LATE if high is not None and record >= high else Came.OPEN
    if truth < low:
        return Came.EARLY
    return Came.LATE if high is not None and truth > high else Came.INSIDE
