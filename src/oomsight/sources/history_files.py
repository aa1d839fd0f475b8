"""
The files of a history, read: chunks by their heads, the rest of them when it is wanted, and the wall clock of each.

Any number of readers may be beside the one writer. What is damaged is left out and counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from oomsight.record.chunk import HEAD_BYTES, ChunkBuilder, ChunkHead, Index, chunk_front, chunk_head, stream_of
from oomsight.record.codec import CHUNK, ENTITIES, HEADER, MAGIC, DamagedError, check, header
from oomsight.record.journal import Journal, read_journal, row_times
from oomsight.record.layout import (
    Words,
    entities_text,
    journal_name,
    numbers_of,
    parse_begin,
    parse_entities,
    parse_name,
)
from oomsight.record.tiers import TIERS


class HistoryError(Exception):
    """There is no history to read; one line."""


@dataclass(slots=True)
class File:
    """One file of chunks, or one journal as if it were one."""

    path: str
    tier: int
    boot: str
    spots: list[tuple[int, int, int]] = field(default_factory=list)  #: of descriptions: (where, length, sum)
    journal: Journal | None = None
    text: str | None = None  #: lines of descriptions
    words: Words | None = None
    numbers: dict[tuple[str, str], list[int]] = field(default_factory=dict)  #: (kind, ident) -> numbers
    whole: bool = False  #: the numbers of all are known, not only of those asked for


@dataclass(slots=True)
class Chunk:
    """One chunk. Times and index are there once it is loaded (:meth:`Shelf.load`)."""

    file: File
    start: int  #: of the body in the file
    head: ChunkHead
    shift_ms: int = 0  #: what makes time since boot wall clock
    times: list[int] = field(default_factory=list)  #: milliseconds since boot
    index: Index | None = None
    builder: ChunkBuilder | None = None  #: of a journal, …
    builders: dict[str | None, ChunkBuilder] = field(default_factory=dict)  #: … by kind asked for; ``None`` = of all

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
        self.damaged = 0  #: parts that are left out
        self._fds: dict[str, int] = {}
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            raise HistoryError(f"{self.path}: nothing has been recorded here") from None
        except OSError as error:
            raise HistoryError(f"{self.path}: {(error.strerror or str(error)).lower()}") from None
        # Journals first: what is packed in the meantime is then seen twice, and known by its number, never missed.
        journals = [found for tier in TIERS if (found := self._journal(journal_name(tier.number)))]
        self.chunks: list[Chunk] = []
        for name in sorted(set(filter(None, map(parse_name, [*names, *os.listdir(self.path)])))):
            self.chunks += self._scan(str(name), name.tier)
        packed = {chunk.head.journal for chunk in self.chunks}
        self.chunks += [chunk for chunk in journals if chunk.head.journal not in packed]
        self._date()

    def close(self) -> None:
        """Give the open files back; what is asked for later opens them again."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    def load(self, chunk: Chunk, kind: str | None = None) -> bool:
        """
        Read the times and the index of a chunk, of a journal those of *kind* alone (``None`` = of all kinds);
        ``False`` = it is damaged or gone, and is not asked again.
        """
        if chunk.index is not None and (chunk.file.journal is None or chunk.builders.get(kind) is chunk.builder):
            return True
        try:
            if chunk.file.journal is not None:
                chunk.builder = chunk.builders.get(kind) or chunk.builders.get(None) or chunk.file.journal.builder(kind)
                chunk.builders[kind] = chunk.builder
                chunk.times, chunk.index = chunk.builder.times, chunk.builder.index()
            else:
                front = self._piece(chunk.file.path, chunk.start, chunk.head.streams_at)
                chunk.times, chunk.index = chunk_front(chunk.head, front)
        except (OSError, DamagedError):
            self.damaged += 1
            self.chunks = [one for one in self.chunks if one is not chunk]
            return False
        return True

    def stream(self, chunk: Chunk, place: int) -> bytes:
        """The stream at *place* of a loaded chunk; empty = it is damaged."""
        index = chunk.index
        assert index is not None
        if chunk.builder is not None:
            return chunk.builder.stream(index.entities[place])
        start = chunk.start + chunk.head.streams_at + index.starts[place]
        try:
            return stream_of(index, place, self._piece(chunk.file.path, start, index.lengths[place] >> 1))
        except (OSError, DamagedError):
            self.damaged += 1
            return b""

    def streams(self, chunk: Chunk) -> Iterator[tuple[int, bytes]]:
        """(place, stream) of everything in a loaded chunk."""
        index = chunk.index
        assert index is not None
        if chunk.builder is not None:
            yield from ((place, chunk.builder.stream(entity)) for place, entity in enumerate(index.entities))
            return
        try:
            data = self._piece(chunk.file.path, chunk.start + chunk.head.streams_at, index.starts[-1])
        except OSError:
            self.damaged += 1
            return
        for place, start in enumerate(index.starts[:-1]):
            try:
                yield place, stream_of(index, place, data[start : start + (index.lengths[place] >> 1)])
            except DamagedError:
                self.damaged += 1

    def words(self, file: File) -> Words:
        """Number -> description of every entity in a file."""
        if file.words is None:
            try:
                file.words = parse_entities(self._text(file))
            except DamagedError:
                self.damaged += 1
                file.words = {}
        return file.words

    def numbers(self, file: File, kind: str, ident: str) -> list[int]:
        """Numbers that an entity has in a file: one that went and came again has several."""
        if file.words is not None and not file.whole:  # all have been unpacked for a list: then look nothing up again
            file.whole = True
            file.numbers.clear()
            for number, one in file.words.items():
                file.numbers.setdefault((one.kind, one.ident), []).append(number)
        if file.whole:
            return file.numbers.get((kind, ident), [])
        found = file.numbers.get((kind, ident))
        if found is None:
            found = file.numbers[kind, ident] = numbers_of(self._text(file), kind, ident)
        return found

    # -----------------------------------------------------------------------------------------------------------------

    def _journal(self, name: str) -> Chunk | None:
        path = os.path.join(self.path, name)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError:
            return None
        if not data or not _ours(path, data):
            return None
        try:
            journal = read_journal(data)
            if not journal.rows:
                return None
            first, (last, wall) = row_times(journal.rows[0])[0], row_times(journal.rows[-1])
        except DamagedError:
            self.damaged += 1
            return None
        begin = journal.begin
        head = ChunkHead(begin.journal, wall, first, last, len(journal.rows), 0, 0, 0, 0, 0)
        return Chunk(File(path, begin.tier, begin.boot, journal=journal, text=journal.text), 0, head)

    def _text(self, file: File) -> str:
        if file.text is None:
            parts = []
            for start, length, crc in file.spots:
                try:
                    body = self._piece(file.path, start, length)
                    if not check(ENTITIES, body, crc):
                        raise DamagedError("sum")
                    parts.append(entities_text(body))
                except (OSError, DamagedError):
                    self.damaged += 1
            file.text = "".join(parts)
        return file.text

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
            file = File(path, tier, "")
            at = len(MAGIC)
            while at + HEADER.size <= size:
                head = os.pread(fd, HEADER.size + HEAD_BYTES, at)
                kind, length, crc = header(head[: HEADER.size])
                start, at = at + HEADER.size, at + HEADER.size + length
                if at > size:
                    return
                if kind == CHUNK:
                    yield Chunk(file, start, chunk_head(head[HEADER.size :]))
                elif kind == ENTITIES:
                    file.spots.append((start, length, crc))
                else:
                    file.boot = parse_begin(os.pread(fd, length, start)).boot
        except DamagedError:
            self.damaged += 1
        finally:
            os.close(fd)

    def _date(self) -> None:
        """All rows of a boot by the newest comparison of its clock with the wall clock."""
        newest: dict[str, tuple[int, int]] = {}
        for chunk in self.chunks:
            head = chunk.head
            if head.last_ms >= newest.get(chunk.file.boot, (-1, 0))[0]:
                newest[chunk.file.boot] = (head.last_ms, head.wall_ms - head.last_ms)
        for chunk in self.chunks:
            chunk.shift_ms = newest[chunk.file.boot][1]
        self.chunks.sort(key=lambda chunk: chunk.first)

    def _piece(self, path: str, start: int, length: int) -> bytes:
        fd = self._fds.get(path)
        if fd is None:
            if len(self._fds) >= 64:
                self.close()
            fd = self._fds[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(fd, length, start)


def _ours(path: str, data: bytes) -> bool:
    """Whether a file is a history's. Raises :class:`HistoryError` for one of a later format."""
    if data[: len(MAGIC)] == MAGIC:
        return True
    if data[:4] == MAGIC[:4] and len(data) >= len(MAGIC) and data[5 : len(MAGIC)] == MAGIC[5:]:
        raise HistoryError(f"{path}: made by a newer oomsight (format {data[4]})")
    return False
