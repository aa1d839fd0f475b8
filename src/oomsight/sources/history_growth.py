"""
Who may have grown most: a bound for every entity from the columns of the indexes, so that few have to be summed up.

A week has 60,000 processes. What each grew by is its highest peak less what it began with. In one file that is just so;
of several files of a boot the lowest beginning in any of them is no higher. The bound is made of whole columns at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import nlargest
from itertools import chain, compress
from operator import sub
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from oomsight.record.chunk import only
from oomsight.record.codec import KINDS

if TYPE_CHECKING:
    from array import array

    from oomsight.record.chunk import Index
    from oomsight.sources.history_files import Chunk

SPARE: Final = 4  #: a part of those wanted that is summed up besides at first

Bounds = Mapping[str, tuple[Sequence[int], Sequence[int]]]
"""
By boot numbers, and so much or less (coded) for each. Numbers of two runs of the recorder in one boot count as one
entity.
"""


class Grown(Protocol):
    """What is known of an entity. Main figures are coded."""

    first_main: int
    peak: int


G = TypeVar("G", bound=Grown)


class _Known:
    """
    The highest peak and the beginning of each entity of a file, by number, of its chunks in the order of time. One run
    of the recorder wrote them, so a number is one entity, and who comes later has a higher one.
    """

    def __init__(self) -> None:
        self.highest: dict[int, int] = {}
        self.begun: dict[int, int] = {}  #: in the same order
        self._last = -1  #: no higher number is known

    def add(self, index: Index, there: bytes) -> None:
        """Add what a chunk says of the entities that are *there*: by place 1 or 0."""
        new, highest, marks = bisect_right(index.entities, self._last), self.highest, index.marks
        old, peaks = (_those(column[:new], there[:new]) for column in (index.entities, marks.peaks))
        try:
            before = list(map(highest.__getitem__, old))
        except KeyError:
            before = list(map(highest.get, old, peaks))
            for number, first in zip(old, _those(marks.firsts[:new], there[:new]), strict=True):
                self.begun.setdefault(number, first)
        # No max() of two numbers each: it takes as long as all the rest.
        highest.update(zip(old, [a if a > b else b for a, b in zip(peaks, before, strict=True)], strict=True))
        numbers = _those(index.entities[new:], there[new:])
        for known, column in ((highest, marks.peaks), (self.begun, marks.firsts)):
            known.update(zip(numbers, _those(column[new:], there[new:]), strict=True))
        self._last = max([self._last, *numbers[-1:]])


def _those(column: array[int], wanted: bytes) -> list[int]:
    first = wanted.find(1)  # processes are numbered after nearly all else
    if first >= 0 and 0 not in wanted[first:]:
        return column[first:].tolist()
    return list(compress(column, wanted))


def bounds_of(pieces: Iterable[tuple[Chunk, float, float]], kind: str) -> Bounds:
    """
    How much each entity of *kind* in loaded chunks may have grown; a chunk, and the time it answers for, in the order
    of time.
    """
    files: dict[int, tuple[str, _Known]] = {}
    wanted = only(KINDS.index(kind))
    for chunk, low, high in pieces:
        index = chunk.index
        assert index is not None
        there = index.marks.kinds.translate(wanted)
        if low > chunk.first or high < chunk.last:
            moments, within = chunk.moments, bytearray(there)
            for place in compress(range(len(there)), there):
                last = moments[min(index.gone_rows[place], len(moments)) - 1]
                within[place] = last >= low and moments[index.first_rows[place]] <= high
            there = bytes(within)
        _, known = files.setdefault(id(chunk.file), (chunk.file.boot, _Known()))
        known.add(index, there)
    by_boot: dict[str, list[_Known]] = {}
    for boot, known in files.values():
        by_boot.setdefault(boot, []).append(known)
    return {boot: _bounds(several) for boot, several in by_boot.items()}


def _bounds(several: Sequence[_Known]) -> tuple[Sequence[int], Sequence[int]]:
    """Of all files of a boot, of which a number may stand for several entities."""
    highest, lowest = several[0].highest, several[0].begun
    for one in several[1:]:
        for number, peak in one.highest.items():
            highest[number] = max(highest.get(number, peak), peak)
        for number, first in one.begun.items():
            lowest[number] = min(lowest.get(number, first), first)
    return list(highest), list(map(sub, highest.values(), lowest.values()))


def grown_most(bounds: Bounds, most: int, summed: Callable[[Mapping[str, set[int]]], dict[str, G]]) -> dict[str, G]:
    """Among others the *most* entities that grew most, as *summed* knows those with some numbers, by boot."""
    every = list(chain.from_iterable(grown for _, grown in bounds.values()))
    tried = most + most // SPARE
    least = nlargest(tried, every)[-1] if len(every) > tried else None
    while True:
        found = summed({
            boot: set(numbers) if least is None else
            {number for number, bound in zip(numbers, grown, strict=True) if bound >= least}
            for boot, (numbers, grown) in bounds.items()
        })  # fmt: skip
        top = nlargest(most, (one.peak - one.first_main for one in found.values()))
        if least is None or (len(top) == most and top[-1] >= least):
            return found  # all others grew by less than the last of these
        least = top[-1] if len(top) == most else None
