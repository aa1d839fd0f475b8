"""The bend of a curve, held against least squares worked out for each bend on its own."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest

from oomsight.trend.hinge import hinge

EDGE = 3


def _error(columns: list[list[float]], values: list[float]) -> float:
    """What least squares of *columns* leaves of *values*, squared: Gram and Schmidt."""
    left, done = list(values), []
    for column in columns:
        rest = list(column)
        for other in done:
            along = math.fsum(a * b for a, b in zip(rest, other, strict=True))
            rest = [a - along * b for a, b in zip(rest, other, strict=True)]
        length = math.sqrt(math.fsum(a * a for a in rest))
        unit = [a / length for a in rest]
        done.append(unit)
        along = math.fsum(a * b for a, b in zip(left, unit, strict=True))
        left = [a - along * b for a, b in zip(left, unit, strict=True)]
    return math.fsum(a * a for a in left)


def _by_hand(times: list[float], values: list[float]) -> tuple[int, float]:
    n, scale = len(times), times[-1] - times[0]
    ones, x = [1.0] * n, [(time - times[0]) / scale for time in times]
    line = _error([ones, x], values)
    errors = {
        bend: _error([ones, x, [max(0.0, at - x[bend]) for at in x]], values) for bend in range(EDGE - 1, n - EDGE)
    }
    best = min(errors, key=errors.__getitem__)
    return best, 1 - errors[best] / line


@pytest.mark.parametrize("seed", range(30))
def test_the_bend_is_that_of_least_squares(seed) -> None:
    rng = random.Random(seed)
    times = sorted(rng.uniform(1.7e9, 1.7e9 + 6e5) for _ in range(rng.choice((6, 9, 60))))
    at, slope, more = rng.choice(times), rng.uniform(-500, 500), rng.uniform(-900, 900)
    values = [5e8 + slope * (time - times[0]) + more * max(0.0, time - at) + rng.gauss(0, 2e7) for time in times]
    found = hinge(times, values)
    assert found is not None
    bend, explained = _by_hand(times, values)
    assert found.bend == bend
    assert found.explained == pytest.approx(explained, abs=1e-6)


def test_a_clear_bend_is_found_where_it_is() -> None:
    times = [60.0 * i for i in range(60)]
    found = hinge(times, [1e8 + (i % 3) + max(0, i - 40) * 1e6 for i in range(60)])
    assert found is not None
    assert found.bend == 40
    assert found.explained > 0.999


@pytest.mark.parametrize("values", [[7.0] * 20, [1024.0 * 96_371] * 60, [1.0, 2.0, 3.0, 4.0, 5.0]])
def test_what_is_level_or_short_has_no_bend(values) -> None:
    times = [1.7e9 + 977.25 * i for i in range(len(values))]
    assert all(b > a for a, b in pairwise(times))
    assert hinge(times, values) is None


def test_one_moment_has_no_bend() -> None:
    assert hinge([5.0] * 10, list(map(float, range(10)))) is None
