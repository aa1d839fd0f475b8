"""
Fit the trees of the verdict on the training split and write ``src/oomsight/trend/weights.py``.

    bench/leaks/fit.py [--dry-run]

Gradient-boosted trees for the log loss (Friedman 2001), by scikit-learn, which is needed here only: ``pip install
scikit-learn``. Leaky and healthy traces together weigh the same; of a leak's moments those count most at which a
verdict is early. The test split is not read.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import textwrap
from array import array
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from bench.leaks.corpus import Trace, recorded, synthetic  # noqa: E402

from oomsight.trend.features import features  # noqa: E402
from oomsight.trend.manner import manner  # noqa: E402
from oomsight.trend.shape import Shape, shape  # noqa: E402

TARGET = HERE.parents[1] / "src/oomsight/trend/weights.py"
SPLIT = "train"
CHECKS = 48  #: moments of a trace at which it is judged
BOOSTING = {
    "max_iter": 120, "learning_rate": 0.1, "max_leaf_nodes": 12, "min_samples_leaf": 30, "l2_regularization": 5,
    "max_features": 0.3,
}  # fmt: skip
Row = tuple[list[float], int, float]  #: numbers, leaking or not, weight
EARLY, EARLY_WEIGHS, LATE_WEIGHS = 0.3, 3.0, 0.5  #: share of that time, and what moments before and after it weigh
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


def weight(trace: Trace, now: float) -> float:
    """Return what a moment weighs: that of a leak that is young most, for a verdict is wanted then."""
    if not trace.leaky or trace.leak_start is None or trace.end is None or now <= trace.leak_start:
        return 1.0
    return EARLY_WEIGHS if now < trace.leak_start + EARLY * (trace.end - trace.leak_start) else LATE_WEIGHS


def numbers(found: Shape) -> list[float]:
    """Return what the trees are fitted on: the features in single precision; thresholds are written with less."""
    return [*array("f", features(found, manner(found)))]


def samples(trace: Trace) -> list[Row]:
    """Return (numbers, leaking or not, weight) for every moment of a trace."""
    rows = []
    for now in moments(trace, CHECKS):
        leaking = trace.leaky and now > (trace.leak_start or 0)
        if leaking and too_early(trace, now):
            continue
        found = shape(trace.series, trace.limit_bytes, now)
        if found is not None and found.line.slope > 0:
            rows.append((numbers(found), int(leaking), weight(trace, now)))
    return rows


def fit(rows: list[Row]) -> tuple[float, list[str], float]:
    """Return the bias, the trees as the text of nested tuples, and the loss."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import log_loss

    values, labels, weights = ([row[i] for row in rows] for i in range(3))
    scaled = [weight * len(rows) / sum(weights) for weight in weights]
    model = HistGradientBoostingClassifier(random_state=0, **BOOSTING)
    model.fit(values, labels, sample_weight=scaled)
    loss = log_loss(labels, model.predict_proba(values)[:, 1], sample_weight=scaled)
    return float(model._baseline_prediction.item()), [text(tree[0].nodes, 0) for tree in model._predictors], loss


def text(nodes: Any, at: int) -> str:
    """Return a node of a fitted tree and what is below it as a nested tuple."""
    node = nodes[at]
    if node["is_leaf"]:
        return f"{node['value']:.3f}"
    below = ", ".join(text(nodes, node[side]) for side in ("left", "right"))
    return f"({node['feature_idx']}, {node['num_threshold']:.4g}, {below})"


def digest() -> str:
    """Return what identifies the training split: the recorded file's SHA-256 and the synthetic seeds."""
    data = (HERE / "traces" / f"{SPLIT}.jsonl.gz").read_bytes()
    code = (HERE / "corpus.py").read_bytes()
    return hashlib.sha256(data + code).hexdigest()[:16]


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--dry-run", action="store_true", help="print instead of writing")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    traces = [*recorded(SPLIT), *synthetic(SPLIT)]
    per_label = {label: sum(trace.leaky is label for trace in traces) for label in (False, True)}
    with ProcessPoolExecutor(options.jobs) as pool:
        found = pool.map(samples, traces, chunksize=4)
        rows = [(x, y, w / per_label[one.leaky]) for one, part in zip(traces, found, strict=True) for x, y, w in part]
    bias, trees, loss = fit(rows)
    lines = [line for tree in trees for line in textwrap.wrap(f"{tree},", 112)]
    module = (
        '"""The trees of the verdict, fitted on the training split alone.'
        ' Written by ``bench/leaks/fit.py``; do not edit."""\n\n'
        "from __future__ import annotations\n\nfrom typing import Any, Final\n\n"
        "Node = tuple[int, float, Any, Any] | float\n"
        '"""(number, threshold, node up to it, node above it), or a leaf: what it adds to the log odds."""\n\n'
        f'FITTED_ON: Final = "{digest()}"  #: the training split it was fitted on\n'
        f"BIAS: Final = {bias:.4f}\nTREES: Final[tuple[Node, ...]] = (\n"
        + "\n".join(f"    {line}" for line in lines)
        + "\n)  # fmt: skip\n"
    )
    print(f"{len(rows)} moments, loss {loss:.4f}", file=sys.stderr)
    if options.dry_run:
        print(module)
    else:
        TARGET.write_text(module)


if __name__ == "__main__":
    main()
