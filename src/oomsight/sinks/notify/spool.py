"""
A queue of messages on disk, one small file each: what was decided survives a restart, a crash and a dead receiver.

A file is written whole under another name, synced and renamed; so the directory holds whole messages only. A disk that
cannot be written costs durability, not messages: they wait in memory, and :attr:`Spool.trouble` says so.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

MAX_MESSAGES: Final = 10_000
MAX_MESSAGE_BYTES: Final = 1 << 20
_SUFFIX: Final = ".json"


class Spool:
    """
    Messages for one channel, oldest first. Not for several threads at once.

    *directory* ``None`` keeps them in memory only. Above *limit* the oldest gives way and is counted in ``dropped``.
    """

    def __init__(self, directory: str | None, limit: int = MAX_MESSAGES) -> None:
        self.directory = directory
        self.limit = limit
        self.dropped = 0
        self.trouble = ""  #: why messages are in memory only; empty = they are on disk
        self._waiting: OrderedDict[str, dict[str, Any] | None] = OrderedDict()  #: name -> message, if not on disk
        self._next = 1
        for name in self._found():
            self._waiting[name] = None
            self._next = max(self._next, int(name.partition("-")[0]) + 1)

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: Mapping[str, Any]) -> None:
        """Append *message*. Never fails."""
        name = f"{self._next:016d}-{message['id']}{_SUFFIX}"
        self._next += 1
        self._waiting[name] = None if self._write(name, message) else dict(message)
        while len(self._waiting) > self.limit:
            self.remove(next(iter(self._waiting)))
            self.dropped += 1

    def peek(self) -> tuple[str, dict[str, Any]] | None:
        """Return the oldest message and its name for :meth:`remove`; ``None`` = nothing waits. Damaged files go."""
        for name in list(self._waiting):
            message = self._waiting[name] or self._read(name)
            if message is not None:
                return name, message
            self.remove(name)
            self.dropped += 1
        return None

    def remove(self, name: str) -> None:
        """Remove the message *name*: it was told, or never will be."""
        self._waiting.pop(name, None)
        if self.directory is not None:
            with suppress(OSError):
                os.unlink(os.path.join(self.directory, name))

    # -----------------------------------------------------------------------------------------------------------------

    def _found(self) -> list[str]:
        if self.directory is None:
            return []
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            names = sorted(os.listdir(self.directory))
        except OSError as error:
            self.trouble = f"{self.directory}: {(error.strerror or str(error)).lower()}"
            return []
        for name in names:
            if name.endswith(".new"):  # we died while writing it; whoever decided it decides again
                with suppress(OSError):
                    os.unlink(os.path.join(self.directory, name))
        return [name for name in names if name.endswith(_SUFFIX) and name.partition("-")[0].isdecimal()]

    def _write(self, name: str, message: Mapping[str, Any]) -> bool:
        if self.directory is None:
            return False
        path = os.path.join(self.directory, name)
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            with open(f"{path}.new", "w", encoding="ascii") as file:
                json.dump(message, file, separators=(",", ":"))
                file.flush()
                os.fsync(file.fileno())
            os.replace(f"{path}.new", path)
        except OSError as error:
            self.trouble = f"{self.directory}: {(error.strerror or str(error)).lower()}"
            with suppress(OSError):
                os.unlink(f"{path}.new")
            return False
        self.trouble = ""
        return True

    def _read(self, name: str) -> dict[str, Any] | None:
        if self.directory is None:
            return None
        try:
            with open(os.path.join(self.directory, name), "rb") as file:
                message = json.loads(file.read(MAX_MESSAGE_BYTES))
        except (OSError, ValueError, RecursionError):
            return None
        sound = isinstance(message, dict) and {"id", "title", "lines", "labels", "subject", "status"} <= set(message)
        return message if sound else None
