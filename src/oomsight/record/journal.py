"""
The journal: rows as they are sampled, in columns, so that a reader finds one entity without unpacking the others.

Read back, the rows since the last chunk are the chunk they would become.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, compress
from typing import NamedTuple

from oomsight.record.chunk import MAX_ROWS, ChunkBuilder
from oomsight.record.codec import (
    ENTITIES,
    KINDS,
    MAGIC,
    ROW,
    DamagedError,
    column,
    column_of,
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


def add_row(builder: ChunkBuilder, body: bytes, wanted: bytes | None = None) -> None:
    """
    Put a row into a chunk; with *wanted* (by code of the kind: 1 = yes) only entities of those kinds.

    Raises :class:`DamagedError`.
    """
    boot_ms, at = take(body, 0)
    wall_ms, at = take(body, at)
    count, at = take(body, at)
    entities = column_of("I", body[at : at + 4 * count])
    kinds = body[at + 4 * count : at + 5 * count]
    lengths = column_of("H", body[at + 5 * count : at + 7 * count])
    at += 7 * count
    if len(lengths) != count or at + sum(lengths) != len(body) or any(kind >= len(KINDS) for kind in set(kinds)):
        raise DamagedError("row of another shape")
    builder.begin_row(boot_ms, wall_ms)
    place, main, after = builder.put, builder.main, main_after
    parts = zip(entities, kinds, lengths, accumulate(lengths, initial=at))  # noqa: B905 - the last offset is the end
    for entity, kind, length, start in parts if wanted is None else compress(parts, kinds.translate(wanted)):
        data = body[start : start + length]
        place(entity, kind, data, after(main(entity), data))


class Journal(NamedTuple):
    """A journal, its rows not yet looked at."""

    begin: Begin
    text: str  #: lines of descriptions
    rows: list[bytes]

    def builder(self, kind: str | None = None) -> ChunkBuilder:
        """
        The rows as a chunk; with *kind* only its entities: most of what changes are processes, and most questions are
        about something else. Raises :class:`DamagedError`.
        """
        builder = ChunkBuilder()
        wanted = None if kind is None else bytes(code == KINDS.index(kind) for code in range(256))
        for body in self.rows:
            add_row(builder, body, wanted)
        return builder


def read_journal(data: bytes) -> Journal:
    """What a journal holds; it ends where it is cut or damaged. Raises :class:`DamagedError` without a beginning."""
    begin: Begin | None = None
    text: list[str] = []
    rows: list[bytes] = []
    for kind, body, _ in records(data, len(MAGIC)):
        if begin is None:
            begin = parse_begin(body)
        elif kind == ENTITIES:
            text.append(entities_text(body))
        elif kind == ROW and len(rows) < MAX_ROWS:
            rows.append(body)
    if begin is None:
        raise DamagedError("it ends within its first record")
    return Journal(begin, "".join(text), rows)
