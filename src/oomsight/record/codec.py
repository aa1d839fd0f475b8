"""
How figures become bytes, and back.

**Event**: the figures of one entity that changed: a bit mask of them, then each difference to the value before, zigzag
and in groups of seven bits, least first (the varint of Protocol Buffers). Unchanged figures cost nothing. ``None`` is 0
and every other value is one higher (:data:`~oomsight.record.fields.UNLIMITED` stays below zero). An empty mask says
that the entity is gone.

**Stream**: the events of one entity in one chunk, each after the number of rows since the event before; see
:mod:`oomsight.record.chunk`.

**Record**: what files consist of: type, length, CRC-32, body. A record that ends too early or whose sum is wrong is
where a crash or a fault was; nothing after a short record counts, a wrong one costs only itself.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import compress
from operator import ne
from typing import Final

from oomsight.record.fields import FIELDS

MAGIC: Final = b"oomH\x01\r\n\x00"
"""How every file begins; the fifth byte is the version of the format."""
VERSION: Final = 1

HEADER: Final = struct.Struct("<4sIII")  # mark, type, length, CRC-32 of type, length and body
MARK: Final = b"\xf0oR\x0a"
BEGIN, ENTITIES, ROW, CHUNK, PROCESSES, RUN = 1, 2, 3, 4, 5, 6  # types of records
MAX_BODY: Final = 64 << 20  #: a longer length is a damaged one
MAX_ROWS: Final = 4096  #: in one chunk; no writer makes that many

KINDS: Final = tuple(FIELDS)
ZLIB_HEAD: Final = 2  #: bytes before what zlib packed, …
RAW: Final = -15  #: … and how that is unpacked by itself
_CODE: Final = {kind: number for number, kind in enumerate(KINDS)}
_PLACES: Final = range(max(map(len, FIELDS.values())))
LITTLE: Final = array("H", [1]).tobytes() == b"\x01\x00"
"""Whether numbers are kept here as they are stored: least byte first."""


class DamagedError(ValueError):
    """The bytes are not what was written."""


def newer_format(head: bytes) -> int | None:
    """The format of a file that begins with *head* and is of a newer oomsight; ``None`` = it is not."""
    end = len(MAGIC)
    if len(head) < end or head[:4] != MAGIC[:4] or head[5:end] != MAGIC[5:] or head[4] == MAGIC[4]:
        return None
    return head[4]


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
    mask, out = 0, bytearray()
    for place in compress(_PLACES, map(ne, before, now)):  # most figures stay as they are
        mask |= 1 << place
        old, new = before[place], now[place]
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


def coded(value: int | None) -> int:
    """A value as events count it."""
    return 0 if value is None else value if value < 0 else value + 1


def main_after(before: int, data: bytes, at: int = 0) -> int:
    """
    The coded main figure, which is the first of every kind, after the event that begins at *at*. Raises
    :class:`DamagedError`.
    """
    try:
        byte = data[at]
        if not byte & 1:
            return before
        while byte & 128:
            at += 1
            byte = data[at]
        number = data[at + 1]
    except IndexError:
        raise DamagedError("event of another shape") from None
    if number & 128:
        number, _ = take(data, at + 1)
    return before - (number >> 1) if number & 1 else before + (number >> 1)


def plain(number: int) -> int | None:
    """A coded value as it was recorded."""
    return number - 1 if number > 0 else None if number == 0 else number


def events(
    stream: bytes, kind: str, until: int = MAX_ROWS, *, last: bool = False
) -> Iterator[tuple[int, list[int] | None]]:
    """
    (row, coded values) at each change of a stream up to row *until*, ``None`` = gone; with *last* only the last one.
    The list is the same one each time.

    Raises :class:`DamagedError`.
    """
    values, there = [0] * max(len(FIELDS[kind]), 64), False
    at, row, end = 0, 0, len(stream)
    try:
        while at < end:  # all in one piece: a question may come here 100,000 times
            number = stream[at]
            at += 1
            if number & 128:
                number, at = take(stream, at - 1)
            if row + number > until:
                break
            row += number
            mask = stream[at]
            at += 1
            if mask & 128:
                mask, at = mask & 127 | (stream[at] << 7), at + 1
                if mask >> 14:
                    mask, at = take(stream, at - 2)
            there = mask > 0
            if not there:
                values = [0] * len(values)
            for place in _places(mask):
                number = stream[at]
                at += 1
                if number & 128:
                    number, at = number & 127 | (stream[at] << 7), at + 1
                    if number >> 14:
                        number, at = take(stream, at - 2)
                values[place] += -(number >> 1) if number & 1 else number >> 1
            if not last:
                yield row, values if there else None
    except IndexError:
        raise DamagedError("event of another shape") from None
    if last and end:
        yield row, values if there else None


@lru_cache(4096)
def _places(mask: int) -> tuple[int, ...]:
    """The figures that a mask names. Masks of the host hardly ever come twice, their eighths do."""
    found: tuple[int, ...] = ()
    for base in range(0, mask.bit_length(), 8):
        found += _eighth(mask >> base & 255, base)
    return found


@lru_cache(2048)
def _eighth(bits: int, base: int) -> tuple[int, ...]:
    return tuple(base + place for place in range(8) if bits >> place & 1)


def unpacked(data: bytes) -> bytes:
    """
    What :func:`zlib.compress` packed, without a look at its own sum, which takes a third of the time: whatever it
    stands in has one, which was looked at. Raises :class:`zlib.error`.
    """
    return zlib.decompress(data[ZLIB_HEAD:], RAW)


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
    if mark != MARK or length > MAX_BODY or not BEGIN <= kind <= RUN:
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


def kind_code(kind: str) -> int:
    """The number of *kind* in rows and indexes."""
    return _CODE[kind]


def column(code: str, numbers: Sequence[int]) -> bytes:
    """Numbers of one size (``H`` 2, ``I`` 4, ``q`` 8 bytes), least byte first."""
    found = array(code, numbers)
    if not LITTLE:
        found.byteswap()
    return found.tobytes()


def column_of(code: str, data: bytes | bytearray) -> array[int]:
    """A column read back. Raises :class:`DamagedError`."""
    found: array[int] = array(code)
    try:
        found.frombytes(data)
    except ValueError:
        raise DamagedError("column of another length") from None
    if not LITTLE:
        found.byteswap()
    return found


def planes(code: str, numbers: Sequence[int]) -> bytes:
    """As :func:`column`, the lowest byte of each number first, then the next of each: which packs smaller."""
    data, width = column(code, numbers), array(code).itemsize
    return b"".join([data[at::width] for at in range(width)])


def planes_of(code: str, data: bytes) -> array[int]:
    """The numbers that :func:`planes` made bytes of. Raises :class:`DamagedError`."""
    width = array(code).itemsize
    size, rest = divmod(len(data), width)
    if rest:
        raise DamagedError("column of another length")
    whole = bytearray(len(data))
    for at in range(width):
        whole[at::width] = data[at * size : (at + 1) * size]
    return column_of(code, whole)
