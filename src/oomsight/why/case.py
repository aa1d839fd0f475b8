"""The subject and its facts sorted out: what is about it, which end is judged, what was near that end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from oomsight.naming.cgroup_path import is_ancestor
from oomsight.naming.marked import Kind, mark
from oomsight.why.evidence import Coverage, Fact, FactKind, Subject, same_id
from oomsight.why.signals import SIGKILL

NEAR_SECONDS: Final = 10.0
"""How long before the end a kill may be to have caused it: a dying process frees its memory, runtimes notice late."""

EXACT_SECONDS: Final = 2.5
"""Difference that clocks (printk against wall clock) and a runtime's own delay explain."""


_CLOCKS_SECONDS: Final = 0.05  # printk's clock and a daemon's, of events that follow one another


@dataclass(slots=True)
class Case:
    """The subject, its facts sorted out once for all rules."""

    subject: Subject
    coverage: Coverage
    name: str  #: marked
    facts: list[Fact]  #: about the subject, oldest first
    end: float | None  #: the end that is judged
    kills: list[Fact] = field(default_factory=list)  #: kernel kills near that end
    earlier: list[Fact] = field(default_factory=list)  #: kernel kills in its life that did not end it
    nowhere: list[Fact] = field(default_factory=list)  #: kernel kills whose cgroup and owner the log does not tell
    unplaced: list[Fact] = field(default_factory=list)  #: those at the moment of the end
    exit: Fact | None = None
    signal: int | None = None
    code: int | None = None

    def near(self, *kinds: FactKind) -> list[Fact]:
        """Facts of *kinds* near the end, oldest first."""
        return [fact for fact in self.facts if fact.kind in kinds and self.is_near(fact)]

    def is_near(self, fact: Fact) -> bool:
        """Whether *fact* was so close before the end that it may have caused it."""
        return fact.at is None or self.end is None or -EXACT_SECONDS <= self.end - fact.at <= NEAR_SECONDS


def make_case(subject: Subject, facts: Sequence[Fact], coverage: Coverage) -> Case:
    """Sort out *facts*; see :class:`Case`."""
    mine = sorted((fact for fact in facts if concerns(fact, subject)), key=when)
    end = subject.ended
    if end is None and not subject.alive:
        # Nobody keeps the moment: the last thing said about an end is it.
        ends = [f.at for f in mine if f.at is not None and f.kind is not FactKind.COUNTER]
        end = ends[-1] if ends else None
    if subject.alive:
        end = _end_before(subject, mine)
    case = Case(subject, coverage, subject_name(subject), mine, end)
    judged = end is not None or not subject.alive
    for kill in (f for f in mine if f.kind is FactKind.KERNEL_KILL):
        if judged and case.is_near(kill) and not _outlived(kill, case):
            case.kills.append(kill)
        elif kill.at is None or subject.started is None or kill.at >= subject.started - EXACT_SECONDS:
            case.earlier.append(kill)
    if subject.kind in {"container", "pod", "unit"}:
        # The kernel limits how many reports it prints; beyond that a kill leaves one line, without its cgroup.
        case.nowhere = [
            fact for fact in facts
            if fact.kind is FactKind.KERNEL_KILL and fact.cgroup is None and not concerns(fact, subject)
        ]  # fmt: skip
        case.unplaced = [
            fact for fact in case.nowhere
            if judged and end is not None and fact.at is not None and abs(end - fact.at) <= EXACT_SECONDS
        ]  # fmt: skip
    exits = case.near(FactKind.EXIT) if judged else []
    case.exit = exits[-1] if exits else None
    case.signal = subject.ended_by_signal if not subject.alive else None
    case.code = subject.exit_code if not subject.alive else None
    if case.exit is not None and case.signal is None and case.code is None:
        case.signal, case.code = case.exit.signal, case.exit.status
    return case


def _outlived(kill: Fact, case: Case) -> bool:
    """Whether a runtime was asked to send SIGKILL after *kill*: then the main process was alive, a child had died."""
    if kill.at is None or (case.subject.pid is not None and kill.pid == case.subject.pid):
        return False
    asked = (
        fact.at for fact in case.facts
        if fact.kind is FactKind.SIGNAL_SENT and fact.container_id and fact.signal == SIGKILL and fact.at is not None
    )  # fmt: skip
    return case.end is not None and any(kill.at + _CLOCKS_SECONDS < at <= case.end + EXACT_SECONDS for at in asked)


def _end_before(subject: Subject, facts: list[Fact]) -> float | None:
    """
    Of something that runs: when the run before ended, if a fact tells of a kill and nothing happened since.

    ``None`` = it is its life that is asked about.
    """
    if subject.kind == "process":
        return None
    started = subject.started if subject.kind != "name" else None
    ends = [fact.at for fact in facts if fact.at is not None and fact.kind in _ENDS]
    if not ends or (started is not None and ends[-1] >= started - EXACT_SECONDS and _kills_since(facts, started)):
        return None
    before = [at for at in ends if started is None or at < started]
    if not before:
        return None
    known = subject.ended
    return known if known is not None and 0 <= known - before[-1] <= NEAR_SECONDS else before[-1]


def _kills_since(facts: list[Fact], started: float) -> bool:
    return any(f.kind is FactKind.KERNEL_KILL and f.at is not None and f.at >= started for f in facts)


_ENDS: Final = frozenset(
    {
        FactKind.KERNEL_KILL, FactKind.USERSPACE_KILL, FactKind.EXIT, FactKind.RESULT, FactKind.UNIT_OOM,
        FactKind.UNIT_OOMD, FactKind.EVICTION,
    }
)


def when(fact: Fact) -> tuple[bool, float]:
    """Sort key: oldest first, those without a time last."""
    return fact.at is None, fact.at or 0.0


def concerns(fact: Fact, subject: Subject) -> bool:
    """Whether *fact* is about *subject*: by pid, name, unit, container id, pod, or the cgroup the process was in."""
    if fact.cgroup is not None and subject.holds(fact.cgroup):
        return True
    # A daemon that kills a cgroup kills everything below it.
    above = fact.kind is FactKind.USERSPACE_KILL and fact.cgroup is not None and fact.pid is None
    if above and subject.cgroup and is_ancestor(fact.cgroup or "", subject.cgroup):
        return True
    if subject.kind == "process" and fact.pid is not None:
        return fact.pid == subject.pid and _in_life(fact, subject)
    if subject.kind == "name" and fact.comm is not None:
        return fact.comm[:15] == subject.asked[:15]
    if subject.pid is not None and fact.pid == subject.pid and fact.kind is not FactKind.SIGNAL_SENT:
        return _in_life(fact, subject)
    if subject.unit is not None and fact.unit == subject.unit:
        return True
    if subject.container_id and fact.container_id:
        return same_id(subject.container_id, fact.container_id)
    if subject.pod and fact.pod:
        return fact.pod in {f"{subject.namespace}/{subject.pod}", subject.pod_uid}
    # The kubelet says once for all pods why it evicts.
    return fact.kind is FactKind.RECLAIM and subject.kind in {"pod", "container"}


def _in_life(fact: Fact, subject: Subject) -> bool:
    """Pids are given again: a fact from before the process began is about another one."""
    return fact.at is None or subject.started is None or fact.at >= subject.started - EXACT_SECONDS


def subject_name(subject: Subject) -> str:
    """Return *subject* in marked words."""
    match subject.kind:
        case "process":
            comm = f"{mark(subject.comm)} " if subject.comm else ""
            return f"process {comm}(pid {subject.pid})" if comm else f"process {subject.pid}"
        case "name":
            return f"{mark(subject.asked)}"
        case "unit":
            return mark(subject.unit or subject.asked, Kind.OWNER)
        case "pod":
            where = f"{mark(subject.namespace, Kind.OWNER)}/" if subject.namespace else ""
            return f"pod {where}{mark(subject.pod or subject.asked, Kind.OWNER)}"
        case _:
            name = mark(subject.container or subject.asked, Kind.OWNER)
            where = f" of pod {mark(f'{subject.namespace}/{subject.pod}', Kind.OWNER)}" if subject.pod else ""
            return f"container {name}{where}"


def victim(kill: Fact) -> str:
    """Return the process a kill ended, in marked words."""
    name = mark(kill.comm) if kill.comm is not None else "a process"
    return f"{name} (pid {kill.pid})" if kill.pid is not None else name


def span(seconds: float) -> str:
    """Return a duration as people say it."""
    seconds = abs(seconds)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
