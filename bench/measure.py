"""Measuring whole processes: time by wait4, memory by the proportional set size of the process and its children."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SAMPLE_SECONDS = 0.02


@dataclass(slots=True)
class Process:
    """One finished process with its children."""

    wall_seconds: float
    cpu_seconds: float  #: user and system, children included
    rss_kib: int  #: greatest resident set of any one of them (the kernel's own record)
    status: int
    output_bytes: int
    pss_kib: int | None = None  #: greatest sum of proportional set sizes seen; ``None`` = not sampled


@dataclass(slots=True)
class Series:
    """Runs of one thing, measured in turns with others."""

    name: str
    runs: list[Process] = field(default_factory=list)

    @property
    def wall(self) -> float:
        """Median wall time in seconds."""
        return statistics.median(run.wall_seconds for run in self.runs)

    @property
    def cpu(self) -> float:
        """Median CPU time in seconds."""
        return statistics.median(run.cpu_seconds for run in self.runs)

    @property
    def rss_mib(self) -> float:
        """Greatest resident set in MiB."""
        return max(run.rss_kib for run in self.runs) / 1024


def environment(cache: Path) -> dict[str, str]:
    """Environment of an installed program: compiled modules at hand (in *cache*), nothing written to the terminal."""
    drop = {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONDEVMODE", "OOMSIGHT_REDACT_KEY"}
    kept = {name: value for name, value in os.environ.items() if name not in drop}
    return kept | {"PYTHONPYCACHEPREFIX": str(cache), "LC_ALL": "C.UTF-8"}


def run(
    argv: Sequence[str], env: dict[str, str], *, feed: Callable[[int], None] | None = None, sample: bool = False
) -> Process:
    """
    Run *argv* to its end, its output into a file (grep does less when it writes to /dev/null).

    *feed* writes to the pipe that is its standard input; with *sample* the memory of the process tree is watched,
    which costs it some time.
    """
    with tempfile.TemporaryFile() as output:
        stdin = subprocess.DEVNULL if feed is None else subprocess.PIPE
        begin = time.perf_counter()
        child = subprocess.Popen(argv, stdin=stdin, stdout=output, stderr=subprocess.DEVNULL, env=env)
        peak: list[int] = [0]
        ended = threading.Event()
        threads = []
        if sample:
            threads.append(threading.Thread(target=_watch, args=(child.pid, peak, ended)))
        if feed is not None:
            assert child.stdin is not None
            threads.append(threading.Thread(target=_feed, args=(feed, child.stdin)))
        for thread in threads:
            thread.start()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        for thread in threads:
            thread.join()
        size = os.fstat(output.fileno()).st_size
    return Process(
        wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, child.returncode, size, peak[0] if sample else None
    )


def _feed(feed: Callable[[int], None], pipe) -> None:
    try:
        feed(pipe.fileno())
    except BrokenPipeError:
        pass
    finally:
        pipe.close()


def _watch(pid: int, peak: list[int], ended: threading.Event) -> None:
    while not ended.wait(SAMPLE_SECONDS):
        peak[0] = max(peak[0], sum(map(_pss_kib, tree(pid))))


def tree(pid: int) -> list[int]:
    """*pid* and its descendants."""
    found = [pid]
    for parent in found:
        try:
            text = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii")
            # A process started by a thread of the parent belongs to that thread.
            for task in os.listdir(f"/proc/{parent}/task"):
                if task != str(parent):
                    text += Path(f"/proc/{parent}/task/{task}/children").read_text(encoding="ascii")
        except OSError:
            continue
        found += map(int, text.split())
    return found


def _pss_kib(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def in_turns(commands: dict[str, Callable[[], Process]], rounds: int) -> dict[str, Series]:
    """Run every command once a round, one after the other, so that a busy machine slows all of them alike."""
    series = {name: Series(name) for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            done = command()
            if done.status not in {0, 1}:  # grep: 1 = nothing found
                sys.exit(f"{name}: exit status {done.status}")
            if number:  # the first round only warms the page cache
                series[name].runs.append(done)
    return series
