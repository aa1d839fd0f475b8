"""
Measures ``oomsight audit`` on a repository of 10,000 manifests and writes its table in docs/benchmarks.md.

    python bench/audit_bench.py [--count N] [--rounds N] [--dry]

The manifests are made from a seed (bench/manifests.py) in a temporary directory, 18 MB, removed at the end. Measured in
turns: the audit with all cores and with one, and PyYAML's loader in C composing the same files, which is the least any
program does that reads them with it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import manifests
import measure
from run import machine, seconds, table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- measured by bench/audit_bench.py: begin -->", "<!-- measured by bench/audit_bench.py: end -->"
FLOOR = (
    "import sys, yaml, pathlib\n"
    "for path in sorted(pathlib.Path(sys.argv[1]).rglob('*.yaml')):\n"
    "    with open(path, 'rb') as file:\n"
    "        for node in yaml.compose_all(file.read(), yaml.CSafeLoader): pass\n"
)
Row = tuple[str, str, str]


def rows(work: Path, count: int, rounds: int) -> list[Row]:
    """Measure and return the rows of the table."""
    folder = work / "repository"
    size = manifests.make(folder, count)
    env = measure.environment(work / "pyc")
    command = [str(Path(sys.executable).with_name("oomsight")), "audit", "--format", "json", str(folder)]
    cores = len(os.sched_getaffinity(0))
    done = measure.in_turns(
        {
            "all": partial(measure.run, command, env),
            "one": partial(measure.run, [*command, "--jobs", "1"], env),
            "floor": partial(measure.run, [sys.executable, "-c", FLOOR, str(folder)], env),
        },
        rounds,
    )
    watched = measure.run(command, env, sample=True)
    everything, one, floor = done["all"], done["one"], done["floor"]
    pss = (watched.pss_kib or 0) / 1024
    return [
        (f"`audit DIR`, {count:,} manifests, {size / 1e6:.0f} MB, {cores} cores", seconds(everything), "goal: 20 s"),
        ("the same with `--jobs 1`", seconds(one), f"{cores} cores are {one.wall / everything.wall:.2f} × as fast"),
        ("PyYAML's loader in C composing them", seconds(floor),
         f"the audit takes {one.cpu / floor.cpu:.2f} × its CPU time"),
        ("peak memory, all processes together", f"{pss:.0f} MiB", f"{watched.output_bytes / 1e6:.0f} MB of findings"),
    ]  # fmt: skip


def main() -> int:
    """Measure, show and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dry", action="store_true")
    args = parser.parse_args()
    about = machine()
    work = Path(tempfile.mkdtemp(prefix="oomsight-bench-"))
    try:
        found = rows(work, args.count, args.rounds)
    finally:
        shutil.rmtree(work)
    print(about)
    print(table(found))
    if not args.dry:
        head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        date = time.strftime("%Y-%m-%d", time.gmtime())
        measured = f"Measured on {date}: {about}.\n\n{table(found)}"
        PAGE.write_text(f"{head}{BEGIN}\n{measured}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
