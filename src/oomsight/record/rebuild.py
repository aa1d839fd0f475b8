"""
After a crash: the row that a coarser tier had not finished, made again from the rows of the finer one.

A tier writes a row when its step is over. Whoever ends the recorder before that (``kill -9``, a reset) leaves the last
step, up to ten minutes of the coarsest tier, in the finer tiers only, which are not kept as long. The minutes before a
machine went down are the ones somebody asks for weeks later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from oomsight._named import NamedTuple
from oomsight.record.chunk import ChunkBuilder
from oomsight.record.codec import KINDS, coded, event, events, kind_code, plain
from oomsight.record.fields import FIELDS
from oomsight.record.gather import Gatherer, TierRow
from oomsight.record.model import Change

if TYPE_CHECKING:
    from oomsight.record.chunk import ChunkHead, Index
    from oomsight.record.layout import Description
    from oomsight.record.model import Values
    from oomsight.record.tiers import Tier


class Piece(NamedTuple):
    """A chunk, taken apart."""

    head: ChunkHead
    times: Sequence[int]
    table: Index
    streams: Iterable[tuple[int, bytes]]  #: place in the table, stream
    words: Mapping[int, Description]  #: who its entities are


def rows_after(
    pieces: Iterable[Piece], after_ms: int, words: Mapping[int, Description]
) -> Iterator[tuple[int, int, Change]]:
    """
    (time since boot, wall clock, change) of each row later than *after_ms*, from chunks of one boot, oldest first. What
    was there before it comes with the first. What an older chunk calls by the number of somebody else in *words* is of
    another run, and left out. Raises :class:`~oomsight.record.codec.DamagedError`.
    """
    there: set[int] = set()
    before: list[Change] = []
    for piece in pieces:
        last = piece.head.rows - 1
        begin = next((row for row, moment in enumerate(piece.times) if moment > after_ms), last + 1)
        first = max(begin - 1, 0)
        if begin:  # its own rows say what was there
            before.clear()
            there.clear()
        changes = {row: Change() for row in range(first, last + 1)}
        for place, stream in piece.streams:
            number = piece.table.entities[place]
            one = piece.words.get(number)
            if one is not None and one[:3] == words.get(number, one)[:3]:
                _add(changes, first, number, KINDS[piece.table.marks.kinds[place]], stream)
        changes[first].gone += there - {number for number, _, _ in changes[first].rows}  # a chunk begins without them
        for row, change in changes.items():
            there.update(number for number, _, _ in change.rows)
            there.difference_update(change.gone)
            before.append(change)
            if row >= begin:
                moment = piece.times[row]
                for one_change in before:
                    yield moment, piece.head.wall_ms - (piece.head.last_ms - moment), one_change
                before.clear()


def _add(changes: Mapping[int, Change], first: int, number: int, kind: str, stream: bytes) -> None:
    size, state = len(FIELDS[kind]), None
    for row, values in events(stream, kind):
        now: Values | None = None if values is None else tuple(map(plain, values[:size]))
        if row <= first:
            state = now
        elif now is None:
            changes[row].gone.append(number)
        else:
            changes[row].rows.append((number, kind, now))
    if state is not None:
        changes[first].rows.append((number, kind, state))


def rebuilt(tier: Tier, moments: Iterable[tuple[int, int, Change]]) -> ChunkBuilder | None:
    """The rows of *tier* that come of these rows of the finer one, as a chunk; ``None`` = there are none."""
    gatherer, builder = Gatherer(tier), ChunkBuilder()
    before: dict[int, Values] = {}
    for moment in moments:
        if not before and not len(builder) and not gatherer.held:  # who ends in this step was there before it
            gatherer.held.update((number, (kind, ())) for number, kind, _ in moment[2].rows)
        if (row := gatherer.feed(*moment)) is not None:
            _put(builder, row, before)
    if (row := gatherer.finish()) is not None:
        _put(builder, row, before)
    return builder if len(builder) else None


def _put(builder: ChunkBuilder, row: TierRow, before: dict[int, Values]) -> None:
    builder.begin_row(row.boot_ms, row.wall_ms)
    for number, kind, values in row.parts:
        builder.put(number, kind_code(kind), event(before.get(number), values), coded(values[0]))
        before[number] = values
    for number, kind in row.gone:
        builder.add(number, kind, b"", None)
        before.pop(number, None)
