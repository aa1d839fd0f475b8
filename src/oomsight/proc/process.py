"""
One process as /proc/PID shows it: stat, status, statm, smaps_rollup, cgroup.

Sources: fs/proc/array.c (stat, status, statm), fs/proc/task_mmu.c (Vm lines, smaps_rollup), kernel/cgroup/cgroup.c
and kernel/cgroup/cgroup-v1.c (cgroup) of 2.6.36 … 7.3.
"""

from __future__ import annotations

from oomsight._lazy import lazy
from oomsight._named import NamedTuple
from oomsight.proc import fields
from oomsight.proc.fields import stat_fields, status_fields

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from typing import Final

PF_EXITING: Final = 0x00000004  #: include/linux/sched.h
PF_KTHREAD: Final = fields.PF_KTHREAD
parse_int = fields.number

_DELETED: Final = " (deleted)"  # /proc/PID/cgroup says so of a removed cgroup


class Stat(NamedTuple):
    """/proc/PID/stat. Ticks are USER_HZ (100 per second). ``rss_pages`` is the approximate sum of the counters."""

    pid: int
    comm: str  #: may hold anything, also spaces and brackets
    state: str  #: one letter: R S D T t Z X I
    ppid: int
    flags: int  #: PF_… bits
    utime_ticks: int
    stime_ticks: int
    nice: int
    num_threads: int
    starttime_ticks: int  #: since boot; the order of the kernel's process list
    vsize_bytes: int  #: 0 = no memory of its own (kernel thread, zombie)
    rss_pages: int

    @property
    def is_kthread(self) -> bool:
        """Whether it is a kernel thread."""
        return bool(self.flags & PF_KTHREAD)

    @property
    def is_exiting(self) -> bool:
        """Whether it is on its way out (do_exit() has begun)."""
        return bool(self.flags & PF_EXITING)


def parse_stat(text: str) -> Stat | None:
    """The line of /proc/PID/stat or /proc/PID/task/TID/stat; ``None`` if it is none (a process that just ended)."""
    found = stat_fields(text)
    return None if found is None else Stat._make(found)


class Status(NamedTuple):
    """What /proc/PID/status says about identity and memory; a line that is not there (kernel thread, era) is None."""

    uid: int | None = None  #: real uid, as the OOM killer prints it
    vm_lck_kib: int | None = None  #: mlocked
    vm_rss_kib: int | None = None  #: RssAnon + RssFile + RssShmem; exact from 6.17, before as in ``stat``
    rss_anon_kib: int | None = None  #: 4.5+
    rss_file_kib: int | None = None  #: 4.5+
    rss_shmem_kib: int | None = None  #: 4.5+
    vm_pte_kib: int | None = None  #: PTE tables; from 4.15 all levels
    vm_pmd_kib: int | None = None  #: PMD tables, 4.0-4.14
    vm_swap_kib: int | None = None  #: swap entries, 2.6.34+
    hugetlb_kib: int | None = None  #: huge pages, which badness does not count; 4.4+
    cap_eff: int | None = None  #: effective capabilities, a bit set


def parse_status(text: str) -> Status:
    """/proc/PID/status (or of a thread); fields whose lines are missing are ``None``."""
    return Status._make(status_fields(text))


class Statm(NamedTuple):
    """/proc/PID/statm, in pages."""

    size_pages: int
    resident_pages: int
    shared_pages: int  #: file and shmem
    text_pages: int
    data_pages: int


def parse_statm(text: str) -> Statm | None:
    """The seven numbers of /proc/PID/statm; ``None`` if it is none."""
    try:
        size, resident, shared, code, _lib, data = map(int, text.split()[:6])
    except ValueError:
        return None
    return Statm(size, resident, shared, code, data)


class SmapsRollup(NamedTuple):
    """/proc/PID/smaps_rollup (4.14+): what a process would free. ``None`` = the kernel has no such line."""

    rss_kib: int | None
    pss_kib: int | None  #: shared pages divided among their sharers
    pss_anon_kib: int | None
    pss_file_kib: int | None
    pss_shmem_kib: int | None
    private_clean_kib: int | None
    private_dirty_kib: int | None
    swap_kib: int | None
    swap_pss_kib: int | None
    locked_kib: int | None


_ROLLUP_KEYS: Final = (
    "Rss", "Pss", "Pss_Anon", "Pss_File", "Pss_Shmem", "Private_Clean", "Private_Dirty", "Swap", "SwapPss", "Locked",
)  # fmt: skip
_ROLLUP_LINE: Final = lazy(r"(?am)^(\w+):\s*(\d{1,20}) kB$")


def parse_smaps_rollup(text: str) -> SmapsRollup | None:
    """/proc/PID/smaps_rollup; ``None`` if the text has no ``Rss`` line (a kernel thread's is empty)."""
    found = {key: int(value) for key, value in _ROLLUP_LINE.findall(text)}
    return SmapsRollup._make(map(found.get, _ROLLUP_KEYS)) if "Rss" in found else None


def memory_cgroup(text: str) -> str | None:
    """
    Path of the cgroup that memory is charged to: the version 1 hierarchy with the memory controller if there is one,
    else version 2's. ``None`` = neither is in the text (no cgroups, no right to read).
    """
    found = None
    for line in text.split("\n"):
        number, _, rest = line.partition(":")
        names, colon, path = rest.partition(":")
        if colon and number.isdecimal():
            if names == "memory" or "memory" in names.split(","):
                return path.removesuffix(_DELETED)
            if found is None and number == "0" and not names:
                found = path.removesuffix(_DELETED)
    return found


class Process(NamedTuple):
    """One process as a snapshot holds it. ``None`` = the file could not be read."""

    stat: Stat
    status: Status
    oom_score_adj: int | None
    oom_score: int | None  #: what /proc/PID/oom_score showed
    cgroup: str | None  #: of the memory controller
    shares_with: int | None = None  #: pid of the process whose address space it uses, ``None`` = its own or not known
    in_vfork: bool = False  #: borrowing the memory of a parent that waits for it

    @property
    def pid(self) -> int:
        """Process id."""
        return self.stat.pid

    @property
    def comm(self) -> str:
        """The name in the kernel: raw, chosen by whoever runs it."""
        return self.stat.comm
