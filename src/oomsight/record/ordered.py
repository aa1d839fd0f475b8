"""Many values, ascending, of which hardly any is looked at: sorted pieces whose ends tell where a rank is."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate, chain, compress
from operator import index
from typing import overload


class Ordered(Sequence[float]):
    """
    The values of sorted pieces, all together, ascending. A value is found by its rank: pieces that are wholly below or
    above where it must be are only counted, the others are merged.
    """

    __slots__ = ("_by_high", "_by_low", "_counts", "_highs", "_known", "_length", "_lows", "_piece", "_scale")

    def __init__(
        self, lows: Sequence[int], highs: Sequence[int], counts: Sequence[int], piece: Callable[[int], Sequence[int]],
        scale: int = 1,
    ) -> None:  # fmt: skip
        """
        *lows*, *highs*, *counts*: lowest and highest value of each piece, and how many it has (at least one); *piece*:
        place -> its values, ascending; *scale*: what all are multiplied with.
        """
        self._lows, self._highs, self._counts, self._piece, self._scale = lows, highs, counts, piece, scale
        self._length = sum(counts)
        self._known: dict[int, int] = {}
        self._by_low = _ranks(lows, counts)
        self._by_high = _ranks(highs, counts)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, rank: int) -> float: ...
    @overload
    def __getitem__(self, rank: slice) -> Sequence[float]: ...
    def __getitem__(self, rank: int | slice) -> float | Sequence[float]:
        """The value of *rank*, 0 = the lowest, or those of a slice of ranks."""
        if isinstance(rank, slice):
            return [self[one] for one in range(self._length)[rank]]
        rank = index(rank)
        rank += self._length if rank < 0 else 0
        if not 0 <= rank < self._length:
            raise IndexError(rank)
        known = self._known.get(rank)
        if known is None:
            known = self._known[rank] = self._find(rank) * self._scale
        return float(known)

    def _find(self, rank: int) -> int:
        if rank == 0:
            return self._by_low[0][0]
        if rank == self._length - 1:
            return self._by_high[0][-1]
        # It is not less than were each value as low as the lowest of its piece, nor more than were each as high.
        least, most = _at(self._by_low, rank), _at(self._by_high, rank)
        if least == most:
            return least
        below, wanted = 0, []
        for low, high, count in zip(self._lows, self._highs, self._counts, strict=True):
            if high < least:
                below += count
                wanted.append(False)
            else:
                wanted.append(low <= most)
        between: list[Sequence[int]] = []
        for one in map(self._piece, compress(range(len(wanted)), wanted)):
            begin = bisect_left(one, least)
            below += begin
            between.append(one[begin : bisect_right(one, most, begin)])
        return sorted(chain.from_iterable(between))[rank - below]


def _ranks(values: Sequence[int], counts: Sequence[int]) -> tuple[list[int], list[int]]:
    """Values ascending, and how many there are up to each."""
    ordered = sorted(zip(values, counts, strict=True))
    return [value for value, _ in ordered], list(accumulate(count for _, count in ordered))


def _at(ranks: tuple[list[int], list[int]], rank: int) -> int:
    values, ends = ranks
    return values[bisect_right(ends, rank)]
