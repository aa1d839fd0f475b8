"""Today less yesterday: what the day explains leaves nothing, a jump a step, a leak a ramp."""

from __future__ import annotations

import math

import pytest

from oomsight.trend.yesterday import FEWEST, UNKNOWN, YESTERDAY, beyond, excess, excess_at

DAY = 86400.0
HOURS = [3600.0 * i for i in range(60)]
FREE = 1000.0


def day(hour: float) -> float:
    return 300 + 100 * math.sin(2 * math.pi * hour / 24)


def numbers(lows) -> dict[str, float]:
    return dict(zip((name for name, _ in YESTERDAY), beyond(HOURS, lows, FREE), strict=True))


def test_what_follows_the_day_leaves_nothing() -> None:
    lows = [day(i) for i in range(60)]
    assert excess(HOURS, lows) == pytest.approx([0.0] * 25, abs=1e-9)
    found = numbers(lows)
    assert 2 ** found["grew"] == 2 ** found["above"] == pytest.approx(0.002)  # none


def test_a_leak_that_began_today_shows_in_spite_of_the_day() -> None:
    found = numbers([day(i) + max(0, i - 46) * 10 for i in range(60)])
    assert found["steady"] > 0.7
    assert 2 ** found["grew"] == pytest.approx(0.11, abs=0.02)
    assert 2 ** found["grew_1"] == pytest.approx(0.10, abs=0.02)
    assert 2 ** found["above_1"] > 0.08


def test_a_step_today_leaves_nothing_without_its_jump() -> None:
    found = numbers([day(i) + (200 if i > 46 else 0) for i in range(60)])
    assert 2 ** found["grew"] == pytest.approx(0.2, abs=0.01)
    assert 2 ** found["grew_1"] == 2 ** found["above_1"] == pytest.approx(0.002)


def test_the_day_before_is_read_between_its_points() -> None:
    times = [0.0, 7200.0, 14400.0, DAY + 3600.0]
    assert excess_at(times, [10.0, 20.0, 20.0, 18.0], 3) == pytest.approx(3.0)
    assert excess_at(times, [10.0, 20.0, 20.0, 18.0], 2) is None


def test_no_yesterday_and_a_gap_in_it_say_nothing() -> None:
    assert beyond(HOURS[:20], [1.0] * 20, FREE) == [UNKNOWN] * len(YESTERDAY)
    times = [*HOURS[:10], *HOURS[45:]]
    assert len(excess(times, [1.0] * len(times))) < FEWEST
    assert beyond(times, [1.0] * len(times), FREE) == [UNKNOWN] * len(YESTERDAY)
