"""
Every process of a host, read from /proc (or a tree that looks like it) in one quick pass.

A process that ends while it is read is normal and simply not there. What the right to read is missing for is counted
and said in :attr:`~oomsight.score.model.Snapshot.unseen`, with the right that would show it.
"""

from __future__ import annotations

import gc
import marshal
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from oomsight.proc.machine import Mount, parse_cpu_list, parse_meminfo, parse_mountinfo, parse_version
from oomsight.proc.process import (
    PF_KTHREAD,
    Process,
    SmapsRollup,
    Stat,
    Status,
    memory_cgroup,
    parse_int,
    parse_smaps_rollup,
    parse_stat,
    parse_status,
)
from oomsight.score.model import Machine, Snapshot, Unseen
from oomsight.sources.errors import SourceError, from_os_error

_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC
_BLOCK: Final = 16 << 10  # more than any file of /proc/PID that is read here, but for odd Groups lines
_NOTHING: Final = Status()
WORTH_A_HELPER: Final = 400  #: processes from which a fork pays
_KCMP: Final = {"x86_64": 312, "aarch64": 272, "riscv64": 272, "ppc64le": 354, "s390x": 343}  # system call numbers


def read_text(path: str, dir_fd: int | None = None) -> str:
    """The whole text of a small file, any byte kept (``surrogateescape``). Raises :class:`OSError`."""
    fd = os.open(path, _FLAGS, dir_fd=dir_fd)
    try:
        data = os.read(fd, _BLOCK)
        if len(data) >= 4000:  # kernels hand out at most a page or so at once
            parts = [data]
            while part := os.read(fd, _BLOCK):
                parts.append(part)
            data = b"".join(parts)
    finally:
        os.close(fd)
    return data.decode("utf-8", "surrogateescape")


def read_if_there(path: str) -> str | None:
    """As :func:`read_text`, ``None`` if it cannot be read."""
    try:
        return read_text(path)
    except OSError:
        return None


class ProcTree:
    """
    The /proc of a host at ``proc``; ``denied`` counts the processes whose files could not be read.

    ``helper``: a forked helper may read half of many processes. The kernel needs longer to write these files than we to
    read them, and it can write two at once. Only for programs with one thread: fork() keeps no other.
    """

    def __init__(self, proc: str = "/proc", sys: str = "/sys", *, helper: bool = False) -> None:
        self.proc, self.sys = proc, sys
        self.helper = helper and len(os.sched_getaffinity(0)) > 1
        self.denied = 0

    def pids(self) -> list[int]:
        """Process ids, ascending. Raises :class:`SourceError` if there is no such tree."""
        try:
            return sorted(int(name) for name in os.listdir(self.proc) if name.isdecimal())
        except OSError as error:
            raise from_os_error(self.proc, error) from error

    def process(self, pid: int) -> Process | None:
        """One process; ``None`` = gone, or not ours to see."""
        base = f"{self.proc}/{pid}/"
        try:
            stat = parse_stat(read_text(base + "stat"))
            if stat is None:
                return None
            if stat.flags & PF_KTHREAD:  # the rest of its files would say nothing
                return Process(stat, _NOTHING, None, None, None)
            status = parse_status(read_text(base + "status"))
            score = parse_int(read_text(base + "oom_score"))
            if not stat.vsize_bytes and score and stat.num_threads > 1:
                stat, status = self._living_thread(base, stat, status)
            adj = parse_int(read_text(base + "oom_score_adj"))
        except OSError as error:
            self.denied += isinstance(error, PermissionError)
            return None
        text = read_if_there(base + "cgroup")
        return Process(stat, status, adj, score, memory_cgroup(text) if text else None)

    def _living_thread(self, base: str, stat: Stat, status: Status) -> tuple[Stat, Status]:
        """Memory of a process whose first thread has ended: the kernel looks at the first that has not."""
        for tid in sorted((name for name in os.listdir(base + "task")), key=int):
            thread = parse_stat(read_text(f"{base}task/{tid}/stat"))
            if thread is not None and thread.vsize_bytes:
                stat = stat._replace(vsize_bytes=thread.vsize_bytes, rss_pages=thread.rss_pages)
                return stat, parse_status(read_text(f"{base}task/{tid}/status"))
        return stat, status

    def processes(self) -> tuple[Process, ...]:
        """All processes in fork order, which is the order of the kernel's list."""
        collecting = gc.isenabled()
        gc.disable()  # thousands of tuples of numbers and texts: walking them for cycles finds none
        try:
            pids = self.pids()
            found = self._shared(pids) if self.helper and len(pids) >= WORTH_A_HELPER else self._read(pids)
        finally:
            if collecting:
                gc.enable()
        found.sort(key=lambda process: (process.stat.starttime_ticks, process.stat.pid))
        return _with_borrowers(found)

    def _read(self, pids: Iterable[int]) -> list[Process]:
        return [process for pid in pids if (process := self.process(pid)) is not None]

    def _shared(self, pids: Sequence[int]) -> list[Process]:
        """Read every other process here and the others in a helper, which sends them as plain tuples."""
        ours, theirs = pids[::2], pids[1::2]
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                self.denied = 0
                found = [(tuple(p.stat), tuple(p.status), *p[2:]) for p in self._read(theirs)]
                with open(writing, "wb") as pipe:
                    marshal.dump((found, self.denied), pipe)
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading, "rb") as pipe:
            mine = self._read(ours)
            data = pipe.read()
        os.waitpid(child, 0)
        try:
            rows, denied = marshal.loads(data)
        except (EOFError, ValueError, TypeError):  # the helper was killed: there may be an OOM going on
            return mine + self._read(theirs)
        self.denied += denied
        mine += [Process(Stat._make(stat), Status._make(status), *rest) for stat, status, *rest in rows]
        return mine

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
        )

    def _sysctl(self, name: str) -> int | None:
        return parse_int(read_if_there(f"{self.proc}/sys/vm/{name}"))

    def mounts(self, pid: str = "self") -> tuple[Mount, ...]:
        """The mounts ``pid`` sees; empty = not known."""
        return parse_mountinfo(read_if_there(f"{self.proc}/{pid}/mountinfo") or "")

    def snapshot(self) -> Snapshot:
        """Machine and processes; cgroups are another reader's."""
        processes = self.processes()
        return Snapshot(machine=self.machine(), processes=processes, unseen=tuple(self._unseen(processes)))

    def _unseen(self, processes: Sequence[Process]) -> Iterator[Unseen]:
        if self.denied:
            yield Unseen(f"{self.denied:,} processes could not be read", "root")
        if any(process.stat.is_kthread for process in processes):
            return
        # No kernel thread in sight: either they are hidden, or this is a pid namespace that has none.
        hidden = next((m for m in reversed(self.mounts()) if m.fs_type == "proc" and _hides(m)), None)
        if hidden is not None:
            yield Unseen(
                f"processes of other users are hidden ({hidden.mount_point} is mounted with hidepid)",
                "root, or membership of the group in the mount option gid=",
            )
        elif processes:
            yield Unseen("processes outside this container", "the host's pid namespace (--pid=host)")


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
