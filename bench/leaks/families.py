"""
Where the verdict is late and where it is wrong: the training split by family, cross-validated.

    bench/leaks/families.py [--jobs N]

The folds, trees, looks and rule of ``bench/leaks/frontier.py``, at the threshold that ships. *Above* is the moment from
which the curve stands above its past for good, which only hindsight knows: never again does it come down to what it
came up to in the quarter of a day before the leak and a fiftieth of the free memory more. The delay that is published
counts from the start of the leak, visible or not. The test split is not read. Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import accumulate
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from bench.leaks.corpus import DAY, Trace, recorded, synthetic  # noqa: E402
from bench.leaks.fit import SPLIT  # noqa: E402
from bench.leaks.frontier import confidences, looks, told  # noqa: E402

from oomsight.trend.leak import SURE  # noqa: E402
from oomsight.trend.shape import LEAST_SHARE  # noqa: E402

BEGINS = 0.02 * DAY  #: a leak that is no younger than its process by more began with it


class Row(NamedTuple):
    """One trace and what was told of it."""

    trace: Trace
    false: bool
    delay: float | None  #: share of the time from leak start to exhaustion; ``None`` = never told
    above: float | None  #: the same of the moment from which it stands above its past; ``None`` = not before the end


def above(trace: Trace) -> float | None:
    """Return after which share of its time a leak stands above its past for good; ``None`` = never, or no leak."""
    if not trace.leaky or trace.leak_start is None or trace.end is None:
        return None
    times, values, start = trace.series.times, trace.series.values, trace.leak_start
    begin = bisect_left(times, start)
    stop = bisect_left(times, min((moment for moment in trace.series.restarts if moment > start), default=float("inf")))
    before = values[bisect_left(times, start - DAY / 4) : max(bisect_right(times, start + BEGINS), begin + 1)]
    level = max(before)
    level += LEAST_SHARE * (trace.limit_bytes - level)
    least = [*accumulate(reversed(values[begin:stop]), min)][::-1]
    found = next((times[begin + place] for place, value in enumerate(least) if value > level), None)
    return None if found is None else (found - start) / (trace.end - start)


def groups(row: Row) -> Iterator[tuple[str, str]]:
    """Return the (kind of group, group)s that a trace belongs to."""
    trace, made = row.trace, row.trace.origin == "synthetic"
    yield "all", "all"
    yield "runs in", trace.origin
    if trace.leaky and trace.leak_start is not None:
        yield "leak begins", "with the process" if trace.leak_start <= trace.series.times[0] + BEGINS else "later"
    yield "family", f"{trace.family}, {'synthetic' if made else 'recorded'}"


def line(name: str, rows: Sequence[Row]) -> str:
    """Return one row of the table."""
    delays = sorted(row.delay for row in rows if row.delay is not None)
    visible = sorted(row.above for row in rows if row.above is not None)
    middle = [f"{one:.2f}" for one in quantiles(delays, n=4, method="inclusive")] if len(delays) > 1 else [""] * 3
    at = f"{quantiles(visible, n=2, method='inclusive')[0]:.2f}" if len(visible) > 1 else ""
    leaky, false = sum(row.trace.leaky for row in rows), sum(row.false for row in rows)
    return f"| {name} | {len(rows)} | {leaky} | {len(delays)} | {false} | {' | '.join(middle)} | {at} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    traces = [*recorded(SPLIT), *synthetic(SPLIT)]
    with ProcessPoolExecutor(options.jobs) as pool:
        measured = list(pool.map(looks, traces, chunksize=4))
    sure = confidences(traces, measured)
    rows = [Row(one, *told(one, known, SURE), above(one)) for one, known in zip(traces, sure, strict=True)]
    found: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        for kind, group in groups(row):
            found.setdefault(kind, {}).setdefault(group, []).append(row)
    print("| | traces | leaky | told | false | a quarter after | half after | three quarters after | above after |")
    print("|---|---|---|---|---|---|---|---|---|")
    for parts in found.values():
        for group in sorted(parts):
            print(line(group, parts[group]))


if __name__ == "__main__":
    main()
