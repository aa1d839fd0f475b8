"""
The logs in a directory and below it.

A directory of logs is read whole. Of a home directory or ``/usr``, with a hundred thousand files that are no logs, only
those count whose name is a log's or whose text could hold a report; the rest is looked through once and dropped.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from typing import Final

from oomsight._lazy import lazy
from oomsight._record import Record, dataclass
from oomsight.sources.decode import JOURNAL_MAGIC, codec_of, is_binary, is_packed, plain
from oomsight.sources.errors import NotText, SourceError
from oomsight.sources.needles import LONGEST, NEEDLES, could_matter
from oomsight.sources.source import BLOCK_BYTES, Kind

SMALL_BYTES: Final = 1 << 20  #: of text looked at closely; in more of it only the needles count, as in the scan
_HEAD_BYTES: Final = 4096

# Names logs have, rotated and compressed ones too.
_LOG_NAME: Final = lazy(
    r"(?:kern|kernel|messages|syslog|dmesg|console|warn|debug|daemon|system|boot)"
    r"(?:[.-](?:log\b.*|old|err|info|warn|\d.*|gz|xz|zst|zstd|bz2|lzma))*$|.*\.log\b|.*\.journal~?$"
)
_NO_FILES: Final = frozenset({"/proc", "/sys", "/dev"})  # what the kernel shows as files when it is asked


@dataclass(slots=True, eq=False, repr=False)
class Looked(Record):
    """What was looked through in directories and dropped, because it cannot hold a report."""

    files: int = 0
    lines: int = 0
    bytes: int = 0  #: of text, decompressed
    tell: Callable[[Looked], None] | None = None  #: called after every file


@dataclass(slots=True, eq=False, repr=False)
class Below(Record):
    """One log below a directory."""

    path: str
    kind: Kind
    size_bytes: int


def logs_below(directory: str, looked: Looked | None = None, closed: list[str] | None = None) -> Iterator[Below]:
    """
    Yield the logs in *directory* and below: by name, or because they hold text. Links to directories are not followed.

    With *looked*, text under another name counts only where it could hold a report. Directories that may not be read
    are added to *closed*.
    """

    def refused(error: OSError) -> None:
        if closed is not None and isinstance(error, PermissionError):
            closed.append(os.fspath(error.filename))

    for folder, folders, names in os.walk(directory, onerror=refused):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in _NO_FILES]
        for name in names:
            path = os.path.join(folder, name)
            try:
                status = os.stat(path)
            except OSError:
                continue
            if not stat.S_ISREG(status.st_mode) or not status.st_size:
                continue
            kind = _kind(path, name, looked)
            if kind is not None:
                yield Below(path, kind, status.st_size)
            if looked is not None and looked.tell is not None:
                looked.tell(looked)


def _kind(path: str, name: str, looked: Looked | None) -> Kind | None:
    """What a regular file is read as; ``None`` = it is no log."""
    named = _LOG_NAME.match(name) is not None
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(_HEAD_BYTES)
            if head.startswith(JOURNAL_MAGIC):
                return "journal"
            if codec_of(head) is None and (is_packed(head) or not head.strip(b"\0") or is_binary(head)):
                return None
            if named or looked is None:
                return "file"
            file.seek(0)
            blocks = iter(lambda: file.read(BLOCK_BYTES), b"")
            return "file" if _matters(path, blocks, looked) else None
    except OSError:
        return "file" if named else None  # what looks like a log: explain says which right is missing


def _matters(path: str, blocks: Iterator[bytes], looked: Looked) -> bool:
    """Whether the text of a file could hold a report; what cannot is counted."""
    small, notes = b"", list[str]()
    lines = size = 0
    tail = b""
    try:
        for block in plain(path, blocks, notes, None, path):
            lines += block.count(b"\n")
            size += len(block)
            if size <= SMALL_BYTES:
                small += block
                continue
            # As the scan judges what is large: by the needles as they stand.
            part = (small or tail) + block
            if any(needle.text in part for needle in NEEDLES):
                return True
            small, tail = b"", part[-LONGEST:]
    except NotText:
        return False
    except SourceError:
        return True  # explain says what is wrong
    if notes or could_matter(small):
        return True
    looked.files += 1
    looked.lines += lines + ((small or tail)[-1:] not in b"\n")
    looked.bytes += size
    return False
