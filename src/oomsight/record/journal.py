"""
The journal: rows as they are sampled, in columns, so that a reader finds one entity without unpacking the others.

Read back, the rows since the last chunk are the chunk they would become.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate, compress

from oomsight._named import NamedTuple
from oomsight.record.chunk import MAX_ROWS, ChunkBuilder, Index, Marks, only
from oomsight.record.codec import (
    ENTITIES,
    KINDS,
    MAGIC,
    PROCESSES,
    ROW,
    DamagedError,
    column,
    column_of,
    events,
    main_after,
    put,
    records,
    take,
)
from oomsight.record.layout import Begin, entities_text, parse_begin


def encode_row(boot_ms: int, wall_ms: int, parts: Sequence[tuple[int, int, bytes]]) -> bytes:
    """A row: time since boot, wall clock, and (entity, code of the kind, event or empty = gone)."""
    head = bytearray()
    put(head, boot_ms)
    put(head, max(wall_ms, 0))
    put(head, len(parts))
    events = [data or b"\x00" for _, _, data in parts]
    return b"".join((
        head, column("I", [entity for entity, _, _ in parts]), bytes([kind for _, kind, _ in parts]),
        column("H", [len(data) for data in events]), *events,
    ))  # fmt: skip


def row_times(body: bytes) -> tuple[int, int]:
    """(time since boot, wall clock) of a row, in milliseconds. Raises :class:`DamagedError`."""
    boot_ms, at = take(body, 0)
    wall_ms, _ = take(body, at)
    return boot_ms, wall_ms


class Row(NamedTuple):
    """A row, its events not yet looked at."""

    boot_ms: int
    wall_ms: int
    entities: array[int]
    kinds: bytes
    lengths: array[int]  #: of the events
    at: int  #: where the events begin


def parse_row(body: bytes) -> Row:
    """A row read back. Raises :class:`DamagedError`."""
    boot_ms, at = take(body, 0)
    wall_ms, at = take(body, at)
    count, at = take(body, at)
    entities = column_of("I", body[at : at + 4 * count])
    kinds = body[at + 4 * count : at + 5 * count]
    lengths = column_of("H", body[at + 5 * count : at + 7 * count])
    at += 7 * count
    if len(lengths) != count or at + sum(lengths) != len(body) or any(kind >= len(KINDS) for kind in set(kinds)):
        raise DamagedError("row of another shape")
    return Row(boot_ms, wall_ms, entities, kinds, lengths, at)


def _parts(row: Row) -> Iterator[tuple[int, int, int, int]]:
    """(entity, code of the kind, length, where it begins) of each event."""
    starts = accumulate(row.lengths, initial=row.at)
    return zip(row.entities, row.kinds, row.lengths, starts)  # noqa: B905 - the last start is the end


def add_row(builder: ChunkBuilder, body: bytes) -> None:
    """Put a row into a chunk. Raises :class:`DamagedError`."""
    row = parse_row(body)
    builder.begin_row(row.boot_ms, row.wall_ms)
    place, main = builder.put, builder.main
    for entity, kind, length, start in _parts(row):
        data = body[start : start + length]
        place(entity, kind, data, main_after(main(entity), data))


class Journal(NamedTuple):
    """A journal, its events not yet looked at."""

    begin: Begin
    text: str  #: lines of descriptions
    rows: list[bytes]

    def builder(self) -> ChunkBuilder:
        """The rows as the chunk they would become. Raises :class:`DamagedError`."""
        builder = ChunkBuilder()
        for body in self.rows:
            add_row(builder, body)
        return builder

    def times(self) -> list[int]:
        """When each row was sampled, in milliseconds since boot. Raises :class:`DamagedError`."""
        return [row_times(body)[0] for body in self.rows]

    def index_of(self, kind: str) -> Index:
        """
        The index of that chunk, of one kind: most of what changes are processes, and most questions are about something
        else. Lengths and sums are left out. Raises :class:`DamagedError`.
        """
        code, found = KINDS.index(kind), dict[int, _Mark]()
        wanted = only(code)
        for at, body in enumerate(self.rows):
            row = parse_row(body)
            for entity, _, _, start in compress(_parts(row), row.kinds.translate(wanted)):
                mark, byte = found.get(entity), body[start]
                if not byte:
                    if mark is not None:
                        mark.gone = at
                    continue
                if mark is None:
                    mark = found[entity] = _Mark(at)
                if mark.gone >= 0:
                    mark.gone, mark.last = -1, 0
                if byte & 1:  # the main figure, which is the first of every kind, changed
                    mark.last = main_after(mark.last, body, start)
                if mark.first is None:
                    mark.first = mark.peak = mark.last
                elif mark.last > mark.peak:
                    mark.peak = mark.last
        entities, nothing = sorted(found), array("H")
        marks = [found[entity] for entity in entities]
        return Index(
            array("I", entities), nothing, nothing, array("H", [mark.row for mark in marks]),
            array("H", [len(self.rows) if mark.gone < 0 else mark.gone for mark in marks]),
            Marks(bytes([code]) * len(marks), array("q", [mark.first or 0 for mark in marks]),
                  array("q", [mark.peak for mark in marks]), array("q", [mark.last for mark in marks])),
        )  # fmt: skip

    def stream(self, entity: int) -> bytes:
        """The stream of one entity in that chunk; empty = it is not there. Raises :class:`DamagedError`."""
        out, before, needle = bytearray(), 0, column("I", [entity])
        for at, body in enumerate(self.rows):
            if needle not in body:
                continue
            row = parse_row(body)
            try:
                place = row.entities.index(entity)
            except ValueError:
                continue
            start = row.at + sum(row.lengths[:place])
            data = body[start : start + row.lengths[place]]
            if not out and not data[0]:
                continue
            put(out, at - before)
            out += data
            before = at
        return bytes(out)

    def streams(self, entities: Collection[int]) -> dict[int, bytes]:
        """The streams in that chunk of those of *entities* that are there. Raises :class:`DamagedError`."""
        wanted, found = frozenset(entities), dict[int, tuple[bytearray, list[int]]]()
        for at, body in enumerate(self.rows):
            row = parse_row(body)
            for entity, _, length, start in compress(_parts(row), map(wanted.__contains__, row.entities)):
                one = found.get(entity)
                if one is None:
                    if not body[start]:
                        continue
                    one = found[entity] = bytearray(), [0]
                out, before = one
                put(out, at - before[0])
                out += body[start : start + length]
                before[0] = at
        return {entity: bytes(out) for entity, (out, _) in found.items()}

    def states(self, until: int) -> Iterator[tuple[int, int, list[int]]]:
        """(entity, code of the kind, coded values) of what is there in row *until*. Raises :class:`DamagedError`."""
        streams: dict[int, tuple[int, bytearray]] = {}
        for body in self.rows[: until + 1]:
            for entity, kind, length, start in _parts(parse_row(body)):
                if entity not in streams:
                    streams[entity] = kind, bytearray()
                stream = streams[entity][1]
                stream.append(0)  # in which row does not matter
                stream += body[start : start + length]
        for entity, (kind, stream) in streams.items():
            for _, values in events(bytes(stream), KINDS[kind], last=True):
                if values is not None:
                    yield entity, kind, values


class _Mark:
    """What is known of an entity of an index so far; main figures are coded."""

    __slots__ = ("first", "gone", "last", "peak", "row")

    def __init__(self, row: int) -> None:
        self.row, self.gone = row, -1
        self.first: int | None = None
        self.peak = self.last = 0


def read_journal(data: bytes) -> Journal:
    """What a journal holds; it ends where it is cut or damaged. Raises :class:`DamagedError` without a beginning."""
    begin: Begin | None = None
    text: list[str] = []
    rows: list[bytes] = []
    for kind, body, _ in records(data, len(MAGIC)):
        if begin is None:
            begin = parse_begin(body)
        elif kind in {ENTITIES, PROCESSES}:
            text.append(entities_text(body))
        elif kind == ROW and len(rows) < MAX_ROWS:
            rows.append(body)
    if begin is None:
        raise DamagedError("it ends within its first record")
    return Journal(begin, "".join(text), rows)
