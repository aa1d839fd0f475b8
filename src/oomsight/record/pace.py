"""How long to wait until the next sample: slow when calm, dense when memory gets short."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

CALM_SECONDS: Final = 5.0
DENSE_SECONDS: Final = 1.0
LINGER_SECONDS: Final = 60.0
NEW_SECONDS: Final = 20.0
"""
Dense sampling goes on for this long after its last reason: what follows an alarm belongs to the story. A cgroup that
is new is looked at for a shorter time: what it starts may fill its limit within half a minute, and two samples show no
rate.
"""


class Reading(NamedTuple):
    """What the decision looks at; ``None`` = not known."""

    now: float  #: seconds, any clock that does not step
    available_share: float | None = None  #: of RAM
    psi_some_pct: float | None = None  #: avg10
    growth_seconds: float | None = None  #: until what is available is used up at the rate of the last samples
    tightest_share: float | None = None  #: least free share of any limited cgroup, page cache not counted as used
    cgroup_seconds: float | None = None  #: until the first of them is full at the rate of the last samples
    oom_kills: int | None = None
    new_limits: bool = False  #: a limited cgroup is there that was not when we last looked


@dataclass(frozen=True, slots=True)
class Pace:
    """State between decisions, and the answer."""

    wait_seconds: float = DENSE_SECONDS
    reason: str | None = None  #: why it is dense; ``None`` = calm
    dense_until: float = 0.0
    oom_kills: int | None = None


class Filling:
    """How soon something is full at the rate of the last samples. One burst is no trend, so the rate is smoothed."""

    __slots__ = ("_at", "_left", "_rate")

    def __init__(self) -> None:
        self._at: float | None = None
        self._left = 0
        self._rate: float | None = None

    @property
    def fed(self) -> bool:
        """Whether anything is known yet."""
        return self._at is not None

    def feed(self, now: float, left: int) -> float | None:
        """Seconds from *now* (a clock that does not step), when *left* is free; ``None`` = it does not fill."""
        if self._at is not None and now > self._at:
            rate = (self._left - left) / (now - self._at)
            self._rate = rate if self._rate is None else 0.7 * self._rate + 0.3 * rate
        self._at, self._left = now, left
        return left / self._rate if self._rate is not None and self._rate > 0 else None


NEW: Final = "a cgroup with a limit is new"
LOW_SHARE: Final = 0.15
STALLED_PCT: Final = 1.0
SOON_SECONDS: Final = 600.0
TIGHT_SHARE: Final = 0.10
CGROUP_SOON_SECONDS: Final = 120.0
"""A cgroup that is full within this time is looked at closely; limits are many, so less far ahead than for the host."""


def decide(before: Pace, reading: Reading, calm: float = CALM_SECONDS, dense: float = DENSE_SECONDS) -> Pace:
    """The next pace. *calm* and *dense*: seconds between samples; equal = always the same."""
    reason = _reason(before, reading)
    linger = NEW_SECONDS if reason == NEW else LINGER_SECONDS
    until = max(reading.now + linger, before.dense_until) if reason is not None else before.dense_until
    if reason is None and reading.now < until:
        reason = before.reason
    return Pace(calm if reason is None else min(dense, calm), reason, until, reading.oom_kills)


def _reason(before: Pace, r: Reading) -> str | None:
    if before.oom_kills is not None and r.oom_kills is not None and r.oom_kills > before.oom_kills:
        return "a process was killed for memory"
    if r.psi_some_pct is not None and r.psi_some_pct >= STALLED_PCT:
        return "tasks wait for memory"
    if r.available_share is not None and r.available_share < LOW_SHARE:
        return "little memory is available"
    if r.growth_seconds is not None and r.growth_seconds < SOON_SECONDS:
        return "available memory shrinks fast"
    if r.tightest_share is not None and r.tightest_share < TIGHT_SHARE:
        return "a cgroup is near its limit"
    if r.new_limits:
        return NEW
    if r.cgroup_seconds is not None and r.cgroup_seconds < CGROUP_SOON_SECONDS:
        return "a cgroup fills up fast"
    return None
