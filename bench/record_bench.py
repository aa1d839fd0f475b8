"""
What recording costs: ``oomsight record --interval 1``, ``top -b -d 1`` and psutil beside each other.

    python bench/record_bench.py [--processes 2000] [--cgroups 200] [--active 200] [--seconds 60]

A crowd of sleeping processes in cgroups (crowd.c), of which ACTIVE change their memory every second. All three look at
it once a second at the same time; what counts is the CPU time of each between the moments when all have warmed up and
the end. psutil reads of every process what it can tell of what is recorded: pid, name, start time, memory_info (without
swap, page tables, cgroups or the command line, which would cost it more). Needs root and a memory cgroup controller.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import measure

HERE = Path(__file__).resolve().parent
TICKS = os.sysconf("SC_CLK_TCK")
PSUTIL = """
import time, psutil
while True:
    due = time.monotonic() + 1
    rows = [(p.info["pid"], p.info["memory_info"]) for p in
            psutil.process_iter(["pid", "name", "create_time", "memory_info"])]
    time.sleep(max(due - time.monotonic(), 0))
"""
WARM_SECONDS = 20.0


@dataclass(slots=True)
class Size:
    """What is looked at, and for how long."""

    processes: int = 2000
    active: int = 200  #: of them change every second
    cgroups: int = 200
    seconds: float = 60


@dataclass(slots=True)
class Cost:
    """What one of them used."""

    core_pct: float  #: of one core
    rss_mib: float


def why_not() -> str | None:
    """Why nothing can be measured here; ``None`` = it can."""
    if os.geteuid() != 0:
        return "only root may make the cgroups"
    if shutil.which("cc") is None:
        return "there is no C compiler"
    places = (Path("/sys/fs/cgroup/cgroup.controllers"), Path("/sys/fs/cgroup/memory/cgroup.procs"))
    return None if any(place.exists() for place in places) else "there is no memory cgroup controller"


@contextmanager
def crowd(size: Size) -> Iterator[None]:
    """The processes and cgroups to look at, taken away afterwards."""
    v2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    base = Path("/sys/fs/cgroup" if v2 else "/sys/fs/cgroup/memory") / f"oomsight-bench-{os.getpid()}"
    places = [base, *(base / str(i) for i in range(size.cgroups))]
    for place in places:
        place.mkdir()
        if v2 and place is base:
            (base / "cgroup.subtree_control").write_text("+memory")
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "crowd")
        subprocess.run(["cc", "-O2", "-o", program, str(HERE / "crowd.c")], check=True)
        command = [program, str(size.processes), str(size.active), str(size.cgroups), str(base)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            assert child.stdout is not None
            if child.stdout.readline() != b"ready\n":
                raise SystemExit("record_bench: the crowd could not be started")
            yield
        finally:
            child.kill()
            child.wait()
            deadline = time.monotonic() + 20
            for place in reversed(places):
                while time.monotonic() < deadline:
                    with suppress(OSError):
                        place.rmdir()
                        break
                    time.sleep(0.05)


def measured(size: Size, store: str, env: dict[str, str]) -> dict[str, Cost]:
    """Run all three beside each other; return what each cost."""
    oomsight = str(Path(sys.executable).with_name("oomsight"))
    commands = {
        "oomsight": [oomsight, "record", "--interval", "1", "--store", store],
        "top": ["top", "-b", "-d", "1"],
        "psutil": [sys.executable, "-c", PSUTIL],
    }
    if shutil.which("top") is None:
        del commands["top"]
    if subprocess.run([sys.executable, "-c", "import psutil"], check=False, stderr=subprocess.DEVNULL).returncode:
        del commands["psutil"]
    with crowd(size):
        running = {
            name: subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, env=env)
            for name, command in commands.items()
        }  # fmt: skip
        try:
            time.sleep(WARM_SECONDS)
            begin, before = time.monotonic(), {name: cpu_seconds(child.pid) for name, child in running.items()}
            time.sleep(size.seconds)
            lasted = time.monotonic() - begin
            return {
                name: Cost((cpu_seconds(child.pid) - before[name]) / lasted * 100, peak_mib(child.pid))
                for name, child in running.items()
            }
        finally:
            for child in running.values():
                child.terminate()
            for child in running.values():
                child.wait()


def cpu_seconds(pid: int) -> float:
    """User and system time of a running process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_mib(pid: int) -> float:
    """Greatest resident set of a running process so far."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2000)
    parser.add_argument("--cgroups", type=int, default=200)
    parser.add_argument("--active", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    wanted = parser.parse_args()
    if why := why_not():
        print(f"record_bench: {why}")
        return 5
    with tempfile.TemporaryDirectory() as folder:
        store = os.path.join(folder, "history")
        env = measure.environment(Path(folder) / "pyc")
        costs = measured(Size(wanted.processes, wanted.active, wanted.cgroups, wanted.seconds), store, env)
    crowded = f"{wanted.processes} processes, {wanted.active} of them active, {wanted.cgroups} cgroups"
    print(f"{crowded}; {wanted.seconds:g} s, load {os.getloadavg()[0]:.1f}")
    base = costs["oomsight"].core_pct
    for name, cost in costs.items():
        ratio = "" if name == "oomsight" else f" = {cost.core_pct / base:.1f} x oomsight"
        print(f"  {name:<9} {cost.core_pct:5.2f} % of a core, peak {cost.rss_mib:5.1f} MiB{ratio}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
