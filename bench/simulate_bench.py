"""
How long a simulated day takes at steps of one second: 200 processes in ten cgroups with limits, swap, no crash.

    python bench/simulate_bench.py [--rounds 5]

Leaks, Node heaps whose garbage makes a saw of seconds, constant sizes and spikes of traffic, 50 of each. Three
variants: no guard; a guard that looks at memory available; a guard that looks at pressure, on a machine that drops page
cache all day. CPU seconds, the best round of each. The exit status is 1 if one of them takes more than 2 seconds.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

LIMIT_SECONDS = 2.0
KINDS = (
    'kind = "leak"\nsize = "20MiB"\nrate = "100KiB/min"',
    'kind = "heap"\nruntime = "node"\nlive = "50MiB"\nheap_max = "200MiB"\ngarbage = "700KiB/s"',
    'kind = "constant"\nsize = "100MiB"',
    'kind = "traffic"\nsize = "50MiB"\nper_connection = "100KiB"\npeak_connections = 200\nspike_at = "5min"\n'
    'every = "20min"',
)  # fmt: skip
GUARDS = {
    "no guard": "",
    "guard by memory available": '[guard]\nkind = "available"\navailable = 5\n',
    "guard by pressure": '[guard]\nkind = "pressure"\npressure = 60\ncgroup = "/"\n',
}


def text_of(guard: str) -> str:
    """A scenario file."""
    ram = "24GiB" if "pressure" in guard else "64GiB"
    parts = [f'title = "a day"\n[run]\nduration = "1d"\nstep = "1s"\n[machine]\nram = "{ram}"\nswap = "16GiB"\n', guard]
    parts += [f'[[cgroup]]\npath = "/c{number}"\nmax = "8GiB"\n' for number in range(10)]
    parts += [
        f'[[process]]\nname = "p{number}"\ncgroup = "/c{number % 10}"\nstart = "{number}s"\n{KINDS[number % 4]}\n'
        for number in range(200)
    ]
    parts += [
        f'[[process]]\nname = "cache{number}"\ncgroup = "/c{number}"\nkind = "cache"\nfiles = "2GiB"\n'
        'rate = "50MiB/s"\n'
        for number in range(10)
    ]
    return "\n".join(parts)


def main() -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
    from oomsight.simulate.engine import simulate
    from oomsight.simulate.scenario import read_scenario

    slow = False
    for name, guard in GUARDS.items():
        scenario, errors = read_scenario(text_of(guard))
        if scenario is None:
            print(errors)
            return 2
        took = []
        for _ in range(rounds):
            start = time.process_time()
            run = simulate(scenario)
            took.append(time.process_time() - start)
        slow |= min(took) > LIMIT_SECONDS
        print(f"{name:<26} {min(took):.2f} s CPU ({max(took):.2f} at most), {run.steps_looked_at:,} looks, "
              f"{len(run.kills)} kills, ended at {run.end_seconds:,.0f} s")  # fmt: skip
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
