"""
What was needed in each row of a chunk: of each cgroup, program, long-lived process and the host a column beside the
streams.

Who grew, and what was enough for 95 % of a week, is asked of hundreds of entities at once, each with a thousand rows or
ten thousand. A chunk is packed once and asked often, so the figures that need is made of are added up as it is packed:
of each entity the first value, and the steps from each row to the next. Who is in them was there in one piece and had
every figure that need is made of in every row; of all others the streams and sheets tell.

Need is charged memory without page cache, with tmpfs; of programs anonymous and shared memory, swap and page tables; of
the host what of RAM could not be had, and swap in use. The swap of a cgroup, which its limit does not cover, stands
apart. What the kernel counts one after the other may differ by a few pages the wrong way: less than nothing is 0.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from itertools import accumulate, repeat
from operator import add, mul, sub
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight.record.codec import DamagedError, planes, planes_of, unpacked
from oomsight.record.dense import summed
from oomsight.record.formula import KIB
from oomsight.record.steps import BYTES, HEAD, narrowed, widened

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from oomsight.record.dense import Life


class Sum(NamedTuple):
    """What need is made of, and what else is told of a chunk. All are names of figures."""

    plus: tuple[str, ...]
    minus: tuple[str, ...]
    optional: tuple[str, ...]  #: added where it is known
    apart: tuple[str, ...]  #: added where it is known to what has to be provided, but no part of the curve
    highest: tuple[str, ...]  #: the highest value is kept, …
    lowest: tuple[str, ...]  #: … the lowest, …
    ends: tuple[str, ...]  #: … or the first and the last
    ranked: bool = True  #: the lowest and the highest need are kept too, by which ranks are found

    @property
    def names(self) -> tuple[str, ...]:
        """All figures, each once."""
        parts = (self.plus, self.minus, self.optional, self.apart, self.highest, self.lowest, self.ends)
        return tuple(dict.fromkeys(name for part in parts for name in part))


_PROGRAM: Final = Sum(("rss_anon_bytes", "rss_shmem_bytes"), (), ("swap_bytes", "pgtables_bytes"), (), (), (), ())
SUMS: Final[Mapping[str, Sum]] = {
    "cgroup": Sum(("usage_bytes", "shmem_bytes"), ("file_bytes",), (), ("swap_bytes",), ("usage_bytes", "swap_bytes"),
                  (), ("limit_bytes", "swap_limit_bytes", "events_oom_kill")),
    "name": _PROGRAM._replace(highest=("swap_bytes",)),
    "process": _PROGRAM._replace(ranked=False),
    "host": Sum(("mem_total_bytes", "swap_total_bytes"), ("mem_available_bytes", "swap_free_bytes"), (), (), (),
                ("swap_free_bytes",), ("mem_total_bytes", "swap_total_bytes")),
}  # fmt: skip
"""By kind."""

_FRONT: Final = struct.Struct("<I")  # length of what stands before the steps
_HEAD: Final = struct.Struct("<II")  # entries, others
_MOVES, _APART_MOVES, _BELOW = 1, 2, 4  # marks of an entry: its need changes, what stands apart does, less than nothing

_MARKED: Final = {mark: bytes(marks & mark > 0 for marks in range(256)) for mark in (_MOVES, _APART_MOVES)}


class Entry(NamedTuple):
    """One entity in one chunk. Need in KiB, other figures coded."""

    number: int
    first: int  #: row
    needs: list[int]  #: in each of its rows; where its figures do not fit together less than nothing
    apart: list[int]  #: what stands apart, in each of them
    extremes: list[int]  #: of the figures the highest, of others the lowest
    ends: list[int]  #: first and last of each


def entry(kind: str, number: int, life: Life, known: Mapping[str, int]) -> Entry | None:
    """
    The entry of an entity of *kind* of which all is told by one *life*; *known*: the place of each figure in its
    columns. ``None`` = in some row something is not known, or of a process, of which there are thousands, that it was
    not there all the time or needs nothing.
    """
    rule = SUMS[kind]
    columns = {name: life.columns[at] for name, at in known.items()}
    for name, one in columns.items():
        wanted = name in rule.plus or name in rule.minus
        least = min(one)
        if least <= 0 and (wanted or least != max(one)) and not (name in rule.ends and 0 not in one):
            return None
    needs = _summed(columns, (*rule.plus, *rule.minus, *rule.optional), rule.minus)
    if kind == "process" and (life.first or life.ended or not any(needs)):
        return None
    return Entry(
        number, life.first, needs, _summed(columns, rule.apart),
        [*(max(columns[name]) for name in rule.highest), *(min(columns[name]) for name in rule.lowest)],
        [columns[name][at] for name in rule.ends for at in (0, -1)],
    )  # fmt: skip


def need_of(kind: str, columns: Mapping[str, Sequence[int]]) -> list[int]:
    """
    What has to be provided in each row, in KiB, with what stands apart, from coded figures that are known in all rows,
    or in none as some may.
    """
    rule = SUMS[kind]
    names = (*rule.plus, *rule.minus, *rule.optional, *rule.apart)
    return [value if value > 0 else 0 for value in _summed(columns, names, rule.minus)]


def _summed(columns: Mapping[str, Sequence[int]], names: Sequence[str], minus: Sequence[str] = ()) -> list[int]:
    """The sum of figures in each row, in KiB; empty without any."""
    if not names:
        return []
    parts = [(columns[name], name in minus) for name in names if columns[name][0]]
    if not parts:
        return [0] * len(columns[names[0]])
    total, level = summed(parts)
    level += sum(1 if off else -1 for _, off in parts)  # coded figures are one higher than what they stand for
    return [one + level for one in total]


def packed(kind: str, entries: Sequence[Entry], others: Sequence[int]) -> bytes:
    """Entries of a *kind* in one chunk, at least one, as bytes; *others*: entities of the kind that have none."""
    needs, apart = [one.needs for one in entries], [one.apart or [0] for one in entries]
    marks = [
        _MOVES * _moves(need) | _APART_MOVES * _moves(more) | _BELOW * (min(need) < 0)
        for need, more in zip(needs, apart, strict=True)
    ]
    whole = [_provided(one.needs, one.apart) for one in entries] if SUMS[kind].ranked else []
    front = zlib.compress(b"".join((
        _HEAD.pack(len(entries), len(others)),
        planes("I", others), planes("I", [one.number for one in entries]),
        planes("H", [one.first for one in entries]), planes("H", [len(one.needs) for one in entries]), bytes(marks),
        planes("q", [one[0] for one in needs]), planes("q", [one[0] for one in apart]),
        planes("q", [min(one) for one in whole]), planes("q", [max(one) for one in whole]),
        *(planes("q", numbers) for numbers in zip(*(one.extremes for one in entries), strict=True)),
        *(planes("q", numbers) for numbers in zip(*(one.ends for one in entries), strict=True)),
    )), 6)  # fmt: skip
    # Apart from the steps, as numbers of another kind pack better by themselves.
    return _FRONT.pack(len(front)) + front + zlib.compress(b"".join((*_steps(needs), *_steps(apart))), 6)


def _moves(values: Sequence[int]) -> bool:
    return values.count(values[0]) != len(values)


def _steps(columns: Iterable[Sequence[int]]) -> tuple[bytes, bytes]:
    """The steps of those columns that move, one after the other, and before them what they are."""
    steps = [step for one in columns if _moves(one) for step in map(sub, one[1:], one)]
    narrow = narrowed(steps)
    return narrow.head, planes(narrow.width, narrow.steps)


def _provided(needs: Sequence[int], apart: Sequence[int]) -> Sequence[int]:
    """Need with what stands apart."""
    whole = list(map(add, needs, apart)) if any(apart) else needs
    return [max(value, 0) for value in whole] if min(whole) < 0 else whole


class _Moved(NamedTuple):
    """The steps of the columns that move."""

    steps: array[int]
    unit: int
    starts: list[int]  #: by place, where those of an entry that moves begin


class Needs:
    """The entries of one kind in one chunk; columns go by :attr:`places`."""

    __slots__ = ("_apart", "_apart_moved", "_begins", "_marks", "_moved", "_places", "ends", "extremes", "firsts",
                 "highs", "lows", "numbers", "others", "rows")  # fmt: skip

    def __init__(self, kind: str, data: bytes, crc: int) -> None:
        """Unpack *data*. Raises :class:`DamagedError`."""
        if zlib.crc32(data) != crc:
            raise DamagedError("the sum of needs is wrong")
        rule = SUMS[kind]
        extremes, ranked = len(rule.highest) + len(rule.lowest), 2 * rule.ranked
        try:
            begin = _FRONT.size + _FRONT.unpack_from(data)[0]
            text = unpacked(data[_FRONT.size : begin])
            n, rest = _HEAD.unpack_from(text)
            at = _HEAD.size + 4 * rest
            self.others = frozenset(planes_of("I", text[_HEAD.size : at]))  #: who is there, and has no entry
            found: list[array[int]] = []
            for code in ("I", "H", "H", "B", *"q" * (2 + ranked + extremes + 2 * len(rule.ends))):
                size = n * BYTES[code]
                found.append(planes_of(code, text[at : at + size]))
                at += size
            self.numbers, self.firsts, self.rows, self._marks, self._begins, self._apart, *more = found
            steps = unpacked(data[begin:])
            self._moved, end = self._steps(steps, 0, _MOVES)
            self._apart_moved, end = self._steps(steps, end, _APART_MOVES)
        except (zlib.error, struct.error, ValueError, KeyError) as error:
            raise DamagedError(str(error)) from None
        if (at, end) != (len(text), len(steps)) or any(len(one) != n for one in found):
            raise DamagedError("needs of another length")
        self._places: dict[int, int] | None = None
        nothing: array[int] = array("q")
        self.lows, self.highs = more[:2] if ranked else (nothing, nothing)
        self.extremes = more[ranked : ranked + extremes]  #: of each figure
        self.ends = more[ranked + extremes :]  #: of each figure first and last, in turn

    @property
    def places(self) -> dict[int, int]:
        """By number, where an entity is in the columns."""
        if self._places is None:
            self._places = dict(zip(self.numbers, range(len(self.numbers)), strict=True))
        return self._places

    def _steps(self, text: bytes, at: int, mark: int) -> tuple[_Moved, int]:
        width, count, unit = HEAD.unpack_from(text, at)
        moves = self._marks.tobytes().translate(_MARKED[mark])
        # By what runs in C: a chunk has a thousand entries or two, of which few are asked for.
        starts = list(accumulate(map(mul, moves, map(sub, self.rows, repeat(1))), initial=0)) if 1 in moves else [0]
        begin = at + HEAD.size
        end = begin + BYTES[width.decode()] * count
        if starts[-1] != count:
            raise DamagedError("needs of another length")
        return _Moved(planes_of(width.decode(), text[begin:end]), unit, starts), end

    def curve(self, place: int) -> list[int]:
        """The need in each row without what stands apart, in bytes."""
        values = self._column(place, self._begins[place], self._moved, _MOVES, KIB)
        return [value if value > 0 else 0 for value in values] if self._marks[place] & _BELOW else values

    def provided(self, place: int) -> list[int]:
        """What had to be provided in each row, with what stands apart, in KiB."""
        first, apart_first, marks = self._begins[place], self._apart[place], self._marks[place]
        if not marks & (_APART_MOVES | _BELOW) and apart_first >= 0:  # mostly: then nothing is less than nothing
            return self._column(place, first + apart_first, self._moved, _MOVES)
        apart = self._column(place, apart_first, self._apart_moved, _APART_MOVES)
        return list(_provided(self._column(place, first, self._moved, _MOVES), apart))

    def ordered(self, place: int) -> list[int]:
        """The same, ascending."""
        low = self.lows[place]
        if low == self.highs[place]:
            return [low] * self.rows[place]
        values = self.provided(place)
        values.sort()
        return values

    def _column(
        self, place: int, first: int, moved: _Moved, mark: int, scale: int = 1
    ) -> list[int]:
        rows = self.rows[place]
        if not self._marks[place] & mark:
            return [first * scale] * rows
        start = moved.starts[place]
        steps = moved.steps[start : start + rows - 1]
        return list(accumulate(widened(moved.unit * scale, steps), initial=first * scale))
