"""
A file of chunks from end to end by the heads of its records, which is what readers and the next writer begin with.

A file begins with the run that made it. Runs after it, until it is old enough, go on in it: each says so in a record
and describes its entities anew, as their numbers begin anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from oomsight._named import NamedTuple
from oomsight.record.chunk import HEAD_BYTES, ChunkHead, chunk_head
from oomsight.record.codec import BEGIN, CHUNK, ENTITIES, HEADER, MAGIC, PROCESSES, RUN, DamagedError, header
from oomsight.record.layout import parse_begin

_AT_ONCE: Final = HEADER.size + HEAD_BYTES


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
    runs: list[Run] = []
    at = len(MAGIC)
    try:
        while at + HEADER.size <= size:
            front = read(_AT_ONCE, at)
            kind, length, crc = header(front[: HEADER.size])
            start, end = at + HEADER.size, at + HEADER.size + length
            if end > size:
                break
            part = Part(kind, start, length, crc)
            if kind in {BEGIN, RUN}:
                runs.append(Run(parse_begin(read(length, start)).boot, [], []))
            elif not runs:
                raise DamagedError("begins with another record")
            elif kind == CHUNK:
                runs[-1].chunks.append((part, chunk_head(front[HEADER.size :])))
            elif kind in {ENTITIES, PROCESSES}:
                runs[-1].described.append(part)
            at = end
    except DamagedError:
        return Walk(runs, at, damaged=True)
    return Walk(runs, at, damaged=False)
