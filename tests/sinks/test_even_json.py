"""Indented JSON is what the standard library writes, to the byte."""

from __future__ import annotations

import json
from collections import namedtuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.sinks.even_json import dumps

PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())
ANY = st.recursive(PLAIN, lambda inner: st.one_of(
    st.lists(inner), st.tuples(inner, inner), st.dictionaries(st.text(), inner)), max_leaves=25)  # fmt: skip


@given(ANY, st.integers(0, 4))
def test_as_the_standard_library_writes_it(value, indent) -> None:
    assert dumps(value, indent) == json.dumps(value, indent=indent)


def test_kinds_of_lists_and_what_is_no_json() -> None:
    pair = namedtuple("pair", "a b")(1, [{"x": "\n\u2028\"\\"}])
    assert dumps({"p": pair, "e": [], "d": {}, "n": [[], {}]}, 2) == json.dumps(
        {"p": pair, "e": [], "d": {}, "n": [[], {}]}, indent=2
    )
    with pytest.raises(TypeError):
        dumps([{"a": object()}], 1)
