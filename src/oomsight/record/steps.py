"""Steps from each row to the next, as a part of a chunk keeps them: multiples of one unit, in the narrowest numbers."""

from __future__ import annotations

import struct
from array import array
from itertools import repeat
from math import gcd
from operator import mul
from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HEAD: Final = struct.Struct("<cIQ")  #: width, numbers, what each is a multiple of
BYTES: Final = {code: array(code).itemsize for code in "BHIbhiq"}  #: by the code of an array
_WIDTHS: Final = (("b", 1 << 7), ("h", 1 << 15), ("i", 1 << 31), ("q", 1 << 63))


class Narrow(NamedTuple):
    """Steps in units."""

    width: str  #: code of an array
    unit: int
    steps: Sequence[int]

    @property
    def head(self) -> bytes:
        """What stands before them: :data:`HEAD`."""
        return HEAD.pack(self.width.encode(), len(self.steps), self.unit)


def narrowed(steps: Sequence[int]) -> Narrow:
    """*steps* in the largest unit that all are multiples of (as a rule a page), and the narrowest numbers that do."""
    unit = gcd(*steps) or 1
    most = max(max(steps, default=0), -min(steps, default=0)) // unit
    width = next(code for code, least in _WIDTHS if most < least)
    return Narrow(width, unit, [step // unit for step in steps])


def widened(unit: int, steps: Iterable[int]) -> Iterable[int]:
    """Each of the steps *unit* times; not by ``unit.__mul__``, for whose every call a tuple is made."""
    return steps if unit == 1 else map(mul, steps, repeat(unit))
