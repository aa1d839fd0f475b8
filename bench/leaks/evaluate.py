"""
How good the verdicts and forecasts are, on the labelled corpus. Never fits anything.

    bench/leaks/evaluate.py [--split train|test] [--family TEXT] [--wrong] [--json]

Every trace is judged at moments evenly spread over it, with nothing but what was known then. An alarm is a verdict
"leak" at four moments in a row. Healthy traces with an alarm, and leaky ones with an
alarm before their leak, are false.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from bench.leaks.corpus import DAY, Trace, recorded, synthetic  # noqa: E402
from bench.leaks.fit import moments  # noqa: E402

from oomsight.trend.exhaust import time_left  # noqa: E402
from oomsight.trend.leak import judge  # noqa: E402

CHECKS = 144  #: moments per trace
IN_A_ROW = 4  #: verdicts that make an alarm
THIRD = 1 / 3  #: of the headroom used: the moment at which forecasts are compared with the truth


@dataclass
class Result:
    """What came of one trace."""

    name: str
    family: str
    origin: str
    leaky: bool
    days: float
    healthy_days: float
    detected: bool = False
    delay: float | None = None  #: share of the time from leak start to exhaustion
    false_alarms: int = 0  #: times that an alarm began without a leak
    covered: list[bool] = field(default_factory=list)  #: per forecast: did the 80 % interval hold the truth?
    error_at_third: float | None = None  #: of the time left, as a share of it
    verdict: str = ""


def run(trace: Trace) -> Result:
    """Judge one trace from its beginning to its end."""
    start = trace.leak_start if trace.leaky and trace.leak_start is not None else float("inf")
    first, last = trace.series.times[0], trace.series.times[-1]
    result = Result(trace.name, trace.family, trace.origin, trace.leaky, trace.days, (min(start, last) - first) / DAY)
    in_a_row, alarm = 0, False
    for now in moments(trace, CHECKS):
        found = judge(trace.series, trace.limit_bytes, now)
        in_a_row = in_a_row + 1 if found.is_leak else 0
        begins = in_a_row == IN_A_ROW
        alarm = in_a_row >= IN_A_ROW
        if begins and now < start:
            result.false_alarms += 1
        if alarm and now >= start and not result.detected and trace.end is not None:
            result.detected = True
            result.delay = min(1.0, (now - start) / (trace.end - start))
        result.verdict = str(found.verdict)
        if alarm and now >= start and trace.exhausted is not None and now < trace.exhausted:
            forecast(trace, result, now)
    return result


def forecast(trace: Trace, result: Result, now: float) -> None:
    """Compare what is forecast at *now* with what came."""
    assert trace.exhausted is not None
    left = time_left(trace.series, trace.limit_bytes, now)
    truth = trace.exhausted - now
    if left is None:
        result.covered.append(False)
        return
    result.covered.append(
        left.low_seconds <= truth <= (float("inf") if left.high_seconds is None else left.high_seconds)
    )
    if result.error_at_third is None and left.headroom_bytes <= (1 - THIRD) * (
        left.headroom_bytes + left.growth.grown_bytes
    ):
        result.error_at_third = abs(left.seconds - truth) / truth


def summary(results: list[Result]) -> dict[str, float | int | None]:
    """Put results into the numbers that matter."""
    true = sum(r.detected for r in results)
    false = sum(r.false_alarms > 0 for r in results)
    leaky = sum(r.leaky for r in results)
    delays = [r.delay for r in results if r.delay is not None]
    covered = [c for r in results for c in r.covered]
    per_trace = [sum(r.covered) / len(r.covered) for r in results if r.covered]
    errors = [r.error_at_third for r in results if r.error_at_third is not None]
    days = sum(r.healthy_days for r in results)
    return {
        "traces": len(results),
        "leaky": leaky,
        "precision": true / (true + false) if true + false else None,
        "recall": true / leaky if leaky else None,
        "delay": median(delays) if delays else None,
        "false_alarms_per_day": sum(r.false_alarms for r in results) / days if days else None,
        "service_days": days,
        "forecasts": len(covered),
        "covered": sum(covered) / len(covered) if covered else None,
        "covered_per_trace": sum(per_trace) / len(per_trace) if per_trace else None,
        "error_at_third": median(errors) if errors else None,
    }


def line(name: str, s: dict[str, float | int | None]) -> str:
    """Return one row of the table."""
    show = lambda key, form: "-" if s[key] is None else format(s[key], form)  # noqa: E731
    return (
        f"{name:26}{s['traces']:>5}{s['leaky']:>6}{show('precision', '.3f'):>10}{show('recall', '.3f'):>8}"
        f"{show('delay', '.2f'):>7}"
        f"{show('false_alarms_per_day', '.4f'):>12}{show('covered', '.2f'):>9}{show('error_at_third', '.2f'):>8}"
    )


def main() -> None:
    """Evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--split", choices=["train", "test"], default="test")
    parser.add_argument("--family", default="", help="only families whose name contains this")
    parser.add_argument("--wrong", action="store_true", help="list the traces judged wrongly")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    traces = [t for t in [*recorded(options.split), *synthetic(options.split)] if options.family in t.family]
    with ProcessPoolExecutor(options.jobs) as pool:
        results = list(pool.map(run, traces, chunksize=4))
    real = [r for r in results if r.origin != "synthetic"]
    made = [r for r in results if r.origin == "synthetic"]
    if options.json:
        print(
            json.dumps(
                {
                    "split": options.split,
                    "all": summary(results),
                    "recorded": summary(real),
                    "synthetic": summary(made),
                    "traces": [asdict(r) for r in results],
                }
            )
        )
        return
    print(
        f"split: {options.split}\n{'':26}{'n':>5}{'leaky':>6}{'precision':>10}{'recall':>8}"
        f"{'delay':>7}{'false/day':>12}"
        f"{'in 80 %':>9}{'error':>8}"
    )
    for title, part in (("recorded", real), ("synthetic", made)):
        for family in sorted({r.family for r in part}):
            print(line(f"{title[:4]} {family}", summary([r for r in part if r.family == family])))
    for origin in sorted({r.origin for r in real}):
        print(line(f"all of {origin}", summary([r for r in real if r.origin == origin])))
    for title, part in (("recorded", real), ("synthetic", made), ("all", results)):
        if part:
            print(line(title, summary(part)))
    total = summary(results)
    print(f"\n{total['service_days']:.0f} service-days without a leak; {total['forecasts']} forecasts")
    if options.wrong:
        for r in results:
            if r.false_alarms or (r.leaky and not r.detected):
                print(
                    f"wrong: {r.name}: false alarms {r.false_alarms}, detected {r.detected}, last verdict {r.verdict}"
                )


if __name__ == "__main__":
    main()
