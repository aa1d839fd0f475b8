"""
Is the wall clock to be believed? Not right after the start, and not after a jump.

A host without a battery boots in 1970 or 2036 and is set right a minute later. Whoever deletes by age in that minute
deletes everything; whoever waits for a moment waits for too long, or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

EVEN_SECONDS: Final = 3600.0  #: that it must have run beside the kernel's own clock
JUMP_SECONDS: Final = 60.0  #: more than it may be off after that; NTP slews 1.8 s in an hour (500 ppm)
STEP_SECONDS: Final = 1.0  #: that the wall clock may be off before times kept by it are moved


def boot_seconds() -> float:
    """Seconds since boot, suspended time included (CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class EvenClock:
    """Watches *wall* (unix seconds) beside *steady*, which nobody sets."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = boot_seconds) -> None:
        self._wall, self._steady = wall, steady
        self._since = (wall(), steady())

    def even(self) -> bool:
        """Whether the wall clock has run evenly for an hour."""
        now = self._wall(), self._steady()
        wall, steady = (after - before for after, before in zip(now, self._since, strict=True))
        if abs(wall - steady) > JUMP_SECONDS:
            self._since = now
            return False
        return steady >= EVEN_SECONDS


class ClockSteps:
    """By how much the wall clock was set, for whoever keeps moments of it and waits for others."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = boot_seconds) -> None:
        self._wall, self._steady = wall, steady
        self._offset = wall() - steady()

    def since_last(self) -> float:
        """Seconds by which it was set since the last call, negative = back; 0 = it was not."""
        offset = self._wall() - self._steady()
        step = offset - self._offset
        if abs(step) < STEP_SECONDS:
            return 0.0
        self._offset = offset
        return step
