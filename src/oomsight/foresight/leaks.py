"""Which curves leak: each thing told once, at the place that says most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from oomsight._record import replaced
from oomsight.foresight.model import Leak, Subject
from oomsight.foresight.victim import inside
from oomsight.trend.alarm import earliest, is_none, settled
from oomsight.trend.exhaust import time_left
from oomsight.trend.leak import Finding, Verdict, judge, leaning
from oomsight.trend.shape import falls
from oomsight.trend.words import span

if TYPE_CHECKING:
    from oomsight.trend.series import Series

NOTHING_YET: Final = frozenset({Verdict.RESTART, Verdict.UNKNOWN, Verdict.SUSPECTED, Verdict.WARM_UP, Verdict.LEVEL})
EMPTY_SHARE: Final = 0.02  #: of what was held before is nobody's life
EXPLAINS: Final = 0.7  #: share of a parent's rate at which a child tells it all


def judged(subject: Subject, now: float) -> Leak:
    """Judge one curve, and say how long it has until its limit if it may leak and has not begun anew."""
    finding, goes_on = verdict_on(subject, now)
    if not goes_on or not finding.may_leak or not subject.limit_bytes:
        return Leak(subject, finding, None)
    return Leak(subject, finding, time_left(subject.need, subject.limit_bytes, _end(subject, now), leaks=True))


def worth_judging(subject: Subject, now: float) -> bool:
    """Whether *subject* may leak: of all else :func:`judged` says that it does not, after much more work."""
    need = subject.need
    if need.restarts or not len(need):
        return True
    return not is_none(need, subject.limit_bytes, earliest(need.times[0], _end(subject, now)))


def verdict_on(subject: Subject, now: float) -> tuple[Finding, bool]:
    """
    What the curve of *subject* is at *now*, of one that ended before at its end, and whether that goes on. What was
    begun anew and says nothing yet, or is empty since, is judged by its life before: a leak that is killed every night
    is one, and so is one whose killed process nobody started again.
    """
    moment = _end(subject, now)
    finding = settled(subject.need, subject.limit_bytes, moment)
    begun = [at for at in subject.need.restarts if at <= moment]
    before = subject.need.between(float("-inf"), begun[-1] - 1e-3) if begun else subject.need
    empty = bool(begun) and _is_empty(subject.need.between(begun[-1], moment), before)
    if begun and (empty or finding.verdict in NOTHING_YET):
        earlier = judge(before, subject.limit_bytes, before.times[-1]) if len(before) else finding
        if earlier.is_leak:
            end = "killed" if any(abs(at - begun[-1]) < 1 for at in subject.kills) else "begun anew"
            words = f"so it was until it was {end}, {span(now - begun[-1])} ago; too early to say whether it goes on"
            return replaced(earlier, evidence=(*earlier.evidence, words)), False
    return finding, True


def _is_empty(life: Series, before: Series) -> bool:
    """Whether a *life* holds next to nothing of what was held *before*: nobody took the place of who was killed."""
    tail = life.values[len(life) // 10 :]  # the last pages go within moments
    return bool(tail) and bool(len(before)) and max(tail) <= EMPTY_SHARE * max(before.values)


def surely_leaks(subject: Subject, now: float) -> bool:
    """Whether :func:`verdict_on` says that it is a leak; what it is otherwise need not be known for that."""
    need, moment = subject.need, _end(subject, now)
    if not need.restarts and (
        falls(need, moment) or leaning(need, subject.limit_bytes, moment) is not Verdict.LEAK
    ):
        return False
    return verdict_on(subject, now)[0].is_leak


def surely_falls(subject: Subject, now: float) -> bool:
    """
    Whether it did not begin anew and more of its low points fall than rise: then :func:`verdict_on` finds neither a
    leak nor that it is too early to tell, and no rate above 0, after much more work.
    """
    return not subject.need.restarts and falls(subject.need, _end(subject, now))


def _end(subject: Subject, now: float) -> float:
    return min(now, subject.need.times[-1]) if len(subject.need) else now


def told(found: Sequence[Leak]) -> list[Leak]:
    """
    Return those that leak, the fastest first, without what another tells better: a parent whose child leaks as fast,
    a program whose cgroup does.
    """
    leaks = _that_are(Verdict.LEAK, found)
    return _once(leaks, leaks)


def suspected(found: Sequence[Leak]) -> list[Leak]:
    """Return those that may leak, the fastest first, without what one of them or a leak tells better."""
    suspects = _that_are(Verdict.SUSPECTED, found)
    return _once(suspects, [*_that_are(Verdict.LEAK, found), *suspects])


def _that_are(verdict: Verdict, found: Sequence[Leak]) -> list[Leak]:
    return [leak for leak in found if leak.finding.verdict is verdict and leak.finding.growth is not None]


def _once(leaks: Sequence[Leak], others: Sequence[Leak]) -> list[Leak]:
    kept = [leak for leak in leaks if not any(_told_by(other, leak) for other in others if other is not leak)]
    return sorted(kept, key=lambda leak: -_rate(leak))


def _told_by(other: Leak, leak: Leak) -> bool:
    if _rate(other) < EXPLAINS * _rate(leak):
        return False
    mine, its = leak.subject, other.subject
    if its.kind == "cgroup" and mine.kind == "cgroup":
        return its.cgroup != mine.cgroup and inside(its.cgroup, mine.cgroup)
    if its.kind != "cgroup":
        return False
    if mine.kind == "process":
        return inside(mine.cgroup, its.cgroup)
    return mine.kind == "name" and any(cause.name == mine.name for cause in other.causes)


def _rate(leak: Leak) -> float:
    return leak.finding.growth.bytes_per_second if leak.finding.growth is not None else 0.0
