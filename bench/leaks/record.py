"""
Run the programs of the plan, each in a memory cgroup of its own, and write their traces.

    bench/leaks/record.py [--only FAMILY] [--lanes python=3,node=2,java=2] [--pack]

Needs root, cgroup v1 memory, python3, node 20, a JDK 17. What a run may use is its limit (at most 208 MiB); what all
use together stays below 1 GiB. Where a limit is reached the kernel stops the program instead of killing it
(``memory.oom_control``), so that a hundred exhaustions leave the kernel's log alone; the moment is the kernel's own.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from bench.leaks.plan import SCALE, SECONDS, Run, runs  # noqa: E402

MOUNT = Path("/sys/fs/cgroup/memory")
EVERY = 0.2  # seconds between samples
MOST_BYTES = 1 << 30


class Cgroup:
    """A scratch memory cgroup that stops its processes at the limit."""

    def __init__(self, name: str, limit_mib: int) -> None:
        self.path = MOUNT / f"oomsight-leaks-{os.getpid()}-{name}"
        self.path.mkdir()
        (self.path / "memory.limit_in_bytes").write_text(str(limit_mib << 20))
        with contextlib.suppress(OSError):
            (self.path / "memory.memsw.limit_in_bytes").write_text(str(limit_mib << 20))
        (self.path / "memory.oom_control").write_text("1")

    def enter(self) -> None:
        """Move the calling process in; for the child between fork and exec."""
        (self.path / "cgroup.procs").write_text("0")

    def working_set_kib(self) -> int:
        """Usage without the page cache that can go at once."""
        usage = int((self.path / "memory.usage_in_bytes").read_text())
        stat = dict(line.split() for line in (self.path / "memory.stat").read_text().splitlines())
        return max(0, usage - int(stat["total_inactive_file"])) >> 10

    def exhausted(self) -> bool:
        """Whether a process waits for memory that the limit does not give."""
        return "under_oom 1" in (self.path / "memory.oom_control").read_text()

    def kill(self) -> None:
        """End what runs in it."""
        for _ in range(200):
            pids = (self.path / "cgroup.procs").read_text().split()
            if not pids:
                return
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.02)

    def remove(self) -> None:
        """End what runs in it and remove it."""
        self.kill()
        for _ in range(50):
            with contextlib.suppress(OSError):
                self.path.rmdir()
                return
            time.sleep(0.05)


def command(run: Run, classes: str) -> list[str]:
    """Return the command line of a run."""
    words = [f"seed={run.seed}", *(f"{key}={value}" for key, value in run.arguments.items())]
    if run.program == "python":
        return [sys.executable, "-S", "-E", str(HERE / "programs/service.py"), *words]
    if run.program == "node":
        return ["node", *run.runtime, str(HERE / "programs/service.js"), *words]
    return ["java", *run.runtime, "-cp", classes, "Service", *words]


def make(run: Run, classes: str) -> dict[str, object]:
    """Make one run and return its trace."""
    cgroup = Cgroup(run.name, run.limit_mib)
    environment = {"PATH": os.environ["PATH"], "MALLOC_ARENA_MAX": "2"}
    if run.gives_back:
        environment["MALLOC_MMAP_THRESHOLD_"] = "8192"
    children: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        children.append(
            subprocess.Popen(
                command(run, classes),
                preexec_fn=cgroup.enter,  # noqa: PLW1509 - the only way into a cgroup
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )

    try:
        start()
        began = time.monotonic()
        todo, times, values, exhausted, ended = list(run.restarts), [], [], None, None
        while (t := time.monotonic() - began) < SECONDS:
            times.append(round(t * 1000))
            values.append(cgroup.working_set_kib())
            if cgroup.exhausted():
                exhausted = t
                break
            if children[-1].poll() is not None:
                ended = t
                break
            if todo and t >= todo[0]:
                todo.pop(0)
                cgroup.kill()
                children[-1].wait()
                start()
            time.sleep(max(0.0, began + len(times) * EVERY - time.monotonic()))
    finally:
        cgroup.remove()
        for child in children:
            child.wait()
    return {
        "name": run.name,
        "family": run.family,
        "program": run.program,
        "seed": run.seed,
        "split": run.split,
        "leaky": run.leaky,
        "scale": SCALE,
        "limit_kib": run.limit_mib << 10,
        "leak_start": run.leak_start,
        "planned_end": run.planned_end,
        "exhausted": exhausted,
        "ended": ended,
        "restarts": run.restarts,
        "arguments": run.arguments,
        "runtime": run.runtime,
        "gives_back": run.gives_back,
        "ms": [b - a for a, b in zip([0, *times], times, strict=False)],
        "kib": [b - a for a, b in zip([0, *values], values, strict=False)],
    }


def lane(todo: list[Run], lock: threading.Lock, classes: str, out: Path) -> None:
    """Make one run after the other."""
    while True:
        with lock:
            if not todo:
                return
            run = todo.pop(0)
        trace = make(run, classes)
        with lock:
            (out / f"{run.name}.json").write_text(json.dumps(trace))
            peak = sum(1 for _ in out.iterdir())
            print(
                f"{peak:4} {run.name:28} samples {len(trace['ms']):4}"
                f" exhausted {trace['exhausted']} planned {run.planned_end}"
                f" ended {trace['ended']}",
                flush=True,
            )  # type: ignore[arg-type]


def pack(out: Path) -> None:
    """Write the traces that are there into the two files of the corpus, in the order of their names."""
    found = [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]
    for split in ("train", "test"):
        lines = "".join(
            json.dumps(t, separators=(",", ":")) + "\n" for t in found if t["split"] == split and t["ended"] is None
        )
        (HERE / "traces").mkdir(exist_ok=True)
        (HERE / "traces" / f"{split}.jsonl.gz").write_bytes(gzip.compress(lines.encode(), 9, mtime=0))


def main() -> None:
    """Make the runs that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", help="families whose name contains this")
    parser.add_argument("--lanes", default="python=3,node=2,java=2", help="how many of each at a time")
    parser.add_argument(
        "--out", type=Path, default=Path(tempfile.gettempdir()) / "oomsight-traces", help="one file per trace"
    )
    parser.add_argument("--pack", action="store_true", help="write what is there into the corpus; run nothing")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.pack:
        pack(options.out)
        return
    lanes = {name: int(n) for name, n in (word.split("=") for word in options.lanes.split(","))}
    wanted = [run for run in runs() if not (options.out / f"{run.name}.json").exists()]
    wanted = [run for run in wanted if not options.only or options.only in run.family]
    most = sum(
        n * max((run.limit_mib for run in wanted if run.program == name), default=0) for name, n in lanes.items()
    )
    if most << 20 > MOST_BYTES:
        sys.exit(f"these lanes may use {most} MiB together; at most 1024")
    os.nice(5)
    classes = tempfile.mkdtemp()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    try:
        if any(run.program == "java" for run in wanted):
            subprocess.run(["javac", "-d", classes, str(HERE / "programs/Service.java")], check=True)
        lock, threads = threading.Lock(), []
        for name, n in lanes.items():
            todo = [run for run in wanted if run.program == name]
            threads += [
                threading.Thread(target=lane, args=(todo, lock, classes, options.out), daemon=True) for _ in range(n)
            ]
        for thread in threads:
            thread.start()
            time.sleep(0.7)
        for thread in threads:
            thread.join()
    finally:
        shutil.rmtree(classes)
        for path in MOUNT.glob(f"oomsight-leaks-{os.getpid()}-*"):
            cgroup = Cgroup.__new__(Cgroup)
            cgroup.path = path
            cgroup.remove()


if __name__ == "__main__":
    main()
