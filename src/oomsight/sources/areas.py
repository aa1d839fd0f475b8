"""
Searching a file area by area, each by itself: what several processes can share.

An area is searched in blocks that stand where :class:`~oomsight.sources.stream.Stream` has them, so that a file gives
the same hits however it is divided. Lines are counted on the way, closer around hits, where line numbers will be asked.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from oomsight._lazy import remembered
from oomsight._named import NamedTuple
from oomsight.sources.needles import LONGEST
from oomsight.sources.search import Hit, searcher
from oomsight.sources.source import BLOCK_BYTES
from oomsight.sources.stream import newlines

if TYPE_CHECKING:
    from collections.abc import Iterator

AREA_BYTES: Final = 8 << 20  #: searched at once: 10 ms of work
_MARK_BYTES: Final = 32 << 10  #: lines are counted up to every so many bytes of a block with a hit


class Area(NamedTuple):
    """What was found in a part of a file."""

    start: int
    end: int  #: behind the last byte searched
    hits: list[Hit]  #: offsets in the file
    marks: list[tuple[int, int]]  #: (offset, newlines from ``start`` up to it)
    lines: int  #: newlines
    whole: bool = True  #: it was searched to where it should end; else the file ends here
    problem: str | None = None  #: why no more could be read


class Part(NamedTuple):
    """A part of a file that another process is to search; it opens the file itself."""

    path: str
    identity: tuple[int, int]  #: device and inode: another file may have the name by now
    start: int
    end: int


class AreaSearch:
    """Searches areas of the file open as *fd*, in blocks of *block_bytes* (tests use small ones)."""

    def __init__(self, fd: int, block_bytes: int = BLOCK_BYTES) -> None:
        self._fd = fd
        self._block_bytes = block_bytes
        # A needle may have begun before the block; one byte more, because the search needs one behind the text.
        self._buffer = bytearray(b"\n" * LONGEST) + bytearray(block_bytes + 1)
        self._view = memoryview(self._buffer)
        self._search = searcher(self._buffer)

    def __call__(self, start: int, end: int) -> Area:
        """Search from *start*, a multiple of the block size, to *end* or the end of the file."""
        hits: list[Hit] = []
        marks: list[tuple[int, int]] = []
        lines, at, problem = 0, start, None
        if self._is_hole(start, end):
            return Area(start, end, hits, marks, 0)
        try:
            if start:
                self._read(start - LONGEST, 0, LONGEST)
            else:
                self._buffer[:LONGEST] = b"\n" * LONGEST
            while at < end:
                size = self._read(at, LONGEST, min(self._block_bytes, end - at))
                if not size:
                    break
                found = self._search(LONGEST, LONGEST + size)
                hits += [(at - LONGEST + offset, role) for offset, role in found]
                step = _MARK_BYTES if found else self._block_bytes
                for piece in range(0, size, step):
                    marks.append((at + piece, lines))
                    begin = LONGEST + piece
                    lines += newlines(bytes(self._view[begin : min(begin + step, LONGEST + size)]))
                self._view[:LONGEST] = self._view[size : size + LONGEST]
                at += size
        except OSError as error:
            problem = error.strerror or str(error)
        return Area(start, at, hits, marks, lines, at >= end, problem)

    def _read(self, at: int, to: int, size: int) -> int:
        """Read *size* bytes at *at* to offset *to* of the buffer; how many there were."""
        done = 0
        while done < size and (got := os.preadv(self._fd, [self._view[to + done : to + size]], at + done)):
            done += got
        return done

    def _is_hole(self, start: int, end: int) -> bool:
        """Whether nothing was ever written there: a sparse file reads as zeros."""
        try:
            return os.lseek(self._fd, start, os.SEEK_DATA) >= end
        except OSError as error:  # a hole up to the end of the file, or the file system does not know
            return error.errno == errno.ENXIO and os.fstat(self._fd).st_size >= end


@remembered(1)
def _opened(path: str, identity: tuple[int, int]) -> AreaSearch:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    status = os.fstat(fd)
    if (status.st_dev, status.st_ino) != identity:
        os.close(fd)
        raise FileNotFoundError(path)
    return AreaSearch(fd)


def search_part(part: Part, _: object = None) -> Area:
    """Search *part*, in another process than that which has the file open. Raises ``OSError`` where it is not there."""
    return _opened(part.path, part.identity)(part.start, part.end)


def areas_of(size_bytes: int, area_bytes: int = AREA_BYTES) -> Iterator[tuple[int, int]]:
    """Begin and end of the areas of a file."""
    for start in range(0, size_bytes, area_bytes):
        yield start, min(start + area_bytes, size_bytes)
