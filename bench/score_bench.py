"""
How long ``oomsight score`` takes over many processes, beside a minimal C program that reads the same files.

    python bench/score_bench.py [--processes 2000] [--rounds 15]

Both read stat, status, oom_score and oom_score_adj of every process: the C program one after the other, in one thread,
and nothing else; oomsight with a helper process on a second core, and the cgroup files of the processes it shows. They
are measured in turns in one run, so that a busy machine slows both; the best round of each counts. ``command`` is the
whole command as installed (modules compiled), the start of Python and all imports included; ``answer`` is one answer
inside a running interpreter (a refresh of ``--watch``, a call from the library): snapshot, rules, ranking, prediction,
text. CPU time is of all processes together. The exit status is 1 if the command takes more than 1.6 times the wall time
of the C program.
"""

from __future__ import annotations

import argparse
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


def main() -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=15)
    wanted = parser.parse_args()
    sys.path.insert(0, str(HERE.parent / "src"))
    from oomsight.cli.score_run import ROWS, Host, Wanted, rendered

    host = Host("/", None, None, None)
    question = Wanted((), None, False, False, ROWS)

    def answer() -> str:
        return rendered(host.ask(question), "text", 80, "never", compact=False)

    with tempfile.TemporaryDirectory() as folder:
        reader = os.path.join(folder, "read_proc")
        subprocess.run(["cc", "-O2", "-o", reader, str(HERE / "read_proc.c")], check=True)
        spawner = subprocess.Popen([reader, "spawn", str(wanted.processes)], stdout=subprocess.PIPE)
        try:
            assert spawner.stdout is not None
            spawner.stdout.readline()
            environment = measure.environment(Path(folder) / "compiled") | {"PYTHONPATH": str(HERE.parent / "src")}
            runs: dict[str, Callable[[], object]] = {
                "C program": lambda: subprocess.run([reader], check=True, stdout=subprocess.DEVNULL),
                "answer": answer,
                "command": lambda: subprocess.run(
                    [sys.executable, "-c", "from oomsight.cli.entry import main; main()", "score"], check=True,
                    stdout=subprocess.DEVNULL, env=environment,
                ),
            }  # fmt: skip
            for run in runs.values():  # files into the page cache, modules compiled
                run()
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
            for _ in range(wanted.rounds):
                for name, run in runs.items():
                    times[name].append(seconds(run))
        finally:
            spawner.kill()
            spawner.wait()
    base, base_cpu = (min(column) for column in zip(*times["C program"], strict=True))
    print(f"{wanted.processes} processes added, {wanted.rounds} rounds, load {os.getloadavg()[0]:.1f}: best (median)")
    for name, values in times.items():
        wall, cpu = (sorted(column) for column in zip(*values, strict=True))
        middle = len(values) // 2
        print(
            f"  {name:<10} wall {wall[0] * 1000:6.1f} ({wall[middle] * 1000:6.1f}) ms = {wall[0] / base:.2f} x C"
            f"   CPU {cpu[0] * 1000:6.1f} ({cpu[middle] * 1000:6.1f}) ms = {cpu[0] / base_cpu:.2f} x C"
        )
    return int(min(wall for wall, _ in times["command"]) > LIMIT * base)


if __name__ == "__main__":
    sys.exit(main())
