"""What an earlier run left in the recorder's store, as far as the next one has to know it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight.record.chunk import chunk_front, stream_of
from oomsight.record.codec import DamagedError
from oomsight.record.layout import Words, entities_text, parse_name
from oomsight.record.rebuild import Piece
from oomsight.record.walk import Walk, walk

if TYPE_CHECKING:
    from oomsight.record.chunk import ChunkHead
    from oomsight.record.layout import Description
    from oomsight.record.walk import Part, Run

NEWEST: Final = 3  #: files of a tier that are looked at: what was packed at last, the file before, and one of a crash


class Whole(NamedTuple):
    """A file that ends where a record ends."""

    path: str
    size: int  #: bytes
    begun_ms: int  #: wall clock at its first row


class Stored:
    """The newest files of one tier."""

    def __init__(self, path: str, tier: int) -> None:
        names = sorted(name for text in os.listdir(path) if (name := parse_name(text)) and name.tier == tier)
        files = [os.path.join(path, str(name)) for name in names[-NEWEST:]]
        self._walks = [(file, _walk(file)) for file in files]
        self._runs = [(file, run) for file, walked in self._walks for run in walked.runs]

    def last_file(self) -> Whole | None:
        """The newest file, if nothing is cut off or damaged in it: a later run may go on there."""
        for file, found in self._walks[-1:]:
            with suppress(OSError):
                size = os.stat(file).st_size
                if found.end == size and (first := next((head for run in found.runs for _, head in run.chunks), None)):
                    return Whole(file, size, first.wall_ms - (first.last_ms - first.first_ms))
        return None

    def last_journal(self) -> int:
        """The journal that the newest chunk was made of; 0 = there is none."""
        heads = [head for _, run in self._runs for _, head in run.chunks]
        return next((head.journal for head in reversed(heads) if head.journal), 0)

    def last_moment(self, boot: str) -> int:
        """Milliseconds since boot of the last row of that *boot*; -1 = there is none."""
        return max((head.last_ms for *_, head in self._of(boot)), default=-1)

    def since(self, boot: str, after_ms: int) -> tuple[Iterator[Piece], dict[int, Description]]:
        """
        The chunks of that *boot* that have rows later than *after_ms*, and the one before them, oldest first; and who
        is who, the newest counts.
        """
        every = self._of(boot)
        begin = next((i for i, (*_, head) in enumerate(every) if head.last_ms > after_ms), len(every))
        wanted = every[max(begin - 1, 0) :] if begin < len(every) else []
        words = {id(run): _words(file, run) for file, run, _, _ in wanted}
        pieces = (_piece(file, head, part, words[id(run)]) for file, run, part, head in wanted)
        return pieces, {number: one for known in words.values() for number, one in known.items()}

    def _of(self, boot: str) -> list[tuple[str, Run, Part, ChunkHead]]:
        return [(file, run, *one) for file, run in self._runs if run.boot == boot for one in run.chunks]


def _walk(path: str) -> Walk:
    with suppress(OSError), open(path, "rb", buffering=0) as file:
        return walk(partial(os.pread, file.fileno()), os.fstat(file.fileno()).st_size)
    return Walk([], 0, damaged=True)


def _read(file: str, part: Part) -> bytes:
    with open(file, "rb", buffering=0) as one:
        return os.pread(one.fileno(), part.length, part.start)


def _words(file: str, run: Run) -> Words:
    return Words("".join(entities_text(_read(file, part)) for part in run.described))


def _piece(file: str, head: ChunkHead, part: Part, words: Words) -> Piece:
    body = _read(file, part)
    times, index = chunk_front(head, body[: head.streams_at])

    def streams() -> Iterator[tuple[int, bytes]]:
        start = head.streams_at
        for place, length in enumerate(index.lengths):
            end = start + (length >> 1)
            with suppress(DamagedError):
                yield place, stream_of(index, place, body[start:end])
            start = end

    return Piece(head, times, index, streams(), words)
