"""The recorder's loop: sample, store, wait as long as the pace says."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Full, Queue
from typing import TYPE_CHECKING, Final

from oomsight.daemons.notify import Notifier
from oomsight.record.pace import CALM_SECONDS, DENSE_SECONDS, Filling, Pace, Reading, decide

if TYPE_CHECKING:
    from oomsight.sinks.history_store import HistoryStore
    from oomsight.sources.sampler import Sampler

BUSY_STATUS: Final = 75
"""Exit status of an agent's child while another recorder writes the history (EX_TEMPFAIL of sysexits.h)."""
SYNC_CALM_SECONDS: Final = 30.0  #: what a power cut may cost when calm, …
SYNC_DENSE_SECONDS: Final = 5.0  #: … and when memory is short

TIDY_SECONDS: Final = 600.0

Say = Callable[[str], None]


@dataclass(slots=True)
class Recorder:
    """One run; :meth:`run` returns when it is told to stop."""

    sampler: Sampler
    store: HistoryStore
    say: Say
    calm_seconds: float = CALM_SECONDS
    dense_seconds: float = DENSE_SECONDS
    most_samples: int | None = None
    notifier: Notifier = field(default_factory=Notifier)
    parent: int | None = None  #: ends when this is not its parent process any more

    samples: int = field(init=False, default=0)
    _stopping: bool = field(init=False, default=False)
    _pace: Pace = field(init=False, default_factory=Pace)
    _filling: Filling = field(init=False, default_factory=Filling)

    def run(self) -> None:
        """Sample until SIGTERM, SIGINT, the end of *most_samples* or of the parent."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        for line in self.sampler.remarks:
            self.say(line)
        syncer = _Syncer()
        synced = tidied = time.monotonic()
        due = time.monotonic()
        self.notifier.send("READY=1")
        told: str | None = None
        gc.disable()  # next to nothing here refers to itself in a circle: looking for that all the time is dear
        try:
            while True:
                pace = self.turn()
                if pace.reason != told:
                    told = pace.reason
                    self.notifier.send(f"STATUS=recording every {pace.wait_seconds:g} s{f': {told}' if told else ''}")
                self.notifier.send("WATCHDOG=1")
                now = time.monotonic()
                if now - synced >= (SYNC_CALM_SECONDS if pace.reason is None else SYNC_DENSE_SECONDS):
                    synced = now
                    syncer.give(self.store.sync())
                if now - tidied >= TIDY_SECONDS:
                    tidied = now
                    gc.collect()
                done = self.most_samples is not None and self.samples >= self.most_samples
                if self._stopping or done or (self.parent is not None and os.getppid() != self.parent):
                    return
                due = max(due + pace.wait_seconds, now)  # late is late: samples are not made up for
                self._wait(due - now)
                if self._stopping:
                    return
        finally:
            gc.enable()
            self.notifier.send("STOPPING=1")
            syncer.close()
            self.store.close()
            self._tell()
            self.sampler.close()

    def stop(self) -> None:
        """End :meth:`run` after the current turn."""
        self._stopping = True

    def turn(self) -> Pace:
        """One sample, stored. Return the pace."""
        boot = time.clock_gettime(time.CLOCK_BOOTTIME)
        change = self.sampler.sample(boot)
        self.store.write(int(boot * 1000), time.time_ns() // 1_000_000, change)
        self.samples += 1
        self._tell()
        self._pace = decide(self._pace, self._reading(boot), self.calm_seconds, self.dense_seconds)
        return self._pace

    def _tell(self) -> None:
        for line in self.store.remarks:
            self.say(line)
        self.store.remarks.clear()

    def _reading(self, now: float) -> Reading:
        value = self.sampler.host_value
        total, free = value("mem_total_bytes"), value("mem_available_bytes")
        growth = self._filling.feed(now, free) if free is not None else None
        psi = value("psi_some_pct")
        share = free / total if free is not None and total else None
        tightest, soonest, fresh = self.sampler.headroom(now)
        return Reading(now, share, psi, growth, tightest, soonest, value("oom_kill"), fresh)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stopping and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 1.0))  # a signal ends the sleep only if its handler raises


class _Syncer:
    """Gives files to the disk on a thread of its own: under pressure that may take seconds, and sampling goes on."""

    def __init__(self) -> None:
        self._todo: Queue[list[int] | None] = Queue(4)
        self._thread = threading.Thread(target=self._run, name="sync", daemon=True)
        self._thread.start()

    def give(self, fds: list[int]) -> None:
        try:
            self._todo.put_nowait(fds)
        except Full:
            for fd in fds:
                os.close(fd)

    def close(self) -> None:
        with suppress(Full):
            self._todo.put_nowait(None)
        self._thread.join(2.0)

    def _run(self) -> None:
        while (fds := self._todo.get()) is not None:
            for fd in fds:
                with suppress(OSError):
                    os.fdatasync(fd)
                os.close(fd)
