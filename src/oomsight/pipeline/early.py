"""
Which processes and programs surely are no leak, told before all of their record is read.

A leak that is told has been one for some verdicts in a row (:mod:`oomsight.trend.alarm`), so what was none hours ago is
none now, whatever came since then. The curve up to that moment is a fraction of the work of all of it, of which most is
in the last minutes. What began anew since then is another matter, and so is whatever is not certain: of those nothing
is said here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import pairwise
from math import nan
from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight.pipeline.curves import BATCH, edges, joined, piece_of, program_curves
from oomsight.trend.alarm import earliest, is_none

if TYPE_CHECKING:
    from oomsight.record.model import Entity
    from oomsight.sources.history import History
    from oomsight.sources.history_columns import Columns, Gathering
    from oomsight.sources.history_files import Chunk
    from oomsight.trend.series import Series

UNSEEN: Final = nan  #: in place of a moment
_Piece = tuple["Chunk", float, float]


class _Asked(NamedTuple):
    """One process or name about which something may be said."""

    before: Series  #: its need before the last six hours
    moment: float  #: until when its curve has to be known, …
    least: float  #: … or until no earlier than this: which of its last rows are points of the curve is not known yet
    gone: bool  #: it ended before, unless something of it is found


def curves_that_may_leak(
    history: History, entities: Sequence[Entity], since: float, until: float, most: Sequence[int], *,
    limit_bytes: float | None,
) -> Iterator[tuple[Entity, Series | None]]:  # fmt: skip
    """
    What each of *entities*, processes or names, needed, as :func:`~oomsight.pipeline.curves.program_curves` says it
    with *most* points of each part; ``None`` = surely :func:`~oomsight.foresight.leaks.judged` would say neither that
    it leaks nor that it may, and it did not begin anew.
    """
    cuts = list(pairwise(edges(since, until)))
    for at in range(0, len(entities), BATCH):
        batch = entities[at : at + BATCH]
        found = None
        if len(cuts) == len(most):  # else there is nothing before the last hours
            found = _Batch(history, batch, cuts, most).curves(limit_bytes)
        if found is None:
            for entity, need in program_curves(history, batch, since, until, most):
                none = len(need) > 0 and not need.restarts and is_none(
                    need, limit_bytes, earliest(need.times[0], need.times[-1])
                )  # fmt: skip
                yield entity, None if none else need
        else:
            yield from found


class _Batch:
    """Some processes or names, whose record is read as far as it has to be."""

    def __init__(
        self, history: History, entities: Sequence[Entity], cuts: Sequence[tuple[float, float]], most: Sequence[int]
    ) -> None:
        self._entities, self._cuts, self._most = entities, cuts, most
        self._pieces = [history.pieces(*cut, points) for cut, points in zip(cuts, most, strict=True)]
        self._parts = [history.gathering(entities, (), need=True) for _ in cuts]
        self._asked: dict[str, _Asked] = {}
        self._thinned = sum(map(self._parts[-1].rows, self._pieces[-1])) > most[-1]
        history.expect([piece for pieces in self._pieces for piece in pieces], entities[0].kind)

    def curves(self, limit_bytes: float | None) -> Iterator[tuple[Entity, Series | None]] | None:
        """As :func:`curves_that_may_leak`; ``None`` = nothing can be said before all is read."""
        before, hours, minutes = self._pieces
        first, between, late = self._parts
        if not minutes or any(other[0].last >= minutes[-1][0].first for other in minutes[:-1]):
            return None
        if sum(map(between.rows, hours)) > self._most[1]:  # not all of them would be points of the curve
            return None
        for piece in before:
            first.add(piece)
        for piece in (*hours, *minutes):
            if piece[0].file.journal is not None:  # is read row by row: once for all of them
                late.went(piece, frozenset(first.columns))
        ends = late.ends(minutes[-1])
        for key, one in first.columns.items():
            if (known := self._known(key, one, ends)) is not None and known.moment < self._cuts[1][1]:
                self._asked[key] = known
        none = self._none(limit_bytes)
        left = [one.key for one in self._entities if one.key not in none]
        for piece in hours:
            between.add(piece, {key for key in left if not self._is_early(piece, key)})
        for piece in minutes:
            late.add(piece, frozenset(left))
        return ((one, None if one.key in none else self._curve(one.key)) for one in self._entities)

    def _known(self, key: str, first: Columns, ends: Mapping[str, float | None]) -> _Asked | None:
        """
        What has to be known of somebody who was there *first* and at one of the *ends*, or only first; ``None`` = it
        may have begun anew, or did so.
        """
        end = ends.get(key, UNSEEN)
        if first.came or end is None or (first.went and end is not UNSEEN):
            return None
        before = piece_of(first, self._most[0])
        if not len(before):
            return None
        begin, gone = before.times[0], end is UNSEEN
        moment = earliest(begin, before.times[-1] if gone else end)
        if gone or not self._thinned:
            return _Asked(before, moment, moment, gone)
        # Of as many equal parts as there are points the highest is one: the last of them is in the last part.
        return _Asked(before, moment, earliest(begin, end - (end - self._cuts[-1][0]) / self._most[-1]), gone)

    def _is_early(self, piece: _Piece, key: str) -> bool:
        """Whether a chunk of the last hours has to be read before anything is said of one of them."""
        known = self._asked.get(key)
        return known is not None and not known.gone and piece[0].first <= known.moment

    def _none(self, limit_bytes: float | None) -> set[str]:
        """Of whom it is sure before all is read."""
        _, between, late = self._parts
        unsure = set[str]()
        for piece in self._pieces[1]:
            there = {key for key in self._asked if self._is_early(piece, key)}
            between.add(piece, there)
            unsure |= self._disturbed(between, piece, self._asked.keys() - there)
        for piece in self._pieces[2][:-1]:
            unsure |= self._disturbed(late, piece, self._asked.keys())
        found = set[str]()
        for key, one in self._asked.items():
            columns = between.columns[key]
            if key not in unsure and not columns.came and not columns.went:
                curve = joined([one.before, piece_of(columns, self._most[1])])
                same = bisect_right(curve.times, one.least) == bisect_right(curve.times, one.moment)
                if same and is_none(curve, limit_bytes, one.moment):
                    found.add(key)
        return found

    def _disturbed(self, part: Gathering, piece: _Piece, among: Container[str]) -> set[str]:
        """Who went in a chunk that is not read, or is in it though it had ended."""
        return {key for key, went in part.went(piece, among).items() if went or self._asked[key].gone}

    def _curve(self, key: str) -> Series:
        parts = []
        for part, (low, high), points in zip(self._parts, self._cuts, self._most, strict=True):
            one = part.columns[key]
            one.came = [moment for moment in one.came if low <= moment <= high]
            parts.append(piece_of(one, points))
        return joined(parts)
