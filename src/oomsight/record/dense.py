"""
Some figures of a stream, a value for every row: columns, which add up and are cut without looking at each value.

Questions about many entities come here a million times a second, so numbers are taken apart by what runs in C: a
regular expression finds where each ends, a table knows what it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, repeat
from operator import add, neg, sub
from typing import Final, TypeVar

from oomsight._lazy import lazy
from oomsight._named import NamedTuple
from oomsight.record.codec import DamagedError, take

N = TypeVar("N", int, float)

_EACH: Final = re.compile(rb"[\x80-\xff]*[\x00-\x7f]").findall
WIDE_BYTES: Final = 12  #: an event of so many: to step over its other figures at once is less work than to see each
_MOST_NUMBERS: Final = 1 << 16  #: that are remembered


class Life(NamedTuple):
    """From where an entity came to where it went."""

    first: int  #: row
    columns: list[list[int]]  #: of each figure the coded value in every row; 0 = not known
    ended: bool  #: it went; else it was there in the last row

    @property
    def end(self) -> int:
        """The row after its last."""
        return self.first + len(self.columns[0])


class _Numbers(dict[bytes, int]):
    """What groups of seven bits are, remembered."""

    def __missing__(self, groups: bytes) -> int:
        if len(self) >= _MOST_NUMBERS:
            self.clear()
        number = self[groups] = take(groups, 0)[0]
        return number


_NUMBERS: Final = _Numbers()


class _Steps(dict[bytes, int]):
    """The differences that groups of seven bits stand for, remembered; of none nothing."""

    def __missing__(self, groups: bytes) -> int:
        if len(self) >= _MOST_NUMBERS:
            self.clear()
        number = take(groups, 0)[0] if groups else 0
        step = self[groups] = -(number >> 1) if number & 1 else number >> 1
        return step


_STEPS: Final = _Steps()
_OFTEN_TOO: Final = frozenset({1, 7})  #: mapped files and the lowest of a process change as often as its first figure
_EVENT: Final = rb"(D)(?:\x81\x01(N)N|\x83\x01(N)NN|\x01(N)|\x03(N)N|\x80\x01N|\x82\x01NN|\x02N)|[\x00-\xff]"
"""
One in which nothing but some of the first figure and :data:`_OFTEN_TOO` changes: its distance, and in one of four
places what the first changed by; or a byte of something else, :data:`_OTHER`.
"""
_EVENTS: Final = rb"(?:D(?:\x81\x01NN|\x83\x01NNN|\x01N|\x03NN|\x80\x01N|\x82\x01NN|\x02N))*+"
_EACH_OF_RUN, _RUN = (  # compiled when they are needed
    lazy(pattern.replace(b"N", rb"[\x80-\xff]*+[\x00-\x7f]").replace(b"D", rb"[\x00-\x7f]"))
    for pattern in (_EVENT, _EVENTS)
)
_OTHER: Final = (b"",) * 5


def lives(stream: bytes, places: Sequence[int], rows: int) -> list[Life]:
    """
    The figures at *places* of a stream of *rows* rows, life by life. A stream that begins with an end is of something
    that had gone; that life has no rows.

    Raises :class:`DamagedError`.
    """
    if stream and stream[-1] & 128:
        raise DamagedError("ends within a number")
    if len(places) == 1 and len(stream) > WIDE_BYTES * rows:
        return _alone(_figure(stream, places[0]), rows)
    if 0 in places and not _OFTEN_TOO.intersection(places):
        return _by_runs(stream, places, rows)
    return _event_by_event(stream, places, rows)


def _event_by_event(stream: bytes, places: Sequence[int], rows: int) -> list[Life]:
    numbers = list(map(_NUMBERS.__getitem__, _EACH(stream)))
    plan_of = _plans(tuple(places))
    found: list[Life] = []
    columns: list[list[int]] = []
    now: list[int] = []
    at = row = first = 0
    there, end = False, len(numbers)
    try:
        while at < end:
            row += numbers[at]
            mask = numbers[at + 1]
            if row >= rows:
                raise DamagedError("a row that is not there")
            if not there:
                there, first = True, row
                columns, now = [[] for _ in places], [0] * len(places)
            if not mask:
                found.append(_life(first, columns, now, row, ended=True))
                there = False
                at += 2
                continue
            size, wanted = plan_of[mask]
            for offset, slot in wanted:
                number = numbers[at + offset]
                column = columns[slot]
                short = row - first - len(column)
                if short == 1:
                    column.append(now[slot])
                elif short:
                    column.extend([now[slot]] * short)
                now[slot] += -(number >> 1) if number & 1 else number >> 1
            at += size
    except IndexError:
        raise DamagedError("event of another shape") from None
    if at != end:
        raise DamagedError("event of another shape")
    if there:
        found.append(_life(first, columns, now, rows, ended=False))
    return found


def _by_runs(stream: bytes, places: Sequence[int], rows: int) -> list[Life]:
    """As :func:`_event_by_event`, of streams in most of whose events no wanted figure but the first changes."""
    found: list[Life] = []
    columns: list[list[int]] = []
    now: list[int] = []
    plan_of, main = _plans(tuple(places)), places.index(0)
    at = row = first = 0
    there, even, end = False, True, len(stream)
    try:
        while at < end:
            distance, at = take(stream, at)
            mask, at = take(stream, at)
            row += distance
            if row >= rows:
                raise DamagedError("a row that is not there")
            if not there:
                there, first = True, row
                columns, now = [[] for _ in places], [0] * len(places)
            if not mask:
                found.append(_life(first, columns, now, row, ended=True))
                there = False
                continue
            size, wanted = plan_of[mask]
            after = _numbers(size - 2)(stream, at).end()  # type: ignore[union-attr]
            numbers = list(map(_NUMBERS.__getitem__, _EACH(stream, at, after)))
            for offset, slot in wanted:
                number, column = numbers[offset - 2], columns[slot]
                column.extend([now[slot]] * (row - first - len(column)))
                now[slot] += -(number >> 1) if number & 1 else number >> 1
            at = end if even else _RUN.match(stream, after).end()  # type: ignore[union-attr]
            events = _EACH_OF_RUN.findall(stream, after, at)
            distances = b"".join([one[0] for one in events])
            if len(distances) < len(events):  # other events are among them: only those before, here and from now on
                even, events = False, events[: events.index(_OTHER)]
                distances = distances[: len(events)]
                at = _RUN.match(stream, after).end()  # type: ignore[union-attr]
            if not events:
                continue
            column, value = columns[main], now[main]
            column.extend([value] * (row - first - len(column)))
            row += sum(distances)
            if row >= rows:
                raise DamagedError("a row that is not there")
            values = list(accumulate([_STEPS[a or b or c or d] for _, a, b, c, d in events], initial=value))
            now[main] = values.pop()
            if distances.count(1) == len(distances):
                column += values
                continue
            for before, distance in zip(values, distances, strict=True):
                column.extend([before] * distance)
    except (AttributeError, IndexError):  # no match: it ends before that
        raise DamagedError("event of another shape") from None
    if there:
        found.append(_life(first, columns, now, rows, ended=False))
    return found


def _life(first: int, columns: list[list[int]], now: Sequence[int], end: int, *, ended: bool) -> Life:
    for column, value in zip(columns, now, strict=False):
        column.extend([value] * (end - first - len(column)))
    return Life(first, columns, ended)


class _Plans(dict[int, tuple[int, tuple[tuple[int, int], ...]]]):
    """By the mask of an event: how many numbers it has, row and mask included, and where those that are wanted are."""

    def __init__(self, places: Sequence[int]) -> None:
        super().__init__()
        self.places = places

    def __missing__(self, mask: int) -> tuple[int, tuple[tuple[int, int], ...]]:
        if len(self) >= 4096:  # masks of the host hardly ever come twice
            self.clear()
        wanted = tuple(
            (2 + (mask & (1 << place) - 1).bit_count(), slot)
            for slot, place in enumerate(self.places) if mask >> place & 1
        )  # fmt: skip
        plan = self[mask] = 2 + mask.bit_count(), wanted
        return plan


@lru_cache(maxsize=16)
def _plans(places: tuple[int, ...]) -> _Plans:
    return _Plans(places)


def _alone(changes: Iterator[tuple[int, int | None]], rows: int) -> list[Life]:
    """The lives of one figure, from its changes."""
    found: list[Life] = []
    column: list[int] = []
    first, now = 0, 0
    there = False
    for row, value in changes:
        if row >= rows:
            raise DamagedError("a row that is not there")
        if not there:
            first, column = row, []
        else:
            column.extend([now] * (row - first - len(column)))
        there, now = value is not None, value or 0
        if not there:
            found.append(Life(first, [column], ended=True))
    if there:
        column.extend([now] * (rows - first - len(column)))
        found.append(Life(first, [column], ended=False))
    return found


def _figure(stream: bytes, place: int) -> Iterator[tuple[int, int | None]]:
    """
    (row, coded value) at each change of one figure of a stream, ``None`` = gone; the others are stepped over at once.

    Raises :class:`DamagedError`.
    """
    value, there, bit = 0, False, 1 << place
    at, row, end = 0, 0, len(stream)
    try:
        while at < end:  # all in one piece, as in events()
            number = stream[at]
            at += 1
            if number & 128:
                number, at = take(stream, at - 1)
            row += number
            mask = stream[at]
            at += 1
            if mask & 128:
                mask, at = take(stream, at - 1)
            if not mask:
                value, there = 0, False
                yield row, None
                continue
            others, changed = mask.bit_count(), mask & bit
            if changed:
                if before := (mask & bit - 1).bit_count():
                    at = _numbers(before)(stream, at).end()  # type: ignore[union-attr]
                number = stream[at]
                at += 1
                if number & 128:
                    number, at = take(stream, at - 1)
                value += -(number >> 1) if number & 1 else number >> 1
                others -= before + 1
            if others:
                at = _numbers(others)(stream, at).end()  # type: ignore[union-attr]
            if changed or not there:
                there = True
                yield row, value
    except (AttributeError, IndexError):  # no match: it ends before that
        raise DamagedError("event of another shape") from None


@lru_cache(64)
def _numbers(count: int) -> Callable[[bytes, int], re.Match[bytes] | None]:
    """What matches so many numbers from a place on."""
    return re.compile(rb"(?:[\x80-\xff]*[\x00-\x7f]){%d}" % count).match


def summed(columns: Sequence[tuple[Sequence[N], bool]]) -> tuple[Iterable[N | int], N | int]:
    """
    Columns added up row by row (``True``: taken off), but for those that stay as they are, as many do: the sum of these
    comes second, to be added to each row.
    """
    total: Iterable[N | int] | None = None
    level: N | int = 0
    for column, off in columns:
        if column[0] == column[-1] and column.count(column[0]) == len(column):
            level += -column[0] if off else column[0]
        elif total is None:
            total = map(neg, column) if off else column
        else:
            total = map(sub if off else add, total, column)
    return repeat(0, len(columns[0][0])) if total is None else total, level


def added(columns: Sequence[list[int]]) -> list[int]:
    """The sum of coded columns, coded: of what is known; 0 where nothing is."""
    columns = [column for column in columns if any(column)] or [*columns[:1]]
    if len(columns) == 1:
        return columns[0]
    if all(min(column, default=1) > 0 for column in columns):
        total, level = summed([(column, False) for column in columns])
        level += 1 - len(columns)  # each is one higher than what it stands for
        return [value + level for value in total]
    found = []
    for values in zip(*columns, strict=True):
        known = [value - 1 if value > 0 else value for value in values if value]
        found.append(sum(known) + 1 if known else 0)
    return found
