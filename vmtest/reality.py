"""
The simulator against reality: `oomsight simulate` runs the twin of a scenario, on a machine as it was measured in the
guest just before the trigger, and must name the same first victim at about the same time.

A twin (`twins/NAME.toml`) says what the scenario says; memory of machine and kernel come from `before.json` of the run.
The comparison goes beside the result as `reality.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from vmtest.paths import PRODUCT, RESULTS, RIG
from vmtest.verdict import processes

TOLERANCE_SECONDS: Final = 1.0
TOLERANCE_SHARE: Final = 0.25
"""The first kill may come so much earlier or later than on paper: reclaim, swapping and the emulation take time."""


class Foretold(NamedTuple):
    """The first kill on paper; ``None`` = nobody dies."""

    victim: str | None
    seconds: float | None


class Comparison(NamedTuple):
    """One scenario on one kernel, on paper and for real."""

    kernel: str
    scenario: str
    paper: Foretold
    real: Foretold
    ok: bool


def _field_kib(text: str, name: str) -> int:
    match = re.search(rf"^{name}:\s+(\d+) kB$", text, re.M)
    return int(match[1]) if match else 0


def machine_table(before: bytes) -> str:
    """
    The ``[machine]`` table of a twin, from the snapshot before the trigger. What neither is available nor held by a
    process of the scenario is the kernel's, the root file system's and the shell's: ``kernel``.
    """
    meminfo = json.loads(before)["files"]["/proc/meminfo"]
    held_kib = sum(
        _field_kib(files["status"], "RssAnon") + _field_kib(files["status"], "RssShmem")
        for files in processes(before).values()
        if files.get("cmdline", "").startswith("hog\0")
    )
    total_kib, swap_kib = _field_kib(meminfo, "MemTotal"), _field_kib(meminfo, "SwapTotal")
    kernel_kib = max(total_kib - _field_kib(meminfo, "MemAvailable") - held_kib, 0)
    return f'[machine]\nram = "{total_kib}KiB"\nswap = "{swap_kib}KiB"\nkernel = "{kernel_kib}KiB"\n'


def twin(text: str, before: bytes, release: str) -> str:
    """A twin's file completed, the machine taken from the snapshot of a run."""
    return with_machine(text, machine_table(before), release)


def with_machine(text: str, machine: str, release: str) -> str:
    """A twin's file completed: the rules of the guest's kernel, the machine as measured."""
    match = re.match(r"\d+\.\d+", release)
    rules = f'kernel = "{match[0]}"\n' if match else ""
    return text.replace("[run]\n", f"[run]\n{rules}", 1) + "\n" + machine


def foretold(document: Mapping[str, Any]) -> Foretold:
    """The first kill by the kernel in an ``oomsight.simulate`` document."""
    first = document["runs"][0]["first_oom"]
    return Foretold(None, None) if first is None else Foretold(first["victim"], first["time_seconds"])


def compare(kernel: str, scenario: str, paper: Foretold, result: Mapping[str, Any]) -> Comparison:
    """Same first victim, and its time within :data:`TOLERANCE_SECONDS` plus :data:`TOLERANCE_SHARE`."""
    kills, seconds = result["kills"], result["seconds_to_kill"]
    real = Foretold(kills[0]["comm"] if kills else None, seconds)
    ok = paper.victim == real.victim
    if paper.seconds is not None and real.seconds is not None:  # a panic leaves no clock to compare with
        ok = ok and abs(paper.seconds - real.seconds) <= TOLERANCE_SECONDS + TOLERANCE_SHARE * real.seconds
    return Comparison(kernel, scenario, paper, real, ok)


def simulate(text: str) -> dict[str, Any]:
    """What ``oomsight simulate`` says about a scenario file."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(text)
        file.flush()
        command = [sys.executable, "-m", "oomsight.cli.main", "simulate", "--format", "json", file.name]
        env = {**os.environ, "PYTHONPATH": str(PRODUCT.parent)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"simulate: status {done.returncode}: {done.stderr.strip()}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def record(results: Path) -> list[dict[str, Any]]:
    """
    What the tests need to hold the simulator against these results without a guest: the machine as it was measured, and
    who died when. One row for each result that has a twin.
    """
    rows = []
    for path in sorted(results.glob("*/*/result.json")):
        if not (RIG / "twins" / f"{path.parent.name}.toml").exists() or not (path.parent / "before.json").exists():
            continue
        result = json.loads(path.read_text())
        if result["kills"]:
            kept = {name: result[name] for name in ("kernel", "release", "scenario", "seconds_to_kill")}
            machine = machine_table((path.parent / "before.json").read_bytes())
            rows.append(kept | {"victim": result["kills"][0]["comm"], "machine": machine})
    return rows


def comparisons(results: Path) -> Iterator[Comparison]:
    """Every result that has a twin, in the order of kernels and scenarios; each is stored as ``reality.json``."""
    for path in sorted(results.glob("*/*/result.json")):
        home, paper_file = path.parent, RIG / "twins" / f"{path.parent.name}.toml"
        if not paper_file.exists() or not (home / "before.json").exists():
            continue
        result = json.loads(path.read_text())
        text = twin(paper_file.read_text(), (home / "before.json").read_bytes(), result["release"] or "")
        found = compare(result["kernel"], result["scenario"], foretold(simulate(text)), result)
        told = {**found._asdict(), "paper": found.paper._asdict(), "real": found.real._asdict(), "twin": text}
        (home / "reality.json").write_text(json.dumps(told, indent=1) + "\n")
        yield found


def main() -> int:
    """Entry point."""
    options = argparse.ArgumentParser(
        prog="python3 -m vmtest.reality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("results", type=Path, nargs="?", default=RESULTS, help="of vmtest run (default: %(default)s)")
    options.add_argument("--record", type=Path, metavar="FILE", help="write what the tests need of them, and end")
    args = options.parse_args()
    if args.record is not None:
        args.record.write_text(json.dumps(record(args.results), indent=1) + "\n")
        return 0
    if not (PRODUCT / "cli" / "simulate.py").exists():
        print("vmtest.reality: this oomsight has no `simulate` yet", file=sys.stderr)
        return 5
    bad = count = 0
    print(f"     {'kernel':7}{'scenario':18}{'on paper':26}{'for real':26}")
    for found in comparisons(args.results):
        count, bad = count + 1, bad + (not found.ok)
        columns = (
            "never"
            if side.victim is None
            else f"{side.victim} {'' if side.seconds is None else f'{side.seconds:.1f} s'}"
            for side in (found.paper, found.real)
        )
        print(
            f"{'ok ' if found.ok else 'BAD'}  {found.kernel:7}{found.scenario:18}" + "".join(f"{c:26}" for c in columns)
        )
    allowed = f"{TOLERANCE_SECONDS:g} s + {TOLERANCE_SHARE:.0%}"
    print(f"{count} compared; {bad} with another victim or more than {allowed} apart")
    return 1 if bad or not count else 0


if __name__ == "__main__":
    sys.exit(main())
