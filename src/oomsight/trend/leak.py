"""What the shape of a memory curve says: a leak, or one of the many things that look like one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from oomsight.trend.growth import Growth, growth

if TYPE_CHECKING:
    from oomsight.trend.series import Series


class Verdict(StrEnum):
    """What a curve is."""

    LEAK = "leak"  #: grows without an end in sight
    STEP = "step"  #: jumped once and stays
    WARM_UP = "warm_up"  #: grows since its start, ever slower
    LEVEL = "level"  #: goes nowhere
    SAWTOOTH = "sawtooth"  #: a collected heap: up, down, low points level
    DAILY = "daily"  #: follows the day, or another period
    RESTART = "restart"  #: started anew a moment ago; nothing to say yet
    BATCH = "batch"  #: comes and goes with jobs
    CACHE = "cache"  #: grew, and levels off
    UNKNOWN = "unknown"  #: too few samples


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict on one series at one moment, with what it rests on."""

    verdict: Verdict
    confidence: float  #: 0 … 1
    growth: Growth | None  #: the rate that counts for the verdict; ``None`` = not measured
    more_memory_helps: bool | None  #: ``None`` = cannot be said
    evidence: tuple[str, ...] = ()  #: one sentence each, numbers in them
    line: tuple[tuple[float, float], ...] = ()  #: (time, value): what the rate was measured on, for plots

    @property
    def is_leak(self) -> bool:
        """Whether somebody should be told."""
        return self.verdict is Verdict.LEAK


def judge(series: Series, limit_bytes: float | None, now: float) -> Finding:
    """Say what the curve of *series* is at *now*; *limit_bytes*, where known, tells what growth matters."""
    _ = limit_bytes
    rate = growth(series, now)
    if rate is None:
        return Finding(Verdict.UNKNOWN, 0.0, None, None, ("too few samples",))
    if not rate.significant or rate.bytes_per_second <= 0:
        return Finding(Verdict.LEVEL, 0.5, rate, None, ("no trend",))
    return Finding(Verdict.LEAK, 0.5, rate, False, ("a steady trend",))
