"""
What if: one real moment (a report's task table, or the live machine), played again with something changed.

A :class:`Moment` is everybody who could die and how much must be freed. :func:`what_if` changes it and lets the
kernel's rules kill until enough is free: who dies instead, how much that frees, who is next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight._sizes import size_words
from oomsight.kernel.badness import BADNESS_RULES, rule_by_name, rule_for_text
from oomsight.kernel.constraint import memcg_era, t_memcg
from oomsight.kernel.release import NEWEST, parse_release
from oomsight.kernel.selection import Candidate, Outcome, Scene, inside, select
from oomsight.naming.marked import Kind as Name
from oomsight.naming.marked import mark

if TYPE_CHECKING:
    from oomsight.kernel.badness import Rule
    from oomsight.kernel.constraint import Total
    from oomsight.kernel.release import Release

MORE_KILLS: Final = 4  #: kills shown beyond those that meet the demand
MAX_CHAIN: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Everybody one OOM would look at. Pages are the machine's."""

    source: str  #: where it is from, in words (marked)
    tasks: tuple[Candidate, ...]  #: in the order of the scan
    rule: Rule
    rule_why: str
    release: Release | None
    total: Total  #: T
    total_exact: bool = True  #: False = T is a lower bound
    constraint: str = "CONSTRAINT_NONE"
    oom_memcg: str = "/"
    page_size: int = 4096
    need_pages: int = 1  #: to free; the failed request, unless asked otherwise
    freeable_pages: Mapping[int, int] = field(default_factory=dict)  #: by pid: what its death frees
    freeable_exact: bool = True  #: False = rss stands for it: file pages and shared memory may stay
    charged_pages: Mapping[str, int] = field(default_factory=dict)
    """By cgroup: what is charged to it and cannot be dropped, tmpfs and kernel memory included, where that is known."""
    swap_pages: int = 0  #: of the machine
    oom_group: frozenset[str] = frozenset()
    cgroup_version: int = 2
    allocating_pid: int | None = None
    kill_allocating: bool = False
    died: tuple[int, ...] = ()  #: pids that really died, of a report


class Changes(NamedTuple):
    """What is different."""

    adj: tuple[tuple[str, int], ...] = ()  #: (pid, comm or cgroup path; oom_score_adj)
    limits: tuple[tuple[str, int], ...] = ()  #: (cgroup path; bytes)
    add_swap_bytes: int = 0
    without: tuple[int, ...] = ()  #: pids
    era: str | None = None  #: kernel release or name of a badness rule
    need_bytes: int | None = None  #: to free, instead of what the moment needs

    @property
    def nothing(self) -> bool:
        """Whether nothing is changed (how much is needed is a question, not a change)."""
        return self._replace(need_bytes=None) == Changes()


class Death(NamedTuple):
    """One step of the chain."""

    pid: int
    name: str
    role: str
    points: int | None  #: of the chosen process; ``None`` = of the others of a group
    adj: int
    held_pages: int  #: rss and swap
    freed_pages: int
    total_freed_pages: int  #: with all before it
    needed: bool  #: False = the demand was met before it: who is next
    constraint: str
    cgroup: str  #: whose limit, ``/`` = the machine


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Before and after."""

    moment: Moment
    changed: Moment
    changes: Changes
    before: tuple[Death, ...]
    after: tuple[Death, ...]
    notes: tuple[str, ...] = ()  #: marked
    avoided: str | None = None  #: why nobody would have to die now (marked); ``None`` = somebody must

    @property
    def same(self) -> bool:
        """Whether the same process dies first."""
        first = [deaths[0].pid if deaths else None for deaths in (self.before, self.after)]
        return first[0] == first[1] and self.avoided is None


def match(moment: Moment, selector: str) -> list[int]:
    """Pids a selector means: a pid, a cgroup path (and below), or a comm."""
    if selector.isdecimal():
        return [task.pid for task in moment.tasks if task.pid == int(selector)]
    if selector.startswith("/"):
        return [task.pid for task in moment.tasks if task.memcg and inside(task.memcg, selector)]
    return [task.pid for task in moment.tasks if task.comm == selector]


def problems(moment: Moment, changes: Changes) -> list[str]:
    """Why *changes* cannot be made to *moment*; empty = they can."""
    found = [f"there is no process, name or cgroup {selector} in {moment.source}{_nearest(moment, selector)}"
             for selector, _ in changes.adj if not match(moment, selector)]  # fmt: skip
    pids = {task.pid for task in moment.tasks}
    found += [f"there is no process {pid} in {moment.source}" for pid in changes.without if pid not in pids]
    found += [f"no process is known to be in cgroup {path}{_nearest_cgroup(moment, path)}"
              for path, _ in changes.limits if not match(moment, path)]  # fmt: skip
    if changes.era is not None and era(changes.era) is None:
        names = ", ".join(rule.name for rule in BADNESS_RULES)
        found.append(f"{changes.era} is no kernel release; releases with rules of their own: {names}")
    return found


def _nearest(moment: Moment, selector: str) -> str:
    """A hint at a name much like *selector*, else at the biggest processes."""
    names = {task.comm for task in moment.tasks} | {task.memcg for task in moment.tasks if task.memcg}
    biggest = dict.fromkeys(task.comm for task in sorted(moment.tasks, key=held_pages, reverse=True))
    return _hint(selector, names, "the biggest are", list(biggest))


def _nearest_cgroup(moment: Moment, path: str) -> str:
    """A hint at a cgroup much like *path*, else at those that hold most."""
    held: dict[str, int] = {}
    for task in moment.tasks:
        if task.memcg and task.memcg != "/":
            held[task.memcg] = held.get(task.memcg, 0) + held_pages(task)
    biggest = sorted(held, key=held.__getitem__, reverse=True)
    return _hint(path, held, "those that hold most are", biggest) or f": {moment.source} names no cgroup"


def _hint(wanted: str, names: Iterable[str], words: str, biggest: Sequence[str]) -> str:
    """The one of *names* most like *wanted*, else the first of the *biggest* behind *words*; empty without any."""
    from difflib import get_close_matches

    if near := get_close_matches(wanted, sorted(names), 1):
        return f"; did you mean {near[0]}?"
    return f"; {words} {', '.join(biggest[:3])}" if biggest else ""


def era(text: str) -> tuple[Rule, Release] | None:
    """Badness rule and release of a kernel (``4.19``, ``5.10.0-8-amd64``); ``None`` = it names none."""
    release, rule = parse_release(text), rule_by_name(text) or rule_for_text(text)
    return (rule, release) if rule is not None and release is not None else None


def what_if(moment: Moment, changes: Changes, more: int = MORE_KILLS) -> WhatIf:
    """Play *moment* as it is and with *changes* (checked by :func:`problems`), *more* kills beyond the demand."""
    notes: list[str] = []
    if changes.need_bytes is not None:
        moment = replace(moment, need_pages=max(-(-changes.need_bytes // moment.page_size), 1))
    after, avoided = _changed(moment, changes, notes)
    return WhatIf(moment, after, changes, chain(moment, more), () if avoided and not more else chain(after, more),
                  tuple(notes), avoided)  # fmt: skip


def _changed(moment: Moment, changes: Changes, notes: list[str]) -> tuple[Moment, str | None]:
    """The moment with the changes made, and why nobody would have to die, if so."""
    avoided: str | None = None
    tasks = {task.pid: task for task in moment.tasks}
    for selector, adj in changes.adj:
        for pid in match(moment, selector):
            tasks[pid] = tasks[pid]._replace(facts=tasks[pid].facts._replace(oom_score_adj=adj))
    for pid in changes.without:
        freed = moment.freeable_pages.get(pid, held_pages(tasks[pid]))
        if freed >= moment.need_pages:
            avoided = f"without {_name(tasks[pid])} there are {_size(moment, freed)} more, which is enough for now"
        del tasks[pid]
    after = replace(moment, tasks=tuple(tasks.values()))
    if changes.add_swap_bytes:
        pages = changes.add_swap_bytes // moment.page_size
        after = replace(after, swap_pages=moment.swap_pages + pages, total=after.total._replace(
            pages=after.total.pages + pages, how=f"{after.total.how} + {pages} pages of swap more"))  # fmt: skip
        if pages >= moment.need_pages:
            avoided = f"swap could take {_size(moment, pages)} first"
            notes.append("Whether swap helps depends on how much of the memory is idle, which nothing here tells.")
    for path, limit in changes.limits:
        after, words = _limited(after, path, limit // moment.page_size, notes)
        avoided = words or avoided
    if changes.era is not None and (found := era(changes.era)) is not None:
        rule, release = found
        after = replace(after, rule=rule, release=release, rule_why="asked for")
        if rule.unit == "points":
            notes.append("Rules before 2.6.36 weigh CPU time, age and children, which are not known here.")
            if any(task.facts.oom_score_adj for task in after.tasks):
                notes.append("They know oom_adj only: oom_score_adj counts for nothing with them, not even -1000.")
    if not after.total_exact and any(task.facts.oom_score_adj for task in after.tasks):
        notes.append("T is only a lower bound here: oom_score_adj may weigh more than shown.")
    if not moment.freeable_exact:
        notes.append("What a kill frees is taken from rss, which includes file pages and shared memory.")
    return after, avoided


def _limited(moment: Moment, path: str, pages: int, notes: list[str]) -> tuple[Moment, str | None]:
    """*path* with a limit of *pages*: the OOM is there if its processes do not fit, and nowhere if they do."""
    members = tuple(task for task in moment.tasks if task.memcg and inside(task.memcg, path))
    used = _used(moment, path, members)
    name = mark(path, Name.CGROUP)
    if used <= pages:
        what = f"{name} holds {'' if path in moment.charged_pages else 'at least '}{_size(moment, used)}"
        if moment.oom_memcg == path:
            return moment, f"{what} and has room for {_size(moment, pages - used)} more"
        notes.append(f"{what}, less than its new limit: that changes nothing here.")
        return moment, None
    total = t_memcg(
        memcg_era(moment.release or NEWEST, moment.cgroup_version), pages, total_swap_pages=moment.swap_pages,
        page_size=moment.page_size,
    )  # fmt: skip
    return replace(
        moment, tasks=members, total=total, constraint="CONSTRAINT_MEMCG", oom_memcg=path, need_pages=used - pages,
        allocating_pid=None, kill_allocating=False,
    ), None  # fmt: skip


def _used(moment: Moment, path: str, members: Iterable[Candidate]) -> int:
    """What is charged to cgroup *path*; where that is not known, the least it can be by its processes and children."""
    if path in moment.charged_pages:
        return moment.charged_pages[path]
    below = (pages for child, pages in moment.charged_pages.items() if inside(child, path))
    return max(sum(held_pages(task) for task in _one_of_each_space(members)), *below, 0)


def _one_of_each_space(tasks: Iterable[Candidate]) -> list[Candidate]:
    """One process of each address space: those that share memory hold it once."""
    return list({task.space: task for task in tasks}.values())


def held_pages(task: Candidate) -> int:
    """Return what a process holds: resident and in swap."""
    return task.facts.rss_pages + (task.facts.swap_pages or 0)


def _size(moment: Moment, pages: int) -> str:
    return size_words(pages * moment.page_size)


def _name(task: Candidate) -> str:
    return f"{mark(task.comm)} (pid {task.pid})"


def chain(moment: Moment, more: int = MORE_KILLS) -> tuple[Death, ...]:
    """Kills until the demand is met, and the *more* after those."""
    tasks = {task.pid: task for task in moment.tasks}
    deaths: list[Death] = []
    freed, left = 0, more
    while tasks and len(deaths) < MAX_CHAIN:
        met = freed >= moment.need_pages
        if met and not left:
            break
        left -= met
        choice = select(tasks.values(), moment.rule, Scene(
            total_pages=moment.total.pages, page_size=moment.page_size, constraint=moment.constraint,
            oom_memcg=moment.oom_memcg, release=moment.release, oom_group=moment.oom_group,
            current_pid=moment.allocating_pid, oom_kill_allocating_task=moment.kill_allocating,
        ))  # fmt: skip
        if choice.outcome is not Outcome.KILLED:
            break
        gone: set[int] = set()
        for kill in choice.kills:
            task = tasks[kill.pid]
            frees = 0 if task.space in gone else moment.freeable_pages.get(kill.pid, held_pages(task))
            gone.add(task.space)
            freed += frees
            own = kill.pid == choice.chosen
            deaths.append(Death(
                kill.pid, task.comm, kill.role, choice.points.total if own and choice.points else None,
                task.facts.oom_score_adj or 0, held_pages(task), frees, freed, not met, moment.constraint,
                moment.oom_memcg,
            ))  # fmt: skip
        for kill in choice.kills:
            del tasks[kill.pid]
    return tuple(deaths)


def what_if_words(result: WhatIf) -> list[str]:
    """The difference in plain words."""
    moment, before, after = result.moment, result.before, result.after
    said = []
    if moment.died:
        names = [_name(task) for task in moment.tasks if task.pid in moment.died]
        if names:
            said.append(f"{' and '.join(names[:3])} died.")
    if not before:
        said.append("As it is, nobody can be killed.")
    elif not moment.died or before[0].pid not in moment.died:
        said.append(f"As it is, {_death(moment, before[0])} {'dies' if not moment.died else 'comes first'}.")
    if result.avoided:
        said.append(f"With the change nobody has to die now: {result.avoided}.")
        if after:
            said.append(f"Should memory run out all the same, {_death(moment, after[0])} dies.")
        return said
    if result.changes.nothing:
        pass
    elif not after:
        said.append("With the change nobody can be killed.")
    elif result.same:
        said.append(f"With the change it is {mark(after[0].name)} (pid {after[0].pid}) all the same.")
    else:
        where = f" at the limit of {mark(after[0].cgroup, Name.CGROUP)}" if after[0].cgroup != moment.oom_memcg else ""
        said.append(f"With the change {_death(moment, after[0])} dies{where}.")
    needed = [death for death in after if death.needed]
    if needed:
        enough = needed[-1].total_freed_pages >= result.changed.need_pages
        kills = "1 kill frees" if len(needed) == 1 else f"{len(needed)} kills free"
        said.append(
            f"{kills} {_size(moment, needed[-1].total_freed_pages)}; {_size(moment, result.changed.need_pages)} "
            + ("are needed." if enough else "are needed, and nobody else can be killed.")
        )
    following = next((death for death in after if not death.needed), None)
    if following is not None:
        said.append(f"Next would be {_death(moment, following)}.")
    return said


def _death(moment: Moment, death: Death) -> str:
    return f"{mark(death.name)} (pid {death.pid}, {_size(moment, death.held_pages)})"
