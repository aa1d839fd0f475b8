"""A little /proc and a little cgroup tree, as files."""

from __future__ import annotations

from pathlib import Path

MEMINFO = "MemTotal:        1048576 kB\nMemFree:          100 kB\nMemAvailable:     409600 kB\nSwapTotal:        8192 kB\nSwapFree:         4096 kB\n"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))


def stat_line(pid: int, comm: str, *, rss: int, state: str = "S", ppid: int = 1, flags: int = 0, threads: int = 1,
              start: int = 5, vsize: int | None = None) -> str:  # fmt: skip
    size = (rss + 10) * 4096 if vsize is None else vsize
    return (f"{pid} ({comm}) {state} {ppid} 0 0 0 -1 {flags} 0 0 0 0 2 65 3 11 20 0 {threads} 0 {start} {size} {rss}"
            " 18446744073709551615 0 0 0 0 0 0 0 0 0\n")  # fmt: skip


def status_text(rss: int, *, uid: int = 1000) -> str:
    sizes = {"VmLck": 0, "VmPin": 0, "VmHWM": 0, "VmRSS": rss * 4, "RssAnon": rss * 4, "RssFile": 0, "RssShmem": 0,
             "VmData": 0, "VmStk": 0, "VmExe": 0, "VmLib": 0, "VmPTE": 40, "VmSwap": 8, "HugetlbPages": 0}  # fmt: skip
    lines = "".join(f"{key}:\t{size:8} kB\n" for key, size in sizes.items())
    return f"Name:\tx\nUid:\t{uid}\t0\t0\t0\n{lines}Threads:\t1\n"


def add_process(proc: Path, pid: int, comm: str = "sh", *, rss: int = 100, adj: int = 0, score: int = 667,
                cgroup: str = "0::/\n", **stat: int | str) -> Path:  # fmt: skip
    folder = proc / str(pid)
    write(folder, {
        "stat": stat_line(pid, comm, rss=rss, **stat), "status": status_text(rss),  # type: ignore[arg-type]
        "oom_score": f"{score}\n", "oom_score_adj": f"{adj}\n", "cgroup": cgroup,
    })  # fmt: skip
    return folder


def make_host(root: Path) -> Path:
    """A host with init, a kernel thread, two services and a protected shell; the memory cgroups are version 2."""
    proc = root / "proc"
    write(proc, {
        "meminfo": MEMINFO, "loadavg": "0.10 0.20 0.30 1/50 139\n", "version": "Linux version 6.12.1-test (x) #1\n", "sys/vm/swappiness": "60\n",
        "sys/vm/panic_on_oom": "0\n", "sys/vm/oom_kill_allocating_task": "0\n",
        "1/mountinfo": "30 1 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
    })  # fmt: skip
    write(root / "sys", {"devices/system/cpu/online": "0-3\n"})
    add_process(proc, 1, "init", score=0, start=1)
    add_process(proc, 2, "kthreadd", rss=0, vsize=0, flags=2129984, score=0, start=1)
    add_process(proc, 30, "java", rss=60000, cgroup="0::/app.slice/big.service\n", score=818, start=9)
    add_process(proc, 20, "a) b", rss=5000, cgroup="0::/app.slice/small.service\n", score=678, start=30)
    add_process(proc, 40, "bash", rss=90000, adj=-1000, cgroup="0::/app.slice/small.service\n", score=0, start=31)
    cgroup = root / "sys/fs/cgroup"
    write(cgroup, {"cgroup.controllers": "memory pids\n", "memory.stat": "anon 0\n", "cgroup.procs": "1\n2\n"})
    for path, limit, pids in (("app.slice", "max", ""), ("app.slice/big.service", "268435456", "30\n"),
                              ("app.slice/small.service", "629145600", "20\n40\n")):  # fmt: skip
        write(cgroup / path, {
            "memory.max": f"{limit}\n", "memory.current": "251658240\n", "memory.high": "max\n", "memory.swap.max": "max\n",
            "memory.swap.current": "0\n", "memory.oom.group": "0\n", "memory.events": "oom_kill 3\n",
            "memory.stat": "inactive_file 1048576\nactive_file 0\n", "cgroup.procs": pids,
        })  # fmt: skip
    return root
