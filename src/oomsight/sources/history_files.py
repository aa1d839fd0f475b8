"""
The files of a history, read: chunks by their heads, the rest of them when it is wanted, and the wall clock of each.

Any number of readers may be beside the one writer. What is damaged is left out and counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING, Final

from oomsight._record import dataclass, field
from oomsight.record.chunk import ChunkHead, Index, Marks, chunk_front, chunk_times, stream_of
from oomsight.record.codec import ENTITIES, KINDS, MAGIC, PROCESSES, DamagedError, check, events, newer_format
from oomsight.record.journal import Journal, read_journal, row_times
from oomsight.record.layout import Words, entities_text, journal_name, numbers_of, parse_name
from oomsight.record.needs import Needs
from oomsight.record.ready import TAIL_BYTES, Sheet, Spot, spots
from oomsight.record.tiers import TIERS
from oomsight.sources.history_walks import MOST_OPEN, soon, walks

if TYPE_CHECKING:
    from oomsight.record.layout import Description
    from oomsight.record.walk import Part, Walk


MANY: Final = 8  #: entities of a chunk from which on all its streams are read at once
FEW: Final = 8  #: entities that are looked for one by one in the descriptions of a file


class HistoryError(Exception):
    """There is no history to read; one line."""


class HistoryDenied(HistoryError):  # noqa: N818 - it is an error as its base says
    """There is one, which this user may not read."""


class HistoryNewer(HistoryError):  # noqa: N818 - it is an error as its base says
    """There is one, of a format that only a newer oomsight knows."""


def _failed(path: str, error: OSError) -> HistoryError:
    kind = HistoryDenied if isinstance(error, PermissionError) else HistoryError
    return kind(f"{path}: {(error.strerror or str(error)).lower()}")


@dataclass(slots=True)
class Names:
    """Who the entities of a file are: its processes, or all others."""

    text: str | None = None  #: lines of descriptions
    words: Words | None = None
    numbers: dict[tuple[str, str], list[int]] = field(default_factory=dict)  #: (kind, ident) -> numbers
    whole: bool = False  #: the numbers of all are known, not only of those asked for
    searched: int = 0  #: how many were looked for one by one


@dataclass(slots=True)
class File:
    """What one run left in a file of chunks, or one journal as if it were one."""

    path: str
    tier: int
    boot: str
    described: Sequence[Part] = ()  #: where its entities are described
    journal: Journal | None = None
    processes: Names = field(default_factory=Names)
    others: Names = field(default_factory=Names)

    def names(self, kind: str) -> Names:
        """Who the entities of *kind* are."""
        return self.processes if kind == "process" else self.others


@dataclass(slots=True)
class Chunk:
    """One chunk. Times and index are there once it is loaded (:meth:`Shelf.load`)."""

    file: File
    tier: int  #: which density
    start: int  #: of the body in the file
    head: ChunkHead
    length: int = 0  #: of the body; 0 of a journal
    shift_ms: int = 0  #: what makes time since boot wall clock
    first: float = 0.0  #: unix seconds of its first row …
    last: float = 0.0  #: … and of its last
    times: list[int] = field(default_factory=list)  #: milliseconds since boot
    dated: list[float] = field(default_factory=list)
    index: Index | None = None
    indexes: dict[str, Index] = field(default_factory=dict)  #: of a journal, by kind
    spots: dict[str, Spot] | None = None  #: where its ready columns are, by kind; ``None`` = nobody has looked
    sheets: dict[str, Sheet | None] = field(default_factory=dict)
    needed: dict[str, Needs | None] = field(default_factory=dict)
    gathered: tuple[frozenset[int], dict[int, bytes]] | None = None  #: of a journal: who was asked for, streams

    @property
    def moments(self) -> list[float]:
        """Unix seconds of the rows, once it is loaded."""
        if not self.dated:
            self.dated = [self.moment(ms) for ms in self.times]
        return self.dated

    def moment(self, boot_ms: int) -> float:
        """Unix seconds at *boot_ms* milliseconds since boot."""
        return (boot_ms + self.shift_ms) / 1000


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
            raise _failed(self.path, error) from None
        # Journals first: what is packed in the meantime is then seen twice, and known by its number, never missed.
        journals = [found for tier in TIERS if (found := self._journal(journal_name(tier.number)))]
        self.chunks: list[Chunk] = []
        tiers = {os.path.join(self.path, str(name)): name.tier
                 for name in sorted(set(filter(None, map(parse_name, [*names, *os.listdir(self.path)]))))}  # fmt: skip
        try:
            for file_path, walked in walks(list(tiers), _ours):
                self._take(file_path, tiers[file_path], walked)
        except OSError as error:
            raise _failed(error.filename, error) from None
        packed = {chunk.head.journal for chunk in self.chunks}
        self.chunks += [chunk for chunk in journals if chunk.head.journal not in packed]
        self._date()

    def close(self) -> None:
        """Give the open files back; what is asked for later opens them again."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    def load(self, chunk: Chunk, kind: str) -> bool:
        """
        Read the times and the index of a chunk, of a journal those of *kind* alone; ``False`` = it is damaged or gone,
        and is not asked again.
        """
        journal = chunk.file.journal
        if chunk.index is not None and (journal is None or chunk.indexes.get(kind) is chunk.index):
            return True
        try:
            if journal is not None:
                chunk.times = chunk.times or journal.times()
                chunk.index = chunk.indexes[kind] = chunk.indexes.get(kind) or journal.index_of(kind)
            else:
                chunk.times, chunk.index = self._front(chunk)
        except (OSError, DamagedError):
            self._leave_out(chunk)
            return False
        return True

    def marks(self, chunk: Chunk) -> Marks | None:
        """What the entities of a loaded chunk are and how big; ``None`` = it is damaged, and is not asked again."""
        assert chunk.index is not None
        try:
            return chunk.index.marks
        except DamagedError:
            self._leave_out(chunk)
            return None

    def _marks_again(self, chunk: Chunk) -> Marks:
        try:
            return self._front(chunk)[1].marks
        except OSError as error:
            raise DamagedError(str(error)) from None

    def _front(self, chunk: Chunk) -> tuple[list[int], Index]:
        return chunk_front(chunk.head, self._front_bytes(chunk))

    def _front_bytes(self, chunk: Chunk) -> bytes:
        return self._piece(chunk.file.path, chunk.start, chunk.head.streams_at)

    def timed(self, chunk: Chunk, kind: str) -> bool:
        """As :meth:`load`, but of a journal the times are enough; ``False`` = it is damaged or gone."""
        if chunk.file.journal is None:
            known = chunk.index is not None
            if not self.load(chunk, kind):
                return False
            if not known and chunk.index is not None:  # of a week all that is kept of hundreds of chunks adds up
                chunk.index.let_go(partial(self._marks_again, chunk))
            return True
        try:
            chunk.times = chunk.times or chunk.file.journal.times()
        except DamagedError:
            self._leave_out(chunk)
        return bool(chunk.times)

    def has_times(self, chunk: Chunk, kind: str) -> bool:
        """As :meth:`timed`, for whoever may not need the index: it is read when it is asked for streams."""
        if chunk.file.journal is not None or chunk.index is not None:
            return self.timed(chunk, kind)
        try:
            chunk.times = chunk.times or chunk_times(chunk.head, self._front_bytes(chunk))
        except (OSError, DamagedError):
            self._leave_out(chunk)
            return False
        return True

    def lived(self, chunk: Chunk, numbers: Sequence[int]) -> dict[int, bytes]:
        """By number the streams of those of *numbers* that are in a chunk, once it has its times; no damaged ones."""
        if (journal := chunk.file.journal) is not None:
            try:
                if chunk.gathered is not None and chunk.gathered[0].issuperset(numbers):
                    known = chunk.gathered[1]
                    return {number: known[number] for number in numbers if number in known}
                if len(numbers) > MANY:
                    found = journal.streams(numbers)
                    chunk.gathered = frozenset(numbers), found
                    return found
                return {number: stream for number in numbers if (stream := journal.stream(number))}
            except DamagedError:
                self.damaged += 1
                return {}
        if not numbers or not self.timed(chunk, ""):
            return {}
        index = chunk.index
        assert index is not None
        places = {place: number for number in numbers if (place := index.place(number)) is not None}
        if len(places) > MANY:
            wanted = bytearray(len(index.entities))
            for place in places:
                wanted[place] = 1
            return {places[place]: stream for place, stream in self.streams(chunk, wanted)}
        found = {}
        for place, number in places.items():
            start = chunk.start + chunk.head.streams_at + index.start(place)
            try:
                found[number] = stream_of(index, place, self._piece(chunk.file.path, start, index.lengths[place] >> 1))
            except (OSError, DamagedError):
                self.damaged += 1
        return found

    def sheet(self, chunk: Chunk, kind: str) -> Sheet | None:
        """The ready columns of a kind in a chunk; ``None`` = it has none, or they are damaged: the streams have all."""
        if kind not in chunk.sheets:
            chunk.sheets[kind] = None
            if (data := self._apart(chunk, kind)) is not None:
                with suppress(DamagedError):
                    chunk.sheets[kind] = Sheet(*data)
        return chunk.sheets[kind]

    def needs(self, chunk: Chunk, kind: str) -> Needs | None:
        """What everybody of a kind needed in a chunk; ``None`` = it does not tell, or is damaged."""
        if kind not in chunk.needed:
            chunk.needed[kind] = None
            if (data := self._apart(chunk, kind.upper())) is not None:
                with suppress(DamagedError):
                    chunk.needed[kind] = Needs(kind, *data)
        return chunk.needed[kind]

    def _apart(self, chunk: Chunk, what: str) -> tuple[bytes, int] | None:
        """A part behind the streams of a chunk, and its sum; ``None`` = there is none."""
        with suppress(OSError):
            if (spot := self._spots(chunk).get(what)) is not None:
                return self._piece(chunk.file.path, chunk.start + chunk.length - spot.back, spot.length), spot.sum
        return None

    def _spots(self, chunk: Chunk) -> dict[str, Spot]:
        if chunk.spots is None:
            back = min(TAIL_BYTES, chunk.length)
            tail = self._piece(chunk.file.path, chunk.start + chunk.length - back, back) if back else b""
            chunk.spots = spots(tail, chunk.length)
        return chunk.spots

    def expect(self, chunks: Iterable[Chunk], parts: Sequence[str] = (), *, fronts: bool = False) -> None:
        """
        Have the system begin to read what will be asked of many chunks in turn, each a wait if it is not in memory: the
        first of some *parts* that stands behind the streams of each, by kind, in capitals its needs; *fronts*: times
        and indexes.
        """
        packed = [chunk for chunk in chunks if chunk.length]
        with suppress(OSError):
            for chunk in packed:
                if fronts and chunk.index is None:
                    self._soon(chunk, 0, chunk.head.streams_at)
                if parts and chunk.spots is None:
                    self._soon(chunk, max(chunk.length - TAIL_BYTES, 0), TAIL_BYTES)
            for chunk in packed if parts else ():
                known = self._spots(chunk)
                what = next((part for part in parts if part in known), None)
                if what is not None and what not in chunk.sheets and what.lower() not in chunk.needed:
                    self._soon(chunk, chunk.length - known[what].back, known[what].length)

    def _soon(self, chunk: Chunk, start: int, length: int) -> None:
        soon(self._opened(chunk.file.path), length, chunk.start + start)

    def states(self, chunk: Chunk, row: int) -> Iterator[tuple[int, int, Sequence[int]]]:
        """(entity, code of the kind, coded values) of everything that is there in *row* of a chunk."""
        if chunk.file.journal is not None:
            try:
                yield from chunk.file.journal.states(row)
            except DamagedError:
                self.damaged += 1
            return
        marks = self.marks(chunk) if self.load(chunk, "host") else None
        index = chunk.index
        if marks is None or index is None:
            return
        there = [first <= row < gone for first, gone in zip(index.first_rows, index.gone_rows, strict=True)]
        for place, stream in self.streams(chunk, there):
            code = marks.kinds[place]
            try:
                for _, state in events(stream, KINDS[code], row, last=True):
                    if state is not None:
                        yield index.entities[place], code, state
            except DamagedError:
                self.damaged += 1

    def streams(self, chunk: Chunk, wanted: Sequence[int] | None = None) -> Iterator[tuple[int, bytes]]:
        """(place, stream) of everything in a loaded chunk of a file, or of what is *wanted* by place."""
        index = chunk.index
        assert index is not None
        starts = index.starts
        try:
            data = self._piece(chunk.file.path, chunk.start + chunk.head.streams_at, starts[-1])
        except OSError:
            self.damaged += 1
            return
        for place in range(len(index.entities)) if wanted is None else compress(range(len(wanted)), wanted):
            try:
                yield place, stream_of(index, place, data[starts[place] : starts[place + 1]])
            except DamagedError:
                self.damaged += 1

    def words(self, file: File, kind: str) -> Words:
        """Number -> description of the processes of a file, or of all its other entities."""
        names = file.names(kind)
        if names.words is None:
            try:
                names.words = Words(self._text(file, kind))
            except DamagedError:
                self.damaged += 1
                names.words = Words("")
        return names.words

    def numbers(self, file: File, kind: str, ident: str) -> list[int]:
        """Numbers that an entity has in a file: one that went and came again has several."""
        names = file.names(kind)
        found = names.numbers.get((kind, ident))
        if found is not None or names.whole:
            return found or []
        names.searched += 1
        if names.searched > FEW:  # then all at once is less work
            names.whole, names.numbers = True, self.words(file, kind).numbers()
            return names.numbers.get((kind, ident), [])
        found = names.numbers[kind, ident] = numbers_of(self._text(file, kind), kind, ident)
        return found

    @staticmethod
    def is_number(file: File, process: Description) -> None:
        """Remember the number of a *process*, of which it has one in a file, so that nobody has to look for it."""
        file.processes.numbers.setdefault((process.kind, process.ident), [int(process.number)])

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
        names = Names(journal.text)
        whole = File(path, begin.tier, begin.boot, journal=journal, processes=names, others=names)
        return Chunk(whole, begin.tier, 0, head)

    def _text(self, file: File, kind: str) -> str:
        names = file.names(kind)
        if names.text is None:
            apart = any(part.kind == PROCESSES for part in file.described)  # else of an older file: all are together
            wanted = PROCESSES if apart and kind == "process" else ENTITIES
            parts = []
            for record, start, length, crc in file.described:
                if record != wanted:
                    continue
                try:
                    body = self._piece(file.path, start, length)
                    if not check(record, body, crc):
                        raise DamagedError("sum")
                    parts.append(entities_text(body))
                except (OSError, DamagedError):
                    self.damaged += 1
            names.text = "".join(parts)
        return names.text

    def _leave_out(self, chunk: Chunk) -> None:
        self.damaged += 1
        self.chunks = [one for one in self.chunks if one is not chunk]

    def _take(self, path: str, tier: int, found: Walk | None) -> None:
        """The chunks of a file."""
        self.damaged += found is None or found.damaged
        for run in found.runs if found is not None else ():
            file = File(path, tier, run.boot, run.described)
            self.chunks += [Chunk(file, tier, part.start, head, part.length) for part, head in run.chunks]

    def _date(self) -> None:
        """All rows of a boot by the newest comparison of its clock with the wall clock."""
        newest: dict[str, tuple[int, int]] = {}
        for chunk in self.chunks:
            head = chunk.head
            if head.last_ms >= newest.get(chunk.file.boot, (-1, 0))[0]:
                newest[chunk.file.boot] = (head.last_ms, head.wall_ms - head.last_ms)
        for chunk in self.chunks:
            chunk.shift_ms = newest[chunk.file.boot][1]
            chunk.first, chunk.last = chunk.moment(chunk.head.first_ms), chunk.moment(chunk.head.last_ms)
        self.chunks.sort(key=lambda chunk: chunk.first)

    def _piece(self, path: str, start: int, length: int) -> bytes:
        return os.pread(self._opened(path), length, start)

    def _opened(self, path: str) -> int:
        fd = self._fds.get(path)
        if fd is None:
            if len(self._fds) >= MOST_OPEN:
                self.close()
            fd = self._fds[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return fd


def _ours(path: str, data: bytes) -> bool:
    """Whether a file is a history's. Raises :class:`HistoryNewer` for one of a later format."""
    if (number := newer_format(data)) is not None:
        raise HistoryNewer(f"{path}: made by a newer oomsight (format {number})")
    return data[: len(MAGIC)] == MAGIC
