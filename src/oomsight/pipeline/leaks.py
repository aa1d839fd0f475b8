"""Every curve on record judged, on as many cores as there are, and who grew in what leaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from oomsight._record import replaced
from oomsight.foresight.leaks import judged, worth_judging
from oomsight.pipeline.early import curves_that_may_leak
from oomsight.pipeline.foresight import LEAST_CURVES, MOST_CAUSES, causes, cgroups, grown, program, programs
from oomsight.pipeline.shares import in_shares
from oomsight.trend.leak import Verdict

if TYPE_CHECKING:
    from oomsight.foresight.model import Leak, Subject
    from oomsight.record.model import Entity
    from oomsight.sources.history import History

POINTS: Final = (800, 350, 600)
"""
Of a curve of which only the shape is asked for, which some sixty stretches show: before the last six hours, before the
last ten minutes, and then. The six hours are read by minutes, of which they have 350: of ten seconds they would be a
thousand rows more. Of 455 random walks over a week six got another verdict by it, of those near to being so.
"""
MOST_TOO_EARLY: Final = 3  #: curves of which it is too early to tell that are told where nothing leaks
FEW_AT_ONCE: Final = 16  #: curves that are read for that


def leaks_on_record(
    history: History, kinds: Sequence[str], since: float, until: float, limit_bytes: float | None, *,
    everything: bool = True, curves_too: bool = False,
) -> tuple[list[Leak], int]:  # fmt: skip
    """
    The verdict on every curve of these *kinds*: cgroup, name, process; and how many curves there are. *limit_bytes*: of
    what brings none of its own. Unless *everything* is asked for, what surely neither leaks nor may leak is left out,
    but for the first few of which it is too early to tell, where there is nothing else. Of what does not leak, so is
    the curve but for its last point, unless *curves_too*: it goes through a pipe.
    """
    curves = {kind: grown(history, kind, since, until) for kind in kinds}

    def subjects(kind: str, entities: Sequence[Entity], *, each: bool) -> Iterator[Subject | None]:
        """Those that are to be judged; ``None`` = surely it does not leak."""
        if kind == "cgroup" or each:
            read = cgroups if kind == "cgroup" else programs
            for subject in read(history, entities, since, until, POINTS):
                one = replaced(subject, limit_bytes=subject.limit_bytes or limit_bytes)
                yield one if each or worth_judging(one, until) else None
            return
        for entity, need in curves_that_may_leak(history, entities, since, until, POINTS, limit_bytes=limit_bytes):
            if need is None:
                yield None
            elif len(need):
                yield replaced(program(entity, need), limit_bytes=limit_bytes)

    def judged_of(kind: str, entities: Sequence[Entity], *, each: bool) -> Iterator[Leak | None]:
        for subject in subjects(kind, entities, each=each):
            leak = judged(subject, until) if subject is not None else None
            yield leak if leak is None or curves_too or leak.finding.may_leak else _without_curve(leak)

    def share(number: int, count: int) -> list[Leak | None]:
        return [leak for kind, entities in curves.items()
                for leak in judged_of(kind, entities[number::count], each=everything)]  # fmt: skip

    found = in_shares(share, sum(map(len, curves.values())), LEAST_CURVES)
    order = {kind: place for place, kind in enumerate(curves)}
    leaks = sorted([leak for leak in found if leak is not None], key=lambda leak: order[leak.subject.kind])
    if not (everything or any(leak.finding.may_leak for leak in leaks)):
        leaks = _too_early(partial(judged_of, each=True), curves)
    return [_blamed(leak, history) for leak in leaks], len(found)


def _too_early(
    judged_of: Callable[[str, Sequence[Entity]], Iterator[Leak | None]], curves: dict[str, list[Entity]]
) -> list[Leak]:
    """Of nothing that leaks the first few of which it is too early to tell: not all of them were judged to the end."""
    found: list[Leak] = []
    for kind, entities in curves.items():
        for at in range(0, len(entities), FEW_AT_ONCE):
            some = judged_of(kind, entities[at : at + FEW_AT_ONCE])
            found += [leak for leak in some if leak is not None and leak.finding.verdict is Verdict.UNKNOWN]
            if len(found) >= MOST_TOO_EARLY:
                return found
    return found


def _without_curve(leak: Leak) -> Leak:
    need = leak.subject.need
    last = replaced(need, times=need.times[-1:], values=need.values[-1:])
    return replaced(leak, subject=replaced(leak.subject, need=last), finding=replaced(leak.finding, line=()))


def _blamed(leak: Leak, history: History) -> Leak:
    """*leak* with who grew in it, where it is a cgroup that leaks, or may."""
    growth = leak.finding.growth
    if leak.subject.kind != "cgroup" or not leak.finding.may_leak or growth is None:
        return leak
    return replaced(leak, causes=causes(history, leak.subject.cgroup, growth.since, growth.until)[:MOST_CAUSES])
