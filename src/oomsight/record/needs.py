"""
How much was needed for how long: of each cgroup and program its need in a chunk, sorted, beside the streams.

"What was enough for 95 % of a week" is asked of hundreds of entities at once, each with 10,080 minutes. A chunk is
packed once and asked often, so the sorting is done as it is packed: of each entity the lowest and the highest need, and
between them the steps from one to the next. Who is in them was there in one piece and had every figure that need is
made of in every row; of all others, and of rows that a question wants one by one, the streams and sheets tell.

Need is charged memory without page cache, with tmpfs and swap; of programs anonymous and shared memory, swap and page
tables; of the host what of RAM could not be had, and swap in use. What the kernel counts one after the other may differ
by a few pages the wrong way: less than nothing is 0.
"""

from __future__ import annotations

import struct
import zlib
from itertools import accumulate, pairwise
from math import gcd
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight.record.codec import DamagedError, column, column_of
from oomsight.record.dense import summed

if TYPE_CHECKING:
    from array import array
    from collections.abc import Mapping, Sequence

    from oomsight.record.dense import Life


class Sum(NamedTuple):
    """What need is made of, and what else is told of a chunk. All are names of figures."""

    plus: tuple[str, ...]
    minus: tuple[str, ...]
    optional: tuple[str, ...]  #: added where it is known
    highest: tuple[str, ...]  #: the highest value is kept, …
    lowest: tuple[str, ...]  #: … the lowest, …
    ends: tuple[str, ...]  #: … or the first and the last


SUMS: Final[Mapping[str, Sum]] = {
    "cgroup": Sum(("usage_bytes", "shmem_bytes"), ("file_bytes",), ("swap_bytes",), ("usage_bytes", "swap_bytes"), (),
                  ("limit_bytes", "swap_limit_bytes", "events_oom_kill")),
    "name": Sum(("rss_anon_bytes", "rss_shmem_bytes"), (), ("swap_bytes", "pgtables_bytes"), ("swap_bytes",), (),
                ()),
    "host": Sum(("mem_total_bytes", "swap_total_bytes"), ("mem_available_bytes", "swap_free_bytes"), (), (),
                ("swap_free_bytes",), ("mem_total_bytes", "swap_total_bytes")),
}  # fmt: skip
"""By kind."""

_HEAD: Final = struct.Struct("<IIcIQ")  # entries, others, width, steps, what each is a multiple of
_WIDTHS: Final = (("B", 1 << 8), ("H", 1 << 16), ("I", 1 << 32), ("Q", 1 << 64))


class Entry(NamedTuple):
    """One entity in one chunk. Need in KiB, other figures coded."""

    number: int
    first: int  #: row
    ordered: list[int]  #: need in each of its rows, ascending
    extremes: list[int]  #: of the figures the highest, of others the lowest
    ends: list[int]  #: first and last of each


def entry(kind: str, number: int, life: Life, known: Mapping[str, int]) -> Entry | None:
    """
    The entry of an entity of *kind* of which all is told by one *life*; *known*: the place of each figure in its
    columns. ``None`` = in some row something is not known.
    """
    rule = SUMS[kind]
    columns = {name: life.columns[at] for name, at in known.items()}
    for name, one in columns.items():
        wanted = name in rule.plus or name in rule.minus
        least = min(one)
        if least <= 0 and (wanted or least != max(one)) and not (name in rule.ends and 0 not in one):
            return None
    return Entry(
        number, life.first, sorted(need_of(kind, columns)),
        [*(max(columns[name]) for name in rule.highest), *(min(columns[name]) for name in rule.lowest)],
        [columns[name][at] for name in rule.ends for at in (0, -1)],
    )  # fmt: skip


def need_of(kind: str, columns: Mapping[str, Sequence[int]]) -> list[int]:
    """Need in KiB in each row, from coded figures that are known in all rows, or in none as some may."""
    rule = SUMS[kind]
    parts = [(columns[name], name in rule.minus) for part in rule[:3] for name in part if columns[name][0]]
    total, level = summed(parts)
    level += sum(1 if off else -1 for _, off in parts)  # coded figures are one higher than what they stand for
    return [value if (value := one + level) > 0 else 0 for one in total]


def packed(entries: Sequence[Entry], others: Sequence[int]) -> bytes:
    """Entries of one kind in one chunk, at least one, as bytes; *others*: entities of the kind that have none."""
    steps = [b - a for one in entries if one.ordered[0] != one.ordered[-1] for a, b in pairwise(one.ordered)]
    unit = gcd(*steps) or 1  # as a rule of a page
    most = max(steps, default=0) // unit
    width = next(code for code, least in _WIDTHS if most < least)
    return zlib.compress(b"".join((
        _HEAD.pack(len(entries), len(others), width.encode(), len(steps), unit),
        column("I", others), column("I", [one.number for one in entries]),
        column("H", [one.first for one in entries]), column("H", [len(one.ordered) for one in entries]),
        column("q", [one.ordered[0] for one in entries]), column("q", [one.ordered[-1] for one in entries]),
        *(column("q", numbers) for numbers in zip(*(one.extremes for one in entries), strict=True)),
        *(column("q", numbers) for numbers in zip(*(one.ends for one in entries), strict=True)),
        column(width, [step // unit for step in steps]),
    )), 6)  # fmt: skip


class Needs:
    """The entries of one kind in one chunk; columns go by :attr:`places`."""

    __slots__ = ("_starts", "_steps", "_unit", "ends", "extremes", "firsts", "highs", "lows", "others", "places",
                 "rows")  # fmt: skip

    def __init__(self, kind: str, data: bytes, crc: int) -> None:
        """Unpack *data*. Raises :class:`DamagedError`."""
        if zlib.crc32(data) != crc:
            raise DamagedError("the sum of needs is wrong")
        rule = SUMS[kind]
        extremes = len(rule.highest) + len(rule.lowest)
        try:
            text = zlib.decompress(data)
            n, rest, width, count, self._unit = _HEAD.unpack_from(text)
            at = _HEAD.size + 4 * rest
            self.others = frozenset(column_of("I", text[_HEAD.size : at]))  #: who is there, and has no entry
            found: list[array[int]] = []
            for code in ("I", "H", "H", *"q" * (2 + extremes + 2 * len(rule.ends))):
                size = n * {"I": 4, "H": 2, "q": 8}[code]
                found.append(column_of(code, text[at : at + size]))
                at += size
            self._steps = column_of(width.decode(), text[at:])
        except (zlib.error, struct.error, ValueError, KeyError) as error:
            raise DamagedError(str(error)) from None
        numbers, self.firsts, self.rows, self.lows, self.highs, *others = found
        if len(self._steps) != count or any(len(one) != n for one in found):
            raise DamagedError("needs of another length")
        self.places = {number: place for place, number in enumerate(numbers)}
        self.extremes = others[:extremes]  #: of each figure
        self.ends = others[extremes:]  #: of each figure first and last, in turn
        self._starts: list[int] | None = None

    def ordered(self, place: int) -> list[int]:
        """The need in each row, ascending, in KiB."""
        low, rows = self.lows[place], self.rows[place]
        if low == self.highs[place]:
            return [low] * rows
        if self._starts is None:
            counts = zip(self.rows, self.lows, self.highs, strict=True)
            self._starts = list(accumulate([(rows - 1) * (low != high) for rows, low, high in counts], initial=0))
        start = self._starts[place]
        steps = self._steps[start : start + rows - 1]
        if self._unit == 1:
            return list(accumulate(steps, initial=low))
        return list(accumulate(map(self._unit.__mul__, steps), initial=low))
