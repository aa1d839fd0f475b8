"""Who grows: two looks at every process, some moments apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from oomsight._named import NamedTuple
from oomsight.alarms.culprit import holder_of
from oomsight.proc.process import Process  # noqa: TC001 - read at run time by NamedTuple

LEAST_KIB: Final = 16  #: between two looks; less is the breathing of any program

Before = Mapping[int, tuple[int | None, int]]
"""By pid: start in ticks since boot (``None`` = not read), need in KiB."""


class Grower(NamedTuple):
    """One process, or all of one name."""

    kind: Literal["process", "name"]
    name: str
    pid: int | None
    processes: int
    cgroup: str | None
    need_kib: int
    grown_kib: int
    kib_per_second: float


def before_of(processes: Sequence[Process]) -> dict[int, tuple[int | None, int]]:
    """What to compare the next look with."""
    return {p.pid: (p.stat.starttime_ticks, holder_of(p).need_kib) for p in processes if not p.stat.is_kthread}


def growers(
    before: Before, now: Sequence[Process], seconds: float, began_ticks: int | None, error_kib: int = 0
) -> list[Grower]:
    """
    Who has grown, the fastest first. *began_ticks*: moment of the first look (ticks since boot), so that who came later
    has grown from nothing; *error_kib*: how far the kernel's counters may lag.
    """
    if seconds <= 0:
        return []
    groups: dict[str, list[tuple[Process, int, int]]] = {}
    for process in now:
        if process.stat.is_kthread:
            continue
        need = holder_of(process).need_kib
        start, held = before.get(process.pid, (None, 0))
        new = start != process.stat.starttime_ticks if start is not None else (
            process.pid not in before or (began_ticks is not None and process.stat.starttime_ticks > began_ticks)
        )
        grown = need if new else need - held
        groups.setdefault(process.comm, []).append((process, need, grown))
    found = []
    for name, members in groups.items():
        grown = sum(g for _, _, g in members)
        if grown < max(LEAST_KIB, error_kib):
            continue
        first, need, most = max(members, key=lambda member: member[2])
        if most * 10 >= grown * 7:
            found.append(Grower("process", name, first.pid, 1, first.cgroup, need, most, most / seconds))
        else:
            cgroups = {process.cgroup for process, _, _ in members}
            where = cgroups.pop() if len(cgroups) == 1 else None
            total = sum(n for _, n, _ in members)
            found.append(Grower("name", name, None, len(members), where, total, grown, grown / seconds))
    return sorted(found, key=lambda grower: -grower.kib_per_second)
