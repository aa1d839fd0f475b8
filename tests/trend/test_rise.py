"""How it grew before a moment: since when, how fast, evenly or at once."""

from __future__ import annotations

import random

import pytest

from oomsight.trend.rise import rise
from oomsight.trend.series import Series

MIB = 1 << 20


def series(values, step=1.0, **more) -> Series:
    return Series([i * step for i in range(len(values))], list(values), **more)


def test_a_ramp_after_a_level_is_dated_and_measured() -> None:
    chance = random.Random(1)
    values = [100 * MIB + chance.randrange(MIB) for _ in range(300)] + [(100 + 2 * i) * MIB for i in range(100)]
    found = rise(series(values), 400)
    assert found.shape == "even"
    assert found.since == pytest.approx(300, abs=15)
    assert found.per_second == pytest.approx(2 * MIB, rel=0.05)
    assert found.level_seconds > 250
    assert found.whole


def test_a_ramp_older_than_the_samples_says_so() -> None:
    found = rise(series([(100 + i) * MIB for i in range(100)]), 100)
    assert found.since < 12
    assert not found.whole


def test_a_ramp_that_began_with_its_first_sample_is_told_from_there() -> None:
    found = rise(series([(29 + 0.8 * i) * MIB for i in range(124)]), 124)
    assert (found.since, found.low) == (0.0, 29 * MIB)
    assert found.per_second == pytest.approx(0.8 * MIB)
    assert found.shape == "even"


def test_a_leap_is_at_once() -> None:
    assert rise(series([10 * MIB] * 60 + [500 * MIB] * 3), 63).shape == "at once"
    assert rise(series([10 * MIB] * 6 + [500 * MIB] * 3, step=60), 540).shape == "at once"


def test_steps_are_uneven() -> None:
    values = [10 * MIB] * 30 + [60 * MIB] * 60 + [110 * MIB] * 10
    assert rise(series(values), 100).shape == "uneven"


@pytest.mark.parametrize("values", [[], [5 * MIB], [100 * MIB] * 50, [100 * MIB, 101 * MIB] * 30])
def test_what_does_not_grow_is_none(values) -> None:
    assert rise(series(values), 100) is None


def test_only_the_life_since_the_restart_counts() -> None:
    values = [i * MIB for i in range(100)] + [10 * MIB] * 50
    assert rise(series(values, restarts=(100.0,)), 150) is None


def test_an_unlimited_value_is_no_height() -> None:
    assert rise(series([1 * MIB, float("inf"), 90 * MIB]), 3).high == 90 * MIB
