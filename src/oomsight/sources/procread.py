"""
The files of many processes, read quickly: by two processes at once, the second of which starts before anything else.

The kernel needs longer to write /proc/PID/status and its like than we to read them, and it can write two at once. A
:class:`Reading` therefore forks a helper; both take the next few processes from one pipe until there are none left, so
neither waits for the other. ``oomsight score`` begins one as its first act and loads the rest of itself meanwhile.

Who asks for the first few of a ranking need not read everything of everybody. The kernel tells each process's badness
itself, in /proc/PID/oom_score, rounded: whoever has a lower one there has no more points. :func:`shortlist` looks at
that file of all, and only those that may be among the first are read whole.

Nothing is imported here that takes time.
"""

from __future__ import annotations

import gc
import marshal
import os

from oomsight.proc.fields import NO_SIZES, PF_KTHREAD, StatFields, StatusFields, number, stat_fields, status_fields

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would take longer to load than this module
    from typing import Any

FLAGS = os.O_RDONLY | os.O_CLOEXEC
WORTH_A_HELPER = 400  #: processes from which a fork pays
_WORTH_LEAVING_OUT = 2  # left out are at least half, or none
_BLOCK = 16 << 10  # more than any file of /proc/PID that is read here, but for odd Groups lines
_MAX_CHUNKS = 8192  # two bytes each have to fit into a pipe of 64 KiB, and into four pages where pipes are short
_CHUNK = 16  # processes that are taken at once
_NEVER = -1000  # OOM_SCORE_ADJ_MIN
_NO_STATUS: StatusFields = (None, *NO_SIZES, None)

Row = tuple[StatFields, StatusFields, "int | None", "int | None", "str | None"]
"""One process: stat, status, oom_score_adj, oom_score, and the text of its cgroup file if that was asked for."""


def read_text(path: str) -> str:
    """The whole text of a small file, any byte kept (``surrogateescape``). Raises :class:`OSError`."""
    fd = os.open(path, FLAGS)
    try:
        data = os.read(fd, _BLOCK)
        # A short answer need not be the end: lists come in as many entries as fit into the kernel's buffer, which is a
        # page at first; the next one, as a line of mountinfo with many layers, may be long.
        while part := os.read(fd, _BLOCK):
            data += part
    finally:
        os.close(fd)
    return data.decode("utf-8", "surrogateescape")


def read_if_there(path: str) -> str | None:
    """As :func:`read_text`, ``None`` if it cannot be read."""
    try:
        return read_text(path)
    except OSError:
        return None


def _at_once(path: str) -> str:
    """The text of a file that the kernel hands out in one piece, as it does those of one process."""
    fd = os.open(path, FLAGS)
    try:
        return os.read(fd, _BLOCK).decode("utf-8", "surrogateescape")
    finally:
        os.close(fd)


def pids_of(proc: str) -> list[int]:
    """Process ids in the tree ``proc``, ascending. Raises :class:`OSError`."""
    return sorted(int(name) for name in os.listdir(proc) if name.isdecimal())


def read_row(proc: str, pid: int, *, cgroup: bool = True, score: int | None = None) -> Row | None:
    """
    One process, with its ``cgroup`` file or without; ``None`` = gone. ``score``: its oom_score, if just read. Raises
    :class:`PermissionError` where it is not ours to see.
    """
    base = f"{proc}/{pid}/"
    try:
        stat = stat_fields(_at_once(base + "stat"))
        if stat is None:
            return None
        if stat[4] & PF_KTHREAD:  # the rest of its files would say nothing
            return stat, _NO_STATUS, None, None, None
        status = status_fields(_at_once(base + "status"))
        if score is None:
            score = number(_at_once(base + "oom_score"))
        if not stat[10] and score and stat[8] > 1:
            stat, status = _living_thread(base, stat, status)
        adj = number(_at_once(base + "oom_score_adj"))
        return stat, status, adj, score, read_if_there(base + "cgroup") if cgroup else None
    except PermissionError:
        raise
    except OSError:
        return None


def _living_thread(base: str, stat: StatFields, status: StatusFields) -> tuple[StatFields, StatusFields]:
    """Memory of a process whose first thread has ended: the kernel looks at the first that has not."""
    for tid in sorted(os.listdir(base + "task"), key=int):
        thread = stat_fields(_at_once(f"{base}task/{tid}/stat"))
        if thread is not None and thread[10]:
            return (*stat[:10], *thread[10:]), status_fields(_at_once(f"{base}task/{tid}/status"))
    return stat, status


def ranks_like_oom_score(release: str) -> bool:
    """
    Whether a lower oom_score surely means that nothing of a process matters to who dies first. From 6.2 on: no child is
    sacrificed for its parent (until 5.1), and counters err by a bound that does not depend on threads (until 6.1).
    """
    parts = release.split(".", 2)
    try:
        return (int(parts[0]), int(parts[1])) >= (6, 2)
    except (ValueError, IndexError):
        return False


def shortlist(proc: str, pids: list[int], top: int) -> tuple[list[int], dict[int, int], int, int]:
    """
    Those of ``pids`` that may be among the ``top`` first to die, or are exempt or not ours to see; the oom_score of
    each that told it; the lowest among the eligible of them; and how many others there are, all with a lower one. All
    of ``pids`` where hardly any could be left out.
    """
    scores: dict[int, int] = {}
    unread: set[int] = set()
    name = proc + "/%d/oom_score"
    for pid in pids:
        try:
            fd = os.open(name % pid, FLAGS)
            try:
                scores[pid] = int(os.read(fd, 32))
            finally:
                os.close(fd)
        except (PermissionError, ValueError):
            unread.add(pid)
        except OSError:
            continue  # gone
    eligible = sorted(filter(None, scores.values()), reverse=True)
    lowest = eligible[:top][-1] if eligible else 0
    chosen = [pid for pid in pids if pid in unread or not 0 < scores.get(pid, 1) < lowest]
    chosen = [pid for pid in chosen if pid in unread or pid in scores]
    if len(chosen) * _WORTH_LEAVING_OUT > len(pids):
        return pids, scores, lowest, 0
    return chosen, scores, lowest, len(scores) + len(unread) - len(chosen)


def read_rows(
    proc: str, pids: list[int], *, cgroups: bool = True, scores: dict[int, int] | None = None
) -> tuple[list[Row], int]:
    """Those of ``pids`` that are there, and how many could not be read for lack of a right. ``scores``: as known."""
    rows: list[Row] = []
    denied = 0
    known = scores or {}
    for pid in pids:
        try:
            row = read_row(proc, pid, cgroup=cgroups, score=known.get(pid))
        except PermissionError:
            denied += 1
            continue
        if row is not None:
            rows.append(row)
    return rows, denied


class Reading:
    """
    All processes of ``proc``, being read from now on, each with its cgroup or without. ``helper``: share the work with
    a forked process if it pays; only for programs with one thread, as fork() keeps no other. ``top``: only those need
    be read that may be among so many first of a ranking, if this kernel lets one know (:attr:`passed_over` and
    :attr:`lowest` tell of the others). Raises :class:`OSError` if there is no such tree.
    """

    def __init__(self, proc: str = "/proc", *, helper: bool = True, cgroups: bool = True, top: int = 0) -> None:
        self.proc, self._cgroups = proc, cgroups
        self.pids = pids_of(proc)
        self.passed_over = 0  #: processes not read, as their oom_score is below
        self.lowest = 0  #: the lowest oom_score of those that were
        self._scores: dict[int, int] = {}
        many = len(self.pids) >= WORTH_A_HELPER
        self._top = top if many and ranks_like_oom_score(os.uname().release) else 0
        self._child = 0
        if helper and many and len(os.sched_getaffinity(0)) > 1:
            self._fork()

    def rows(self) -> tuple[list[Row], int]:
        """What :func:`read_rows` says of all of them. To be called once."""
        collecting = gc.isenabled()
        gc.disable()  # thousands of tuples of numbers and texts: walking them for cycles finds none
        try:
            if self._child:
                rows, denied = self._join()
            else:
                self._choose()
                rows, denied = self._read(self.pids)
            return (self._with_lenders(rows) if self.passed_over else rows), denied
        finally:
            if collecting:
                gc.enable()

    def _choose(self) -> None:
        if self._top:
            self._chosen(shortlist(self.proc, self.pids, self._top))

    def _chosen(self, found: tuple[list[int], dict[int, int], int, int]) -> None:
        self.pids, self._scores, self.lowest, self.passed_over = found

    def _with_lenders(self, rows: list[Row]) -> list[Row]:
        """*rows* and the parents of those that may be borrowing memory inside vfork: they have a score of 0 then."""
        there = {row[0][0] for row in rows}
        parents = {row[0][3] for row in rows if row[3] == 0 and row[0][10] and row[2] != _NEVER and row[0][0] != 1}
        missing = sorted(parents - there - {0})
        more, _ = read_rows(self.proc, missing, cgroups=self._cgroups)
        self.passed_over -= len(more)
        return rows + more

    def _fork(self) -> None:
        self._tickets, tickets = os.pipe()
        self._choosing, choice = os.pipe()
        self._reading, writing = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            try:
                gc.disable()
                self._choose()
                self._hand_out(tickets)
                with open(choice, "wb") as pipe:
                    marshal.dump((self.pids, self._scores, self.lowest, self.passed_over), pipe)
                rows, denied, _ = self._work()
                with open(writing, "wb") as pipe:
                    marshal.dump((rows, denied), pipe)
            finally:
                os._exit(0)
        for end in (tickets, choice, writing):  # so that who reads where there is nothing left is told so
            os.close(end)

    def _hand_out(self, tickets: int) -> None:
        os.write(tickets, b"".join(number.to_bytes(2) for number in range(self._count())))
        os.close(tickets)

    def _chunk(self) -> int:
        """Processes for one ticket."""
        return max(_CHUNK, len(self.pids) // _MAX_CHUNKS + 1)

    def _count(self) -> int:
        return -(-len(self.pids) // self._chunk())

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
        return read_rows(self.proc, pids, cgroups=self._cgroups, scores=self._scores)

    def _part(self, at: int) -> list[int]:
        chunk = self._chunk()
        return self.pids[at * chunk : (at + 1) * chunk]

    def _join(self) -> tuple[list[Row], int]:
        with open(self._choosing, "rb") as pipe:
            choice = _loaded(pipe.read())
        rows: list[Row] = []
        denied, taken = 0, set[int]()
        if choice is None:  # the helper was killed: there may be an OOM going on
            self._choose()
        else:
            self._chosen(choice)
            rows, denied, taken = self._work()
        with open(self._reading, "rb") as pipe:
            theirs = _loaded(pipe.read())
        os.waitpid(self._child, 0)
        os.close(self._tickets)
        if theirs is None:
            theirs = self._read([pid for at in range(self._count()) if at not in taken for pid in self._part(at)])
        return rows + theirs[0], denied + theirs[1]


def _loaded(data: bytes) -> Any:
    """What the helper wrote; ``None`` if it did not come to it."""
    try:
        return marshal.loads(data)
    except (EOFError, ValueError, TypeError):
        return None
