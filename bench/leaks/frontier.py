"""
Delay against precision, cross-validated on the training split: where the verdict's threshold was chosen.

    bench/leaks/frontier.py [--plot FILE.svg]

Four folds by trace; each is judged by trees that have not seen it, at the moments of the evaluation (every third of
them to be fitted on). A verdict has to hold about as long as that of ``oomsight leaks`` (trend/alarm.py). The test
split is not read. Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from math import exp
from pathlib import Path
from statistics import median
from typing import NamedTuple

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from bench.leaks.corpus import Trace, recorded, synthetic  # noqa: E402
from bench.leaks.evaluate import CHECKS  # noqa: E402
from bench.leaks.fit import BOOSTING, SPLIT, moments, numbers, too_early, weight  # noqa: E402

from oomsight.trend.alarm import IN_A_ROW, STEPS  # noqa: E402
from oomsight.trend.shape import shape  # noqa: E402

FOLDS = 4
FITTED = 3  #: a moment of so many is fitted on
CONFIDENCES = (0.7, 0.78, 0.82, 0.86, 0.88, 0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.955, 0.96, 0.965, 0.97, 0.98, 0.99)


class Look(NamedTuple):
    """One moment of a trace."""

    now: float
    number: int  #: of the moment, from 1
    numbers: list[float]
    grows: bool  #: enough to be called a leak at all


class Point(NamedTuple):
    """What a threshold is worth."""

    confidence: float
    precision: float
    recall: float
    delay: float  #: median, share of the time from leak start to exhaustion


def looks(trace: Trace) -> list[Look]:
    """Measure a trace at its moments; those without a shape, or that do not rise, are left out."""
    found = []
    for number, now in enumerate(moments(trace, CHECKS), 1):
        s = shape(trace.series, trace.limit_bytes, now)
        if s is not None and s.line.slope > 0:
            found.append(Look(now, number, numbers(s), s.grows))
    return found


def confidences(traces: list[Trace], seen: list[list[Look]]) -> list[dict[float, float]]:
    """Return, by trace and moment, the confidence of trees that were fitted without that trace."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    per_label = {label: sum(trace.leaky is label for trace in traces) for label in (False, True)}
    folds = [i % FOLDS for i in _by_family(traces)]
    result: list[dict[float, float]] = [{} for _ in traces]
    for fold in range(FOLDS):
        x, y, w = [], [], []
        for trace, part, where in zip(traces, seen, folds, strict=True):
            for look in part if where != fold else ():
                leaking = trace.leaky and look.now > (trace.leak_start or 0)
                if look.number % FITTED == 0 and not (leaking and too_early(trace, look.now)):
                    x.append(look.numbers)
                    y.append(int(leaking))
                    w.append(weight(trace, look.now) / per_label[trace.leaky])
        model = HistGradientBoostingClassifier(random_state=0, **BOOSTING)
        model.fit(x, y, sample_weight=[one * len(w) / sum(w) for one in w])
        for number, (part, where) in enumerate(zip(seen, folds, strict=True)):
            if where == fold and part:
                odds = model.decision_function([look.numbers for look in part])
                result[number] = {look.now: 1 / (1 + exp(-float(z)))
                                  for look, z in zip(part, odds, strict=True) if look.grows}  # fmt: skip
    return result


def _by_family(traces: list[Trace]) -> list[int]:
    """Return each trace's place among all, ordered by family, so that folds hold the same of each."""
    order = sorted(range(len(traces)), key=lambda i: (traces[i].family, traces[i].name))
    places = [0] * len(traces)
    for place, number in enumerate(order):
        places[number] = place
    return places


def told(trace: Trace, known: dict[float, float], threshold: float) -> tuple[bool, float | None]:
    """
    Return whether a trace is told as a leak without one, and after which share of the time from leak start to
    exhaustion it is told rightly (``None`` = never); *known*: confidences by moment.
    """
    start = trace.leak_start if trace.leaky and trace.leak_start is not None else float("inf")
    row, early = 0, False
    for number, now in enumerate(moments(trace, CHECKS), 1):
        row = row + 1 if known.get(now, 0.0) >= threshold else 0
        alarm = row > round((IN_A_ROW - 1) * number / STEPS)
        early |= alarm and now < start
        if alarm and now >= start and trace.end is not None:
            return early, min(1.0, (now - start) / (trace.end - start))
    return early, None


def point(traces: list[Trace], sure: list[dict[float, float]], threshold: float) -> Point:
    """Return what comes of a threshold."""
    found = [told(trace, known, threshold) for trace, known in zip(traces, sure, strict=True)]
    false, leaky = sum(early for early, _ in found), sum(trace.leaky for trace in traces)
    delays = [delay for _, delay in found if delay is not None]
    return Point(threshold, len(delays) / max(len(delays) + false, 1), len(delays) / leaky, median(delays or [1.0]))


def svg(points: list[Point], chosen: dict[float, str]) -> str:
    """Return the curve as a picture."""
    left, top, width, height = 70, 20, 520, 280
    low, high = 0.80, 1.0
    x = lambda delay: left + width * (delay - 0.15) / 0.35  # noqa: E731
    y = lambda precision: top + height * (high - precision) / (high - low)  # noqa: E731
    words = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 620 350" font-family="sans-serif" font-size="12">',
        '<rect width="620" height="350" fill="#ffffff"/>',
        f'<rect x="{left}" y="{top}" width="{x(0.25) - left:.0f}" height="{y(0.95) - top:.0f}" fill="#e6f2e6"/>',
        f'<text x="{x(0.155):.0f}" y="{top + 16}" fill="#2e6b2e">wanted</text>',
    ]
    words += [
        f'<text x="{x(tick):.0f}" y="{top + height + 18}" text-anchor="middle">{tick:.2f}</text>'
        for tick in (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
    ]
    for tick in (0.8, 0.85, 0.9, 0.95, 1.0):
        words.append(f'<path d="M{left} {y(tick):.0f}h{width}" stroke="#dddddd"/>')
        words.append(f'<text x="{left - 8}" y="{y(tick) + 4:.0f}" text-anchor="end">{tick:.2f}</text>')
    shown = [one for one in points if low <= one.precision <= high and 0.15 <= one.delay <= 0.5]
    path = " ".join(f"{x(one.delay):.1f},{y(one.precision):.1f}" for one in shown)
    words.append(f'<polyline points="{path}" fill="none" stroke="#1f5fa8" stroke-width="2"/>')
    for one in shown:
        here = one.confidence in chosen
        words.append(f'<circle cx="{x(one.delay):.1f}" cy="{y(one.precision):.1f}" r="{6 if here else 3}" '
                     f'fill="{"#c0392b" if here else "#1f5fa8"}"/>')  # fmt: skip
        if here:
            words.append(f'<text x="{x(one.delay) + 10:.0f}" y="{y(one.precision) + 16:.0f}" fill="#c0392b">'
                         f"{chosen[one.confidence]}: {one.confidence:g}</text>")  # fmt: skip
    words += [
        f'<text x="{left + width / 2:.0f}" y="{top + height + 40}" text-anchor="middle">'
        "delay: share of the time from leak start to exhaustion (median)</text>",
        f'<text transform="translate(20 {top + height / 2:.0f}) rotate(-90)" text-anchor="middle">precision</text>',
        "</svg>",
    ]
    return "\n".join(words) + "\n"


def main() -> None:
    """Print the curve as a table, and draw it."""
    from oomsight.trend.leak import SURE, SUSPECT

    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--plot", type=Path, metavar="FILE.svg")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    traces = [*recorded(SPLIT), *synthetic(SPLIT)]
    with ProcessPoolExecutor(options.jobs) as pool:
        seen = list(pool.map(looks, traces, chunksize=4))
    sure = confidences(traces, seen)
    points = [point(traces, sure, threshold) for threshold in CONFIDENCES]
    print("| confidence | precision | recall | delay |\n|---|---|---|---|")
    for one in points:
        print(f"| {one.confidence:.3f} | {one.precision:.3f} | {one.recall:.3f} | {one.delay:.2f} |")
    if options.plot is not None:
        options.plot.write_text(svg(points, {SURE: "leak", SUSPECT: "suspected"}), encoding="utf-8")


if __name__ == "__main__":
    main()
