"""What is told of a curve: a verdict that the moments before would have given as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight._record import replaced
from oomsight.trend.leak import Finding, Verdict, judge, leaning

if TYPE_CHECKING:
    from oomsight.trend.series import Series

IN_A_ROW: Final = 4  #: verdicts that make one that is told, the last that of the moment
STEPS: Final = 144  #: of the record so far between two of them: an hour in a week


def settled(series: Series, limit_bytes: float | None, now: float) -> Finding:
    """
    Judge *series* at *now*, and take back what the moments before would not have said: a leak needs as many verdicts
    :attr:`Verdict.LEAK` in a row, a suspicion as many of either. This is what the evaluation in bench/leaks measures.
    """
    found = judge(series, limit_bytes, now)
    sure = found.is_leak
    for i in range(1, IN_A_ROW if found.may_leak else 0):
        earlier = leaning(series, limit_bytes, _before(series.times[0], now, i))
        if earlier is None:
            return replaced(found, verdict=Verdict.UNKNOWN, more_memory_helps=None,
                           evidence=(*found.evidence, "but that is too new to be called a leak"))  # fmt: skip
        sure = sure and earlier is Verdict.LEAK
    return found if sure is found.is_leak else replaced(found, verdict=Verdict.SUSPECTED, more_memory_helps=None)


def earliest(first: float, now: float) -> float:
    """Return the first of the moments at which a series that begins at *first* must have looked like a leak."""
    return _before(first, now, IN_A_ROW - 1)


def is_none(series: Series, limit_bytes: float | None, moment: float) -> bool:
    """
    Return whether at such a *moment* there was no leak and no suspicion, after which :func:`settled` finds none either:
    it is asked before it is known what came later.
    """
    return leaning(series, limit_bytes, moment) is None


def _before(first: float, now: float, verdicts: int) -> float:
    return now - verdicts * ((now - first) / STEPS)
