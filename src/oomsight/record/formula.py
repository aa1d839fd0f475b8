"""What somebody needs, made of stored figures row by row: memory that would have to be given back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight.record.dense import summed
from oomsight.record.fields import INDEX, parts_of

if TYPE_CHECKING:
    from collections.abc import Mapping


class Formula(NamedTuple):
    """A sum of figures."""

    places: tuple[int, ...]
    signs: tuple[int, ...]  #: of each: 1 is added, -1 taken off
    whole: bool  #: a row has a sum if all figures that are ever known are known in it; else of those that are
    least: int = 0  #: so many of the first figures must be known


_CGROUP: Final = tuple(INDEX["cgroup"][name] for name in ("usage_bytes", "file_bytes", "shmem_bytes"))
FORMULAS: Final[Mapping[str, Formula]] = {
    "cgroup": Formula(_CGROUP, (1, -1, 1), whole=True, least=2),  # charged, without page cache, with tmpfs
    **{kind: Formula(places := parts_of(kind, "need_bytes"), (1,) * len(places), whole=False)
       for kind in ("name", "process")},
}  # fmt: skip
"""By kind, what its need is made of."""


KIB: Final = 1024
UNKNOWN: Final = -KIB  #: in a column of sums, which are in bytes and never negative: not known in that row


def totals(columns: Sequence[list[int]], formula: Formula) -> list[int]:
    """
    The sum of coded columns (those of the formula's places), in bytes, and :data:`UNKNOWN` where it is not known. In
    bytes, as curves are: to turn each value of a week into another unit takes longer than to read it.
    """
    if not columns[0]:
        return []
    used = [(column, sign) for at, (column, sign) in enumerate(zip(columns, formula.signs, strict=True))
            if at < formula.least or any(column)]  # fmt: skip
    if used and all(min(column) > 0 for column, _ in used):
        total, level = summed([(column, sign < 0) for column, sign in used])
        level -= sum(sign for _, sign in used)  # each coded figure is one higher than what it stands for
        found = [(value + level) * KIB for value in total]
        return found if min(found) >= 0 else [max(value, 0) for value in found]
    signs, found = [sign for _, sign in used], []
    for values in zip(*(column for column, _ in used), strict=True):
        known = [sign * (value - 1) for value, sign in zip(values, signs, strict=True) if value > 0]
        there = known and (len(known) == len(used) or not formula.whole)
        found.append(max(sum(known), 0) * KIB if there else UNKNOWN)
    return found or [UNKNOWN] * len(columns[0])
