"""What ``status`` reads (:class:`Look`) and what it says (:class:`Status`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple

if TYPE_CHECKING:
    from oomsight.proc.machine import MemInfo
    from oomsight.proc.memcg import Memcg
    from oomsight.proc.pressure import Stall
    from oomsight.score.limits import LimitedCgroup
    from oomsight.score.model import Ranking, Snapshot, Unseen
    from oomsight.status.growth import Before, Grower
    from oomsight.status.hurts import Hurt
    from oomsight.status.memory import Accounting


TICKS_PER_SECOND: Final = 100  #: USER_HZ
STEP_SECONDS: Final = 1.0  #: the clock and the time since boot that differ by more: it was set


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at a machine. ``None`` = could not be read."""

    at: float  #: unix seconds
    ticks: int | None  #: since boot
    memory: MemInfo
    snapshot: Snapshot  #: without the process that looks
    pressure: Mapping[str, Mapping[str, Stall]] = field(default_factory=dict)  #: by resource
    cgroup_pressure: Mapping[str, Mapping[str, Stall]] = field(default_factory=dict)  #: by path
    oom_kills: int | None = None  #: since boot, as the kernel counts
    sysctl: Mapping[str, int] = field(default_factory=dict)
    cgroups: Sequence[Memcg] | None = None  #: with a limit; ``None`` = no hierarchy of memory cgroups
    cgroups_all: int = 0  #: how many there are
    zram_kib: tuple[int, int] | None = None  #: what is in zram, uncompressed, and the RAM it takes; ``None`` = no zram

    @property
    def compressed_kib(self) -> tuple[int, int] | None:
        """What zswap and zram hold, uncompressed, and the RAM it takes; ``None`` = there is neither."""
        stored, taken = self.zram_kib or (0, 0)
        fields = self.memory.fields
        found = (stored + fields.get("Zswapped", 0), taken + fields.get("Zswap", 0))
        return found if any(found) else None
    unseen: Sequence[Unseen] = ()


class Earlier(NamedTuple):
    """The look before, light."""

    at: float
    ticks: int | None
    processes: Before
    cgroups: Mapping[str, int]  #: need in bytes by path
    available_kib: int | None
    stopped: Collection[str] = ()  #: paths of cgroups that grew since, but hardly in the last seconds

    def seconds_to(self, look: Look) -> float:
        """How long before *look* it was; where the clock was set meanwhile, by the time since boot."""
        wall = look.at - self.at
        if self.ticks is None or look.ticks is None:
            return wall
        run = (look.ticks - self.ticks) / TICKS_PER_SECOND
        return run if run > 0 and abs(run - wall) > STEP_SECONDS else wall


class Holder(NamedTuple):
    """One process, or all of one name, by what only their death would free."""

    name: str
    pid: int | None
    processes: int
    cgroup: str | None
    need_kib: int
    swap_kib: int
    kib_per_second: float | None  #: ``None`` = not compared


class Limited(NamedTuple):
    """One limited cgroup."""

    cgroup: LimitedCgroup
    bytes_per_second: float | None  #: of its need; ``None`` = not compared
    time_left_seconds: float | None  #: at that rate; ``None`` = it does not grow


class Forecast(NamedTuple):
    """When something will be full, from the history."""

    subject: str  #: ``host`` or the path of a cgroup
    seconds: float
    low_seconds: float
    high_seconds: float | None  #: ``None`` = perhaps never
    cause: str | None  #: name of who grows most in it
    cause_pid: int | None
    method: str


class Alert(NamedTuple):
    """Something that is wrong now."""

    subject: str  #: ``host`` or the path of a cgroup
    severity: str
    text: str  #: marked
    since: float | None  #: unix seconds; ``None`` = seen in this look, nobody watched before
    codes: tuple[str, ...]
    at: float | None = None  #: unix seconds of what the text says; ``None`` = of this look


class Last(NamedTuple):
    """The last stored incident."""

    id: str
    at: float  #: unix seconds
    headline: str  #: marked
    kills: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The answer. ``None`` = not known."""

    look: Look
    accounting: Accounting | None
    need_kib: int | None  #: RAM that is not available
    droppable_kib: int | None  #: page cache on the LRU lists: what files give back
    dirty_kib: int | None  #: of it, to be written first
    holders: Sequence[Holder]  #: biggest first
    growers: Sequence[Grower]
    seconds: float | None  #: between the two looks
    counter_error_kib: int  #: growth below it cannot be seen
    available_kib_per_second: float | None  #: change of MemAvailable
    limited: Sequence[Limited]  #: fullest first; only the first few have a ranking
    limited_all: int
    ranking: Ranking
    forecasts: Sequence[Forecast] = ()
    forecast_missing: str | None = None  #: why there is none, or what it lacks
    grown: Sequence[Grower] = ()  #: on record, the most first
    grown_seconds: float | None = None  #: over which time; ``None`` = nothing is on record
    alerts: Sequence[Alert] = ()
    watched: bool = False  #: the alerts are those of a running agent
    hurts: Sequence[Hurt] = ()
    last: Last | None = None
    last_missing: str | None = None  #: why there is none, in words
    unseen: Sequence[Unseen] = ()
