"""
How much cgroups or programs needed for how long over a period, mostly from what stands ready in each chunk.

What no chunk tells (what is not packed yet, what an older recorder packed, the ends of the period, moments that are in
two chunks) is read row by row, and added up as the recorder would have.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, compress
from operator import lt
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from oomsight.record.codec import plain
from oomsight.record.fields import FIELDS, INDEX, shown
from oomsight.record.needs import SUMS, need_of
from oomsight.record.ordered import Ordered
from oomsight.sources.history_columns import Columns, lives_of

if TYPE_CHECKING:
    from oomsight.record.needs import Needs
    from oomsight.sources.history_files import Chunk, File, Shelf

KIB: Final = 1024
AT_ONCE: Final = 20  #: entities of which all rows are in memory


class Rows(NamedTuple):
    """Need row by row."""

    times: Sequence[float]  #: unix seconds, ascending
    values: Sequence[int]  #: KiB


class _Part(NamedTuple):
    """A chunk whose needs are known."""

    chunk: Chunk
    needs: Needs


class _Stretch:
    """
    Such chunks in turn whose needs are of the same entities at the same places, as they mostly are: what is asked of a
    column is worked out for all places at once.
    """

    def __init__(self, names: Sequence[tuple[int, str]]) -> None:
        self.names = names  #: of entities, by their numbers
        self.parts: list[_Part] = []
        self._extremes: dict[int, list[int]] = {}
        self._blocks: dict[float, tuple[list[tuple[int, list[int]]], list[int]]] = {}

    def goes_on(self, needs: Needs, names: Sequence[tuple[int, str]]) -> bool:
        """Whether *needs* of a chunk in which entities are called so are of the same ones."""
        return needs.numbers == self.parts[-1].needs.numbers and (names is self.names or names == self.names)

    @cached_property
    def lows(self) -> list[tuple[int, ...]]:
        """By place the lowest need of each chunk, in KiB, …"""
        return list(zip(*[part.needs.lows for part in self.parts], strict=True))

    @cached_property
    def highs(self) -> list[tuple[int, ...]]:
        """… and the highest."""
        return list(zip(*[part.needs.highs for part in self.parts], strict=True))

    @cached_property
    def counts(self) -> list[tuple[int, ...]]:
        """By place the rows in each chunk."""
        return list(zip(*[part.needs.rows for part in self.parts], strict=True))

    @cached_property
    def peaks(self) -> list[int]:
        """By place the highest need of all."""
        return list(map(max, self.highs))

    def extremes(self, at: int, pick: Callable[[Sequence[int]], int]) -> list[int]:
        """By place the highest value of a figure, or what else is picked."""
        if at not in self._extremes:
            columns = zip(*[part.needs.extremes[at] for part in self.parts], strict=True)
            self._extremes[at] = list(map(pick, columns))
        return self._extremes[at]

    def blocks(self, seconds: float) -> tuple[list[tuple[int, list[int]]], list[int]]:
        """Blocks of so many seconds with the highest need in each, by place; which chunks are in several blocks."""
        if seconds not in self._blocks:
            inside: dict[int, list[Sequence[int]]] = {}
            across: list[int] = []
            for at, (chunk, needs) in enumerate(self.parts):
                first, last = chunk.first // seconds, chunk.last // seconds
                if first == last:
                    inside.setdefault(int(first), []).append(needs.highs)
                else:
                    across.append(at)
            self._blocks[seconds] = (
                [(block, list(map(max, zip(*highs, strict=True)))) for block, highs in inside.items()], across,
            )  # fmt: skip
        return self._blocks[seconds]


_Piece = tuple[_Stretch, int]
"""An entity in such chunks, and its place there."""


class Held:
    """What one entity needed. Bytes; ``None`` = not known."""

    def __init__(  # noqa: PLR0917
        self, kind: str, pieces: Sequence[_Piece], rows: Rows, columns: dict[str, _Seen],
        edge: Callable[[_Part, int], tuple[float, float]], crossing: Callable[[_Part, int], Rows],
    ) -> None:  # fmt: skip
        self._kind, self._pieces, self._rows, self._columns = kind, pieces, rows, columns
        self._edge, self._crossing = edge, crossing
        self.peak_bytes = float(max([*(stretch.peaks[place] for stretch, place in pieces), *rows.values]) * KIB)

    def extreme(self, name: str) -> float | None:
        """The highest value of a figure, or the lowest, as :data:`~oomsight.record.needs.SUMS` says."""
        rule = SUMS[self._kind]
        at = (*rule.highest, *rule.lowest).index(name)
        pick = max if name in rule.highest else min
        coded = [stretch.extremes(at, pick)[place] for stretch, place in self._pieces]
        if (seen := self._columns.get(name)) is not None:
            coded.append(seen.high if name in rule.highest else seen.low)
        return self._shown(name, pick(coded, default=0))

    def end(self, name: str, side: int) -> float | None:
        """The first (*side* 0) or last (1) value of a figure that is known."""
        at = 2 * SUMS[self._kind].ends.index(name) + side
        seen = self._columns.get(name)
        known = [] if seen is None else [seen.last if side else seen.first]
        turn: Callable[[Sequence[Any]], Iterable[Any]] = reversed if side else iter
        known += next(([(part.chunk.last if side else part.chunk.first, value)]
                       for stretch, place in turn(self._pieces) for part in turn(stretch.parts)
                       if (value := part.needs.ends[at][place])), [])  # fmt: skip
        return self._shown(name, (max if side else min)(known)[1]) if known else None

    def _shown(self, name: str, coded: int) -> float | None:
        return shown(plain(coded), FIELDS[self._kind][INDEX[self._kind][name]].scale)

    @property
    def span_seconds(self) -> float:
        """From its first row to its last."""
        moments = [*self._rows.times[:1], *self._rows.times[-1:]]
        if self._pieces:
            (begin, first), (end, last) = self._pieces[0], self._pieces[-1]
            moments += [self._edge(begin.parts[0], first)[0], self._edge(end.parts[-1], last)[1]]
        return max(moments) - min(moments)

    @cached_property
    def ordered(self) -> Ordered:
        """Need in every row, ascending."""
        pieces, alone = self._pieces, sorted(self._rows.values)
        if len(pieces) == 1 and not alone:
            ((stretch, place),) = pieces
            parts = stretch.parts
            return Ordered(stretch.lows[place], stretch.highs[place], stretch.counts[place],
                           lambda at: parts[at].needs.ordered(place), KIB)  # fmt: skip
        lows, highs, counts = (
            list(chain.from_iterable(columns)) for columns in (
                [stretch.lows[place] for stretch, place in pieces], [stretch.highs[place] for stretch, place in pieces],
                [stretch.counts[place] for stretch, place in pieces],
            )
        )  # fmt: skip
        held = [(part.needs, place) for stretch, place in pieces for part in stretch.parts]
        if alone:
            lows, highs, counts = [*lows, alone[0]], [*highs, alone[-1]], [*counts, len(alone)]

        def piece(at: int) -> list[int]:
            if at == len(held):
                return alone
            needs, place = held[at]
            return needs.ordered(place)

        return Ordered(lows, highs, counts, piece, KIB)

    def look_up(self, ranks: Sequence[int]) -> None:
        """The values at these places of :attr:`ordered` are asked for next: they are found together."""
        self.ordered.look_up(ranks)

    def peaks(self, block_seconds: float) -> list[float]:
        """The highest need of every block that has samples, in order of time; blocks begin at multiples of it."""
        found: dict[int, int] = {}
        crossing: list[tuple[_Part, int, int]] = []
        for stretch, place in self._pieces:
            inside, across = stretch.blocks(block_seconds)
            for block, highs in inside:
                if found.get(block, -1) < (high := highs[place]):
                    found[block] = high
            if across:
                crossing += [(stretch.parts[at], place, stretch.highs[place][at]) for at in across]
        # In which of its blocks a piece was highest need not be known where it raises neither.
        apart = [self._crossing(part, place) for part, place, high in crossing
                 if min(found.get(int(end // block_seconds), -1) for end in (part.chunk.first, part.chunk.last)) < high
                 or part.chunk.last - part.chunk.first > block_seconds]  # fmt: skip
        for times, values in (*apart, self._rows):
            low = 0
            while low < len(times):
                block = int(times[low] // block_seconds)
                high = bisect_left(times, (block + 1) * block_seconds, low + 1)
                found[block] = max(found.get(block, -1), *values[low:high])
                low = high
        return [float(found[block] * KIB) for block in sorted(found)]


class _Reader:
    """Entities of one kind, called *keys*, in some chunks."""

    def __init__(
        self, shelf: Shelf, kind: str, keys: Sequence[str], known_as: Callable[[File, str, str], list[int]]
    ) -> None:
        self._shelf, self._kind, self._keys, self._known_as = shelf, kind, keys, known_as
        self._names = SUMS[kind].names
        self._places = [INDEX[kind][name] for name in self._names]
        self._numbers: dict[int, list[tuple[int, str]]] = {}
        self.pieces: dict[str, list[_Piece]] = {key: [] for key in keys}
        self._stretch: _Stretch | None = None  #: the latest
        self._apart: dict[str, Columns] = {}
        self._left: list[tuple[Chunk, dict[str, list[tuple[int, str]]], float, float]] = []  # to be read by rows

    def read(self, pieces: Sequence[tuple[Chunk, float, float]]) -> None:
        wholes = [one and low <= chunk.first and chunk.last <= high
                  for (chunk, low, high), one in zip(pieces, _alone(pieces), strict=True)]  # fmt: skip
        self._shelf.expect([chunk for (chunk, _, _), whole in zip(pieces, wholes, strict=True) if whole],
                           [self._kind.upper()])  # fmt: skip
        for (chunk, low, high), whole in zip(pieces, wholes, strict=True):
            numbers = self._numbered(chunk.file)
            needs = self._shelf.needs(chunk, self._kind) if whole else None
            if needs is None:
                self._leave(chunk, numbers, low, high)
                continue
            if self._stretch is None or not self._stretch.goes_on(needs, numbers):
                self._stretch, place_of = _Stretch(numbers), needs.places.get
                for number, key in numbers:
                    if (place := place_of(number)) is not None:
                        self.pieces[key].append((self._stretch, place))
            self._stretch.parts.append(_Part(chunk, needs))
            if needs.others and (rest := [pair for pair in numbers if pair[0] in needs.others]):
                self._leave(chunk, rest, low, high)

    def held(self) -> Iterator[tuple[str, Held | None]]:
        """What is known of each that was there; ``None`` = its need is not known in any row."""
        for at, key in enumerate(self._keys):
            if at % AT_ONCE == 0:
                batch = self._keys[at : at + AT_ONCE]
                for chunk, numbers, low, high in self._left:
                    self._read_rows(chunk, [pair for one in batch for pair in numbers.get(one, ())], low, high)
            pieces = self.pieces.pop(key)
            apart = self._apart.pop(key, None)
            rows, columns = (Rows([], []), {}) if apart is None else self._added(apart)
            if pieces or rows.times:
                yield key, Held(self._kind, pieces, rows, columns, self._edge, self._crossing)
            elif apart is not None and apart.times:
                yield key, None

    def _edge(self, part: _Part, place: int) -> tuple[float, float]:
        """First and last moment of an entity in a chunk."""
        chunk, needs = part.chunk, part.needs
        first, count = needs.firsts[place], needs.rows[place]
        if (first or count < chunk.head.rows) and self._shelf.has_times(chunk, self._kind):
            return chunk.moments[first], chunk.moments[first + count - 1]
        return chunk.first, chunk.last

    def _numbered(self, file: File) -> list[tuple[int, str]]:
        found = self._numbers.get(id(file))
        if found is None:
            found = self._numbers[id(file)] = [
                (number, key) for key in self._keys for number in self._known_as(file, self._kind, key)
            ]
        return found

    def _leave(self, chunk: Chunk, numbers: Sequence[tuple[int, str]], low: float, high: float) -> None:
        by_key: dict[str, list[tuple[int, str]]] = {}
        for pair in numbers:
            by_key.setdefault(pair[1], []).append(pair)
        self._left.append((chunk, by_key, low, high))

    def _read_rows(self, chunk: Chunk, numbers: Sequence[tuple[int, str]], low: float, high: float) -> None:
        if not numbers or not self._shelf.timed(chunk, self._kind):
            return
        moments = chunk.moments
        begin, end = bisect_left(moments, low), bisect_right(moments, high)
        for key, found in lives_of(self._shelf, chunk, self._kind, numbers, self._places):
            self._apart.setdefault(key, Columns(len(self._places))).add(found, moments, begin, end)

    def _crossing(self, part: _Part, place: int) -> Rows:
        """The rows of an entity in a chunk that is in several blocks of time."""
        chunk, needs = part
        if not self._shelf.has_times(chunk, self._kind):
            return Rows([], [])
        first = needs.firsts[place]
        return Rows(chunk.moments[first : first + needs.rows[place]], needs.provided(place))

    def _added(self, apart: Columns) -> tuple[Rows, dict[str, _Seen]]:
        """Need in each row in which it is known, by time, and what is known of the other figures."""
        rule, columns, times = SUMS[self._kind], dict(zip(self._names, apart.columns, strict=True)), apart.times
        if not times:
            return Rows([], []), {}
        if not all(map(lt, times, times[1:])):  # of a moment that comes twice the first
            known: list[int] = []
            for at in sorted(range(len(times)), key=times.__getitem__):
                if not known or times[at] > times[known[-1]]:
                    known.append(at)
            times = [times[at] for at in known]
            columns = {name: [one[at] for at in known] for name, one in columns.items()}
        others = {name: seen for name in (*rule.highest, *rule.lowest, *rule.ends)
                  if (seen := _seen(times, columns[name])) is not None}  # fmt: skip
        needed = [columns[name] for name in (*rule.plus, *rule.minus)]
        if min(map(min, needed), default=0) <= 0:
            there = [all(row) for row in zip(*needed, strict=True)]
            if not any(there):
                return Rows([], []), others
            times = list(compress(times, there))
            columns = {name: list(compress(one, there)) for name, one in columns.items()}
        for name in rule.optional:  # what is not known adds nothing
            if 0 in columns[name] and any(columns[name]):
                columns[name] = [value or 1 for value in columns[name]]
        return Rows(array("d", times), array("q", need_of(self._kind, columns))), others


class _Seen(NamedTuple):
    """What is known of a figure read row by row. Values are coded."""

    first: tuple[float, int]  #: moment and value
    last: tuple[float, int]
    low: int
    high: int


def _seen(times: Sequence[float], column: Sequence[int]) -> _Seen | None:
    if 0 in column:
        times, column = list(compress(times, column)), list(filter(None, column))
    if not column:
        return None
    return _Seen((times[0], column[0]), (times[-1], column[-1]), min(column), max(column))


def _alone(pieces: Sequence[tuple[Chunk, float, float]]) -> list[bool]:
    """Whether each of these chunks, which come by their first row, has its time for itself."""
    found, end, latest = [True] * len(pieces), float("-inf"), 0
    for at, (chunk, low, high) in enumerate(pieces):
        if max(chunk.first, low) <= end:
            found[at] = found[latest] = False
        if (last := min(chunk.last, high)) >= end:
            end, latest = last, at
    return found


def needed(
    shelf: Shelf, pieces: Sequence[tuple[Chunk, float, float]], kind: str, keys: Sequence[str],
    known_as: Callable[[File, str, str], list[int]],
) -> Iterator[tuple[str, Held | None]]:  # fmt: skip
    """
    (key, what it needed) of each entity of *kind* called one of *keys* that is in *pieces*: chunks and the time each
    answers for, by their first row; ``None`` = that is not known. *known_as*: the numbers that an entity has in a file.
    """
    reader = _Reader(shelf, kind, keys, known_as)
    reader.read(pieces)
    yield from reader.held()
