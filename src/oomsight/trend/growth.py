"""How fast something grows, since when, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from oomsight.trend.robust import mann_kendall, theil_sen
from oomsight.trend.series import Series, buckets

BUCKETS: Final = 60
FEWEST_BUCKETS: Final = 8  #: below that no test of a trend means anything


@dataclass(frozen=True, slots=True)
class Growth:
    """A rate of change that holds now; negative when it shrinks."""

    bytes_per_second: float
    low_bytes_per_second: float  #: with ``high``: 80 % interval of the rate
    high_bytes_per_second: float
    since: float  #: unix seconds: when the present rate began, as far as the samples reach
    until: float  #: unix seconds: last sample it rests on
    grown_bytes: float  #: along the line, from ``since`` to ``until``
    level_bytes: float  #: of the line at ``until``
    p: float  #: Mann-Kendall: probability of such a trend in values that have none
    basis: str  #: "level" = medians; "trough" = low points, the live set of a heap after its collections

    @property
    def significant(self) -> bool:
        """Whether it is more than chance (one in a hundred) and its interval has one sign."""
        return self.p < 0.01 and self.low_bytes_per_second * self.high_bytes_per_second > 0


def growth(series: Series, now: float) -> Growth | None:
    """Return the rate at which *series* grows at *now*, since its last restart; ``None`` with too few samples."""
    parts = buckets(series.life(now), BUCKETS)
    if len(parts) < FEWEST_BUCKETS:
        return None
    times, values = [part.time for part in parts], [part.middle for part in parts]
    line = theil_sen(times, values)
    if line is None:
        return None
    since, until = times[0], times[-1]
    return Growth(
        bytes_per_second=line.slope, low_bytes_per_second=line.low_slope, high_bytes_per_second=line.high_slope,
        since=since, until=until, grown_bytes=line.slope * (until - since), level_bytes=line.at(until),
        p=mann_kendall(values).p, basis="level",
    )  # fmt: skip
