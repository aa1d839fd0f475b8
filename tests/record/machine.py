"""A made-up machine on disk: /proc, /sys and a memory cgroup tree, as the kernel writes them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

MEMINFO = """\
MemTotal:        8000000 kB
MemFree:         1000000 kB
MemAvailable:    3000000 kB
Buffers:          100000 kB
Cached:          2500000 kB
SwapCached:         4000 kB
Unevictable:        2000 kB
SwapTotal:       4000000 kB
SwapFree:        3500000 kB
Zswap:             50000 kB
Zswapped:         150000 kB
Dirty:               800 kB
Writeback:           200 kB
AnonPages:       3000000 kB
Shmem:            300000 kB
KReclaimable:     250000 kB
SReclaimable:     200000 kB
SUnreclaim:       150000 kB
KernelStack:       20000 kB
PageTables:        40000 kB
CommitLimit:     8000000 kB
Committed_AS:    9000000 kB
VmallocUsed:       60000 kB
Percpu:             7000 kB
HugePages_Total:       0
Hugetlb:               0 kB
"""
VMSTAT = """\
nr_free_pages 250000
pgmajfault 1234
pswpin 10
pswpout 20
allocstall_dma 0
allocstall_normal 7
allocstall_movable 5
workingset_refault_anon 30
workingset_refault_file 70
oom_kill 2
"""
PRESSURE = """\
some avg10=3.00 avg60=1.00 avg300=0.50 total=5000000
full avg10=1.00 avg60=0.20 avg300=0.10 total=2000000
"""
ZONEINFO = """\
Node 0, zone      DMA
  pages free     3840
        boost    0
        min      33
        low      41
        high     49
        spanned  4095
        present  3999
        managed  3840
Node 0, zone   Normal
  pages free     250000
        boost    0
        min      16000
        low      20000
        high     24000
        spanned  2000000
        present  2000000
        managed  1950000
"""
SWAPS = """\
Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority
/dev/zram0                              partition\t2000000\t\t400000\t\t100
/swap.img                               file\t\t2000000\t\t100000\t\t-2
"""
V2 = "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1 = "33 24 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
STAT_V2 = (
    "anon {anon}\nfile 5242880\nkernel 1048576\nshmem 2097152\nzswap 65536\nzswapped 262144\ninactive_file 3145728\n"
    "active_file 0\nslab 524288\n"
)
STAT_V1 = (
    "cache 1\nrss 2\ntotal_cache 5242880\ntotal_rss {anon}\ntotal_shmem 2097152\ntotal_inactive_file 3145728\n"
    "total_swap 4096\n"
)


@dataclass
class Machine:
    """Where it is."""

    root: Path
    version: int = 2

    def __post_init__(self) -> None:
        for name, text in {
            "meminfo": MEMINFO, "vmstat": VMSTAT, "pressure/memory": PRESSURE, "zoneinfo": ZONEINFO, "swaps": SWAPS,
            "self/mountinfo": V2 if self.version == 2 else V1, "stat": "cpu 1 2 3\nprocesses 4321\n",
            "sys/kernel/hostname": "box\n", "sys/kernel/random/boot_id": "11111111-2222-3333-4444-555555555555\n",
            "cgroups": "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t1\t3\t1\n",
        }.items():  # fmt: skip
            self.write(self.proc / name, text)
        self.pids(0)
        self.write(self.root / "sys/block/zram0/mm_stat", "409600000 102400000 110592000 0 0 0 0 0 0\n")
        if self.version == 2:
            self.write(self.cgroups / "cgroup.controllers", "memory\n")
            self.write(self.cgroups / "cgroup.stat", "nr_descendants 2\n")
            self.write(self.cgroups / "memory.stat", STAT_V2.format(anon=1 << 30))
        else:
            self.cgroup("", usage=1 << 31, limit="9223372036854771712")

    @property
    def proc(self) -> Path:
        """/proc."""
        return self.root / "proc"

    @property
    def cgroups(self) -> Path:
        """Where the memory controller is mounted."""
        return self.root / ("sys/fs/cgroup" if self.version == 2 else "sys/fs/cgroup/memory")

    @staticmethod
    def write(path: Path, text: str | bytes) -> None:
        """A file, with its directories."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    def pids(self, last: int) -> None:
        """The number the kernel has handed out last."""
        self.write(self.proc / "loadavg", f"0.00 0.00 0.00 1/100 {last}\n")

    def process(
        self, pid: int, name: str = "app", *, start: int = 100, anon_mib: int = 10, cgroup: str = "/",
        cmdline: bytes = b"app\0",
    ) -> None:  # fmt: skip
        """A process, begun or changed."""
        base, kib = self.proc / str(pid), anon_mib << 10
        self.write(base / "stat", f"{pid} ({name}) S 1 1 1 0 -1 4194304 " + "0 " * 12 + f"{start} 0 0\n")
        self.write(base / "statm", f"99999 {(kib + 2048) // 4} 512 1 0 1 0\n")
        self.write(base / "status", (
            f"Name:\t{name}\nUmask:\t0022\nVmPeak:\t  99 kB\nVmRSS:\t {kib + 2048} kB\nRssAnon:\t {kib} kB\n"
            f"RssFile:\t 1024 kB\nRssShmem:\t 1024 kB\nVmPTE:\t 60 kB\nVmSwap:\t 300 kB\n"))  # fmt: skip
        self.write(base / "oom_score_adj", "-5\n")
        self.write(base / "cmdline", cmdline)
        self.write(base / "smaps_rollup", f"0-1 ---p 0 0 0 [rollup]\nPrivate_Clean:  8 kB\nPrivate_Dirty:  {kib} kB\n")
        line = f"0::{cgroup}\n" if self.version == 2 else f"4:memory:{cgroup}\n"
        self.write(base / "cgroup", line)
        self.pids(pid)

    def end(self, pid: int) -> None:
        """A process, gone."""
        shutil.rmtree(self.proc / str(pid))

    def cgroup(self, path: str, *, usage: int, limit: str = "max", anon: int = 1 << 20, kills: int = 0) -> None:
        """A cgroup, made or changed."""
        base = self.cgroups / path.lstrip("/")
        if self.version == 2:
            files = {
                "memory.current": usage, "memory.max": limit, "memory.high": "max", "memory.peak": usage,
                "memory.swap.current": 4096, "memory.swap.max": "max", "memory.stat": STAT_V2.format(anon=anon),
                "memory.events": f"low 0\nhigh 3\nmax 9\noom 1\noom_kill {kills}\noom_group_kill 0\n",
                "memory.pressure": PRESSURE,
            }  # fmt: skip
        else:
            files = {
                "memory.usage_in_bytes": usage, "memory.limit_in_bytes": limit, "memory.failcnt": 9,
                "memory.max_usage_in_bytes": usage, "memory.stat": STAT_V1.format(anon=anon),
                "memory.oom_control": f"oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n",
                "memory.kmem.usage_in_bytes": 1048576, "memory.memsw.limit_in_bytes": "9223372036854771712",
            }  # fmt: skip
        for name, text in files.items():
            self.write(base / name, f"{text}\n" if not str(text).endswith("\n") else text)
