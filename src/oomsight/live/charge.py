"""
Whose cgroup a kill is charged to when the kernel printed no report for it.

oom_kill_process() prints its report at most ten times in five seconds (DEFINE_RATELIMIT_STATE(oom_rs), mm/oom_kill.c);
the kill line itself is always printed, without a cgroup. But the cgroup of the victim has counted it before that line
was printed (memcg_memory_event_mm(mm, MEMCG_OOM_KILL) in __oom_kill_process(), 4.13): what the counters grew by, less
the kills whose cgroup the log names, is where the others died. Nothing is guessed: while two cgroups could be meant,
and neither the victim's parent nor what was remembered of its pid decides, there is no answer.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from oomsight.diagnose.explain import explain_report
from oomsight.live.events import weigh
from oomsight.naming.marked import Kind, mark
from oomsight.report.model import EventKind, Note

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oomsight.live.events import LiveEvent

FORGET_SECONDS: Final = 3.0  #: a count nobody tells for so long, or a kill nobody counts, finds no partner any more
REMEMBERED: Final = 4096  #: kills and answers known by heart
MOST_NAMED: Final = 4  #: cgroups named where it could be any of them
_COUNTED: Final = "the report was not printed (rate limit); the cgroup is the one whose counter of kills grew"
_KINDS: Final = frozenset({EventKind.MEMCG, EventKind.GLOBAL, EventKind.CPUSET, EventKind.MEMPOLICY})


@dataclass(slots=True)
class _Wanted:
    since: float
    hints: tuple[str, ...]  #: where the victim may have been: right when it is one of those that grew


class Charges:
    """
    Counted kills of one machine by cgroup, less the told ones. Seconds are those of one steady clock.

    A kill may be told before its count is read or after it. Once all counters are read (:meth:`counted`) every kill
    told so far has been counted, or its cgroup is gone and the count with it.
    """

    def __init__(self) -> None:
        self._counts: dict[str, deque[float]] = {}  #: when each kill was counted that nobody has told
        self._owed: dict[str, int] = {}  #: kills told whose count was not read yet
        self._told: OrderedDict[str, None] = OrderedDict()
        self._wanted: dict[str, _Wanted] = {}
        self._answers: OrderedDict[str, str] = OrderedDict()
        self._open: OrderedDict[str, list[str]] = OrderedDict()  #: kills that stay undecided, with what they could be

    def grew(self, path: str, kills: int, now: float) -> None:
        """The counter of the cgroup *path* grew by *kills*; decides nothing: the next one may have grown, too."""
        for _ in range(min(kills, REMEMBERED)):
            if self._owed.get(path, 0) > 0:
                self._owed[path] -= 1
            else:
                self._counts.setdefault(path, deque(maxlen=REMEMBERED)).append(now)

    def counted(self) -> None:
        """All counters were read: what is owed now will not come."""
        self._owed.clear()

    def told(self, kill: str, path: str, now: float) -> None:
        """The log names *path* as the cgroup of the kill called *kill*; the same kill counts once."""
        if kill in self._told:
            return
        self._tell(kill, path)
        self._settle(now)

    def want(self, kill: str, now: float, *, hints: Iterable[str] = ()) -> str | None:
        """
        Return the cgroup of the kill called *kill*, whose report is missing; ``None`` = not known (yet). All counters
        must have been read since its line was.

        *hints* are cgroups it may have been in (its parent's, the one its pid was last seen in), best first.
        """
        if kill not in self._answers and kill not in self._told and kill not in self._open:
            self._wanted.setdefault(kill, _Wanted(now, tuple(hints)))
            self._settle(now)
        return self._answers.get(kill)

    def known(self, kill: str) -> str | None:
        """Return the cgroup found for *kill*; ``None`` = none yet."""
        return self._answers.get(kill)

    def undecided(self, kill: str) -> list[str]:
        """Return the cgroups between which it stays open whose *kill* was; empty = more may become known."""
        return self._open.get(kill, [])

    def candidates(self) -> list[str]:
        """Return the cgroups that counted a kill nobody has told."""
        return sorted(path for path, times in self._counts.items() if times)

    def _settle(self, now: float) -> None:
        for times in self._counts.values():
            while times and now - times[0] >= FORGET_SECONDS:
                times.popleft()
        self._wanted = {k: w for k, w in self._wanted.items() if now - w.since < FORGET_SECONDS}
        for kill, wanted in list(self._wanted.items()):
            hint = next((path for path in wanted.hints if self._counts.get(path)), None)
            if hint is not None:
                self._answer(kill, hint)
        open_ = self.candidates()
        # As many kills as counts, and one cgroup: else a line that is still to come could be meant.
        if len(open_) == 1 and len(self._counts[open_[0]]) == len(self._wanted):
            for kill in list(self._wanted):
                self._answer(kill, open_[0])
        # As many kills as counts, but of several cgroups: nothing to come will tell, nor may it be mixed up with these.
        elif len(open_) > 1 and sum(len(self._counts[path]) for path in open_) == len(self._wanted):
            self._open |= dict.fromkeys(self._wanted, open_)
            while len(self._open) > REMEMBERED:
                self._open.popitem(last=False)
            self._wanted.clear()
            for path in open_:
                del self._counts[path]

    def _answer(self, kill: str, path: str) -> None:
        self._answers[kill] = path
        while len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        self._tell(kill, path)

    def _tell(self, kill: str, path: str) -> None:
        self._wanted.pop(kill, None)
        self._told[kill] = None
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        if self._counts.get(path):
            self._counts[path].popleft()
        else:
            self._owed[path] = self._owed.get(path, 0) + 1


def charged(event: LiveEvent) -> str | None:
    """Return the cgroup the log itself gives for *event*; ``None`` = none."""
    report = event.incident.report
    return report.task_memcg or report.group_memcg or next((v.task_memcg for v in report.victims if v.task_memcg), None)


def beheaded(event: LiveEvent) -> bool:
    """Whether *event* is one kill line without its report and without a cgroup."""
    report = event.incident.report
    return len(event.kills) == 1 and charged(event) is None and report.trigger is None and report.kind in _KINDS


def recharged(event: LiveEvent, path: str, text: str = _COUNTED) -> LiveEvent:
    """Return *event* with the cgroup *path*, explained anew; *text* says where it is known from."""
    report = event.incident.report
    report.task_memcg = path
    report.notes.append(Note("cgroup_from_counter", None, text))
    incident = explain_report(report)
    return replace(event, incident=incident, weight=weigh(incident))


def undecided(event: LiveEvent, candidates: list[str]) -> LiveEvent:
    """Return *event* with a remark that its cgroup is one of *candidates*; as it is when they are none or too many."""
    if 0 < len(candidates) <= MOST_NAMED:
        names = " or ".join(mark(path, Kind.CGROUP) for path in candidates)
        text = f"the report was not printed (rate limit); the cgroup was {names}: each counted a kill at that moment"
        event.incident.report.notes.append(Note("cgroup_undecided", None, text))
    return event
