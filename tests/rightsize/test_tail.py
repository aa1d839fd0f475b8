"""The tail of need: fitted to what is known, calibrated on what is drawn."""

from __future__ import annotations

from math import log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.rightsize.tail import DAY_SECONDS, block_length, block_peaks, fit

MIB = float(1 << 20)


def gumbel(random: Random, location: float, scale: float) -> float:
    return location - scale * log(-log(random.random()))


@pytest.mark.parametrize("days", [7, 14, 60])
def test_the_recommended_limit_is_exceeded_about_as_often_as_said(days) -> None:
    """Limits for 1 % a month over many histories: a month drawn after each exceeds them rarely, never wildly."""
    random = Random(days)
    exceeded, wasted = 0, 0.0
    for _ in range(400):
        tail = fit([gumbel(random, 300 * MIB, 12 * MIB) for _ in range(days)], DAY_SECONDS)
        limit = tail.limit_for(0.01)
        exceeded += max(gumbel(random, 300 * MIB, 12 * MIB) for _ in range(30)) > limit
        wasted += limit / (300 * MIB)
    assert exceeded <= 400 * 0.04  # said 1 %: few peaks cost some of it
    assert wasted / 400 < 1.6


@pytest.mark.parametrize("draw", ["exponential", "normal", "lognormal"])
def test_other_shapes_of_peaks_stay_calibrated(draw) -> None:
    random = Random(5)
    shapes = {"exponential": lambda: 300 * MIB + random.expovariate(1 / (20 * MIB)),
              "normal": lambda: random.gauss(300 * MIB, 20 * MIB),
              "lognormal": lambda: 300 * MIB * random.lognormvariate(0, 0.08)}  # fmt: skip
    one = shapes[draw]
    exceeded = sum(
        max(one() for _ in range(30)) > fit([one() for _ in range(14)], DAY_SECONDS).limit_for(0.01) for _ in range(400)
    )
    assert exceeded <= 400 * 0.05


def test_a_limit_that_was_exceeded_is_not_called_safe() -> None:
    tail = fit([100.0] * 20 + [200.0], DAY_SECONDS)
    assert tail.exceeds(150.0) > 0.7  # once in 21 days
    assert tail.limit_for(0.01) >= 200.0


def test_equal_peaks_have_no_tail() -> None:
    tail = fit([64 * MIB] * 10, DAY_SECONDS)
    assert tail.exceeds(64 * MIB) == 0
    assert tail.exceeds(63 * MIB) > 0.99


@given(peaks=st.lists(st.floats(1, 1e12), min_size=6, max_size=60), limits=st.lists(st.floats(1, 2e12), min_size=2))
def test_a_higher_limit_is_never_likelier_to_be_exceeded(peaks, limits) -> None:
    tail = fit(peaks, DAY_SECONDS)
    chances = [tail.exceeds(limit) for limit in sorted(limits)]
    assert all(0 <= chance <= 1 for chance in chances)
    assert chances == sorted(chances, reverse=True)


@given(peaks=st.lists(st.floats(1, 1e12), min_size=6, max_size=60), risk=st.floats(0.001, 0.5))
def test_the_limit_for_a_risk_has_at_most_that_risk_or_is_the_highest_seen(peaks, risk) -> None:
    tail = fit(peaks, DAY_SECONDS)
    limit = tail.limit_for(risk)
    assert limit >= max(peaks)
    assert tail.exceeds(limit * (1 + 1e-9)) <= risk * 1.01 or limit == max(peaks)


def test_blocks_are_days_where_there_are_enough() -> None:
    assert block_length(30 * DAY_SECONDS) == DAY_SECONDS
    assert block_length(2 * DAY_SECONDS) == DAY_SECONDS / 4
    assert block_length(3600) is None
    assert block_peaks([0, 10, DAY_SECONDS, DAY_SECONDS + 1], [1, 5, 3, 2], DAY_SECONDS) == [5, 3]
    assert fit([1, 2, 3], DAY_SECONDS) is None
