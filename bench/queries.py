"""
Every question that can be put to a week of a busy machine's record, as whole processes; a table in docs/benchmarks.md.

    python bench/queries.py [--keep DIR] [--dry] [--rounds N] [WORD]...

The week is made by bench/record_week.py (some minutes); --keep leaves it in DIR, and takes it from there if it is
there already. Each question is asked with the files dropped from the page cache (``posix_fadvise``, no others), then
*N* times with them in it; the best of these counts. Beside it: the greatest resident set of any of its processes. --dry
writes no table; WORD: only questions that have it in their name.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import random
import resource
import shutil
import sys
import tempfile
import textwrap
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import logs
import measure
import record_week

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from oomsight.live.events import LogRecord
from oomsight.live.merge import Merger
from oomsight.sinks.live_event import event_dict
from oomsight.sinks.store import Batch, Store
from oomsight.sources.history import History

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- measured by bench/queries.py: begin -->", "<!-- measured by bench/queries.py: end -->"
GOAL_SECONDS, GOAL_MIB = 0.5, 100
CGROUP = "/system.slice/service-7.service"
WEEK = ["--since", "{week}", "--until", "{end}"]


class Form(NamedTuple):
    """One question."""

    name: str
    words: list[str]  #: of the command line; {…} are places and moments


def _history(name: str, *words: str, period: list[str] | None = None) -> Form:
    return Form(name, ["history", "--store", "{record}", *(WEEK if period is None else period), *words])


def _ahead(name: str, *words: str) -> Form:
    return Form(name, [words[0], "--store", "{record}", "--until", "{end}", "--since", "{week}", *words[1:]])


_ONE = ["--by", "host", "--field", "anon_bytes"]
FORMS = (
    _history("the host, and who grew"),
    _history("the host: SVG", "--plot", "{folder}/p.svg"),
    _history("the host: PNG", "--plot", "{folder}/p.png"),
    _history("the host: JSON, 1,000 points", "--points", "1000", "--format", "json"),
    *(_history(f"the biggest, by {kind}", "--by", kind) for kind in ("name", "unit", "container", "cgroup", "process")),
    _history("the biggest processes: SVG", "--by", "process", "--plot", "{folder}/p.svg"),
    _history("the biggest processes: PNG", "--by", "process", "--plot", "{folder}/p.png"),
    _history("the biggest processes: JSON", "--by", "process", "--format", "json"),
    _history("one name", "service-7"),
    _history("one unit", "--by", "unit", "service-7.service"),
    _history("one unit: PNG", "--by", "unit", "service-7.service", "--plot", "{folder}/p.png"),
    _history("part of a name", "ervice-1"),
    _history("a pid", "{pid}"),
    _history("a name that is not there", "nobody-there"),
    _history("an hour of a name, three days ago", "service-7", period=["--since", "{ago3}", "--until", "{ago3h}"]),
    _history("a day of the host", period=["--since", "{ago3}", "--until", "{ago2}"]),
    _history("the machine an hour ago", period=["--at", "{hour}"]),
    _history("the machine three days ago", period=["--at", "{ago3}"]),
    _history("the machine six days ago: JSON", "--format", "json", period=["--at", "{ago6}"]),
    _history("the minutes before a kill", "--around", "last", "--incidents", "{incidents}", period=[]),
    _history("every sample of one figure: JSON", *_ONE, "--format", "json"),
    _history("every sample of one figure: CSV", *_ONE, "--format", "csv"),
    _history("every sample of one figure: Parquet", *_ONE, "--format", "parquet"),
    _ahead("forecast: the host and 200 limited cgroups", "forecast"),
    _ahead("forecast of one cgroup", "forecast", CGROUP),
    _ahead("forecast --backtest of one cgroup", "forecast", CGROUP, "--backtest"),
    _ahead("leaks: 260 curves", "leaks"),
    _ahead("leaks by name: 60 curves", "leaks", "--by", "name"),
    _ahead("leaks by process: 200 curves", "leaks", "--by", "process"),
    Form("status", ["status", "--history", "{record}", "--apart", "0"]),
    Form("explain FILE, one kill, with the record", ["explain", "{log}", "--history", "{record}"]),
    Form("incidents show last, with the record", ["incidents", "show", "last", "--store", "{incidents}"]),
    Form("rightsize: 200 cgroups and the host", ["rightsize", "--from", "history", "--history", "{record}"]),
    Form("rightsize: all of them worked out (-n 0)",
         ["rightsize", "--from", "history", "--history", "{record}", "-n", "0"]),
)
WHOLE = _history("every sample of ten cgroups' figures: CSV", "--by", "cgroup", "--field", "usage_bytes", "--field",
                 "working_set_bytes", "--format", "csv")  # fmt: skip


def prepared(folder: Path, record: str) -> dict[str, str]:
    """What stands in place of the names in braces; a kill two minutes before the record ends, in a log and a store."""
    history = History(record)
    span = history.span()
    assert span is not None
    end = span[1]
    whom = history.entities("process", end - 60, end, 1)[0]
    kill = end - 120
    lines = logs.report(random.Random(1), 110)
    log = folder / "kill.log"
    stamp = datetime.fromtimestamp(kill, UTC).isoformat(timespec="microseconds")
    log.write_text("".join(f"{stamp} web-07 kernel: {line}\n" for line in lines))
    incidents, merger = str(folder / "incidents.db"), Merger()
    for number, line in enumerate(lines):
        raw = f"4,{number},{5_000_000 + number},-;{line}\n".encode()
        merger.feed(LogRecord(raw, line, "/dev/kmsg", number, 5_000_000 + number, "0f" * 16, True, False), 1.0)
    store = Store(incidents)
    store.write(Batch([(one, event_dict(one, stamp), int(kill * 1e6)) for one in merger.flush()]))
    store.close()
    moments = {"end": end, "week": span[0], "hour": end - 3600, "ago2": end - 2 * 86400, "ago3": end - 3 * 86400,
               "ago3h": end - 3 * 86400 + 3600, "ago6": end - 6 * 86400}  # fmt: skip
    said = {name: datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds") for name, at in moments.items()}
    said["end"] = datetime.fromtimestamp(end + 1, UTC).isoformat(timespec="seconds")
    return {**said, "record": record, "folder": str(folder), "incidents": incidents, "log": str(log),
            "pid": str(whom.pid)}  # fmt: skip


def forget(record: str) -> None:
    """Drop the record's files, and no others, from the page cache."""
    for file in Path(record).iterdir():
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def asked(form: Form, places: dict[str, str], env: dict[str, str], rounds: int) -> tuple[str, bool]:
    """A row of the table for a question, and whether it meets its goals."""
    argv = [str(Path(sys.executable).with_name("oomsight")), *(word.format_map(places) for word in form.words)]
    measure.run(argv, env)  # modules compiled
    forget(places["record"])
    cold = measure.run(argv, env)
    runs = [measure.run(argv, env) for _ in range(rounds)]
    if any(run.status not in {0, 3} and "not there" not in form.name for run in runs):
        return f"| {form.name} | exit status {runs[0].status} | | | |", False
    cpu, wall = min(run.cpu_seconds for run in runs), min(run.wall_seconds for run in runs)
    mib = max(run.rss_kib for run in runs) / 1024
    good = wall <= GOAL_SECONDS and mib <= GOAL_MIB
    row = f"| {form.name} | {cpu:.2f} s | {wall:.2f} s | {cold.wall_seconds:.2f} s | {mib:.0f} MiB |"
    return row, good


def rows_a_second(places: dict[str, str], env: dict[str, str], rounds: int) -> str:
    """How fast all samples are written, beside the csv module writing the same rows and reading nothing."""
    argv = [str(Path(sys.executable).with_name("oomsight")), *(word.format_map(places) for word in WHOLE.words)]
    done = min((measure.run(argv, env) for _ in range(rounds)), key=lambda run: run.cpu_seconds)
    import subprocess

    text = subprocess.run(argv, env=env, check=True, capture_output=True, text=True).stdout
    rows = list(csv.reader(io.StringIO(text)))
    begun = time.process_time()
    csv.writer(io.StringIO()).writerows(rows)
    alone = time.process_time() - begun
    said = (f"{WHOLE.name[0].upper()}{WHOLE.name[1:]}: {len(rows):,} rows in {done.cpu_seconds:.2f} s of CPU, "
            f"{len(rows) / done.cpu_seconds / 1000:,.0f},000 rows a second, reading and dating them included; Python's "
            f"`csv` module alone writes the same rows, in memory already, at {len(rows) / alone / 1000:,.0f},000 a "
            f"second. Peak {done.rss_kib >> 10} MiB.")  # fmt: skip
    return textwrap.fill(said, 120)


def main() -> int:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", metavar="WORD")
    parser.add_argument("--keep", metavar="DIR")
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    folder = Path(wanted.keep or tempfile.mkdtemp(prefix="oomsight-week-"))
    record = str(folder / "history")
    try:
        if not os.path.isdir(record):
            print("making the week …", flush=True)
            record_week.fill(record, 7)
        scratch = Path(tempfile.mkdtemp(prefix="queries-", dir=folder))
        env = measure.environment(scratch / "pyc") | {"OOMSIGHT_HISTORY": record}
        places = prepared(scratch, record)
        forms = [form for form in FORMS if not wanted.only or any(word in form.name for word in wanted.only)]
        out = ["| question, over a week | CPU | wall | wall, not cached | peak memory |", "|---|---|---|---|---|"]
        missed = []
        for form in forms:
            row, good = asked(form, places, env, wanted.rounds)
            out.append(row)
            print(row if good else f"{row}  <-- missed", flush=True)
            if not good:
                missed.append(form.name)
        if not wanted.only or any(word in WHOLE.name for word in wanted.only):
            out += ["", rows_a_second(places, env, wanted.rounds)]
            print(out[-1])
        if not wanted.dry and not wanted.only:
            write(out)
        return int(bool(missed))
    finally:
        if wanted.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def write(lines: list[str]) -> None:
    """Put the table into its part of the page."""
    day, load = f"{datetime.now(UTC):%Y-%m-%d}", os.getloadavg()[0]
    size = f"On {day}, {len(os.sched_getaffinity(0))} cores, load {load:.1f} (wall is no better than that allows):"
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text("\n".join([f"{before}{BEGIN}", "", size, "", *lines, "", f"{END}{after}"]), encoding="utf-8")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.exit(main())
