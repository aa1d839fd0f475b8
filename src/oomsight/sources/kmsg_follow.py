"""
Following ``/dev/kmsg``: every record once, resumable by sequence number, overwritten records counted.

A record is trusted when its facility is kern (0): the kernel forces another one on everything written to the device
from user space (kernel/printk/printk.c devkmsg_write()). Only oomd (Meta) reports its own kills that way.
"""

from __future__ import annotations

import os
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Literal

from oomsight._lazy import lazy
from oomsight.live.events import LogRecord
from oomsight.sources import kmsg_early
from oomsight.sources.kmsg import DEVICE, open_device, read_records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oomsight.sources.kmsg_early import Begun

BATCH_RECORDS: Final = 256  #: read at once, so that other sources get their turn in a flood
_HEAD: Final = lazy(rb"(\d+),(\d+),(\d+),[^;]*;")
_KILLER: Final = b";oomd kill: "
_JUMP_US: Final = 250_000  #: the wall clock was set, or printk's clock drifted from it


class KmsgFollow:
    """
    The records of an open, non-blocking kmsg descriptor, as they come.

    ``lost`` counts records the kernel overwrote before they were read (``overruns``: how often that happened),
    ``next_seq`` is where to read on.
    """

    name = DEVICE

    def __init__(
        self, fd: int, *, boot_id: str | None, start_seq: int | None = None, seen_seq: int = 0, name: str = DEVICE,
        begun: Begun | None = None,
    ) -> None:  # fmt: skip
        """
        Read from where *fd* stands, behind what was *begun* to be read. Records before *start_seq* are skipped; a hole
        behind it is a loss, unless it lies before *seen_seq*, up to where an earlier reader came.
        """
        self.fd = fd
        self.name = name
        self.boot_id = boot_id
        self.next_seq = start_seq
        self._seen_seq = seen_seq
        self.records = 0
        self.lost = 0
        self.overruns = begun.overruns if begun else 0
        self._begun = begun.records if begun else deque[bytes]()
        self.drained = False  #: the last :meth:`read` came to the end of what there was
        self.fresh = False  #: what the last :meth:`read` returned was printed since we follow
        self._caught_up = False
        self.boot_wall_us = time.time_ns() // 1000 - time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000

    def fileno(self) -> int:
        """For epoll: readable when there are records, or some were overwritten."""
        return self.fd

    def read(self) -> list[LogRecord]:
        """Return the records that have come, at most :data:`BATCH_RECORDS`. Raises :class:`OSError`."""
        found: list[LogRecord] = []
        self.fresh, waited = self._caught_up, self.drained
        for raw in self._raw():
            record = self._record(raw)
            if record is not None:
                found.append(record)
            if len(found) >= BATCH_RECORDS:
                self.drained = False
                return found
        if found and waited:
            self._set_clock(found[-1])
        self.drained = self._caught_up = True
        return found

    def close(self) -> None:
        """Close the device."""
        os.close(self.fd)

    def _raw(self) -> Iterator[bytes]:
        while self._begun:
            yield self._begun.popleft()
        yield from read_records(self.fd, self._overrun)

    def _overrun(self) -> None:
        self.overruns += 1

    def _record(self, raw: bytes) -> LogRecord | None:
        head = _HEAD.match(raw)
        if head is None:
            return None
        prio, seq, usec = int(head[1]), int(head[2]), int(head[3])
        if self.next_seq is not None:
            if seq < self.next_seq:
                return None
            self.lost += max(seq - max(self.next_seq, self._seen_seq), 0)
        self.next_seq = seq + 1
        self.records += 1
        end = raw.find(b"\n", head.end())
        line = raw[: end + 1] if end >= 0 else raw + b"\n"  # behind it stands the dictionary (SUBSYSTEM=, DEVICE=)
        text = line[head.end() : -1].decode("utf-8", "surrogateescape")
        trusted = prio >> 3 == 0
        return LogRecord(line, text, self.name, seq, usec, self.boot_id, trusted, not trusted and _KILLER in line)

    def _set_clock(self, last: LogRecord) -> None:
        """
        A record that has just come tells what the wall clock showed at its time. printk's clock is the scheduler's,
        which drifts from CLOCK_MONOTONIC by seconds in weeks, and wall clocks get set.
        """
        assert last.time_us is not None
        boot_wall_us = time.time_ns() // 1000 - last.time_us
        if abs(boot_wall_us - self.boot_wall_us) > _JUMP_US:
            self.boot_wall_us = boot_wall_us


def follow_kmsg(
    start: int | Literal["oldest", "new"] = "oldest", *, boot_id: str | None, seen_seq: int = 0, path: str = DEVICE
) -> KmsgFollow:
    """Open *path* and follow it from *start*: a sequence number, the oldest record, or only new ones. SourceError."""
    begun = kmsg_early.take() if start != "new" and path == DEVICE else None
    fd = begun.fd if begun else open_device(path)
    if start == "new":
        os.lseek(fd, 0, os.SEEK_END)
    first = start if isinstance(start, int) else None
    return KmsgFollow(fd, boot_id=boot_id, start_seq=first, seen_seq=seen_seq, name=path, begun=begun)
