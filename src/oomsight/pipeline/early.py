"""
Which processes and programs surely are no leak, told before all of their record is read.

A leak that is told has been one for some verdicts in a row (:mod:`oomsight.trend.alarm`), so what was none hours ago is
none now, whatever came since then. The curve up to that moment is a fraction of the work of all of it, of which most is
in the last minutes. What began anew since then is another matter, and so is whatever is not certain: of those nothing
is said here.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from oomsight._named import NamedTuple
from oomsight.pipeline.curves import BATCH, edges, joined, piece_of
from oomsight.trend.alarm import earliest, is_none

if TYPE_CHECKING:
    from oomsight.record.model import Entity
    from oomsight.sources.history import History
    from oomsight.sources.history_columns import Columns
    from oomsight.sources.history_files import Chunk
    from oomsight.trend.series import Series

_Piece = tuple["Chunk", float, float]


class _Asked(NamedTuple):
    """One process or name about which something may be said."""

    before: Series  #: its need before the last six hours
    moment: float  #: until when its curve has to be known
    gone: bool  #: it ended before, unless something of it is found


def surely_no_leaks(
    history: History, entities: Sequence[Entity], since: float, until: float, most: Sequence[int], *,
    limit_bytes: float | None,
) -> set[str]:  # fmt: skip
    """
    Keys of those of *entities*, processes or names, of which :func:`~oomsight.foresight.leaks.judged` would say neither
    that they leak nor that they may, and that did not begin anew. *most*: points of each part of the curve, as for
    :func:`~oomsight.pipeline.curves.program_curves`.
    """
    cuts = list(pairwise(edges(since, until)))
    if len(cuts) != len(most):  # a short period has nothing before its last hours
        return set()
    found = set[str]()
    for at in range(0, len(entities), BATCH):
        found |= _of_batch(history, entities[at : at + BATCH], cuts, most, limit_bytes)
    return found


def _of_batch(
    history: History, entities: Sequence[Entity], cuts: Sequence[tuple[float, float]], most: Sequence[int],
    limit_bytes: float | None,
) -> set[str]:  # fmt: skip
    before, hours, minutes = (history.pieces(*cut, points) for cut, points in zip(cuts, most, strict=True))
    if not minutes or not _is_alone(minutes[-1], minutes[:-1]):
        return set()
    first, between, last = (history.gathering(entities, (), need=True) for _ in cuts)
    for piece in before:
        first.add(piece)
    last.add(minutes[-1])
    asked, unsure = dict[str, _Asked](), set[str]()
    for key, one in first.columns.items():
        if (known := _asked(one, last.columns[key], most[0])) is not None and known.moment < cuts[1][1]:
            asked[key] = known
    for piece in (*hours, *minutes[:-1]):
        late = piece[1] >= cuts[1][1]
        there = {key for key, one in asked.items() if piece[0].first <= one.moment and not (late or one.gone)}
        between.add(piece, there)
        others = between.went(piece, asked.keys() - there)
        unsure.update(key for key, went in others.items() if went or asked[key].gone)
    if sum(map(_rows, hours)) > most[1]:  # not all of them would be points of the curve
        return set()
    return {
        key for key, one in asked.items()
        if key not in unsure and not _began(between.columns[key])
        and is_none(joined([one.before, piece_of(between.columns[key], most[1])]), limit_bytes, one.moment)
    }  # fmt: skip


def _is_alone(piece: _Piece, others: Sequence[_Piece]) -> bool:
    """Whether all of *others* end before a chunk begins."""
    return all(other[0].last < piece[0].first for other in others)


def _rows(piece: _Piece) -> int:
    chunk, low, high = piece
    return bisect_right(chunk.moments, high) - bisect_left(chunk.moments, low)


def _began(one: Columns) -> bool:
    """Whether it went, so that it may have begun anew."""
    return one.went or len(one.came) > 0


def _asked(first: Columns, last: Columns, points: int) -> _Asked | None:
    """
    What has to be known of somebody who was there *first* and at *last*, or only first; ``None`` = it may have begun
    anew, or did so.
    """
    before, end = piece_of(first, points), piece_of(last, points).times[-1:]
    if first.came or not len(before) or _began(last) or (end and first.went):
        return None
    return _Asked(before, earliest(before.times[0], (end or before.times[-1:])[0]), not end)
