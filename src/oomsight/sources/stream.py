"""
A byte stream seen through a fixed buffer: search for the needles, find line ends, count lines.

Offsets are absolute, from the begin of the stream. The buffer keeps what the window under construction needs
(``pinned``) and otherwise ``back_bytes`` before the first hit not yet handled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from oomsight.sources.needles import LONGEST
from oomsight.sources.search import Hit, searcher

Block = bytes | memoryview

_SHORT_LINES: Final = 70  #: newlines in 4 KiB from which on counting them byte by byte is faster


class Stream:
    """The buffer and what was found in it."""

    problem: Final = None  #: a stream that breaks is said by whoever reads it

    def __init__(self, blocks: Iterable[Block], *, size: int, back_bytes: int, block_bytes: int) -> None:
        self.lines = 0  #: newline characters in the part read
        self.end = 0  #: offset behind the last byte read
        self.base = 0  #: offset of the first byte still in the buffer
        self.hits: deque[Hit] = deque()  #: found, not yet handled
        self.pinned: int | None = None  #: keep everything from this offset on
        self._blocks = _pieces(blocks, block_bytes)
        self._block_bytes = block_bytes
        self._back_bytes = back_bytes
        # Fixed size, because its address is given to libc; one byte more, because the search needs one behind the text.
        self._size = size
        self._buffer = bytearray(size + 1)
        self._view = memoryview(self._buffer)
        self._search = searcher(self._buffer)
        self._searched = 0
        self._marks: deque[tuple[int, int]] = deque([(0, 0)])  # (offset, newlines before it), one per block

    def __getitem__(self, part: slice) -> bytearray:
        return self._buffer[part.start - self.base : part.stop - self.base]

    def copy(self, start: int, end: int) -> bytes:
        """The bytes of that part."""
        return bytes(self._view[start - self.base : end - self.base])

    def next_hit(self, until: int | None = None) -> Hit | None:
        """The next hit, searching on as far as *until*; ``None`` = to the end of the stream."""
        while not self.hits and (until is None or self._searched < until) and self._advance():
            pass
        return self.hits[0] if self.hits and (until is None or self.hits[0][0] < until) else None

    def reach(self, at: int) -> None:
        """Search as far as *at*, so that all hits before it are known."""
        while self._searched < at and self._advance():
            pass

    def line_start(self, at: int, floor: int) -> int:
        """Begin of the line that holds the byte at *at*, at least *floor*."""
        found = self._buffer.rfind(b"\n", floor - self.base, at - self.base)
        return floor if found < 0 else found + 1 + self.base

    def line_end(self, at: int, most: int) -> int:
        """Offset behind the newline of the line at *at*, reading on as needed; at most *most* bytes further."""
        begin = at
        while (found := self._buffer.find(b"\n", begin - self.base, self.end - self.base)) < 0:
            begin = self.end
            if begin >= at + most or not self._read():
                return min(begin, at + most)
        return min(found + 1 + self.base, at + most)

    def line_number(self, at: int) -> int:
        """1-based number of the line that holds the byte at *at*."""
        offset, before = next(mark for mark in reversed(self._marks) if mark[0] <= at)
        return before + newlines(self.copy(offset, at)) + 1

    def ends_line(self, at: int) -> bool:
        """Whether a line ends before *at*: there is a newline, or *at* is the begin or the end of the stream."""
        return at == 0 or self._buffer[at - self.base - 1] == 0x0A or (at == self.end and not self._read())

    @property
    def last_byte(self) -> int:
        """The last byte read."""
        return self._buffer[self.end - self.base - 1]

    def _advance(self) -> bool:
        """Search the next part of the stream; False at its end."""
        start = self._searched
        while self.end - start < self._block_bytes and self._read():
            pass
        end = min(self.end, start + self._block_bytes)
        if end == start:
            return False
        base = self.base
        self.hits.extend((at + base, role) for at, role in self._search(start - base, end - base))
        self._searched = end
        return True

    def _read(self) -> bool:
        """Append the next block to the buffer; False at the end of the stream."""
        block = next(self._blocks, None)
        if block is None:
            return False
        if self.end - self.base + len(block) > self._size:
            self._forget()
        at = self.end - self.base
        self._view[at : at + len(block)] = block
        self.end += len(block)
        self.lines += newlines(block)
        if self.end - self._marks[-1][0] >= self._block_bytes:
            self._marks.append((self.end, self.lines))
        return True

    def _forget(self) -> None:
        """Drop what nobody can need any more from the buffer, down to a mark so that lines can still be counted."""
        # The byte before tells whether a line begins there; a needle may have begun in the part already searched.
        overlap = self._searched - LONGEST
        if self.pinned is None:
            needed = min(self.hits[0][0] if self.hits else overlap, overlap) - self._back_bytes
        else:
            needed = min(self.pinned - 1, overlap)
        while len(self._marks) > 1 and self._marks[1][0] <= needed:
            self._marks.popleft()
        base = self._marks[0][0]
        self._view[: self.end - base] = self._view[base - self.base : self.end - self.base]
        self.base = base


def _pieces(blocks: Iterable[Block], size: int) -> Iterator[bytes]:
    """*blocks* with the large ones divided and the empty ones left out."""
    for block in blocks:
        if len(block) <= size:
            if block:
                yield bytes(block)
        else:
            view = memoryview(block)
            for at in range(0, len(view), size):
                yield bytes(view[at : at + size])


def newlines(block: bytes) -> int:
    """
    Return how many newlines *block* holds.

    CPython 3.11 counts by looking at every byte, but to take them out it jumps from one to the next: for lines of 100
    bytes in three fifths of the time.
    """
    if block.count(b"\n", 0, 4096) > _SHORT_LINES:
        return block.count(b"\n")
    return len(block) - len(block.replace(b"\n", b""))
