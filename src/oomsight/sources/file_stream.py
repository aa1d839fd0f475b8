"""
A large file seen through areas already searched: the counterpart of :class:`~oomsight.sources.stream.Stream` for what
can be read in any order. Only what is around hits is read here, and nothing is kept but one piece of the file.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from typing import TYPE_CHECKING, Final, Self

from oomsight.sources.decode import is_plain
from oomsight.sources.stream import newlines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oomsight.sources.areas import Area
    from oomsight.sources.search import Hit

_HEAD_BYTES: Final = 64 << 10  #: show what a file is
_NEAR_BYTES: Final = 4 << 10  #: read on the side that is not being walked to
_FAR_BYTES: Final = 28 << 10  #: and on the side that is
_STEP_BYTES: Final = 1 << 10  #: a line end is looked for in


class PlainFile:
    """A regular file whose bytes are the text."""

    def __init__(self, path: str, fd: int, size_bytes: int, identity: tuple[int, int]) -> None:
        self.path, self.fd, self.size_bytes, self.identity = path, fd, size_bytes, identity

    def __enter__(self) -> Self:
        """Return the file itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        os.close(self.fd)

    def read(self, start: int, end: int) -> bytes:
        """The bytes there; fewer where the file ends or can no longer be read."""
        pieces = []
        try:
            while start < end and (piece := os.pread(self.fd, end - start, start)):
                pieces.append(piece)
                start += len(piece)
        except OSError:
            pass
        return b"".join(pieces)


def open_plain(path: str, least_bytes: int) -> PlainFile | None:
    """Open *path*; ``None`` = it is smaller, no regular file, not plain text, or not readable: read it as a stream."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    status = os.fstat(fd)
    file = PlainFile(path, fd, status.st_size, (status.st_dev, status.st_ino))
    if stat.S_ISREG(status.st_mode) and status.st_size > least_bytes:
        head = file.read(0, _HEAD_BYTES)
        if head and is_plain(head):
            return file
    os.close(fd)
    return None


class FileStream:
    """The file, and what was found in it."""

    base: Final = 0  #: offset of the first byte that can be had

    def __init__(self, file: PlainFile, areas: Iterator[Area]) -> None:
        self.lines = 0  #: newline characters in the part searched
        self.end = 0  #: offset behind the last byte searched
        self.hits: deque[Hit] = deque()  #: found, not yet handled
        self.pinned: int | None = None  #: line numbers will be asked from this offset on
        self.problem: str | None = None  #: why the file was not read to its end
        self._file = file
        self._areas = areas
        self._size = file.size_bytes
        self._marks: deque[tuple[int, int]] = deque([(0, 0)])
        self._held, self._held_at = b"", 0

    def __getitem__(self, part: slice) -> bytes:
        at = self._hold(part.start, part.stop)
        return self._held[part.start - at : part.stop - at]

    def copy(self, start: int, end: int) -> bytes:
        """The bytes of that part."""
        at = self._held_at
        return self._held[start - at : end - at] if self._holds(start, end) else self._file.read(start, end)

    def next_hit(self, until: int | None = None) -> Hit | None:
        """The next hit, searching on as far as *until*; ``None`` = to the end of the file."""
        while not self.hits and (until is None or self.end < until) and self._advance():
            pass
        return self.hits[0] if self.hits and (until is None or self.hits[0][0] < until) else None

    def reach(self, at: int) -> None:
        """Search as far as *at*, so that all hits before it are known."""
        while self.end < at and self._advance():
            pass

    def line_start(self, at: int, floor: int) -> int:
        """Begin of the line that holds the byte at *at*, at least *floor*."""
        low, step = at, _STEP_BYTES
        while low > floor:
            high, low, step = low, max(floor, low - step), 2 * step
            base = self._hold(low, high)
            found = self._held.rfind(b"\n", low - base, high - base)
            if found >= 0:
                return found + 1 + base
        return floor

    def line_end(self, at: int, most: int) -> int:
        """Offset behind the newline of the line at *at*; at most *most* bytes further."""
        stop, high, step = min(at + most, self._size), at, _STEP_BYTES
        while high < stop:
            low, high, step = high, min(stop, high + step), 2 * step
            base = self._hold(low, high)
            found = self._held.find(b"\n", low - base, high - base)
            if found >= 0:
                return found + 1 + base
        return stop

    def line_number(self, at: int) -> int:
        """1-based number of the line that holds the byte at *at*."""
        offset, before = next(mark for mark in reversed(self._marks) if mark[0] <= at)
        return before + newlines(self.copy(offset, at)) + 1

    def ends_line(self, at: int) -> bool:
        """Whether a line ends before *at*: there is a newline, or *at* is the begin or the end of the file."""
        return at == 0 or at >= self._size or self[at - 1 : at] == b"\n"

    @property
    def last_byte(self) -> int:
        """The last byte searched."""
        last = self._file.read(self.end - 1, self.end)
        return last[0] if last else 0x0A

    def _advance(self) -> bool:
        """Take the next area; False at the end."""
        area = next(self._areas, None)
        if area is None:
            return False
        needed = self.end if self.pinned is None else min(self.pinned, self.end)
        while len(self._marks) > 1 and self._marks[1][0] <= needed - _MARKS_BEHIND_BYTES:
            self._marks.popleft()
        self.hits += area.hits
        self._marks += [(offset, self.lines + lines) for offset, lines in area.marks]
        self.lines += area.lines
        self.end = area.end
        if not area.whole:  # it became shorter, or cannot be read any further
            self._size = area.end
            self.problem = area.problem or "became shorter while it was read"
        return True

    def _holds(self, start: int, end: int) -> bool:
        return self._held_at <= start and end <= self._held_at + len(self._held)

    def _hold(self, start: int, end: int) -> int:
        """Have that part in hand, with some before and behind; where what is in hand begins."""
        if not self._holds(start, end):
            before, behind = (_FAR_BYTES, _NEAR_BYTES) if start < self._held_at else (_NEAR_BYTES, _FAR_BYTES)
            self._held_at = max(0, start - before)
            self._held = self._file.read(self._held_at, end + behind)
        return self._held_at


_MARKS_BEHIND_BYTES: Final = 8 << 20  #: how far back a window may begin, and more
