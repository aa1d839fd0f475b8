"""
Every process, sampled by its statm.

A descriptor of ``/proc/PID/statm`` is kept open and read anew each time: one system call where open, read and close
would be three, and one that answers ``ESRCH`` once the process is gone, so that a pid used again is never taken for the
old process. What statm cannot tell (swap, page tables, shared memory, the name after exec) is read from ``status`` when
a process is new or has changed by much, and otherwise in turn. With too few descriptors allowed, files are opened each
time; that costs more and says the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from oomsight.proc.process import memory_cgroup
from oomsight.record.cmdline import masked
from oomsight.record.model import SHORT_LIVED, Change, Values
from oomsight.record.raw import rollup_private_kib, stat_identity, statm_pages, status_detail

if TYPE_CHECKING:
    from oomsight.record.raw import Detail

_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC
SETTLED_SECONDS: Final = 3.0  #: a process this old gets a row of its own; younger ones are summed by name
BIG_KIB: Final = 64 << 10  #: … and at once if it is this big
TURN_SECONDS: Final = 120.0  #: everything about every process is read anew within this time
LIST_SECONDS: Final = 10.0  #: processes are looked for at least this often
MUCH_KIB: Final = 1 << 10  #: a change of statm by this much is worth a look at ``status``
MOST_LOOKS: Final = 100  #: looks at ``status`` in one sample, those in turn not counted
SUSPECTS: Final = 3  #: processes whose private memory is read, …
SUSPECT_SECONDS: Final = 60.0  #: … this often
SUSPECT_KIB: Final = 8 << 10  #: growth within that time that makes one a suspect
FORGOTTEN_SECONDS: Final = 10.0  #: a name nobody bears for this long is gone


class _Process:
    __slots__ = ("adj", "anon", "born", "cgroup", "checked", "cmdline", "comm", "eid", "fd", "file", "grown", "pid",
                 "private", "raw", "shmem", "start", "sum", "swap", "tables", "then")  # fmt: skip

    def __init__(self, pid: int, comm: str, start: int, born: float) -> None:
        self.pid, self.comm, self.start, self.born = pid, comm, start, born
        self.fd = -1
        self.raw = b""
        self.eid = 0  #: 0 = no row of its own (yet)
        self.sum: _Name | None = None
        self.anon = self.file = self.shmem = 0
        self.swap: int | None = None
        self.tables: int | None = None
        self.adj: int | None = None
        self.private: int | None = None
        self.cgroup: str | None = None
        self.cmdline: str | None = None
        self.checked = 0.0
        self.grown = 0  # anon at the last full look
        self.then = 0  # anon when suspects were last looked for

    def values(self) -> Values:
        return (self.anon, self.file, self.shmem, self.swap, self.tables, self.adj, self.private, self.anon)


class _Name:
    """The sum over processes of one name."""

    __slots__ = ("count", "dirty", "eid", "first_seen", "last_seen", "name", "started", "sums")

    def __init__(self, name: str, now: float) -> None:
        self.name, self.first_seen, self.last_seen = name, now, now
        self.eid = 0
        self.count = self.started = 0
        self.sums = [0, 0, 0, 0, 0]
        self.dirty = True


class ProcessSampler:
    """The processes below *proc*. ``unseen`` and ``count`` describe the last sample."""

    def __init__(
        self, next_id: Callable[[], int], proc: str = "/proc", *, page_kib: int = 4, descriptors: int = 0,
        hertz: int = 100,
    ) -> None:  # fmt: skip
        """*next_id* hands out numbers for entities; *descriptors*: how many may be kept open."""
        self.proc, self.page_kib, self.hertz = proc, page_kib, hertz
        self.count = 0
        self.unseen_kib = 0
        self._next_id, self._free = next_id, descriptors
        self._known: dict[int, _Process] = {}
        self._names_seen: set[str] = set()  # entries of the directory that need no look: known, kernel threads, no pids
        self._forgotten = 0.0
        self._names: dict[str, _Name] = {}
        self._brief = _Name(SHORT_LIVED, 0.0)
        self._brief.eid = -1
        self._last_pid: str | None = None
        self._listed = 0.0
        self._turn: list[_Process] = []
        self._turn_begun = 0.0
        self._swapping = (0, 0)
        self._suspected = 0.0

    def close(self) -> None:
        """Give all descriptors back."""
        for process in self._known.values():
            self._drop_fd(process)

    def sample(self, now: float, swapped: tuple[int, int] = (0, 0)) -> Change:
        """
        What changed since the last sample. *now*: seconds since boot (CLOCK_BOOTTIME); *swapped*: the host's pswpin
        and pswpout, whose standing still says that no process's swap changed.
        """
        change = Change()
        swapping, self._swapping = swapped != self._swapping, swapped
        touched = self._read_all(change)
        self._find_new(now, touched)
        self._look(now, touched, swapping, change)
        self._suspects(now, touched)
        for process in touched.values():
            if process.eid == 0 and (now - process.born >= SETTLED_SECONDS or process.anon + process.file >= BIG_KIB):
                self._settle(process, now, change)
            if process.eid:
                change.rows.append((process.eid, "process", process.values()))
        self._name_rows(now, change)
        self.count = len(self._known)
        return change

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read_all(self, change: Change) -> dict[int, _Process]:
        """Read every known statm; those whose text changed, and those that have yet to settle."""
        touched: dict[int, _Process] = {}
        gone: list[_Process] = []
        pread, page = os.pread, self.page_kib
        for pid, process in self._known.items():
            try:
                raw = pread(process.fd, 80, 0) if process.fd >= 0 else self._statm(process)
            except OSError:
                gone.append(process)
                continue
            if raw == process.raw:
                if process.eid == 0:
                    touched[pid] = process
                continue
            process.raw = raw
            resident, shared = statm_pages(raw)
            self._set(process, (resident - shared) * page, shared * page)
            touched[pid] = process
        for process in gone:
            self._gone(process, change)
        return touched

    def _statm(self, process: _Process) -> bytes:
        raw = _read(f"{self.proc}/{process.pid}/statm", 80)
        if raw is None:
            raise ProcessLookupError
        return raw

    def _set(self, process: _Process, anon: int, shared: int) -> None:
        """Take over statm: shared memory is kept as last seen, the rest of what is shared are mapped files."""
        anon, shared = max(anon, 0), max(shared, 0)
        shmem = min(process.shmem, shared)
        self._move(process, (anon, shared - shmem, shmem, process.swap, process.tables))

    def _move(self, process: _Process, now: tuple[int, int, int, int | None, int | None]) -> None:
        """New figures of a process; the sum it belongs to follows."""
        anon, file, shmem, swap, tables = now
        total = process.sum
        if total is not None:
            sums = total.sums
            sums[0] += anon - process.anon
            sums[1] += file - process.file
            sums[2] += shmem - process.shmem
            sums[3] += (swap or 0) - (process.swap or 0)
            sums[4] += (tables or 0) - (process.tables or 0)
            total.dirty = True
        process.anon, process.file, process.shmem, process.swap, process.tables = now

    def _find_new(self, now: float, touched: dict[int, _Process]) -> None:
        """Processes that were not there; looked for only if the kernel has handed out a pid since."""
        last = (_read(f"{self.proc}/loadavg", 80) or b"").rsplit(None, 1)[-1:]
        newest = last[0].decode("ascii", "replace") if last else None
        if newest is not None and newest == self._last_pid and now - self._listed < LIST_SECONDS:
            return
        self._last_pid, self._listed = newest, now
        if now - self._forgotten >= TURN_SECONDS:  # a kernel thread's number may be in other hands
            self._forgotten = now
            self._names_seen = {str(pid) for pid in self._known}
        names = set(os.listdir(self.proc))
        self._names_seen &= names
        for name in names - self._names_seen:
            self._names_seen.add(name)
            pid = int(name) if name.isdecimal() else 0
            if pid and pid not in self._known and (process := self._meet(pid, now)) is not None:
                touched[pid] = process

    def _meet(self, pid: int, now: float) -> _Process | None:
        base = f"{self.proc}/{pid}/"
        fd = -1
        if self._free > 0:
            try:
                fd = os.open(base + "statm", _FLAGS)
            except OSError:
                return None
        # In this order: if the pid changes hands in between, the descriptor belongs to the earlier process and the next
        # read of it says so.
        stat = _read(base + "stat", 1024)
        identity = stat_identity(stat) if stat else None
        if identity is None or identity.kernel_thread:
            if fd >= 0:
                os.close(fd)
            return None
        # What was begun long before we looked has settled long ago; a start in the future is another clock's.
        process = _Process(pid, identity.comm, identity.start_ticks, min(identity.start_ticks / self.hertz, now))
        if fd >= 0:
            process.fd = fd
            self._free -= 1
        self._known[pid] = process
        self._join(process, now)
        try:
            process.raw = os.pread(fd, 80, 0) if fd >= 0 else self._statm(process)
        except OSError:
            return process
        resident, shared = statm_pages(process.raw)
        self._set(process, (resident - shared) * self.page_kib, shared * self.page_kib)
        return process

    def _look(self, now: float, touched: dict[int, _Process], swapping: bool, change: Change) -> None:
        """Look closely at those that are new, have changed by much, or whose turn it is."""
        looks = 0
        for process in touched.values():
            much = abs(process.anon - process.grown) >= MUCH_KIB
            if much and looks < MOST_LOOKS and now - process.checked >= 1:
                looks += 1
                self._look_at(process, now, change, whole=process.checked == 0)
        for process in self._in_turn(now, 6 if swapping else 1):
            if self._known.get(process.pid) is process and self._look_at(process, now, change, whole=True):
                touched[process.pid] = process

    def _in_turn(self, now: float, haste: int) -> Iterator[_Process]:
        """The share of all processes that is due, so that each is looked at once in a turn (oftener if swapping)."""
        elapsed, self._turn_begun = now - self._turn_begun, now
        due = int(len(self._known) * min(elapsed / TURN_SECONDS, 1.0) * haste) + 1
        for _ in range(due):
            if not self._turn:
                self._turn = list(self._known.values())
            if not self._turn:
                return
            yield self._turn.pop()

    def _look_at(self, process: _Process, now: float, change: Change, *, whole: bool) -> bool:
        """Read ``status``, and with *whole* what changes seldom. Return whether any figure differs."""
        base = f"{self.proc}/{process.pid}/"
        raw = _read(base + "status", 4096)
        if raw is None:
            return False
        process.checked = now
        if process.fd < 0:  # without a descriptor nothing else tells that the pid is another process's by now
            identity = stat_identity(_read(base + "stat", 1024) or b"")
            if identity is None or identity.start_ticks != process.start:
                self._gone(process, change)
                return False
        before = process.values()
        detail = status_detail(raw)
        self._take(process, detail)
        process.grown = process.anon
        renamed = bool(detail.comm) and detail.comm != process.comm
        if renamed:
            self._leave(process)
            process.comm = detail.comm
            self._join(process, now)
        if whole or renamed:
            adj = _read(base + "oom_score_adj", 32)
            process.adj = _int(adj)
            text = _read(base + "cgroup", 8192)
            cgroup = memory_cgroup(text.decode("utf-8", "surrogateescape")) if text else None
            moved = cgroup != process.cgroup
            process.cgroup = cgroup
            if renamed or process.cmdline is None:
                process.cmdline = masked(_read(base + "cmdline", 4096) or b"")
            if process.eid and (moved or renamed):
                change.new.append((process.eid, self._describe(process)))
        return process.values() != before

    def _take(self, process: _Process, d: Detail) -> None:
        if d.anon_kib is None or d.file_kib is None or d.shmem_kib is None:  # before 4.5, or without memory of its own
            now = (process.anon, process.file, process.shmem, d.swap_kib, d.tables_kib)
        else:
            now = (d.anon_kib, d.file_kib, d.shmem_kib, d.swap_kib, d.tables_kib)
        self._move(process, now)

    def _suspects(self, now: float, touched: dict[int, _Process]) -> None:
        """Private memory of the few that grow most: the file walks all page tables, so it is not for everybody."""
        if now - self._suspected < SUSPECT_SECONDS:
            return
        self._suspected = now
        grown = []
        for process in self._known.values():
            growth, process.then = process.anon - process.then, process.anon
            if process.eid and growth >= SUSPECT_KIB:
                grown.append((growth, process))
            if process.private is not None:  # a figure of a minute ago is not one of now
                process.private = None
                touched[process.pid] = process
        for _, process in sorted(grown, key=lambda one: -one[0])[:SUSPECTS]:
            raw = _read(f"{self.proc}/{process.pid}/smaps_rollup", 4096)
            process.private = rollup_private_kib(raw) if raw else None
            touched[process.pid] = process

    # -- who belongs where --------------------------------------------------------------------------------------------

    def _settle(self, process: _Process, now: float, change: Change) -> None:
        self._look_at(process, now, change, whole=True)  # by now it is what it was started to be
        process.eid = self._next_id()
        change.new.append((process.eid, self._describe(process)))

    def _describe(self, p: _Process) -> dict[str, object]:
        return {"kind": "process", "pid": p.pid, "start": p.start, "name": p.comm, "cgroup": p.cgroup, "cmd": p.cmdline,
                "age": p.start / self.hertz}  # fmt: skip

    def _join(self, process: _Process, now: float) -> None:
        total = self._names.get(process.comm)
        if total is None:
            total = self._names[process.comm] = _Name(process.comm, now)
        total.count += 1
        total.started += 1
        total.dirty = True
        process.sum = total
        for i, value in enumerate((process.anon, process.file, process.shmem, process.swap, process.tables)):
            total.sums[i] += value or 0

    def _leave(self, process: _Process) -> None:
        total = process.sum
        if total is None:
            return
        total.count -= 1
        total.dirty = True
        for i, value in enumerate((process.anon, process.file, process.shmem, process.swap, process.tables)):
            total.sums[i] -= value or 0
        process.sum = None

    def _gone(self, process: _Process, change: Change) -> None:
        self._leave(process)
        self._drop_fd(process)
        del self._known[process.pid]
        if process.eid:
            change.gone.append(process.eid)
        # The next look at the list may find the pid in other hands.
        self._last_pid = None
        self._names_seen.discard(str(process.pid))

    def _drop_fd(self, process: _Process) -> None:
        if process.fd >= 0:
            os.close(process.fd)
            process.fd = -1
            self._free += 1

    def _name_rows(self, now: float, change: Change) -> None:
        """Sums by name. A name that has not settled yet is part of :data:`SHORT_LIVED`, so that the total is whole."""
        brief = [0, 0, 0, 0, 0]
        waiting = 0
        for name, total in list(self._names.items()):
            if total.count > 0:
                total.last_seen = now
            elif now - total.last_seen > FORGOTTEN_SECONDS:
                if total.eid:
                    change.gone.append(total.eid)
                del self._names[name]
                continue
            if total.eid == 0 and total.count > 0 and (
                now - total.first_seen >= SETTLED_SECONDS or total.sums[0] >= BIG_KIB
            ):
                total.eid = self._next_id()
                total.dirty = True
                change.new.append((total.eid, {"kind": "name", "name": name}))
            if total.eid == 0:
                waiting += total.count
                brief = [a + b for a, b in zip(brief, total.sums, strict=True)]
            elif total.dirty:
                total.dirty = False
                change.rows.append((total.eid, "name", (*map(_least, total.sums), total.count, total.started)))
        self._brief_row(brief, waiting, change)
        self.unseen_kib = brief[0] + brief[1] + brief[2]

    def _brief_row(self, sums: list[int], count: int, change: Change) -> None:
        if self._brief.eid < 0:
            if not count:
                return
            self._brief.eid = self._next_id()
            change.new.append((self._brief.eid, {"kind": "name", "name": SHORT_LIVED}))
        if sums != self._brief.sums or count != self._brief.count:
            self._brief.sums, self._brief.count = sums, count
            change.rows.append((self._brief.eid, "name", (*sums, count, None)))


def _least(value: int) -> int:
    return value if value > 0 else 0


def _read(path: str, most: int) -> bytes | None:
    """The beginning of a small file; ``None`` = gone, or not ours to read."""
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return None
    try:
        return os.read(fd, most)
    except OSError:
        return None
    finally:
        os.close(fd)


def _int(raw: bytes | None) -> int | None:
    try:
        return None if raw is None else int(raw)
    except ValueError:
        return None
