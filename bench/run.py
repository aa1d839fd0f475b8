"""
Measures speed and memory of ``oomsight explain`` and writes the table in docs/benchmarks.md.

    python bench/run.py [--quick] [--dry] [PART]...

Everything is measured in this run, side by side with what it is compared with (the programs take turns, so that a busy
machine slows all alike). Logs are made from a seed in a temporary directory, about 1.3 GiB, removed at the end. --quick
uses a tenth of the sizes and writes nothing; --dry measures all and writes nothing. PART: start, inside, large, packed,
many, memory, record.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import logs
import measure
import record_bench
from measure import Process, Series

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- measured by bench/run.py: begin -->", "<!-- measured by bench/run.py: end -->"
GIB, MIB = 1 << 30, 1 << 20
FLOOR = (
    "import sys\nwith open(sys.argv[1], 'rb', buffering=0) as f:\n"
    "    while block := f.read(1 << 18):\n        block.find(b'invoked oom-killer')\n"
)
"""The least any Python program does: read all of it and search once, without a line number."""


@dataclass(slots=True)
class Bench:
    """Where things are, and what came out."""

    work: Path
    env: dict[str, str]
    quick: bool
    rows: list[tuple[str, str, str]] = field(default_factory=list)  #: what, result, goal or peer

    def oomsight(self, *args: str | Path) -> list[str]:
        """Command line of oomsight, as installed beside this interpreter."""
        return [str(Path(sys.executable).with_name("oomsight")), *map(str, args)]

    def command(self, *argv: str | Path, **options: object) -> Callable[[], Process]:
        """A run of *argv*, for :func:`measure.in_turns`."""
        return partial(measure.run, [str(arg) for arg in argv], self.env, **options)  # type: ignore[arg-type]

    def add(self, what: str, result: str, beside: str = "") -> None:
        """Note and show one row."""
        self.rows.append((what, result, beside))
        print(f"{what}: {result}" + (f"   [{beside}]" if beside else ""), flush=True)

    def size(self, size: int) -> int:
        """*size*, or a tenth of it."""
        return size // 10 if self.quick else size


def seconds(series: Series) -> str:
    """Median, smallest and greatest wall time, and median CPU time of all processes."""
    walls = [run.wall_seconds for run in series.runs]
    if series.wall < 1:
        least, most = min(walls) * 1000, max(walls) * 1000
        return f"{series.wall * 1000:.0f} ms ({least:.0f}–{most:.0f}), CPU {series.cpu * 1000:.0f} ms"
    return f"{series.wall:.2f} s ({min(walls):.2f}–{max(walls):.2f}), CPU {series.cpu:.2f} s"


def start(bench: Bench) -> None:
    """One small log, the whole process."""
    log = bench.work / "one.log"
    logs.write(log, iter([logs.dmesg(logs.report(random.Random(3), 110), 50.0).encode()]))
    done = measure.in_turns(
        {
            "empty": bench.command(sys.executable, "-c", "pass"),
            "click": bench.command(sys.executable, "-c", "import click"),
            "explain": bench.command(*bench.oomsight("explain", log)),
        },
        5 if bench.quick else 21,
    )
    bench.add("`explain FILE`, one report of 110 tasks: whole process", seconds(done["explain"]), "goal: 150 ms")
    bench.add("the same: peak resident memory", f"{done['explain'].rss_mib:.1f} MiB", "goal: 45 MiB")
    bench.add("an empty Python process", seconds(done["empty"]))
    bench.add("Python with click imported", seconds(done["click"]))


def inside(bench: Bench) -> None:
    """Parser and diagnosis alone."""
    one, many = bench.work / "one.log", bench.work / "many.log"
    # As dmesg -t prints it: 13 kB.
    logs.write(one, iter(["\n".join([*logs.report(random.Random(3), 110, columns=False), ""]).encode()]))
    logs.write(many, logs.only_reports(random.Random(1), bench.size(17_000_000)))
    command = [sys.executable, str(ROOT / "bench" / "inside.py"), str(one), str(many)]
    found = json.loads(subprocess.run(command, env=bench.env, check=True, capture_output=True).stdout)
    kb = found["bytes"] / 1000
    bench.add(f"one report of {found['tasks']} tasks, {kb:.1f} kB, in process: parse", f"{found['parse_ms']:.2f} ms")
    bench.add("the same: parse and diagnose", f"{found['both_ms']:.2f} ms", "goal: 1.0 ms")
    bench.add(
        f"{found['reports']} reports, nothing else, one core: parse", f"{found['parse_mb_s']:.1f} MB/s", "goal: 20 MB/s"
    )
    bench.add("the same: parse and diagnose", f"{found['both_mb_s']:.1f} MB/s")


def large(bench: Bench) -> None:
    """A large syslog with few reports, beside grep."""
    log, alone = bench.work / "large.log", bench.work / "alone.log"
    count = bench.size(1600)
    size = logs.write(log, logs.lines(random.Random(2), bench.size(GIB), count))
    logs.write(alone, logs.lines(random.Random(2), 0, count))
    done = measure.in_turns(
        {
            "grep": bench.command("grep", "-ci", "oom", log),
            "explain": bench.command(*bench.oomsight("explain", log)),
            "floor": bench.command(sys.executable, "-c", FLOOR, log),
            "one core": bench.command(*bench.oomsight("explain", "-j1", log)),
            "alone": bench.command(*bench.oomsight("explain", "-j1", alone)),
        },
        2 if bench.quick else 5,
    )
    grep, explain, reports = done["grep"], done["explain"], done["alone"]
    bench.add(f"`explain FILE`, {size / MIB:,.0f} MiB with {count:,} reports", seconds(explain), "stretch goal: 2 s")
    bench.add("the same with `-j1`", seconds(done["one core"]))
    bench.add("`grep -ci oom` on it", seconds(grep), f"explain takes {explain.wall / grep.wall:.1f} × as long")
    bench.add("`explain -j1` of its reports alone", seconds(reports))
    ratio = explain.wall / (grep.wall + reports.wall)
    bench.add("wall time: explain / (grep + explain of the reports alone)", f"{ratio:.2f}", "goal: 1.00 at most")
    bench.add("Python that reads it and searches one string", seconds(done["floor"]))


def packed(bench: Bench) -> None:
    """The same, compressed."""
    log = bench.work / "packed.log"
    size = logs.write(log, logs.lines(random.Random(4), bench.size(GIB // 4), bench.size(400)))
    subprocess.run(["gzip", "-1f", str(log)], check=True)
    log = log.with_suffix(".log.gz")
    done = measure.in_turns(
        {
            "zgrep": bench.command("zgrep", "-ci", "oom", log),
            "explain": bench.command(*bench.oomsight("explain", log)),
        },
        2 if bench.quick else 3,
    )
    bench.add(f"`explain FILE.gz`, {size / MIB:,.0f} MiB unpacked", seconds(done["explain"]))
    ratio = done["explain"].wall / done["zgrep"].wall
    bench.add("`zgrep -ci oom` on it", seconds(done["zgrep"]), f"explain takes {ratio:.1f} × as long")
    log.unlink()


def many(bench: Bench) -> None:
    """Files of nothing but reports."""
    paths = [bench.work / f"reports{number}.log" for number in range(4)]
    size = 0
    for number, path in enumerate(paths):
        size += logs.write(path, logs.only_reports(random.Random(10 + number), bench.size(17_000_000)))
    cores = len(os.sched_getaffinity(0))
    done = measure.in_turns(
        {
            "all": bench.command(*bench.oomsight("explain", *paths)),
            "one": bench.command(*bench.oomsight("explain", "-j1", *paths)),
        },
        2 if bench.quick else 3,
    )
    bench.add(
        f"`explain FILE…`, 4 files of nothing but reports, {size / 1e6:.0f} MB, {cores} cores", seconds(done["all"]),
        f"{size / done['all'].wall / 1e6:.1f} MB/s, everything diagnosed",
    )  # fmt: skip
    ratio = done["one"].wall / done["all"].wall
    bench.add("the same with `-j1`", seconds(done["one"]), f"{cores} cores are {ratio:.2f} × as fast")


def memory(bench: Bench) -> None:
    """Peaks of the sum of proportional set sizes, children included."""
    log, reports = bench.work / "large.log", bench.work / "reports.log"
    if not log.exists():
        logs.write(log, logs.lines(random.Random(2), bench.size(GIB), bench.size(1600)))
    logs.write(reports, logs.only_reports(random.Random(1), bench.size(17_000_000)))

    def pour(path: Path, pipe: int) -> None:
        with path.open("rb", buffering=0) as file:
            while block := file.read(MIB):
                _write(pipe, block)

    def one_line(size: int, pipe: int) -> None:
        block = b"x" * MIB
        for _ in range(size // MIB):
            _write(pipe, block)

    endless = bench.size(10 * GIB)
    cases: list[tuple[str, list[str | Path], Callable[[int], None] | None]] = [
        (f"{log.stat().st_size / MIB:,.0f} MiB, file", [log], None),
        (f"{log.stat().st_size / MIB:,.0f} MiB, standard input", ["-"], partial(pour, log)),
        (f"{reports.stat().st_size / 1e6:.0f} MB of nothing but reports, file", [reports], None),
        (f"{endless / GIB:.0f} GiB without a line end, standard input", ["-"], partial(one_line, endless)),
    ]
    for name, args, feed in cases:
        done = measure.run(bench.oomsight("explain", *args), bench.env, feed=feed, sample=True)
        assert done.status == 0, done
        assert done.pss_kib is not None
        bench.add(f"peak memory, {name}", f"{done.pss_kib / 1024:.0f} MiB", f"goal: 100 MiB; {done.wall_seconds:.1f} s")


def _write(pipe: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(pipe, view) :]


def record(bench: Bench) -> None:
    """The recorder beside top and psutil, in one crowd of processes."""
    if why := record_bench.why_not():
        print(f"record: left out, {why}")
        return
    size = record_bench.Size(seconds=15 if bench.quick else 60)
    costs = record_bench.measured(size, str(bench.work / "history"), bench.env)
    own = costs["oomsight"]
    what = f"`record --interval 1`, {size.processes:,} processes ({size.active} active), {size.cgroups} cgroups"
    bench.add(what, f"{own.core_pct:.2f} % of a core", "goal: 4 %")
    bench.add("the same: peak resident memory", f"{own.rss_mib:.1f} MiB", "goal: 45 MiB")
    words = {"top": "`top -b -d 1` at the same time", "psutil": "psutil at the same time, once a second"}
    for name, cost in costs.items():
        if name in words:
            ratio = f"{cost.core_pct / own.core_pct:.1f} × the recorder"
            bench.add(words[name], f"{cost.core_pct:.2f} % of a core", ratio)


PARTS: dict[str, Callable[[Bench], None]] = {
    "start": start, "inside": inside, "large": large, "packed": packed, "many": many, "memory": memory,
    "record": record,
}  # fmt: skip


def machine() -> str:
    """One sentence about the machine, the versions and how busy it was."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    grep = subprocess.run(["grep", "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]
    ram = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    return (
        f"{cores} cores of {cpu[1] if cpu else platform.machine()}, {ram:.0f} GiB of RAM, Linux"
        f" {platform.release().split('-')[0]}, {platform.libc_ver()[0]} {platform.libc_ver()[1]}, CPython"
        f" {platform.python_version()}, {grep}; load average at the begin {load:.1f}"
    )


def table(rows: Iterable[tuple[str, str, str]]) -> str:
    """The rows in Markdown."""
    lines = ["| what | wall time: median (smallest–greatest), CPU time | beside |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {what} | {result} | {beside} |" for what, result, beside in rows)])


def main() -> int:
    """Measure, show and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[*PARTS, []])
    args = parser.parse_args()
    parts = args.parts or list(PARTS)
    about, begin = machine(), time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="oomsight-bench-"))
    try:
        bench = Bench(work, measure.environment(work / "pyc"), args.quick)
        for part in parts:
            PARTS[part](bench)
    finally:
        shutil.rmtree(work)
    print(f"{about}; {time.monotonic() - begin:.0f} s")
    if not args.quick and not args.dry and set(parts) == set(PARTS):
        text = PAGE.read_text(encoding="utf-8")
        head, _, rest = text.partition(BEGIN)
        tail = rest.partition(END)[2]
        date = time.strftime("%Y-%m-%d", time.gmtime())
        measured = f"Measured on {date}: {about}.\n\n{table(bench.rows)}"
        PAGE.write_text(f"{head}{BEGIN}\n{measured}\n{END}{tail}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
