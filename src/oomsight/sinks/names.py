"""The names an agent remembers, kept in one JSON file beside its store: replaced whole, readable at any moment."""

from __future__ import annotations

import json
import os
from typing import Final

from oomsight.attribute import Memory

MAX_BYTES: Final = 256 << 20


def save_names(path: str, memory: Memory) -> None:
    """Write *memory* to *path*, so that a reader sees the old or the new names, never half of them. Raises OSError."""
    aside = f"{path}.{os.getpid()}.new"
    try:
        with open(aside, "w", encoding="ascii") as file:
            json.dump(memory.dump(), file, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        if os.path.exists(aside):
            os.unlink(aside)
        raise


def load_names(path: str) -> Memory:
    """Return what :func:`save_names` wrote; an empty memory when there is nothing that can be read."""
    try:
        with open(path, "rb") as file:
            rows = json.loads(file.read(MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return Memory()
    return Memory.load(rows if isinstance(rows, list) else [])
