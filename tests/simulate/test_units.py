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
    ("seconds", "words"), [(0, "0 s"), (59.6, "1 min"), (3661, "1 h 1 min"), (90061, "1 d 1 h"), (3601, "1 h 1 s")]
)
def test_duration_words(seconds, words) -> None:
    assert duration_words(seconds) == words


@given(st.integers(0, 1 << 50))
def test_parse_size_reads_plain_bytes_exactly(size) -> None:
    assert parse_size(str(size)) == size or size > 1 << 53


@given(st.text(max_size=20))
def test_parsers_never_raise(text) -> None:
    for parse in (parse_size, parse_duration, parse_rate):
        value = parse(text)
        assert value is None or value >= 0
