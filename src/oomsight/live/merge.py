"""
Log records arriving one by one -> complete reports.

:class:`Merger` keeps the lines of the report that is being printed (a *window*). The kill line ends a report, so the
event is told there and then from the few lines that name the victim; once nothing more belongs to it (the next report
begins, or the log has been quiet) the whole window goes to :func:`oomsight.report.parse_text`. For a while after that
late lines (the reaper's, group kills behind a slow console) still find their window and make an update.

The kernel prints one report at a time: ``oom_lock`` is held from the head to the last group kill (mm/oom_kill.c
since 4.4; printk of older ones may mix two heads, then their window waits for both kills).
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from oomsight.diagnose.explain import explain_report
from oomsight.live.events import Kill, LiveEvent, LogRecord, Stage, kill_id, weigh
from oomsight.report import Clock, parse_text
from oomsight.report.grammar import KILL, classify
from oomsight.report.model import Note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oomsight.report.model import OomReport

SETTLE_SECONDS: Final = 0.05  #: quiet after the kill line; a group line follows within one console line
GROUP_SETTLE_SECONDS: Final = 0.25  #: quiet between the kills of a group
OPEN_SECONDS: Final = 5.0  #: quiet inside a report whose kill line has not come
LATE_SECONDS: Final = 10.0  #: the reaper gives up after a second (mm/oom_kill.c oom_reap_task(): 10 tries, 100 ms each)
PRINT_SECONDS: Final = 0.02  #: between two lines of a report that is being printed
MAX_READY: Final = 16  #: reports that may wait to be explained
MAX_WINDOW_BYTES: Final = 8 << 20  #: a report of 60,000 tasks
MAX_RECENT_BYTES: Final = 8 << 20  #: of windows kept for late lines

SAID_RECORDS: Final = 24  #: of a userspace killer, that may describe the victim of the line after them

# What can begin or concern an event; every other record costs one search.
_NEEDLE: Final = re.compile(
    r"oom|OOM|ill process |illed process |ut of memory|page allocation|vmalloc|deadlocked on memory|callbacks supp"
)
_OPENS: Final = frozenset({"oom_kill", "sysrq"})  #: what has no handler of its own and begins a window all the same
_NO_CLOCK: Final = Clock()
_TAIL: Final = frozenset({"group", "exiting", "sharing", "pinned", "path", "no_killable", "panic"})
_REAPER_PID: Final = re.compile(r"(?:process |pid:)(\d+) \(")
_OOM_PANIC: Final = re.compile(r"memory|oom", re.IGNORECASE)


@dataclass(slots=True, eq=False)
class _Window:
    """The lines of one report, or of two that old kernels mixed."""

    records: list[LogRecord] = field(default_factory=list)
    names: list[int] = field(default_factory=list)  #: indices of the lines that name the event: head, oom-kill:, kill
    pids: set[int] = field(default_factory=set)
    heads: int = 0
    kills: int = 0
    group: bool = False
    closed: bool = False  #: ends an event without a kill (no killable process, panic, one line of a userspace killer)
    last_seconds: float = 0.0
    bytes: int = 0
    cut: int = 0  #: lines left out, the window being full
    last_us: int | None = None  #: printk clock of the last line that belongs to it
    cgroups: dict[tuple[int | None, int | None], str] = field(default_factory=dict)  #: by (time, pid), from /proc
    told: bool = False  #: its complete event was made
    replay: bool = False

    @property
    def satisfied(self) -> bool:
        return self.closed or self.kills >= max(self.heads, 1)

    @property
    def due_seconds(self) -> float:
        quiet = OPEN_SECONDS if not self.satisfied else GROUP_SETTLE_SECONDS if self.group else SETTLE_SECONDS
        return self.last_seconds + quiet

    def add(self, record: LogRecord, now_seconds: float | None) -> int:
        """Append *record*; *now_seconds* unless it belongs to something else. Return its index."""
        if now_seconds is not None:
            self.last_seconds = now_seconds
            self.last_us = record.time_us
        if self.bytes + len(record.raw) > MAX_WINDOW_BYTES and "process" not in record.text:
            self.cut += 1
            return len(self.records) - 1
        self.records.append(record)
        self.bytes += len(record.raw)
        return len(self.records) - 1

    def quiet_us(self, record: LogRecord) -> int:
        """Return the microseconds the log was quiet before *record*: those of a backlog all arrive at once."""
        return record.time_us - self.last_us if record.time_us is not None and self.last_us is not None else 0


class Merger:
    """
    Windows over the records of **one** source, in their order.

    ``clock`` says what is known about wall time (may be replaced at any time); ``cgroup_of`` looks up the cgroup of a
    process that is just dying, for kills whose report the kernel did not print; it is called once per kill line.
    """

    def __init__(self, clock: Clock = _NO_CLOCK, cgroup_of: Callable[[int], str | None] | None = None) -> None:
        self.clock = clock
        self._cgroup_of = cgroup_of
        self._current: _Window | None = None
        self._ready: deque[_Window] = deque()
        self._recent: deque[_Window] = deque()
        self._dirty: dict[int, tuple[float, _Window]] = {}
        self._prefix: LogRecord | None = None
        self._said: deque[LogRecord] = deque(maxlen=SAID_RECORDS)
        self._fresh, self._replay = True, False
        self._newest_us: int | None = None

    # -- in -----------------------------------------------------------------------------------------------------------

    def feed(
        self, record: LogRecord, now_seconds: float, *, fresh: bool = True, replay: bool = False
    ) -> list[LiveEvent]:
        """
        Take the next record; return the provisional event it makes when it is a kill line.

        *fresh*: it has just been printed. Records of a backlog make none: their complete events come as fast.
        *replay*: it was printed before anybody began to look, and its event is no news.
        """
        self._fresh, self._replay = fresh, replay
        if record.time_us is not None:
            self._newest_us = record.time_us
        if record.killer or not record.trusted:
            self._feed_killer(record, now_seconds)
            return []
        current = self._current
        if current is None and not _NEEDLE.search(record.text):
            return []
        if current is not None and (
            current.records[0].boot_id != record.boot_id or current.quiet_us(record) > OPEN_SECONDS * 1e6
        ):
            self._supersede()
            current = None
        text = record.text.lstrip()
        kind = classify(text)
        if kind == "kill":
            return self._on_kill(record, text, now_seconds)
        if kind == "reaper":
            self._on_reaper(record, text, now_seconds)
        elif kind == "head" or (kind == "alloc" and (current is None or current.satisfied)):
            window = self._new() if current is None or current.satisfied else current
            window.heads += kind == "head"
            window.closed = kind == "alloc"
            window.names.append(window.add(record, now_seconds))
        elif kind == "suppressed" and "oom" in text:
            self._prefix = record
        elif kind in _TAIL:
            self._on_tail(record, kind, text, now_seconds)
        elif current is not None:
            index = current.add(record, now_seconds if kind is not None else None)
            if kind == "oom_kill":
                current.names.append(index)
        elif kind in _OPENS:
            window = self._new()
            window.names.append(window.add(record, now_seconds))
        return []

    def tick(self, now_seconds: float, most: int | None = None) -> list[LiveEvent]:
        """
        Return the events that are complete by now, or have become more complete; of at most *most* reports.

        Explaining a report takes longer than telling a kill: whoever is in a hurry asks for one, and reads the log
        before asking for the next.
        """
        if self._current is not None and now_seconds >= self._current.due_seconds:
            self._supersede()
        events = []
        count = len(self._ready) if most is None or len(self._ready) > MAX_READY else most
        for _ in range(min(count, len(self._ready))):
            window = self._ready.popleft()
            events += self._finish(window)
            self._recent.append(window)
        for key, (due, window) in list(self._dirty.items()):
            if now_seconds >= due:
                del self._dirty[key]
                events += self._finish(window)
        while self._recent and self._is_late(self._recent[0], now_seconds):
            self._recent.popleft()
        return events

    def _is_late(self, window: _Window, now: float) -> bool:
        """Whether no more lines of *window* are expected: by our clock, or by the log's own in a backlog."""
        if id(window) in self._dirty:
            return False
        newest, last = self._newest_us, window.last_us
        return (
            now >= window.last_seconds + LATE_SECONDS
            or (newest is not None and last is not None and newest > last + LATE_SECONDS * 1e6)
            or sum(w.bytes for w in self._recent) > MAX_RECENT_BYTES
        )

    def flush(self) -> list[LiveEvent]:
        """Return what is still open, as it is: the source has ended."""
        return self.tick(float("inf"))

    def due_seconds(self) -> float | None:
        """When :meth:`tick` has something to do, on the clock handed in; ``None`` = not before the next record."""
        times = [due for due, _ in self._dirty.values()]
        if self._ready:
            times.append(float("-inf"))
        if self._current is not None:
            times.append(self._current.due_seconds)
        if self._recent:
            times.append(self._recent[0].last_seconds + LATE_SECONDS)
        return min(times, default=None)

    def expects(self, now_seconds: float) -> bool:
        """Whether the kill line of the report that is being printed should come in this moment."""
        current = self._current
        return current is not None and not current.satisfied and now_seconds < current.last_seconds + PRINT_SECONDS

    @property
    def busy(self) -> bool:
        """Whether lines are waiting that may still name victims."""
        return self._current is not None or bool(self._ready or self._dirty)

    def low_water(self) -> int | str | None:
        """
        Position of the oldest record whose event is not complete: read again from there after a crash. ``None`` = none.

        Windows kept for late lines do not count: a storm would have to be read again from ten seconds ago.
        """
        waiting = [*(w for _, w in self._dirty.values()), *self._ready]
        waiting += [self._current] if self._current is not None else []
        if not waiting:
            return self._prefix.position if self._prefix else None
        order = [*self._recent, *waiting]  # in the order of the log
        return next(w for w in order if w in waiting).records[0].position

    # -- lines that decide --------------------------------------------------------------------------------------------

    def _on_kill(self, record: LogRecord, text: str, now: float) -> list[LiveEvent]:
        match = KILL.search(text)
        assert match is not None
        pid = int(match["pid"])
        window = self._current
        announced = match["ed"] is None
        member = window is not None and window.group and window.quiet_us(record) <= GROUP_SETTLE_SECONDS * 1e6
        if window is None or (window.satisfied and not member) or window.closed:
            window = self._late_group(pid, now) if window is None and not announced else None
            window = window or self._new()
        index = window.add(record, now)
        if announced:
            window.names.append(index)
            return []
        window.kills += 1
        window.pids.add(pid)
        if window.told:
            self._mark_dirty(window, now)
        if self._cgroup_of is not None and self._fresh and (path := self._cgroup_of(pid)) is not None:
            window.cgroups[record.time_us, pid] = path
        if not self._fresh or (window.group and window.kills > 1):
            return []  # told with the first of the group; this one comes with the complete event
        lines = [window.records[i] for i in window.names[-3:]]
        few = _Window([*lines, record], cgroups=window.cgroups, replay=window.replay)
        return [event for event in self._events(few, Stage.PROVISIONAL) if any(k.pid == pid for k in event.kills)][:1]

    def _late_group(self, pid: int, now: float) -> _Window | None:
        """The finished window whose group kill goes on behind a slow console."""
        last = self._recent[-1] if self._recent else None
        if last is not None and last.group and now <= last.last_seconds + OPEN_SECONDS and pid not in last.pids:
            return last
        return None

    def _on_reaper(self, record: LogRecord, text: str, now: float) -> None:
        match = _REAPER_PID.search(text)
        pid = int(match[1]) if match else None
        current = (self._current,) if self._current is not None else ()
        for window in (*current, *self._ready, *reversed(self._recent)):
            if pid in window.pids:
                window.add(record, now if window is self._current else None)
                if window.told:
                    self._mark_dirty(window, now)
                return
        if self._current is not None and not self._current.satisfied:
            self._current.add(record, None)
            return
        window = self._new()
        window.closed = True
        window.add(record, now)

    def _on_tail(self, record: LogRecord, kind: str, text: str, now: float) -> None:
        if kind == "panic" and not _OOM_PANIC.search(text):
            return
        window = self._current
        if window is None and self._recent and now <= self._recent[-1].last_seconds + SETTLE_SECONDS + 1:
            window = self._recent[-1]
            self._mark_dirty(window, now)
        if window is None:
            window = self._new()
        window.add(record, now)
        window.group |= kind == "group"
        window.closed |= kind in {"no_killable", "panic"} or (kind == "exiting" and window.kills == 0)

    def _feed_killer(self, record: LogRecord, now: float) -> None:
        """A line of a userspace killer (systemd-oomd, earlyoom, …): no report, an event by itself."""
        window = _Window(closed=True, replay=self._replay)
        if record.text.rstrip().endswith("to the victim"):  # nohang: who that is stands in the lines before
            for line in self._said:
                window.add(line, None)
            self._said.clear()
        else:
            self._said.append(record)
        window.add(record, now)
        self._ready.append(window)

    def _new(self) -> _Window:
        self._supersede()
        self._current = _Window(replay=self._replay)
        if self._prefix is not None:
            self._current.add(self._prefix, None)
            self._prefix = None
        return self._current

    def _supersede(self) -> None:
        if self._current is not None:
            self._ready.append(self._current)
            self._current = None

    def _mark_dirty(self, window: _Window, now: float) -> None:
        self._dirty[id(window)] = (now + SETTLE_SECONDS, window)

    # -- out ----------------------------------------------------------------------------------------------------------

    def _finish(self, window: _Window) -> list[LiveEvent]:
        events = list(self._events(window, Stage.UPDATE if window.told else Stage.COMPLETE))
        window.told = True
        return events

    def _events(self, window: _Window, stage: Stage) -> Iterator[LiveEvent]:
        records = window.records
        raw = b"".join(r.raw for r in records)
        for report in parse_text(raw, records[0].source, clock=self.clock):
            if window.cut:
                text = f"{window.cut} lines were left out: the report is too long"
                report.notes.append(Note("window_full", None, text))
            yield self._event(report, window, raw, stage)

    def _event(self, report: OomReport, window: _Window, raw: bytes, stage: Stage) -> LiveEvent:
        records = window.records
        first = records[min(max(report.source.first_line - 1, 0), len(records) - 1)]
        boot = report.when.boot_id = first.boot_id
        kills = []
        for victim in report.victims:
            at = records[victim.line - 1] if victim.line and victim.line <= len(records) else first
            kills.append(Kill(kill_id(boot, at.time_us, victim.pid), victim.pid, victim.comm, at.time_us))
            path = window.cgroups.get((at.time_us, victim.pid))
            if path is not None and report.task_memcg is None:
                report.task_memcg = path
                text = "the cgroup was read from /proc as the process died"
                report.notes.append(Note("cgroup_from_proc", None, text))
        killed = report.killed[0].pid if report.killed else None
        event_id = kills[0].kill_id if kills else kill_id(boot, first.time_us, killed, report.kind.value)
        incident = explain_report(report)
        return LiveEvent(
            event_id, stage, incident, tuple(kills), boot, kills[0].time_us if kills else first.time_us, first.source,
            raw, weigh(incident), window.replay, max(window.kills - len(kills), 0) if window.group else 0,
        )  # fmt: skip
