"""
Holds the estimates for JVM and Node against real processes: predicted to be OOM-killed <=> is killed.

    python bench/runtimes/run.py [WORD]...

Runs every scenario whose line holds a WORD (default: all) under each of its limits, one at a time, in a version 1
memory cgroup of at most 512 MiB without swap. Needs root, java with javac, node. The last line is the share predicted
rightly; docs/benchmarks.md has the figures.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import rig
from scenarios import SCENARIOS, Scenario

from oomsight.audit.runtimes import Inputs, estimate


def version(runtime: str) -> str:
    """The release of the program under test."""
    argv = ["java", "-version"] if runtime == "jvm" else ["node", "--version"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    found = re.search(r"(\d+\.\d+[\d._]*)", done.stdout + done.stderr)
    return found[1] if found else ""


def predicted(scenario: Scenario, argv: list[str], limit_bytes: int, release: str) -> int:
    """Bytes the estimate says this scenario needs."""
    ram = int(Path("/proc/meminfo").read_text().split()[1]) << 10
    found = estimate(
        scenario.runtime,
        Inputs(argv=tuple(argv), env=scenario.env, limit_bytes=limit_bytes, ram_bytes=ram, cpus=2, version=release,
               cgroup_version=1, counts=scenario.counts),
    )  # fmt: skip
    given = {name: int(mib * rig.MIB) for name, mib in scenario.given_mib.items()}
    return found.need_bytes(scenario.filled, given)


def main(words: list[str]) -> int:
    """Run and print; status 1 when fewer than 95 % were predicted rightly."""
    if (why := rig.missing()) is not None:
        print(why)
        return 0
    right = total = 0
    releases = {runtime: version(runtime) for runtime in ("jvm", "node")}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for scenario in SCENARIOS:
            if words and not any(word in f"{scenario.runtime} {scenario.name}" for word in words):
                continue
            make = rig.java(scenario.flags, scenario.fill, work) if scenario.runtime == "jvm" else None
            argv = make or rig.node(scenario.flags, scenario.fill)
            for limit_mib in scenario.limits_mib:
                limit = limit_mib * rig.MIB
                need = predicted(scenario, argv, limit, releases[scenario.runtime])
                outcome = rig.run(argv, scenario.env, limit, work)
                agree = (need > limit) is (outcome.end == "oom-killed")
                right, total = right + agree, total + 1
                held = "" if outcome.held_bytes is None else f", held {outcome.held_bytes / rig.MIB:.0f}"
                print(
                    f"{'ok   ' if agree else 'WRONG'} {scenario.runtime} {scenario.name}: limit {limit_mib} MiB, "
                    f"needs {need / rig.MIB:.0f}{held}: {outcome.end}", flush=True,
                )  # fmt: skip
    print(f"{right} of {total} predicted rightly: {100 * right / max(total, 1):.1f} %")
    return int(right * 100 < total * 95)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
