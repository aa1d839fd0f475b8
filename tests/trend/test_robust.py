"""Robust statistics, held against published examples and against what they must not be moved by."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.trend.robust import mann_kendall, median, spread, theil_sen

finite = st.floats(-1e12, 1e12, allow_nan=False)


def test_mann_kendall_of_gilberts_example() -> None:
    # Gilbert, Statistical Methods for Environmental Pollution Monitoring (1987), 16.4.1 (counted by hand): 9 pairs up, 1 down..
    found = mann_kendall([5, 6, 8, 7, 9])
    assert found.s == 8
    assert found.tau == 0.8


def test_mann_kendall_corrects_ties() -> None:
    # n = 10, ties of 3 and 2: Var S = (10·9·25 - 3·2·11 - 2·1·9) / 18
    found = mann_kendall([1, 1, 1, 2, 3, 4, 4, 5, 6, 7])
    assert found.deviation == pytest.approx(math.sqrt((2250 - 66 - 18) / 18))
    assert found.p < 0.001


@given(st.lists(finite, max_size=40))
def test_mann_kendall_is_antisymmetric_in_time(values) -> None:
    there, back = mann_kendall(values), mann_kendall(values[::-1])
    assert there.s == -back.s
    assert there.p == pytest.approx(back.p)
    assert 0 <= there.p <= 1


def test_theil_sen_ignores_wild_samples() -> None:
    times = list(range(40))
    values = [100 + 3 * t for t in times]
    for wild in (5, 11, 17, 23, 29, 33, 37):
        values[wild] = 1e9
    line = theil_sen(times, values)
    assert line is not None
    assert line.slope == pytest.approx(3)
    assert line.at(60) == pytest.approx(280)
    assert line.low_slope <= 3 <= line.high_slope


@given(st.integers(2, 30), finite, st.floats(-1e6, 1e6))
def test_theil_sen_finds_every_line(n, level, slope) -> None:
    times = [1.7e9 + 10 * i for i in range(n)]
    line = theil_sen(times, [level + slope * 10 * i for i in range(n)])
    assert line is not None
    assert line.slope == pytest.approx(slope, rel=1e-3, abs=1e-3)


def test_one_moment_has_no_slope() -> None:
    assert theil_sen([5.0, 5.0], [1.0, 2.0]) is None
    assert theil_sen([], []) is None


def test_median_and_spread() -> None:
    assert median([3, 1, 2, 10]) == 2.5
    assert spread([1, 1, 2, 2, 4, 6, 9]) == pytest.approx(1.4826)
    with pytest.raises(ValueError, match="nothing"):
        median([])


def test_slopes_of_points_at_one_moment_are_none() -> None:
    line = theil_sen([0.0, 1.0, 1.0, 2.0, 3.0], [0.0, 1.0, 9.0, 2.0, 3.0])
    assert line is not None
    assert line.slope == 1.0
    assert theil_sen([1.0, 1.0], [1.0, 2.0]) is None
