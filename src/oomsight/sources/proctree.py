"""
Every process of a host, read from /proc (or a tree that looks like it) in one quick pass.

A process that ends while it is read is normal and simply not there. What the right to read is missing for is counted
and said in :attr:`~oomsight.score.model.Snapshot.unseen`, with the right that would show it.
"""

from __future__ import annotations

import os

from oomsight.proc.fields import number
from oomsight.proc.machine import Mount, parse_cpu_list, parse_meminfo, parse_mountinfo, parse_version
from oomsight.proc.process import Process, SmapsRollup, Stat, Status, memory_cgroup, parse_smaps_rollup, parse_stat
from oomsight.score.model import Machine, Snapshot, Unseen
from oomsight.sources.errors import SourceError, from_os_error
from oomsight.sources.procread import Row, pids_of, read_if_there, read_row, read_text
from oomsight.sources.procreading import Reading

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Final

    from oomsight.proc.fields import Brief
    from oomsight.score.contest import Contest

__all__ = ["ProcTree", "read_if_there", "read_text", "same_memory", "with_sharers"]

_SPARE: Final = 4  # looked at besides the first few: some may turn out to be inside vfork
OUTSIDE: Final = Unseen(
    "processes and limits outside this container",
    "the host's processes and cgroups (--pid=host -v /sys/fs/cgroup:/sys/fs/cgroup:ro)",
)
CGROUPS_OUTSIDE: Final = Unseen(
    "cgroups outside this container and their limits", "the host's cgroups (-v /sys/fs/cgroup:/sys/fs/cgroup:ro)"
)
_KCMP: Final = {"x86_64": 312, "aarch64": 272, "riscv64": 272, "ppc64le": 354, "s390x": 343}  # system call numbers


class ProcTree:
    """
    The /proc of a host at ``proc``; ``denied`` counts the processes whose files could not be read.

    ``helper``: a forked helper may read some of many processes. Only for programs with one thread: fork() keeps no
    other. ``begun``: a reading of ``proc`` that is under way, for the first look at all processes; it must have been
    begun with what that look asks for. ``itself``: this process is one of them; who is gone in a moment is not.
    """

    def __init__(
        self, proc: str = "/proc", sys: str = "/sys", *, helper: bool = False, begun: Reading | None = None,
        itself: bool = True,
    ) -> None:
        self.proc, self.sys = proc, sys
        self.helper, self.itself = helper, itself
        self.denied = 0
        self.passed_over = self.lowest = self.near = 0
        self._begun = begun

    def pids(self) -> list[int]:
        """Process ids, ascending. Raises :class:`SourceError` if there is no such tree."""
        try:
            return pids_of(self.proc)
        except OSError as error:
            raise from_os_error(self.proc, error) from error

    def process(self, pid: int) -> Process | None:
        """One process with its cgroup; ``None`` = gone, or not ours to see."""
        try:
            row = read_row(self.proc, pid)
        except PermissionError:
            self.denied += 1
            return None
        return None if row is None else _process(row)

    def cgroup(self, pid: int) -> str | None:
        """The cgroup that the memory of ``pid`` is charged to; ``None`` = not known."""
        text = read_if_there(f"{self.proc}/{pid}/cgroup")
        return memory_cgroup(text) if text else None

    def processes(self, *, cgroups: bool = True, top: int = 0) -> tuple[Process, ...]:
        """
        All processes in fork order, which is the order of the kernel's list. ``cgroups``: with the cgroup of each;
        without, :meth:`with_cgroups` reads those that matter: it takes a fifth of the time. ``top``: those suffice that
        may be among so many first to die; then ``passed_over``, ``lowest`` and ``near`` tell of the others.
        """
        reading, self._begun = self._begun, None
        try:
            reading = reading or Reading(self.proc, helper=self.helper, cgroups=cgroups, top=top, itself=self.itself)
            rows, denied = reading.rows((lambda briefs: self._contest(briefs, top)) if top else None)
        except OSError as error:
            raise from_os_error(self.proc, error) from error
        self.denied += denied
        self.passed_over, self.lowest, self.near = reading.passed_over, reading.lowest, reading.near
        return _with_borrowers([_process(row) for row in sorted(rows, key=_birth)])

    def _contest(self, briefs: Sequence[Brief], top: int) -> Contest:
        from oomsight.score.contest import Contest

        return Contest(briefs, self.machine(), top + _SPARE)

    def in_cgroup(self, process: Process) -> Process:
        """*process* with the cgroup it is in now; a kernel thread's does not matter."""
        return process if process.stat.is_kthread else process._replace(cgroup=self.cgroup(process.stat.pid))

    def with_cgroups(self, processes: Sequence[Process], pids: Iterable[int]) -> tuple[Process, ...]:
        """*processes*, those of ``pids`` with the cgroup each is in now."""
        wanted = set(pids)
        return tuple(self.in_cgroup(process) if process.stat.pid in wanted else process for process in processes)

    def has_v1_memory(self) -> bool:
        """Whether memory is charged to cgroups of version 1 here."""
        return any(mount.fs_type == "cgroup" and "memory" in mount.super_options for mount in self.mounts())

    def smaps_rollup(self, pids: Iterable[int]) -> tuple[dict[int, SmapsRollup], int]:
        """PSS and the like of ``pids``, and how many the right was missing for. Slow: the kernel walks every page."""
        found: dict[int, SmapsRollup] = {}
        denied = 0
        for pid in pids:
            try:
                rollup = parse_smaps_rollup(read_text(f"{self.proc}/{pid}/smaps_rollup"))
            except OSError as error:
                denied += isinstance(error, PermissionError)
                continue
            if rollup is not None:
                found[pid] = rollup
        return found, denied

    def machine(self) -> Machine:
        """What one must know of the host. Raises :class:`SourceError` without a readable meminfo."""
        try:
            memory = parse_meminfo(read_text(f"{self.proc}/meminfo"))
        except OSError as error:
            raise from_os_error(f"{self.proc}/meminfo", error) from error
        if memory.mem_total_kib is None:
            raise SourceError(f"{self.proc}/meminfo", "does not say how much memory there is")
        page_size = os.sysconf("SC_PAGE_SIZE")
        page_kib = page_size >> 10
        online = parse_cpu_list(read_if_there(f"{self.sys}/devices/system/cpu/online") or "")

        def pages(kib: int | None) -> int | None:
            return None if kib is None else kib // page_kib

        return Machine(
            ram_pages=memory.mem_total_kib // page_kib,
            swap_pages=(memory.swap_total_kib or 0) // page_kib,
            page_size=page_size,
            available_pages=pages(memory.mem_available_kib),
            swap_free_pages=pages(memory.swap_free_kib),
            cpus=len(online) if online else os.cpu_count(),
            release=parse_version(read_if_there(f"{self.proc}/version") or ""),
            swappiness=self._sysctl("swappiness"),
            panic_on_oom=self._sysctl("panic_on_oom") or 0,
            oom_kill_allocating_task=bool(self._sysctl("oom_kill_allocating_task")),
            long_bits=memory.long_bits,
        )

    def _sysctl(self, name: str) -> int | None:
        return number(read_if_there(f"{self.proc}/sys/vm/{name}"))

    def mounts(self, pid: str = "self") -> tuple[Mount, ...]:
        """The mounts ``pid`` sees; empty = not known."""
        return parse_mountinfo(read_if_there(f"{self.proc}/{pid}/mountinfo") or "")

    def snapshot(self, *, cgroups: bool = True, top: int = 0) -> Snapshot:
        """Machine and processes (``cgroups``, ``top``: as in :meth:`processes`); cgroups' state is another reader's."""
        processes = self.processes(cgroups=cgroups, top=top)
        return Snapshot(
            machine=self.machine(), processes=processes, unseen=tuple(self._unseen(processes)),
            passed_over=self.passed_over, lowest_score=self.lowest, passed_near=self.near,
        )  # fmt: skip

    def _unseen(self, processes: Sequence[Process]) -> Iterator[Unseen]:
        if self.denied:
            yield Unseen(f"{self.denied:,} processes could not be read", "root")
        if any(process.stat.is_kthread for process in processes):
            return
        yield self.hidden()

    def hidden(self) -> Unseen:
        """What is not seen where no kernel thread is: they are hidden, or this is a pid namespace that has none."""
        hiding = next((m for m in reversed(self.mounts()) if m.fs_type == "proc" and _hides(m)), None)
        if hiding is None:
            return OUTSIDE
        return Unseen(
            f"processes of other users are hidden ({hiding.mount_point} is mounted with hidepid)",
            "root, or membership of the group in the mount option gid=",
        )

    def sees_kernel(self) -> bool:
        """Whether the host's kernel threads are in sight: pid 2 of every host is kthreadd."""
        stat = parse_stat(read_if_there(f"{self.proc}/2/stat") or "")
        return stat is not None and stat.is_kthread


def _birth(row: Row) -> tuple[int, int]:
    stat = row[0]
    return stat[9], stat[0]  # starttime, pid


def _process(row: Row) -> Process:
    stat, status, adj, score, cgroup = row
    return Process(Stat._make(stat), Status._make(status), adj, score, memory_cgroup(cgroup) if cgroup else None)


def same_memory(pid: int, other: int) -> bool | None:
    """
    Whether two processes use one address space (kcmp(2), KCMP_VM). ``None`` = the kernel or our rights do not tell.
    """
    number = _KCMP.get(os.uname().machine)
    if number is None:
        return None
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(ctypes.c_long(number), pid, other, 1, ctypes.c_ulong(0), ctypes.c_ulong(0))
    return None if result < 0 else result == 0


def _with_borrowers(processes: Sequence[Process]) -> tuple[Process, ...]:
    """Mark those inside vfork: they use the memory of a parent that waits for them, and are never chosen (4.8+)."""
    waiting = {p.pid: p for p in processes if p.stat.state == "D" and p.stat.vsize_bytes}
    if not waiting:
        return tuple(processes)

    def borrows(process: Process) -> bool:
        parent = waiting.get(process.stat.ppid)
        return (
            parent is not None
            and parent.stat.vsize_bytes == process.stat.vsize_bytes
            and bool(same_memory(process.pid, parent.pid))
        )

    return tuple(
        p._replace(in_vfork=True, shares_with=p.stat.ppid) if borrows(p) else p for p in processes
    )


def with_sharers(processes: Sequence[Process], victim: int) -> tuple[Process, ...]:
    """Mark the processes that use the memory of ``victim``: they die with it."""
    chosen = next((p for p in processes if p.pid == victim), None)
    size = chosen.stat.vsize_bytes if chosen is not None else 0
    return tuple(
        p._replace(shares_with=victim)
        if size and p.stat.vsize_bytes == size and p.pid != victim and same_memory(p.pid, victim)
        else p
        for p in processes
    )


def _hides(mount: Mount) -> bool:
    return any(
        option.startswith("hidepid=") and option not in {"hidepid=0", "hidepid=off"}
        for option in (*mount.options, *mount.super_options)
    )
