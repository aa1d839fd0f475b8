"""
How likely the highest need of the coming weeks is above a limit.

The peaks of equal blocks of time (days, or shorter ones where there is less history) are fitted by a Gumbel
distribution, the limit law of maxima of light-tailed quantities, through its first two L-moments (J. R. M. Hosking,
"L-moments", Journal of the Royal Statistical Society B 52, 1990). Few peaks know little of the tail, so the scale is
widened by the sampling error of the second L-moment, and below the highest peak that was seen the plain count of
exceedances has the last word. A statistic about what is stationary: growth has to be found before (a leak makes every
limit too small).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from math import exp, expm1, log, log1p, sqrt
from typing import Final

from oomsight._record import dataclass

EULER_GAMMA: Final = 0.5772156649015329
DAY_SECONDS: Final = 86400.0
HORIZON_SECONDS: Final = 30 * DAY_SECONDS  #: what "probability of an OOM kill" is about
FEWEST_BLOCKS: Final = 6  #: fewer peaks tell nothing about a tail
SHORTEST_BLOCK_SECONDS: Final = 900.0  #: shorter ones are not independent of each other
_BLOCKS: Final = (DAY_SECONDS, DAY_SECONDS / 4, 3600.0, SHORTEST_BLOCK_SECONDS)


@dataclass(frozen=True, slots=True)
class Tail:
    """The distribution of a block's highest need, in bytes."""

    block_seconds: float
    peaks: tuple[float, ...]  #: highest need of each block, ascending
    location: float  #: of the Gumbel distribution
    scale: float  #: widened for the number of peaks; 0 = all peaks are equal

    def exceeds(self, limit_bytes: float, horizon_seconds: float = HORIZON_SECONDS) -> float:
        """Return the probability that need goes above *limit_bytes* within *horizon_seconds*."""
        survive = log1p(-min(self._block_exceeds(limit_bytes), 1 - 1e-15))
        return -expm1(survive * max(horizon_seconds / self.block_seconds, 1.0))

    def limit_for(self, probability: float, horizon_seconds: float = HORIZON_SECONDS) -> float:
        """Return the limit in bytes that is exceeded with *probability* within *horizon_seconds*."""
        blocks = max(horizon_seconds / self.block_seconds, 1.0)
        block = -expm1(log1p(-probability) / blocks)
        return max(self.location - self.scale * log(-log1p(-block)), self.peaks[-1])

    def _block_exceeds(self, limit_bytes: float) -> float:
        if self.scale <= 0:
            fitted = 0.0 if limit_bytes >= self.location else 1.0
        else:
            z = (limit_bytes - self.location) / self.scale
            fitted = 1.0 if z < -6 else -expm1(-exp(-z))
        above = sum(peak > limit_bytes for peak in self.peaks)
        return max(fitted, above / (len(self.peaks) + 1)) if above else fitted


def block_peaks(times: Sequence[float], values: Sequence[float], block_seconds: float) -> list[float]:
    """Return the highest value of every block that has samples, in order of time; blocks begin at multiples of it."""
    found, low = list[float](), 0
    while low < len(times):
        end = (times[low] // block_seconds + 1) * block_seconds
        high = bisect_left(times, end, low + 1)
        if (peak := max(values[low:high])) >= 0:  # less than nothing was not measured well
            found.append(peak)
        low = high
    return found


def block_length(span_seconds: float) -> float | None:
    """Return the longest block of which *span_seconds* hold enough; ``None`` = too little history."""
    return next((block for block in _BLOCKS if span_seconds / block >= FEWEST_BLOCKS), None)


def fit(peaks: Iterable[float], block_seconds: float) -> Tail | None:
    """Return the tail fitted to *peaks*; ``None`` = too few of them."""
    ordered = sorted(peaks)
    n = len(ordered)
    if n < FEWEST_BLOCKS:
        return None
    mean = sum(ordered) / n
    weighted = sum(rank * peak for rank, peak in enumerate(ordered)) / (n * (n - 1))
    second = 2 * weighted - mean  # second L-moment
    scale = max(second, 0.0) / log(2)
    location = mean - EULER_GAMMA * scale
    # Standard error of the scale from L-moments is 0.9/sqrt(n) of it for a Gumbel sample (Phien 1987): two of them.
    return Tail(block_seconds, tuple(ordered), location, scale * (1 + 1.8 / sqrt(n)))
