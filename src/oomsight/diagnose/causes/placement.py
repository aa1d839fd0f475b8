"""Causes where memory was free, but not where or not in the shape the request needed it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight.diagnose.advice import more_reserve
from oomsight.diagnose.causes.rule import Finding
from oomsight.diagnose.model import Advice, Confidence, Evidence, ZoneCheck
from oomsight.diagnose.wording import count, listing, percent, size
from oomsight.naming.marked import Kind, mark
from oomsight.report.model import EventKind

if TYPE_CHECKING:
    from oomsight.diagnose.causes.case import Case

ELSEWHERE: Final = 0.10
"""Free memory outside of the listed zones worth speaking of, as a share of RAM (Mem-Info leaves out zones and nodes
the request may not use, so what is missing there is found as a difference)."""
_BOUND: Final = {
    "CONSTRAINT_CPUSET": ("its cpuset (cpuset.mems)", EventKind.CPUSET),
    "CONSTRAINT_MEMORY_POLICY": ("its memory policy (numactl, set_mempolicy, mbind)", EventKind.MEMPOLICY),
}
_LOW_ZONES: Final = ("DMA", "DMA32")


def free_elsewhere_kib(case: Case) -> int | None:
    """Return memory that was free in zones the request could not use, listed or not; ``None`` = not known."""
    info = case.report.meminfo
    if info is None or case.free_kib is None or not info.zones:
        return None
    listed = sum([zone.kib.get("free", 0) for zone in info.zones])
    other = sum([check.free_kib for check in case.zone_checks if not check.eligible])
    return max(0, case.free_kib - listed) + other


def has_room(check: ZoneCheck) -> bool:
    """Return whether one page could have come from this zone: free memory above min and the reserve."""
    return check.usable_kib > check.min_kib + check.reserve_kib


def _bound(case: Case) -> str | None:
    for constraint, (words, kind) in _BOUND.items():
        if case.constraint == constraint or case.report.kind is kind:
            return words
    return None


def numa_or_cpuset_constraint(case: Case) -> Finding | None:
    """The task may use only some NUMA nodes, and these ran out, or have no zone for the request."""
    bound = _bound(case)
    if bound is None:
        return None
    report, trigger = case.report, case.report.trigger
    evidence = [case.at(f"{case.constraint or 'the constraint'}: the request was bound by {bound}", "oom_kill", "head")]
    if trigger is not None and (trigger.nodemask or trigger.mems_allowed):
        nodes = trigger.nodemask or trigger.mems_allowed or ""
        evidence.append(case.at(f"allowed memory nodes: {mark(nodes, Kind.CGROUP)}", "oom_kill", "cpuset", "head"))
    elsewhere = free_elsewhere_kib(case)
    if elsewhere and case.managed_kib:
        evidence.append(
            case.at(
                f"{size(elsewhere)} ({percent(elsewhere, case.managed_kib)} of RAM) was free on nodes or in zones "
                "it could not use"
            )
        )
    if case.movable_nodes_only:
        evidence.append(
            case.at(
                "the allowed nodes have zone Movable only (hot-plugged, persistent or CXL memory), which takes pages "
                "that can be moved; this request was for one that cannot",
                "node",
            )
        )
        advice = [
            Advice(
                "allow one node with ordinary memory (zone Normal) too: no program starts on movable memory alone, "
                "however much of it is free (docker: --cpuset-mems; a cgroup: cpuset.mems; numactl: --membind)"
            ),
            Advice("see which zones a node has", ("grep", "-E", "^Node|managed", "/proc/zoneinfo")),
        ]
        title = "The allowed NUMA nodes hold movable memory only"
        return Finding(Confidence.CERTAIN, evidence, advice, title=title, main=True)
    advice = [
        Advice(
            "widen the set of nodes, or spread what is bound to them: prefer instead of bind (numactl --preferred "
            "or --interleave instead of --membind)"
        )
    ]
    unit = case.owner.unit if case.owner else None
    if report.constraint != "CONSTRAINT_MEMORY_POLICY" and unit:
        advice.append(
            Advice(
                f"let the unit {mark(unit, Kind.OWNER)} use all nodes (empty = all)",
                ("systemctl", "set-property", "--", unit, "AllowedMemoryNodes="),
            )
        )
    advice.append(Advice("see how full each node is", ("numastat", "-m")))
    return Finding(Confidence.CERTAIN, evidence, advice, main=True)


def cma_reserved(case: Case) -> Finding | None:
    """Free memory lies in CMA areas, which only movable pages may use, and the request was for another kind."""
    info = case.report.meminfo
    if case.manual or case.in_memcg or info is None or not any(z.kib.get("free_cma") for z in info.zones):
        return None
    eligible = [z for z in case.zone_checks if z.eligible]
    if not eligible or any(has_room(z) for z in eligible):
        return None
    zones = {(z.node, z.name): z.kib for z in info.zones}
    cma, free, managed, enough = 0, 0, 0, False
    for check in eligible:
        kib = zones.get((check.node, check.name), {})
        cma += kib.get("free_cma", 0)
        free += check.free_kib
        managed += kib.get("managed", 0)
        enough |= check.usable_kib + kib.get("free_cma", 0) > check.min_kib + check.reserve_kib
    if not enough or 2 * cma < free:
        return None
    names = listing(sorted({z.name for z in eligible}))
    return Finding(
        Confidence.CERTAIN,
        [
            case.at(
                f"of {size(free)} free in zone {names}, {size(cma)} are CMA areas, for movable pages only; this "
                "request was for kernel memory"
            ),
            *([case.at(f"that is {percent(cma, managed)} of the zone's {size(managed)}")] if managed else ()),
        ],
        [
            Advice(
                "set aside less for CMA: cma=SIZE on the kernel command line (Raspberry Pi: cma-… of the vc4 overlay "
                "in config.txt). It is meant for camera, video and display buffers; adding memory or swap does not "
                "help"
            )
        ],
        main=True,
    )


def low_zone_exhausted(case: Case) -> Finding | None:
    """Only a low zone (DMA, DMA32, or Normal below HighMem or Movable) ran out; other zones had memory."""
    eligible = [z for z in case.zone_checks if z.eligible]
    if case.manual or case.in_memcg or _bound(case) or not eligible or any(has_room(z) for z in eligible):
        return None
    elsewhere = free_elsewhere_kib(case)
    if not elsewhere or not case.exceeds(elsewhere, ELSEWHERE):
        return None
    names = listing(sorted({z.name for z in eligible}))
    evidence = [
        case.at(
            f"the request could use zone {names} only, and {'these are' if len(eligible) > 1 else 'it is'} below "
            "the watermark"
        ),
        case.at(f"{size(elsewhere)} ({percent(elsewhere, case.managed_kib or 0)} of RAM) was free in other zones"),
    ]
    advice = [
        Advice(
            "this is kernel memory or a driver's buffer that must lie in a low zone: adding memory does not help. "
            "Reduce what fills that zone (drivers, slab, page tables, network buffers)"
        ),
        Advice(
            "on a 32-bit kernel the kernel lives in the lowest 896 MiB whatever the machine has: use a 64-bit kernel"
        )
        if {z.name for z in case.zone_checks} & {"HighMem"}
        else Advice(
            "if a zone Movable was set aside (movablecore=, kernelcore=, memory hotplug), make it smaller: only "
            "movable user memory may go there"
        ),
    ]
    return Finding(Confidence.CERTAIN, evidence, advice, main=True)


def fragmentation(case: Case) -> Finding | None:
    """Enough memory was free, but no block of the order asked for."""
    order = case.order
    if case.manual or case.in_memcg or order is None or order < 1:
        return None
    eligible = [z for z in case.zone_checks if z.eligible]
    enough = [z for z in eligible if has_room(z)]
    if not enough or any(z.blocks is None or z.blocks > 0 for z in enough):
        return None
    block_kib = case.page_kib << order
    evidence = [
        case.at(f"the request asked for one block of {size(block_kib)} (order {order})", "head"),
        *(Evidence(z.words, line, line) for z, line in ((z, _zone_line(case, z.node, z.name)) for z in enough)),
    ]
    disabled = any(note.code == "compaction_disabled" for note in case.report.notes)
    if disabled:
        evidence.append(case.at("this kernel is built without compaction", "head"))
    pages = 1 << order
    return Finding(
        Confidence.CERTAIN,
        evidence,
        [
            Advice(
                f"free memory lies in pieces: {count(pages, 'page')} in a row could not be found. Press it together "
                "now",
                ("sysctl", "-w", "vm.compact_memory=1"),
            ),
            more_reserve("keep more free in reserve, so that blocks survive", case.managed_kib),
            Advice(
                "avoid who asks for big blocks: jumbo frames, large kmalloc in drivers, kernel stacks of many new "
                "threads; reserve huge pages at boot"
            ),
        ],
        main=True,
    )


def _zone_line(case: Case, node: int | None, name: str) -> int | None:
    info = case.report.meminfo
    zones = info.zones if info else ()
    return next((z.line for z in zones if z.name == name and z.node == node), None)
