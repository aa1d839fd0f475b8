"""
What the rules know of a host: texts of its files by path, its processes and cgroups. ``None`` = could not be read.

A sample of a rule is written in the same form: a line ``# /path``, then the text of that file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight.proc.machine import MemInfo, Mount, parse_meminfo, parse_mountinfo
from oomsight.proc.memcg import Memcg
from oomsight.proc.process import Process, Stat, Status, parse_int
from oomsight.score.model import Machine, Snapshot

if TYPE_CHECKING:
    from oomsight.proc.memcg import Limit

KIB: Final = 1 << 10
GIB_KIB: Final = 1 << 20  #: KiB in a GiB

FILES: Final = (
    "/proc/meminfo", "/proc/swaps", "/proc/cmdline", "/proc/self/mountinfo", "/proc/pressure/memory", "/proc/version",
    *(f"/proc/sys/vm/{name}" for name in (
        "swappiness", "overcommit_memory", "overcommit_ratio", "min_free_kbytes", "watermark_scale_factor",
        "panic_on_oom", "oom_kill_allocating_task", "oom_dump_tasks", "zone_reclaim_mode", "max_map_count",
        "nr_overcommit_hugepages",
    )),
    "/proc/sys/kernel/panic", "/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max", "/proc/cgroups", "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none", "/sys/module/zswap/parameters/enabled",
    "/etc/systemd/journald.conf", "/etc/systemd/system.conf",
)  # fmt: skip
"""Files that are read whole."""

PLACES: Final = ("/var/log/journal", "/var/log/kern.log", "/var/log/messages", "/var/log/syslog")
"""Places of which it only matters whether they are there."""


class Pids(NamedTuple):
    """Number of tasks in a cgroup, and its limit."""

    current: int | None
    limit: Limit  #: pids.max


@dataclass(frozen=True)
class HostFacts:
    """One host at nearly one moment."""

    texts: Mapping[str, str] = field(default_factory=dict)  #: of :data:`FILES`
    places: frozenset[str] = frozenset()  #: those of :data:`PLACES` that are there
    snapshot: Snapshot | None = None  #: processes and cgroups
    pids: Mapping[str, Pids] = field(default_factory=dict)  #: by cgroup: those with a limit of tasks
    log_buffer_bytes: int | None = None  #: the kernel's ring buffer; ``None`` = not known
    unseen: tuple[str, ...] = ()  #: what could not be seen and what would show it, marked

    @cached_property
    def memory(self) -> MemInfo:
        """/proc/meminfo."""
        return parse_meminfo(self.texts.get("/proc/meminfo", ""))

    @property
    def ram_kib(self) -> int | None:
        """MemTotal."""
        return self.memory.mem_total_kib

    @cached_property
    def mounts(self) -> tuple[Mount, ...]:
        """What is mounted where."""
        return parse_mountinfo(self.texts.get("/proc/self/mountinfo", ""))

    def number(self, name: str) -> int | None:
        """A sysctl as ``sysctl`` names it: ``vm.swappiness``."""
        return parse_int(self.texts.get("/proc/sys/" + name.replace(".", "/")))


_SECTION: Final = re.compile(r"^# (/\S+)\n", re.MULTILINE)

SMALL_HOST: Final = """\
# /proc/meminfo
MemTotal:        8000000 kB
MemFree:         4000000 kB
MemAvailable:    6000000 kB
SwapTotal:       2000000 kB
SwapFree:        2000000 kB
CommitLimit:     6000000 kB
Committed_AS:    1000000 kB
HugePages_Total:       0
HugePages_Free:        0
Hugepagesize:       2048 kB
# /proc/pressure/memory
some avg10=0.00 avg60=0.00 avg300=0.00 total=0
full avg10=0.00 avg60=0.00 avg300=0.00 total=0
# /var/log/journal
"""
"""What a sample leaves out."""


def parse_host(text: str) -> HostFacts:
    """The host a sample describes; what it leaves out is :data:`SMALL_HOST`'s. ``(gone)`` = that is not there."""
    texts: dict[str, str] = {}
    for whole in (SMALL_HOST, text):
        parts = _SECTION.split(whole if whole.endswith("\n") else whole + "\n")
        texts.update(zip(parts[1::2], parts[2::2], strict=True))
    texts = {path: body for path, body in texts.items() if body.strip() != "(gone)"}
    rows = [line.split() for line in texts.pop("/processes", "").splitlines()]
    tasks = [line.split() for line in texts.pop("/pids", "").splitlines()]
    pids = {path: Pids(int(now), int(most)) for path, now, most in tasks}
    places = frozenset(path for path in PLACES if path in texts)
    return HostFacts(texts, places, _snapshot(rows, texts) if rows else None, pids)


def _snapshot(rows: list[list[str]], texts: Mapping[str, str]) -> Snapshot:
    """
    Processes of a sample: ``pid comm rss_mib oom_score_adj cgroup limit_mib`` (``max`` = no limit), and the number of
    threads where it is not 1.
    """
    memory = parse_meminfo(texts.get("/proc/meminfo", ""))
    processes, cgroups = [], {}
    for pid, comm, rss, adj, cgroup, limit, *threads in rows:
        pages = int(rss) << 8
        count = int(threads[0]) if threads else 1
        stat = Stat(int(pid), comm, "S", 1, 0, 0, 0, 0, count, int(pid), pages << 13, pages)
        status = Status(uid=0, vm_rss_kib=pages << 2, rss_anon_kib=pages << 2, rss_file_kib=0, rss_shmem_kib=0)
        processes.append(Process(stat, status, int(adj), None, cgroup))
        size: Limit = "unlimited" if limit == "max" else int(limit) << 20
        cgroups[cgroup] = Memcg(path=cgroup, version=2, limit_bytes=size, usage_bytes=pages << 12)
    machine = Machine(ram_pages=(memory.mem_total_kib or 0) // 4, swap_pages=(memory.swap_total_kib or 0) // 4, cpus=2)
    return Snapshot(machine=machine, processes=tuple(processes), cgroups=cgroups)
