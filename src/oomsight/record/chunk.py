"""
Chunks: a tier's rows of one period, by entity.

A chunk is a head, the times of its rows, an index (a column for each of entity, length, sum, first and last row, then
the main figure at first, highest and last, and the kind), one stream of events for each entity, and in some tiers a few
of the figures as columns (:mod:`oomsight.record.ready`). A reader takes the head, times and index, which have a sum of
their own, and only the streams or columns it wants.
"""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_left
from itertools import accumulate, compress
from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight.record.codec import (
    KINDS,
    LITTLE,
    RAW,
    ZLIB_HEAD,
    DamagedError,
    coded,
    column,
    column_of,
    kind_code,
    put,
    take,
    unpacked,
)
from oomsight.record.ready import sheets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_ROWS: Final = 4096  #: in one chunk; no writer makes that many
MAX_ENTITIES: Final = 1 << 24
HEAD_BYTES: Final = 90  #: no head is longer
_FIRST_COLUMNS: Final = 14  # bytes of an index for each entity, without the marks, …
_LATER_COLUMNS: Final = 25  # … and the marks
_HALF: Final = (1).__rrshift__
_PACKED: Final = bytes([0, 1]) * 128  # which lengths are of packed streams, by their lowest byte, …
_LOWEST: Final = 0 if LITTLE else array("I").itemsize - 1  # … and where that is
_PACK_FROM: Final = 48  # shorter streams do not get smaller


def only(kind: int) -> bytes:
    """A translation of codes of kinds: 1 for *kind*, 0 for all others."""
    return bytes(kind) + b"\x01" + bytes(255 - kind)


class Marks(NamedTuple):
    """What the entities of a chunk are and how big they were, in the order of its index. Main figures are coded."""

    kinds: bytes  #: places in :data:`~oomsight.record.codec.KINDS`
    firsts: array[int]  #: main figure at first, …
    peaks: array[int]  #: … at its highest, …
    lasts: array[int]  #: … and at last


class Index:
    """The entities of a chunk, column by column, ascending by number."""

    __slots__ = ("_marks", "_starts", "entities", "first_rows", "gone_rows", "lengths", "sums")

    def __init__(  # noqa: PLR0917 - a column each
        self, entities: array[int], lengths: array[int], sums: array[int], first_rows: array[int],
        gone_rows: array[int], marks: Marks | Callable[[], Marks],
    ) -> None:  # fmt: skip
        self.entities = entities
        self.lengths = lengths  #: of the stream, in bytes; twice that, plus one if it is packed
        self.sums = sums  #: CRC-32 of the stream as it is stored, its lower half
        self.first_rows = first_rows
        self.gone_rows = gone_rows  #: first row in which it is not there any more
        self._marks = marks
        self._starts: array[int] | None = None

    @property
    def marks(self) -> Marks:
        """
        The rest of the index, unpacked when first asked for: who wants one entity does not need it. Raises
        :class:`DamagedError`.
        """
        if not isinstance(self._marks, Marks):
            self._marks = self._marks()
        return self._marks

    def let_go(self, again: Callable[[], Marks]) -> None:
        """Keep nothing that :attr:`marks` would be unpacked from, which is 80 KB; *again* gets them if need be."""
        if not isinstance(self._marks, Marks):
            self._marks = again

    def place(self, entity: int) -> int | None:
        """Where *entity* is in the columns; ``None`` = not in this chunk."""
        at = bisect_left(self.entities, entity)
        return at if at < len(self.entities) and self.entities[at] == entity else None

    def places(self, kind: int) -> list[int]:
        """Where the entities of a kind are, by its code."""
        kinds = self.marks.kinds
        return list(compress(range(len(kinds)), kinds.translate(only(kind))))

    @property
    def starts(self) -> array[int]:
        """Where every stream begins, from the first on; at last where all end."""
        if self._starts is None:
            self._starts = array("I", accumulate(map(_HALF, self.lengths), initial=0))
        return self._starts

    def start(self, place: int) -> int:
        """Where a stream begins, from the first on."""
        lengths = self.lengths[:place]
        return sum(lengths) - lengths.tobytes()[_LOWEST :: lengths.itemsize].translate(_PACKED).count(1) >> 1


class ChunkHead(NamedTuple):
    """What a chunk is about; the streams are not looked at."""

    journal: int  #: which journal it was made of
    wall_ms: int  #: wall clock at the last row
    first_ms: int  #: since boot, suspended time included
    last_ms: int
    rows: int
    entities: int
    sum: int  #: CRC-32 of times and index
    times_at: int  #: where the times are in the body, …
    index_at: int  #: … the index, …
    streams_at: int  #: … and the streams


class _Stream:
    """What is gathered of one entity."""

    __slots__ = ("end", "events", "first_main", "first_row", "gone_row", "kind", "last_main", "peak_main")

    def __init__(self, kind: int, row: int, main: int) -> None:
        self.kind = kind  # its code
        self.events = bytearray()
        self.end = 0  # row of the last event
        self.first_row = row
        self.gone_row = -1  # since when it is not there any more; -1 = it is
        self.first_main = self.peak_main = self.last_main = main  # coded


class ChunkBuilder:
    """The rows of one chunk, gathered. A row costs what changed in it."""

    __slots__ = ("_streams", "times", "wall_ms")

    def __init__(self) -> None:
        self.times: list[int] = []
        self.wall_ms = 0
        self._streams: dict[int, _Stream] = {}

    def __len__(self) -> int:
        return len(self.times)

    def entities(self) -> list[int]:
        """Every entity that has a stream."""
        return list(self._streams)

    def begin_row(self, boot_ms: int, wall_ms: int) -> None:
        """A new row, later than the one before."""
        self.times.append(boot_ms)
        self.wall_ms = wall_ms

    def add(self, entity: int, kind: str, data: bytes, main: int | None) -> None:
        """An event in the current row; empty *data* = gone. *main*: the main figure now."""
        self.put(entity, kind_code(kind), data, coded(main))

    def main(self, entity: int) -> int:
        """The coded main figure of *entity* now; 0 = it is not there."""
        stream = self._streams.get(entity)
        return 0 if stream is None or stream.gone_row >= 0 else stream.last_main

    def put(self, entity: int, kind: int, data: bytes, main: int) -> None:
        """As :meth:`add`, with kind and main figure as codes."""
        row = len(self.times) - 1
        gone = not data or data == b"\x00"
        stream = self._streams.get(entity)
        if stream is None:
            if gone:
                return
            stream = self._streams[entity] = _Stream(kind, row, main)
        distance = row - stream.end
        if distance < 128:
            stream.events.append(distance)
        else:
            put(stream.events, distance)
        stream.end = row
        if gone:
            stream.events.append(0)
            stream.gone_row = row
            return
        stream.gone_row = -1
        stream.events += data
        stream.last_main = main
        stream.peak_main = max(stream.peak_main, main)

    def stream(self, entity: int) -> bytes:
        """The stream of *entity* so far."""
        return bytes(self._streams[entity].events)

    def index(self) -> Index:
        """The index so far; lengths and sums are left out."""
        entities, end = sorted(self._streams), len(self.times)
        streams = [self._streams[entity] for entity in entities]
        nothing: array[int] = array("H")
        return Index(
            array("I", entities), nothing, nothing, array("H", [one.first_row for one in streams]),
            array("H", [end if one.gone_row < 0 else one.gone_row for one in streams]),
            Marks(
                bytes(one.kind for one in streams), array("q", [one.first_main for one in streams]),
                array("q", [one.peak_main for one in streams]), array("q", [one.last_main for one in streams]),
            ),
        )  # fmt: skip

    def body(self, journal: int, ready: Sequence[str] = ()) -> bytes:
        """The chunk as a record's body; *ready*: kinds whose figures are in it as columns too."""
        index = self.index()
        marks = index.marks
        blobs, lengths = [], []
        streams = [self.stream(entity) for entity in index.entities]
        for stream in streams:
            packed = 0
            if len(stream) >= _PACK_FROM:
                small = _deflate(stream)
                if len(small) < len(stream):
                    stream, packed = small, 1  # noqa: PLW2901
            lengths.append(len(stream) << 1 | packed)
            blobs.append(stream)
        columns = zlib.compress(b"".join((
            column("I", index.entities), column("I", lengths),
            column("H", [zlib.crc32(blob) & 0xFFFF for blob in blobs]),
            column("H", index.first_rows), column("H", index.gone_rows),
            column("q", marks.firsts), column("q", marks.peaks), column("q", marks.lasts), marks.kinds,
        )), 6)  # fmt: skip
        times, then = bytearray(), self.times[0]
        for moment in self.times:
            put(times, moment - then)
            then = moment
        packed_times, head = zlib.compress(bytes(times), 6), bytearray()
        for number in (
            journal, self.wall_ms, self.times[0], self.times[-1], len(self.times), len(index.entities),
            zlib.crc32(columns, zlib.crc32(packed_times)), len(packed_times), len(columns),
        ):  # fmt: skip
            put(head, number)
        columns_too = sheets(zip(map(KINDS.__getitem__, marks.kinds), index.entities, streams, strict=True),
                             len(self.times), ready)  # fmt: skip
        return b"".join((head, packed_times, columns, *blobs, columns_too))


def _deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -12, 6)
    return packer.compress(data) + packer.flush()


def chunk_head(body: bytes) -> ChunkHead:
    """The head of a chunk; the first :data:`HEAD_BYTES` are enough. Raises :class:`DamagedError`."""
    at, numbers = 0, []
    for _ in range(9):
        number, at = take(body, at)
        numbers.append(number)
    journal, wall_ms, first_ms, last_ms, rows, entities, crc, long_times, long_index = numbers
    if not 0 < rows <= MAX_ROWS or entities > MAX_ENTITIES:
        raise DamagedError("more rows than any chunk has")
    index_at = at + long_times
    return ChunkHead(
        journal, wall_ms, first_ms, last_ms, rows, entities, crc, at, index_at, index_at + long_index
    )


def chunk_times(head: ChunkHead, front: bytes) -> list[int]:
    """
    Time of each row, in milliseconds since boot; *front* is the body up to its streams.

    Raises :class:`DamagedError`.
    """
    if len(front) < head.streams_at or zlib.crc32(front[head.times_at : head.streams_at]) != head.sum:
        raise DamagedError("the sum of an index is wrong")
    try:
        text = unpacked(front[head.times_at : head.index_at])
    except zlib.error as error:
        raise DamagedError(str(error)) from None
    times, then, spot = [], head.first_ms, 0
    try:
        for _ in range(head.rows):
            step = text[spot]
            spot += 1
            if step & 128:
                step, spot = take(text, spot - 1)
            then += step
            times.append(then)
    except IndexError:
        raise DamagedError("ends within a number") from None
    return times


def chunk_front(head: ChunkHead, front: bytes) -> tuple[list[int], Index]:
    """As :func:`chunk_times`, and the index."""
    times, n, packed = chunk_times(head, front), head.entities, zlib.decompressobj(RAW)
    try:
        columns = packed.decompress(front[head.index_at + ZLIB_HEAD : head.streams_at], n * _FIRST_COLUMNS or 1)
    except zlib.error as error:
        raise DamagedError(str(error)) from None
    if len(columns) != n * _FIRST_COLUMNS:
        raise DamagedError("index of another length")
    entities, lengths, sums, first_rows, gone_rows = _columns("IIHHH", columns, n)

    def marks() -> Marks:
        try:
            rest = packed.decompress(packed.unconsumed_tail) + packed.flush()
        except zlib.error as error:
            raise DamagedError(str(error)) from None
        kinds = rest[_LATER_COLUMNS * n - n :]
        if len(kinds) != n or any(kind >= len(KINDS) for kind in set(kinds)):
            raise DamagedError("index of another length, or with a kind that is none")
        return Marks(kinds, *_columns("qqq", rest, n))

    return times, Index(entities, lengths, sums, first_rows, gone_rows, marks)


def _columns(codes: str, data: bytes, n: int) -> list[array[int]]:
    """Columns of *n* numbers each, one after the other."""
    found, at = [], 0
    for code in codes:
        size = array(code).itemsize * n
        found.append(column_of(code, data[at : at + size]))
        at += size
    return found


def stream_of(index: Index, place: int, data: bytes) -> bytes:
    """The stream at *place* of the index, from its bytes in the body. Raises :class:`DamagedError`."""
    if zlib.crc32(data) & 0xFFFF != index.sums[place]:
        raise DamagedError("the sum of a stream is wrong")
    if not index.lengths[place] & 1:
        return data
    try:
        return zlib.decompress(data, -12)
    except zlib.error as error:
        raise DamagedError(str(error)) from None
