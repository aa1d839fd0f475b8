"""The thread that writes the store: disks may be slow, full or gone, and detection goes on."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from oomsight.live.events import Stage
from oomsight.sinks.store import Batch, Store, StoreError

if TYPE_CHECKING:
    from oomsight.live.counters import Finding
    from oomsight.live.events import LiveEvent

MAX_EVENTS: Final = 10_000  #: kept in memory while the store cannot be written
RETRY_SECONDS: Final = 5.0
GATHER_SECONDS: Final = 0.05  #: after the first event, so that a burst is a few transactions and not hundreds


class StoreWriter:
    """
    Queues events and writes them in batches.

    ``say`` is told once when the store cannot be written, and once when it can again. While it cannot, the newest
    :data:`MAX_EVENTS` events stay in memory; provisional ones go first when there is no room.
    """

    def __init__(
        self, open_store: Callable[[], Store], say: Callable[[str], None], store: Store | None = None, *,
        refine: Callable[[dict[str, Any]], None] | None = None, state: str = "ok",
    ) -> None:  # fmt: skip
        """
        *store* is one already open; else *open_store* is tried until it works; *state* says what was wrong with it so
        far. *refine* may complete a document before
        it is written (names that had to be asked for).
        """
        self.state = state
        self.dropped = 0
        self._open_store = open_store
        self._store = store
        self._say = say
        self._refine = refine
        self._events: deque[tuple[LiveEvent, dict[str, Any], int]] = deque()
        self._rest = Batch()
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._events)

    def event(self, event: LiveEvent, document: dict[str, Any], wall_us: int) -> None:
        """Queue one event."""
        with self._wake:
            self._events.append((event, document, wall_us))
            if len(self._events) > MAX_EVENTS:
                self._make_room()
            self._wake.notify()

    def note(self, finding: Finding, wall_us: int, boot_id: str | None) -> None:
        """Queue one remark."""
        with self._wake:
            if len(self._rest.notes) < MAX_EVENTS:
                self._rest.notes.append((finding, wall_us, boot_id))
            self._wake.notify()

    def positions(self, positions: dict[str, tuple[str | None, str, str]], unseen: dict[str, int]) -> None:
        """Set where to read on after all events queued so far are written."""
        with self._wake:
            # Once an event was dropped, the log must be read again from before it: positions stay where they are.
            if not self.dropped:
                self._rest.positions = positions
            self._rest.unseen |= unseen
            self._wake.notify()

    def retention(self, max_age_days: float | None, max_bytes: int | None) -> None:
        """Change how much is kept."""
        if self._store is not None:
            self._store.max_age_days, self._store.max_bytes = max_age_days, max_bytes

    def close(self, timeout_seconds: float = 10.0) -> bool:
        """Write what is queued and close the store. Return whether everything was written."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout_seconds)
        if self._store is not None and not self._thread.is_alive():
            self._store.close()
        return not self._events and not self._thread.is_alive()

    # -----------------------------------------------------------------------------------------------------------------

    def _make_room(self) -> None:
        for index, (event, _, _) in enumerate(self._events):
            if event.stage is Stage.PROVISIONAL and index < len(self._events) - 100:
                del self._events[index]
                return
        self._events.popleft()
        self.dropped += 1
        self._rest.positions = {}

    def _take(self) -> Batch | None:
        """Wait for something to write; ``None`` = closed and nothing left."""
        with self._wake:
            while not (self._events or self._rest.notes or self._rest.positions or self._rest.unseen):
                if self._closing:
                    return None
                self._wake.wait()
            if not self._closing:
                self._wake.wait(GATHER_SECONDS)
            batch, self._rest = self._rest, Batch()
            batch.events = list(self._events)
            self._events.clear()
            return batch

    def _give_back(self, batch: Batch) -> None:
        with self._wake:
            self._events.extendleft(reversed(batch.events))
            while len(self._events) > MAX_EVENTS:
                self._make_room()
            self._rest.notes[:0] = batch.notes[: MAX_EVENTS - len(self._rest.notes)]
            if not self.dropped:
                self._rest.positions = batch.positions | self._rest.positions
            self._rest.unseen = batch.unseen | self._rest.unseen

    def _run(self) -> None:
        while (batch := self._take()) is not None:
            self._complete(batch)
            try:
                if self._store is None:
                    self._store = self._open_store()
                self._store.write(batch)
                for remark in self._store.remarks:
                    self._say(remark)
                self._store.remarks.clear()
                if self.state != "ok":
                    self._say(f"store: it can be written again; {len(batch.events)} events were kept in memory")
                    self.state = "ok"
            except StoreError as error:
                if self.state == "ok":
                    self._say(f"store: {error}; events are kept in memory until it can be written")
                self.state = str(error)
                self._give_back(batch)
                if self._closing:
                    return
                self._pause()

    def _complete(self, batch: Batch) -> None:
        if self._refine is None:
            return
        for _, document, _ in batch.events:
            try:
                self._refine(document)
            except Exception as error:  # names must never cost an event
                self._say(f"enrichment failed: {type(error).__name__}: {error}")

    def _pause(self) -> None:
        until = time.monotonic() + RETRY_SECONDS
        with self._wake:
            while not self._closing and (left := until - time.monotonic()) > 0:
                self._wake.wait(left)
