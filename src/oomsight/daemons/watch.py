"""``oomsight watch``: the detector in the foreground, one writer of lines, Ctrl-C to end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from oomsight.daemons.detector import Detector, Sources, missing_words
from oomsight.daemons.warm import warm_up
from oomsight.live.counters import Finding
from oomsight.live.events import LiveEvent

if TYPE_CHECKING:
    from oomsight.live.health import Health

ShowEvent = Callable[[LiveEvent, str], None]
"""Shows one event; gets the moment it was seen, ISO 8601."""
ShowNote = Callable[[Finding, str, "str | None"], None]
"""Shows one remark; moment and boot id."""


def watch(
    sources: Sources, show: ShowEvent, note: ShowNote, begin: Callable[[Health, list[str]], None], *,
    count: int | None = None, seconds: float | None = None,
) -> int:  # fmt: skip
    """
    Show events until Ctrl-C, or *count* complete ones were shown, or *seconds* have gone by. Return how many were.

    *begin* gets the health and a line per missing source before the first event is shown.
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
    try:
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
        detector.close()
    return told


def now() -> str:
    """Return the current moment, ISO 8601 with offset."""
    return datetime.now().astimezone().isoformat(timespec="microseconds")
