"""
A file of chunks from end to end by the heads of its records, which is what readers and the next writer begin with.

A file begins with the run that made it. Runs after it, until it is old enough, go on in it: each says so in a record
and describes its entities anew, as their numbers begin anew.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final

from oomsight._named import NamedTuple
from oomsight.record.chunk import HEAD_BYTES, ChunkHead, chunk_head
from oomsight.record.codec import BEGIN, CHUNK, ENTITIES, HEADER, MAGIC, PROCESSES, RUN, DamagedError, header
from oomsight.record.layout import parse_begin

_AT_ONCE: Final = HEADER.size + HEAD_BYTES
_PAGE: Final = 4096


class Part(NamedTuple):
    """Where a record of descriptions or a chunk is."""

    kind: int
    start: int  #: of its body
    length: int
    sum: int  #: CRC-32


class Run(NamedTuple):
    """What one run of the recorder left in a file."""

    boot: str  #: id of the boot whose clock the rows use
    described: list[Part]  #: where its entities are described
    chunks: list[tuple[Part, ChunkHead]]


class Walk(NamedTuple):
    """What is in a file."""

    runs: list[Run]  #: oldest first
    end: int  #: where the last whole record ends
    damaged: bool  #: what comes then is no record, nor the beginning of one


def walk(read: Callable[[int, int], bytes], size: int) -> Walk:
    """Go through a file of *size* bytes; *read*: (length, where) -> bytes, as ``os.pread`` of it. Never raises."""
    steps = walking(size)
    wanted = next(steps)
    while not isinstance(wanted, Walk):
        wanted = steps.send(read(*wanted))
    return wanted


def walking(size: int) -> Generator[tuple[int, int] | Walk, bytes, None]:
    """
    As :func:`walk`, for whoever goes through several files at once: yields (length, where) of what is wanted next, gets
    the bytes there, and yields what is in the file when it has seen it all. Never raises.
    """
    runs: list[Run] = []
    at, data, begin, damaged = len(MAGIC), b"", 0, False
    try:
        while at + HEADER.size <= size:
            if not begin <= at <= begin + len(data) - _AT_ONCE:  # else it came with the record before
                data, begin = (yield _to_a_pages_end(at), at), at
            front = data[at - begin : at - begin + _AT_ONCE]
            kind, length, crc = header(front[: HEADER.size])
            start, end = at + HEADER.size, at + HEADER.size + length
            if end > size:
                break
            part = Part(kind, start, length, crc)
            if kind in {BEGIN, RUN}:
                runs.append(Run(parse_begin((yield length, start)).boot, [], []))
            elif not runs:
                raise DamagedError("begins with another record")
            elif kind == CHUNK:
                runs[-1].chunks.append((part, chunk_head(front[HEADER.size :])))
            elif kind in {ENTITIES, PROCESSES}:
                runs[-1].described.append(part)
            at = end
    except DamagedError:
        damaged = True
    yield Walk(runs, at, damaged)


def _to_a_pages_end(at: int) -> int:
    """How much to read from a place on: a page costs no more than a few bytes of it, and often has the next head."""
    length = _PAGE - at % _PAGE
    return length if length >= _AT_ONCE else length + _PAGE
