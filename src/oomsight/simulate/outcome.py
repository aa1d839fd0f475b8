"""What a run leaves behind: kills, other events, samples. Times are steps times seconds of a step; sizes bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from oomsight.simulate.scenario import Scenario

By = Literal["kernel", "guard"]


class Row(NamedTuple):
    """One process in the table a victim was chosen from."""

    pid: int
    name: str
    cgroup: str
    rss_bytes: int
    swap_bytes: int
    pgtables_bytes: int
    adj: int
    points: int | None  #: badness in the rule's unit (pages from 3.5 on); ``None`` = exempt
    per_mille: int | None  #: of T
    words: str  #: what the scan did
    killed: bool


class Victim(NamedTuple):
    """One process that died."""

    pid: int
    name: str
    cgroup: str
    role: str  #: selected, child, group, shared, allocating, guard
    rss_bytes: int
    swap_bytes: int
    adj: int


@dataclass(frozen=True, slots=True)
class Kill:
    """One OOM (or one act of the guard) and everybody who died in it."""

    time_seconds: float
    by: By
    constraint: str  #: CONSTRAINT_NONE or CONSTRAINT_MEMCG; empty for a guard
    cgroup: str  #: that ran out; ``/`` = the machine
    outcome: str  #: of :class:`oomsight.kernel.selection.Outcome`
    words: str
    trigger: str | None  #: name of the process whose allocation failed
    limit_bytes: int
    total_pages: int  #: T
    total_how: str
    victims: tuple[Victim, ...]
    freed_bytes: int
    rows: tuple[Row, ...] = field(default=(), repr=False)  #: most points first
    more_rows: int = 0  #: processes not in ``rows``


class Event(NamedTuple):
    """Something worth telling that is no kill."""

    time_seconds: float
    kind: str  #: alert, throttled, released, refused, exited, restarted, stopped, stuck, panic, no_more_kills
    name: str  #: process or cgroup it is about
    words: str


class Sample(NamedTuple):
    """The state at one moment; the lists go by :attr:`Run.cgroups`."""

    time_seconds: float
    need_bytes: tuple[int, ...]  #: in RAM and not droppable, of each subtree
    cache_bytes: tuple[int, ...]
    swap_bytes: tuple[int, ...]
    pressure_pct: float  #: of the machine
    processes: int


class CgroupInfo(NamedTuple):
    """A cgroup of the run."""

    path: str
    limit_bytes: int | None  #: memory.max; of the root: what can be used before a global OOM; ``None`` = none
    high_bytes: int | None


@dataclass(slots=True)
class Run:
    """The result of one simulation."""

    scenario: Scenario
    cgroups: list[CgroupInfo]
    kills: list[Kill] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    end_seconds: float = 0.0
    ended_by: str | None = None  #: why before its time: ``panic``, ``kills``; ``None`` = ran to the end
    throttled_seconds: dict[str, float] = field(default_factory=dict)  #: by cgroup
    steps_looked_at: int = 0  #: events and checks, for the curious and for speed tests

    @property
    def oom_kills(self) -> list[Kill]:
        """What the kernel did."""
        return [kill for kill in self.kills if kill.by == "kernel"]

    def _hurt(self, by: By) -> list[Kill]:
        names = set(self.scenario.protect)
        return [kill for kill in self.kills if kill.by == by and any(v.name in names for v in kill.victims)]

    @property
    def crash_seconds(self) -> float | None:
        """When something that must live first died against its will, or the machine did; ``None`` = never."""
        names = set(self.scenario.protect)
        times = [kill.time_seconds for kill in self._hurt("kernel")]
        times += [e.time_seconds for e in self.events if e.kind == "panic"]
        times += [e.time_seconds for e in self.events if e.kind in {"refused", "exited", "stuck"} and e.name in names]
        return min(times, default=None)

    @property
    def restarts_by_guard(self) -> int:
        """Times the guard ended something that must live: a controlled restart instead of a crash."""
        return len(self._hurt("guard"))

    @property
    def survived(self) -> bool:
        """Whether everything that must live did."""
        return self.crash_seconds is None

    @property
    def alert_seconds(self) -> float | None:
        """When the first alert fired; ``None`` = never."""
        return next((event.time_seconds for event in self.events if event.kind == "alert"), None)

    @property
    def alert_in_time(self) -> bool:
        """Whether an alert came so long before the crash that people could act."""
        crash, alert = self.crash_seconds, self.alert_seconds
        return crash is not None and alert is not None and crash - alert >= self.scenario.alert["lead"]
