"""
What many cgroups or programs needed over time, read together for `leaks` and `forecast`.

A verdict looks at some hundred points of a curve. They are taken from columns that are read for a batch of entities at
once and added up before anything is left out, which is a fraction of the work of asking for each figure of each.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight.record.answers import ascending, thinned
from oomsight.record.codec import plain
from oomsight.record.fields import INDEX, shown
from oomsight.record.formula import KIB, UNKNOWN
from oomsight.trend.series import Series

if TYPE_CHECKING:
    from oomsight.record.model import Entity
    from oomsight.sources.history import History
    from oomsight.sources.history_columns import Columns

BATCH: Final = 100  #: entities that are in memory at once
_LIMIT, _KILLS = (INDEX["cgroup"][name] for name in ("limit_bytes", "events_oom_kill"))


class Known(NamedTuple):
    """What is on record of one cgroup or program."""

    entity: Entity
    need: Series | None  #: ``None`` = it cannot be made of what was recorded
    limit_bytes: float | None = None  #: the last one known; infinite = it does not limit
    kills: tuple[float, ...] = ()  #: unix seconds


def edges(since: float, until: float) -> list[float]:
    """Where a period is cut: what fills within minutes has to show, and a week has to fit."""
    return [since, *(edge for edge in (until - 6 * 3600, until - 600) if edge > since), until]


def cgroup_curves(
    history: History, entities: Sequence[Entity], since: float, until: float, most: Sequence[int]
) -> Iterator[Known]:
    """Charged memory without page cache, with tmpfs; *most*: points of each of the parts that :func:`edges` makes."""
    for entity, parts in _read(history, entities, (_LIMIT, _KILLS), since, until, most):
        whole = _series(parts, most) if _is_known(parts) else None
        yield Known(entity, whole, _last_limit(parts), _kills(parts))


def program_curves(
    history: History, entities: Sequence[Entity], since: float, until: float, most: Sequence[int]
) -> Iterator[tuple[Entity, Series]]:
    """Memory that would have to be given back, of processes or of all of a name."""
    for entity, parts in _read(history, entities, (), since, until, most):
        pieces = zip(parts, most[-len(parts) :], strict=True)
        yield entity, joined([piece_of(one, points) for one, points in pieces])


def glimpses(
    history: History, entities: Sequence[Entity], since: float, until: float, points: int
) -> Iterator[Known]:
    """
    As :func:`cgroup_curves`, without kills, of each part of the period the need in no more than about *points* moments,
    as it was then: what was between them is not seen, and whose need is not known in all of them has none.
    """
    cuts = list(pairwise(edges(since, until)))
    for entity, parts in _read(history, entities, (_LIMIT,), since, until, [points] * len(cuts)):
        need = None
        if _is_known(parts):
            need = joined([_glimpsed(one, low, high, points) for one, (low, high) in zip(parts, cuts, strict=True)])
        yield Known(entity, need, _last_limit(parts))


def _is_known(parts: Sequence[Columns]) -> bool:
    """Whether need is, in every row."""
    return all(UNKNOWN not in one.columns[0] for one in parts)


def _glimpsed(one: Columns, low: float, high: float, points: int) -> Series:
    times, needs = ascending(one.times, one.columns[0])
    rows = _last_of_each(times, low, high, points)
    return Series([times[row] for row in rows], [needs[row] for row in rows])


def _last_of_each(times: Sequence[float], low: float, high: float, count: int) -> list[int]:
    """The last row of each of *count* equal parts of a period, and the row at its very end."""
    rows, before = list[int](), bisect_left(times, low)
    for part in range(1, count + 1):
        after = bisect_left(times, low + part * (high - low) / count, before)
        if after > before:
            rows.append(after - 1)
        before = after
    return [*rows, before] if before < len(times) else rows


def _last_limit(parts: Sequence[Columns]) -> float | None:
    """In bytes; infinite = it does not limit, ``None`` = not known."""
    limits = [one.columns[1] for one in parts if any(one.columns[1])]
    return shown(plain(next(filter(None, reversed(limits[-1])))), KIB) if limits else None


def _read(  # noqa: PLR0917
    history: History, entities: Sequence[Entity], places: Sequence[int], since: float, until: float, most: Sequence[int]
) -> Iterator[tuple[Entity, list[Columns]]]:
    """Needs, and the figures at *places*, of each of *entities*: a piece for each part of the time."""
    cuts = list(pairwise(edges(since, until)))
    for at in range(0, len(entities), BATCH):
        batch = entities[at : at + BATCH]
        pieces = []
        for (low, high), points in zip(cuts, most[-len(cuts) :], strict=True):
            piece = history.columns(batch, places, low, high, points, need=True)
            for one in piece.values():
                one.came = [moment for moment in one.came if low <= moment <= high]
            pieces.append(piece)
        for entity in batch:
            yield entity, [piece.pop(entity.key) for piece in pieces]


def _series(parts: Sequence[Columns], most: Sequence[int]) -> Series:
    return joined([_piece(one, points) for one, points in zip(parts, most[-len(parts) :], strict=True)])


def piece_of(one: Columns, points: int) -> Series:
    """What a process or name needed in one part of a period, in no more than so many *points*."""
    column = one.columns[0]
    if UNKNOWN in column:  # rows in which nothing is known
        one.times = [moment for moment, need in zip(one.times, column, strict=True) if need != UNKNOWN]
        one.columns[0] = [need for need in column if need != UNKNOWN]
    return _piece(one, points)


def _piece(one: Columns, points: int) -> Series:
    times, needs = thinned(*ascending(one.times, one.columns[0]), points, "max")
    return Series(times, needs, tuple(one.came), one.step_seconds or None)


def joined(pieces: Sequence[Series]) -> Series:
    """One series of those of the parts of a period, in turn; of moments that two of them have, the first."""
    times: list[float] = []
    values: list[float] = []
    for piece in pieces:
        skip = bisect_right(piece.times, times[-1]) if times else 0
        times += piece.times[skip:]
        values += piece.values[skip:]
    restarts = sorted({moment for piece in pieces for moment in piece.restarts})
    steps = [piece.step_seconds for piece in pieces if piece.step_seconds is not None]
    return Series(times, values, tuple(restarts), max(steps, default=None))


def rises(points: Iterable[tuple[float, float]]) -> tuple[float, ...]:
    """The moments at which a counter was higher than at the one before; *points*: moment and count, ascending."""
    return tuple(moment for (_, before), (moment, after) in pairwise(points) if after > before)


def _kills(parts: Sequence[Columns]) -> tuple[float, ...]:
    counts = [one.columns[2] for one in parts if one.columns[2]]
    if len({column[0] for column in counts}) < 2 and all(column.count(column[0]) == len(column) for column in counts):
        return ()
    known = sorted((moment, coded) for one in parts for moment, coded in zip(one.times, one.columns[2], strict=True)
                   if coded > 0)  # fmt: skip
    return rises(known)
