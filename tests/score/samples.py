"""Processes and snapshots made by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomsight.proc.process import PF_KTHREAD, Process, Stat, Status
from oomsight.score.model import Machine, Snapshot

if TYPE_CHECKING:
    from oomsight.proc.memcg import Memcg


def process(
    pid: int, rss: int = 1000, *, adj: int | None = 0, swap: int = 0, pgtables_kib: int = 0, comm: str = "", cgroup: str = "/",
    ppid: int = 1, kthread: bool = False, vsize: int | None = None, score: int | None = 1, threads: int = 1, cap: int = 0,
    **more: object,
) -> Process:  # fmt: skip
    """A process of ``rss`` anonymous and ``swap`` swapped-out pages of 4 KiB."""
    stat = Stat(
        pid, comm or f"p{pid}", "S", ppid, PF_KTHREAD if kthread else 0, 0, 0, 0, threads, pid,
        (0 if kthread else (rss + swap + 100) * 4096) if vsize is None else vsize, rss,
    )  # fmt: skip
    status = Status(1000, 0, rss * 4, rss * 4, 0, 0, pgtables_kib, None, swap * 4, 0, cap)
    return Process(stat, status, adj, score, cgroup, **more)  # type: ignore[arg-type]


def machine(ram: int = 262144, swap: int = 0, release: str = "6.12.1", **more: object) -> Machine:
    return Machine(ram_pages=ram, swap_pages=swap, release=release, cpus=1, **more)  # type: ignore[arg-type]


def snapshot(*processes: Process, on: Machine | None = None, cgroups: tuple[Memcg, ...] = ()) -> Snapshot:
    return Snapshot(
        machine=on or machine(), processes=processes, cgroups={memcg.path: memcg for memcg in cgroups}
    )
