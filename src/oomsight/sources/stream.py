"""
A byte stream seen through a fixed buffer: search for the needles, find line ends, count lines.

Offsets are absolute, from the begin of the stream. The buffer keeps what the window under construction needs
(``pinned``) and otherwise ``back_bytes`` before the first hit not yet handled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from oomsight.sources.needles import NEEDLES, Role

Block = bytes | memoryview
Hit = tuple[int, Role]

_LONGEST: Final = max(len(needle.text) for needle in NEEDLES)


class Stream:
    """The buffer and what was found in it."""

    def __init__(self, blocks: Iterable[Block], *, size: int, back_bytes: int, block_bytes: int) -> None:
        self.lines = 0  #: newline characters in the part searched
        self.end = 0  #: offset behind the last byte read
        self.base = 0  #: offset of the first byte still in the buffer
        self.hits: deque[Hit] = deque()  #: found, not yet handled
        self.pinned: int | None = None  #: keep everything from this offset on
        self._blocks = _pieces(blocks, block_bytes)
        self._block_bytes = block_bytes
        self._back_bytes = back_bytes
        # Fixed size, because its address is given to memmem.
        self._buffer = bytearray(size)
        self._view = memoryview(self._buffer)
        self._search = searcher(self._buffer)
        self._searched = 0
        self._marks: deque[tuple[int, int]] = deque([(0, 0)])  # (offset, newlines before it), one per search

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
        offset, newlines = next(mark for mark in reversed(self._marks) if mark[0] <= at)
        return newlines + self._buffer.count(b"\n", offset - self.base, at - self.base) + 1

    def ends_line(self, at: int) -> bool:
        """Whether a line ends before *at*: there is a newline, or *at* is the begin or the end of the stream."""
        return at == 0 or self._buffer[at - self.base - 1] == 0x0A or (at == self.end and not self._read())

    @property
    def last_byte(self) -> int:
        """The last byte read."""
        return self._buffer[self.end - self.base - 1]

    def _advance(self) -> bool:
        """Search the next part of the stream and count its lines; False at its end."""
        start = self._searched
        while self.end - start < self._block_bytes and self._read():
            pass
        end = min(self.end, start + self._block_bytes)
        if end == start:
            return False
        base = self.base
        self.hits.extend((at + base, role) for at, role in self._search(start - base, end - base))
        self.lines += self._buffer.count(b"\n", start - base, end - base)
        self._marks.append((end, self.lines))
        self._searched = end
        return True

    def _read(self) -> bool:
        """Append the next block to the buffer; False at the end of the stream."""
        block = next(self._blocks, None)
        if block is None:
            return False
        if self.end - self.base + len(block) > len(self._buffer):
            self._forget()
        at = self.end - self.base
        self._view[at : at + len(block)] = block
        self.end += len(block)
        return True

    def _forget(self) -> None:
        """Drop what nobody can need any more from the buffer, down to a mark so that lines can still be counted."""
        # The byte before tells whether a line begins there; a needle may have begun in the part already searched.
        overlap = self._searched - _LONGEST
        if self.pinned is None:
            needed = min(self.hits[0][0] if self.hits else overlap, overlap) - self._back_bytes
        else:
            needed = min(self.pinned - 1, overlap)
        while len(self._marks) > 1 and self._marks[1][0] <= needed:
            self._marks.popleft()
        base = self._marks[0][0]
        self._view[: self.end - base] = self._view[base - self.base : self.end - self.base]
        self.base = base


def _pieces(blocks: Iterable[Block], size: int) -> Iterator[Block]:
    """*blocks* with the large ones divided and the empty ones left out."""
    for block in blocks:
        if len(block) <= size:
            if block:
                yield block
        else:
            view = memoryview(block)
            for at in range(0, len(view), size):
                yield view[at : at + size]


def searcher(buffer: bytearray, *, native: bool = True) -> Callable[[int, int], list[Hit]]:
    """Return ``search(start, end)`` -> sorted hits in that part of *buffer*: by libc's memmem, else ``find``."""
    needles = [(needle.text, len(needle.text), needle.role) for needle in NEEDLES]
    find = (memmem_in(buffer) if native else None) or buffer.find

    def search(start: int, end: int) -> list[Hit]:
        hits: list[Hit] = []
        for text, size, role in needles:
            at = find(text, max(0, start - size + 1), end)  # a needle may have begun in the part before
            while at >= 0:
                hits.append((at, role))
                at = find(text, at + size, end)
        hits.sort()
        return hits

    return search


def memmem_in(buffer: bytearray) -> Callable[[bytes, int, int], int] | None:
    """``buffer.find`` by way of libc's memmem, 4 times as fast as CPython's on long needles; ``None`` without one."""
    try:
        import ctypes

        memmem = ctypes.CDLL(None).memmem
    except (ImportError, OSError, AttributeError, TypeError):
        return None
    memmem.restype = ctypes.c_void_p
    memmem.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t)
    # The array keeps the buffer from being resized, so from moving, as long as the function lives.
    array = (ctypes.c_char * len(buffer)).from_buffer(buffer)
    address = ctypes.addressof(array)

    def find(text: bytes, start: int, end: int, _array: object = array) -> int:
        found = memmem(address + start, end - start, text, len(text)) if end > start else None
        return -1 if found is None else int(found) - address

    return find
