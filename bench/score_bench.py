"""
How long ``oomsight score`` takes over many processes, beside a minimal C program that reads the same files.

    python bench/score_bench.py [--processes 2000] [--rounds 15]

Both are measured in turns in one run, so that a busy machine slows both; the best round of each counts. ``answer`` is
one answer inside a running interpreter (a refresh of ``--watch``, a call from the library): snapshot, rules, ranking,
prediction, text. ``command`` is the whole command, the start of Python and all imports included. The exit status is 1
if an answer takes more than 1.6 times the C program.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
LIMIT = 1.6


def seconds(action: Callable[[], object]) -> float:
    """Wall-clock time of one run."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=15)
    wanted = parser.parse_args()
    sys.path.insert(0, str(HERE.parent / "src"))
    from oomsight.cli.score import ROWS, Host, Wanted, _rendered

    host = Host("/", None, None, None)
    question = Wanted((), None, False, False, ROWS)

    def answer() -> str:
        return _rendered(host.ask(question), "text", 80, "never", compact=False)

    with tempfile.TemporaryDirectory() as folder:
        reader = os.path.join(folder, "read_proc")
        subprocess.run(["cc", "-O2", "-o", reader, str(HERE / "read_proc.c")], check=True)
        spawner = subprocess.Popen([reader, "spawn", str(wanted.processes)], stdout=subprocess.PIPE)
        try:
            assert spawner.stdout is not None
            spawner.stdout.readline()
            environment = os.environ | {"PYTHONPATH": str(HERE.parent / "src")}
            runs: dict[str, Callable[[], object]] = {
                "C program": lambda: subprocess.run([reader], check=True, stdout=subprocess.DEVNULL),
                "answer": answer,
                "command": lambda: subprocess.run(
                    [sys.executable, "-m", "oomsight.cli.main", "score"], check=True, stdout=subprocess.DEVNULL,
                    env=environment,
                ),
            }  # fmt: skip
            times: dict[str, list[float]] = {name: [] for name in runs}
            for _ in range(wanted.rounds):
                for name, run in runs.items():
                    times[name].append(seconds(run))
        finally:
            spawner.kill()
            spawner.wait()
    base = min(times["C program"])
    print(f"{wanted.processes} processes added, best and median of {wanted.rounds} rounds:")
    for name, values in times.items():
        middle = sorted(values)[len(values) // 2]
        print(f"  {name:<10} {min(values) * 1000:7.1f} ms {middle * 1000:7.1f} ms  {min(values) / base:.2f} x C")
    return int(min(times["answer"]) > LIMIT * base)


if __name__ == "__main__":
    sys.exit(main())
