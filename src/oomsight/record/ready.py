"""
Ready columns: the figures that are asked of many entities at once, once more, beside the streams of a chunk.

A stream is taken apart event by event, which a question about hundreds of entities over a week does some hundred
thousand times. What such questions are about (what somebody needed, its limit, its kills) is therefore kept as columns
too: of each figure the first value, then the differences row by row, which the standard library adds up in one call. A
figure that stays as it is costs its first value. Whoever went and came again within a chunk is not in them, and what
is damaged in them is no loss: the streams say the same.

They are the last part of a chunk's body, after the streams, where readers that do not know them do not look: for each
kind a sheet and its needs (:mod:`oomsight.record.needs`), then where each is.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import accumulate, pairwise
from operator import add, sub
from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight.record.codec import KINDS, DamagedError, column, column_of, kind_code, unpacked
from oomsight.record.dense import Life, lives
from oomsight.record.fields import FIELDS, INDEX, parts_of
from oomsight.record.formula import KIB, UNKNOWN, totals
from oomsight.record.needs import Entry, entry, packed
from oomsight.record.steps import BYTES, narrowed, widened
from oomsight.record.steps import HEAD as STEPS_HEAD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oomsight.record.formula import Formula

_SHEETS: Final = ("cgroup", "name")
_NEEDS: Final = ("CGROUP", "NAME", "HOST")
SHEETS: Final[Mapping[int, tuple[str, ...]]] = {
    0: _SHEETS, 1: _SHEETS, 2: (*_SHEETS, *_NEEDS), 3: (*_SHEETS, *_NEEDS, "PROCESS"),
}  # fmt: skip
"""
By number of the tier, of what there are sheets, and in capitals of what there are needs: these are asked of weeks,
which the finer tiers do not reach back to. Of processes, of which there are thousands, the coarsest has them.
"""

PLACES: Final[Mapping[str, tuple[int, ...]]] = {
    "cgroup": tuple(INDEX["cgroup"][name] for name in (
        "usage_bytes", "file_bytes", "shmem_bytes", "swap_bytes", "limit_bytes", "swap_limit_bytes", "events_oom_kill",
    )),
    "name": parts_of("name", "need_bytes"),
    "process": parts_of("process", "need_bytes"),
    "host": tuple(INDEX["host"][name] for name in (
        "mem_total_bytes", "mem_available_bytes", "swap_total_bytes", "swap_free_bytes",
    )),
}  # fmt: skip
"""By kind, which figures."""

_AT: Final = {kind: {FIELDS[kind][place].name: at for at, place in enumerate(places)}
              for kind, places in PLACES.items()}  # fmt: skip
NEEDS: Final = 0x40  #: with the code of a kind: no sheet, but what was needed (0x80: in older records, by size)
TAIL_BYTES: Final = 64  #: of a body, in which it says where its sheets are
_MARK: Final = b"\xf0Rdy"
_SPOT: Final = struct.Struct("<BII")  # kind, length, CRC-32
_HEAD: Final = struct.Struct("<BI")  # figures, entities


class Spot(NamedTuple):
    """Where a sheet is."""

    back: int  #: how far before the end of the body it begins
    length: int
    sum: int  #: CRC-32


def sheets(streams: Iterable[tuple[str, int, bytes]], rows: int, wanted: Sequence[str]) -> bytes:
    """
    The last part of a body of *rows* rows, from (kind, entity, stream); *wanted*: kinds, as in :data:`SHEETS`. Empty
    without any.
    """
    kinds = dict.fromkeys(kind.lower() for kind in wanted)
    members: dict[str, list[tuple[int, Life]]] = {kind: [] for kind in kinds}
    entries: dict[str, list[Entry]] = {kind: [] for kind in kinds}
    there: dict[str, set[int]] = {kind: set() for kind in kinds}
    for kind, number, stream in streams:
        if kind in kinds:
            there[kind].add(number)
            one: list[Life] = []
            with suppress(DamagedError):
                one = lives(stream, PLACES[kind], rows)
            if len(one) == 1 and one[0].columns[0]:
                if kind in wanted:
                    members[kind].append((number, one[0]))
                # At once, as the lives of thousands of processes would take twice the memory.
                if kind.upper() in wanted and (known := entry(kind, number, one[0], _AT[kind])) is not None:
                    entries[kind].append(known)
    blobs: list[tuple[int, bytes]] = []
    for kind in kinds:
        if members[kind]:
            blobs.append((kind_code(kind), zlib.compress(_sheet(members[kind]), 6)))
        if entries[kind]:
            # Of processes most have none; who is not in it is looked for in the index.
            others = sorted(there[kind] - {one.number for one in entries[kind]}) if kind != "process" else []
            blobs.append((kind_code(kind) | NEEDS, packed(kind, entries[kind], others)))
    if not blobs:
        return b""
    spots = [_SPOT.pack(code, len(blob), zlib.crc32(blob)) for code, blob in blobs]
    return b"".join((*(blob for _, blob in blobs), *spots, bytes([len(spots)]), _MARK))


def _sheet(members: Sequence[tuple[int, Life]]) -> bytes:
    whole = [life for _, life in members]
    out = [
        _HEAD.pack(len(whole[0].columns), len(members)), column("I", [number for number, _ in members]),
        column("H", [life.first for life in whole]), column("H", [len(life.columns[0]) for life in whole]),
        bytes(life.ended for life in whole),
    ]  # fmt: skip
    for at in range(len(whole[0].columns)):
        columns = [life.columns[at] for life in whole]
        moves = [max(one) != min(one) for one in columns]
        steps = [b - a for one, moved in zip(columns, moves, strict=True) if moved for a, b in pairwise(one)]
        narrow = narrowed(steps)
        out += [column("q", [one[0] for one in columns]), bytes(moves), narrow.head, column(narrow.width, narrow.steps)]
    return b"".join(out)


def spots(tail: bytes, length: int) -> dict[str, Spot]:
    """
    Where the sheets of a body of *length* bytes are, by kind, and its needs, by kind in capitals; *tail*: its end.
    Empty = it has none.
    """
    end = len(tail) - len(_MARK)
    if tail[end:] != _MARK or end < 1:
        return {}
    at = end - 1 - tail[end - 1] * _SPOT.size
    if at < 0:
        return {}
    found, back = {}, len(tail) - at
    for code, size, crc in reversed([*_SPOT.iter_unpack(tail[at : end - 1])]):
        back += size
        if code & ~NEEDS < len(KINDS):
            kind = KINDS[code & ~NEEDS]
            found[kind.upper() if code & NEEDS else kind] = Spot(back, size, crc)
    return found if back <= length else {}


class Sheet:
    """The ready columns of one kind in one chunk."""

    __slots__ = ("_columns", "_ended", "_firsts", "_lengths", "_numbers", "_starts")

    def __init__(self, data: bytes, crc: int) -> None:
        """Unpack *data*. Raises :class:`DamagedError`."""
        if zlib.crc32(data) != crc:
            raise DamagedError("the sum of a sheet is wrong")
        try:
            text = unpacked(data)
            figures, n = _HEAD.unpack_from(text)
            at = _HEAD.size
            numbers, at = column_of("I", text[at : at + 4 * n]), at + 4 * n
            self._firsts, at = column_of("H", text[at : at + 2 * n]), at + 2 * n
            self._lengths, at = column_of("H", text[at : at + 2 * n]), at + 2 * n
            self._ended, at = text[at : at + n], at + n
            self._columns: list[tuple[array[int], bytes, array[int], int]] = []  # first values, who moves, by what
            for _ in range(figures):
                values, at = column_of("q", text[at : at + 8 * n]), at + 8 * n
                moves, at = text[at : at + n], at + n
                width, count, unit = STEPS_HEAD.unpack_from(text, at)
                at += STEPS_HEAD.size
                size = BYTES[width.decode()] * count
                self._columns.append((values, moves, column_of(width.decode(), text[at : at + size]), unit))
                at += size
        except (zlib.error, struct.error, ValueError, KeyError) as error:
            raise DamagedError(str(error)) from None
        if at != len(text):
            raise DamagedError("a sheet of another length")
        self._numbers = {number: place for place, number in enumerate(numbers)}
        steps = [length - 1 for length in self._lengths]
        self._starts: list[list[int]] = [
            list(accumulate((step * moved for step, moved in zip(steps, moves, strict=True)), initial=0))
            for _, moves, _, _ in self._columns
        ]

    def __contains__(self, number: object) -> bool:
        return number in self._numbers

    def life(self, number: int, figures: Sequence[int]) -> Life:
        """The life of the entity called *number*, of the *figures* at these places of :data:`PLACES`."""
        place = self._numbers[number]
        found = [self._column(place, at) for at in figures]
        return Life(self._firsts[place], found, bool(self._ended[place]))

    def _column(self, place: int, at: int) -> list[int]:
        values, moves, _, unit = self._columns[at]
        if moves[place]:
            return list(accumulate(widened(unit, self._steps(place, at)), initial=values[place]))
        return [values[place]] * self._lengths[place]

    def _steps(self, place: int, at: int) -> array[int]:
        start = self._starts[at][place]
        return self._columns[at][2][start : start + self._lengths[place] - 1]

    def need(self, number: int, formula: Formula, at: Sequence[int], figures: Sequence[int]) -> Life:
        """
        As :meth:`life`, the first column the sum of the figures at the places *at* of :data:`PLACES`, as
        :func:`~oomsight.record.formula.totals` makes it. Steps are summed before they are added up: half of the work.
        """
        place = self._numbers[number]
        found = [self._sum(place, formula, at), *(self._column(place, figure) for figure in figures)]
        return Life(self._firsts[place], found, bool(self._ended[place]))

    def _sum(self, place: int, formula: Formula, at: Sequence[int]) -> list[int]:
        length, level, rest = self._lengths[place], 0, 0
        moving: list[tuple[array[int], int]] = []  # steps, and what they are multiples of
        for figure, sign in zip(at, formula.signs, strict=True):
            values, moves, steps, unit = self._columns[figure]
            first = values[place]
            if moves[place]:
                mine, lowest = self._steps(place, figure), first - (length * unit << 8 * steps.itemsize - 1)
                moving.append((mine, sign * unit * KIB))
                if sign < 0 or figure != at[0]:
                    if lowest <= 0 and (lowest := first + unit * min(accumulate(mine, initial=0))) <= 0:
                        return self._row_by_row(place, formula, at)
                    rest -= lowest - 1 if sign < 0 else 1 - first - unit * max(accumulate(mine, initial=0))
            elif first <= 0:
                if figure in at[: formula.least]:
                    return [UNKNOWN] * length
                continue
            elif figure != at[0]:
                rest += sign * (first - 1)
            level += sign * (first - 1)
        if not moving:
            known = any(self._columns[figure][0][place] for figure in at)
            return [max(level, 0) * KIB if known else UNKNOWN] * length
        found = list(accumulate(_moved(moving), initial=level * KIB))
        lowest = min(found)
        # The first figure is the sum less the rest: known in all rows if that is nowhere below nothing.
        if self._columns[at[0]][1][place] and lowest < rest * KIB:
            return self._row_by_row(place, formula, at)
        return found if lowest >= 0 else [max(value, 0) for value in found]

    def _row_by_row(self, place: int, formula: Formula, at: Sequence[int]) -> list[int]:
        return totals([self._column(place, figure) for figure in at], formula)


def _moved(moving: Sequence[tuple[array[int], int]]) -> Iterable[int]:
    """The sum of columns of steps, each a multiple of its unit."""
    (steps, unit), *others = moving
    if len(others) == 1 and others[0][1] == -unit:
        return widened(unit, map(sub, steps, others[0][0]))
    total = widened(unit, steps)
    for more, factor in others:
        total = map(add, total, widened(factor, more))
    return total
