"""Where telling, metrics and the store plug in: each listener has a thread and a bounded queue of its own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

QUEUE_EVENTS: Final = 4096

Event = dict[str, Any]
"""An event or note document (:mod:`oomsight.sinks.live_event`)."""


class Subscriber(Protocol):
    """Gets every event and note. May take its time and may raise; it never holds up detection."""

    name: str

    def __call__(self, event: Event, /) -> None:
        """Take one event."""


class Enricher(Protocol):
    """
    Adds what is known about the victim's cgroup (container, pod, image). Called on the detecting thread, provisional
    events included, so it answers from memory within a millisecond; ``None`` = nothing known.
    """

    def __call__(self, event: Event, /) -> dict[str, Any] | None:
        """Return what to store as ``enrichment``."""


class Hub:
    """Hands events to subscribers."""

    def __init__(self, subscribers: Mapping[str, Subscriber] | None = None) -> None:
        self._workers: dict[str, _Worker] = {}
        for name, subscriber in (subscribers or {}).items():
            self.add(name, subscriber)

    def add(self, name: str, subscriber: Callable[[Event], None]) -> None:
        """Begin to hand events to *subscriber*."""
        self._workers[name] = _Worker(name, subscriber)

    def publish(self, event: Event) -> None:
        """Queue *event* for everybody; returns at once."""
        for worker in self._workers.values():
            worker.put(event)

    def errors(self) -> dict[str, int]:
        """Return how many events each subscriber failed to take or had no room for; only those that did."""
        return {name: w.failed + w.dropped for name, w in self._workers.items() if w.failed or w.dropped}

    def queued(self) -> dict[str, int]:
        """Return how many events wait for each subscriber."""
        return {name: len(worker) for name, worker in self._workers.items()}

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Let the subscribers finish what is queued, each within *timeout_seconds*."""
        for worker in self._workers.values():
            worker.close(timeout_seconds)


class _Worker:
    def __init__(self, name: str, call: Callable[[Event], None]) -> None:
        self.failed = 0
        self.dropped = 0
        self._call = call
        self._queue: deque[Event] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"subscriber {name}", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, event: Event) -> None:
        with self._wake:
            if len(self._queue) >= QUEUE_EVENTS:
                self._queue.popleft()
                self.dropped += 1
            self._queue.append(event)
            self._wake.notify()

    def close(self, timeout_seconds: float) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._queue and not self._closing:
                    self._wake.wait()
                if not self._queue:
                    return
                event = self._queue.popleft()
            try:
                self._call(event)
            except Exception:  # a subscriber's bug or a dead network must not end the agent
                self.failed += 1
