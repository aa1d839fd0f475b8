"""The counters between two runs: a small file beside the store, and what the store has that the file has not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from oomsight.metrics.tally import REMEMBERED
from oomsight.sinks.store import Reader, StoreError

FILE_NAME: Final = "metrics.json"
MARGIN_SECONDS: Final = 3600.0  #: the clock may have been set back; events are known by id anyway


def load(path: str) -> object:
    """What :func:`save` wrote; ``None`` = nothing, or damaged."""
    try:
        with open(path, encoding="utf-8") as file:
            found: object = json.load(file)
    except (OSError, ValueError, RecursionError):
        return None
    return found


def save(path: str, state: Mapping[str, Any]) -> None:
    """Write *state*, whole or not at all. Raises :class:`OSError`."""
    fresh = f"{path}.new"
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        with open(fd, "w", encoding="utf-8") as file:
            json.dump(state, file, separators=(",", ":"))
            file.flush()
            os.fsync(fd)
        os.replace(fresh, path)
    except OSError:
        with suppress(OSError):
            os.unlink(fresh)
        raise


def stored_after(store_path: str, through: float | None) -> Iterator[dict[str, Any]]:
    """
    Yield the events a killed agent has stored and perhaps not counted, oldest first: those stored after *through*
    (seconds since 1970) and some before it. ``None`` = all, at most :data:`~oomsight.metrics.tally.REMEMBERED`.
    """
    try:
        reader = Reader(store_path)
    except StoreError:
        return
    since_us = None if through is None else int((through - MARGIN_SECONDS) * 1e6)
    try:
        yield from reader.newest(REMEMBERED, since_us)
    finally:
        reader.close()
