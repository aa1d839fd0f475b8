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
    step = (now - series.times[0]) / STEPS if len(series) else 0.0
    sure = found.is_leak
    for i in range(1, IN_A_ROW if found.may_leak else 0):
        earlier = leaning(series, limit_bytes, now - i * step)
        if earlier is None:
            return replaced(found, verdict=Verdict.UNKNOWN, more_memory_helps=None,
                           evidence=(*found.evidence, "but that is too new to be called a leak"))  # fmt: skip
        sure = sure and earlier is Verdict.LEAK
    return found if sure is found.is_leak else replaced(found, verdict=Verdict.SUSPECTED, more_memory_helps=None)
