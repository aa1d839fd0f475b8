"""
The files of many processes, read quickly: by two processes at once, the second of which starts before anything else.

The kernel needs longer to write /proc/PID/status and its like than we to read them, and it can write two at once. A
:class:`Reading` therefore forks a helper; both take the next few processes from one pipe until there are none left, so
neither waits for the other. ``oomsight score`` begins one as its first act and loads the rest of itself meanwhile.
Nothing is imported here that takes time.
"""

from __future__ import annotations

import gc
import marshal
import os

from oomsight.proc.fields import NO_SIZES, PF_KTHREAD, StatFields, StatusFields, number, stat_fields, status_fields

FLAGS = os.O_RDONLY | os.O_CLOEXEC
WORTH_A_HELPER = 400  #: processes from which a fork pays
_BLOCK = 16 << 10  # more than any file of /proc/PID that is read here, but for odd Groups lines
_MAX_CHUNKS = 8192  # two bytes each have to fit into a pipe of 64 KiB, and into four pages where pipes are short
_CHUNK = 16  # processes that are taken at once
_NO_STATUS: StatusFields = (None, *NO_SIZES, None)

Row = tuple[StatFields, StatusFields, "int | None", "int | None", "str | None"]
"""One process: stat, status, oom_score_adj, oom_score, and the text of its cgroup file if that was asked for."""


def read_text(path: str, dir_fd: int | None = None) -> str:
    """The whole text of a small file, any byte kept (``surrogateescape``). Raises :class:`OSError`."""
    fd = os.open(path, FLAGS, dir_fd=dir_fd)
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


def pids_of(proc: str) -> list[int]:
    """Process ids in the tree ``proc``, ascending. Raises :class:`OSError`."""
    return sorted(int(name) for name in os.listdir(proc) if name.isdecimal())


def read_row(proc: str, pid: int, *, cgroup: bool = True) -> Row | None:
    """
    One process, with its ``cgroup`` file or without; ``None`` = gone. Raises :class:`PermissionError` where it is not
    ours to see.
    """
    base = f"{proc}/{pid}/"
    try:
        stat = stat_fields(read_text(base + "stat"))
        if stat is None:
            return None
        if stat[4] & PF_KTHREAD:  # the rest of its files would say nothing
            return stat, _NO_STATUS, None, None, None
        status = status_fields(read_text(base + "status"))
        score = number(read_text(base + "oom_score"))
        if not stat[10] and score and stat[8] > 1:
            stat, status = _living_thread(base, stat, status)
        adj = number(read_text(base + "oom_score_adj"))
        return stat, status, adj, score, read_if_there(base + "cgroup") if cgroup else None
    except PermissionError:
        raise
    except OSError:
        return None


def _living_thread(base: str, stat: StatFields, status: StatusFields) -> tuple[StatFields, StatusFields]:
    """Memory of a process whose first thread has ended: the kernel looks at the first that has not."""
    for tid in sorted(os.listdir(base + "task"), key=int):
        thread = stat_fields(read_text(f"{base}task/{tid}/stat"))
        if thread is not None and thread[10]:
            return (*stat[:10], *thread[10:]), status_fields(read_text(f"{base}task/{tid}/status"))
    return stat, status


def read_rows(proc: str, pids: list[int], *, cgroups: bool = True) -> tuple[list[Row], int]:
    """Those of ``pids`` that are there, and how many could not be read for lack of a right."""
    rows: list[Row] = []
    denied = 0
    for pid in pids:
        try:
            row = read_row(proc, pid, cgroup=cgroups)
        except PermissionError:
            denied += 1
            continue
        if row is not None:
            rows.append(row)
    return rows, denied


class Reading:
    """
    All processes of ``proc``, being read from now on, each with its cgroup or without. ``helper``: share the work with
    a forked process if it pays; only for programs with one thread, as fork() keeps no other. Raises :class:`OSError`
    if there is no such tree.
    """

    def __init__(self, proc: str = "/proc", *, helper: bool = True, cgroups: bool = True) -> None:
        self.proc, self._cgroups = proc, cgroups
        self.pids = pids_of(proc)
        self._child = 0
        if helper and len(self.pids) >= WORTH_A_HELPER and len(os.sched_getaffinity(0)) > 1:
            self._fork()

    def rows(self) -> tuple[list[Row], int]:
        """What :func:`read_rows` says of all of them. To be called once."""
        collecting = gc.isenabled()
        gc.disable()  # thousands of tuples of numbers and texts: walking them for cycles finds none
        try:
            return self._join() if self._child else self._read(self.pids)
        finally:
            if collecting:
                gc.enable()

    def _fork(self) -> None:
        self._chunk = max(_CHUNK, len(self.pids) // _MAX_CHUNKS + 1)
        count = -(-len(self.pids) // self._chunk)
        self._tickets, tickets = os.pipe()
        os.write(tickets, b"".join(number.to_bytes(2) for number in range(count)))
        os.close(tickets)  # so that who takes a ticket when there are none left is told so
        self._reading, writing = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            try:
                gc.disable()
                rows, denied, _ = self._work()
                with open(writing, "wb") as pipe:
                    marshal.dump((rows, denied), pipe)
            finally:
                os._exit(0)
        os.close(writing)

    def _work(self) -> tuple[list[Row], int, set[int]]:
        """Take tickets and read the processes they stand for until there are none left."""
        rows: list[Row] = []
        denied = 0
        taken = set()
        while ticket := os.read(self._tickets, 2):
            at = int.from_bytes(ticket)
            taken.add(at)
            more, shut = self._read(self._part(at))
            rows += more
            denied += shut
        return rows, denied, taken

    def _read(self, pids: list[int]) -> tuple[list[Row], int]:
        return read_rows(self.proc, pids, cgroups=self._cgroups)

    def _part(self, at: int) -> list[int]:
        return self.pids[at * self._chunk : (at + 1) * self._chunk]

    def _join(self) -> tuple[list[Row], int]:
        rows, denied, taken = self._work()
        with open(self._reading, "rb") as pipe:
            data = pipe.read()
        os.waitpid(self._child, 0)
        os.close(self._tickets)
        try:
            theirs, shut = marshal.loads(data)
        except (EOFError, ValueError, TypeError):  # the helper was killed: there may be an OOM going on
            count = -(-len(self.pids) // self._chunk)
            lost = [pid for at in range(count) if at not in taken for pid in self._part(at)]
            theirs, shut = self._read(lost)
        return rows + theirs, denied + shut
