"""Who grew, and who is biggest: two counts of who holds memory, some seconds apart -> names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from oomsight._named import NamedTuple

if TYPE_CHECKING:
    from oomsight.proc.machine import MemInfo
    from oomsight.proc.memcg import Memcg
    from oomsight.proc.process import Process

LEAST_KIB: Final = 1024  #: a growth below says nothing
LEAST_SHARE: Final = 0.25  #: of everything that grew, that somebody must have to be named
ALONE_SHARE: Final = 0.7  #: of what its namesakes grew, from which one process is named instead of all of them


class Holder(NamedTuple):
    """One process and what only its death would free."""

    pid: int
    start_ticks: int  #: since boot; with the pid it names a process for good
    comm: str
    need_kib: int  #: anonymous, shared, swapped out, page tables
    cgroup: str | None
    shmem_kib: int = 0  #: of it, shared memory that it maps


@dataclass(frozen=True, slots=True)
class Census:
    """Who held how much at one moment."""

    at: float  #: unix seconds
    holders: Sequence[Holder]
    pools: Mapping[str, int] = field(default_factory=dict)  #: KiB that belong to no process, by :data:`POOLS`


POOLS: Final[Mapping[str, str]] = {
    "shmem": "tmpfs and shared memory", "kernel": "kernel memory", "hugetlb": "huge pages",
}  # fmt: skip
"""Memory no process holds alone, and what it is called."""


class Who(NamedTuple):
    """Somebody who holds memory."""

    kind: Literal["process", "name", "pool"]
    name: str  #: process name (raw), or the key of :data:`POOLS`
    kib: int
    grown_kib: int = 0
    pid: int | None = None  #: of a single process
    processes: int = 1  #: of that name
    cgroup: str | None = None


class Blame(NamedTuple):
    """``None`` = nobody stands out, or it cannot be known."""

    grower: Who | None
    biggest: Who | None
    seconds: float  #: between the two counts; 0 = there was only one


def holder_of(process: Process) -> Holder:
    """What *process* holds."""
    status = process.status
    anon = status.rss_anon_kib if status.rss_anon_kib is not None else status.vm_rss_kib
    parts = (anon, status.rss_shmem_kib, status.vm_swap_kib, status.vm_pte_kib)
    kib = sum(part for part in parts if part is not None)
    shmem_kib = status.rss_shmem_kib or 0
    return Holder(process.pid, process.stat.starttime_ticks, process.comm, kib, process.cgroup, shmem_kib)


def pools_of_cgroup(memcg: Memcg) -> dict[str, int]:
    """What of a cgroup belongs to no process, in KiB."""
    stat = memcg.stat
    kernel = stat.get("kernel")
    if kernel is None:
        kernel = sum(stat.get(name, 0) for name in ("slab", "kernel_stack", "percpu", "sock"))
    return {"shmem": stat.get("shmem", 0) >> 10, "kernel": kernel >> 10, "hugetlb": stat.get("hugetlb", 0) >> 10}


def pools_of_host(memory: MemInfo) -> dict[str, int]:
    """What of the host belongs to no process, in KiB."""
    fields = memory.fields
    return {
        "shmem": fields.get("Shmem", 0), "hugetlb": fields.get("Hugetlb", 0),
        "kernel": sum(fields.get(name, 0) for name in ("SUnreclaim", "KernelStack", "Percpu")),
    }  # fmt: skip


def blame(before: Census | None, now: Census) -> Blame:
    """Who is to be named at the second of two counts."""
    found = list(_grouped(before, now))
    biggest = max((who for who in found if who.kib), key=lambda who: who.kib, default=None)
    if before is None:
        return Blame(None, biggest, 0.0)
    grown = [who for who in found if who.grown_kib >= LEAST_KIB]
    total = sum(who.grown_kib for who in grown)
    grower = max(grown, key=lambda who: who.grown_kib, default=None)
    if grower is not None and grower.grown_kib < LEAST_SHARE * total:
        grower = None
    return Blame(grower, biggest, max(now.at - before.at, 0.0))


def _grouped(before: Census | None, now: Census) -> Iterable[Who]:
    known = {(h.pid, h.start_ticks): h.need_kib for h in before.holders} if before is not None else {}
    groups: dict[str, list[tuple[Holder, int]]] = {}
    for holder in now.holders:
        # A process that was not there before has grown from nothing.
        grown = holder.need_kib - known.get((holder.pid, holder.start_ticks), 0) if before is not None else 0
        groups.setdefault(holder.comm, []).append((holder, grown))
    for comm, members in groups.items():
        kib, grown = sum(h.need_kib for h, _ in members), sum(g for _, g in members)
        first, most = max(members, key=lambda member: (member[1], member[0].need_kib))
        if len(members) == 1 or (grown > 0 and most >= ALONE_SHARE * grown):
            yield Who("process", comm, first.need_kib, most, first.pid, 1, first.cgroup)
        else:
            cgroups = {h.cgroup for h, _ in members}
            yield Who("name", comm, kib, grown, None, len(members), cgroups.pop() if len(cgroups) == 1 else None)
    for pool in now.pools:
        kib = _of_nobody(now, pool)
        grown = kib - _of_nobody(before, pool) if before is not None and pool in before.pools else 0
        yield Who("pool", pool, kib, grown)


def _of_nobody(census: Census, pool: str) -> int:
    """What no process maps of a pool: shared memory that some do is counted as theirs."""
    mapped = sum(holder.shmem_kib for holder in census.holders) if pool == "shmem" else 0
    return max(census.pools[pool] - mapped, 0)
