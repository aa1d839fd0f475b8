"""Which curves leak: each thing told once, at the place that says most."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from oomsight.foresight.model import Leak, Subject
from oomsight.foresight.victim import inside
from oomsight.trend.exhaust import time_left
from oomsight.trend.leak import Verdict, judge
from oomsight.trend.words import span

NOTHING_YET: Final = frozenset({Verdict.RESTART, Verdict.UNKNOWN, Verdict.WARM_UP, Verdict.LEVEL})
IN_A_ROW: Final = 4  #: verdicts that make a leak, one of them that of the moment
STEPS: Final = 144  #: of the record between two of them: an hour in a week
EXPLAINS: Final = 0.7  #: share of a parent's rate at which a child tells it all



def judged(subject: Subject, now: float) -> Leak:
    """
    Judge one curve; of one that ended before *now* the end. What was begun anew and says nothing yet is judged by its
    life before: a leak that is killed every night is one.
    """
    moment = min(now, subject.need.times[-1]) if len(subject.need) else now
    finding = judge(subject.need, subject.limit_bytes, moment)
    begun = [at for at in subject.need.restarts if at <= moment]
    if begun and finding.verdict in NOTHING_YET:
        before = subject.need.between(float("-inf"), begun[-1] - 1e-3)
        earlier = judge(before, subject.limit_bytes, before.times[-1]) if len(before) else finding
        if earlier.is_leak:
            end = "killed" if any(abs(at - begun[-1]) < 1 for at in subject.kills) else "begun anew"
            words = f"so it was until it was {end}, {span(now - begun[-1])} ago; too early to say whether it goes on"
            return Leak(subject, replace(earlier, evidence=(*earlier.evidence, words)), None)
    if finding.is_leak and not _stays(subject, moment):
        finding = replace(finding, verdict=Verdict.UNKNOWN, more_memory_helps=None,
                          evidence=(*finding.evidence, "but that is too new to be called a leak"))  # fmt: skip
    left = time_left(subject.need, subject.limit_bytes, moment) if finding.is_leak and subject.limit_bytes else None
    return Leak(subject, finding, left)


def _stays(subject: Subject, moment: float) -> bool:
    """Whether the moments before would have said the same: the rule that the evaluation in bench/leaks measures."""
    step = (moment - subject.need.times[0]) / STEPS
    return all(judge(subject.need, subject.limit_bytes, moment - i * step).is_leak for i in range(1, IN_A_ROW))


def told(found: Iterable[Leak]) -> list[Leak]:
    """
    Return those that leak, the fastest first, without what another tells better: a parent whose child leaks as fast,
    a program whose cgroup does.
    """
    leaks = [leak for leak in found if leak.finding.is_leak and leak.finding.growth is not None]
    kept = [leak for leak in leaks if not any(_told_by(other, leak) for other in leaks if other is not leak)]
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
