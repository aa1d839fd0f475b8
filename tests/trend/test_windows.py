"""What is not looked at because it could not count, and what is not measured twice, changes no forecast."""

from __future__ import annotations

import random
from math import inf

import pytest

from oomsight.trend import windows
from oomsight.trend.exhaust import time_left, time_left_young
from oomsight.trend.series import Series
from oomsight.trend.shape import shape
from oomsight.trend.windows import WINDOWS, given_back, soonest

MIB = float(1 << 20)
LIMIT = 2000 * MIB
DAY = 86400.0


def wandering(seed: int) -> Series:
    """A curve that goes up and down at random, denser towards its end, some begun anew once."""
    rng = random.Random(seed)
    times = [-step for step in (*range(4 * 86400, 21600, -3600), *range(21600, 600, -300), *range(600, 0, -10))]
    level, drift, values = 500.0, rng.choice((-0.2, 0.2, 1.0, 3.0)), []
    for _ in times:
        level = max(10.0, level + rng.gauss(drift, rng.choice((1, 8))))
        values.append(level * MIB)
    return Series([1e9 + t for t in times], values, (1e9 - 2 * DAY,) if rng.random() < 0.3 else ())


def _all_windows(series: Series, limit_bytes: float, now: float):
    """As ``soonest``, every window measured, whether it could count or not."""
    life, best = series.life(now), None
    for window in WINDOWS:
        part = life.between(now - window, now)
        whole = part.times[0] <= life.times[0]
        left = time_left(part, limit_bytes, now)
        if left is None and whole:
            left = time_left_young(life, limit_bytes, now)
        if left and (best is None or left.seconds < best.seconds) and windows._counts(left, life, part, whole=whole):
            best = left
        if whole:
            break
    return best


def test_a_window_that_is_not_measured_would_not_have_counted(monkeypatch):
    measured, real = [], windows.time_left
    found = 0
    for seed in range(60):
        series = wandering(seed)
        expected = _all_windows(series, LIMIT, 1e9)
        monkeypatch.setattr(windows, "time_left", lambda *asked: measured.append(1) or real(*asked))
        assert soonest(series, LIMIT, 1e9) == expected
        monkeypatch.undo()
        found += expected is not None
    assert 10 < found < 50  # both kinds are among them
    assert len(measured) < 60 * len(WINDOWS) * 0.7


@pytest.mark.parametrize("limits", [(LIMIT, None, LIMIT), (None, 700 * MIB), (LIMIT, 0.0, inf)])
def test_one_curve_asked_about_with_several_limits_has_the_size_of_each(limits):
    series = wandering(3)
    for limit in limits:
        asked = shape(series, limit, 1e9)
        other = shape(wandering(4), LIMIT, 1e9)
        alone = shape(series, limit, 1e9)
        assert asked == alone != other
        assert asked.limit_bytes == limit


def test_a_part_that_is_all_is_the_series_itself():
    series = wandering(1)
    assert series.between(-inf, inf) is series
    assert len(series.between(series.times[1], inf)) == len(series) - 1
    begun_anew = Series([1.0, 2.0, 3.0], [1.0, 1.0, 1.0], (2.0,))
    assert begun_anew.life(5.0) == Series([2.0, 3.0], [1.0, 1.0], (2.0,))
    assert begun_anew.between(1.0, 3.0) is begun_anew


def test_a_growth_that_was_given_back_a_moment_ago_is_no_forecast() -> None:
    """Who filled the machine was killed; eight samples later a line through the low points still climbs."""
    climb = [65.0] * 86 + [65.0 + 6 * second for second in range(70)]
    before = Series([1e9 + i for i in range(len(climb))], [value * MIB for value in climb])
    after = Series([1e9 + i for i in range(len(climb) + 8)], [value * MIB for value in [*climb, *[100.0] * 8]])
    left = soonest(before, 600 * MIB, before.times[-1])
    assert left is not None
    assert not given_back(left, before)
    assert given_back(left, after)
    sawtooth = Series(before.times, [value - 40 * MIB * (i % 2) for i, value in enumerate(before.values)])
    assert not given_back(left, sawtooth)  # a heap that was collected stands near its low points
    stale = soonest(after, 600 * MIB, after.times[-1])
    assert stale is None or given_back(stale, after)
