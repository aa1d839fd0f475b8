"""
Kills without a report, charged to a cgroup: what /proc and the counters say in the moment of the kill.

:mod:`oomsight.live.charge` decides; here are the readings, in the order in which they vanish: the victim's own cgroup
(v1 shows ``/`` once it exits, kernel/cgroup/cgroup.c proc_cgroup_show()), its parent's, the counters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from oomsight.live.charge import Charges, beheaded, charged, recharged, undecided
from oomsight.live.events import LiveEvent, LogRecord, Stage
from oomsight.report.grammar import KILL
from oomsight.sources.vmstat import read_cgroup, read_parent

if TYPE_CHECKING:
    from oomsight.live.counters import CgroupChange
    from oomsight.sources.cgroup_events import CgroupEvents

HOLD_SECONDS: Final = 1.0  #: that a complete event waits for its cgroup; it was told as provisional at once
AGAIN_SECONDS: Final = 0.05  #: between two looks at the counters while one waits
SHARE: Final = 0.1  #: of the time for looking at counters, at most: of 10,000 cgroups a look takes a while
REMEMBERED_PIDS: Final = 8192
_NEEDLE: Final = "illed process"


@dataclass(slots=True)
class Charging:
    """*count* reads the counters of *cgroups* and hands what moved to :meth:`grew`."""

    proc: str
    count: Callable[[], None]
    cgroups: CgroupEvents | None = None

    _charges: Charges = field(init=False, default_factory=Charges)
    _caught: dict[int, str] = field(init=False, default_factory=dict)
    _hints: dict[int, list[str]] = field(init=False, default_factory=dict)
    _seen: dict[int, str] = field(init=False, default_factory=dict)
    _held: list[tuple[float, LiveEvent]] = field(init=False, default_factory=list)
    _count_at: float = field(init=False, default=0.0)
    _counted: float = field(init=False, default=0.0)  #: when all counters were last read
    _read: float = field(init=False, default=0.0)  #: when the log was

    def catch(self, records: Iterable[LogRecord]) -> None:
        """Read where the victims of *records*, just printed, are, before anything else is done: they are dying."""
        self._read = time.monotonic()
        self._caught.clear()
        self._hints.clear()
        for record in records:
            if _NEEDLE not in record.text or (match := KILL.search(record.text)) is None or match["ed"] is None:
                continue
            pid = int(match["pid"])
            if (path := read_cgroup(pid, self.proc)) is not None:
                self._caught[pid] = path
                continue
            parent = read_parent(pid, self.proc)
            around = read_cgroup(parent, self.proc) if parent is not None else None
            self._hints[pid] = [path for path in (self._seen.get(pid), around) if path is not None]

    def cgroup_of(self, pid: int) -> str | None:
        """Return the cgroup :meth:`catch` found *pid* in."""
        return self._caught.get(pid)

    def grew(self, change: CgroupChange) -> None:
        """Take the counters that moved; who is left in a cgroup in which one was killed may be next."""
        kills = change.grown.get("oom_kill", 0)
        if not kills or self.cgroups is None:
            return
        self._charges.grew(change.path, kills, time.monotonic())
        for pid in self.cgroups.members(change.path):
            self._seen.pop(pid, None)
            self._seen[pid] = change.path
        while len(self._seen) > REMEMBERED_PIDS:
            del self._seen[next(iter(self._seen))]

    def admit(self, event: LiveEvent) -> LiveEvent | None:
        """Return *event*, of a kill just made, with its cgroup; ``None`` = it is kept until that is known."""
        if self.cgroups is None or not event.kills:
            return event
        now = time.monotonic()
        path = charged(event)
        if path is not None:
            for name in (*(k.kill_id for k in event.kills), *(f"{event.event_id}+{n}" for n in range(event.repeats))):
                self._charges.told(name, path, now)
            return event
        if not beheaded(event):
            return event
        answered = self._answered(event, now)
        if answered is None and event.stage is not Stage.PROVISIONAL:
            self._held.append((now + HOLD_SECONDS, event))
        elif answered is None:
            return event
        return answered

    def release(self, now: float) -> list[LiveEvent]:
        """Return the kept events whose cgroup is known by now, or will not be."""
        if not self._held:
            return []
        held, self._held = self._held, []
        free = []
        for deadline, event in held:
            answered = self._answered(event, now)
            between = self._charges.undecided(event.kills[0].kill_id)
            if answered is None and (between or now >= deadline):
                answered = undecided(event, between or self._charges.candidates())
            if answered is None:
                self._held.append((deadline, event))
            else:
                free.append(answered)
        return free

    @property
    def holding(self) -> bool:
        """Whether an event is kept that would be lost if we died now."""
        return bool(self._held)

    def _answered(self, event: LiveEvent, now: float) -> LiveEvent | None:
        kill = event.kills[0]
        hints = self._hints.get(kill.pid, ()) if kill.pid is not None else ()
        path = self._charges.known(kill.kill_id)
        if path is None and not self._charges.undecided(kill.kill_id):
            begin = time.monotonic()
            if begin >= self._count_at:
                self.count()
                self._charges.counted()
                self._counted = end = time.monotonic()
                self._count_at = end + (end - begin) / SHARE
            elif self._counted < self._read:
                return None  # the lines of a batch are one question, but they were read since
            path = self._charges.want(kill.kill_id, now, hints=hints)
        return recharged(event, path) if path is not None else None
