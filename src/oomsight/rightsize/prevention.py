"""
A recorded kill, played again with the advice followed: which of the audit's rules would have prevented it.

Each row of :data:`CURES` reads off the incident what its rule would have asked for (numbers filled in) and changes the
moment of the kill accordingly; the kernel's rules then say who dies, if anybody (:mod:`oomsight.simulate.whatif`).
What a moment cannot show is said: a limit or swap that only buys time prevents nothing that goes on growing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from oomsight._sizes import GIB, size_words
from oomsight.diagnose.model import Confidence
from oomsight.naming.marked import Kind, mark
from oomsight.rightsize.policy import KILLED_FACTOR, round_up
from oomsight.rightsize.words import systemd_size
from oomsight.simulate.whatif import Changes, held_pages, what_if

if TYPE_CHECKING:
    from oomsight.diagnose.model import Incident
    from oomsight.simulate.whatif import Moment, WhatIf

Outcome = Literal["prevented", "delayed", "other_victim", "no_difference"]

OWN_LIMIT: Final = "/limit-of-its-own"  #: cgroup made up for a process that had no limit of its own
SWAP_SHARE: Final = 0.25  #: of RAM: the swap asked for where there is none, at least 1 GiB, at most 8 GiB
PROTECTED_ADJ: Final = -500  #: at or below, half of T or more is taken off: the next one dies instead


class Trial(NamedTuple):
    """The setting a rule would have asked for, and the moment with it."""

    setting: str  #: marked; what would have been set
    moment: Moment
    changes: Changes
    frees_pages: int = 0  #: given back to the machine besides, before anybody is asked to die
    command: str | None = None  #: what sets it
    bounds_growth: bool = False  #: what grew could not have gone on growing with it
    instead_of: str | None = None  #: what happened was no kill: who lives instead of a process, in words


class Cure(NamedTuple):
    """One rule of the audit, and how following it looks at the moment of a kill."""

    rule: str  #: id of the audit's rule; ``rightsize``: a limit is nothing a rule can judge without measurements
    title: str
    trials: Callable[[Incident, Moment], Iterator[Trial]]


class Prevention(NamedTuple):
    """What following one rule would have changed."""

    rule: str
    title: str
    setting: str  #: marked
    outcome: Outcome
    words: str  #: marked
    command: str | None


def preventions(incident: Incident, moment: Moment) -> list[Prevention]:
    """Return what each rule that applies would have changed, the most helpful first; nothing for a kill asked for."""
    if incident.report.sysrq:
        return []
    found = [
        _judged(incident, cure, trial) for cure in CURES for trial in cure.trials(incident, moment)
    ]
    order = ("prevented", "delayed", "other_victim", "no_difference")
    return sorted(found, key=lambda one: order.index(one.outcome))


def _judged(incident: Incident, cure: Cure, trial: Trial) -> Prevention:
    page = trial.moment.page_size
    if trial.frees_pages:
        enough = trial.frees_pages >= trial.moment.need_pages
        words = f"{size_words(trial.frees_pages * page)} more would have been free"
        grows = _grows(incident) and not trial.bounds_growth
        if enough and not trial.bounds_growth:
            words += _caveat(incident)
        outcome: Outcome = ("delayed" if grows else "prevented") if enough else "no_difference"
        return Prevention(cure.rule, cure.title, trial.setting, outcome, words, trial.command)
    result = what_if(trial.moment, trial.changes, more=0)
    outcome, words = _outcome(incident, result, trial.instead_of)
    return Prevention(cure.rule, cure.title, trial.setting, outcome, words, trial.command)


def _outcome(incident: Incident, result: WhatIf, instead_of: str | None) -> tuple[Outcome, str]:
    if result.avoided is not None:
        if _grows(incident):
            return "delayed", f"not then: {result.avoided}{_caveat(incident)}"
        return "prevented", f"nobody would have died then: {result.avoided}{_caveat(incident)}"
    died = {task.pid: task.comm for task in result.moment.tasks if task.pid in result.moment.died}
    if not result.after:
        immune = result.changed.tasks[0] if len(result.changed.tasks) == 1 else None
        who = f"{mark(immune.comm)} (pid {immune.pid})" if immune is not None else "its processes"
        words = f"{who} cannot be killed: inside the limit it would be refused memory, alone; the others live"
        return "prevented", words
    first = result.after[0]
    others = [name for pid, name in died.items() if pid not in {death.pid for death in result.after}]
    if first.pid in died and others:
        count = "the other one lives" if len(others) == 1 else f"the other {len(others)} live"
        return "other_victim", f"only {mark(first.name)} (pid {first.pid}) would have died; {count}"
    if first.pid in died:
        inside = ", but at its own limit: the host would not have run out" if first.cgroup == OWN_LIMIT else ""
        return "no_difference", f"{mark(first.name)} (pid {first.pid}) would have died all the same{inside}"
    spared = " and ".join(f"{mark(comm)} (pid {pid})" for pid, comm in list(died.items())[:2]) or instead_of or (
        "the host" if incident.report.panic else "everybody else"
    )  # fmt: skip
    frees = size_words(first.freed_pages * result.moment.page_size)
    where = "inside its own limit" if first.cgroup == OWN_LIMIT else "instead"
    name = f"{mark(first.name)} (pid {first.pid}, frees {frees})"
    return "other_victim", f"{name} would have died {where}; {spared} lives"


def _grows(incident: Incident) -> bool:
    """Whether growth is more than a question: recorded history or repeated reports say so, or it is a bomb."""
    codes = {c.code for c in incident.causes if c.confidence is not Confidence.POSSIBLE}
    return "leak_suspected" in codes or _bomb(incident)


def _bomb(incident: Incident) -> bool:
    """Whether it looks like one at all: it never has enough."""
    return any(cause.code == "thread_or_fork_bomb" for cause in incident.causes)


def _caveat(incident: Incident) -> str:
    """What one moment cannot know."""
    if _grows(incident):
        return "; but it grew, so the kill would have come later"
    possible = any(cause.code == "leak_suspected" for cause in incident.causes)
    return "; if it leaks, which one report cannot tell, only later" if possible else ""


_SWAP_IS_NO_CURE: Final = frozenset({"low_zone_exhausted", "fragmentation", "kernel_slab", "unaccounted_kernel_memory"})
"""Causes whose memory cannot be swapped out, or whose request swapping does not serve."""


# -- what each rule would have asked for ------------------------------------------------------------------------------


def _limit_above_demand(incident: Incident, moment: Moment) -> Iterator[Trial]:
    """A limit that fits what was asked for at the kill."""
    memcg, path = incident.report.memcg, incident.report.oom_memcg
    if memcg is None or memcg.memory is None or path is None:
        return
    swap = memcg.swap.usage_kib if memcg.swap is not None else 0
    used = (memcg.memory.usage_kib + swap) * 1024
    size = round_up(used * KILLED_FACTOR)
    unit = incident.oom_owner.leaf.unit if incident.oom_owner is not None else None
    yield Trial(
        f"a limit of {size_words(size)} for {mark(path, Kind.CGROUP)}: what was in use and a quarter more", moment,
        Changes(), frees_pages=(size - used) // moment.page_size,  # by what is charged, as the kernel counts it
        command=f"systemctl set-property {unit} MemoryMax={systemd_size(size)}" if unit and _plain(unit) else None,
    )  # fmt: skip


def _swap(incident: Incident, moment: Moment) -> Iterator[Trial]:
    """Swap where there is none."""
    info = incident.report.meminfo
    if moment.oom_memcg != "/" or info is None or info.total_swap_kib != 0 or not info.counts.get("ram"):
        return
    if incident.causes and any(cause.code in _SWAP_IS_NO_CURE for cause in incident.causes[:2]):
        return
    ram = info.counts["ram"] * moment.page_size
    size = round_up(min(max(ram * SWAP_SHARE, GIB), 8 * GIB))
    yield Trial(
        f"{size_words(size)} of swap", moment, Changes(add_swap_bytes=size),
        command=f"fallocate -l {systemd_size(size)} /swapfile && chmod 600 /swapfile && mkswap /swapfile"
        " && swapon /swapfile",
    )  # fmt: skip


def _limit_of_the_culprit(incident: Incident, moment: Moment) -> Iterator[Trial]:
    """A limit for whoever held the memory of a host that ran out: it dies inside it, not a bystander."""
    culprit = incident.culprit
    if moment.oom_memcg != "/" or culprit is None or culprit.kind not in {"process", "name"} or not culprit.pids:
        return
    own = set(culprit.pids)
    held = {task.space: held_pages(task) for task in moment.tasks if task.pid in own}
    pages = sum(held.values())
    if not pages:
        return
    size = round_up(pages * moment.page_size * 0.8)
    limited = replace(
        moment, tasks=tuple(t._replace(memcg=OWN_LIMIT) if t.pid in own else t for t in moment.tasks)
    )
    yield Trial(
        f"a limit of {size_words(size)} for {mark(culprit.name)}, which held {size_words(pages * moment.page_size)}",
        limited, Changes(limits=((OWN_LIMIT, size),)),
        command=f"systemd-run -p MemoryMax={systemd_size(size)} …, or MemoryMax= in its unit",
    )  # fmt: skip


def _unprotected(_incident: Incident, moment: Moment) -> Iterator[Trial]:
    """oomsight's rule: nobody big is protected at the cost of bystanders."""
    dead = {task.pid for task in moment.tasks if task.pid in moment.died}
    largest = max((held_pages(task) for task in moment.tasks if task.pid in dead), default=0)
    for task in sorted(moment.tasks, key=lambda task: -held_pages(task))[:3]:
        adj = task.facts.oom_score_adj or 0
        if adj <= PROTECTED_ADJ and held_pages(task) > largest and task.pid not in dead:
            yield Trial(
                f"oom_score_adj 0 instead of {adj} for {mark(task.comm)} (pid {task.pid})", moment,
                Changes(adj=((str(task.pid), 0),)), command="OOMScoreAdjust=0 in its unit",
            )  # fmt: skip


def _no_allocating_task(_incident: Incident, moment: Moment) -> Iterator[Trial]:
    if moment.kill_allocating:
        yield Trial("vm.oom_kill_allocating_task = 0", replace(moment, kill_allocating=False), Changes(),
                    command="sysctl -w vm.oom_kill_allocating_task=0")  # fmt: skip


def _huge_pages(incident: Incident, moment: Moment) -> Iterator[Trial]:
    info = incident.report.meminfo
    if moment.oom_memcg != "/" or info is None:
        return
    free_kib = sum(row.free * row.size_kib for row in info.hugepages)
    if free_kib:
        yield Trial(
            f"no more huge pages than are in use ({size_words(free_kib * 1024)} were set aside and unused)", moment,
            Changes(), frees_pages=free_kib * 1024 // moment.page_size,
            command="sysctl -w vm.nr_hugepages=N, N = HugePages_Total - HugePages_Free",
        )  # fmt: skip


def _tmpfs(incident: Incident, moment: Moment) -> Iterator[Trial]:
    if not any(cause.code == "shmem_tmpfs" for cause in incident.causes):
        return
    info = incident.report.meminfo
    ram = info.counts.get("ram", 0) if info is not None else 0
    shmem = info.pages.get("shmem", 0) if info is not None else 0
    allowed = ram // 10
    if moment.oom_memcg == "/" and shmem > allowed > 0:
        allowed_bytes, held = allowed * moment.page_size, size_words(shmem * moment.page_size)
        yield Trial(
            f"tmpfs mounts limited to a tenth of RAM ({size_words(allowed_bytes)}; they held {held})", moment,
            Changes(), frees_pages=shmem - allowed, command=f"mount -o remount,size={allowed_bytes >> 20}M /tmp",
        )  # fmt: skip


def _no_panic(incident: Incident, moment: Moment) -> Iterator[Trial]:
    if incident.report.panic and any(cause.code == "panic_on_oom" for cause in incident.causes):
        yield Trial("vm.panic_on_oom = 0", moment, Changes(), command="sysctl -w vm.panic_on_oom=0",
                    instead_of="the host")  # fmt: skip


def _fewer_tasks(incident: Incident, moment: Moment) -> Iterator[Trial]:
    """A limit of tasks that leaves a third of the memory free: what is refused is fork(), not memory."""
    if not _bomb(incident):
        return
    names: dict[str, int] = {}
    for task in moment.tasks:
        names[task.comm] = names.get(task.comm, 0) + 1
    name, count = max(names.items(), key=lambda row: row[1])
    keep = max(count * 2 // 3, 1)
    pages = sum({task.space: held_pages(task) for task in moment.tasks if task.comm == name}.values())
    if incident.report.memcg is not None and incident.report.memcg.memory is not None:
        # Forked processes share pages: together they hold no more than is charged.
        pages = min(pages, incident.report.memcg.memory.usage_kib * 1024 // moment.page_size)
    if count > 2 and pages:
        yield Trial(
            f"TasksMax={keep} where {count} of {mark(name)} ran", moment, Changes(),
            frees_pages=pages * (count - keep) // count,
            command=f"systemctl set-property user-.slice TasksMax={keep}, or TasksMax= in its unit", bounds_growth=True,
        )  # fmt: skip


def _one_at_a_time(incident: Incident, moment: Moment) -> Iterator[Trial]:
    if incident.report.group_memcg is not None and len(moment.died) > 1:
        yield Trial("memory.oom.group = 0", replace(moment, oom_group=frozenset()), Changes(),
                    command="singleProcessOOMKill: true for the kubelet, OOMPolicy=continue in a unit")  # fmt: skip


def _plain(name: str) -> bool:
    return all(char.isalnum() or char in "@._:-" for char in name)


CURES: Final[tuple[Cure, ...]] = (
    Cure("rightsize", "the limit fits the need", _limit_above_demand),
    Cure("OS101", "the host has swap", _swap),
    Cure("OS124", "whoever can take the host has a limit", _limit_of_the_culprit),
    Cure("OS123", "nobody big is protected from the OOM killer", _unprotected),
    Cure("OS110", "the kernel chooses the victim, not chance", _no_allocating_task),
    Cure("OS113", "no unused huge pages are set aside", _huge_pages),
    Cure("OS115", "tmpfs cannot fill the memory", _tmpfs),
    Cure("OS109", "an OOM ends a process, not the host", _no_panic),
    Cure("OS117", "the number of tasks is bounded", _fewer_tasks),
    Cure("OS413", "one process is killed, not all of its cgroup", _one_at_a_time),
)
"""Every rule that a moment can be asked about."""
