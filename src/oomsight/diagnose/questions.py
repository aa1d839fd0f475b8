"""
The three questions everybody asks: what used too much memory, why did it grow, why did nothing stop it earlier.

What a single report cannot prove is a question with what would settle it. Every name is marked, every number has a
unit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight.diagnose.model import Answers, Confidence
from oomsight.diagnose.wording import (
    IN_NO_COUNTER,
    asked_in,
    count,
    holder,
    listing,
    missing,
    percent,
    process,
    sentence,
    size,
)
from oomsight.naming.cgroup_path import relation
from oomsight.report.model import UNLIMITED, EventKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.diagnose.causes.case import Case
    from oomsight.diagnose.model import Cause, Consumer, GfpWords

FRAMES: Final[dict[str, str]] = {
    "shmem_write_begin": "writing a file in tmpfs or /dev/shm",
    "shmem_file_write_iter": "writing a file in tmpfs or /dev/shm",
    "shmem_fallocate": "reserving a file in tmpfs or /dev/shm",
    "shmem_fault": "touching shared memory",
    "do_anonymous_page": "touching new private memory",
    "wp_page_copy": "writing to memory shared since a fork (copy on write)",
    "do_cow_fault": "writing to a private file mapping",
    "try_to_unuse": "turning swap off (swapoff), which brings back into RAM what is in it",
    "do_swap_page": "bringing a page back from swap",
    "filemap_fault": "reading a mapped file (code or data)",
    "page_cache_ra_unbounded": "reading a file",
    "__do_page_cache_readahead": "reading a file",
    "generic_perform_write": "writing a file",
    "copy_process": "starting a process or thread",
    "copy_page_range": "copying page tables for a fork",
    "alloc_skb_with_frags": "sending on a socket",
    "sock_alloc_send_pskb": "sending on a socket",
    "__vmalloc_node_range_noprof": "making a large kernel allocation (vmalloc)",
    "__vmalloc_node_range": "making a large kernel allocation (vmalloc)",
    "hugetlb_fault": "touching huge pages",
    "pipe_write": "writing to a pipe",
    "getname_flags": "opening a file",
    "seq_read_iter": "reading a /proc file",
    "mem_cgroup_resize_max": "lowering the cgroup's limit",
    "memory_max_write": "lowering the cgroup's limit",
}
"""Function in the trigger's stack (innermost first) -> what it was doing. Names: mm/, net/, fs/ of 3.10 to 6.18."""

_OTHER_ITEMS: Final = (
    ("shmem", "shared memory and tmpfs"),
    ("file", "page cache"),
    ("slab_unreclaimable", "kernel objects (slab)"),
    ("slab_reclaimable", "reclaimable kernel objects"),
    ("kernel", "kernel memory"),
    ("pagetables", "page tables"),
    ("hugepages", "huge pages"),
    ("gpu_active", "memory of GPU drivers"),
    ("unevictable", "locked memory"),
    ("unaccounted", "memory in no counter"),
)
ITEM_WORTH: Final = 0.05
"""Items below this share are not named in the summary."""


def answers(case: Case, causes: Sequence[Cause], gfp: GfpWords | None = None) -> Answers:
    """Return the three questions answered as far as this text goes."""
    return Answers(_what_used_too_much(case), _why_it_grew(case, causes, gfp), _why_nothing_stopped_it(case))


def _what_used_too_much(case: Case) -> list[str]:
    said = []
    report, culprit = case.report, case.culprit
    if case.nodes_unknown:
        said.append("What the allowed NUMA nodes held is not in this text; its numbers are those of the whole machine.")
    if culprit is not None:
        if holder(culprit) == IN_NO_COUNTER:
            said.append(f"{case.held(culprit)} is in no counter of this report.")
        else:
            most = ", the most of those listed" if case.base_kib is None and report.tasks else ""
            which = _which(case, culprit)
            comma = "," if most and which.startswith(" ") else ""
            said.append(f"{_capital(holder(culprit))} held {case.held(culprit)}{most}{comma}{which}.")
    if case.elsewhere_kib and case.victim is not None:
        said.append(
            f"{size(case.elsewhere_kib)} of that at least is not charged to this cgroup: memory stays charged where it "
            "was first used, so it was taken before the process was moved here, or is shared with its parent since a "
            "fork."
        )
    if case.anon_kib is not None and case.base_kib:
        others = []
        for key, words in _OTHER_ITEMS:
            kib = case.items.get(key, 0)
            if kib >= ITEM_WORTH * case.base_kib and (case.counted or key != "unaccounted"):
                others.append(f"{size(kib)} {words}")
        rest = f"; besides {listing(others)}" if others else ""
        of = "On the whole machine, of" if case.bound_to_nodes and not case.in_memcg else "Of"
        said.append(
            f"{of} {size(_total(case))} {'charged to the cgroup' if case.in_memcg else 'of RAM'}, "
            f"{size(case.anon_kib)} ({percent(case.anon_kib, _total(case) or 1)}) was private memory of "
            f"processes{rest}."
        )
    elif case.in_memcg and case.usage_kib is not None:
        said.append(f"The cgroup held {size(case.usage_kib)}; what it consisted of is not in this text.")
    if not said and case.victim is not None and case.victim_kib is not None:
        said.append(
            f"Only the victim's size is known: {process(case.victim.comm, case.victim.pid)} held "
            f"{size(case.victim_kib)}; "
            "who else used memory is not in this text."
        )
        shared = case.victim.shmem_rss_kib or 0
        if 2 * shared > case.victim_kib:
            said.append(
                f"{size(shared)} of that is shared memory, such as a database's buffers: it is freed only when the "
                "last process that maps it is gone and its file or segment removed, and killing one does not bound it."
            )
    if not said:
        said.append(f"This text does not say: {missing(report)}.")
    return said


def _total(case: Case) -> int | None:
    return case.usage_kib if case.in_memcg and case.usage_kib else case.base_kib


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _which(case: Case, culprit: Consumer) -> str:
    if culprit.kind in ("kernel", "shared") or case.victim is None:
        return ""
    if not culprit.is_victim:
        return "; not killed"
    return " and is the process that was killed" if culprit.kind == "process" else "; the victim is one of them"


def _doing(frames: Sequence[str]) -> str | None:
    """What the trigger was doing, by the stack; ``None`` = none of :data:`FRAMES` is in it."""
    for frame in frames:
        name = frame.partition(".")[0]
        if name in FRAMES:
            return FRAMES[name]
    return None


def _why_it_grew(case: Case, causes: Sequence[Cause], gfp: GfpWords | None) -> list[str]:
    said = []
    trigger = case.report.trigger
    if trigger is not None and not case.manual:
        doing = _doing(trigger.frames)
        # In a cgroup the mask is that of the charge, not of what the page is for.
        asked = (
            "needed one more page charged to the cgroup"
            if case.in_memcg
            else f"asked for {gfp.words}"
            if gfp is not None
            else "asked for memory"
        )
        inside = asked_in(case.report)
        by = process(trigger.comm, trigger.pid) + (f" of {inside}" if inside else "")
        said.append(
            f"The request that could not be met came from {by}: it {asked}{f', while {doing}' if doing else ''}. "
            "Asking last does not make it the one that used too much."
        )
    elif case.manual:
        return ["Nothing needs to have grown: the kill was asked for by SysRq-f."]
    asked_for = [cause for cause in causes if cause.confidence is Confidence.POSSIBLE and cause.settles]
    said += [
        f"{cause.title.rstrip('?')}? One report is one moment. What would settle it: {cause.settles}."
        for cause in asked_for[:3]
    ]
    if not asked_for:
        said.append(
            "One report is one moment: it shows how much, not since when. Recorded samples from before the kill, or "
            "earlier reports of the same program, would show whether it grew slowly or at once."
        )
    return said


def _why_nothing_stopped_it(case: Case) -> list[str]:
    if case.manual:
        return ["A kill asked for by hand waits for nothing."]
    just_before = next((n.text for n in case.report.notes if n.code == "kill_just_before"), None)
    if just_before is not None and case.plenty_free and not case.in_memcg:
        return [
            f"{just_before}, and {case.of(case.free_kib or 0)} was free when the report was printed: that memory "
            "came back while this kill was already under way, and one kill may have been enough."
        ]
    said = _limits_said(case) + _swap_said(case)
    # What page cache some nodes had left is not what the machine had.
    if case.file_kib is not None and case.base_kib and not (case.bound_to_nodes and not case.in_memcg):
        if case.exceeds(case.file_kib, ITEM_WORTH * 2):
            said.append(f"{case.of(case.file_kib)} of page cache was left and not given back in time.")
        else:
            left = f"{case.of(case.file_kib)} was left" if case.file_kib else "none was left"
            said.append(f"Page cache was given back first: {left}.")
    big, victim = case.biggest, case.victim
    if (
        big is not None
        and big.oom_score_adj is not None
        and big.oom_score_adj < 0
        and case.exceeds(case.biggest_kib, 0.1)
    ):
        said.append(
            f"The biggest process, {process(big.comm, big.pid)}, was protected by oom_score_adj {big.oom_score_adj}."
        )
    if victim is not None and any(v.reaped is False for v in case.report.victims):
        said.append("The victim's memory could not be taken back, so its death did not help at once.")
    said.append(
        "This report shows no userspace killer (systemd-oomd, earlyoom, nohang) acting first; whether one "
        "is installed is not in the text: `systemctl is-active systemd-oomd earlyoom nohang` would say."
    )
    return said


def _limits_said(case: Case) -> list[str]:
    report, memcg = case.report, case.report.memcg
    if not case.in_memcg:
        if report.kind is EventKind.REAPER_ONLY or (report.constraint is None and not case.global_shown):
            return ["Whether a limit was involved is not in this text."]
        if "page_fault_failed" in case.main_codes[:1]:
            kmem = "whether a limit on kernel memory refused the page is not printed in a report"
            return [f"The machine's memory had not come to its end; {kmem}."]
        if case.movable_nodes_only:
            return ["No limit on memory acted: the set of allowed nodes left this request no zone it may use."]
        what = "the machine's memory"
        if case.bound_to_nodes:
            what = "the memory of the allowed nodes"
        elif case.only_part_short:
            what = "the memory that this request may use"
        return [f"No cgroup limit acted first: {what} came to its end before any limit that may be set."]
    said = []
    line = memcg.memory if memcg else None
    if report.oom_memcg and report.task_memcg and report.oom_memcg != report.task_memcg:
        said.append(sentence(relation(report.oom_memcg, report.task_memcg)))
    if line is not None and line.failcnt and line.limit_kib != UNLIMITED:
        said.append(
            f"The limit did what it is for: memory was refused {count(line.failcnt, 'time')} there, until "
            "reclaim found "
            "nothing more to give back."
        )
    if case.is_beancounter:
        return [*said, "physpages, the limit of an OpenVZ container, has nothing that slows growth down before it is "
                       "reached; pages go to the container's swap (swappages) first, where it has any."]  # fmt: skip
    said.append(
        "This is a cgroup of version 1: it has nothing that slows growth down before the limit (memory.high of version "
        "2 does), so the first sign is the kill. Its soft limit acts only when the whole machine is short of memory."
        if case.is_v1
        else "Whether memory.high was set below the limit, to slow growth down before the kill, is not printed in a "
        "report: `memory.high` and the `high` and `max` counters of `memory.events` would say."
    )
    return said


def _swap_said(case: Case) -> list[str]:
    memcg = case.report.memcg
    if case.in_memcg:
        if memcg is not None and memcg.swap is not None:
            if memcg.swap.limit_kib == 0:
                return ["The cgroup is not allowed to swap (swap limit 0)."]
            used, limit = memcg.swap.usage_kib, memcg.swap.limit_kib
            if isinstance(limit, int):
                return [f"The cgroup may use {size(limit)} of swap and used {size(used)} of it."]
            if used:
                return [f"The cgroup may swap without a limit and had {size(used)} in swap."]
            return [
                "The cgroup may swap without a limit, but nothing was swapped: the machine has no swap, none was "
                "free, or "
                "swappiness is 0."
            ]
        return []
    if case.swap_total_kib is None:
        return []
    if case.swap_leaving_kib:
        return [f"Swap was being turned off (swapoff): {size(case.swap_leaving_kib)} had still to come back into RAM."]
    if not case.swap_total_kib:
        return ["There is no swap, so private memory could not be moved out of RAM."]
    free = case.swap_free_kib
    state = "how much of it was free is not in the text"
    if free is not None:
        state = f"{size(free)} of it was free" if free else "all of it was in use"
    return [f"There is {size(case.swap_total_kib)} of swap; {state}."]
