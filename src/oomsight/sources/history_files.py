"""
The files of a history, read: chunks by their heads, bodies when they are wanted, and the wall clock of each.

Any number of readers may be beside the one writer. What is damaged is left out and counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from oomsight.record.codec import (
    CHUNK,
    ENTITIES,
    HEAD_BYTES,
    HEADER,
    MAGIC,
    ChunkHead,
    DamagedError,
    Index,
    check,
    chunk_head,
    chunk_index,
    chunk_times,
    header,
)
from oomsight.record.journal import read_journal
from oomsight.record.layout import journal_name, parse_begin, parse_entities, parse_name
from oomsight.record.tiers import TIERS


class HistoryError(Exception):
    """There is no history to read; one line."""


@dataclass(slots=True)
class File:
    """One file of chunks, or one journal as if it were one."""

    path: str
    tier: int
    boot: str
    words: dict[int, dict[str, Any]] | None = None
    spots: list[tuple[int, int, int]] | None = None  #: of descriptions: (where, length, sum)


@dataclass(slots=True)
class Chunk:
    """One chunk. Body, times and index are there once it is loaded (:meth:`Shelf.load`)."""

    file: File
    start: int  #: of the body in the file
    length: int
    crc: int
    head: ChunkHead
    shift_ms: int = 0  #: what makes time since boot wall clock
    body: bytes | None = None
    times: list[int] | None = None
    index: Index | None = None

    @property
    def tier(self) -> int:
        """Which density."""
        return self.file.tier

    @property
    def first(self) -> float:
        """Unix seconds of its first row."""
        return (self.head.first_ms + self.shift_ms) / 1000

    @property
    def last(self) -> float:
        """Unix seconds of its last row."""
        return (self.head.last_ms + self.shift_ms) / 1000


class Shelf:
    """All chunks of the directory *path*, dated, oldest first. What is recorded later is seen by a new one."""

    def __init__(self, path: str) -> None:
        """Raises :class:`HistoryError` where there is nothing to read."""
        self.path = path
        self.damaged = 0  #: chunks whose sum is wrong; they are left out
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            raise HistoryError(f"{self.path}: nothing has been recorded here") from None
        except OSError as error:
            raise HistoryError(f"{self.path}: {(error.strerror or str(error)).lower()}") from None
        # Journals first: what is packed in the meantime is then seen twice, and known by its number, never missed.
        journals = [found for tier in TIERS if (found := self._journal(journal_name(tier.number)))]
        self.chunks: list[Chunk] = []
        for name in sorted(filter(None, map(parse_name, [*names, *os.listdir(self.path)]))):
            if not self.chunks or self.chunks[-1].file.path != os.path.join(self.path, str(name)):
                self.chunks += self._scan(str(name), name.tier)
        packed = {chunk.head.journal for chunk in self.chunks}
        self.chunks += [chunk for chunk in journals if chunk.head.journal not in packed]
        self._date()

    def _journal(self, name: str) -> Chunk | None:
        path = os.path.join(self.path, name)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError:
            return None
        if not _ours(path, data):
            return None
        try:
            begin, builder, words = read_journal(data)
            if not len(builder):
                return None
            body = builder.body(begin.journal)
            file_ = File(path, begin.tier, begin.boot, words)
            return Chunk(file_, 0, len(body), 0, chunk_head(body), body=body)
        except DamagedError:
            self.damaged += 1
            return None

    def _scan(self, name: str, tier: int) -> Iterator[Chunk]:
        """The chunks of a file, their heads only."""
        path = os.path.join(self.path, name)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # too old by now
        except OSError as error:
            raise HistoryError(f"{path}: {(error.strerror or str(error)).lower()}") from None
        try:
            size = os.fstat(fd).st_size
            if not _ours(path, os.pread(fd, len(MAGIC), 0)):
                self.damaged += size > 0
                return
            file = File(path, tier, "", spots=[])
            at = len(MAGIC)
            while at + HEADER.size <= size:
                head = os.pread(fd, HEADER.size + HEAD_BYTES, at)
                kind, length, crc = header(head[: HEADER.size])
                start, at = at + HEADER.size, at + HEADER.size + length
                if at > size:
                    return
                if kind == CHUNK:
                    yield Chunk(file, start, length, crc, chunk_head(head[HEADER.size :]))
                elif kind == ENTITIES:
                    assert file.spots is not None
                    file.spots.append((start, length, crc))
                else:
                    file.boot = parse_begin(os.pread(fd, length, start)).boot
        except DamagedError:
            self.damaged += 1
        finally:
            os.close(fd)

    def _date(self) -> None:
        newest: dict[str, tuple[int, int]] = {}
        for chunk in self.chunks:
            head = chunk.head
            if head.last_ms >= newest.get(chunk.file.boot, (-1, 0))[0]:
                newest[chunk.file.boot] = (head.last_ms, head.wall_ms - head.last_ms)
        for chunk in self.chunks:
            chunk.shift_ms = newest[chunk.file.boot][1]
        self.chunks.sort(key=lambda chunk: chunk.first)

    def load(self, chunk: Chunk) -> bool:
        """Read a chunk; ``False`` = it is damaged or gone."""
        if chunk.index is not None:
            return True
        try:
            if chunk.body is None:
                chunk.body = _piece(chunk.file.path, chunk.start, chunk.length)
                if not check(CHUNK, chunk.body, chunk.crc):
                    raise DamagedError("sum")
            chunk.index = chunk_index(chunk.head, chunk.body)
            chunk.times = chunk_times(chunk.head, chunk.body)
        except (OSError, DamagedError):
            self.damaged += 1
            self.chunks = [one for one in self.chunks if one is not chunk]
            chunk.body = chunk.index = None
            return False
        return True

    @staticmethod
    def times(chunk: Chunk) -> list[int]:
        """The milliseconds since boot of a loaded chunk's rows."""
        if chunk.times is None:
            assert chunk.body is not None
            chunk.times = chunk_times(chunk.head, chunk.body)
        return chunk.times

    def words(self, file: File) -> dict[int, dict[str, Any]]:
        """Number -> description of every entity in a file."""
        if file.words is None:
            file.words = {}
            for start, length, crc in file.spots or ():
                try:
                    body = _piece(file.path, start, length)
                    if check(ENTITIES, body, crc):
                        file.words.update(parse_entities(body))
                except (OSError, DamagedError):
                    self.damaged += 1
        return file.words


def _ours(path: str, data: bytes) -> bool:
    """Whether a file is a history's. Raises :class:`HistoryError` for one of a later format."""
    if data[: len(MAGIC)] == MAGIC:
        return True
    if data[:4] == MAGIC[:4] and len(data) >= len(MAGIC) and data[5 : len(MAGIC)] == MAGIC[5:]:
        raise HistoryError(f"{path}: made by a newer oomsight (format {data[4]})")
    return False


def _piece(path: str, start: int, length: int) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, length, start)
    finally:
        os.close(fd)
