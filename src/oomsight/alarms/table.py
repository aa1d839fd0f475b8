"""
Every memory alarm: one row each. The judge, the configuration, ``--check-config`` and the reference read these rows.

Page cache is need of nobody: the kernel drops it before it kills. So no row looks at plain usage.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final, Literal

from oomsight._named import NamedTuple

Scope = Literal["host", "cgroup"]
Unit = Literal["pct", "seconds", "per_minute"]
Severity = Literal["warning", "critical"]


class Alarm(NamedTuple):
    """One thing that can be wrong, with the limits used unless the configuration has others."""

    code: str
    scope: Scope
    title: str
    unit: Unit
    raise_at: float  #: at or beyond it the alarm is meant; ``seconds`` left count downwards, all others upwards
    clear_at: float  #: it is over at or on the other side of this one
    critical_at: float | None  #: beyond it the alarm is critical; ``None`` = it stays a warning
    for_seconds: float  #: it must hold so long, but never longer than a quarter of the time left
    clear_seconds: float  #: and be over for so long
    measures: str  #: what is compared, in words
    source: str  #: file and, where they differ, kernel release

    @property
    def downwards(self) -> bool:
        """Whether less is worse."""
        return self.unit == "seconds"


# fmt: off
ALARMS: Final[tuple[Alarm, ...]] = (
    Alarm("memory_high", "host", "RAM is nearly used up", "pct", 80, 75, 95, 60, 60,
          "RAM that is not available: 1 - MemAvailable / MemTotal", "/proc/meminfo (MemAvailable: 3.14+)"),
    Alarm("swap_high", "host", "swap is being used up", "pct", 30, 25, None, 60, 60,
          "swap in use: 1 - SwapFree / SwapTotal; a host without swap has none", "/proc/meminfo"),
    Alarm("memory_growth", "host", "RAM and swap will be used up soon", "seconds", 1800, 3600, 300, 30, 60,
          "time until MemAvailable and free swap are gone, at the rate of the last minutes", "/proc/meminfo, sampled"),
    Alarm("memory_pressure", "host", "tasks stand still for want of memory", "pct", 10, 2, 40, 10, 30,
          "share of the last 10 s in which all tasks waited for memory, with need and used swap above half of RAM",
          "/proc/pressure/memory full avg10 (4.20+)"),
    Alarm("cgroup_near_limit", "cgroup", "nearly at its limit", "pct", 90, 85, None, 30, 30,
          "need (usage without page cache) as a share of the limit", "memory.current, .stat, .max; v1 alike"),
    Alarm("cgroup_growth", "cgroup", "will reach its limit soon", "seconds", 1800, 3600, None, 30, 60,
          "time until need reaches the limit, at the rate of the last minutes", "the same, sampled"),
    Alarm("cgroup_at_limit", "cgroup", "runs into its limit", "per_minute", 1, 0, None, 5, 60,
          "times it ran into its limit while its need was above 80 % of it", "memory.events max; v1 memory.failcnt"),
    Alarm("cgroup_throttled", "cgroup", "is throttled above memory.high", "per_minute", 1, 0, None, 5, 60,
          "times it was throttled while its need was above 80 % of memory.high", "memory.events high (v2)"),
    Alarm("cgroup_pressure", "cgroup", "its tasks stand still for want of memory", "pct", 20, 5, None, 10, 30,
          "share of the last 10 s in which all its tasks waited for memory, while its need was above 50 % of the limit",
          "memory.pressure full avg10 (v2, 4.20+)"),
)
# fmt: on
"""All alarms; of several that hold at once the first of the list gives the name."""

BY_CODE: Final = {alarm.code: alarm for alarm in ALARMS}
LONG_SECONDS: Final = 1e9  #: time left of what does not grow
FULL_SHARE: Final = 0.8  #: events at the limit count from this share of it on: below it is page cache being dropped
PRESSED_SHARE: Final = 0.5
"""Stalls count from this share of the limit (of RAM) on: below it tasks wait for page cache or a cgroup's limit."""


class Limit(NamedTuple):
    """The limits of one alarm as configured; they mean what they mean in :class:`Alarm`."""

    raise_at: float
    clear_at: float
    critical_at: float | None
    for_seconds: float
    clear_seconds: float
    enabled: bool = True


def default_limit(alarm: Alarm) -> Limit:
    """The limits of the table."""
    return Limit(alarm.raise_at, alarm.clear_at, alarm.critical_at, alarm.for_seconds, alarm.clear_seconds)


@dataclass(frozen=True, slots=True)
class Override:
    """Other limits for some cgroups."""

    paths: tuple[str, ...]  #: shell patterns of cgroup paths
    limits: tuple[tuple[str, Limit], ...]  #: by code


@dataclass(frozen=True, slots=True)
class Limits:
    """Everything ``[alerts.memory]`` says."""

    enabled: bool = True
    limits: tuple[tuple[str, Limit], ...] = ()  #: by code; those not here are the table's
    overrides: tuple[Override, ...] = ()  #: the first that matches counts

    def of(self, alarm: Alarm, path: str | None) -> Limit:
        """The limits of *alarm* for the host (``None``) or the cgroup *path*."""
        for override in self.overrides if path is not None else ():
            if any(fnmatchcase(path or "", pattern) for pattern in override.paths):
                found = dict(override.limits).get(alarm.code)
                if found is not None:
                    return found
                break
        return dict(self.limits).get(alarm.code) or default_limit(alarm)

    def off(self) -> Limits:
        """The same, switched off."""
        return replace(self, enabled=False)
