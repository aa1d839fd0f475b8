"""Causes where memory was set aside or pinned, so that nobody could use or reclaim it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight.diagnose.causes.rule import Finding
from oomsight.diagnose.model import Advice, Confidence, Evidence
from oomsight.diagnose.wording import size

if TYPE_CHECKING:
    from oomsight.diagnose.causes.case import Case

HUGE_LARGE: Final = 0.10
HUGE_IDLE: Final = 0.50
"""Reserved huge pages are wasted when at least half of them are free."""
HUGE_WASTE: Final = 0.25
"""A quarter of RAM lying idle would have prevented the kill."""
HUGE_SQUEEZE: Final = 0.60
"""Above this share of RAM even used huge pages leave ordinary memory too small."""
LOCKED_LARGE: Final = 0.20
BALLOON_LARGE: Final = 0.10
GPU_LARGE: Final = 0.20


def hugepages_reserved(case: Case) -> Finding | None:
    """Huge pages set aside and unused, or so many that ordinary memory is squeezed."""
    total, free = case.items.get("hugepages"), case.items.get("hugepages_free", 0)
    if case.in_memcg or case.manual or not total or not case.exceeds(total, HUGE_LARGE):
        return None
    idle = free >= HUGE_IDLE * total
    if not idle and not case.exceeds(total, HUGE_SQUEEZE):
        return None
    info = case.report.meminfo
    pools = [h for h in info.hugepages if h.total] if info else []
    line = pools[0].line if pools else None
    evidence = [Evidence(f"huge pages: {case.of(total)} set aside, {size(free)} of it unused", line, line)]
    advice = [
        Advice(
            "nothing but programs that ask for huge pages can use this memory: give back what is not needed, here and "
            "where it is set at boot (sysctl.d, hugepages= on the kernel command line)"
        )
    ]
    for pool in pools[:2]:
        if not pool.free:
            continue
        used = max(0, pool.total - pool.free)
        where = f"/sys/devices/system/node/node{pool.node}" if pool.node is not None else "/sys/kernel/mm"
        advice.append(
            Advice(
                f"shrink the pool to the {used} in use, unless a program has reserved more (HugePages_Rsvd in "
                "/proc/meminfo)"
                if used
                else "give the pool back, unless a program has reserved of it (HugePages_Rsvd in /proc/meminfo)",
                (
                    "sh",
                    "-c",
                    'echo "$1" > "$2"',
                    "sh",
                    str(used),
                    f"{where}/hugepages/hugepages-{pool.size_kib}kB/nr_hugepages",
                ),
            )
        )
    return Finding(
        Confidence.CERTAIN if idle else Confidence.LIKELY,
        evidence,
        advice,
        main=idle and case.exceeds(free, HUGE_WASTE),
    )


def locked_memory(case: Case) -> Finding | None:
    """Memory that may not be reclaimed: mlock, pinned guests, SHM_LOCK, ramfs."""
    kib = case.items.get("unevictable")
    if case.manual or not case.exceeds(kib, LOCKED_LARGE):
        return None
    evidence = [case.at(f"unevictable memory: {case.of(kib)}")]
    locked = case.items.get("mlocked")
    if locked is not None:
        evidence.append(case.at(f"of it locked by mlock: {size(locked)}"))
    return Finding(
        Confidence.CERTAIN,
        evidence,
        [
            Advice(
                "see who locks how much (VmLck in /proc/PID/status)",
                ("grep", "-H", "VmLck", "-r", "/proc", "--include=status"),
            ),
            Advice(
                "bound it: LimitMEMLOCK= of the unit, ulimit -l; databases: lock only the buffer pool; virtual "
                "machines "
                "with passed-through devices pin all their memory, ramfs never gives any back"
            ),
        ],
        main=case.most(kib),
    )


def memory_balloon(case: Case) -> Finding | None:
    """The hypervisor took memory back through the balloon driver (printed from 6.17 on)."""
    info = case.report.meminfo
    balloon = sum(node.kib.get("Balloon", 0) for node in info.nodes) if info else 0
    if case.in_memcg or not case.exceeds(balloon, BALLOON_LARGE):
        return None
    return Finding(
        Confidence.CERTAIN,
        [case.at(f"balloon: {case.of(balloon)} is lent to the hypervisor")],
        [
            Advice(
                "the guest ran out because the host took memory: raise the guest's minimum in the hypervisor, or "
                "turn on "
                "the balloon's deflate-on-OOM"
            )
        ],
        main=case.most(balloon),
    )


def gpu_memory(case: Case) -> Finding | None:
    """What programs draw and compute with lies in RAM: graphics inside the processor, or a card that is full."""
    kept = case.items.get("gpu_reclaim", 0)
    kib = case.items.get("gpu_active", 0) + kept
    if case.in_memcg or not case.exceeds(kib, GPU_LARGE):
        return None
    part = f", {size(kept)} of it kept for later" if kept else ""
    return Finding(
        Confidence.CERTAIN,
        [case.at(f"memory of GPU drivers: {case.of(kib)}{part}")],
        [
            Advice(
                "see which process has how much of it: it is in nobody's resident memory, so the kernel does not count "
                "it when it chooses",
                ("sh", "-c", "grep -s drm-total- /proc/[0-9]*/fdinfo/*"),
            ),
            Advice(
                "bound it where the driver can: ttm.pages_limit= and amdgpu.gttsize= on the kernel command line, or a "
                "smaller share of memory for graphics in the firmware"
            ),
        ],
        main=case.most(kib),
    )
