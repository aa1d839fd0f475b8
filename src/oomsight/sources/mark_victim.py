"""
The tracepoint ``oom:mark_victim`` in a tracing instance of our own, so that nobody else's tracing is disturbed.

What it prints has changed: a pid alone (4.13), with sizes since 6.9 (also 5.15.215, 6.1.192). So the event's format
file is read and turned into the pattern its lines are read with. It fires for victims that were exiting already, too.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from typing import Final

from oomsight._lazy import lazy
from oomsight.live.silent import Mark
from oomsight.sources.errors import NotReadable, SourceError
from oomsight.sources.procread import read_text

NAME: Final = "oom:mark_victim"
PLACES: Final = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
RIGHT: Final = "run as root with tracefs mounted: mount -t tracefs nodev /sys/kernel/tracing"
_PREFIX: Final = "oomsight-"
_CONVERSION: Final = lazy(r"%[-+ #0]*\d*(?:hh|h|ll|l|z)?([a-z])")
_ARGUMENT: Final = lazy(r"(?:REC->|__get_str\()(\w+)")
_STAMP: Final = lazy(r"\s(\d+)\.(\d{6}): mark_victim: ")
# Field of the event -> field of a Mark; the sizes are printed in kB whatever the field's own unit.
_FIELDS: Final = {
    "pid": "pid", "uid": "uid", "total_vm": "total_vm_kib", "anon_rss": "anon_rss_kib", "file_rss": "file_rss_kib",
    "shmem_rss": "shmem_rss_kib", "pgtables": "pgtables_kib", "oom_score_adj": "oom_score_adj",
}  # fmt: skip


def line_pattern(text: str) -> re.Pattern[str] | None:
    """Return the pattern of what the event prints, from the text of its format file; ``None`` = not understood."""
    at = text.find('print fmt: "')
    if at < 0:
        return None
    form, quote, arguments = text[at + len('print fmt: "') :].rpartition('"')
    names = _ARGUMENT.findall(arguments)
    if not quote or "pid" not in names or len(_CONVERSION.findall(form)) != len(names):
        return None
    pattern, last = "", 0
    for name, match in zip(names, _CONVERSION.finditer(form), strict=True):
        value = r".*" if match[1] == "s" else r"-?\d+"
        pattern += re.escape(form[last : match.start()]) + f"(?P<{name}>{value})"
        last = match.end()
    return re.compile(pattern + re.escape(form[last:]) + "$", re.DOTALL)


def parse_mark(line: str, pattern: re.Pattern[str]) -> Mark | None:
    """Return the mark one line of trace_pipe tells of."""
    stamp = _STAMP.search(line)
    match = pattern.match(line, stamp.end()) if stamp else None
    if stamp is None or match is None:
        return None
    groups = match.groupdict()
    numbers = {_FIELDS[name]: int(value) for name, value in groups.items() if name in _FIELDS}
    pid = numbers.pop("pid")
    return Mark(pid, int(stamp[1]) * 1_000_000 + int(stamp[2]), groups.get("comm"), **numbers)


class MarkVictim:
    """The marks as they come. The instance is removed by :meth:`close`; one left by a crash, by the next start."""

    name = NAME

    def __init__(self, place: str) -> None:
        """Make an instance below *place* and switch the event on. Raises :class:`SourceError`."""
        try:
            pattern = line_pattern(read_text(f"{place}/events/oom/mark_victim/format").rstrip("\n"))
            if pattern is None:
                raise SourceError(NAME, "prints in a way not known here")
            self._pattern = pattern
            _remove_orphans(f"{place}/instances")
            self._instance = f"{place}/instances/{_PREFIX}{os.getpid()}"
            with suppress(FileExistsError):
                os.mkdir(self._instance)
            # Readers are woken by the first event, not when half the buffer is full; before 4.21 they always are.
            with suppress(OSError):
                _write(f"{self._instance}/buffer_percent", "0")
            with suppress(OSError):
                _write(f"{self._instance}/buffer_size_kb", "64")
            _write(f"{self._instance}/events/oom/mark_victim/enable", "1")
            self.fd = os.open(f"{self._instance}/trace_pipe", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                raise NotReadable(NAME, "may not be used", RIGHT) from None
            raise SourceError(NAME, f"{error.filename or place}: {error.strerror}") from None
        self.records = 0
        self._rest = b""

    def fileno(self) -> int:
        """For epoll."""
        return self.fd

    def read(self) -> list[Mark]:
        """Return the marks that have come."""
        try:
            data = os.read(self.fd, 64 << 10)
        except (BlockingIOError, InterruptedError):
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        found = [parse_mark(line.decode("utf-8", "surrogateescape"), self._pattern) for line in lines]
        marks = [mark for mark in found if mark is not None]
        self.records += len(marks)
        return marks

    def close(self) -> None:
        """Switch the event off and remove the instance."""
        os.close(self.fd)
        with suppress(OSError):
            os.rmdir(self._instance)


def follow_marks(places: tuple[str, ...] = PLACES) -> MarkVictim:
    """Follow the tracepoint. Raises :class:`SourceError` with what is missing."""
    for place in places:
        if os.path.isdir(f"{place}/events/oom/mark_victim"):
            return MarkVictim(place)
    if any(os.path.isdir(place) and not os.access(place, os.R_OK | os.X_OK) for place in places):
        raise NotReadable(NAME, "may not be used", RIGHT)
    raise SourceError(NAME, "tracefs is not mounted, or this kernel has no tracepoints", RIGHT.partition(": ")[2])


def _remove_orphans(folder: str) -> None:
    for name in os.listdir(folder):
        pid = name.removeprefix(_PREFIX)
        if name.startswith(_PREFIX) and pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
            with suppress(OSError):
                os.rmdir(f"{folder}/{name}")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
