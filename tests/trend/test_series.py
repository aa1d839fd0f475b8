"""Series: cut by time and by restart, put into buckets without inventing samples."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oomsight.trend.series import Series, buckets, lows_between


def test_life_begins_at_the_last_restart_that_has_happened() -> None:
    series = Series(range(10), range(10), restarts=(3.0, 6.0, 9.5))
    assert list(series.life(8).times) == [6, 7, 8]
    assert series.life(8).restarts == (6.0,)
    assert list(series.life(2).times) == [0, 1, 2]


def test_gaps_have_no_buckets() -> None:
    times = [*range(10), *range(90, 100)]
    parts = buckets(Series(times, [1.0] * 20), 10)
    assert parts.times == [4.5, 94.5]


@given(st.lists(st.tuples(st.floats(0, 1e9), st.floats(0, 1e12)), min_size=1, max_size=80), st.integers(1, 60))
def test_buckets_hold_every_sample(samples, most) -> None:
    samples.sort()
    parts = buckets(Series([t for t, _ in samples], [v for _, v in samples]), most)
    assert 1 <= len(parts.times) <= most
    assert len({len(column) for column in parts}) == 1
    assert min(parts.lows) == min(v for _, v in samples)
    assert max(parts.highs) == max(v for _, v in samples)
    assert all(low <= middle <= high for _, low, middle, high in zip(*parts, strict=True))


def test_nothing_has_no_buckets() -> None:
    assert buckets(Series((), ()), 60) == ([], [], [], [])


def test_low_points_of_a_part_are_those_of_its_stretches() -> None:
    times = [float(i * i) for i in range(80)]
    series = Series(times, [float(i * 7919 % 97) for i in range(80)])
    part = series.between(100.0, 5000.0)
    assert lows_between(series, 100.0, 5000.0, 12) == buckets(part, 12).lows
    assert lows_between(series, 1e6, 2e6, 12) == []
