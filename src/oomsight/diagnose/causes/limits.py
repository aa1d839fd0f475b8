"""Causes of a cgroup OOM: which limit was hit, and what made it too small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight.diagnose.advice import HEADROOM, round_up
from oomsight.diagnose.causes.rule import Finding
from oomsight.diagnose.knobs import enter, look_up, pod_limit, set_limit, swap_knob
from oomsight.diagnose.model import Advice, Confidence, Evidence
from oomsight.diagnose.runtimes import runtime_of, tune
from oomsight.diagnose.wording import asked_in, process, size
from oomsight.naming.cgroup_path import relation
from oomsight.naming.marked import Kind, mark
from oomsight.report.model import UNLIMITED

if TYPE_CHECKING:
    from oomsight.diagnose.causes.case import Case

_LOWERING: Final = frozenset({"memory_max_write", "mem_cgroup_resize_max", "mem_cgroup_resize_limit"})
"""Functions in the trigger's stack that write a limit (mm/memcontrol.c 3.x to 6.19)."""
HEAP_SHARE: Final = 0.70
"""A heap this big in a limit leaves too little for what a runtime needs beside it (a quarter is the usual advice)."""
ADJ_MIN_PAGES: Final = 1000
"""Below this many pages ``oom_score_adj * (totalpages / 1000)`` is zero: integer division (mm/oom_kill.c 3.5+)."""
SWAP_USED_UP: Final = 0.95
"""Swap of a cgroup counts as used up from here: batches and swap cache keep it from reaching the last page."""


def demand_kib(case: Case) -> int | None:
    """Return what the cgroup is known to have needed: memory in use plus what it had in swap. A lower bound."""
    memcg = case.report.memcg
    if memcg is None or case.usage_kib is None:
        return None
    if memcg.swap is not None:
        return case.usage_kib + memcg.swap.usage_kib
    if memcg.memsw is not None:
        return max(case.usage_kib, memcg.memsw.usage_kib)
    return case.usage_kib


def proposal(case: Case) -> tuple[int, str] | None:
    """Return the limit to set in KiB and how it was computed; ``None`` when the usage is not in the text."""
    demand = demand_kib(case)
    if not demand:
        return None
    limit = round_up(int(demand * HEADROOM))
    swapped = " (swap included)" if demand > (case.usage_kib or 0) else ""
    more = f"plus {100 * (HEADROOM - 1):.0f} %, rounded up"
    return limit, f"{size(demand)} in use{swapped} when a request was refused, {more}"


def memcg_limit(case: Case) -> Finding | None:
    """A cgroup reached its limit: its own, an ancestor's, or the v1 memory+swap limit."""
    report = case.report
    if not case.in_memcg:
        return None
    ancestor = bool(report.oom_memcg and report.task_memcg and report.oom_memcg != report.task_memcg)
    memsw = case.memsw_hit
    line = report.memcg.memory if report.memcg else None
    evidence: list[Evidence] = []
    if line is not None:
        limit = "no limit" if line.limit_kib == UNLIMITED else f"limit {size(case.base_kib)}"
        failed = f"; {line.failcnt:,} charges were refused there so far" if line.failcnt else ""
        evidence.append(case.at(f"memory usage {size(line.usage_kib)}, {limit}{failed}", "memcg"))
    if memsw and report.memcg and report.memcg.memsw:
        both = report.memcg.memsw
        limit_text = size(both.limit_kib) if isinstance(both.limit_kib, int) else "none"
        evidence.append(case.at(f"memory+swap usage {size(both.usage_kib)}, limit {limit_text}", "memcg"))
    if report.oom_memcg:
        evidence.append(
            case.at(f"the limit is that of cgroup {mark(report.oom_memcg, Kind.CGROUP)}", "oom_kill", "memcg")
        )
    if ancestor and report.oom_memcg and report.task_memcg:
        evidence.append(case.at(relation(report.oom_memcg, report.task_memcg), "oom_kill", "memcg"))
    if not evidence:
        by_kill = any((victim.prefix or "").lower().startswith("memory cgroup") for victim in report.victims)
        said = "the kill line says 'Memory cgroup out of memory'" if by_kill else "the stack of the request shows it"
        evidence.append(case.at(said, "kill", "head"))
    advice = _limit_advice(case, ancestor)
    if lowered := _lowered_by(case):
        evidence.append(case.at(f"{lowered} was lowering that limit", "head"))
        advice.insert(0, Advice(
            f"{lowered} set the limit below what the cgroup held already, and the kernel makes room at once: set a "
            "limit above "
            + ("memory.usage_in_bytes" if case.is_v1 else
               "memory.current, or have memory taken back first (memory.reclaim, memory.high)")
        ))  # fmt: skip
    return Finding(
        Confidence.CERTAIN,
        evidence,
        advice,
        title=(
            "The limit of the cgroup was lowered below what it held"
            if lowered
            else "The memory+swap limit of the cgroup was reached"
            if memsw
            else "The memory limit of a parent cgroup was reached"
            if ancestor
            else "The cgroup reached its own memory limit"
            if report.task_memcg is not None
            else "A cgroup reached its memory limit"
        ),
        main=True,
    )


def _lowered_by(case: Case) -> str | None:
    """Who was just lowering the limit (writing memory.max or memory.limit_in_bytes); ``None`` = nobody."""
    trigger = case.report.trigger
    if trigger is None or _LOWERING.isdisjoint(trigger.frames):
        return None
    return process(trigger.comm, trigger.pid)


def _is_of_the_node(case: Case) -> bool:
    """Whether the limit that was hit is what the kubelet leaves to all pods, or to a class of them."""
    owner = case.oom_owner
    return owner is not None and owner.orchestrator == "kubernetes" and owner.level not in ("pod", "container")


def _limit_advice(case: Case, ancestor: bool) -> list[Advice]:
    advice = _room(case)
    if not _is_of_the_node(case):
        advice.append(
            Advice(
                "more memory on the host will not help: a limit was reached, not the end of the machine's memory. "
                "Either the limit is too small for the work, or what runs inside takes more than it should"
            )
        )
    if ancestor:
        advice.append(
            Advice(
                "raising the limit of the victim's own cgroup will not help either: the limit that was hit belongs to "
                "the parent, which all its children share"
            )
        )
    if case.victim is not None and (case.victim.comm or "").startswith("runc:["):
        advice.insert(0, Advice(
            f"the container did not even start: what died is the runtime's own set-up, which runs inside the limit and "
            f"needed {size(case.victim_kib)} or more. Set the limit well above that"
        ))  # fmt: skip
    culprit = case.culprit
    if culprit is not None and culprit.kind in ("process", "name"):
        advice += tune(culprit.name.rstrip("*"), case.room_kib(culprit), culprit.kib // max(culprit.count, 1))
    return advice


def _room(case: Case) -> list[Advice]:
    """How to raise the limit that was hit, with the number and how it was computed."""
    proposed = proposal(case)
    if proposed is None:
        container = asked_in(case.report)
        name = f"{container}, or of a cgroup above it" if container else "that cgroup"
        text, show = look_up(case.oom_owner, v1=case.is_v1, name=name)
        if show and case.around is not None and case.oom_owner is not None and case.oom_owner.orchestrator is None:
            text, show = f"inside {case.around.own}, {text}", (*enter(case.around), *show)
        return [Advice(text, show)]
    owner = case.oom_owner
    if owner is not None and _is_of_the_node(case):
        return [*set_limit(owner, proposed[0], v1=case.is_v1, release=case.release), *pod_limit(case.owner)]
    limit, how = proposed
    if case.memsw_hit:
        return [_more_of_both(case, limit, how)]
    v1 = case.is_v1
    peak = "memory.max_usage_in_bytes" if v1 else "memory.peak"
    path = case.report.oom_memcg
    steps = _inside(case, set_limit(case.oom_owner, limit, v1=v1, path=path, release=case.release))
    text = f"to give it room, set the limit to {size(limit)} ({how}); the true need can be higher, watch {peak}"
    if not steps:
        return [Advice(text)]
    steps[0].text = f"{text}: {steps[0].text}"
    return steps


def _more_of_both(case: Case, limit: int, how: str) -> Advice:
    """Raise the v1 limit of memory and swap together: the memory limit was not the one that was hit."""
    text = f"to give it room, set its limit of memory and swap together to {size(limit)} ({how}): "
    owner = case.oom_owner
    if owner is not None and owner.orchestrator == "kubernetes":
        text += "the runtime sets both limits when the container starts (limits.memory, and how the node swaps)"
        return Advice(text)
    if owner is not None and owner.runtime == "docker" and owner.container_id is not None:
        command = ("docker", "update", f"--memory-swap={limit >> 10}m", owner.container_id)
        return Advice(text + "--memory-swap of the container, or memswap_limit of compose", command)
    path = case.report.oom_memcg
    where = f" of the cgroup {mark(path, Kind.CGROUP)}" if path else ""
    text += f"memory.memsw.limit_in_bytes{where}; memory.limit_in_bytes alone was not reached"
    if not path or not path.startswith("/") or "…" in path or "..." in path:
        return Advice(text)
    knob = f"/sys/fs/cgroup/memory{path}/memory.memsw.limit_in_bytes"
    return Advice(text, ("sh", "-c", 'echo "$1" > "$2"', "sh", str(limit << 10), knob))


def _inside(case: Case, steps: list[Advice]) -> list[Advice]:
    """Send commands for a systemd inside a container into that container: the host's knows no such unit."""
    around = case.around
    if around is None or case.oom_owner is None or case.oom_owner.orchestrator is not None:
        return steps
    for step in steps:
        if step.command and step.command[0] == "systemctl":
            step.text += f", inside {around.own}"
            step.command = (*enter(around), *step.command)
    return steps


def memcg_swap_closed(case: Case) -> Finding | None:
    """The cgroup may not swap: memory.swap.max 0, or a v1 memory+swap limit equal to the memory limit."""
    memcg = case.report.memcg
    if memcg is None or not case.in_memcg:
        return None
    if memcg.swap is not None and memcg.swap.limit_kib == 0:
        evidence = case.at("swap limit 0: this cgroup must not swap", "memcg")
    elif memcg.memsw is not None and memcg.memory is not None and isinstance(memcg.memory.limit_kib, int):
        if memcg.memsw.limit_kib != memcg.memory.limit_kib:
            return None
        evidence = case.at(f"memory+swap limit {size(memcg.memory.limit_kib)} equals the memory limit", "memcg")
    else:
        return None
    return Finding(
        Confidence.CERTAIN,
        [evidence],
        [
            Advice(
                "if a slower but living service is better, allow it some swap: "
                f"{swap_knob(case.oom_owner, v1=memcg.memsw is not None)}"
            )
        ],
        title="The cgroup is not allowed to use swap",
    )


def memcg_swap_used_up(case: Case) -> Finding | None:
    """The cgroup's swap allowance is used up."""
    memcg = case.report.memcg
    if memcg is None or not case.in_memcg:
        return None
    if memcg.swap is not None and isinstance(memcg.swap.limit_kib, int) and memcg.swap.limit_kib > 0:
        used, limit = memcg.swap.usage_kib, memcg.swap.limit_kib
    elif (
        memcg.memsw is not None
        and memcg.memory is not None
        and isinstance(memcg.memsw.limit_kib, int)
        and isinstance(memcg.memory.limit_kib, int)
        and memcg.memsw.limit_kib > memcg.memory.limit_kib
    ):
        used = memcg.memsw.usage_kib - memcg.memory.usage_kib
        limit = memcg.memsw.limit_kib - memcg.memory.limit_kib
    else:
        return None
    if used < SWAP_USED_UP * limit:
        return None
    return Finding(
        Confidence.CERTAIN,
        [case.at(f"swap usage of the cgroup {size(used)} of {size(limit)} allowed", "memcg")],
        [
            Advice(
                "both memory and swap of the cgroup are full: more swap only delays the next kill unless the work has "
                "an end; find what grows"
            )
        ],
        title="The cgroup used up its swap as well",
    )


def heap_exceeds_limit(case: Case) -> Finding | None:
    """A runtime with a configured heap fills most of a cgroup's limit: its setting may not know the limit."""
    comm = case.victim.comm if case.victim and case.in_memcg else None
    runtime = runtime_of(comm)
    if comm is None or runtime is None or not runtime.heap or not case.exceeds(case.victim_kib, HEAP_SHARE):
        return None
    return Finding(
        Confidence.POSSIBLE,
        [
            case.at(f"{mark(comm)} held {case.of(case.victim_kib)}", "kill", "table_first"),
            Evidence(
                f"a process of this name is usually {runtime.label}, whose heap or cache is set apart from the limit"
            ),
        ],
        tune(comm, case.base_kib, case.victim_kib),
        settles=f"its command line and configuration: the heap or cache size set there, against {size(case.base_kib)}",
    )


def adj_ignored(case: Case) -> Finding | None:
    """The limit is below 1000 pages: oom_score_adj had no effect on the choice (3.5+, integer division)."""
    limit = case.limit_kib
    if not case.in_memcg or not isinstance(limit, int) or not case.adj_rows:
        return None
    pages = case.selection.total_pages if case.selection and case.selection.total_pages else limit // case.page_kib
    if not 0 < pages < ADJ_MIN_PAGES:
        return None
    return Finding(
        Confidence.CERTAIN,
        [
            case.at(
                f"the limit is {pages} pages, below {ADJ_MIN_PAGES}: oom_score_adj times (pages / 1000) is zero",
                "memcg",
            ),
            case.at(f"{case.adj_rows} listed process(es) have an oom_score_adj that had no effect", "table_first"),
        ],
        [
            Advice(
                f"only -1000 still protects in a cgroup this small; with a limit of at least "
                f"{size(ADJ_MIN_PAGES * case.page_kib)} the other values count again"
            )
        ],
    )
