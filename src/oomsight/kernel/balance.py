"""
Counters that should add up to a total, made to: the arithmetic of every memory accounting.

Counters are per CPU and lag behind (mm/vmstat.c folds them once a second), so their sum may differ from the total a
little either way. What is missing is a remainder with a name; a small excess is cut from the biggest; with a big one
the total itself is not believed.
"""

from __future__ import annotations

from collections.abc import Sequence

from oomsight._named import NamedTuple


class Balance(NamedTuple):
    """``sum(values) + rest == total`` always holds."""

    values: tuple[int, ...]  #: in the order given, cut where they were too many
    rest: int  #: what no counter explains
    total: int
    excess: int  #: how much more than the total the counters were; 0 = they fitted
    believed: bool  #: ``False`` = the total was not: the sum took its place


def balance(values: Sequence[int], total: int | None, *, slack: int = 1024) -> Balance:
    """
    Make *values* (KiB, none below 0) fit *total*; ``None`` = not known, then their sum is the total.

    An excess of up to a sixteenth of the total, or *slack*, is cut from the biggest values.
    """
    counted = sum(values)
    if total is None:
        return Balance(tuple(values), 0, counted, 0, True)
    excess = max(counted - total, 0)
    if excess > max(total >> 4, slack):
        return Balance(tuple(values), 0, counted, excess, False)
    fitted, left = list(values), excess
    for index in sorted(range(len(fitted)), key=lambda i: -fitted[i]) if excess else ():
        cut = min(left, fitted[index])
        fitted[index] -= cut
        left -= cut
    return Balance(tuple(fitted), max(total - counted, 0), total, excess, True)
