"""What is kept of what comes and goes, on made curves of which one knows it."""

from __future__ import annotations

import math

import pytest

from oomsight.trend.exhaust import time_left
from oomsight.trend.lately import DAY, HOURS, LATELY, LEAST, MOST, PIECES, UNKNOWN, lately, least_of
from oomsight.trend.leak import Verdict, judge
from oomsight.trend.series import Buckets, Series, buckets
from oomsight.trend.shape import shape

FREE = 1000.0


def curve(value, days: float) -> Series:
    times = [1800.0 * i for i in range(int(days * DAY / 1800) + 1)]
    return Series(times, [value(t / DAY) for t in times])


def measured(value, days: float = 6.0) -> dict[str, float]:
    return dict(zip([name for name, _ in LATELY], lately(buckets(curve(value, days), 60), FREE), strict=True))


def jobs(day: float) -> float:
    return 100 + (300 if day * 1.7 % 1 < 0.3 else 0)


def test_of_jobs_nothing_is_kept_and_of_a_leak_beside_them_everything() -> None:
    level, leaks = measured(jobs), measured(lambda day: jobs(day) + 40 * day)
    for pieces in PIECES[:2]:  # a tenth of such a life may lie within one job
        assert level[f"kept_{pieces}"] == 0
        assert level[f"kept_twice_{pieces}"] == 0
        grown = 40 * 6 * (1 - 1 / pieces)
        assert leaks[f"kept_{pieces}"] == pytest.approx(math.log2(1 + grown / FREE / LEAST), abs=0.2)
        assert leaks[f"kept_twice_{pieces}"] > 2
        assert leaks[f"kept_at_once_{pieces}"] < 0.5


def test_a_step_comes_at_once() -> None:
    found = measured(lambda day: 100.0 + (200 if day > 3.5 else 0))
    assert found["kept_at_once_6"] == pytest.approx(1)
    assert found["kept_last_6"] == 0


def test_peaks_of_traffic_are_those_of_the_day_before() -> None:
    found = measured(lambda day: 300 + 100 * math.sin(2 * math.pi * day), days=5.8)
    assert abs(found["peak_24"]) < 1
    assert abs(found["peak_6"]) > 4
    assert measured(lambda day: 300 + 50 * day)["peak_24"] == pytest.approx(math.log2(1 + 0.05 / LEAST), abs=0.1)


def test_what_the_record_does_not_reach_is_not_known() -> None:
    found = measured(lambda day: 100.0 + day, days=2.0)
    assert [found[f"peak_{hours}"] == UNKNOWN for hours in HOURS] == [False, False, False, True, True]


def test_numbers_stay_within_bounds() -> None:
    assert lately(buckets(curve(lambda day: 1e12 * day, 1.0), 60), 1.0)[-2] == MOST
    assert measured(lambda day: 500 - 40 * day)["kept_4"] < 0


def test_a_part_in_which_nothing_was_seen_is_as_the_next() -> None:
    lows = [5.0, 4.0, 6.0, 8.0, 9.0]
    parts = Buckets([0.0, 1.0, 2.0, 9.0, 10.0], lows, lows, lows)
    assert least_of(parts, 5) == [4.0, 6.0, 8.0, 8.0, 8.0]


def test_a_leak_is_told_of_a_heap_whose_collections_hide_its_trend() -> None:
    def heap(day: float) -> float:
        return 100 + 200 * (day * 3.1 % 1)

    series = curve(lambda day: heap(day) + max(0.0, day - 2) * 60, 4.0)
    measured_now = shape(series, FREE, series.times[-1])
    assert measured_now is not None
    assert not measured_now.rises
    found = judge(series, FREE, series.times[-1])
    assert found.verdict is Verdict.LEAK
    assert any("hides it" in words for words in found.evidence)
    assert time_left(series, FREE, series.times[-1]) is None
    assert time_left(series, FREE, series.times[-1], leaks=True) is not None
    assert judge(curve(heap, 4.0), FREE, series.times[-1]).verdict is Verdict.SAWTOOTH
