"""Whether a subject leaks: the judgement of :mod:`oomsight.trend.leak` over all its replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight._record import replaced
from oomsight._sizes import rate_words, size_words
from oomsight.rightsize.model import Growth, Leak, Usage
from oomsight.trend.leak import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.trend.leak import Finding

SHARE: Final = 0.5  #: of the replicas that can be judged must leak: a leak is in the program, and all run it
LEAST_SHARE: Final = 0.1  #: of what is held must have come by growth to be worth a word
_SURE: Final = ((0.8, "high"), (0.5, "medium"), (0.0, "low"))


def judged(usage: Usage, now: float) -> Usage:
    """Return *usage* with its growth judged at *now* (unix seconds); a replica that ended is judged at its end."""
    limit = usage.limit_bytes if isinstance(usage.limit_bytes, int) else None
    return concluded(
        usage, [judge(series, limit, min(now, series.times[-1])) for series in usage.needs if len(series.times)]
    )


def steady(usage: Usage) -> Usage:
    """Return *usage* as what :func:`concluded` makes of a curve that falls."""
    return replaced(usage, leak=Leak(growth="steady"))


def concluded(usage: Usage, findings: Sequence[Finding]) -> Usage:
    """Return *usage* with its growth as it follows from the *findings* about its replicas; without any it stays."""
    known = [finding for finding in findings if finding.verdict not in {Verdict.UNKNOWN, Verdict.SUSPECTED}]
    if not known:
        grown = [finding.growth for finding in findings if finding.growth is not None]
        clear = [g for g in grown if g.low_bytes_per_second > 0 and g.grown_bytes >= LEAST_SHARE * g.level_bytes]
        if len(clear) < max(SHARE * len(findings), 1):
            return usage
        most = max(clear, key=lambda one: one.bytes_per_second)
        return replaced(usage, leak=Leak(
            growth="growing", rate_bytes_per_second=most.bytes_per_second, since=most.since,
            words=f"It grew by {size_words(most.grown_bytes)}, {rate_words(most.bytes_per_second)}: too early to tell a"
            " leak from a cache that fills",
        ))  # fmt: skip
    leaking = [finding for finding in known if finding.is_leak and finding.growth is not None]
    if len(leaking) < max(SHARE * len(known), 1):
        level = all(finding.growth is None or finding.growth.bytes_per_second <= 0 for finding in known)
        warming = any(finding.verdict in {Verdict.WARM_UP, Verdict.STEP} for finding in known)
        growth: Growth = "growing" if warming and not level else "steady"
        return replaced(usage, leak=Leak(growth=growth))
    worst = max(leaking, key=lambda finding: finding.growth.bytes_per_second if finding.growth else 0.0)
    assert worst.growth is not None
    sure = next(word for least, word in _SURE if worst.confidence >= least)
    words = "; ".join(worst.evidence)
    return replaced(usage, leak=Leak(
        growth="leak", rate_bytes_per_second=worst.growth.bytes_per_second, since=worst.growth.since, confidence=sure,
        words=f"A leak ({sure} confidence): {words}" if words else None, more_memory_helps=worst.more_memory_helps,
    ))  # fmt: skip
