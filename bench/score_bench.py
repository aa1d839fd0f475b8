"""
How long ``oomsight score`` takes over many processes, beside a minimal C program that reads the same files.

    python bench/score_bench.py [--processes 2000] [--rounds 15] [--crowd node|alike] [--apart]

Two crowds, made by the C program (``read_proc.c`` says how): ``node`` has memory and oom_score_adj as on a Kubernetes
node, so that /proc/PID/oom_score tells most processes from the first few; ``alike`` are all the same, so that
everything of everybody must be read. All is measured in turns in one run, so that a busy machine slows all; the best
round of each counts:

``C, all``      stat, status, oom_score and oom_score_adj of every process, one after the other, nothing parsed
``C, same``     the very files that oomsight reads of these processes
``start``       a Python that does nothing
``answer``      one answer inside a running interpreter (a refresh of ``--watch``, a call from the library): snapshot,
                rules, ranking, prediction, text
``command``     the whole command as installed (modules compiled), the start of Python and all imports included

CPU time is of all processes together: oomsight uses a helper process on a second core. The exit status is 1 if the
command takes more than 1.6 times the wall time of ``C, all``.

``--apart`` (root) measures in a pid namespace, where nothing is bigger than the crowd, and before all other work of the
machine (SCHED_FIFO), which a busy machine needs to say anything about wall time.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import measure

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
LIMIT = 1.6


def seconds(action: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock and CPU time of one run, its processes included."""
    start, used = time.perf_counter(), cpu_seconds()
    action()
    return time.perf_counter() - start, cpu_seconds() - used


def cpu_seconds() -> float:
    """CPU time of this process and those it has waited for, so far."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def reap() -> None:
    """With --apart we are the init of the crowd: its zombies would be read in the next measurement."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def files_read(answer: Callable[[], object]) -> list[str]:
    """The files of processes that one answer reads."""
    from oomsight.sources import procread

    opened: list[str] = []
    real = os.open

    def noting(path: str, flags: int, *more: int, **named: int | None) -> int:
        if path.startswith("/proc/") and path[6].isdigit():
            opened.append(path)
        return real(path, flags, *more, **named)

    affinity = os.sched_getaffinity(0)
    procread.os.open = noting  # type: ignore[assignment]
    os.sched_setaffinity(0, list(affinity)[:1])  # no helper: its files would not be noted
    try:
        answer()
    finally:
        os.sched_setaffinity(0, affinity)
        procread.os.open = real
    return opened


def measured(crowd: str, wanted: argparse.Namespace, reader: str, folder: Path) -> bool:
    """Measure one crowd and print; return whether the command is quick enough."""
    from oomsight.cli.score_run import ROWS, Host, Wanted, rendered

    host = Host("/", None, None, None)
    question = Wanted((), None, False, False, ROWS, few=True)

    def answer() -> str:
        return rendered(host.ask(question), "text", 80, "never", compact=False)

    quiet = subprocess.DEVNULL

    def program(*words: str) -> Callable[[], object]:
        return lambda: subprocess.run(words, check=True, stdout=quiet, stderr=quiet, env=environment)

    environment = measure.environment(folder / "compiled") | {"PYTHONPATH": str(HERE.parent / "src")}
    spawner = subprocess.Popen([reader, "spawn", str(wanted.processes), crowd], stdout=subprocess.PIPE)
    try:
        assert spawner.stdout is not None
        spawner.stdout.readline()
        same = folder / "same"
        same.write_text("\n".join(files_read(answer)))
        runs: dict[str, Callable[[], object]] = {
            "C, all": program(reader),
            "C, same": program(reader, "list", str(same)),
            "start": program(sys.executable, "-c", "pass"),
            "answer": answer,
            "command": program(sys.executable, "-c", "from oomsight.cli.entry import main; main()", "score"),
        }
        for run in runs.values():  # files into the page cache, modules compiled
            run()
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
        for _ in range(wanted.rounds):
            for name, run in runs.items():
                times[name].append(seconds(run))
    finally:
        spawner.kill()
        spawner.wait()
        reap()
    base, base_cpu = (min(column) for column in zip(*times["C, all"], strict=True))
    load = os.getloadavg()[0]
    print(f"{wanted.processes} processes ({crowd}), {wanted.rounds} rounds, load {load:.1f}: best (median)")
    for name, values in times.items():
        wall, cpu = (sorted(column) for column in zip(*values, strict=True))
        middle = len(values) // 2
        print(
            f"  {name:<8} wall {wall[0] * 1000:6.1f} ({wall[middle] * 1000:6.1f}) ms = {wall[0] / base:.2f} x C, all"
            f"   CPU {cpu[0] * 1000:6.1f} ({cpu[middle] * 1000:6.1f}) ms = {cpu[0] / base_cpu:.2f} x C, all"
        )
    return min(wall for wall, _ in times["command"]) <= LIMIT * base


def main() -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--crowd", choices=["node", "alike"], action="append")
    parser.add_argument("--apart", action="store_true")
    wanted = parser.parse_args()
    if wanted.apart:
        again = [word for word in sys.argv if word != "--apart"]
        inside = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "chrt", "--fifo", "1"]
        os.execvp(inside[0], [*inside, sys.executable, *again])
    sys.path.insert(0, str(HERE.parent / "src"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reader = str(folder / "read_proc")
        subprocess.run(["cc", "-O2", "-o", reader, str(HERE / "read_proc.c")], check=True)
        quick = [measured(crowd, wanted, reader, folder) for crowd in wanted.crowd or ("node", "alike")]
    return int(not all(quick))


if __name__ == "__main__":
    sys.exit(main())
