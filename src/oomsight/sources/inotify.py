"""inotify(7) by way of ctypes: the few calls we need, no thread, one descriptor for epoll."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final, NamedTuple

MODIFY: Final = 0x2
CREATE: Final = 0x100
Q_OVERFLOW: Final = 0x4000
IGNORED: Final = 0x8000
ONLYDIR: Final = 0x01000000
ISDIR: Final = 0x40000000

_EVENT: Final = struct.Struct("iIII")  #: wd, mask, cookie, length of the name behind it (struct inotify_event)
_READ_BYTES: Final = 64 << 10


class Event(NamedTuple):
    """One notification."""

    watch: int
    mask: int
    name: str  #: of the entry in a watched directory, empty otherwise


class Inotify:
    """One inotify instance, non-blocking."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._call(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify")

    def fileno(self) -> int:
        """For epoll."""
        return self.fd

    def add(self, path: str, mask: int) -> int:
        """Watch *path* and return the number its events carry. Raises :class:`OSError`."""
        return self._call(self._libc.inotify_add_watch(self.fd, os.fsencode(path), ctypes.c_uint32(mask)), path)

    def read(self) -> list[Event]:
        """Return the events that have come."""
        try:
            data = os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return []
        events, at = [], 0
        while at + _EVENT.size <= len(data):
            watch, mask, _, size = _EVENT.unpack_from(data, at)
            at += _EVENT.size
            events.append(Event(watch, mask, os.fsdecode(data[at : at + size].rstrip(b"\0"))))
            at += size
        return events

    def close(self) -> None:
        """Close it; all watches end."""
        os.close(self.fd)

    @staticmethod
    def _call(result: int, what: str) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), what)
        return result
