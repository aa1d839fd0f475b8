"""Readings made by hand."""

from __future__ import annotations

from oomsight.alarms.reading import Reading
from oomsight.proc.machine import MemInfo, parse_meminfo
from oomsight.proc.memcg import Memcg
from oomsight.proc.pressure import Stall

MIB = 1 << 20


def memory(available_pct: float = 60, swap_used_pct: float | None = None) -> MemInfo:
    total, swap = 1_000_000, 0 if swap_used_pct is None else 500_000
    free = int(swap * (1 - (swap_used_pct or 0) / 100))
    return parse_meminfo(
        f"MemTotal: {total} kB\nMemFree: 1000 kB\nMemAvailable: {int(total * available_pct / 100)} kB\n"
        f"Cached: 100000 kB\nSwapTotal: {swap} kB\nSwapFree: {free} kB\n"
    )


def memcg(path: str = "/a", need: int = 10 * MIB, cache: int = 0, limit: int | str = 100 * MIB, **more: object) -> Memcg:
    stat = {"active_file": cache // 2, "inactive_file": cache - cache // 2}
    return Memcg(path=path, version=2, limit_bytes=limit, usage_bytes=need + cache, stat=stat, **more)  # type: ignore[arg-type]


def stall(avg10: float) -> dict[str, Stall]:
    return {"some": Stall(avg10, 0, 0, 0), "full": Stall(avg10, 0, 0, 0)}


def host(**given: float) -> Reading:
    full = given.pop("full", 0.0)
    return Reading(memory(**given), stall(full))


def groups(*memcgs: Memcg, full: float | None = None) -> Reading:
    return Reading(cgroups=memcgs, cgroup_pressure={m.path: stall(full) for m in memcgs} if full is not None else {})
