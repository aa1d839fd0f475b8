"""
Who is killed: the OOM killer's walk over the tasks, on paper.

:func:`select` follows the kernel step by step (panic_on_oom, oom_kill_allocating_task, eligibility, scan and ties,
child sacrifice, sharers, memory.oom.group) and records why each task was passed over. :func:`rank` is the short way
for a report's own table, which lists eligible tasks only. What differs between kernels is in the tables
:data:`SCAN_RULES` and :data:`SKIPS` and the named ranges below them.

Sources: mm/oom_kill.c 2.6.11 … 6.19; mm/memcontrol.c mem_cgroup_scan_tasks(), mem_cgroup_get_oom_group().
"""

from __future__ import annotations

from oomsight._enums import StrEnum
from oomsight._lazy import remembered
from oomsight._named import NamedTuple
from oomsight.kernel.badness import OOM_DISABLE, OOM_SCORE_ADJ_MIN, Points, Rule, TaskFacts, badness
from oomsight.kernel.release import NEWEST, Release, in_range

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Final, Literal

    Tie = Literal["first", "first_leader", "last"]
    """Who wins at equal points: the first scanned, the first thread-group leader, or the last scanned."""


class ScanRule(NamedTuple):
    """How one era walks the tasks."""

    since: Release
    until: Release | None
    scopes: frozenset[str]  #: ``global`` (any constraint but MEMCG) and/or ``memcg``
    unit: Literal["threads", "processes"]
    tie: Tie
    source: str
    takes_zero: bool = False  #: the very first candidate is taken even with 0 points


_GLOBAL: Final = frozenset({"global"})
_MEMCG: Final = frozenset({"memcg"})
_BOTH: Final = _GLOBAL | _MEMCG
SCAN_RULES: Final[tuple[ScanRule, ...]] = (
    ScanRule((2, 6, 11), (2, 6, 31), _BOTH, "threads", "first", "mm/oom_kill.c 2.6.11, 2.6.24", takes_zero=True),
    ScanRule((2, 6, 32), (2, 6, 35), _BOTH, "processes", "first", "mm/oom_kill.c 2.6.32.67, 2.6.35.3", takes_zero=True),
    ScanRule((2, 6, 36), (2, 6, 38), _BOTH, "processes", "first", "mm/oom_kill.c 2.6.36, 2.6.37"),
    ScanRule((2, 6, 39), (3, 13), _BOTH, "threads", "first", "mm/oom_kill.c 2.6.39.3, 3.10, 3.13.10"),
    ScanRule((3, 14), (4, 6), _BOTH, "threads", "first_leader", "mm/oom_kill.c 3.14.5, 4.6.2"),
    ScanRule((4, 7), (4, 8), _GLOBAL, "processes", "last", "mm/oom_kill.c 4.7.4, 4.8.15"),
    ScanRule((4, 7), (4, 8), _MEMCG, "threads", "first_leader", "mm/memcontrol.c 4.7.4, 4.8.15"),
    ScanRule((4, 9), (5, 2), _GLOBAL, "processes", "first_leader", "mm/oom_kill.c 4.9.0, 4.19.0, 5.2.1"),
    ScanRule((4, 9), (5, 2), _MEMCG, "threads", "first_leader", "mm/memcontrol.c 4.9.0, 5.2.1"),
    ScanRule((5, 3), None, _BOTH, "processes", "last", "mm/oom_kill.c 5.3.1, 6.19"),
)
"""
Scan units and ties. Scan order itself: global = fork order of the processes (not pid order after a wrap);
memory cgroup = the cgroup tree from the OOMing cgroup down, parents first, in join order inside each (>= 3.6;
before, and in the printed table up to 5.2, the global order filtered).
"""


def _within(rule: Rule, release: Release | None) -> Release:
    """``release`` moved into the badness rule's era, the shape having decided that; without one its newest."""
    last = rule.until or NEWEST
    if release is None or rule.contains(release):
        return release or last
    return rule.since if release < rule.since else last


@remembered(64)  # reports of one machine all have one
def scan_rule(rule: Rule, memcg: bool, release: Release | None = None) -> ScanRule:
    """
    The scan that goes with a badness rule. Where the badness era covers several scans ``release`` decides, as far as
    it lies in the era; without one the era's newest scan is taken.
    """
    at = _within(rule, release)
    scope = "memcg" if memcg else "global"
    rows = [row for row in SCAN_RULES if scope in row.scopes]
    return next((row for row in rows if in_range(at, row.since, row.until)), rows[0])


def rank(points: Sequence[int | None], scan: ScanRule, leaders: Sequence[bool] | None = None) -> list[int]:
    """
    Indices of ``points`` (in scan order, ``None`` = exempt) in the order the kernel would choose them, best first.

    ``leaders``: whether each entry is a thread-group leader; all are, when not given.
    """
    eligible = list(range(len(points)))
    try:
        sum(points)  # type: ignore[arg-type]  # fails where one is None, for a fifth of what "None in points" takes
    except TypeError:
        eligible = [index for index in eligible if points[index] is not None]
    if leaders is None:
        if scan.tie == "last":
            eligible.reverse()
        # Keeps the order of equal ones. No eligible one has None.
        return sorted(eligible, key=points.__getitem__, reverse=True)  # type: ignore[arg-type]

    def key(index: int) -> tuple[int, bool, int]:
        leader = leaders[index]
        if scan.tie == "first_leader":
            # A leader displaces equal non-leaders and then stays; among non-leaders each displaces the one before.
            return (-(points[index] or 0), not leader, index if leader else -index)
        return (-(points[index] or 0), False, index if scan.tie == "first" else -index)

    return sorted(eligible, key=key)


class Candidate(NamedTuple):
    """One process as the scan sees it. ``mm`` names the address space: processes with equal ``mm`` share memory."""

    pid: int
    facts: TaskFacts
    comm: str = ""
    mm: int | None = None  #: ``None`` = one of its own
    memcg: str = "/"  #: cgroup path
    children: tuple[int, ...] = ()  #: pids, in the order of the kernel's list (birth)
    is_leader: bool = True
    is_kthread: bool = False
    is_victim: bool = False  #: killed by the OOM killer before, memory not yet gone
    oom_skip: bool = False  #: memory already reaped or given up (MMF_OOM_SKIP)
    in_vfork: bool = False
    exiting: bool = False  #: dying already and about to free its memory
    nodes_overlap: bool = True  #: cpuset or memory policy shares a node with the failed allocation

    @property
    def space(self) -> int:
        """Identity of the address space."""
        return self.pid if self.mm is None else self.mm


class Scene(NamedTuple):
    """The circumstances of one OOM."""

    total_pages: int  #: T, see :mod:`oomsight.kernel.constraint`
    page_size: int = 4096
    constraint: str = "CONSTRAINT_NONE"
    oom_memcg: str = "/"  #: cgroup that ran out (CONSTRAINT_MEMCG)
    release: Release | None = None  #: ``None`` = the newest the badness rule fits
    current_pid: int | None = None  #: the task whose allocation failed
    sysrq: bool = False
    panic_on_oom: int = 0
    oom_kill_allocating_task: bool = False
    oom_group: frozenset[str] = frozenset()  #: cgroups with memory.oom.group = 1 (v2)

    @property
    def memcg(self) -> bool:
        """Whether a memory cgroup's limit is what ran out."""
        return self.constraint == "CONSTRAINT_MEMCG"


class Outcome(StrEnum):
    """How an OOM ended."""

    KILLED = "killed"
    ABORTED = "aborted"  #: an earlier victim is still dying: nobody is killed, the allocation retries
    EXITING = "exiting"  #: the allocating or chosen task is dying anyway: marked without a word in the log
    NO_KILLABLE = "no_killable"
    PANIC = "panic"


class Step(NamedTuple):
    """What the scan did with one task."""

    pid: int
    verdict: Literal["skipped", "passed", "best", "abort"]
    words: str
    points: int | None = None


class Kill(NamedTuple):
    """One process that gets SIGKILL."""

    pid: int
    role: Literal["selected", "child", "group", "shared", "allocating"]
    logged: bool  #: whether the kernel prints a line for it


class Selection(NamedTuple):
    """Result of :func:`select`."""

    outcome: Outcome
    words: str
    chosen: int | None = None  #: pid the scan chose, before child sacrifice
    points: Points | None = None
    kills: tuple[Kill, ...] = ()
    trace: tuple[Step, ...] = ()


class Skip(NamedTuple):
    """One reason never to choose a task."""

    name: str
    since: Release
    until: Release | None
    test: Callable[[Candidate, Scene], bool]
    before_victims: bool = True  #: tested before "is it a victim already?" (the rest is part of badness)
    scopes: frozenset[str] = _BOTH


def inside(path: str, ancestor: str) -> bool:
    """Whether cgroup ``path`` is ``ancestor`` or below it."""
    return ancestor in {"/", path} or path.startswith(ancestor + "/")


_ALWAYS: Final = (2, 6, 11)
SKIPS: Final[tuple[Skip, ...]] = (
    Skip("global init", _ALWAYS, None, lambda t, _: t.facts.is_init),
    Skip("kernel thread", (2, 6, 36), None, lambda t, _: t.is_kthread),
    Skip("outside the cgroup", _ALWAYS, None, lambda t, s: not inside(t.memcg, s.oom_memcg), scopes=_MEMCG),
    Skip("cpuset does not overlap", (2, 6, 18), (2, 6, 18), lambda t, _: t.facts.other_cpuset),
    Skip("no allowed node in common", (2, 6, 36), (5, 2), lambda t, _: not t.nodes_overlap),
    Skip("no allowed node in common", (5, 3), None, lambda t, _: not t.nodes_overlap, scopes=_GLOBAL),
    Skip("no memory of its own", _ALWAYS, None, lambda t, _: t.facts.no_mm),
    Skip("oom_adj -17", (2, 6, 18), (2, 6, 35), lambda t, _: t.facts.oom_adj == OOM_DISABLE, before_victims=False),
    Skip(
        "oom_score_adj -1000", (2, 6, 36), None, lambda t, _: t.facts.oom_score_adj == OOM_SCORE_ADJ_MIN,
        before_victims=False,
    ),
    Skip("memory already reaped", (4, 7), None, lambda t, _: t.oom_skip, before_victims=False),
    Skip("inside vfork", (4, 8), None, lambda t, _: t.in_vfork, before_victims=False),
)
"""Ineligible tasks, in the kernel's order of tests (oom_unkillable_task(), oom_evaluate_task(), oom_badness())."""

# Ranges of single behaviours, mm/oom_kill.c of the releases at both ends.
_SACRIFICE_CHILD: Final = ((2, 6, 11), (5, 1))  # gone in 5.2; 5.1 not read
_SACRIFICE_FIRST_CHILD: Final = ((2, 6, 11), (2, 6, 35))
_EXITING_ABORTS: Final = ((2, 6, 11), (4, 5))
_SYSRQ_IGNORES_VICTIMS: Final = ((3, 4), None)
_SYSRQ_NEVER_PANICS: Final = ((4, 3), None)
_SKIP_FLAG: Final = ((4, 7), None)
_ORIGIN_ENDS_SCAN: Final = ((2, 6, 11), (2, 6, 18))
_ORIGIN_BEATS_ALL: Final = ((3, 8), None)  # in between it is part of badness, or of oom_score_adj
_SHARERS_SPARED: Final = ((2, 6, 32), (2, 6, 36))
_SHARERS_LOGGED: Final = ((2, 6, 37), (4, 3))
_PROTECTED_SHARERS_SPARED: Final = ((3, 2), (4, 7))
_GROUP: Final = ((4, 19), None)
_GROUP_SPARES_INIT: Final = ((5, 2), None)
_POLICY_KILLS_CURRENT: Final = ((2, 6, 18), (2, 6, 35))
_CPUSET_KILLS_CURRENT: Final = ((2, 6, 18), (2, 6, 23))


class _Walk:
    """One OOM of one kernel: holds what every step needs."""

    def __init__(self, tasks: Iterable[Candidate], rule: Rule, scene: Scene) -> None:
        self.tasks = {task.pid: task for task in tasks}
        self.rule = rule
        self.scene = scene
        self.at: Release = _within(rule, scene.release)
        self.scope = "memcg" if scene.memcg else "global"
        self.scan = scan_rule(rule, scene.memcg, scene.release)
        self.trace: list[Step] = []

    def does(self, span: tuple[Release, Release | None]) -> bool:
        return in_range(self.at, *span)

    def skip(self, task: Candidate, before_victims: bool | None = None) -> str | None:
        """Name of the first rule that exempts ``task``, of one half of the table or of all of it."""
        for row in SKIPS:
            if (
                before_victims in {None, row.before_victims}
                and self.scope in row.scopes
                and in_range(self.at, row.since, row.until)
                and row.test(task, self.scene)
            ):
                return row.name
        return None

    def points(self, task: Candidate) -> Points | None:
        return badness(self.rule, task.facts, self.scene.total_pages, self.scene.page_size)

    def note(self, task: Candidate, verdict: Literal["skipped", "passed", "best", "abort"], words: str,
             points: int | None = None) -> None:  # fmt: skip
        self.trace.append(Step(task.pid, verdict, words, points))

    def victim_waits(self, task: Candidate) -> str | None:
        """Why the scan must stop at ``task``: somebody is dying already."""
        forced = self.scene.sysrq and self.does(_SYSRQ_IGNORES_VICTIMS)
        if task.is_victim and not forced and not (task.oom_skip and self.does(_SKIP_FLAG)):
            return "is an OOM victim that has not freed its memory yet"
        if task.exiting and not forced and self.does(_EXITING_ABORTS):
            return "is exiting and will free its memory"
        return None

    def choose(self) -> tuple[Candidate | None, Points | None, bool]:
        """The scan: chosen task, its points (``None`` for an OOM origin), and whether it was aborted."""
        best: Candidate | None = None
        best_points: Points | None = None
        for task in self.tasks.values():
            if why := self.skip(task, before_victims=True):
                self.note(task, "skipped", why)
                continue
            if why := self.victim_waits(task):
                self.note(task, "abort", why)
                return None, None, True
            if task.is_victim and task.oom_skip and not self.scene.sysrq:
                self.note(task, "skipped", "earlier victim, memory already reaped")
                continue
            if task.facts.oom_origin and self.does(_ORIGIN_ENDS_SCAN):
                self.note(task, "best", "is in swapoff: chosen at once")
                return task, None, False
            if task.facts.oom_origin and self.does(_ORIGIN_BEATS_ALL):
                self.note(task, "best", "is in swapoff or KSM unmerge: beats any points")
                best, best_points = task, None
                continue
            if why := self.skip(task, before_victims=False):
                self.note(task, "skipped", why)
                continue
            points = self.points(task)
            if points is None:
                self.note(task, "skipped", "exempt")
            elif self.beats(points.total, best, best_points):
                tie = best_points is not None and points.total == best_points.total
                self.note(task, "best", f"ties, the {self.scan.tie} wins" if tie else "most points", points.total)
                best, best_points = task, points
            else:
                self.note(task, "passed", "not more points than the best so far", points.total)
        return best, best_points, False

    def beats(self, points: int, best: Candidate | None, best_points: Points | None) -> bool:
        if best is None:
            return points > 0 or (self.rule.floor is None and self.rule.unit == "pages") or self.scan.takes_zero
        if best_points is None or points != best_points.total:
            return best_points is not None and points > best_points.total
        return self.scan.tie == "last" or (self.scan.tie == "first_leader" and not best.is_leader)

    def sacrifice(self, parent: Candidate) -> Candidate:
        """The child that dies for ``parent``, or ``parent`` itself (always, from 5.2 on)."""
        victim, most = parent, 0
        if not self.does(_SACRIFICE_CHILD):
            return victim
        for pid in parent.children:
            child = self.tasks.get(pid)
            if child is None or child.space == parent.space or self.skip(child):
                continue
            if self.does(_SACRIFICE_FIRST_CHILD):
                return child
            points = self.points(child)
            if points is not None and points.total > most:
                victim, most = child, points.total
        return victim

    def sharers(self, victim: Candidate) -> Iterator[Kill]:
        """Other processes of the same address space; they die with it."""
        if self.does(_SHARERS_SPARED):
            return
        for task in self.tasks.values():
            if task.pid == victim.pid or task.space != victim.space or task.is_kthread or task.facts.is_init:
                continue
            protected = task.facts.oom_score_adj == OOM_SCORE_ADJ_MIN
            if not (protected and self.does(_PROTECTED_SHARERS_SPARED)):
                yield Kill(task.pid, "shared", self.does(_SHARERS_LOGGED))

    def group(self, victim: Candidate) -> Iterator[Kill]:
        """Members of the highest memory.oom.group cgroup between the victim and the OOM domain, the victim excepted."""
        domain = self.scene.oom_memcg if self.scene.memcg else "/"
        marked = [
            path for path in self.scene.oom_group if path != "/" and inside(victim.memcg, path) and inside(path, domain)
        ]
        if not marked or not self.does(_GROUP):
            return
        top = min(marked, key=len)
        for task in self.tasks.values():
            if task.pid == victim.pid or not inside(task.memcg, top) or task.facts.no_mm:
                continue
            spared = task.facts.oom_score_adj == OOM_SCORE_ADJ_MIN or (
                task.facts.is_init and self.does(_GROUP_SPARES_INIT)
            )
            if not spared:
                yield Kill(task.pid, "group", logged=True)

    def kill(self, chosen: Candidate, points: Points | None, role: Literal["selected", "allocating"]) -> Selection:
        if chosen.exiting:
            return self.end(Outcome.EXITING, "the chosen task is already exiting: it is marked without a log line",
                            chosen, points)  # fmt: skip
        victim = self.sacrifice(chosen)
        kills = {victim.pid: Kill(victim.pid, role if victim is chosen else "child", logged=True)}
        for more in (*self.sharers(victim), *self.group(victim)):
            # A sharer that is also a group member gets its own line.
            if more.pid not in kills or more.logged:
                kills[more.pid] = more
        words = f"{chosen.pid} is chosen"
        if victim is not chosen:
            words += f" and its child {victim.pid} sacrificed for it"
        return self.end(Outcome.KILLED, words, chosen, points, tuple(kills.values()))

    def end(self, outcome: Outcome, words: str, chosen: Candidate | None = None, points: Points | None = None,
            kills: tuple[Kill, ...] = ()) -> Selection:  # fmt: skip
        return Selection(outcome, words, chosen.pid if chosen else None, points, kills, tuple(self.trace))


def select(tasks: Iterable[Candidate], rule: Rule, scene: Scene) -> Selection:
    """
    Play one OOM: ``tasks`` in scan order (see :data:`SCAN_RULES`), pids unique.

    Kernels that walk threads see the same order and points as their processes; give threads as entries of their own
    (``is_leader=False``) only where leader preference matters.
    """
    walk = _Walk(tasks, rule, scene)
    current = walk.tasks.get(scene.current_pid) if scene.current_pid is not None else None
    if current is not None and current.exiting:
        return walk.end(Outcome.EXITING, "the allocating task is exiting: it may use the reserves, nobody is killed")
    panics = scene.panic_on_oom == 2 or (scene.panic_on_oom == 1 and scene.constraint == "CONSTRAINT_NONE")
    if panics and not (scene.sysrq and walk.does(_SYSRQ_NEVER_PANICS)):
        return walk.end(Outcome.PANIC, f"vm.panic_on_oom = {scene.panic_on_oom} under {scene.constraint}")
    if current is not None:
        bound = (scene.constraint == "CONSTRAINT_MEMORY_POLICY" and walk.does(_POLICY_KILLS_CURRENT)) or (
            scene.constraint == "CONSTRAINT_CPUSET" and walk.does(_CPUSET_KILLS_CURRENT)
        )
        asked = scene.oom_kill_allocating_task and not scene.memcg and walk.skip(current) is None
        if bound or asked:
            return walk.kill(current, None, "allocating")
    chosen, points, aborted = walk.choose()
    if aborted:
        return walk.end(Outcome.ABORTED, f"{walk.trace[-1].pid} {walk.trace[-1].words}: nobody is killed")
    if chosen is None:
        fatal = not scene.memcg and not (scene.sysrq and walk.does(_SYSRQ_NEVER_PANICS))
        return walk.end(Outcome.NO_KILLABLE, "no eligible task" + (": the kernel panics" if fatal else ""))
    return walk.kill(chosen, points, "selected")
