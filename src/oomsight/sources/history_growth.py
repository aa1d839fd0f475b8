"""
Who may have grown most: a bound for every entity from the columns of the indexes, so that few have to be summed up.

A week has 60,000 processes. What each grew by is its highest peak less what it began with, which takes its first chunk;
its lowest beginning in any chunk is no higher. That bound is made of whole columns at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from heapq import nlargest
from itertools import chain, compress
from operator import sub
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from oomsight.record.chunk import only
from oomsight.record.codec import KINDS

if TYPE_CHECKING:
    from oomsight.sources.history_files import Chunk

SPARE: Final = 4  #: times those wanted that are summed up at first: many have fallen before they rose

Bounds = Mapping[str, Mapping[int, int]]
"""By boot and number, so much or less (coded). Numbers of two runs of the recorder in one boot count as one entity."""


class Grown(Protocol):
    """What is known of an entity. Main figures are coded."""

    first_main: int
    peak: int


G = TypeVar("G", bound=Grown)


def bounds_of(pieces: Iterable[tuple[Chunk, float, float]], kind: str) -> Bounds:
    """How much each entity of *kind* in loaded chunks may have grown; a chunk, and the time it answers for."""
    highest: dict[str, dict[int, int]] = {}
    lowest: dict[str, dict[int, int]] = {}
    wanted = only(KINDS.index(kind))
    for chunk, low, high in pieces:
        index = chunk.index
        assert index is not None
        marks, there = index.marks, bytearray(index.marks.kinds.translate(wanted))
        if low > chunk.first or high < chunk.last:
            moments = chunk.moments
            for place in compress(range(len(there)), bytes(there)):
                last = moments[min(index.gone_rows[place], len(moments)) - 1]
                there[place] = last >= low and moments[index.first_rows[place]] <= high
        numbers = list(compress(index.entities, there))
        tops, bottoms = (known.setdefault(chunk.file.boot, {}) for known in (highest, lowest))
        peaks, firsts = (list(compress(column, there)) for column in (marks.peaks, marks.firsts))
        # No max() or min(): called for two numbers each, they take as long as all the rest.
        peaks = [peak if peak > top else top for peak, top in zip(peaks, map(tops.get, numbers, peaks), strict=True)]
        firsts = [first if first < bottom else bottom
                  for first, bottom in zip(firsts, map(bottoms.get, numbers, firsts), strict=True)]  # fmt: skip
        tops.update(zip(numbers, peaks, strict=True))
        bottoms.update(zip(numbers, firsts, strict=True))
    return {boot: dict(zip(tops, map(sub, tops.values(), lowest[boot].values()), strict=True))
            for boot, tops in highest.items()}  # fmt: skip


def grown_most(bounds: Bounds, most: int, summed: Callable[[Mapping[str, set[int]]], dict[str, G]]) -> dict[str, G]:
    """Among others the *most* entities that grew most, as *summed* knows those with some numbers, by boot."""
    every = list(chain.from_iterable(known.values() for known in bounds.values()))
    least = nlargest(SPARE * most, every)[-1] if len(every) > SPARE * most else None
    while True:
        found = summed({
            boot: {number for number, bound in known.items() if least is None or bound >= least}
            for boot, known in bounds.items()
        })  # fmt: skip
        grown = nlargest(most, (one.peak - one.first_main for one in found.values()))
        if least is None or (len(grown) == most and grown[-1] >= least):
            return found  # all others grew by less than the last of these
        least = grown[-1] if len(grown) == most else None
