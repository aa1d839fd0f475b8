"""Jumps and bends: what is left without the biggest jumps, and whether a line, an exponential or a ramp fits best."""

from __future__ import annotations

import math

import pytest

from oomsight.trend.features import FEATURES, features
from oomsight.trend.leak import judge, log_odds, probability
from oomsight.trend.manner import manner
from oomsight.trend.robust import kendall, mann_kendall
from oomsight.trend.series import Series
from oomsight.trend.shape import shape
from oomsight.trend.texture import CURVATURE, STAIRS, UNKNOWN, curvature, stairs


def named(table, values) -> dict[str, float]:
    return dict(zip((name for name, _ in table), values, strict=True))


RAMP = [100.0 + 2 * i for i in range(60)]
STEP = [100.0 + (120 if i > 30 else 0) + (i * 7 % 3) for i in range(60)]


def test_a_step_leaves_nothing_without_its_jump_and_a_ramp_nearly_all() -> None:
    step, ramp = named(STAIRS, stairs(STEP, 500.0)), named(STAIRS, stairs(RAMP, 500.0))
    assert step["left_1"] == pytest.approx(0, abs=0.05)
    assert ramp["left_1"] > 0.9
    assert step["pieces"] < 1.5
    assert ramp["pieces"] > 5
    assert ramp["steady_3"] == ramp["steady_after"] == 1
    assert abs(step["steady_after"]) < 0.3


def test_what_comes_to_an_end_fits_its_curve_better_than_a_line() -> None:
    cache = [100 + 80 * (1 - math.exp(-i / 15)) for i in range(60)]
    filled = [100 + min(i, 27) for i in range(60)]
    assert named(CURVATURE, curvature(cache))["to_an_end"] > 2
    assert named(CURVATURE, curvature(filled))["ramp"] > 2
    assert named(CURVATURE, curvature(filled))["ramp_end"] == 0.45
    straight = named(CURVATURE, curvature(RAMP))
    assert straight["to_an_end"] < 0
    assert straight["ramp"] < 0


def test_too_few_points_say_nothing() -> None:
    assert stairs([1.0, 2.0], 5.0) == [UNKNOWN] * len(STAIRS)
    assert curvature([1.0, 2.0]) == [UNKNOWN] * len(CURVATURE)


@pytest.mark.parametrize("values", [[], [1.0], [3.0, 1.0, 2.0, 2.0, 5.0], [5.0] * 12, RAMP, STEP])
def test_kendalls_tau_is_that_of_the_trend_test(values) -> None:
    assert kendall(values) == mann_kendall(values).tau
    pairs = [(a, b) for i, a in enumerate(values) for b in values[i + 1 :]]
    assert mann_kendall(values).s == sum((b > a) - (b < a) for a, b in pairs)


def test_every_number_has_a_name_and_the_verdict_is_their_sum() -> None:
    series = Series([600.0 * i for i in range(600)], [1e8 + 1e5 * i for i in range(600)])
    found = shape(series, 4e8, 360000.0)
    assert found is not None
    how = manner(found)
    assert len(features(found, how)) == len(FEATURES)
    assert 0 < probability(log_odds(found, how)) < 1
    assert judge(series, 4e8, 360000.0).is_leak
