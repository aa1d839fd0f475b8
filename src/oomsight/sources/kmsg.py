"""
The kernel's own ring buffer through ``/dev/kmsg`` (kernel 3.5+), one record per read.

Record: ``prio,seq,usec,flags[,more];text`` and lines `` KEY=value``, control bytes escaped as ``\\xHH``
(Documentation/ABI/testing/dev-kmsg).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from oomsight.sources.errors import SourceError, from_os_error

if TYPE_CHECKING:
    from oomsight.sources.source import Kind, Progress

DEVICE: Final = "/dev/kmsg"
RECORD_BYTES: Final = 8192  #: holds the longest record (PRINTK_MESSAGE_MAX 2048, CONSOLE_EXT_LOG_MAX 8192)
RIGHT: Final = "run as root, or with CAP_SYSLOG; or sysctl kernel.dmesg_restrict=0"

_RING: Final = os.makedev(1, 11)


def read_records(fd: int, overwritten: Callable[[], None]) -> Iterator[bytes]:
    """
    Yield the records of the non-blocking *fd* from where it stands until there are no more for now.

    ``overwritten`` is called for every EPIPE: the kernel has overwritten records before they were read, and reading
    goes on with the oldest one left.
    """
    while True:
        try:
            record = os.read(fd, RECORD_BYTES)
        except BlockingIOError:
            return
        except InterruptedError:
            continue
        except OSError as error:
            if error.errno == errno.EPIPE:
                overwritten()
                continue
            raise
        if not record:
            return
        yield record


def open_device(path: str = DEVICE) -> int:
    """Open the kernel's log, not to block. Raises :class:`SourceError`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise from_os_error(path, error, RIGHT) from None
    status = os.fstat(fd)
    # Container engines put /dev/null or a console in its place.
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != _RING:
        os.close(fd)
        raise SourceError(path, "is not the kernel's log here (a container?)")
    return fd


@dataclass(slots=True)
class KmsgSource:
    """All records the kernel still has."""

    path: str = DEVICE
    notes: list[str] = field(default_factory=list)
    overruns: int = 0  #: times the kernel overwrote records while we were reading

    kind: Kind = field(default="kmsg", init=False)
    size_bytes: int | None = field(default=None, init=False)
    follows: str | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        return self.path

    def blocks(self, progress: Progress | None = None) -> Iterator[bytes]:
        """Yield one raw record at a time, oldest first."""
        fd = open_device(self.path)
        done = 0
        try:
            for record in read_records(fd, self._overrun):
                done += len(record)
                yield record
                if progress:
                    progress(done)
        except OSError as error:
            if not done:
                what = "this kernel gives no records here" if error.errno == errno.EINVAL else None
                raise SourceError(self.name, what) if what else from_os_error(self.name, error, RIGHT) from None
            self.notes.append(f"{self.name}: {error.strerror} after {done} bytes; explained what was readable")
        finally:
            os.close(fd)
        if self.overruns:
            times = "once" if self.overruns == 1 else f"{self.overruns} times"
            self.notes.append(f"{self.name}: the kernel overwrote records {times} while they were read")

    def _overrun(self) -> None:
        self.overruns += 1
