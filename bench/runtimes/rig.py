"""
Runs a JVM or Node program in a scratch memory cgroup (version 1) and says how it ended.

Nothing but the program lives in the cgroup, so whoever the kernel kills there is ours. Needs root and the version 1
memory controller. ``swap`` is off on the machines this is for; where it is on, memory.memsw.limit_in_bytes holds too.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
MEMORY = Path("/sys/fs/cgroup/memory")
MIB = 1 << 20
PATIENCE_SECONDS = 120.0
"""A program that neither becomes ready nor ends by then is ended: it thrashes its own page cache."""


class Outcome(NamedTuple):
    """How one run ended, and what the cgroup held when the program was ready (``None`` = it never was)."""

    end: str  #: ``ready``, ``oom-killed``, ``ended`` (by itself, before it was ready), ``stuck``
    status: int | None
    said: str  #: its last line
    oom_kills: int
    rss_bytes: int | None = None
    cache_bytes: int | None = None
    kernel_bytes: int | None = None
    shmem_bytes: int | None = None
    seconds: float = 0.0

    @property
    def held_bytes(self) -> int | None:
        """Charged memory that reclaim cannot drop when there is no swap."""
        if self.rss_bytes is None:
            return None
        return self.rss_bytes + (self.kernel_bytes or 0) + (self.shmem_bytes or 0)


def missing() -> str | None:
    """Why nothing can be run here; ``None`` = it can."""
    if not (MEMORY / "memory.limit_in_bytes").exists():
        return "no cgroup v1 memory controller at /sys/fs/cgroup/memory"
    probe = MEMORY / f"oomsight-probe-{os.getpid()}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        return f"memory cgroups cannot be made here: {error.strerror}"
    return None


def classes(work: Path) -> Path:
    """Compile Hog.java below *work*; returns the class path."""
    target = work / "classes"
    if not target.exists():
        subprocess.run(["javac", "-XDstringConcat=inline", "-d", str(target), str(HERE / "Hog.java")], check=True)
    return target


@contextmanager
def cgroup(limit_bytes: int) -> Iterator[Path]:
    """A scratch cgroup with a limit; whatever still lives in it at the end is killed."""
    path = MEMORY / f"oomsight-rt-{os.getpid()}-{time.monotonic_ns() % 1_000_000_000}"
    path.mkdir()
    try:
        (path / "memory.limit_in_bytes").write_text(str(limit_bytes))
        with suppress(OSError):
            (path / "memory.memsw.limit_in_bytes").write_text(str(limit_bytes))
        yield path
    finally:
        for _ in range(200):
            for pid in (path / "cgroup.procs").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            try:
                path.rmdir()
                break
            except OSError:
                time.sleep(0.02)


def _stat(path: Path) -> dict[str, int]:
    lines = (path / "memory.stat").read_text().splitlines()
    return {key: int(value) for key, _, value in (line.partition(" ") for line in lines)}


def run(argv: Sequence[str], env: Mapping[str, str], limit_bytes: int, work: Path) -> Outcome:
    """Run *argv* with *env* under *limit_bytes* until it is ready, or ends."""
    began = time.monotonic()
    with cgroup(limit_bytes) as group, (work / "stderr").open("wb") as stderr:
        command = ["/bin/sh", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', str(group), *argv]
        base = {"PATH": os.environ["PATH"], "HOME": str(work), "LC_ALL": "C.UTF-8"}
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, env=base | dict(env), text=True
        )
        assert process.stdout is not None
        assert process.stdin is not None
        timer = _deadline(process)
        try:
            said, ready = "", False
            for line in process.stdout:
                said = line.strip()
                if said.startswith("ready"):
                    ready = True
                    break
            seen = _stat(group) if ready else {}
            kernel = int((group / "memory.kmem.usage_in_bytes").read_text()) if ready else None
            with suppress(BrokenPipeError):
                process.stdin.write("\n")
                process.stdin.close()
            process.stdout.read()
            status = process.wait()
        finally:
            timer.cancel()
            process.kill()
            process.wait()
        kills = int(dict(line.split() for line in (group / "memory.oom_control").read_text().splitlines())["oom_kill"])
        seconds = time.monotonic() - began
    end = "oom-killed" if kills else "ready" if ready else "stuck" if status == -signal.SIGKILL else "ended"
    if not said:
        said = (work / "stderr").read_text(errors="replace").strip().rpartition("\n")[2][:200]
    return Outcome(
        end, status, said, kills, seen.get("total_rss"), seen.get("total_cache"), kernel,
        seen.get("total_shmem"), seconds,
    )


def _deadline(process: subprocess.Popen[str]):
    import threading

    timer = threading.Timer(PATIENCE_SECONDS, process.kill)
    timer.daemon = True
    timer.start()
    return timer


def java(flags: Sequence[str], fill: Sequence[str], work: Path) -> list[str]:
    """The command line of the JVM program."""
    return [shutil.which("java") or "java", *flags, "-cp", str(classes(work)), "Hog", *fill]


def node(flags: Sequence[str], fill: Sequence[str]) -> list[str]:
    """The command line of the Node program."""
    return [shutil.which("node") or "node", *flags, str(HERE / "hog.js"), *fill]
