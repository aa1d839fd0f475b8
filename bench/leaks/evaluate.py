"""
How good the verdicts and forecasts are, on the labelled corpus. Never fits anything.

    bench/leaks/evaluate.py [--split train|test] [--family TEXT] [--wrong] [--json]

Every trace is judged at moments evenly spread over it, with nothing but what was known then, by the rule of
``oomsight leaks`` (trend/alarm.py). Healthy traces with an alarm, and leaky ones with an alarm before their leak, are
false. Suspicions (what leaks, and what is suspected) are counted in the same way besides.
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

from oomsight.trend.alarm import settled  # noqa: E402
from oomsight.trend.exhaust import time_left  # noqa: E402

CHECKS = 144  #: moments per trace
THIRD = 1 / 3  #: of the headroom used: the moment at which forecasts are compared with the truth


@dataclass
class Told:
    """What was told of one trace at one level: leaks, or suspicions."""

    detected: bool = False
    delay: float | None = None  #: share of the time from leak start to exhaustion
    false_alarms: int = 0  #: times that an alarm began without a leak
    alarm: bool = False  #: at the moment looked at last

    def hear(self, trace: Trace, now: float, *, alarm: bool) -> None:
        """Take what is said at *now*."""
        start = trace.leak_start if trace.leaky and trace.leak_start is not None else float("inf")
        if alarm and not self.alarm and now < start:
            self.false_alarms += 1
        if alarm and now >= start and not self.detected and trace.end is not None:
            self.detected, self.delay = True, min(1.0, (now - start) / (trace.end - start))
        self.alarm = alarm


@dataclass
class Result:
    """What came of one trace."""

    name: str
    family: str
    origin: str
    leaky: bool
    days: float
    healthy_days: float
    leak: Told = field(default_factory=Told)
    suspected: Told = field(default_factory=Told)
    covered: list[bool] = field(default_factory=list)  #: per forecast: did the 80 % interval hold the truth?
    error_at_third: float | None = None  #: of the time left, as a share of it
    verdict: str = ""


def run(trace: Trace) -> Result:
    """Judge one trace from its beginning to its end."""
    start = trace.leak_start if trace.leaky and trace.leak_start is not None else float("inf")
    first, last = trace.series.times[0], trace.series.times[-1]
    result = Result(trace.name, trace.family, trace.origin, trace.leaky, trace.days, (min(start, last) - first) / DAY)
    for now in moments(trace, CHECKS):
        found = settled(trace.series, trace.limit_bytes, now)
        result.leak.hear(trace, now, alarm=found.is_leak)
        result.suspected.hear(trace, now, alarm=found.may_leak)
        result.verdict = str(found.verdict)
        if found.is_leak and now >= start and trace.exhausted is not None and now < trace.exhausted:
            forecast(trace, result, now)
    return result


def forecast(trace: Trace, result: Result, now: float) -> None:
    """Compare what is forecast at *now* with what came."""
    assert trace.exhausted is not None
    left = time_left(trace.series, trace.limit_bytes, now, leaks=True)
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
    days = sum(r.healthy_days for r in results)
    covered = [c for r in results for c in r.covered]
    per_trace = [sum(r.covered) / len(r.covered) for r in results if r.covered]
    errors = [r.error_at_third for r in results if r.error_at_third is not None]
    return {
        "traces": len(results),
        "leaky": sum(r.leaky for r in results),
        **_level([(r.leaky, r.leak) for r in results], days),
        **{f"suspected_{key}": value for key, value in
           _level([(r.leaky, r.suspected) for r in results], days).items()},
        "service_days": days,
        "forecasts": len(covered),
        "covered": sum(covered) / len(covered) if covered else None,
        "covered_per_trace": sum(per_trace) / len(per_trace) if per_trace else None,
        "error_at_third": median(errors) if errors else None,
    }


def _level(told: list[tuple[bool, Told]], days: float) -> dict[str, float | None]:
    true, false = sum(one.detected for _, one in told), sum(one.false_alarms > 0 for _, one in told)
    leaky = sum(leaky for leaky, _ in told)
    delays = [one.delay for _, one in told if one.delay is not None]
    return {
        "precision": true / (true + false) if true + false else None,
        "recall": true / leaky if leaky else None,
        "delay": median(delays) if delays else None,
        "false_alarms_per_day": sum(one.false_alarms for _, one in told) / days if days else None,
    }


def line(name: str, s: dict[str, float | int | None]) -> str:
    """Return one row of the table."""
    show = lambda key, form: "-" if s[key] is None else format(s[key], form)  # noqa: E731
    return (
        f"{name:26}{s['traces']:>5}{s['leaky']:>6}{show('precision', '.3f'):>10}{show('recall', '.3f'):>8}"
        f"{show('delay', '.2f'):>7}"
        f"{show('false_alarms_per_day', '.4f'):>12}{show('covered', '.2f'):>9}{show('error_at_third', '.2f'):>8}"
        f"{show('suspected_precision', '.3f'):>11}{show('suspected_recall', '.3f'):>8}"
        f"{show('suspected_delay', '.2f'):>7}"
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
        f"{'in 80 %':>9}{'error':>8}{'suspected':>11}{'recall':>8}{'delay':>7}"
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
            if r.leak.false_alarms or (r.leaky and not r.leak.detected):
                print(
                    f"wrong: {r.name}: false alarms {r.leak.false_alarms}, detected {r.leak.detected},"
                    f" last verdict {r.verdict}"
                )


if __name__ == "__main__":
    main()
