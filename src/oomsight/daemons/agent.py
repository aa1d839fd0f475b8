"""The agent: detector -> enrichment -> store and subscribers, with the manners of a daemon."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from oomsight.alerts.facts import facts_of
from oomsight.daemons import own_memory
from oomsight.daemons.config import Config, ConfigError
from oomsight.daemons.detector import Detector, Sources, missing_words
from oomsight.daemons.hub import Enricher, Hub, Subscriber
from oomsight.daemons.notify import Notifier
from oomsight.daemons.warm import warm_up
from oomsight.daemons.writer import StoreWriter
from oomsight.live.counters import Finding
from oomsight.live.events import REMEMBERED, LiveEvent, Registry
from oomsight.naming.marked import unmark
from oomsight.sinks.live_event import event_dict, note_dict
from oomsight.sinks.store import Store, StoreBusy, StoreError, default_path
from oomsight.sources import kmsg_early

POSITION_SECONDS: Final = 60.0  #: between two savings of where to read on while nothing happens

SWITCH_SECONDS: Final = 0.001  #: that the store or a channel may go on computing once a kill line wants to be read

Say = Callable[[str], None]
"""Writes one line to the log (stderr, which systemd keeps)."""


class Beside(Protocol):
    """Something that works beside detection, on a thread or in a process of its own."""

    def start(self) -> None:
        """Begin."""

    def close(self) -> None:
        """End, within seconds."""


@dataclass(slots=True)
class Agent:
    """One run of the agent; :meth:`run` returns when it is told to stop."""

    config: Config
    say: Say
    reload: Callable[[], Config] | None = None
    """Reads the configuration again; raises :class:`ConfigError`, and then the old one stays."""
    subscribers: Mapping[str, Subscriber] = field(default_factory=dict)
    enrichers: tuple[Enricher, ...] = ()
    refine: Callable[[dict[str, Any]], None] | None = None
    """Completes a document before it is stored; on the store's thread, so it may take a moment."""
    on_reload: tuple[Callable[[Config], None], ...] = ()
    notifier: Notifier = field(default_factory=Notifier)
    sources: Sources | None = None  #: ``None`` = as the configuration says
    beside: tuple[Beside, ...] = ()  #: started when detection runs, ended before the store is closed

    hub: Hub = field(init=False)
    detector: Detector = field(init=False)
    writer: StoreWriter | None = field(init=False, default=None)
    _stopping: bool = field(init=False, default=False)
    _reloading: bool = field(init=False, default=False)
    _saved: dict[str, Any] = field(init=False, default_factory=dict)
    _saved_at: float = field(init=False, default=0.0)
    _news: bool = field(init=False, default=False)
    _settled: bool = field(init=False, default=False)
    _trouble: str = field(init=False, default="ok")  #: or why the store could not be opened at the start

    def run(self) -> None:
        """Run until SIGTERM or SIGINT. Raises :class:`StoreBusy` when another agent writes the same store."""
        store = self._open_first()
        resume = store.positions() if store else {}
        self.hub = Hub(self.subscribers)
        self.detector = Detector(self._sources(), self._emit, self._note, resume=resume)
        if store is not None:
            self.detector.registry = Registry(store.known(REMEMBERED))
            self.detector.known_kills = store.kills(self.detector.boot_id)
            self.detector.check.unseen = store.unseen(self.detector.boot_id)
        if self.config["store.enabled"]:
            self.writer = StoreWriter(self._open_store, self.say, store, refine=self.refine, state=self._trouble)
        read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        before = self._handle_signals(write_end)
        try:
            self.detector.watch(read_end, lambda: self._on_signal(read_end))
            self.detector.open()
            kmsg_early.drop()  # nobody took it: it is not to be read, or only what comes
            warm_up()
            sys.setswitchinterval(SWITCH_SECONDS)
            for line in missing_words(self.detector.health):
                self.say(f"not used: {line}")
            for one in self.beside:
                one.start()
            self.notifier.send("READY=1", f"STATUS={self.detector.health.status()}")
            while not self._stopping:
                self._turn()
        finally:
            self.notifier.send("STOPPING=1")
            signal.set_wakeup_fd(before)
            self._close()
            os.close(read_end)
            os.close(write_end)

    def stop(self) -> None:
        """End :meth:`run` after the current turn."""
        self._stopping = True

    def memory(self, document: dict[str, Any]) -> None:
        """Take a memory alert (:mod:`oomsight.alarms.event`) from any thread: note it and tell everybody."""
        facts = facts_of(document)
        if self.writer is not None and facts is not None and document["moment"] != "still":
            finding = Finding(f"memory_{document['moment']}", facts.headline, {"alert": document["alert_id"]})
            self.writer.note(finding, time.time_ns() // 1000, self.detector.boot_id)
        self.hub.publish(document)

    # -----------------------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        if not self._settled and self.detector.quiet:
            self._settle()
        interval = self.notifier.interval_seconds
        due = self._saved_at + POSITION_SECONDS - time.monotonic()
        wait = max(due, 0.0) if self._positions() != self._saved else None
        self.detector.poll(interval if wait is None else wait if interval is None else min(wait, interval))
        self._save_positions()
        health = self.detector.health
        health.turned = time.monotonic()
        if self.writer is not None:
            health.store, health.queue, health.dropped = self.writer.state, len(self.writer), self.writer.dropped
        health.subscriber_errors = self.hub.errors()
        if interval is not None:
            self.notifier.send("WATCHDOG=1")
        if self._news:
            self._news = False
            self.notifier.send(f"STATUS={health.status()}")
        if self._reloading:
            self._reloading = False
            self._reload()

    def _settle(self) -> None:
        """The logs of the past are read: what is in memory now is what an agent needs."""
        self._settled = True
        own_memory.trim()
        if self.config["agent.lock_memory"] and (why := own_memory.lock()) is not None:
            self.say(f"its memory is not locked: {why}")

    def _positions(self) -> dict[str, Any]:
        return self.detector.positions() if self.writer is not None else {}

    def _save_positions(self) -> None:
        """With every event, else now and then: reading a little again costs nothing, events know each other."""
        positions = self._positions()
        now = time.monotonic()
        due = self._news or now >= self._saved_at + POSITION_SECONDS
        if self.writer is None or positions == self._saved or not due:
            return
        self.writer.positions(positions, self._unseen())
        self._saved, self._saved_at = positions, now

    def _unseen(self) -> dict[str, int]:
        unseen, boot = self.detector.unseen_kills, self.detector.boot_id
        return {boot: unseen} if unseen is not None and boot is not None else {}

    def _emit(self, event: LiveEvent) -> None:
        document = event_dict(event, _now())
        document["enrichment"] = self._enriched(document)
        if self.writer is not None:
            self.writer.event(event, document, time.time_ns() // 1000)
        self.hub.publish(document)
        self._news = True

    def _enriched(self, document: dict[str, Any]) -> dict[str, Any] | None:
        found: dict[str, Any] = {}
        for enricher in self.enrichers:
            try:
                found |= enricher(document) or {}
            except Exception as error:  # attribution must never cost an event
                self.say(f"enrichment failed: {type(error).__name__}: {error}")
        return found or None

    def _note(self, finding: Finding) -> None:
        self.say(unmark(finding.text))
        if self.writer is not None:
            self.writer.note(finding, time.time_ns() // 1000, self.detector.boot_id)
        self.hub.publish(note_dict(finding, _now(), self.detector.boot_id))

    def _sources(self) -> Sources:
        if self.sources is not None:
            return self.sources
        c = self.config
        return Sources(
            c["sources.kmsg"], c["sources.journal"], c["sources.cgroups"], c["sources.tracepoint"], c["sources.history"]
        )

    def _open_store(self) -> Store:
        days, mib = self.config["store.keep_days"], self.config["store.max_mib"]
        return Store(self.config["store.path"] or default_path(), max_age_days=days or None, max_bytes=mib << 20)

    def _open_first(self) -> Store | None:
        if not self.config["store.enabled"]:
            return None
        try:
            store = self._open_store()
        except StoreBusy:
            raise
        except StoreError as error:
            self.say(f"store: {error}; events are kept in memory until it can be written")
            self._trouble = str(error)
            return None
        for remark in store.remarks:
            self.say(remark)
        store.remarks.clear()
        return store

    def _handle_signals(self, write_end: int) -> int:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)  # the number arrives through the pipe, between two turns
        return signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)

    def _on_signal(self, read_end: int) -> None:
        with suppress(BlockingIOError):
            for number in os.read(read_end, 64):
                if number == signal.SIGHUP:
                    self._reloading = True
                else:
                    self._stopping = True

    def _reload(self) -> None:
        self.notifier.reloading()
        try:
            if self.reload is not None:
                self.config = self.reload()
                if self.writer is not None:
                    days, mib = self.config["store.keep_days"], self.config["store.max_mib"]
                    self.writer.retention(days or None, mib << 20)
                for call in self.on_reload:
                    call(self.config)
                self.say("configuration read again; sources and the store's path change at the next start")
        except ConfigError as error:
            self.say(f"{error}; the configuration stays as it was")
        self.notifier.send("READY=1")

    def _close(self) -> None:
        positions = self._positions()
        for one in self.beside:
            one.close()
        self.detector.close()
        if self.writer is not None:
            self.writer.positions(positions, self._unseen())
            if not self.writer.close():
                count = len(self.writer)
                self.say(f"store: {count} events could not be written; the log is read again at the next start")
        self.hub.close()


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="microseconds")
