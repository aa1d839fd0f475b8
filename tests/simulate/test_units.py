"""Sizes, rates and durations: what people write, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.simulate.units import (
    duration_words,
    parse_duration,
    parse_rate,
    parse_size,
    rate_words,
    size_words,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [("512MiB", 536870912), ("2G", 2147483648), ("1.5 GiB", 1610612736), ("4096", 4096), (4096, 4096), ("1kb", 1000),
     ("0", 0), ("-1M", None), ("12 parsecs", None), ("", None), (True, None), (-5, None), ("1e3", None)],
)  # fmt: skip
def test_parse_size_of_what_people_write(text, size) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("15min", 900), ("1h30min", 5400), ("2 days", 172800), ("0.5s", 0.5), (7, 7), ("10 secs", 10),
     ("1m", 60), ("h", None), ("", None), ("5 eons", None), (True, None), (-1, None)],
)  # fmt: skip
def test_parse_duration_of_what_people_write(text, seconds) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "per_second"),
    [("60MiB/min", 1048576), ("1KiB/s", 1024), ("10M", 10485760), ("86400B/day", 1), (5, 5), ("1MiB/", 1048576),
     ("1MiB/eon", None), ("x/min", None)],
)  # fmt: skip
def test_parse_rate_of_what_people_write(text, per_second) -> None:
    assert parse_rate(text) == per_second


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 KiB"), (1023 << 10, "1023 KiB"), (1 << 20, "1.0 MiB"), (1536 << 20, "1.5 GiB"), (1 << 30, "1.0 GiB"),
     (-(1 << 20), "-1.0 MiB"), (500 << 20, "500 MiB"), ((1 << 30) - 1, "1.0 GiB")],
)  # fmt: skip
def test_size_words(size, words) -> None:
    assert size_words(size) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (59.6, "1 min"), (3661, "1 h 1 min"), (90061, "1 d 1 h"), (3601, "1 h 1 s")]
)
def test_duration_words(seconds, words) -> None:
    assert duration_words(seconds) == words


def test_rate_words_takes_the_unit_that_shows_something() -> None:
    assert rate_words(2 << 20) == "2.0 MiB/s"
    assert rate_words(100_000) == "5.7 MiB/min"
    assert rate_words(12) == "1012 KiB/day"


@given(st.integers(0, 1 << 50))
def test_parse_size_reads_plain_bytes_exactly(size) -> None:
    assert parse_size(str(size)) == size or size > 1 << 53


@given(st.text(max_size=20))
def test_parsers_never_raise(text) -> None:
    for parse in (parse_size, parse_duration, parse_rate):
        value = parse(text)
        assert value is None or value >= 0
