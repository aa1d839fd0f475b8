"""oomsight._sizes: how sizes and rates are said, and that rounding never says more than there is to say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight._sizes import GIB, KIB, MIB, rate_words, size_words, steady_size_words

BYTES = {"byte": 1, "bytes": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": 1 << 40, "PiB": 1 << 50}


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (1, "1 byte"), (5000, "5000 bytes"), (1024, "1 KiB"), (8 * KIB, "8 KiB"), (512 * MIB, "512 MiB"),
     (1023 * MIB, "1023 MiB"), (GIB - 1, "1.00 GiB"), (GIB, "1 GiB"), (1025 * MIB, "1.00 GiB"), (3 << 29, "1.5 GiB"),
     (1.24 * GIB, "1.24 GiB"), (47.72 * MIB, "47.7 MiB"), (10.04 * MIB, "10.0 MiB"), (-MIB, "-1 MiB"), (12.4, "12 bytes"),
     (1 << 60, "1024 PiB")],
)  # fmt: skip
def test_size_words_has_three_digits_or_is_exact(size, words) -> None:
    assert size_words(size) == words


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 KiB"), (580 * KIB, "580 KiB"), (MIB, "1.0 MiB"), (GIB - 1, "1.0 GiB"), (2 << 40, "2.0 TiB"), (-MIB, "-1.0 MiB")],
)  # fmt: skip
def test_steady_size_words_always_has_one_digit_behind_the_point(size, words) -> None:
    assert steady_size_words(size) == words


@given(st.integers(-(1 << 59), 1 << 59))
def test_words_are_as_near_as_their_digits(size) -> None:
    for words, error in ((size_words(size), 0.0051), (steady_size_words(size), 0.051)):
        number, unit = words.split()
        assert abs(float(number)) <= 1024 or unit == "TiB" or (abs(size) < 10 * KIB and unit == "bytes")
        assert abs(float(number) * BYTES[unit] - size) <= max(error * abs(size), KIB / 2 if unit == "KiB" else 0)


def test_rate_words_takes_the_time_that_shows_something() -> None:
    assert [rate_words(rate) for rate in (2 * MIB, 100_000, 300, 12, 0, -5 * MIB)] == [
        "2 MiB/s", "5.72 MiB/min", "1.03 MiB/h", "1012 KiB/day", "0 bytes/day", "-5 MiB/s",
    ]  # fmt: skip
