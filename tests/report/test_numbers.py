"""Numbers read many at once: the same as one by one, and none out of what is not of the form."""

from __future__ import annotations

import json.decoder  # noqa: F401 - for the test that takes it away
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.report.memory import _counters, _kib_fields, _numbers
from oomsight.report.numbers import by_name, integers

_NAMES = st.lists(st.from_regex(r"[a-z_]{1,9}", fullmatch=True), min_size=1, max_size=9, unique=True)


@pytest.mark.parametrize("array", ["[1,2 3]", "[1,,2]", "[1.5]", "[1e3]", "[NaN]", "[01]", "["])
@pytest.mark.parametrize("loaded", [True, False])
def test_integers_refuses_what_is_none(array: str, loaded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not :mod:`json` is loaded, without which the scanner in C does not find its own error."""
    if not loaded:
        monkeypatch.delitem(sys.modules, "json.decoder")
    with pytest.raises((ValueError, StopIteration)):
        integers(array)


@given(_NAMES, st.data())
def test_by_name_pairs_each_name_with_its_own_number(names: list[str], data: st.DataObject) -> None:
    numbers = data.draw(st.lists(st.integers(0, 10**17), min_size=len(names), max_size=len(names)))
    text = " ".join(f"{name}:{number}kB" for name, number in zip(names, numbers, strict=True))
    assert by_name(text, lambda form: tuple(names) if form.count(b":") == len(names) else ()) == dict(
        zip(names, numbers, strict=True)
    )


@pytest.mark.parametrize("text", ["free:kB12 min:3kB", "1free:kB min:3kB", "free:4 5kB min:kB", "free:007kB min:3kB"])
def test_by_name_of_a_number_elsewhere_is_empty(text: str) -> None:
    assert by_name(text, lambda _form: ("free", "min")) == {}


def test_fields_of_a_damaged_line_are_not_those_of_its_form() -> None:
    whole, moved = "Node 0 DMA free:12kB min:3kB", "Node 0 DMA free:kB12 min:3kB"
    assert _kib_fields(whole) == {"free": 12, "min": 3}
    assert _kib_fields(moved) == {"min": 3}
    assert _kib_fields("Node 0 DMA free:007kB min:3kB") == {"free": 7, "min": 3}
    assert _counters("free:1 free:2 dirty:3") == {"free": 1, "dirty": 3}
    assert _counters("free:1 dirty") == {"free": 1}


@given(st.lists(st.integers(0, 10**18 - 1).map(str) | st.sampled_from(["007", "00"]), max_size=9))
def test_reserves_are_those_of_int(words: list[str]) -> None:
    assert _numbers("lowmem_reserve[]: " + " ".join(words)) == tuple(map(int, words))


def test_reserves_longer_than_a_counter_are_left_out() -> None:
    assert _numbers("lowmem_reserve[]: 5 " + "9" * 19 + " 7") == (5, 7)
