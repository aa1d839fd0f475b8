"""
One event per OOM kill, whichever source saw it first and however often it is read again.

An event is named after its first kill line: boot id, time on the printk clock, pid. /dev/kmsg and the journal carry
that very clock (microseconds), so both give the same name; sequence numbers only /dev/kmsg has, so they only say where
to read on. The id ``explain`` prints (:func:`oomsight.diagnose.explain.incident_id`) comes from the words of the kill
line alone and goes along, so that a stored incident is found by either.
"""

from __future__ import annotations

import re
from base64 import b32encode
from collections import Counter, OrderedDict
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from oomsight.report.model import EventKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oomsight.diagnose.model import Incident

REMEMBERED: Final = 10_000
"""Kills a :class:`Registry` knows by heart; more than one ring buffer can repeat. The store knows them all."""
_REAPED_PID: Final = re.compile(rb"oom_reaper: [^(]*?(\d+) \(")
REAPER_US: Final = 60_000_000  #: a reaper line after this is of another process with the same pid


class Stage(StrEnum):
    """How much of the event is known."""

    PROVISIONAL = "provisional"  #: told at the kill line; victim, and cgroup where printed
    COMPLETE = "complete"  #: the whole report, explained
    UPDATE = "update"  #: complete before, and now more is known (reaper, late group members, a richer source)


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record of a kernel log, as any source delivers it."""

    raw: bytes  #: one line with its carrier, ending in a newline: what the parser gets and the store keeps
    text: str  #: the message alone
    source: str  #: name of the source: ``/dev/kmsg``, ``journal``
    position: int | str  #: where to read on: sequence number, journal cursor
    time_us: int | None = None  #: printk clock, microseconds since boot; ``None`` = the source has none
    boot_id: str | None = None
    trusted: bool = True  #: written by the kernel (facility kern), or for killers by whom it claims
    killer: bool = False  #: comes from a userspace killer's own service
    wall_us: int | None = None  #: wall clock, microseconds since 1970, where the source has one of its own


@dataclass(frozen=True, slots=True)
class Kill:
    """One victim of an event."""

    kill_id: str
    pid: int | None
    comm: str | None
    time_us: int | None


@dataclass(slots=True)
class LiveEvent:
    """One event as it is told and stored."""

    event_id: str
    stage: Stage
    incident: Incident
    kills: tuple[Kill, ...]
    boot_id: str | None
    time_us: int | None
    source: str
    raw: bytes = b""  #: the lines it was read from; line 1 is line 1 of the incident
    weight: int = 0  #: how much it says; of two readings the heavier is kept
    replayed: bool = False  #: happened before we began to look
    repeats: int = 0  #: kills the kernel printed and counted twice: a group's selected process dies with it once more


def kill_id(boot_id: str | None, time_us: int | None, pid: int | None, what: str = "kill") -> str:
    """Return the name of one kill (or of another event: *what* is its kind), stable across sources and restarts."""
    text = "\x1f".join((what, (boot_id or "").replace("-", "").lower(), str(time_us), str(pid)))
    return "ev-" + b32encode(blake2b(text.encode(), digest_size=10).digest()).decode().lower()


def weigh(incident: Incident) -> int:
    """Return how much *incident* says; victims count most: none may get lost for a nicer report."""
    report = incident.report
    return (
        1000 * len(report.victims) + 200 * report.complete + 20 * (report.trigger is not None)
        + 10 * (report.memcg is not None) + 10 * (report.meminfo is not None) + min(len(report.tasks), 50)
        + 5 * (report.task_memcg is not None) + sum(v.reaped is not None for v in report.victims)
        + sum(v.total_vm_kib is not None for v in report.victims)
    )  # fmt: skip


Known = tuple[str, str, int, str | None, int | None, int | None]
"""A stored kill: its id, its event's id and weight (below 0 = provisional), boot, pid, printk clock."""


class Registry:
    """Decides whether an event is news. Bounded: the oldest kills are forgotten first."""

    def __init__(self, known: Iterable[Known] = ()) -> None:
        """Start with what the store holds, oldest first."""
        self._pids: dict[tuple[str | None, int | None], int] = {}
        self._kills: OrderedDict[str, str] = OrderedDict()
        self._events: OrderedDict[str, tuple[int, bool]] = OrderedDict()
        self.kills: Counter[str | None] = Counter()  #: distinct kills admitted by boot, those of *known* not counted
        self.repeats: Counter[str | None] = Counter()  #: by boot, see :attr:`LiveEvent.repeats`
        for kill, event, weight, boot, pid, time_us in known:
            self._kills[kill] = event
            self._events[event] = (weight, weight >= 0)
            self._pids[boot, pid] = time_us or 0

    def admit(self, event: LiveEvent) -> LiveEvent | None:
        """
        Return *event* as it is to be told (its id and stage set right), or ``None`` when it says nothing new.

        A kill already known under another event (a group kill read from its middle) updates that event.
        """
        if event.incident.report.kind is EventKind.REAPER_ONLY and not event.kills and self._reaped_known(event):
            return None
        owner = next((self._kills[k.kill_id] for k in event.kills if k.kill_id in self._kills), event.event_id)
        weight, complete = self._events.get(owner, (-1, False))
        if owner in self._events and (event.stage is Stage.PROVISIONAL or (complete and event.weight <= weight)):
            return None
        stage = event.stage
        if complete:
            stage = Stage.UPDATE
        elif stage is Stage.UPDATE:
            stage = Stage.COMPLETE
        for kill in event.kills:
            if kill.kill_id not in self._kills:
                self.kills[event.boot_id] += 1
                self._kills[kill.kill_id] = owner
                self._pids[event.boot_id, kill.pid] = kill.time_us or 0
        if stage is Stage.COMPLETE:
            self.repeats[event.boot_id] += event.repeats
        self._events[owner] = (max(weight, event.weight), stage is not Stage.PROVISIONAL)
        while len(self._kills) > REMEMBERED:
            self._kills.popitem(last=False)
        if len(self._pids) > 2 * REMEMBERED:
            self._pids = dict(list(self._pids.items())[REMEMBERED:])
        while len(self._events) > REMEMBERED:
            self._events.popitem(last=False)
        if owner == event.event_id and stage is event.stage:
            return event
        return replace(event, event_id=owner, stage=stage)

    def _reaped_known(self, event: LiveEvent) -> bool:
        """Whether a reaper line without its kill is of a kill that was told before (and before a restart)."""
        match = _REAPED_PID.search(event.raw)
        killed = self._pids.get((event.boot_id, int(match[1]))) if match else None
        return killed is not None and (event.time_us or 0) - killed < REAPER_US
