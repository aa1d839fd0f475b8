"""
How rows become bytes, and back.

**Event**: the figures of one entity that changed: a bit mask of them, then each difference to the value before, zigzag
and in groups of seven bits, least first (the varint of Protocol Buffers). Unchanged figures cost nothing. ``None`` is 0
and every other value is one higher (:data:`~oomsight.record.fields.UNLIMITED` stays below zero). An empty mask says
that the entity is gone.

**Stream**: the events of one entity in one chunk, each after the number of rows since the event before.

**Chunk**: a tier's rows of one period: times, an index (entity, kind, length, and the main figure at first, highest and
last), and the streams. A reader takes the index and only the streams it wants.

**Record**: what files consist of: type, length, CRC-32, body. A record that ends too early or whose sum is wrong is
where a crash or a fault was; nothing after a short record counts, a wrong one costs only itself.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from oomsight.record.fields import FIELDS, INDEX, MAIN

MAGIC: Final = b"oomH\x01\r\n\x00"
"""How every file begins; the fifth byte is the version of the format."""
VERSION: Final = 1

HEADER: Final = struct.Struct("<4sIII")  # mark, type, length, CRC-32 of type, length and body
MARK: Final = b"\xf0oR\x0a"
BEGIN, ENTITIES, ROW, CHUNK = 1, 2, 3, 4  # types of records
MAX_BODY: Final = 64 << 20  #: a longer length is a damaged one
MAX_ROWS: Final = 4096  #: in one chunk; no writer makes that many

KINDS: Final = tuple(FIELDS)
_CODE: Final = {kind: number for number, kind in enumerate(KINDS)}
_MAIN: Final = {kind: INDEX[kind][name] for kind, name in MAIN.items()}
_PACK_FROM: Final = 48  # shorter streams do not get smaller


class DamagedError(ValueError):
    """The bytes are not what was written."""


def put(out: bytearray, number: int) -> None:
    """Append *number* (>= 0)."""
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)


def take(data: bytes, at: int) -> tuple[int, int]:
    """The number at *at*, and where the next thing begins. Raises :class:`DamagedError`."""
    number = shift = 0
    try:
        while (byte := data[at]) & 128:
            number |= (byte & 127) << shift
            shift += 7
            at += 1
    except IndexError:
        raise DamagedError("ends within a number") from None
    return number | byte << shift, at + 1


def event(before: Sequence[int | None] | None, now: Sequence[int | None]) -> bytes:
    """The event from *before* (``None`` = nothing yet) to *now*; empty if nothing changed."""
    if before is None:
        before = (None,) * len(now)
    elif before == now:
        return b""
    mask, out, place = 0, bytearray(), -1
    for old, new in zip(before, now, strict=True):
        place += 1
        if old == new:
            continue
        mask |= 1 << place
        a = 0 if old is None else old if old < 0 else old + 1
        b = 0 if new is None else new if new < 0 else new + 1
        d = b - a << 1 if b >= a else a - b << 1 | 1
        while d > 127:
            out.append(d & 127 | 128)
            d >>= 7
        out.append(d)
    if mask < 128:
        return bytes((mask,)) + out if mask else b""
    head = bytearray()
    put(head, mask)
    return bytes(head + out)


def apply(values: list[int], data: bytes, at: int) -> tuple[bool, int]:
    """Change coded *values* by the event at *at*. Return (is it still there, where the next thing begins)."""
    mask, at = take(data, at)
    if not mask:
        return False, at
    field = 0
    try:
        while mask:
            if mask & 1:
                byte = data[at]
                at += 1
                if byte & 128:
                    number, shift = byte & 127, 7
                    while (byte := data[at]) & 128:
                        number |= (byte & 127) << shift
                        shift += 7
                        at += 1
                    number |= byte << shift
                    at += 1
                else:
                    number = byte
                values[field] += -(number >> 1) if number & 1 else number >> 1
            mask >>= 1
            field += 1
    except IndexError:
        raise DamagedError("event of another shape") from None
    return True, at


def plain(coded: int) -> int | None:
    """A coded value as it was recorded."""
    return coded - 1 if coded > 0 else None if coded == 0 else coded


def events(stream: bytes, kind: str) -> Iterator[tuple[int, list[int] | None]]:
    """
    (row, coded values) at each change of a stream, ``None`` = gone. The list is the same one each time.

    Raises :class:`DamagedError`.
    """
    values = [0] * max(len(FIELDS[kind]), 64)
    at, row, end = 0, 0, len(stream)
    while at < end:
        distance, at = take(stream, at)
        row += distance
        there, at = apply(values, stream, at)
        if there:
            yield row, values
        else:
            values = [0] * len(values)
            yield row, None


# -- records ----------------------------------------------------------------------------------------------------------


def record(kind: int, body: bytes) -> bytes:
    """One record."""
    return HEADER.pack(MARK, kind, len(body), _sum(kind, body)) + body


def _sum(kind: int, body: bytes) -> int:
    return zlib.crc32(body, kind << 8 ^ len(body))


def header(data: bytes) -> tuple[int, int, int]:
    """(type, length of the body, sum) of a record's first 16 bytes. Raises :class:`DamagedError`."""
    if len(data) < HEADER.size:
        raise DamagedError("ends within a record's head")
    mark, kind, length, crc = HEADER.unpack_from(data)
    if mark != MARK or length > MAX_BODY or not BEGIN <= kind <= CHUNK:
        raise DamagedError("no record where one should begin")
    return kind, length, crc


def check(kind: int, body: bytes, crc: int) -> bool:
    """Whether a record's body is what was written."""
    return _sum(kind, body) == crc


def records(data: bytes, at: int = 0) -> Iterator[tuple[int, bytes, int]]:
    """(type, body, where it ends) of each whole record of *data*; ends silently where one is cut or damaged."""
    while at + HEADER.size <= len(data):
        try:
            kind, length, crc = header(data[at : at + HEADER.size])
        except DamagedError:
            return
        body = data[at + HEADER.size : at + HEADER.size + length]
        if len(body) < length or not check(kind, body, crc):
            return
        at += HEADER.size + length
        yield kind, body, at


# -- rows -------------------------------------------------------------------------------------------------------------


def encode_row(boot_ms: int, wall_ms: int, parts: list[tuple[int, int, bytes]]) -> bytes:
    """A row of the journal: time since boot, wall clock, and (entity, code of the kind, event or empty = gone)."""
    out = bytearray()
    put(out, boot_ms)
    put(out, max(wall_ms, 0))
    put(out, len(parts))
    for entity, code, data in parts:
        put(out, entity)
        out.append(code)
        out += data or b"\x00"
    return bytes(out)


class Row(NamedTuple):
    """A row as it was written."""

    boot_ms: int
    wall_ms: int
    parts: list[tuple[int, str, bytes]]  #: (entity, kind, event)


_SCRATCH: Final = 64


def decode_row(body: bytes) -> Row:
    """A row of the journal. Raises :class:`DamagedError`."""
    boot_ms, at = take(body, 0)
    wall_ms, at = take(body, at)
    count, at = take(body, at)
    scratch = [0] * _SCRATCH
    parts = []
    for _ in range(count):
        entity, at = take(body, at)
        if at >= len(body) or body[at] >= len(KINDS):
            raise DamagedError("row of another shape")
        kind = KINDS[body[at]]
        start = at + 1
        _, at = apply(scratch, body, start)
        parts.append((entity, kind, body[start:at]))
    return Row(boot_ms, wall_ms, parts)


def kind_code(kind: str) -> int:
    """The number of *kind* in rows and indexes."""
    return _CODE[kind]


# -- chunks -----------------------------------------------------------------------------------------------------------


class Index(NamedTuple):
    """The entities of a chunk, column by column, ascending by number. Main figures are coded (:func:`plain`)."""

    entities: tuple[int, ...]
    kinds: bytes  #: places in :data:`KINDS`
    lengths: tuple[int, ...]  #: of the stream, in bytes; twice that, plus one if it is packed
    first_rows: tuple[int, ...]
    gone_rows: tuple[int, ...]  #: first row in which it is not there any more
    firsts: tuple[int, ...]  #: main figure at first, …
    peaks: tuple[int, ...]  #: … at its highest, …
    lasts: tuple[int, ...]  #: … and at last

    def place(self, entity: int) -> int | None:
        """Where *entity* is in the columns; ``None`` = not in this chunk."""
        at = bisect_left(self.entities, entity)
        return at if at < len(self.entities) and self.entities[at] == entity else None


class ChunkHead(NamedTuple):
    """What a chunk is about; the streams are not looked at."""

    journal: int  #: which journal it was made of
    wall_ms: int  #: wall clock at the last row
    first_ms: int  #: since boot, suspended time included
    last_ms: int
    rows: int
    entities: int
    times_at: int  #: where the times are in the body, …
    index_at: int  #: … the index, …
    streams_at: int  #: … and the streams


class ChunkBuilder:
    """The rows of one chunk, gathered. A row costs what changed in it."""

    __slots__ = ("_ends", "_firsts", "_kinds", "_lasts", "_marks", "_streams", "times", "wall_ms")

    def __init__(self) -> None:
        self.times: list[int] = []
        self.wall_ms = 0
        self._streams: dict[int, bytearray] = {}
        self._kinds: dict[int, str] = {}
        self._ends: dict[int, int] = {}  # row of the last event
        self._firsts: dict[int, int] = {}
        self._marks: dict[int, list[int]] = {}  # coded main figure: first, peak, last
        self._lasts: dict[int, int] = {}  # row at which it went

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
        row = len(self.times) - 1
        stream = self._streams.get(entity)
        if stream is None:
            if not data or data == b"\x00":
                return
            stream = self._streams[entity] = bytearray()
            self._kinds[entity] = kind
            self._ends[entity] = 0
            self._firsts[entity] = row
        distance = row - self._ends[entity]
        if distance < 128:
            stream.append(distance)
        else:
            put(stream, distance)
        self._ends[entity] = row
        if not data or data == b"\x00":
            stream.append(0)
            self._lasts[entity] = row
            return
        self._lasts.pop(entity, None)
        stream += data
        coded = 0 if main is None else main if main < 0 else main + 1
        marks = self._marks.get(entity)
        if marks is None:
            self._marks[entity] = [coded, coded, coded]
        else:
            marks[1] = max(marks[1], coded)
            marks[2] = coded

    def body(self, journal: int) -> bytes:
        """The chunk as a record's body."""
        entities, blobs, lengths = sorted(self._streams), [], []
        for entity in entities:
            stream = bytes(self._streams[entity])
            packed = 0
            if len(stream) >= _PACK_FROM:
                small = _deflate(stream)
                if len(small) < len(stream):
                    stream, packed = small, 1
            lengths.append(len(stream) << 1 | packed)
            blobs.append(stream)
        n, end = len(entities), len(self.times)
        marks = [self._marks[entity] for entity in entities]
        index = b"".join((
            struct.pack(f"<{n}I", *entities), bytes(_CODE[self._kinds[entity]] for entity in entities),
            struct.pack(f"<{n}I", *lengths), struct.pack(f"<{n}H", *(self._firsts[entity] for entity in entities)),
            struct.pack(f"<{n}H", *(self._lasts.get(entity, end) for entity in entities)),
            *(struct.pack(f"<{n}q", *(mark[i] for mark in marks)) for i in range(3)),
        ))  # fmt: skip
        times = bytearray()
        then = self.times[0]
        for moment in self.times:
            put(times, moment - then)
            then = moment
        head = bytearray()
        small_times, small_index = zlib.compress(bytes(times), 6), zlib.compress(index, 6)
        sizes = len(small_times), len(small_index)
        for number in (journal, self.wall_ms, self.times[0], self.times[-1], end, n, *sizes):
            put(head, number)
        return b"".join((head, small_times, small_index, *blobs))


def _deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -12, 6)
    return packer.compress(data) + packer.flush()


HEAD_BYTES: Final = 80  #: no head is longer


def chunk_head(body: bytes) -> ChunkHead:
    """The head of a chunk; the first :data:`HEAD_BYTES` are enough. Raises :class:`DamagedError`."""
    at, numbers = 0, []
    for _ in range(8):
        number, at = take(body, at)
        numbers.append(number)
    journal, wall_ms, first_ms, last_ms, rows, entities, long_times, long_index = numbers
    if rows > MAX_ROWS:
        raise DamagedError("more rows than any chunk has")
    index_at = at + long_times
    return ChunkHead(journal, wall_ms, first_ms, last_ms, rows, entities, at, index_at, index_at + long_index)


def chunk_times(head: ChunkHead, body: bytes) -> list[int]:
    """Time of each row, in milliseconds since boot. Raises :class:`DamagedError`."""
    try:
        text = zlib.decompress(body[head.times_at : head.index_at])
    except zlib.error as error:
        raise DamagedError(str(error)) from None
    times, then, spot = [], head.first_ms, 0
    for _ in range(head.rows):
        step, spot = take(text, spot)
        then += step
        times.append(then)
    return times


def chunk_index(head: ChunkHead, body: bytes) -> Index:
    """The index of a chunk. Raises :class:`DamagedError`."""
    n = head.entities
    try:
        text = zlib.decompress(body[head.index_at : head.streams_at])
        columns = struct.unpack(f"<{n}I{n}s{n}I{n}H{n}H{3 * n}q", text)
    except (zlib.error, struct.error) as error:
        raise DamagedError(str(error)) from None
    kinds = columns[n]
    numbers = (*columns[:n], *columns[n + 1 :])
    return Index(numbers[:n], kinds, *(numbers[n * i : n * (i + 1)] for i in range(1, 7)))


def chunk_stream(head: ChunkHead, index: Index, body: bytes, place: int) -> bytes:
    """The stream of the entity at *place* of the index. Raises :class:`DamagedError`."""
    start = head.streams_at + sum(length >> 1 for length in index.lengths[:place])
    length = index.lengths[place]
    return stream_of(body[start : start + (length >> 1)], bool(length & 1))


def stream_of(data: bytes, packed: bool) -> bytes:
    """A stream as it was gathered. Raises :class:`DamagedError`."""
    if not packed:
        return data
    try:
        return zlib.decompress(data, -12)
    except zlib.error as error:
        raise DamagedError(str(error)) from None


def main_of(kind: str, values: Sequence[int | None]) -> int | None:
    """The main figure of *values*."""
    return values[_MAIN[kind]]
