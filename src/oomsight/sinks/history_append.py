"""A file of the recorder's that grows by whole pieces, so that a full disk leaves no half a row in it."""

from __future__ import annotations

import os
from contextlib import suppress

from oomsight.record.codec import MAGIC
from oomsight.record.layout import Begin, begin_record


class Appender:
    """A file that grows by whole pieces: what could not be written whole is taken back."""

    def __init__(self, path: str, begin: Begin, *, fresh: bool = False, size: int = 0) -> None:
        """
        *fresh*: it must not be there yet; *size*, in bytes: of one that is there and goes on, else it begins anew.
        Raises :class:`OSError`.
        """
        how = os.O_EXCL if fresh else 0 if size else os.O_TRUNC
        self.fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | how | (0 if size else os.O_CREAT), 0o640)
        self.size = size
        self.dirty = True
        try:
            self.append(begin_record(begin, later=True) if size else MAGIC + begin_record(begin))
        except OSError:
            os.close(self.fd)
            if fresh:
                with suppress(OSError):
                    os.unlink(path)
            raise

    def append(self, data: bytes) -> None:
        """Write *data* whole or not at all. Raises :class:`OSError`."""
        view, at = memoryview(data), self.size
        try:
            while view:
                written = os.pwrite(self.fd, view, at)
                view, at = view[written:], at + written
        except OSError:
            with suppress(OSError):
                os.ftruncate(self.fd, self.size)
            raise
        self.size = at
        self.dirty = True

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.fd)
