"""
All sources on one epoll, merged into one stream of events: each kill told once, within milliseconds.

The log (/dev/kmsg, the journal) tells who died and why. The tracepoint and the counters check it, and stand in for it
where it cannot be read. Nothing is decided here: sources read, :mod:`oomsight.live` decides, ``emit`` tells.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from oomsight.daemons.charging import AGAIN_SECONDS, Charging
from oomsight.live.counters import CgroupChange, CrossCheck, Finding, judge_cgroup
from oomsight.live.events import LiveEvent, LogRecord, Registry, Stage
from oomsight.live.health import Health, SourceHealth
from oomsight.live.merge import PRINT_SECONDS, Merger
from oomsight.live.silent import Mark, event_of_count, event_of_mark
from oomsight.naming.marked import unmark
from oomsight.report import Clock
from oomsight.sources.cgroup_events import CgroupEvents, watch_cgroups
from oomsight.sources.errors import SourceError
from oomsight.sources.journal_follow import JournalFollow
from oomsight.sources.kmsg import DEVICE
from oomsight.sources.kmsg_follow import KmsgFollow, follow_kmsg
from oomsight.sources.mark_victim import MarkVictim, follow_marks
from oomsight.sources.vmstat import read_boot_id, read_cgroup, read_oom_kill

CHECK_SECONDS: Final = 10.0  #: between two looks at the kernel's own count
RECHECK_SECONDS: Final = 1.0  #: while it differs
COUNT_SECONDS: Final = 0.02  #: from a notice of a cgroup to reading its counters; those of a burst are read once
RECENT_SECONDS: Final = 10.0  #: that a kill may have happened ago to be found in counters by what they grew

Position = tuple[str | None, str, str]
"""Boot, where to read on, how far it was read (texts, as the store keeps them)."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Which sources to use; one that cannot be used is said and left out."""

    kmsg: bool = True
    journal: bool = True
    cgroups: bool = True
    tracepoint: bool = True
    history: bool = True  #: also what the log held before we began to look
    proc: str = "/proc"
    kmsg_path: str = DEVICE
    journal_directory: str | None = None


@dataclass(slots=True)
class Detector:
    """
    Opens the sources, then :meth:`poll` in a loop.

    ``emit`` gets every event that is news, ``note`` every remark; both at once, on the calling thread.
    """

    sources: Sources
    emit: Callable[[LiveEvent], None]
    note: Callable[[Finding], None]
    registry: Registry = field(default_factory=Registry)
    resume: dict[str, Position] = field(default_factory=dict)
    known_kills: int = 0  #: of this boot, in the store
    unseen: int | None = None  #: see :class:`~oomsight.live.counters.CrossCheck`

    health: Health = field(init=False)
    boot_id: str | None = field(init=False, default=None)
    check: CrossCheck = field(init=False)
    _epoll: select.epoll = field(init=False, default_factory=select.epoll)
    _on_fd: dict[int, Callable[[], None]] = field(init=False, default_factory=dict)
    _mergers: dict[str, Merger] = field(init=False, default_factory=dict)
    _kmsg: KmsgFollow | None = field(init=False, default=None)
    _journal: JournalFollow | None = field(init=False, default=None)
    _cgroups: CgroupEvents | None = field(init=False, default=None)
    _marks: MarkVictim | None = field(init=False, default=None)
    _unmatched: dict[int, tuple[float, Mark]] = field(init=False, default_factory=dict)
    _first_us: int | None = field(init=False, default=None)
    _check_at: float = field(init=False, default=0.0)
    _journal_at: float | None = field(init=False, default=None)
    _seen_seq: int | None = field(init=False, default=None)
    _lost_told: int = field(init=False, default=0)
    _counted: int | None = field(init=False, default=None)
    _charging: Charging = field(init=False)
    _cgroups_at: float = field(init=False, default=0.0)
    _safe: dict[str, Position] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._charging = Charging(self.sources.proc, self._count)
        self.health = Health(time.time())
        self.check = CrossCheck(self.unseen)
        self.boot_id = read_boot_id(self.sources.proc)

    # -- life ---------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open what can be opened; what cannot is in ``health`` with the reason, one line each."""
        wanted = self.sources
        for name, use, opener in (
            (DEVICE, wanted.kmsg, self._open_kmsg),
            ("journal", wanted.journal, self._open_journal),
            (MarkVictim.name, wanted.tracepoint, self._open_marks),
            (CgroupEvents.name, wanted.cgroups, self._open_cgroups),
        ):
            if not use:
                continue
            try:
                opener()
                self.health.sources[name] = SourceHealth(name, True)
            except SourceError as error:
                words = f"{error.what}{f'; to use it: {error.hint}' if error.hint else ''}"
                self.health.sources[name] = SourceHealth(name, False, words)
        if self._kmsg is not None:
            self._read_kmsg()

    def close(self) -> None:
        """Close all sources. What was not complete stays before the saved position and is read again next time."""
        for source in (self._kmsg, self._journal, self._cgroups, self._marks):
            if source is not None:
                with suppress(OSError):
                    source.close()
        self._epoll.close()

    def watch(self, fd: int, call: Callable[[], None]) -> None:
        """Have *call* called by :meth:`poll` when *fd* is readable (signals)."""
        self._epoll.register(fd, select.EPOLLIN)
        self._on_fd[fd] = call

    @property
    def log_readable(self) -> bool:
        """Whether some kernel log can be read; without one, counters and tracepoint are all there is."""
        return self._kmsg is not None or (self._journal is not None and self._journal_at is None)

    @property
    def quiet(self) -> bool:
        """Whether what the logs held is read to its end and nothing of it is waited for or kept for late lines."""
        drained = self._kmsg is None or self._kmsg.drained
        return drained and all(merger.due_seconds() is None for merger in self._mergers.values())

    @property
    def unseen_kills(self) -> int | None:
        """
        How many more than the store's kills the kernel has counted in this boot, for the next start: what was there
        before us, and what it counts twice. ``None`` = not known yet.
        """
        unseen = self.check.unseen
        return None if unseen is None else unseen + self.registry.repeats[self.boot_id]

    def positions(self) -> dict[str, Position]:
        """Return where each log must be read on from, so that nothing is lost if we die now."""
        if self._charging.holding:
            return self._safe
        found: dict[str, Position] = {}
        if self._kmsg is not None and self._kmsg.next_seq is not None:
            low, read = self._mergers[DEVICE].low_water(), str(self._kmsg.next_seq)
            found[DEVICE] = (self.boot_id, str(low) if low is not None else read, read)
        if self._journal is not None and self._journal.cursor is not None:
            low = self._mergers["journal"].low_water()
            found["journal"] = (None, str(low) if low is not None else self._journal.cursor, self._journal.cursor)
        self._safe = found
        return found

    def poll(self, timeout_seconds: float | None = None) -> None:
        """Wait for the next thing to happen, at most *timeout_seconds*, and tell what came of it."""
        ready = [fd for fd, _ in self._epoll.poll(self._wait(timeout_seconds))]
        if self._kmsg is not None and self._kmsg.fd in ready:  # who died first, all else later
            self._read_kmsg()
            ready.remove(self._kmsg.fd) if self._kmsg is not None else ready.clear()
        for fd in ready:
            if fd in self._on_fd:
                self._on_fd[fd]()
        now = time.monotonic()
        for merger in self._mergers.values():
            # A kill line that is about to come is told before an older report is explained.
            for event in merger.tick(now, most=0 if self._expecting(now) else 1):
                self._take(event)
        if self._cgroups is not None and self._cgroups.pending and now >= self._cgroups_at:
            for change in self._cgroups.settle():
                self._on_change(change)
        for event in self._charging.release(now):
            self._tell(event)
        if self._journal_at is not None and now >= self._journal_at and self._journal is not None:
            self._start_journal(self._journal)
        if now >= self._check_at:
            self._check_counters()

    def drain(self) -> None:
        """Read all that is there and tell what is open, complete or not: the end of ``--replay``-like runs."""
        while self._kmsg is not None and not self._kmsg.drained:
            self._read_kmsg()
        for merger in self._mergers.values():
            for event in merger.flush():
                self._take(event)
        for event in self._charging.release(float("inf")):
            self._tell(event)

    def _wait(self, timeout: float | None) -> float:
        now = time.monotonic()
        due = [self._check_at, *(d for m in self._mergers.values() if (d := m.due_seconds()) is not None)]
        if self._expecting(now):
            due = [max(moment, now + PRINT_SECONDS) for moment in due]
        if self._cgroups is not None and self._cgroups.pending:
            due.append(self._cgroups_at)
        if self._journal_at is not None:
            due.append(self._journal_at)
        if self._charging.holding:
            due.append(now + AGAIN_SECONDS)
        wait = max(min(due) - now, 0.0)
        if self._kmsg is not None and not self._kmsg.drained:
            return 0.0
        return wait if timeout is None else min(wait, timeout)

    def _expecting(self, now: float) -> bool:
        return any(merger.expects(now) for merger in self._mergers.values())

    # -- sources ------------------------------------------------------------------------------------------------------

    def _open_kmsg(self) -> None:
        boot, position, seen = self.resume.get(DEVICE, (None, "", ""))
        again = boot == self.boot_id and position.isdigit() and seen.isdigit()
        self._seen_seq = int(seen) if again else None
        self._kmsg = follow_kmsg(
            int(position) if again else "oldest" if self.sources.history else "new", boot_id=self.boot_id,
            seen_seq=int(seen) if again else 0, path=self.sources.kmsg_path,
        )  # fmt: skip
        self._mergers[DEVICE] = Merger(self._clock(), self._charging.cgroup_of)
        self.watch(self._kmsg.fileno(), self._read_kmsg)

    def _open_journal(self) -> None:
        cursor = self.resume.get("journal", (None, "", ""))[1] or None
        journal = JournalFollow(cursor, only_new=not self.sources.history, directory=self.sources.journal_directory)
        self._mergers["journal"] = Merger(Clock(reference=datetime.now()))  # noqa: DTZ005 - naive, like undated logs
        self._journal = journal
        self._start_journal(journal)

    def _start_journal(self, journal: JournalFollow) -> None:
        journal.start()
        self._journal_at = None
        self.watch(journal.fileno(), self._read_journal)

    def _open_marks(self) -> None:
        self._marks = follow_marks()
        self.watch(self._marks.fileno(), self._read_marks)

    def _open_cgroups(self) -> None:
        self._cgroups = self._charging.cgroups = watch_cgroups(self.sources.proc)
        for fd in self._cgroups.filenos:
            self.watch(fd, self._read_cgroups)

    def _read_kmsg(self) -> None:
        kmsg = self._kmsg
        if kmsg is None:
            return
        health = self.health.sources.get(DEVICE)
        first = self._first_us is None
        try:
            records = kmsg.read()
        except OSError as error:
            self._epoll.unregister(kmsg.fd)
            self._kmsg = None
            if health is not None:
                health.usable, health.words = False, f"{error.strerror} while reading"
            self.note(Finding("source_lost", f"{kmsg.name}: {error.strerror}; it is no longer watched"))
            return
        if kmsg.fresh:
            self._charging.catch(records)
        if first and records:
            self._first_us = records[0].time_us
        self._mergers[DEVICE].clock = self._clock()
        for record in records:
            # What an earlier run has not read is news, though it is old; without one, all that was there is replay.
            replay = not kmsg.fresh and (self._seen_seq is None or int(record.position) < self._seen_seq)
            self._feed(DEVICE, record, fresh=kmsg.fresh, replay=replay)
        if kmsg.lost > self._lost_told:
            count, self._lost_told = kmsg.lost - self._lost_told, kmsg.lost
            text = f"{kmsg.name}: the kernel overwrote {count:,} records before they were read"
            self.note(Finding("records_lost", text, {"records": count, "overruns": kmsg.overruns}))
        if health is not None:
            health.records, health.lost, health.overruns = kmsg.records, kmsg.lost, kmsg.overruns

    def _read_journal(self) -> None:
        journal = self._journal
        if journal is None:
            return
        records = journal.read()
        if records is None:
            fd = journal.fileno()
            with suppress(OSError, KeyError):
                self._epoll.unregister(fd)
                del self._on_fd[fd]
            self._journal_at = journal.retry_seconds()
            return
        resumed = bool(self.resume.get("journal"))
        for record in records:
            if not self._told_by_kmsg(record):
                fresh = record.wall_us is None or record.wall_us / 1e6 >= self.health.started - 1
                self._feed("journal", record, fresh=fresh, replay=not fresh and not resumed)
        health = self.health.sources.get("journal")
        if health is not None:
            health.records, health.restarts = journal.records, journal.restarts

    def _told_by_kmsg(self, record: LogRecord) -> bool:
        """A kernel record that /dev/kmsg gives too, whole: it need not be parsed twice."""
        kmsg = self._kmsg
        if kmsg is None or kmsg.lost or record.killer or record.boot_id != self.boot_id:
            return False
        return record.time_us is not None and self._first_us is not None and record.time_us >= self._first_us

    def _feed(self, name: str, record: LogRecord, *, fresh: bool, replay: bool) -> None:
        for event in self._mergers[name].feed(record, time.monotonic(), fresh=fresh, replay=replay):
            self._take(event)

    def _read_marks(self) -> None:
        if self._marks is None:
            return
        now = time.monotonic()
        for mark in self._marks.read():
            if self.log_readable:
                self._unmatched[mark.pid] = (now, mark)
            else:
                self._take(self._marked(mark, read_cgroup(mark.pid, self.sources.proc)))

    def _marked(self, mark: Mark, cgroup: str | None) -> LiveEvent:
        return event_of_mark(mark, self.boot_id, _now(), cgroup)

    def _read_cgroups(self) -> None:
        if self._cgroups is not None:
            for change in self._cgroups.notice():
                self._on_change(change)
            self._cgroups_at = time.monotonic() + COUNT_SECONDS

    def _count(self) -> None:
        if self._cgroups is not None:
            for change in self._cgroups.moved():
                self._on_change(change)

    def _on_change(self, change: CgroupChange) -> None:
        self._charging.grew(change)
        readable = self.log_readable or self._marks is not None
        finding = judge_cgroup(change, log_readable=readable)
        if finding is not None:
            self.note(finding)
        if not readable and change.grown.get("oom_kill"):
            us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            self._take(event_of_count(change, self.boot_id, _now(), us))

    # -- out ----------------------------------------------------------------------------------------------------------

    def _take(self, event: LiveEvent) -> None:
        for kill in event.kills:
            if kill.pid is not None:
                self._unmatched.pop(kill.pid, None)
        admitted = self._charging.admit(event) if self._is_recent(event) else event
        if admitted is not None:
            self._tell(admitted)

    def _is_recent(self, event: LiveEvent) -> bool:
        """Whether the counters have grown by *event* since we watch them: it has just happened."""
        if event.replayed or event.time_us is None or self._kmsg is None or event.boot_id != self.boot_id:
            return False
        return time.time() - (self._kmsg.boot_wall_us + event.time_us) / 1e6 < RECENT_SECONDS

    def _tell(self, event: LiveEvent) -> None:
        news = self.registry.admit(event)
        if news is None:
            return
        self.health.kills = self.registry.kills.total()
        if news.stage is Stage.COMPLETE:
            self.health.events += 1
        self.health.last_event = time.time()
        self._check_at = min(self._check_at, time.monotonic() + RECHECK_SECONDS)
        self.emit(news)

    def _check_counters(self) -> None:
        """Compare the kernel's count with ours, at a moment when the log is read to its end and nothing is open."""
        now = time.monotonic()
        self._check_at = now + CHECK_SECONDS
        before = read_oom_kill(self.sources.proc)
        if before is None or not self.log_readable:
            return
        if self._kmsg is not None:
            self._read_kmsg()
            if not self._kmsg.drained or read_oom_kill(self.sources.proc) != before:
                self._check_at = now + RECHECK_SECONDS
                return
        if any(merger.busy for merger in self._mergers.values()):
            self._check_at = now + RECHECK_SECONDS
            return
        # v1 notices come before the kill, so counters are read again; 10,000 of them only when something was killed.
        moved, self._counted = before != self._counted, before
        if moved and self._cgroups is not None and self._cgroups.hierarchy.version == 1:
            self._count()
        seen = self.known_kills + self.registry.kills[self.boot_id] + self.registry.repeats[self.boot_id]
        lost = self._kmsg.lost if self._kmsg is not None else 0
        reasons = [f"{lost:,} records were overwritten before they were read"] if lost else []
        waiting = self.check.unseen is not None and before - seen - self.check.unseen > self.check.missed
        finding = self.check.observe(before, seen, now, reasons)
        self.health.missed = self.check.missed
        if finding is not None:
            self.note(finding)
            if finding.code == "kills_not_in_log":
                self._tell_unmatched(now)
        elif waiting:
            self._check_at = now + RECHECK_SECONDS

    def _tell_unmatched(self, now: float) -> None:
        """Kills the log does not show: the tracepoint knows their names."""
        for pid, (since, mark) in list(self._unmatched.items()):
            if now - since >= CHECK_SECONDS:
                del self._unmatched[pid]
            elif now - since >= RECHECK_SECONDS:
                del self._unmatched[pid]
                self._take(self._marked(mark, None))

    def _clock(self) -> Clock:
        kmsg = self._kmsg
        if kmsg is None:
            return Clock()
        return Clock(boot=datetime.fromtimestamp(kmsg.boot_wall_us / 1e6, UTC).astimezone())


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="microseconds")


def missing_words(health: Health) -> list[str]:
    """Return one plain line per source that cannot be used."""
    return [unmark(line) for line in health.missing()]
