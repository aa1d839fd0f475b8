"""
Fit the weights of the verdict on the training split and write ``src/oomsight/trend/weights.py``.

    bench/leaks/fit.py [--dry-run]

Logistic regression with a small ridge, by Newton's steps (iteratively reweighted least squares); every trace weighs the
same, leaky and healthy ones together the same. The test split is not read.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator
from math import exp, log
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from bench.leaks.corpus import Trace, recorded, synthetic  # noqa: E402

from oomsight.trend.shape import FEATURES, PAIRS, features, shape  # noqa: E402

TARGET = HERE.parents[1] / "src/oomsight/trend/weights.py"
SPLIT = "train"
CHECKS = 72  #: moments of a trace at which it is judged
RIDGE = 1.0
UNCLEAR = 0.08  #: of the time from leak start to exhaustion: too early to be asked of anybody, so left out


def moments(trace: Trace, checks: int) -> Iterator[float]:
    """Return the moments at which a trace is looked at, evenly spread."""
    first, last = trace.series.times[0], trace.series.times[-1]
    return (first + (last - first) * i / checks for i in range(1, checks + 1))


def too_early(trace: Trace, now: float) -> bool:
    """Return whether nobody can be asked yet."""
    assert trace.end is not None
    assert trace.leak_start is not None
    return now < trace.leak_start + UNCLEAR * (trace.end - trace.leak_start)


def samples(traces: list[Trace]) -> Iterator[tuple[tuple[float, ...], int, float]]:
    """Return (features, leaking or not, weight) for every moment of every trace."""
    per_label = {label: sum(trace.leaky is label for trace in traces) for label in (False, True)}
    for trace in traces:
        for now in moments(trace, CHECKS):
            leaking = trace.leaky and now > (trace.leak_start or 0)
            if leaking and too_early(trace, now):
                continue
            found = shape(trace.series, trace.limit_bytes, now)
            if found is not None and found.line.slope > 0:
                yield features(found), int(leaking), 1 / per_label[trace.leaky] / CHECKS


def fit(rows: list[tuple[tuple[float, ...], int, float]], rounds: int = 12) -> list[float]:
    """Return bias and weights; plain Gaussian elimination, some thirty unknowns."""
    size = len(rows[0][0]) + 1
    weights = [0.0] * size
    total = sum(weight for _, _, weight in rows)
    for _ in range(rounds):
        gradient, hessian = [0.0] * size, [[0.0] * size for _ in range(size)]
        for x, label, weight in rows:
            z = weights[0] + sum(a * b for a, b in zip(weights[1:], x, strict=True))
            p = 1 / (1 + exp(-max(-30.0, min(30.0, z))))
            w = weight / total * len(rows)
            slack, curve = w * (label - p), w * p * (1 - p)
            full = (1.0, *x)
            for i in range(size):
                gradient[i] += slack * full[i]
                row, factor = hessian[i], curve * full[i]
                for j in range(i + 1):
                    row[j] += factor * full[j]
        for i in range(size):
            for j in range(i):
                hessian[j][i] = hessian[i][j]
            hessian[i][i] += RIDGE if i else 1e-9
            gradient[i] -= RIDGE * weights[i] if i else 0.0
        step = solve(hessian, gradient)
        weights = [a + b for a, b in zip(weights, step, strict=True)]
        if max(map(abs, step)) < 1e-6:
            break
    return weights


def solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Solve a system of linear equations with partial pivoting."""
    n = len(right)
    rows = [[*matrix[i], right[i]] for i in range(n)]
    for i in range(n):
        pivot = max(range(i, n), key=lambda k: abs(rows[k][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for k in range(i + 1, n):
            factor = rows[k][i] / rows[i][i]
            if factor:
                rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i], strict=True)]
    found = [0.0] * n
    for i in reversed(range(n)):
        found[i] = (rows[i][n] - sum(rows[i][j] * found[j] for j in range(i + 1, n))) / rows[i][i]
    return found


def digest() -> str:
    """Return what identifies the training split: the recorded file's SHA-256 and the synthetic seeds."""
    data = (HERE / "traces" / f"{SPLIT}.jsonl.gz").read_bytes()
    code = (HERE / "corpus.py").read_bytes()
    return hashlib.sha256(data + code).hexdigest()[:16]


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--dry-run", action="store_true", help="print instead of writing")
    options = parser.parse_args()
    rows = list(samples([*recorded(SPLIT), *synthetic(SPLIT)]))
    weights = [round(weight, 3) for weight in fit(rows)]
    loss = -sum(
        w * log(max(1e-9, p if label else 1 - p))
        for x, label, w in rows
        for p in [1 / (1 + exp(-weights[0] - sum(a * b for a, b in zip(weights[1:], x, strict=True))))]
    )
    names = [name for name, _ in FEATURES] + [" x ".join(pair) for pair in PAIRS]
    lines = [f"    {weight},  # {name}" for weight, name in zip(weights[1:], names, strict=True)]
    text = (
        '"""The weights of the verdict, fitted on the training split alone.'
        ' Written by ``bench/leaks/fit.py``; do not edit."""\n\n'
        "from __future__ import annotations\n\nfrom typing import Final\n\n"
        f'FITTED_ON: Final = "{digest()}"  #: the training split it was fitted on\n'
        f"BIAS: Final = {weights[0]}\nWEIGHTS: Final[tuple[float, ...]] = (\n" + "\n".join(lines) + "\n)\n"
        '"""One per row of :data:`~oomsight.trend.shape.FEATURES`, then of :data:`~oomsight.trend.shape.PAIRS`."""\n'
    )
    print(f"{len(rows)} moments, loss {loss:.4f}", file=sys.stderr)
    if options.dry_run:
        print(text)
    else:
        TARGET.write_text(text)


if __name__ == "__main__":
    main()
