"""What the user wants, and what a history of usage says in those terms: span, margin, percentiles, tail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from oomsight._record import dataclass
from oomsight._sizes import MIB
from oomsight.rightsize.tail import HORIZON_SECONDS, block_length, block_peaks, fit

if TYPE_CHECKING:
    from oomsight.rightsize.model import Usage
    from oomsight.rightsize.tail import Tail

KILLED_FACTOR: Final = 1.25  #: above the demand at a kill: what was refused is the least that was needed
LONG_SECONDS: Final = 14 * 86400.0  #: history that deserves the plain margin (two weeks hold two of each weekday)
PERCENTS: Final = (50.0, 95.0, 99.0)  #: of need that are told
SHORT_MARGIN_PCT: Final = 25.0  #: added to the margin without any history, falling to 0 at LONG_SECONDS


@dataclass(frozen=True, slots=True)
class Policy:
    """What the user wants."""

    margin_pct: float = 15.0  #: above the highest need seen (VPA's default safety margin)
    request_percentile: float = 95.0
    probability: float = 0.01  #: of an OOM kill within the horizon that is accepted
    horizon_seconds: float = HORIZON_SECONDS


USUAL: Final = Policy()
"""What is recommended where nobody says otherwise."""


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the value that *percent* of *ordered* (ascending, not empty) are at or below: nearest rank."""
    return ordered[_rank(len(ordered), percent)]


def _rank(count: int, percent: float) -> int:
    return min(max(int(-(-count * percent // 100)) - 1, 0), count - 1)


def percentiles(usage: Usage, others: Iterable[float] = ()) -> dict[str, int]:
    """Return the bytes that need was at or below for :data:`PERCENTS` of the time; *others* are asked for next."""
    values = usage.ordered()
    if not values:
        return {}
    if usage.recorded is not None:
        usage.recorded.look_up([_rank(len(values), percent) for percent in (*PERCENTS, *others)])
    return {f"p{percent:g}": int(percentile(values, percent)) for percent in PERCENTS}


def round_up(size: float) -> int:
    """Return *size* in bytes rounded up to what a person would write: 1 MiB steps, 16 from 256 MiB, 64 from 2 GiB."""
    step = MIB if size < 256 * MIB else 16 * MIB if size < 2048 * MIB else 64 * MIB
    return int(-(-size // step) * step)


def span_of(usage: Usage) -> float:
    """Return the length of the history of *usage* in seconds."""
    if usage.recorded is not None:
        return usage.recorded.span_seconds
    return max((series.times[-1] - series.times[0] for series in usage.needs if len(series.times) > 1), default=0.0)


def margin_of(policy: Policy, span: float) -> float:
    """Return the margin in percent after *span* seconds of history."""
    return policy.margin_pct + SHORT_MARGIN_PCT * max(0.0, 1 - span / LONG_SECONDS)


def tail_of(usage: Usage, span: float) -> Tail | None:
    """Return the distribution of the highest need of a block of time; ``None`` = too little history."""
    block = block_length(span)
    if block is None:
        return None
    if usage.recorded is not None:
        return fit(usage.recorded.peaks(block), block)
    peaks = [peak for series in usage.needs for peak in block_peaks(series.times, series.values, block)]
    return fit(peaks, block)
