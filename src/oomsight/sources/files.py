"""Log files: which ones a list of arguments means, in which order, and their bytes."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO, RawIOBase
from itertools import pairwise
from shlex import quote
from typing import TYPE_CHECKING, Final

from oomsight._lazy import lazy
from oomsight._record import Record, dataclass, field
from oomsight.sources.decode import JOURNAL_MAGIC, plain
from oomsight.sources.errors import NotReadable, SourceError, from_os_error
from oomsight.sources.source import BLOCK_BYTES, Kind, Progress

if TYPE_CHECKING:
    from oomsight.sources.below import Looked
    from oomsight.sources.file_stream import PlainFile

STDIN_NAME: Final = "<stdin>"
_NAMED: Final = 3  #: directories that may not be read are named up to this number
_KMSG_DEVICE: Final = os.makedev(1, 11)
_NO_LOGS = frozenset(os.makedev(1, minor) for minor in (1, 2, 4, 5, 7, 8, 9))  # mem, port, zero, full, random: no end

_PART: Final = lazy(rb"[A-Z][a-z]+#\d{1,6} Part\d{1,4}\r?\n")  # fs/pstore/platform.c pstore_dump()

# name, rotation by number (1 = the newest), rotation by date, compression.
_ROTATION: Final = lazy(
    r"(?P<stem>.+?)(?:[.-](?P<date>20\d{6}(?:[-T_]?\d{2,6})?))?(?:\.(?P<number>\d{1,4}))?(?P<old>\.old)?"
    r"(?P<packed>\.(?:gz|xz|zst|zstd|bz2|lzma))?$"
)


@dataclass(slots=True, eq=False, repr=False)
class FileRef(Record):
    """One thing to read that the arguments mean."""

    name: str  #: for people: the path as given or found, or ``<stdin>``
    kind: Kind
    paths: tuple[str, ...]
    """One path; several for journal files, which journalctl merges, and for parts that pstore kept; none for stdin."""
    size_bytes: int | None = None  #: on disk; ``None`` = not known (pipe, device)
    follows: str | None = None  #: name of the file that a rotation left and this one goes on from, if it is there too


@dataclass(slots=True, eq=False, repr=False)
class FileSource(Record):
    """A log file or standard input, compressed or not."""

    ref: FileRef
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.ref.name

    @property
    def kind(self) -> Kind:
        return self.ref.kind

    @property
    def size_bytes(self) -> int | None:
        return self.ref.size_bytes

    @property
    def follows(self) -> str | None:
        return self.ref.follows

    def blocks(self, progress: Progress | None = None) -> Iterator[bytes]:
        """Yield the text of the file; see :func:`open_blocks`."""
        return open_blocks(self.ref, progress=progress, notes=self.notes)

    def plain_file(self, least_bytes: int) -> PlainFile | None:
        """The file itself, where it is larger than that and its bytes are the text; ``None`` = only in blocks."""
        if self.kind != "file" or len(self.ref.paths) != 1 or (self.size_bytes or 0) <= least_bytes:
            return None
        from oomsight.sources.file_stream import open_plain

        return open_plain(self.ref.paths[0], least_bytes)


def expand(
    paths: Sequence[str],
    *,
    looked: Looked | None = None,
    on_error: Callable[[SourceError], None] | None = None,
) -> list[FileRef]:
    """
    Return what *paths* (files, directories, patterns, ``-``) mean, each file once, older before newer rotations.

    Files keep the order of the arguments, except that the rotations of one log stand together, oldest first. With
    *looked*, files in directories that are neither called like a log nor could hold a report are only counted there.
    Raises :class:`SourceError` for a path that is not there and for a directory without any text; with *on_error* that
    is called instead, and the other paths are taken.
    """
    refs: list[FileRef] = []
    for path in paths:
        try:
            refs += _meant(path, looked, on_error)
        except SourceError as error:
            if on_error is None:
                raise
            on_error(error)
    return _by_age(_merge(_once(refs)))


def _meant(path: str, looked: Looked | None, on_error: Callable[[SourceError], None] | None) -> list[FileRef]:
    """What one argument means; *on_error* is told of directories below it that may not be read."""
    if path == "-":
        return [FileRef(STDIN_NAME, "stdin", ())]
    if os.path.isdir(path):
        from oomsight.sources.below import logs_below

        if not os.access(path, os.R_OK | os.X_OK):
            raise NotReadable(path, "permission denied", f"sudo oomsight explain {quote(path)}")
        before = looked.files if looked else 0
        closed: list[str] = []
        logs = sorted(logs_below(path, looked, closed), key=lambda log: log.path)
        if closed and on_error is not None:
            more = f" and {len(closed) - _NAMED} more directories" if len(closed) > _NAMED else ""
            names, hint = ", ".join(sorted(closed)[:_NAMED]), f"sudo oomsight explain {quote(path)}"
            on_error(NotReadable(f"{names}{more}", "permission denied, what is in there was left out", hint))
        if not logs and (looked is None or looked.files == before):
            raise SourceError(path, "no log files in this directory", "the file itself, whatever it is called")
        return [FileRef(log.path, log.kind, (log.path,), log.size_bytes) for log in logs]
    if os.path.lexists(path) or not set("*?[") & set(path):
        return [_ref(path)]
    from glob import glob

    matches = sorted(match for match in glob(path, recursive=True) if not os.path.isdir(match))
    if not matches:
        raise SourceError(path, "no file matches this pattern", f"ls {os.path.dirname(path) or '.'}")
    return [_ref(match) for match in matches]


def _ref(path: str) -> FileRef:
    """The reference for one existing path."""
    try:
        status = os.stat(path)
    except OSError as error:
        if error.errno == errno.EACCES:
            return FileRef(path, "file", (path,))  # opening it will say so, with the hint
        raise _no_file(path, error) from None
    if stat.S_ISSOCK(status.st_mode):
        raise SourceError(path, "is a socket, not a log", "the file that the program behind it writes")
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == _KMSG_DEVICE:
        return FileRef(path, "kmsg", (path,))
    if stat.S_ISBLK(status.st_mode) or (stat.S_ISCHR(status.st_mode) and status.st_rdev in _NO_LOGS):
        raise SourceError(path, "is a device, not a log", "oomsight explain, which reads this host's own log")
    if os.path.realpath(path) == "/proc/kmsg":  # syslog(2), SYSLOG_ACTION_READ
        wrong = "hands out each message once and then waits for more, which the log daemon would miss"
        raise SourceError(path, wrong, "oomsight explain /dev/kmsg")
    if stat.S_ISREG(status.st_mode):
        return FileRef(path, "journal" if _head(path).startswith(JOURNAL_MAGIC) else "file", (path,), status.st_size)
    return FileRef(path, "file", (path,))


def _no_file(path: str, error: OSError) -> SourceError:
    """What is wrong with a *path* that leads to no file."""
    if os.path.islink(path):
        to = os.readlink(path)
        around = error.errno == errno.ELOOP
        wrong = "links that lead back to each other" if around else f"a link to {to}, which is not there"
        return SourceError(path, f"is {'one of ' if around else ''}{wrong}", "the log itself")
    if error.errno == errno.ENOENT:
        return SourceError(path, "no such file or directory", f"ls {os.path.dirname(path) or '.'}")
    return from_os_error(path, error)


def _head(path: str) -> bytes:
    """The first bytes of a regular file; empty when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(4096)
    except OSError:
        return b""


def _once(refs: list[FileRef]) -> list[FileRef]:
    """*refs* without the files that are there already, under this or another name."""
    seen: set[object] = set()
    result = []
    for ref in refs:
        key: object = ref.name
        if ref.paths:
            try:
                status = os.stat(ref.paths[0])
                key = status.st_dev, status.st_ino
            except OSError:
                key = os.path.realpath(ref.paths[0])
        if key not in seen:
            seen.add(key)
            result.append(ref)
    return result


def _merge(refs: list[FileRef]) -> list[FileRef]:
    """
    *refs* with the files of one directory as one that are pieces of one log: journal files, whose entries journalctl
    puts in order, and the parts that pstore keeps, which the parser does.
    """
    result: list[FileRef] = []
    firsts: dict[tuple[str, Kind], FileRef] = {}
    for ref in refs:
        pieces = ref.kind == "journal" or (ref.kind == "file" and _is_part(ref.paths[0]))
        key = (os.path.dirname(ref.paths[0]), ref.kind) if pieces else None
        if key is not None and (first := firsts.get(key)):
            first.name, first.paths = key[0] or ".", (*first.paths, *ref.paths)
            first.size_bytes = (first.size_bytes or 0) + (ref.size_bytes or 0)
            continue
        result.append(ref)
        if key is not None:
            firsts[key] = ref
    return result


def _is_part(path: str) -> bool:
    """Whether a file is one of those fs/pstore makes of a kernel log (dmesg-efi_pstore-…, dmesg-ramoops-0, …)."""
    return os.path.basename(path).startswith("dmesg-") and _PART.match(_head(path)) is not None


def _by_age(refs: list[FileRef]) -> list[FileRef]:
    """*refs* with the rotations of one log together, oldest first; the logs in the order of their first file."""
    order: dict[str, int] = {}
    keys: list[tuple[int, bool, str, int]] = []
    for ref in refs:
        match = _ROTATION.match(ref.name)
        stem = match["stem"] if match and ref.kind == "file" else ref.name
        date, number = (match["date"], match["number"] or (match["old"] and 1)) if match else (None, None)
        keys.append(
            # Within one log: by date, by descending number, and the file still written to at the end.
            (order.setdefault(stem, len(order)), not (date or number), date or "", -int(number or 0))
        )
    found = sorted(zip(keys, refs, strict=True), key=lambda pair: pair[0])
    for (older, before), (newer, ref) in pairwise(found):
        if older[0] == newer[0] and before.kind == ref.kind == "file" and _goes_on(older[1:], newer[1:]):
            ref.follows = before.name
    return [ref for _, ref in found]


def _goes_on(older: tuple[bool, str, int], newer: tuple[bool, str, int]) -> bool:
    """Whether one rotation goes on from another, by (written to, date, negative number): none between is missing."""
    if older[0] or older == newer:
        return False  # two copies of one file
    if newer[0] and older[1]:
        return True
    # .1 (or .0) goes on in the file without a number; dates have no rhythm to tell what is missing.
    step = newer[2] - older[2]
    return step in {0, 1} if newer[0] else (bool(older[1]) and older[1] != newer[1]) or step == 1


def open_blocks(
    ref: FileRef, *, progress: Progress | None = None, notes: list[str] | None = None
) -> Iterator[bytes]:
    """
    Yield the text of *ref*: decompressed, as UTF-8, journal files and /dev/kmsg in their own formats.

    Raises :class:`SourceError` when nothing can be read; what went wrong later is appended to *notes*.
    """
    notes = [] if notes is None else notes
    if ref.kind == "journal":
        from oomsight.sources.journal import journal_blocks

        yield from journal_blocks(files=ref.paths, notes=notes)
    elif ref.kind == "kmsg":
        from oomsight.sources.kmsg import KmsgSource

        source = KmsgSource(ref.paths[0], notes=notes)
        yield from source.blocks(progress)
    else:
        path = ref.paths[0] if ref.paths else None
        with_end = path is not None and ref.size_bytes is not None
        again = (lambda: _raw(ref, None, [])) if with_end else None
        yield from plain(ref.name, _raw(ref, progress, notes), notes, again, path)


def _raw(ref: FileRef, progress: Progress | None, notes: list[str]) -> Iterator[bytes]:
    """Yield the bytes of *ref* as they are."""
    hint, done = f"sudo oomsight explain {quote(ref.name)}", 0
    try:
        for path in ref.paths or (None,):
            with open(path, "rb", buffering=0) if path is not None else _standard_input() as file:
                while block := file.read(BLOCK_BYTES):
                    done += len(block)
                    yield block
                    if progress:
                        progress(done)
    except OSError as error:
        if not done:
            raise from_os_error(ref.name, error, hint) from None
        notes.append(f"{ref.name}: {error.strerror} after {done} bytes; explained what was readable")


def _standard_input() -> RawIOBase | BytesIO:
    """Standard input without buffering; whatever stands in for it when it was replaced."""
    if sys.stdin is None:  # closed by whoever started us
        raise SourceError(STDIN_NAME, "is closed", "oomsight explain FILE")
    try:
        return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
    except ValueError:  # no file descriptor behind it
        return BytesIO(sys.stdin.buffer.read())
