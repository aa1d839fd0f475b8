"""
A week of a busy machine in the recorder's store: its size, and bytes per sample. bench/queries.py asks it questions.

    python bench/record_week.py [--days 7] [--keep DIR]

2,000 processes and 200 cgroups, driven by a clock instead of a week: 200 processes and all cgroups change at every
sample, the others once a minute, one process ends and another begins every ten seconds. Samples are a minute apart
first, ten seconds in the last two days, a second in the last two hours and a quarter: of denser ones before that, only
the highest and lowest of each step would be left, which the samples bring with them.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from oomsight.record import codec
from oomsight.record.fields import FIELDS, INDEX, UNLIMITED
from oomsight.record.model import Change
from oomsight.sinks.history_store import HistoryStore
from oomsight.sources.history_files import Shelf

DAY = 86400
NAMES = 60
WORKING, FLOOR = INDEX["cgroup"]["working_set_bytes"], INDEX["cgroup"]["floor_working_set_bytes"]
COUNTERS = {i for i, one in enumerate(FIELDS["host"]) if one.rule == "last" and "total" not in one.name}


@dataclass(slots=True)
class Machine:
    """What is recorded, made up: every figure walks at random from a seed."""

    chance: random.Random
    processes: dict[int, list[int | None]] = field(default_factory=dict)
    cgroups: dict[int, list[int | None]] = field(default_factory=dict)
    names: dict[int, list[int | None]] = field(default_factory=dict)
    host: list[int | None] = field(default_factory=list)
    numbers: int = 0

    def number(self) -> int:
        """A number for something new."""
        self.numbers += 1
        return self.numbers

    def start(self) -> Change:
        """The first sample."""
        change = Change()
        self.host = [self.chance.randrange(1 << 24) for _ in FIELDS["host"]]
        change.new.append((self.number(), {"kind": "host", "name": "bench"}))
        for i in range(NAMES):
            number = self.number()
            self.names[number] = [self.chance.randrange(1 << 18), 9000, 0, 0, 3000, 33, 33]
            change.new.append((number, {"kind": "name", "name": f"service-{i}"}))
        for i in range(200):
            number, size = self.number(), self.chance.randrange(1 << 18)
            known = {"limit_bytes": 1 << 20, "high_bytes": UNLIMITED, "swap_limit_bytes": UNLIMITED,
                     "psi_some_us": None, "psi_full_us": None, "swap_bytes": 0, "events_high": 0, "events_max": 0,
                     "events_oom_kill": 0, "zswap_bytes": 0, "zswapped_bytes": 0}  # fmt: skip
            self.cgroups[number] = [known.get(name, size) for name in INDEX["cgroup"]]
            change.new.append((number, {"kind": "cgroup", "name": f"/system.slice/service-{i}.service"}))
        for i in range(2000):
            self.begin(change, 1, i)
        change.rows = [(1, "host", tuple(self.host))]
        for kind, things in (("name", self.names), ("cgroup", self.cgroups), ("process", self.processes)):
            change.rows += [(number, kind, tuple(values)) for number, values in things.items()]
        return change

    def begin(self, change: Change, now: float, place: int) -> None:
        """A process more."""
        number, size = self.number(), self.chance.randrange(1 << 14)
        self.processes[number] = [size, 4000, 0, 0, 90, 0, None, size]
        words = f"/usr/bin/service-{place % NAMES} --config /etc/service-{place % 200}.conf --worker {place}"
        change.new.append((number, {
            "kind": "process", "pid": 1000 + number, "start": int(now * 100), "name": f"service-{place % NAMES}",
            "cgroup": f"/system.slice/service-{place % 200}.service", "cmd": words, "age": now,
        }))  # fmt: skip

    def step(self, now: float, seconds: float) -> Change:
        """The next sample."""
        change, chance = Change(), self.chance
        for i, value in enumerate(self.host):
            if value is not None and (i in COUNTERS or chance.random() < 0.4):
                move = chance.randrange(1 << 6) if i in COUNTERS else _walk(chance, 4096)
                self.host[i] = max(value + move, 0)
        change.rows.append((1, "host", tuple(self.host)))
        quiet, spread = min(seconds / 60, 0.7), 128 if seconds > 1 else 0  # pages between a step's highest and lowest
        for at, (number, values) in enumerate(self.processes.items()):
            if at < 200 or chance.random() < quiet:
                values[0] = size = max((values[0] or 0) + 4 * _walk(chance, 64), 0)
                values[7] = max(size - 4 * int(chance.random() * spread), 0)
                if chance.random() < 0.05:
                    values[1] = (values[1] or 0) + 4 * chance.randrange(8)
                change.rows.append((number, "process", tuple(values)))
        for number, values in self.cgroups.items():
            move = 4 * _walk(chance, 64)
            moved = ["usage_bytes", "working_set_bytes"]
            if chance.random() < 0.4:
                moved += ["anon_bytes", "file_bytes"]
            for i in map(INDEX["cgroup"].__getitem__, moved):
                values[i] = max((values[i] or 0) + move, 0)
            values[FLOOR] = max((values[WORKING] or 0) - 4 * int(chance.random() * spread), 0)
            change.rows.append((number, "cgroup", tuple(values)))
        for number, values in self.names.items():
            values[0] = max((values[0] or 0) + 4 * _walk(chance, 200), 0)
            change.rows.append((number, "name", tuple(values)))
        for _ in range(max(round(seconds / 10), chance.random() < seconds / 10)):
            number = chance.choice(list(self.processes)[200:])
            del self.processes[number]
            change.gone.append(number)
            self.begin(change, now, chance.randrange(2000))
            born = self.numbers
            change.rows.append((born, "process", tuple(self.processes[born])))
        change.rows = [row for row in change.rows if row[0] not in change.gone]
        return change


def _walk(chance: random.Random, most: int) -> int:
    return int(chance.random() * (2 * most + 1)) - most  # randrange takes five times as long


def fill(path: str, days: float) -> float:
    """Record *days*; return the CPU time it took."""
    end = time.time()
    now, clock = end - days * DAY, [0.0]
    store = HistoryStore(path, "b" * 32, max_bytes=512 << 20, clock=lambda: clock[0])
    machine, begin, change = Machine(random.Random(7)), now, None
    used = time.process_time()
    while now < end:
        left = end - now
        seconds = 1 if left <= 2.25 * 3600 else 10 if left <= 2.05 * DAY else 60
        clock[0] = now
        change = machine.start() if change is None else machine.step(now - begin + 1000, seconds)
        store.write(int((now - begin + 1000) * 1000), int(now * 1000), change)
        for fd in store.sync():  # what is judged by its age is as old as the clock says
            os.utime(fd, (now, now))
            os.close(fd)
        now += seconds
    store.close()
    return time.process_time() - used


def counted(path: str) -> tuple[int, int, int, int]:
    """(bytes, figures at moments, changed rows, changed figures) of a store."""
    size = sum(file.stat().st_size for file in Path(path).iterdir())
    figures = rows = changed = 0
    shelf = Shelf(path)
    for chunk in list(shelf.chunks):
        if chunk.file.journal is not None or not shelf.load(chunk, "host"):
            continue
        index = chunk.index
        assert index is not None
        for place, stream in shelf.streams(chunk):
            kind = codec.KINDS[index.marks.kinds[place]]
            known = len(FIELDS[kind]) - 1 if kind == "process" else len(FIELDS[kind]) - 4 * (kind == "cgroup")
            figures += (min(index.gone_rows[place], chunk.head.rows) - index.first_rows[place]) * known
            before: list[int] | None = None
            for _, values in codec.events(stream, kind):
                rows += 1
                if values is not None:
                    changed += sum(a != b for a, b in zip(values, before or [0] * 64, strict=False))
                    before = list(values)
        chunk.index = None
    return size, figures, rows, changed


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=float, default=7)
    parser.add_argument("--keep", metavar="DIR", help="Leave the store there, and use it if it is there already.")
    wanted = parser.parse_args()
    folder = wanted.keep or tempfile.mkdtemp(prefix="oomsight-week-")
    path = os.path.join(folder, "history")
    try:
        if not os.path.isdir(path):
            used = fill(path, wanted.days)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{wanted.days:g} days written in {used:.0f} s of CPU, peak {peak:.0f} MiB with what makes it up")
        size, figures, rows, changed = counted(path)
        print(f"size {size / (1 << 20):.1f} MiB; bytes per figure and moment {size / figures:.3f}, "
              f"per changed row {size / rows:.2f}, per changed figure {size / changed:.2f}")  # fmt: skip
    finally:
        if wanted.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
