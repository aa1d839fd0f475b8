"""When something that grows hits its limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oomsight.trend.growth import Growth, growth

if TYPE_CHECKING:
    from oomsight.trend.series import Series


@dataclass(frozen=True, slots=True)
class Exhaustion:
    """Time left until *limit_bytes*, counted from *now*."""

    seconds: float  #: most likely
    low_seconds: float  #: with ``high``: 80 % interval
    high_seconds: float | None  #: ``None`` = perhaps never
    now: float
    limit_bytes: float
    headroom_bytes: float  #: at *now*
    growth: Growth  #: what it rests on
    method: str  #: in words

    @property
    def at(self) -> float:
        """Most likely moment, unix seconds."""
        return self.now + self.seconds


def time_left(series: Series, limit_bytes: float, now: float) -> Exhaustion | None:
    """Return when *series* reaches *limit_bytes*; ``None`` when it does not grow or nothing can be said yet."""
    rate = growth(series, now)
    if rate is None or not rate.significant or rate.bytes_per_second <= 0:
        return None
    headroom = max(0.0, limit_bytes - rate.level_bytes)
    age = now - rate.until
    low = max(0.0, headroom / rate.high_bytes_per_second - age)
    high = max(0.0, headroom / rate.low_bytes_per_second - age)
    return Exhaustion(
        seconds=max(0.0, headroom / rate.bytes_per_second - age), low_seconds=low, high_seconds=high, now=now,
        limit_bytes=limit_bytes, headroom_bytes=headroom, growth=rate, method="Theil-Sen line since the last restart",
    )  # fmt: skip
