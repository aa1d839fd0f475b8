"""Causes of an OOM of the machine itself: RAM, swap, and page cache that could not be given up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight.diagnose.advice import add_swap, cap, sysctl
from oomsight.diagnose.causes.case import ORDERLESS, Case
from oomsight.diagnose.causes.limits import memcg_swap_closed, memcg_swap_used_up
from oomsight.diagnose.causes.rule import Finding
from oomsight.diagnose.model import Advice, Confidence, Evidence
from oomsight.diagnose.platforms import platform_of
from oomsight.diagnose.runtimes import tune
from oomsight.diagnose.wording import count, holder, size
from oomsight.report.model import EventKind

if TYPE_CHECKING:
    from oomsight.diagnose.model import Consumer
    from oomsight.naming.cgroup_path import Owner

FILE_SMALL: Final = 0.10
"""Page cache below this share of RAM is what reclaim cannot take anyway (mapped code, pages in use)."""
FREE_LEFT: Final = 0.15
"""Free memory above this share of RAM is not exhaustion: the kernel keeps free only about the min watermark (0.4 % of
a big machine, a few percent of a small one) plus reserves of low zones."""
ANON_LARGE: Final = 0.30
"""Swap could have helped when at least this share of RAM is memory that only swap can free."""
SWAP_GONE: Final = 0.01
SWAP_NEARLY_GONE: Final = 0.05
"""Swap free below these shares is used up: the last slots are fragmented, per CPU or reserved for the swap cache."""
SWAP_LEFT: Final = 0.10
"""Swap free above this share was there and did not help."""
DIRTY_LARGE: Final = 0.10
"""Dirty pages above this share: vm.dirty_background_ratio defaults to 10 %, writers are throttled from 20 %."""
MEMCG_CACHE_LARGE: Final = 0.25
"""In a cgroup a quarter of the limit is the point where cache, not heap, decides."""
_GLOBAL_KINDS: Final = (EventKind.GLOBAL, EventKind.PANIC, EventKind.NO_KILLABLE, EventKind.REAPER_ONLY)


def swappable_kib(case: Case) -> int | None:
    """Return what only swap could free: anonymous and shared memory."""
    if case.anon_kib is None and case.shmem_kib is None:
        return None
    return (case.anon_kib or 0) + (case.shmem_kib or 0)


def host_exhausted(case: Case) -> Finding | None:
    """RAM is used up: little free, little cache to give back, swap gone or absent."""
    report = case.report
    if case.manual or case.in_memcg or case.bound_to_nodes or report.kind not in _GLOBAL_KINDS:
        return None
    if case.managed_kib is None or case.free_kib is None or not case.counted:
        if not report.victims or report.kind is not EventKind.GLOBAL or not case.global_shown:
            return None
        return Finding(
            Confidence.LIKELY,
            [case.at("the kill is a global one: no cgroup limit was involved", "oom_kill", "kill")],
        )
    free_share = case.free_kib / case.managed_kib
    swap_left = bool(case.swap_total_kib and (case.swap_free_kib or 0) >= SWAP_LEFT * case.swap_total_kib)
    if free_share > FREE_LEFT or case.exceeds(case.file_kib, FILE_SMALL) or case.order not in ORDERLESS:
        return None
    evidence = [case.at(f"{size(case.free_kib)} of {size(case.managed_kib)} RAM free")]
    if case.file_kib is not None:
        evidence.append(case.at(f"{size(case.file_kib)} of page cache left to give back"))
    if case.swap_total_kib is not None and case.swap_free_kib is not None:
        swap = (
            f"swap: {size(case.swap_free_kib)} free of {size(case.swap_total_kib)}"
            if case.swap_total_kib
            else "no swap"
        )
        evidence.append(case.at(swap, "swap", "meminfo"))
    failed = [z for z in case.zone_checks if z.eligible]
    if failed and not any(z.passes for z in failed):
        every = {1: "the only zone", 2: "both zones"}.get(len(failed), f"all {len(failed)} zones")
        below = "is below its watermark" if len(failed) == 1 else "are below their watermarks"
        evidence.append(case.at(f"{every} the request could use {below}"))
    return Finding(
        Confidence.LIKELY if swap_left or not failed or any(z.passes for z in failed) else Confidence.CERTAIN,
        evidence,
        _room_advice(case),
        main=True,
    )


def page_fault(case: Case) -> Finding | None:
    """A page fault ended in "out of memory" (mask 0) while memory was there: the allocator itself had not given up."""
    trigger = case.report.trigger
    if trigger is None or trigger.gfp_mask != 0 or trigger.order != 0 or case.in_memcg or case.bound_to_nodes:
        return None
    room = [check for check in case.zone_checks if check.eligible and check.passes]
    cache = case.file_kib is not None and case.file_kib > (case.anon_kib or 0) + (case.shmem_kib or 0)
    if not room and not cache:
        return None
    asked = "gfp_mask 0: no allocation asked for this kill, a page fault that failed did (up to 5.15)"
    evidence = [case.at(asked, "head")]
    if room:
        above = "its watermark" if len(room) == 1 else "their watermarks"
        evidence.append(case.at(f"{count(len(room), 'zone')} had free memory above {above}"))
    if cache:
        evidence.append(case.at(f"{case.of(case.file_kib or 0)} of page cache could still be given back"))
    return Finding(
        Confidence.LIKELY,
        evidence,
        [
            Advice(
                "look for a limit on kernel memory of a cgroup (v1: memory.kmem.limit_in_bytes, docker run "
                "--kernel-memory) and remove it: an allocation refused there makes the page fault fail, and the kernel "
                "then kills as if the machine were full. Lines 'SLUB: Unable to allocate memory' just before name the "
                "cgroup in brackets behind the cache",
                ("sh", "-c", "grep -H . /sys/fs/cgroup/memory/*/memory.kmem.limit_in_bytes"),
            ),
            Advice("else a driver's or file system's fault handler ran out: the stack of the report names it"),
        ],
        main=True,
    )


def _room_advice(case: Case) -> list[Advice]:
    """What makes room on a full machine: bound the biggest holder, or add memory."""
    advice: list[Advice] = []
    culprit = case.culprit
    if culprit is not None and culprit.kind in ("process", "name", "cgroup", "user"):
        owner = case.owner if culprit.is_victim else None  # only the victim's cgroup is in a report
        advice += bound(case, culprit, owner)
        if culprit.kind in ("process", "name"):
            # What is set inside must fit into the limit just advised, not into all of RAM.
            advice += tune(culprit.name.rstrip("*"), case.room_kib(culprit), culprit.kib // max(culprit.count, 1))
    platform = platform_of(case.report)
    if platform is not None and platform.room is not None:
        advice.append(Advice(platform.room))
    advice.append(
        Advice(
            "if all of this is needed at once, the machine needs more memory, or less on it: a report cannot show the "
            "peak that was not reached"
        )
    )
    return advice


def bound(case: Case, culprit: Consumer, owner: Owner | None = None) -> list[Advice]:
    """How to bound whoever filled the machine; *owner* of its cgroup where that is known."""
    steps = cap(owner, culprit.kib, case.managed_kib or 0, release=case.release)
    steps[0].text = f"bound {holder(culprit)}, which held {size(culprit.kib)}: {steps[0].text}"
    return steps


def no_swap(case: Case) -> Finding | None:
    """The machine has no swap while most of RAM is memory that only swap can free."""
    held = swappable_kib(case)
    if case.manual or case.in_memcg or case.swap_total_kib != 0 or not case.exceeds(held, ANON_LARGE):
        return None
    if case.swap_leaving_kib:
        return None
    kubernetes = bool(case.owner and case.owner.orchestrator == "kubernetes")
    return Finding(
        Confidence.CERTAIN,
        [
            case.at("Total swap = 0kB", "swap", "meminfo"),
            case.at(f"{case.of(held)} is anonymous or shared memory, which only swap can free"),
        ],
        add_swap(case.managed_kib, kubernetes=kubernetes, platform=platform_of(case.report)),
    )


def swap_turned_off(case: Case) -> Finding | None:
    """Swap was being turned off, which brings all that is in it back into RAM."""
    if case.in_memcg or not case.swap_leaving_kib:
        return None
    left = size(case.swap_leaving_kib)
    return Finding(
        Confidence.CERTAIN,
        [case.at(f"free swap is below zero: {left} had still to come back into RAM when the kernel looked", "swap")],
        [
            Advice(
                f"before swapoff see that what is in swap fits into RAM ({left} of it did not yet): free memory first, "
                "or turn another swap on before"
            ),
            Advice("see what uses swap, and how much of it", ("swapon", "--show")),
        ],
    )


def swap_exhausted(case: Case) -> Finding | None:
    """Swap is full as well: of the machine, or of the cgroup."""
    if case.in_memcg:
        return memcg_swap_used_up(case)
    total, free = case.swap_total_kib, case.swap_free_kib
    if case.manual or not total or free is None or free > SWAP_NEARLY_GONE * total:
        return None
    return Finding(
        Confidence.CERTAIN if free <= SWAP_GONE * total else Confidence.LIKELY,
        [case.at(f"swap: {size(free)} free of {size(total)}", "swap", "meminfo")],
        [
            Advice(
                "look at what filled the swap (VmSwap in /proc/PID/status, the swapents column of the report): RAM and "
                "swap together were not enough, and more swap buys time, not a cure"
            ),
            Advice(
                "if the swap device is zram, its data sits in RAM, in compressed form: see what it really takes",
                ("zramctl",),
            ),
        ],
    )


def swap_unusable(case: Case) -> Finding | None:
    """Swap was free and did not help."""
    if case.in_memcg:
        return memcg_swap_closed(case)
    total, free, held = case.swap_total_kib, case.swap_free_kib, swappable_kib(case)
    if case.manual or not total or free is None or free < SWAP_LEFT * total or not case.exceeds(held, ANON_LARGE):
        return None
    if case.order not in ORDERLESS or case.bound_to_nodes:
        return None  # the request needed something swap cannot give
    return Finding(
        Confidence.LIKELY,
        [
            case.at(f"swap: {size(free)} free of {size(total)}, and yet the kernel killed"),
            case.at(f"{size(held)} of anonymous and shared memory could have been swapped out"),
        ],
        [
            Advice(
                "see whether swapping is allowed at all (0 means: only to avoid the very last page)",
                ("sysctl", "vm.swappiness"),
            ),
            Advice(
                "zram swap needs RAM to store what it takes, and gains nothing from data that does not compress: "
                "compare DATA with TOTAL",
                ("zramctl",),
            ),
            Advice(
                "a slow or failing swap device loses the race against a fast allocator: look for I/O errors and "
                "waits around the time of the kill"
            ),
        ],
        settles="vm.swappiness, zramctl, memory.swap.max of the cgroups, and I/O errors at that time",
    )


def dirty_writeback(case: Case) -> Finding | None:
    """Page cache waits to be written: reclaim could not take it in time."""
    dirty, writeback = case.items.get("dirty", 0), case.items.get("writeback", 0)
    stuck = dirty + writeback + case.items.get("unstable", 0)
    if case.manual or not case.exceeds(stuck, MEMCG_CACHE_LARGE if case.in_memcg else DIRTY_LARGE):
        return None
    advice = [
        Advice(
            "storage is too slow for the writer, or stuck: check I/O errors, NFS or iSCSI timeouts and the device's "
            "queue around the time of the kill"
        ),
        sysctl(
            "start writing earlier and hold less dirty memory (256 MiB and 64 MiB suit most disks)",
            "vm.dirty_bytes",
            256 << 20,
        ),
        sysctl("the background threshold to go with it", "vm.dirty_background_bytes", 64 << 20),
    ]
    if case.in_memcg:
        advice.append(
            Advice(
                "a cgroup this small holds few dirty pages: raise its limit, or write with O_DIRECT or "
                "sync_file_range in the program that copies"
            )
        )
    return Finding(
        Confidence.LIKELY,
        [case.at(f"{size(dirty)} dirty and {size(writeback)} being written, together {case.of(stuck)}")],
        advice,
        main=case.anon_kib is not None and stuck >= case.anon_kib,
        settles="disk latency and errors at that time; a kill without them points at memory.min or pinned pages",
    )


def page_cache_stuck(case: Case) -> Finding | None:
    """Much clean page cache was left and not given back."""
    share = MEMCG_CACHE_LARGE if case.in_memcg else FILE_SMALL
    if case.manual or case.bound_to_nodes or case.order not in ORDERLESS or not case.exceeds(case.file_kib, share):
        return None
    waiting = case.items.get("dirty", 0) + case.items.get("writeback", 0)
    if case.zone_checks and not any(not z.passes for z in case.zone_checks if z.eligible):
        return None  # every zone the request may use had memory: another rule explains that
    if waiting * 2 > case.file_kib:
        return None  # dirty_writeback says it better
    evidence: list[Evidence] = [
        case.at(f"{case.of(case.file_kib)} of page cache was still there when the kernel killed")
    ]
    memcg = case.report.memcg
    if memcg and memcg.min_protection_kib:
        evidence.append(case.at(f"memory.min protects {size(memcg.min_protection_kib)} of the cgroup", "memcg"))
    return Finding(
        Confidence.LIKELY,
        evidence,
        [
            Advice(
                "look for cgroups whose memory.min (MemoryMin=) protects cache: protected pages are not taken even "
                "when the machine kills"
            ),
            Advice(
                "or the cache is in use all the time (thrashing): pages come back as fast as they are dropped. "
                "Watch workingset_refault_file and memory pressure"
            ),
        ],
        settles="memory.min/memory.low of the cgroups, /proc/pressure/memory and workingset_refault_file before "
        "the kill",
    )
