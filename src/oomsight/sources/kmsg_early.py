"""
Reading ``/dev/kmsg`` from the first moment of a process on, while all the rest is still being loaded.

An agent that was killed in a storm of kills has to start again before the kernel's ring buffer comes round; loading it
takes seconds on a busy host. So :func:`begin` is called first, and :func:`take` by who follows the log.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from contextlib import suppress
from typing import Final, NamedTuple

from oomsight.sources.errors import SourceError
from oomsight.sources.kmsg import DEVICE, open_device, read_records

MAX_BYTES: Final = 32 << 20  #: then it waits, and the ring buffer keeps what it can


class Begun(NamedTuple):
    """What was read, and the descriptor to read on from."""

    fd: int
    records: deque[bytes]
    overruns: int


class EarlyReader:
    """Reads the records of *fd*, which must not block, on a thread of its own until :meth:`take`."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.records: deque[bytes] = deque()
        self.overruns = 0
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="kmsg", daemon=True)
        self._thread.start()

    def take(self) -> Begun:
        """End reading and return all of it."""
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        os.close(self._stop)
        return Begun(self.fd, self.records, self.overruns)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._stop, select.POLLIN)
        poll.register(self.fd, select.POLLIN)
        size = 0
        with suppress(OSError):  # whoever reads on meets it again and says so
            while size < MAX_BYTES:
                for record in read_records(self.fd, self._overrun):
                    self.records.append(record)
                    size += len(record)
                if any(fd == self._stop for fd, _ in poll.poll()):
                    return

    def _overrun(self) -> None:
        self.overruns += 1


_begun: list[EarlyReader] = []  # at most one


def begin(path: str = DEVICE) -> None:
    """Begin to read *path* from its oldest record; where that cannot be done, whoever follows it says why."""
    with suppress(SourceError):
        _begun.append(EarlyReader(open_device(path)))


def take() -> Begun | None:
    """Return what was read since :func:`begin`, once; ``None`` = nothing was begun."""
    return _begun.pop().take() if _begun else None


def drop() -> None:
    """Forget it: nobody will follow the log."""
    if (found := take()) is not None:
        os.close(found.fd)
