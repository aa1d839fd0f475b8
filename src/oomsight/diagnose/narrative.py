"""
The incident in plain words: headline and summary; the questions everybody asks are :mod:`oomsight.diagnose.questions`.

Written for somebody who was woken up: what died, where, why memory ran out, who held it, what to change first. What a
single report cannot prove is a question with what would settle it. Every name is marked, every number has a unit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight.diagnose.model import Confidence
from oomsight.diagnose.wording import (
    IN_NO_COUNTER,
    count,
    first_clause,
    holder,
    process,
    sentence,
    size,
)
from oomsight.naming.marked import Kind, mark
from oomsight.report.model import EventKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.diagnose.causes.case import Case
    from oomsight.diagnose.model import Cause
    from oomsight.report.model import OomReport

_UNKNOWN_PLACE: Final = "memory ran out"
_LEVELS: Final = {"container": "container", "pod": "pod", "unit": "unit", "slice": "slice", "session": "session"}


def place(case: Case, *, short: bool = False) -> str:
    """Return where memory ran out, in words: the machine, or whose limit; *short* when the owner was just named."""
    report = case.report
    if case.in_memcg:
        limit = f"memory limit of {size(case.base_kib)}" if isinstance(case.limit_kib, int) else "memory limit"
        both = report.memcg.memsw if report.memcg is not None and case.memsw_hit else None
        if both is not None and isinstance(both.limit_kib, int):
            limit = f"limit of {size(both.limit_kib)} for memory and swap together"
        if case.oom_owner is not None and case.owner is not None and short and case.owner.path == case.oom_owner.path:
            return f"that {_LEVELS.get(case.oom_owner.level, 'cgroup')} reached its {limit}"
        if case.oom_owner is not None and case.oom_owner.kind != "root":
            return f"{case.oom_name} reached its {limit}"
        return f"a cgroup reached its {limit}"
    if case.where is None:
        case.where = _machine_place(case)
    return case.where


def _machine_place(case: Case) -> str:
    report = case.report
    if case.movable_nodes_only:
        return "the NUMA nodes it may use have zone Movable only, which this request cannot use"
    if report.kind is EventKind.CPUSET or report.constraint == "CONSTRAINT_CPUSET":
        return "the NUMA nodes its cpuset allows were out of memory"
    if report.kind is EventKind.MEMPOLICY or report.constraint == "CONSTRAINT_MEMORY_POLICY":
        return "the NUMA nodes its memory policy allows were out of memory"
    if case.manual:
        return "somebody asked for it (SysRq-f)"
    if "page_fault_failed" in case.main_codes[:1]:
        return "a page fault failed, though memory was not short"
    unknown = not set(case.main_codes) - {"no_killable_process"}
    if case.is_oom and case.free_kib is not None and (case.only_part_short or (unknown and case.plenty_free)):
        return f"a request could not be met, although {case.of(case.free_kib)} was free"
    if case.managed_kib:
        swap = "" if case.swap_total_kib is None else " and no swap" if not case.swap_total_kib else ""
        swap = " and swap being turned off" if case.swap_leaving_kib else swap
        swap = swap or (f" and {size(case.swap_total_kib)} of swap" if case.swap_total_kib else "")
        return f"the machine ({size(case.managed_kib)} of RAM{swap}) was out of memory"
    return "the machine was out of memory" if case.global_shown else _UNKNOWN_PLACE


def headline(case: Case) -> str:
    """Return one line: what was killed, where, why."""
    report, victim = case.report, case.victim
    special = {
        EventKind.PANIC: "The kernel panicked instead of killing",
        EventKind.NO_KILLABLE: "The kernel was out of memory and found nobody to kill",
    }.get(report.kind)
    if special is None and victim is None:
        if report.skipped_exiting:
            special = "The chosen process was already exiting: the kernel killed nobody"
        elif report.kind is EventKind.SYSRQ:
            return (
                "SysRq-f asked for a kill; the kernel ignored it and killed nobody"
                if _ignored(case)
                else "SysRq-f asked for a kill; this text shows none"
            )
        elif report.selected is not None:
            chosen = process(report.selected.comm, report.selected.pid)
            special = f"{chosen} was chosen to be killed (its kill line is not in this text)"
        elif report.killed_unnamed:
            were = "was" if report.killed_unnamed == 1 else "were"
            special = f"{count(report.killed_unnamed, 'process')} {were} killed"
        elif report.reaped_only:
            pid, comm = report.reaped_only[0]
            special = f"{process(comm, pid)} was an OOM victim; its kill is not in this text"
        else:
            special = "The OOM killer ran; this text does not show whom it killed"
    if special is None and victim is not None:
        held = case.victim_held
        held = f", {held}" if held is not None else ""
        where = f" (pid {victim.pid}{held})" if victim.pid is not None else ""
        others = _other_victims(report)
        special = f"{mark(victim.comm) if victim.comm else 'A process'}{where}{_others(others)} was killed"
        if report.kind is EventKind.REAPER_ONLY and not case.in_memcg:
            return f"{special}; this text does not say why"
        if others > 0:
            special = special.replace(" was killed", " were killed")
    verdict = case.main_codes[0] if case.main_codes else None
    why = place(case)
    if why == _UNKNOWN_PLACE and victim is None:
        return special or ""
    if verdict in _VERDICTS and not case.in_memcg:
        why = f"{why}: {_VERDICTS[verdict]}"
    return f"{special}: {why}"


def _ignored(case: Case) -> bool:
    return any(note.code == "sysrq_ignored" for note in case.report.notes)


def _others(number: int) -> str:
    return f" and {count(number, 'other process')}" if number > 0 else ""


def _other_victims(report: OomReport) -> int:
    """How many died besides the first victim, those included that the log only counts."""
    return len(report.victims) - 1 + (report.killed_unnamed or 0)


_HALF_PCT: Final = 50.0

_VERDICTS: Final[dict[str | None, str]] = {
    "kernel_slab": "kernel objects hold it",
    "page_tables": "page tables hold it",
    "hugepages_reserved": "huge pages are set aside",
    "shmem_tmpfs": "tmpfs and shared memory hold it",
    "unaccounted_kernel_memory": "much of it is in no counter",
    "cma_reserved": "what it may use of that is set aside for CMA",
    "low_zone_exhausted": "the zones it may use were full",
    "fragmentation": "free, but in pieces too small",
    "gpu_memory": "GPU drivers hold it",
    "memory_balloon": "the hypervisor took it",
    "locked_memory": "much of it is locked",
}


def summary(case: Case, causes: Sequence[Cause]) -> str:
    """Return two to five plain sentences: what, where, why this one, who held the memory, what to do first."""
    parts = [*_what_happened(case), *_why_this_one(case), *_who_held_it(case)]
    first = _first_change(causes)
    if first:
        parts.append(first)
    return " ".join(parts)


def _what_happened(case: Case) -> list[str]:
    report, victim = case.report, case.victim
    host = f" on host {mark(report.when.host, Kind.HOST)}" if report.when.host else ""
    if victim is None:
        if report.kind is EventKind.PANIC:
            if case.manual:
                asked = f"Somebody asked the kernel{host} for an OOM kill (SysRq-f)"
                return [f"{asked}; it panicked instead, because it is set to (panic_on_oom)."]
            if "deadlocked" in (report.panic or ""):
                return [f"The kernel{host} ran out of memory and panicked, because it could free nothing."]
            why = place(case)
            return [f"The kernel{host} panicked instead of killing a process: {why}, and it is set to (panic_on_oom)."]
        if report.kind is EventKind.NO_KILLABLE:
            return [f"The kernel{host} needed memory and found no process it may kill: nothing was freed."]
        if report.skipped_exiting:
            pid, comm = report.skipped_exiting[0]
            return [f"The kernel{host} chose {process(comm, pid)}, which was already exiting, and so killed nobody."]
        if report.selected is not None:
            of = f" of {case.owner_name}" if case.owner_name else ""
            chosen = f"{process(report.selected.comm, report.selected.pid)}{of}"
            why = place(case, short=bool(of))
            return [f"The kernel{host} chose {chosen} to be killed, because {why}; its kill line is not in this text."]
        if _ignored(case):
            return [f"Somebody asked the kernel{host} for an OOM kill (SysRq-f); it ignored that and killed nobody."]
        if report.killed_unnamed:
            unnamed = count(report.killed_unnamed, "process")
            return [f"The kernel{host} killed {unnamed} that this text does not name, because {place(case)}."]
        if report.reaped_only:
            pid, comm = report.reaped_only[0]
            named = f"{process(comm, pid)} was a victim of the OOM killer{host}: its reaper names it."
            return [f"{named} The kill itself is not in this text."]
        return [f"The OOM killer ran{host}; whom it killed is not in this text."]
    foreign = f" ({size(case.elsewhere_kib)} or more charged elsewhere)" if case.elsewhere_kib else ""
    held = case.victim_held
    held = f", which held {held}{foreign}," if held is not None else ""
    others = _others(_other_victims(report))
    of = f" of {case.owner_name}" if case.owner_name else ""
    text = f"The kernel{host} killed {process(victim.comm, victim.pid)}{of}{held}{others}"
    if report.kind is EventKind.REAPER_ONLY and not case.in_memcg:
        return [f"{text.rstrip(',')}; why is not in this text."]
    if not others:
        text = text.rstrip(",") if not held else text
    return [f"{text} because {place(case, short=bool(of))}."]


def _why_this_one(case: Case) -> list[str]:
    report, selection = case.report, case.selection
    if case.victim is None:
        return []
    said = []
    if report.allocating_task_killed:
        said.append("It was killed because it asked for memory (vm.oom_kill_allocating_task), not for its size.")
    elif selection is not None and selection.why:
        said.append(sentence(selection.why))
    if report.group_memcg:
        own = case.owner_name if report.group_memcg == report.task_memcg else None
        group = own or f"cgroup {mark(report.group_memcg, Kind.CGROUP)}"
        said.append(f"memory.oom.group is set on {group}: whatever may be killed in it died with it.")
    return said


def _who_held_it(case: Case) -> list[str]:
    culprit = case.culprit
    if culprit is None:
        return []
    held = case.held(culprit)
    if culprit.kind == "kernel" and holder(culprit) == IN_NO_COUNTER:
        part = "Most" if (culprit.share_pct or 0) > _HALF_PCT else "The biggest part"
        return [f"{part} of the memory, {held}, is in no counter of this report."]
    if culprit.kind in ("kernel", "shared"):
        more = "More than any process held: " if case.report.tasks else "Most memory was held by "
        waiting = case.items.get("dirty", 0) + case.items.get("writeback", 0)
        stuck = culprit.name == "page cache of files" and 2 * waiting > culprit.kib
        return [f"{more}{holder(culprit)}, {held}{f', of it {size(waiting)} not yet written to disk' * stuck}."]
    if culprit.is_victim:
        if culprit.kind != "process":
            return [f"It is one of {holder(culprit)}, which held {held} together."]
        told = case.selection is not None and bool(case.selection.why)  # the ranking has just said so
        return [] if told else [f"It was also the biggest user of memory: {held}."]
    if case.base_kib is None and case.report.tasks:  # who is not in the text may have held more
        listed = count(len(case.report.tasks), "process")
        return [f"Of the {listed} listed, {holder(culprit)} held the most: {held}."]
    but = "Most memory was held by" if case.victim is None else "But the memory was really held by"
    return [f"{but} {holder(culprit)}: {held}."]


def _first_change(causes: Sequence[Cause]) -> str | None:
    for cause in causes:
        if cause.confidence is Confidence.POSSIBLE or not cause.advice:
            continue
        text = first_clause(cause.advice[0].text)
        return sentence(text if cause.code == "partial_report" else f"first thing to change: {text}")
    return None
