"""``oomsight watch``: the detector in the foreground, one writer of lines, Ctrl-C to end."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from oomsight.daemons.detector import Detector, Sources, missing_words
from oomsight.daemons.warm import warm_up
from oomsight.live.counters import Finding
from oomsight.live.events import LiveEvent

if TYPE_CHECKING:
    from oomsight.live.health import Health

ShowEvent = Callable[[LiveEvent, str], None]
"""Shows one event; gets the moment it was seen, ISO 8601."""
ShowMemory = Callable[[dict[str, Any]], None]
"""Shows one memory alert, given as its document."""
ShowNote = Callable[[Finding, str, "str | None"], None]
"""Shows one remark; moment and boot id."""


def watch(
    sources: Sources, show: ShowEvent, note: ShowNote, begin: Callable[[Health, list[str]], None], *,
    count: int | None = None, seconds: float | None = None, memory: ShowMemory | None = None,
) -> int:  # fmt: skip
    """
    Show events until Ctrl-C, or *count* complete ones were shown, or *seconds* have gone by. Return how many were.

    *begin* gets the health and a line per missing source before the first event is shown. *memory* shows memory alerts
    (:mod:`oomsight.alarms.event`), with the limits of the table; ``None`` = they are not looked for.
    """
    import time

    told = 0

    def emit(event: LiveEvent) -> None:
        nonlocal told
        if count is not None and told >= count:
            return
        show(event, now())
        told += event.stage.value == "complete"

    detector = Detector(sources, emit, lambda finding: note(finding, now(), detector.boot_id))
    started = time.monotonic()
    alarms = _Alarms(memory) if memory is not None else None
    try:
        if alarms is not None:
            detector.watch(alarms.fd, alarms.show)
            alarms.watch.start()
        detector.open()
        warm_up()
        begin(detector.health, missing_words(detector.health))
        while count is None or told < count:
            left = None if seconds is None else started + seconds - time.monotonic()
            if left is not None and left <= 0:
                detector.drain()
                break
            detector.poll(left)
    finally:
        if alarms is not None:
            alarms.watch.close()
        detector.close()
        if alarms is not None:
            os.close(alarms.fd)
    return told


class _Alarms:
    """Memory alerts from their thread to the one that writes."""

    def __init__(self, show: ShowMemory) -> None:
        from oomsight.alarms.table import Limits
        from oomsight.daemons.memory_watch import open_watch

        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._show = show
        self._waiting: deque[dict[str, Any]] = deque()
        self.watch = open_watch(Limits(), self._put)

    def _put(self, document: dict[str, Any]) -> None:
        if document["moment"] != "still":
            self._waiting.append(document)
            os.eventfd_write(self.fd, 1)

    def show(self) -> None:
        """Show what waits."""
        os.eventfd_read(self.fd)
        while self._waiting:
            self._show(self._waiting.popleft())


def now() -> str:
    """Return the current moment, ISO 8601 with offset."""
    return datetime.now().astimezone().isoformat(timespec="microseconds")
