"""
Telling: the subscriber that turns events into messages and hands them to the channels.

Everything is decided in :mod:`oomsight.alerts`; here are the thread that wakes when something is due, the files that
survive a restart, and the reload. Messages are at-least-once: a message carries an id by which a receiver can drop a
copy that a crash at the wrong moment may cause.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from oomsight.alarms.settings import alarm_sentences
from oomsight.alerts.decide import State, decide, due_seconds, tick
from oomsight.alerts.rules import Settings
from oomsight.alerts.settings import AlertsError, parse_settings
from oomsight.alerts.settings import sentences as settings_sentences
from oomsight.daemons.config import ConfigError
from oomsight.sinks.even_clock import ClockSteps, boot_seconds
from oomsight.sinks.notify import Delivery, Sender, Spool, open_channel
from oomsight.sinks.notify.apprise_channel import unknown_address
from oomsight.sinks.notify.sender import WAITING

if TYPE_CHECKING:
    from oomsight.alerts.message import Message
    from oomsight.daemons.config import Config

SECTION: Final = "alerts"
"""Of the configuration; also the name of the subscriber."""

STATE_FILE: Final = "state.json"
DELIVERIES_FILE: Final = "deliveries.json"
MAX_DELIVERIES: Final = 500
SAVE_SECONDS: Final = 0.5  #: at least between two writings of the state in a storm
CHANGE_SECONDS: Final = 10.0  #: a channel that a reload removes may finish its message for so long


class TellingBusy(Exception):  # noqa: N818 - as StoreBusy: nothing is broken
    """Another agent tells with the same directory."""


def sentences(section: Mapping[str, Any]) -> Iterable[str]:
    """Return the sentences of the section ``[alerts]``. Raises :class:`ConfigError`."""
    settings = _parsed(section)
    yield from settings_sentences(settings)
    yield from alarm_sentences(settings.memory)


def troubles(section: Mapping[str, Any]) -> Iterable[str]:
    """Return what keeps channels of the section ``[alerts]`` from working on this host, as far as can be seen."""
    for spec in _parsed(section).channels:
        if missing := open_channel(spec).missing() or (unknown_address(spec) if spec.type == "apprise" else None):
            yield f"channel {spec.name} cannot be used here: {missing}"


def settings_of(config: Config) -> Settings:
    """Return what *config* says about alerts; without the section, nobody is told. Raises :class:`ConfigError`."""
    return _parsed(config.sections.get(SECTION, {}))


def _parsed(section: Mapping[str, Any]) -> Settings:
    from oomsight.diagnose.causes import CAUSES  # the heaviest part of explaining: not for who only wants the paths
    from oomsight.diagnose.userspace import CODES

    try:
        return parse_settings(section, [*(rule.code for rule in CAUSES), *CODES])
    except AlertsError as error:
        raise ConfigError(str(error)) from None


class Telling:
    """
    A subscriber of the agent's hub.

    *directory* holds the spools and what was told (``None`` = memory only); *told* gets every delivery; *settle* may
    complete an event first (names that had to be asked for). *scale* shortens the pauses between attempts.
    """

    name = SECTION

    def __init__(
        self, settings: Settings, directory: str | None, say: Callable[[str], None], *, node: str | None = None,
        told: Callable[[Delivery], None] = lambda _: None, settle: Callable[[dict[str, Any]], None] = lambda _: None,
        clock: Callable[[], float] = time.time, steady: Callable[[], float] = boot_seconds, scale: float = 1.0,
    ) -> None:  # fmt: skip
        """Open the channels and begin with what waits in their spools. Raises :class:`TellingBusy`."""
        self.settings = Settings()
        self.senders: dict[str, Sender] = {}
        self._say, self._node, self._clock, self._steps = say, node, clock, ClockSteps(clock, steady)
        self._lock, self._directory = _locked(directory, say)
        directory = self._directory
        self._told, self._settle, self._scale = told, settle, scale
        self._deliveries: deque[dict[str, Any]] = deque(maxlen=MAX_DELIVERIES)
        self._state = State.load(_read(directory, STATE_FILE))
        self._saved_at, self._unsaved = 0.0, False
        self._wake = threading.Condition()
        self._closing = False
        self._wanted: Settings | None = None
        self._use(settings)
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._thread.start()

    def __call__(self, event: dict[str, Any]) -> None:
        """Take one event or note of the agent."""
        if event["type"] == "incident":
            self._settle(event)
        with self._wake:
            self._send(decide(event, self.settings, self._state, self._now(), self._node))
            self._wake.notify()

    def reload(self, config: Config) -> None:
        """Use the section of *config* from now on: channels come, go and change, spools and groups stay."""
        settings = settings_of(config)
        with self._wake:
            self._wanted = settings  # the thread changes over: a channel in the middle of a message is waited for
            self._wake.notify()

    def wake(self) -> None:
        """Look at the clocks now: they were moved on."""
        with self._wake:
            self._wake.notify()

    def health(self) -> dict[str, dict[str, Any]]:
        """Return per channel: messages waiting, sent, refused, dropped, and what is wrong (empty = nothing)."""
        return {
            name: {"waiting": len(s), "sent": s.sent, "refused": s.refused, "dropped": s.dropped, "trouble": s.trouble}
            for name, s in self.senders.items()
        }

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Tell what can be told quickly and save the rest."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        until = time.monotonic() + timeout_seconds
        self._thread.join(timeout_seconds)
        for sender in self.senders.values():
            sender.close(max(until - time.monotonic(), 0.1))
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # -----------------------------------------------------------------------------------------------------------------

    def _use(self, settings: Settings) -> None:
        before = {spec.name: spec for spec in self.settings.channels}
        self.settings = settings
        wanted = {spec.name: spec for spec in settings.channels}
        for name in [name for name, spec in before.items() if wanted.get(name) != spec]:
            self.senders.pop(name).close(CHANGE_SECONDS)
        for name, spec in wanted.items():
            if name in self.senders:
                continue
            channel = open_channel(spec)
            if missing := channel.missing():
                self._say(f"alerts: channel {name}: {missing}; its messages wait")
            spool = Spool(os.path.join(self._directory, "spool", name) if self._directory else None)
            self.senders[name] = Sender(name, channel, spool, say=self._say, told=self._on_told, scale=self._scale)

    def _send(self, messages: list[Message]) -> None:
        for message in messages:
            sender = self.senders.get(message.channel)
            if sender is not None:
                sender.put(message.as_dict())
        self._unsaved = True
        self._save_when_due()

    def _run(self) -> None:
        with self._wake:
            while not self._closing:
                if self._wanted is not None:
                    self._use(self._wanted)
                    self._wanted = None
                now, due = self._now(), due_seconds(self.settings, self._state)
                wait = None if due is None else max(due - now, 0.05)
                if self._unsaved:
                    wait = min(wait if wait is not None else SAVE_SECONDS, SAVE_SECONDS)
                self._wake.wait(wait)
                now, due = self._now(), due_seconds(self.settings, self._state)
                if due is not None and now >= due:
                    self._send(tick(self.settings, self._state, now))
                self._save_when_due()
            self._save_when_due(now=True)

    def _now(self) -> float:
        """The moment by the wall clock; where it was set, all that waits has moved with it."""
        if step := self._steps.since_last():
            self._state.move(step)
            self._unsaved = True
        return self._clock()

    def _save_when_due(self, *, now: bool = False) -> None:
        """Not fsynced: after a power cut a message may be told twice, and that is all."""
        moment = time.monotonic()
        if self._unsaved and (now or moment >= self._saved_at + SAVE_SECONDS):
            self._unsaved, self._saved_at = False, moment
            _write(self._directory, STATE_FILE, self._state.dump())

    def _on_told(self, delivery: Delivery) -> None:
        self._deliveries.append(asdict(delivery))
        _write(self._directory, DELIVERIES_FILE, list(self._deliveries))
        if delivery.status != WAITING:
            self._told(delivery)


def directory_for(store_path: str) -> str:
    """Return where alerts keep their files: beside the incident store, one directory for each."""
    return f"{os.path.splitext(os.path.abspath(store_path))[0]}.alerts"


def deliveries(directory: str) -> list[Delivery]:
    """
    Return the latest deliveries of the agent that uses *directory*, oldest first; of a message that did not arrive at
    the first attempt also that (``WAITING``).
    """
    rows = _read(directory, DELIVERIES_FILE)
    found = []
    for row in rows if isinstance(rows, list) else []:
        with suppress(TypeError):
            found.append(Delivery(**row))
    return found


def _locked(directory: str | None, say: Callable[[str], None]) -> tuple[int | None, str | None]:
    """Return the lock held and the directory to use: ``None`` and memory only where it cannot be written."""
    if directory is None:
        return None, None
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        lock = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        say(f"alerts: {directory}: {(error.strerror or str(error)).lower()}; messages wait in memory only")
        return None, None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise TellingBusy(f"{directory}: another oomsight agent tells from here") from None
    return lock, directory


def _read(directory: str | None, name: str) -> Any:
    if directory is None:
        return None
    try:
        with open(os.path.join(directory, name), "rb") as file:
            return json.load(file)
    except (OSError, ValueError, RecursionError):
        return None


def _write(directory: str | None, name: str, value: Any) -> None:
    """Replace the file whole. A disk that cannot be written is no reason to stop: the spool says so already."""
    if directory is None:
        return
    path = os.path.join(directory, name)
    with suppress(OSError):
        os.makedirs(directory, mode=0o700, exist_ok=True)
        with open(f"{path}.new", "w", encoding="ascii") as file:
            json.dump(value, file, separators=(",", ":"))
        os.replace(f"{path}.new", path)
