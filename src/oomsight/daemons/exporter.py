"""The loop of an exporter that pushes: metrics every interval, incidents at once, retried with a bounded queue."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from oomsight.metrics.agent import ExportState
from oomsight.sinks.export import ExportError

if TYPE_CHECKING:
    from oomsight.metrics.family import Family
    from oomsight.sinks.export import Transport

MOST_QUEUED: Final = 2048  #: incidents; the oldest goes first
BATCH: Final = 100
FIRST_SECONDS: Final = 5.0  #: until the first push of metrics
SHORTEST_WAIT_SECONDS: Final = 1.0
LONGEST_WAIT_SECONDS: Final = 60.0


class Exporter:
    """
    Drives one transport in a thread of its own.

    *since* gives the moment from which counters count. *say* is told once when sending begins to fail, and once when
    it works again.
    """

    def __init__(
        self, transport: Transport, collect: Callable[[], Sequence[Family]], since: Callable[[], float],
        interval_seconds: float, say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.name = transport.name
        self._transport, self._collect, self._since = transport, collect, since
        self._interval_seconds, self._say = interval_seconds, say
        self._queue: deque[Any] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._sent = self._failed = self._dropped = 0
        self._failures = 0  # in a row
        self._single = 0  # items still to be sent one by one, because one of them is refused
        self._not_before = 0.0
        self._next_metrics = 0.0
        self._thread = threading.Thread(target=self._run, name=f"export {self.name}", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._next_metrics = time.monotonic() + min(self._interval_seconds, FIRST_SECONDS)
        self._thread.start()

    def offer(self, document: Mapping[str, Any], now: float) -> None:
        """Queue an event or note; returns at once."""
        item = self._transport.item(document, now)
        if item is None:
            return
        with self._wake:
            if len(self._queue) >= MOST_QUEUED:
                self._queue.popleft()
                self._dropped += 1
            self._queue.append(item)
            self._wake.notify()

    def state(self) -> ExportState:
        """Counts so far."""
        return ExportState(self._sent, self._failed, self._dropped, len(self._queue))

    def close(self, timeout_seconds: float = 3.0) -> None:
        """Try once to send what is queued, and stop."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    # -----------------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            with self._wake:
                wait = self._due() - time.monotonic()
                if wait > 0:
                    self._wake.wait(wait)
            self._turn()
        if self._queue:
            self._not_before = 0.0
            self._send_items()

    def _due(self) -> float:
        return max(self._not_before, 0.0 if self._queue else self._next_metrics)

    def _turn(self) -> None:
        now = time.monotonic()
        if self._queue and now >= self._not_before:
            self._send_items()
        if now >= self._next_metrics and now >= self._not_before:
            self._next_metrics = now + self._interval_seconds
            self._try(lambda: self._transport.send_metrics(self._collect(), self._since(), time.time()))

    def _send_items(self) -> None:
        with self._wake:
            batch = [self._queue.popleft() for _ in range(min(1 if self._single else BATCH, len(self._queue)))]
        refused = 0

        def send() -> None:
            nonlocal refused
            refused = self._transport.send_items(batch)

        error = self._try(send)
        self._single = max(self._single - len(batch), 0)
        if error is None:
            self._dropped += refused
        elif error.permanent and len(batch) == 1:
            self._dropped += 1
        else:
            if error.permanent:  # one of them is bad: find it
                self._single = len(batch)
                self._not_before = 0.0
            with self._wake:
                room = MOST_QUEUED - len(self._queue)
                self._dropped += max(len(batch) - room, 0)
                self._queue.extendleft(reversed(batch[max(len(batch) - room, 0) :]))

    def _try(self, send: Callable[[], None]) -> ExportError | None:
        try:
            try:
                send()
            except ExportError:
                raise
            except Exception as error:  # a bug, or a host that cannot be read: the next request may work
                raise ExportError(f"{type(error).__name__}: {error}") from error
        except ExportError as error:
            self._failed += 1
            self._failures += 1
            if self._failures == 1:
                self._say(f"{self.name}: {error}; it is tried again")
            if not error.permanent:
                backoff = min(SHORTEST_WAIT_SECONDS * 2 ** min(self._failures - 1, 10), LONGEST_WAIT_SECONDS)
                wait = error.retry_seconds if error.retry_seconds is not None else backoff * random.uniform(0.5, 1.5)
                self._not_before = time.monotonic() + wait
            return error
        self._sent += 1
        if self._failures:
            self._say(f"{self.name}: it works again after {self._failures} failed requests")
            self._failures = 0
        return None
