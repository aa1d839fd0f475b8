"""Figures of many entities of one kind over a period, read together: each chunk is opened once, not once for each."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from oomsight.record.codec import DamagedError
from oomsight.record.dense import Life, lives
from oomsight.record.fields import FIELDS
from oomsight.record.formula import UNKNOWN, totals
from oomsight.record.needs import SUMS
from oomsight.record.ready import PLACES
from oomsight.record.tiers import TIERS
from oomsight.sources.history_files import MANY

if TYPE_CHECKING:
    from oomsight.record.formula import Formula
    from oomsight.record.needs import Needs
    from oomsight.sources.history_files import Chunk, File, Shelf


class Columns:
    """Some figures of one entity, as they are stored: a value for each of its moments."""

    __slots__ = ("came", "columns", "step_seconds", "times", "went")

    def __init__(self, figures: int) -> None:
        self.times: list[float] = []  #: unix seconds, as the chunks came
        self.columns: list[list[int]] = [[] for _ in range(figures)]  #: coded, each as long as the times
        self.came: list[float] = []  #: moments at which it came again after it had gone
        self.went = False  #: it had gone in the end
        self.step_seconds = 0.0  #: of the coarsest tier it is made of

    def add(self, found: Iterable[Life], moments: Sequence[float], begin: int, end: int) -> None:
        """What lives in a chunk say of its rows from *begin* to *end*."""
        for life in found:
            whole = life.end
            if whole > life.first and self.went:
                if self.times:
                    self.came.append(moments[life.first])
                self.went = False
            first, last = max(life.first, begin), min(whole, end)
            if last - first == whole - life.first:
                self.times += moments[first:last]
                for column, values in zip(self.columns, life.columns, strict=True):
                    column += values  # noqa: PLW2901 - the list itself grows
            elif first < last:
                self.times += moments[first:last]
                for column, values in zip(self.columns, life.columns, strict=True):
                    column.extend(values[first - life.first : last - life.first])
            self.went = life.ended and whole <= end


class Gathering:
    """Figures of many entities of one kind, gathered chunk by chunk, which have to come in the order of time."""

    def __init__(  # noqa: PLR0917
        self, shelf: Shelf, kind: str, keys: Sequence[str], places: Sequence[int],
        known_as: Callable[[File, str, str], list[int]], formula: Formula | None = None,
    ) -> None:  # fmt: skip
        """
        Of the entities of *kind* called *keys* the figures at *places*. *known_as*: the numbers that an entity has in a
        file; *formula*: of a sum that is the first column.
        """
        self._shelf, self._kind, self._keys, self._places = shelf, kind, keys, places
        self._known_as, self._formula = known_as, formula
        self._numbers: dict[int, list[tuple[int, str]]] = {}  # a file has those of every run in it
        self.columns = {key: Columns(len(places) + (formula is not None)) for key in keys}  #: by key, so far

    def add(self, piece: tuple[Chunk, float, float], among: Container[str] | None = None) -> None:
        """Add what a chunk says of a part of the time, of all or of those *among* some keys."""
        chunk, low, high = piece
        needs = self._shelf.needs(chunk, self._kind) if self._formula is not None else None
        if not (self._shelf.timed if needs is None else self._shelf.has_times)(chunk, self._kind):
            return
        moments = chunk.moments
        begin, end = bisect_left(moments, low), bisect_right(moments, high)
        numbers, step = self._numbered(chunk.file, among), TIERS[chunk.tier].step_seconds
        if needs is not None:
            numbers = self._add_needs(needs, numbers, moments, (begin, end), step)
        for key, one in lives_of(self._shelf, chunk, self._kind, numbers, self._places, self._formula):
            columns = self.columns[key]
            columns.step_seconds = max(columns.step_seconds, step)
            columns.add(one, moments, begin, end)

    def _add_needs(
        self, needs: Needs, numbers: Sequence[tuple[int, str]], moments: Sequence[float], part: tuple[int, int],
        step: float,
    ) -> Sequence[tuple[int, str]]:  # fmt: skip
        """
        Add those of *numbers* whose need is known in a chunk and whose other figures stay as they are in it, rows of
        *part*; the other numbers.
        """
        names = [FIELDS[self._kind][place].name for place in self._places]
        if not {*names} <= {*(ends := SUMS[self._kind].ends)}:
            return numbers
        columns = [needs.ends[at : at + 2] for at in (2 * ends.index(name) for name in names)]
        moved = {place for first, last in columns if first != last
                 for place in range(len(first)) if first[place] != last[place]}  # fmt: skip
        steady, others, place_of = [first for first, _ in columns], list[tuple[int, str]](), needs.places.get
        (begin, end), rows = part, len(moments)
        here, whole, curve, firsts = moments[begin:end], end - begin == rows, needs.curve, needs.firsts
        for number, key in numbers:
            place = place_of(number)
            if place is None or place in moved:
                others.append((number, key))
                continue
            found, first, need = self.columns[key], firsts[place], curve(place)
            found.step_seconds = max(found.step_seconds, step)
            if len(need) == rows and not found.went:  # it was there all the time, as most are
                found.times += here
                found.columns[0] += need if whole else need[begin:end]
                for column, known in zip(found.columns[1:], steady, strict=True):
                    column.extend([known[place]] * len(here))
                continue
            stayed = [[known[place]] * len(need) for known in steady]
            found.add([Life(first, [need, *stayed], first + len(need) < rows)], moments, begin, end)
        return others

    def went(self, piece: tuple[Chunk, float, float], among: Container[str]) -> dict[str, bool]:
        """
        Who of those *among* some keys is in a chunk, in whatever part of its time, and whether somebody went within it.
        Their figures are not taken apart: of all numbers in a stream only the row of its first event, and what says
        that somebody went, are 0.
        """
        chunk, _, _ = piece
        if not self._shelf.timed(chunk, self._kind):
            return {}
        numbers = dict(self._numbered(chunk.file, among))
        found: dict[str, bool] = {}
        for number, stream in self._shelf.lived(chunk, list(numbers)).items():
            key = numbers[number]
            found[key] = 0 in stream[1:] or found.get(key, False)
        return found

    def ends(self, piece: tuple[Chunk, float, float]) -> dict[str, float | None]:
        """
        Who is in a chunk, and the last moment of its part of the time in which something of their need is known, if
        they surely were there from their first row on to the end; ``None`` = not so. Of a chunk that is packed and of
        which all is asked no figures are taken apart for that.
        """
        chunk, _, high = piece
        there = self.went(piece, self._keys)
        found: dict[str, float | None] = dict.fromkeys(there)
        if chunk.file.journal is not None or high < chunk.last:
            whole = Gathering(self._shelf, self._kind, self._keys, self._places, self._known_as, self._formula)
            whole.add(piece, {key for key, went in there.items() if not went})
            for key, one in whole.columns.items():
                if one.times and one.columns[0][-1] != UNKNOWN:
                    found[key] = one.times[-1]
            return found
        if not there or self._shelf.marks(chunk) is None:
            return found
        index, seen = chunk.index, set[str]()
        assert index is not None
        for number, key in self._numbered(chunk.file, there):
            place = index.place(number)
            last = place is not None and index.gone_rows[place] >= len(chunk.times) and index.marks.lasts[place] > 0
            found[key] = chunk.moments[-1] if last and not there[key] and key not in seen else None
            seen.add(key)
        return found

    def rows(self, piece: tuple[Chunk, float, float]) -> int:
        """How many rows a chunk has in its part of the time."""
        chunk, low, high = piece
        if not self._shelf.timed(chunk, self._kind):
            return 0
        return bisect_right(chunk.moments, high) - bisect_left(chunk.moments, low)

    def _numbered(self, file: File, among: Container[str] | None) -> Sequence[tuple[int, str]]:
        found = self._numbers.get(id(file))
        if found is None:
            found = self._numbers[id(file)] = [
                (number, key) for key in self._keys for number in self._known_as(file, self._kind, key)
            ]
        return found if among is None else [pair for pair in found if pair[1] in among]


def lives_of(  # noqa: PLR0917
    shelf: Shelf, chunk: Chunk, kind: str, numbers: Sequence[tuple[int, str]], places: Sequence[int],
    formula: Formula | None = None,
) -> Iterator[tuple[str, Sequence[Life]]]:  # fmt: skip
    """
    (key, lives) of each of *numbers* (and the keys they stand for in this file) that is in a loaded chunk, in turn; the
    figures at *places*, before them the sum by *formula*. What is damaged is left out and counted.
    """
    summed_up = formula.places if formula is not None else ()
    wanted = [*summed_up, *places]
    sheet, parts, at = None, list[int](), list[int]()
    if (len(numbers) > MANY or chunk.sheets.get(kind)) and set(wanted) <= set(kept := PLACES.get(kind, ())):
        sheet, parts, at = shelf.sheet(chunk, kind), list(map(kept.index, summed_up)), list(map(kept.index, places))
    streams = shelf.lived(chunk, [number for number, _ in numbers if sheet is None or number not in sheet])
    for number, key in numbers:
        if sheet is not None and number in sheet:
            if formula is not None:
                yield key, [sheet.need(number, formula, parts, at)]
            else:
                yield key, [sheet.life(number, at)]
        elif stream := streams.get(number):
            try:
                found = lives(stream, wanted, len(chunk.times))
                yield key, found if formula is None else [_with_sum(one, formula) for one in found]
            except DamagedError:
                shelf.damaged += 1


def _with_sum(life: Life, formula: Formula) -> Life:
    size = len(formula.places)
    return life._replace(columns=[totals(life.columns[:size], formula), *life.columns[size:]])
