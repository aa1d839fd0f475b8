"""
The choice of a victim: the state of the simulated processes, handed to the kernel's rules and written down as a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight.kernel.badness import TaskFacts
from oomsight.kernel.selection import Candidate
from oomsight.simulate.machine import share
from oomsight.simulate.outcome import Row, Victim
from oomsight.simulate.workloads import FOREVER, KERNEL_STACK_BYTES, Memory, Piece

if TYPE_CHECKING:
    from oomsight.kernel.selection import Selection
    from oomsight.simulate.machine import Balance, Cgroup, Machine
    from oomsight.simulate.scenario import Values

FILE_RSS_BYTES: Final = 2 << 20
"""Program and libraries in every process's rss. They are shared and in nobody's need: the page cache has them."""
ZERO: Final = Memory()


@dataclass(slots=True, eq=False)
class Process:
    """One living process and the straight piece it is on."""

    pid: int
    values: Values
    cgroup: Cgroup
    plan: Iterator[Piece]
    parent: int | None = None
    children: list[int] = field(default_factory=list)
    since: int = 0  #: step at which the piece began
    start: Memory = ZERO
    growth: Memory = ZERO
    until: int = FOREVER  #: step at which the next piece begins
    jump: int = 0  #: bytes of need it grew by at ``since``, at once
    slowed: tuple[Memory, int] | None = None  #: (own growth, own end) while memory.high slows it down
    exits: str | None = None

    @property
    def name(self) -> str:
        """Its comm."""
        return str(self.values["name"])

    def demand(self, step: int) -> Memory:
        """What it wants at *step*."""
        past = step - self.since
        s, g = self.start, self.growth
        return Memory(s[0] + g[0] * past, s[1] + g[1] * past, s[2] + g[2] * past, s[3] + g[3] * past)

    def grew(self, step: int) -> int:
        """Bytes of need it grew by in the step that led to *step*."""
        return max(self.jump if step == self.since else self.growth.need, 0)


class Held(NamedTuple):
    """Memory of one process as badness counts it, in bytes. Page tables are whole pages."""

    rss: int
    swap: int
    pgtables: int


def scan_order(processes: dict[int, Process], cgroup: Cgroup) -> list[Process]:
    """Processes of a subtree in the order of the kernel's scan: fork order, or down the cgroup tree (memcg)."""
    if cgroup.index == 0:
        return list(processes.values())
    order: dict[int, int] = {}
    todo = [cgroup]
    while todo:
        at = todo.pop()
        order[at.index] = len(order)
        todo += reversed(at.children)
    return sorted((p for p in processes.values() if p.cgroup.index in order), key=lambda p: order[p.cgroup.index])


def holdings(machine: Machine, state: Balance, inside: Sequence[Process], step: int, short: int) -> dict[int, Held]:
    """
    What each process holds at the moment a charge fails: the *short* bytes were not yet given to those who grew in
    this step. Swap of a cgroup is divided among its own processes by size; badness adds rss and swap, so how it is
    divided does not matter.
    """
    grew = [min(p.grew(step), p.demand(step).anon) for p in inside]
    cuts = share(min(short, sum(grew)), grew)
    members: dict[int, list[tuple[Process, int]]] = {}
    for process, cut in zip(inside, cuts, strict=True):
        members.setdefault(process.cgroup.index, []).append((process, process.demand(step).anon - cut))
    held: dict[int, Held] = {}
    for index, group in members.items():
        anon = [mine for _, mine in group]
        swaps = share(min(state.own_swapped[index], sum(anon)), anon)
        for (process, mine), swap in zip(group, swaps, strict=True):
            tables = max(process.demand(step).kernel - process.values["threads"] * KERNEL_STACK_BYTES, 0)
            tables -= tables % machine.page_size
            held[process.pid] = Held(mine - swap + FILE_RSS_BYTES, swap, tables)
    return held


def candidates(inside: Sequence[Process], held: dict[int, Held], page_size: int) -> Iterator[Candidate]:
    """The processes as the kernel's scan sees them."""
    for process in inside:
        rss, swap, tables = held[process.pid]
        adj = process.values["adj"]
        yield Candidate(
            pid=process.pid,
            facts=TaskFacts(
                rss_pages=rss // page_size, swap_pages=swap // page_size, pgtables_bytes=tables,
                nr_ptes=tables // page_size, nr_pmds=0, oom_score_adj=adj, cap_sys_admin=False,
                total_vm_pages=(rss + swap) // page_size, cpu_time_jiffies=0, run_time_seconds=0, nice=0,
                oom_adj=legacy_adj(adj), cap_sys_resource=False, cap_sys_rawio=False,
            ),
            comm=process.name, memcg=process.cgroup.path, children=tuple(process.children),
        )  # fmt: skip


def legacy_adj(adj: int) -> int:
    """oom_score_adj (-1000 .. 1000) on the scale of oom_adj (-17 .. 15), as the kernel itself converted it."""
    return -17 if adj <= -1000 else -(-adj * 17 // 1000) if adj < 0 else min(adj * 17 // 1000, 15)


def table(
    inside: Sequence[Process], held: dict[int, Held], choice: Selection, per_thousand_pages: float | None
) -> list[Row]:
    """
    The table a choice was made from: the dead first, then by points. ``per_thousand_pages``: a thousandth of T where
    points are pages, ``None`` where they are per mille already.
    """
    killed = {kill.pid for kill in choice.kills}
    steps = {step.pid: step for step in choice.trace}
    rows = []
    for process in inside:
        seen = steps.get(process.pid)
        points = seen.points if seen else None
        per_mille = points if points is None or not per_thousand_pages else int(points / per_thousand_pages)
        rows.append(Row(
            process.pid, process.name, process.cgroup.path, *held[process.pid], process.values["adj"], points,
            per_mille, seen.words if seen else "not scanned", process.pid in killed,
        ))  # fmt: skip
    rows.sort(key=lambda row: (not row.killed, row.points is None, -(row.points or 0), row.pid))
    return rows


def victim(process: Process, role: str, held: Held) -> Victim:
    """*process* as one of the dead."""
    return Victim(process.pid, process.name, process.cgroup.path, role, held.rss, held.swap, process.values["adj"])
