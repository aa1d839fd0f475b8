"""Many values, ascending, of which hardly any is looked at: sorted pieces whose ends tell where a rank is."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate, chain
from operator import index
from typing import Final, overload

FEW: Final = 200  #: values that are sorted at once


class Ordered(Sequence[float]):
    """
    The values of sorted pieces, all together, ascending. A value is found by its rank: pieces that are wholly below or
    above where it must be are only counted, the others are merged.
    """

    __slots__ = ("_counts", "_highs", "_known", "_length", "_lows", "_piece", "_ranks", "_scale")

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
        most = max(counts)
        even = most * len(counts) - self._length <= most  # one after the other is as long as most are
        self._ranks = _EvenRanks(lows, highs, most, self._length) if even else _Ranks(lows, highs, counts)

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
        return self.look_up([rank])[0]

    def look_up(self, ranks: Sequence[int]) -> list[float]:
        """The values of several ranks, 0 … length - 1; what has to be looked into for them is so once."""
        self._find([rank for rank in ranks if rank not in self._known])
        return [float(self._known[rank] * self._scale) for rank in ranks]

    def _find(self, ranks: Sequence[int]) -> None:
        sought: list[_Sought] = []
        for rank in dict.fromkeys(ranks):
            if rank in {0, self._length - 1}:
                self._known[rank] = max(self._highs) if rank else min(self._lows)
                continue
            least, most = self._ranks.between(rank)
            if least == most:
                self._known[rank] = least
                continue
            below = sum([count for high, count in zip(self._highs, self._counts, strict=True) if high < least])
            sought.append(_Sought(rank, least, most, below))
        wanted: dict[int, list[_Sought]] = {}
        for one in sought:
            least, most = one.least, one.most
            for at in [at for at, (low, high) in enumerate(zip(self._lows, self._highs, strict=True))
                       if high >= least and low <= most]:  # fmt: skip
                wanted.setdefault(at, []).append(one)
        for at, who in wanted.items():
            values = self._piece(at)
            for one in who:
                begin = bisect_left(values, one.least)
                one.below += begin
                one.between.append(values[begin : bisect_right(values, one.most, begin)])
        for one in sought:
            self._known[one.rank] = nth(one.between, one.rank - one.below)


class _Sought:
    """A rank whose value is looked for."""

    __slots__ = ("below", "between", "least", "most", "rank")

    def __init__(self, rank: int, least: int, most: int, below: int) -> None:
        self.rank, self.least, self.most = rank, least, most
        self.below = below  #: how many values are less than the least it can be
        self.between: list[Sequence[int]] = []  #: of each piece those that it may be, ascending


def nth(pieces: Sequence[Sequence[int]], rank: int) -> int:
    """The value of *rank*, 0 = the lowest, among all of sorted *pieces*: they are cut in two until few are left."""
    while (total := sum(map(len, pieces))) > FEW:
        pieces = [one for one in pieces if one]
        middle = sorted([one[len(one) // 2] for one in pieces])[len(pieces) // 2]
        ends = [bisect_right(one, middle) for one in pieces]
        upto = sum(ends)
        if rank >= upto:
            pieces = [one[end:] for one, end in zip(pieces, ends, strict=True)]
            rank -= upto
        elif upto < total:
            pieces = [one[:end] for one, end in zip(pieces, ends, strict=True)]
        else:  # the middle one is the highest there is
            ends = [bisect_left(one, middle) for one in pieces]
            if rank >= sum(ends):
                return middle
            pieces = [one[:end] for one, end in zip(pieces, ends, strict=True)]
    return sorted(chain.from_iterable(pieces))[rank]


class _Ranks:
    """Between what a value must be: not less than were each as low as its piece, nor more than were each as high."""

    __slots__ = ("_ends_of_highs", "_ends_of_lows", "_highs", "_lows")

    def __init__(self, lows: Sequence[int], highs: Sequence[int], counts: Sequence[int]) -> None:
        self._lows, self._ends_of_lows = _ascending(lows, counts)
        self._highs, self._ends_of_highs = _ascending(highs, counts)

    def between(self, rank: int) -> tuple[int, int]:
        """The least and the most that the value of a rank can be."""
        return self._lows[bisect_right(self._ends_of_lows, rank)], self._highs[bisect_right(self._ends_of_highs, rank)]


class _EvenRanks:
    """
    The same of pieces that all have *most* values, or few of them less: were some more in these, there would be no
    fewer values up to any low, nor from any high on.
    """

    __slots__ = ("_highs", "_last", "_lows", "_most")

    def __init__(self, lows: Sequence[int], highs: Sequence[int], most: int, length: int) -> None:
        self._lows, self._highs, self._most, self._last = sorted(lows), sorted(highs), most, length - 1

    def between(self, rank: int) -> tuple[int, int]:
        """The least and the most that the value of a rank can be."""
        return self._lows[rank // self._most], self._highs[-1 - (self._last - rank) // self._most]


def _ascending(values: Sequence[int], counts: Sequence[int]) -> tuple[list[int], list[int]]:
    """Values ascending, and how many there are up to each."""
    order = sorted(range(len(values)), key=values.__getitem__)
    return [values[at] for at in order], list(accumulate([counts[at] for at in order]))
