"""
Speed inside one process, one core, after warming up. Run by ``run.py`` as a process of its own; prints JSON.

    python bench/inside.py REPORT REPORTS

REPORT is a file with one report, REPORTS one with many.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from oomsight.diagnose.explain import explain_report
from oomsight.report import parse_text
from oomsight.sources.scan import scan

ROUNDS = 300


def median_ms(action: Callable[[], object]) -> float:
    """Median CPU time of one call in ms."""
    times = []
    for number in range(ROUNDS + 10):
        begin = time.process_time()
        action()
        if number >= 10:
            times.append(time.process_time() - begin)
    return statistics.median(times) * 1000


def main() -> None:
    """Measure and print."""
    one, many = (Path(path).read_bytes() for path in sys.argv[1:3])
    reports = parse_text(one)
    windows = [window.data for window in scan([many])]
    found = {"bytes": len(one), "tasks": len(reports[0].tasks), "parse_ms": median_ms(lambda: parse_text(one))}
    found["both_ms"] = median_ms(lambda: [explain_report(report) for report in parse_text(one)])
    speeds: dict[str, list[float]] = {"parse": [], "both": []}
    for _ in range(3):
        begin = time.process_time()
        count = sum(len(parse_text(window)) for window in windows)
        middle = time.process_time()
        for window in windows:
            for report in parse_text(window):
                explain_report(report)
        end = time.process_time()
        speeds["parse"].append(len(many) / (middle - begin) / 1e6)
        speeds["both"].append(len(many) / (end - middle) / 1e6)
        found["reports"] = count
    found |= {"parse_mb_s": statistics.median(speeds["parse"]), "both_mb_s": statistics.median(speeds["both"])}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
