"""What an earlier run left in the recorder's store, as far as the next one has to know it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from oomsight.record.chunk import HEAD_BYTES, ChunkHead, chunk_front, chunk_head, stream_of
from oomsight.record.codec import BEGIN, CHUNK, ENTITIES, HEADER, MAGIC, PROCESSES, DamagedError, header
from oomsight.record.layout import Description, Words, entities_text, parse_begin, parse_name
from oomsight.record.rebuild import Piece

NEWEST: Final = 3  #: files of a tier that are looked at: what was packed at last, the file before, and one of a crash


class _Spot(NamedTuple):
    """A record of a file."""

    kind: int
    start: int  #: of its body
    length: int


class Stored:
    """The newest files of one tier."""

    def __init__(self, path: str, tier: int) -> None:
        self._path = path
        names = sorted(name for text in os.listdir(path) if (name := parse_name(text)) and name.tier == tier)
        self._files = [os.path.join(path, str(name)) for name in names[-NEWEST:]]

    def last_journal(self) -> int:
        """The journal that the newest chunk was made of; 0 = there is none."""
        for file in reversed(self._files):
            for head, _ in reversed(list(self._chunks(file))):
                if head.journal:
                    return head.journal
        return 0

    def last_moment(self, boot: str) -> int:
        """Milliseconds since boot of the last row of that *boot*; -1 = there is none."""
        return max((head.last_ms for _, head, _ in self._of(boot)), default=-1)

    def since(self, boot: str, after_ms: int) -> tuple[Iterator[Piece], dict[int, Description]]:
        """
        The chunks of that *boot* that have rows later than *after_ms*, and the one before them, oldest first; and who
        is who, the newest counts.
        """
        every = self._of(boot)
        begin = next((i for i, (_, head, _) in enumerate(every) if head.last_ms > after_ms), len(every))
        wanted = every[max(begin - 1, 0) :] if begin < len(every) else []
        words = {file: _words(file) for file, _, _ in wanted}
        pieces = (_piece(file, head, spot, words[file]) for file, head, spot in wanted)
        return pieces, {number: one for known in words.values() for number, one in known.items()}

    def _of(self, boot: str) -> list[tuple[str, ChunkHead, _Spot]]:
        return [(file, *one) for file in self._files if _boot(file) == boot for one in self._chunks(file)]

    @staticmethod
    def _chunks(file: str) -> Iterator[tuple[ChunkHead, _Spot]]:
        for spot in _spots(file):
            if spot.kind == CHUNK:
                with suppress(DamagedError):
                    yield chunk_head(_read(file, spot.start, min(spot.length, HEAD_BYTES))), spot


def _read(file: str, start: int, length: int) -> bytes:
    with open(file, "rb", buffering=0) as one:
        return os.pread(one.fileno(), length, start)


def _spots(file: str) -> Iterator[_Spot]:
    """The records of *file* by their heads, up to where it is cut or damaged."""
    with suppress(OSError, DamagedError), open(file, "rb", buffering=0) as one:
        size, at = os.fstat(one.fileno()).st_size, len(MAGIC)
        while at + HEADER.size <= size:
            kind, length, _ = header(os.pread(one.fileno(), HEADER.size, at))
            start, at = at + HEADER.size, at + HEADER.size + length
            if at > size:
                return
            yield _Spot(kind, start, length)


def _boot(file: str) -> str | None:
    with suppress(OSError, DamagedError):
        for spot in _spots(file):
            if spot.kind == BEGIN:
                return parse_begin(_read(file, spot.start, spot.length)).boot
            break
    return None


def _words(file: str) -> Words:
    spots = (spot for spot in _spots(file) if spot.kind in {ENTITIES, PROCESSES})
    return Words("".join(entities_text(_read(file, spot.start, spot.length)) for spot in spots))


def _piece(file: str, head: ChunkHead, spot: _Spot, words: Words) -> Piece:
    body = _read(file, spot.start, spot.length)
    times, index = chunk_front(head, body[: head.streams_at])

    def streams() -> Iterator[tuple[int, bytes]]:
        start = head.streams_at
        for place, length in enumerate(index.lengths):
            end = start + (length >> 1)
            with suppress(DamagedError):
                yield place, stream_of(index, place, body[start:end])
            start = end

    return Piece(head, times, index, streams(), words)
