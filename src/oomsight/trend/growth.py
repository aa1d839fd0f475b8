"""How fast something grows, since when, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomsight._record import dataclass
from oomsight.trend.shape import Shape, shape

if TYPE_CHECKING:
    from oomsight.trend.series import Series


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


def growth(series: Series, now: float) -> Growth | None:
    """Return the rate at which *series* grows at *now*, since its last restart; ``None`` with too few samples."""
    found = shape(series, None, now)
    return None if found is None else growth_of(found)


def growth_of(found: Shape) -> Growth:
    """Return the rate of a curve's low points."""
    line = found.line
    return Growth(
        bytes_per_second=line.slope, low_bytes_per_second=line.low_slope, high_bytes_per_second=line.high_slope,
        since=found.since, until=found.times[-1], grown_bytes=found.grown, level_bytes=found.level, p=found.p,
    )  # fmt: skip
