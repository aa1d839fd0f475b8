"""A journal read back: the rows since the last chunk, as the chunk they would become."""

from __future__ import annotations

from typing import Any

from oomsight.record.codec import (
    ENTITIES,
    MAGIC,
    ROW,
    ChunkBuilder,
    DamagedError,
    apply,
    decode_row,
    main_of,
    plain,
    records,
)
from oomsight.record.fields import FIELDS
from oomsight.record.layout import Begin, parse_begin, parse_entities


def read_journal(data: bytes) -> tuple[Begin, ChunkBuilder, dict[int, dict[str, Any]]]:
    """What a journal holds: its beginning, its rows as a chunk, descriptions. Raises :class:`DamagedError`."""
    begin: Begin | None = None
    builder, words = ChunkBuilder(), dict[int, dict[str, Any]]()
    states: dict[int, list[int]] = {}
    for kind, body, _ in records(data, len(MAGIC)):
        if begin is None:
            begin = parse_begin(body)
        elif kind == ENTITIES:
            words.update(parse_entities(body))
        elif kind == ROW:
            row = decode_row(body)
            builder.begin_row(row.boot_ms, row.wall_ms)
            for entity, of, part in row.parts:
                state = states.setdefault(entity, [0] * 64)
                there, _ = apply(state, part, 0)
                if there:
                    values = [plain(coded) for coded in state[: len(FIELDS[of])]]
                    builder.add(entity, of, part, main_of(of, values))
                else:
                    del states[entity]
                    builder.add(entity, of, b"", None)
    if begin is None:
        raise DamagedError("it ends within its first record")
    return begin, builder, words
