"""Every curve on record judged, on as many cores as there are, and who grew in what leaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from oomsight._record import replaced
from oomsight.foresight.leaks import judged, worth_judging
from oomsight.pipeline.foresight import LEAST_CURVES, MOST_CAUSES, causes, cgroups, grown, programs
from oomsight.pipeline.shares import in_shares

if TYPE_CHECKING:
    from oomsight.foresight.model import Leak, Subject
    from oomsight.sources.history import History

POINTS: Final = (800, 350, 600)
"""
Of a curve of which only the shape is asked for, which some sixty stretches show: before the last six hours, before the
last ten minutes, and then. The six hours are read by minutes, of which they have 350: of ten seconds they would be a
thousand rows more. Of 455 random walks over a week six got another verdict by it, of those near to being so.
"""


def leaks_on_record(
    history: History, kinds: Sequence[str], since: float, until: float, limit_bytes: float | None, *,
    everything: bool = True, curves_too: bool = False,
) -> tuple[list[Leak], int]:  # fmt: skip
    """
    The verdict on every curve of these *kinds*: cgroup, name, process; and how many curves there are. *limit_bytes*: of
    what brings none of its own. Unless *everything* is asked for, what surely is neither a leak nor too young to tell
    is left out. Of what does not leak, so is the curve but for its last point, unless *curves_too*: it goes through a
    pipe.
    """
    curves = {kind: grown(history, kind, since, until) for kind in kinds}

    def share(number: int, count: int) -> list[Leak | None]:
        def subjects() -> Iterator[Subject]:
            for kind, entities in curves.items():
                read = cgroups if kind == "cgroup" else programs
                yield from read(history, entities[number::count], since, until, POINTS)

        found: list[Leak | None] = []
        for subject in subjects():
            one = replaced(subject, limit_bytes=subject.limit_bytes or limit_bytes)
            leak = judged(one, until) if everything or worth_judging(one, until) else None
            found.append(leak if leak is None or curves_too or leak.finding.may_leak else _without_curve(leak))
        return found

    found = in_shares(share, sum(map(len, curves.values())), LEAST_CURVES)
    order = {kind: place for place, kind in enumerate(curves)}
    leaks = sorted([leak for leak in found if leak is not None], key=lambda leak: order[leak.subject.kind])
    return [_blamed(leak, history) for leak in leaks], len(found)


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
