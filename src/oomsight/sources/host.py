"""Where this host keeps its kernel log: the best place that can be read, and why the better ones cannot."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from oomsight._lazy import lazy
from oomsight.sources import files
from oomsight.sources.dmesg import DmesgSource
from oomsight.sources.errors import NotReadable, SourceError
from oomsight.sources.journal import DIRECTORIES, JournalSource
from oomsight.sources.kmsg import KmsgSource

if TYPE_CHECKING:
    from oomsight.sources.source import Source

# Syslog families, best first. One is enough: the others repeat its kernel lines.
LOG_FAMILIES: Final = ("kern.log", "messages", "syslog")

_HOST_PIDS: Final = "pid:[4026531836]"  # include/linux/proc_ns.h PROC_PID_INIT_INO, 3.8+
_RECORD: Final = lazy(rb"\d+,(\d+),(\d+),")


@dataclass(slots=True)
class Candidate:
    """One place where the host may keep its kernel log, and what came of it."""

    name: str  #: for people: ``journal``, ``/dev/kmsg``, ``dmesg``, ``/var/log/kern.log*``
    sources: list[Source] = field(default_factory=list)  #: to be read in this order; empty = not usable
    period: str | None = None  #: what time it covers, in words; ``None`` = not known
    reason: str | None = None  #: why it is not usable; ``None`` = it is the one to use
    hint: str | None = None  #: which right or setting would make it usable

    @property
    def usable(self) -> bool:
        """Whether it can be read."""
        return self.reason is None


def in_container(proc: str = "/proc") -> bool:
    """Whether we are in a pid namespace that is not the host's; False where nobody can say."""
    try:
        return os.readlink(f"{proc}/self/ns/pid") != _HOST_PIDS
    except OSError:
        return False


def best_host_sources(root: str = "/") -> list[Candidate]:
    """
    Try the places of a host's kernel log, best first, and stop at the first that can be read.

    The last candidate is the one to use if it is ``usable``; those before it say why they are not. *root* is where
    the host's file system is (``/host`` in a container); with another root than ``/`` no dmesg is run.
    """
    tries: list[tuple[str, Callable[[str], Candidate]]] = [("journal", _journal), ("/dev/kmsg", _kmsg)]
    tries += [("dmesg", _dmesg)] if os.path.realpath(root) == "/" else []
    tries += [(f"/var/log/{family}*", partial(_files, family=family)) for family in LOG_FAMILIES]
    result = []
    for name, attempt in tries:
        try:
            candidate = attempt(root)
        except SourceError as error:
            candidate = Candidate(name, reason=error.what, hint=error.hint)
        result.append(candidate)
        if candidate.usable:
            break
    return result


def _journal(root: str) -> Candidate:
    directory = None
    if os.path.realpath(root) != "/":
        paths = [os.path.join(root, directory) for directory in DIRECTORIES]
        directory = next((path for path in paths if os.path.isdir(path)), None)
        if directory is None:
            raise SourceError("journal", "this host keeps no journal")
    source = JournalSource(directory=directory)
    source.check(root)
    span = source.period_us()
    period = f"{_when(span[0] / 1e6)} to {_when(span[1] / 1e6)}" if span else None
    return Candidate("journal", [source], period)


def _kmsg(root: str) -> Candidate:
    source = KmsgSource(os.path.join(root, "dev/kmsg"))
    first = next(source.blocks(), None)
    if first is None:
        raise SourceError(source.name, "holds no records")
    record = _RECORD.match(first)
    if record is None:
        period = None
    elif record[1] == b"0":
        period = "since boot"
    else:
        period = f"since {int(record[2]) / 1e6:.0f} s after boot; older records were overwritten"
    return Candidate("/dev/kmsg", [source], period)


def _dmesg(_root: str) -> Candidate:
    source = DmesgSource()
    if next(source.blocks(), None) is None:
        raise SourceError(source.name, "holds no records")
    return Candidate("dmesg", [source], "since boot, as far as not overwritten")


def _files(root: str, family: str) -> Candidate:
    pattern = f"/var/log/{family}*"
    refs = list(_rotations(root, family))
    if not refs:
        raise SourceError(pattern, "no such file")
    shut = [ref for ref in refs if not os.access(ref.paths[0], os.R_OK)]
    if len(shut) == len(refs):
        raise NotReadable(pattern, "permission denied", "sudo, or add yourself to group adm (messages: root only)")
    readable = [ref for ref in refs if ref not in shut]
    times = [os.stat(ref.paths[0]).st_mtime for ref in readable]
    period = f"files last written {_when(min(times))} to {_when(max(times))}"
    sources: list[Source] = [files.FileSource(ref) for ref in readable]
    return Candidate(pattern, sources, period)


def _rotations(root: str, family: str) -> Iterator[files.FileRef]:
    folder = os.path.join(root, "var/log")
    try:
        names = [name for name in os.listdir(folder) if re.fullmatch(re.escape(family) + r"(?:[.-].+)?", name)]
    except OSError:
        return
    paths = [os.path.join(folder, name) for name in sorted(names)]
    yield from files.expand([path for path in paths if os.path.isfile(path)])


def _when(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).astimezone().isoformat(" ", "minutes")
