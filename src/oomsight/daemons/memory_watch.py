"""
Memory alarms at work: samples in, alerts out, on a thread of their own.

:class:`MemoryFeed` is the seam: whoever takes samples (the thread here, the recorder) hands it readings and gets event
documents. :class:`MemoryWatch` is the sampler that is always there: slow while nothing grows, dense while something
does, and awake at once when the kernel reports pressure.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from oomsight.alarms.culprit import Blame, Census, Who, blame
from oomsight.alarms.event import headline, memory_event
from oomsight.alarms.judge import Change, judge, still
from oomsight.alarms.state import HOST, State
from oomsight.sinks import alarm_file
from oomsight.sinks.even_clock import ClockSteps, boot_seconds
from oomsight.sources.memory_reading import MemoryReader
from oomsight.sources.psi_trigger import open_trigger
from oomsight.sources.vmstat import read_boot_id

if TYPE_CHECKING:
    from oomsight.alarms.reading import Reading
    from oomsight.alarms.table import Limits
    from oomsight.proc.process import Process

CALM_SECONDS: Final = 5.0  #: between two readings while nothing is wrong
DENSE_SECONDS: Final = 1.0  #: while something is suspected
CALM_SHARE: Final = 0.0008  #: of a core that calm readings may take …
DENSE_SHARE: Final = 0.02  #: … and dense ones; beyond it they come later, …
CALM_MOST_SECONDS: Final = 20.0  #: … but no later than this, however slow the machine: a leak may have a minute to live
DENSE_MOST_SECONDS: Final = 5.0
PRESSED_SECONDS: Final = 10.0  #: dense for so long after the kernel reported pressure, or a cgroup leaped
STILL_SECONDS: Final = 600.0
SAVE_SECONDS: Final = 60.0  #: so that who reads the file knows that we live
HELD_SECONDS: Final = 5.0  #: … and how bad it is now, while an alert is held
CENSUS_SECONDS: Final = 10.0  #: between two counts of one suspect, at least; one that cost more is kept for longer
CENSUS_SHARE: Final = 0.02
COMPARED_SECONDS: Final = 300.0  #: growth is told over so long at most

Publish = Callable[[dict[str, Any]], None]
"""Gets each event document, on the thread of whoever feeds."""
Names = Callable[[str], Mapping[str, Any]]
"""Path of a cgroup -> what is known of it (:func:`oomsight.sinks.attribution.attribution_dict`)."""


class MemoryFeed:
    """
    Readings in, events out. *names* tells what is known of a cgroup; *file* keeps the state (``None`` = memory only).
    """

    def __init__(
        self, limits: Limits, publish: Publish, reader: MemoryReader, *, names: Names | None = None,
        file: str | None = None, say: Callable[[str], None] = lambda _: None, boot_id: str | None = None,
        clock: Callable[[], float] = time.time, steady: Callable[[], float] = boot_seconds,
    ) -> None:  # fmt: skip
        self.limits = limits
        self.suspects: tuple[str, ...] = ()
        self._publish, self._reader, self._names, self._say = publish, reader, names, say
        self._file, self._boot_id, self._clock, self._steps = file, boot_id, clock, ClockSteps(clock, steady)
        self._state = alarm_file.load_state(file) if file is not None else State()
        self._told: dict[str, tuple[Blame | None, Mapping[str, Any] | None]] = {}  #: by alert: who was named
        self._counts: dict[str, list[Census]] = {}
        self._cost: dict[str, float] = {}
        self._spoke = self._saved = clock()
        self._save_failed = False

    def take(self, reading: Reading) -> None:
        """Judge one reading and publish what came of it."""
        if step := self._steps.since_last():
            self._move(step)
        now = self._clock()
        known = {key for key, subject in self._state.subjects.items() if subject.alert_id is not None} - {HOST}
        there = {memcg.path for memcg in reading.cgroups} | set(reading.gone)
        gone = [path for path in known - there if self._is_gone(path)]
        if gone:
            reading = replace(reading, gone=(*reading.gone, *gone))
        verdict = judge(reading, self.limits, self._state, now)
        self.suspects = verdict.suspects
        for subject in [subject for subject in self._counts if subject not in verdict.suspects]:
            del self._counts[subject]
        for change in verdict.changes:
            self._tell(change, now)
        for subject in verdict.suspects:
            self._count(subject, now)
        if now - self._spoke >= STILL_SECONDS or now < self._spoke:
            self._spoke = now
            for change in still(self._state):
                self._tell(change, now)
        held = any(subject.alert_id is not None for subject in self._state.subjects.values())
        if verdict.changes or now - self._saved >= (HELD_SECONDS if held else SAVE_SECONDS) or now < self._saved:
            self.save()

    def active(self) -> list[dict[str, Any]]:
        """The alerts held now, as :func:`oomsight.sinks.alarm_file.load_alerts` reads them."""
        found = []
        for change in still(self._state):
            culprit, names = self._told.get(change.alert_id, (None, None))
            found.append({
                "subject": change.subject or "host", "severity": change.severity, "since": change.raised,
                "text": headline(change, culprit, names), "codes": [reason.code for reason in change.reasons],
            })  # fmt: skip
        return found

    def save(self) -> None:
        """Write the state."""
        self._saved = self._clock()
        if self._file is None:
            return
        try:
            alarm_file.save(self._file, self._state, self.active(), self._saved)
            self._save_failed = False
        except OSError as error:
            if not self._save_failed:
                self._say(f"alarms: {self._file}: {(error.strerror or str(error)).lower()}; alerts are not kept")
            self._save_failed = True

    # -----------------------------------------------------------------------------------------------------------------

    def _move(self, step: float) -> None:
        """The clock was set: what is going on has not become older by it."""
        self._state.move(step)
        self._spoke += step
        self._saved = float("-inf")  # whoever reads the file takes its age by the clock as it stands
        for counts in self._counts.values():
            counts[:] = [replace(count, at=count.at + step) for count in counts]

    def _is_gone(self, path: str) -> bool:
        tree = self._reader.tree()
        return tree is not None and not os.path.isdir(tree.directory(path) or "")

    def _count(self, subject: str, now: float) -> Census | None:
        """Count who is in a suspect, as often as that is worth its cost."""
        counts = self._counts.setdefault(subject, [])
        if counts and now - counts[-1].at < max(CENSUS_SECONDS, self._cost.get(subject, 0.0) / CENSUS_SHARE):
            return None
        census, _ = self._census(subject, now)
        counts.append(census)
        while len(counts) > 1 and counts[1].at <= now - COMPARED_SECONDS:
            counts.pop(0)
        return census

    def _census(self, subject: str, now: float) -> tuple[Census, tuple[Process, ...]]:
        begin = time.thread_time()
        census, processes = self._reader.census(subject, now)
        own = os.getpid()
        census = replace(census, holders=[holder for holder in census.holders if holder.pid != own])
        self._cost[subject] = time.thread_time() - begin
        return census, processes

    def _tell(self, change: Change, now: float) -> None:
        found: Blame | None = None
        victim: Who | None = None
        if change.moment in {"raised", "changed", "still"} and not change.gone:
            census, processes = self._census(change.subject, now)
            before = next((count for count in self._counts.get(change.subject, ()) if count.at < now), None)
            found = blame(before, census)
            victim = _victim(change.subject, processes, self._reader)
        names = self._names(change.subject) if self._names is not None and change.subject != HOST else None
        seen = datetime.fromtimestamp(now, UTC).astimezone().isoformat(timespec="microseconds")
        if change.moment == "cleared":
            self._told.pop(change.alert_id, None)
        else:
            self._told[change.alert_id] = (found, names)
        self._publish(memory_event(change, found, seen, self._boot_id, names=names, victim=victim))


def _victim(subject: str, processes: tuple[Process, ...], reader: MemoryReader) -> Who | None:
    """Who would be killed first of *processes*, by the kernel's rules."""
    from oomsight.score.model import Snapshot
    from oomsight.score.ranking import rank_cgroup, rank_host
    from oomsight.score.rules import recognise
    from oomsight.sources.errors import SourceError
    from oomsight.sources.proctree import ProcTree

    try:
        machine = ProcTree(reader.proc).machine()
    except SourceError:
        return None
    tree = reader.tree() if subject != HOST else None
    chain = tree.chain(subject) if tree is not None else {}
    snapshot = Snapshot(machine=machine, processes=processes, cgroups=chain)
    rules = recognise(machine, processes)
    ranking = rank_host(snapshot, rules) if subject == HOST else rank_cgroup(snapshot, rules, subject, processes)
    first = ranking.victim
    if first is None:
        return None
    pages = first.rss_pages + first.swap_pages + first.pgtables_pages
    return Who("process", first.process.comm, pages * (machine.page_size >> 10), 0, first.process.pid)


class MemoryWatch:
    """The sampler: a thread that reads, feeds and waits. :meth:`reload` changes the limits."""

    def __init__(self, feed: MemoryFeed, reader: MemoryReader, say: Callable[[str], None] = lambda _: None) -> None:
        self.feed = feed
        self._reader, self._say = reader, say
        self._stop_read, self._stop_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._failed = False
        self._pressed = 0.0  #: monotonic moment until which pressure or a leap keeps us dense
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, and keep the state."""
        os.write(self._stop_write, b"x")
        if self._thread.is_alive():
            self._thread.join(5)
        with suppress(OSError):
            os.close(self._stop_read)
            os.close(self._stop_write)
        self.feed.save()

    def reload(self, limits: Limits) -> None:
        """Use *limits* from the next reading on."""
        self.feed.limits = limits

    def turn(self) -> float:
        """One reading; return how many seconds to wait for the next."""
        begin = time.thread_time()
        self.feed.take(self._reader.read(self.feed.suspects))
        if self._reader.leaped:
            self._pressed = time.monotonic() + PRESSED_SECONDS
        cost = time.thread_time() - begin
        dense = bool(self.feed.suspects) or time.monotonic() < self._pressed
        if dense:
            return min(max(DENSE_SECONDS, cost / DENSE_SHARE), DENSE_MOST_SECONDS)
        return min(max(CALM_SECONDS, cost / CALM_SHARE), CALM_MOST_SECONDS)

    def _run(self) -> None:
        poll, stop = select.poll(), select.poll()
        poll.register(self._stop_read, select.POLLIN)
        stop.register(self._stop_read, select.POLLIN)
        trigger = open_trigger(f"{self._reader.proc}/pressure/memory")
        if trigger is not None:
            poll.register(trigger, select.POLLPRI)
        try:
            while True:
                wait = CALM_SECONDS
                try:
                    wait = self.turn() if self.feed.limits.enabled else CALM_SECONDS
                    self._failed = False
                except Exception as error:  # a file that says nonsense must not end the alarms
                    if not self._failed:
                        self._say(f"alarms: {type(error).__name__}: {error}")
                    self._failed = True
                for fd, event in poll.poll(wait * 1000):
                    if fd == self._stop_read:
                        return
                    if event & select.POLLERR:  # PSI was switched off
                        poll.unregister(fd)
                        continue
                    self._pressed = time.monotonic() + PRESSED_SECONDS
                    if stop.poll(DENSE_SECONDS * 500):  # the trigger may fire again at once
                        return
        finally:
            if trigger is not None:
                os.close(trigger)


def open_watch(
    limits: Limits, publish: Publish, *, names: Names | None = None, file: str | None = None,
    say: Callable[[str], None] = lambda _: None, proc: str = "/proc", cgroup_root: str | None = None,
) -> MemoryWatch:  # fmt: skip
    """A sampler with its feed, ready to start."""
    reader = MemoryReader(proc, cgroup_root=cgroup_root)
    feed = MemoryFeed(limits, publish, reader, names=names, file=file, say=say, boot_id=read_boot_id(proc))
    return MemoryWatch(feed, reader, say)
