"""Samples as CSV: what is written for thousands of rows at once is what each alone would be."""

from __future__ import annotations

import csv
import io
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.sinks import history_rows
from oomsight.sinks.history_rows import COLUMNS, Group, Stamps, csv_pieces, number

MOMENTS = st.floats(-2e9, 2e11, allow_nan=False)
VALUES = st.one_of(st.integers(0, 1 << 50), st.floats(0, 1e15, allow_nan=False), st.just(math.inf))
WHO = st.tuples(st.sampled_from(["cgroup", "name"]), st.text(max_size=9), st.none() | st.integers(1, 99), st.none(),
                st.none() | st.text(max_size=9), st.just("usage_bytes"))  # fmt: skip


@given(st.lists(st.integers(-2_000_000_000_000, 200_000_000_000_000), max_size=30))
def test_moments_are_written_as_alone(moments) -> None:
    stamps, times = Stamps(), [ms / 1000 for ms in moments]
    for _ in range(2):
        assert stamps.of(times) == [
            f"{datetime.fromtimestamp(0, UTC).replace(tzinfo=None) + timedelta(milliseconds=ms):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}Z"
            for ms in moments
        ]


@given(st.lists(st.tuples(WHO, st.lists(st.tuples(MOMENTS, VALUES), max_size=9), st.booleans()), max_size=5), st.integers(1, 7))
def test_rows_in_pieces_are_all_rows(groups, at_once) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history_rows, "ROWS_AT_ONCE", at_once)
        patch.setattr(history_rows, "MOST_STAMPS", 3)
        pieces = list(csv_pieces([
            Group(who, [moment for moment, _ in rows], [int(v) if whole and v < math.inf else v for _, v in rows])
            for who, rows, whole in groups
        ]))  # fmt: skip
    assert all(piece.endswith("\n") for piece in pieces)
    read = list(csv.reader(io.StringIO("".join(pieces), newline="")))
    assert tuple(read[0]) == COLUMNS
    alone = [(Stamps().of([moment])[0], str(number(int(value) if whole and value < math.inf else value)))
             for _, rows, whole in groups for moment, value in rows]  # fmt: skip
    assert [(row[0], row[-1]) for row in read[1:]] == alone
    assert [row[1] for row in read[1:]] == [who[0] for who, rows, _ in groups for _ in rows]
