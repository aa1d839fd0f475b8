"""Columns of streams, and what is done with columns, say what looking at each value says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.record import codec, dense
from oomsight.record.answers import thinned
from oomsight.record.chunk import ChunkBuilder
from oomsight.record.codec import coded, plain
from oomsight.record.dense import added, lives
from oomsight.record.fields import FIELDS, UNLIMITED

SIZE = len(FIELDS["cgroup"])
VALUE = st.one_of(st.none(), st.just(UNLIMITED), st.integers(0, 1 << 40), st.integers(0, 3))
ROW = st.one_of(st.none(), st.just("same"), st.tuples(*[VALUE] * SIZE))  # gone, as before, or these figures


def packed(rows) -> tuple[bytes, list]:
    """A stream of one cgroup, and what there is in each row."""
    builder, before, there = ChunkBuilder(), None, []
    for at, row in enumerate(rows):
        builder.begin_row(at * 1000, at * 1000)
        now = before if row == "same" else row
        if now is None and before is not None:
            builder.add(7, "cgroup", b"", None)
        elif now is not None and (data := codec.event(before, now)):
            builder.add(7, "cgroup", data, now[0])
        before = now
        there.append(now)
    return (builder.stream(7) if builder.entities() else b""), there


@given(st.lists(ROW, min_size=1, max_size=30), st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=4, unique=True))
def test_columns_are_what_was_there_in_each_row(rows, places) -> None:
    stream, there = packed(rows)
    nothing = [[plain(coded(None))] * len(places)] * len(rows)
    seen: list = list(nothing)
    for life in lives(stream, places, len(rows)):
        for row, values in enumerate(zip(*life.columns, strict=True), life.first):
            seen[row] = [plain(value) for value in values]
        assert life.ended == (life.end < len(rows)) or there[-1] is None
    expected = [[None] * len(places) if now is None else [now[place] for place in places] for now in there]
    assert seen == expected
    for place in places:  # with the other figures stepped over
        alone = dense._alone(dense._figure(stream, place), len(rows))
        assert alone == lives(stream, [place], len(rows))


@pytest.mark.parametrize("data", [b"\x00\x01\x81", b"\x00\x03\x02", b"\x05\x01\x02", b"\x00", b"\x00\x81\x80\x00"])
def test_streams_of_another_shape_are_damaged(data) -> None:
    with pytest.raises(codec.DamagedError):
        lives(data, [0, 1], 5)


NEED = (0, 2, 3, 4)
STEP = st.sampled_from([b"\x01", b"\x7f", b"\xa2\x05", b"\x80\x80\x01", b"\x81\x01", b"\x02"])
NUMBERS_OF = {b"\x01": 1, b"\x02": 1, b"\x03": 2, b"\x80\x01": 1, b"\x81\x01": 2, b"\x82\x01": 2, b"\x83\x01": 3,
              b"\xbf\x01": 7, b"\x91\x01": 3, b"\x04": 1, b"\x00": 0, b"\x81\x00": 1}  # fmt: skip
OFTEN = st.sampled_from([b"\x81\x01", b"\x81\x01", b"\x83\x01", *NUMBERS_OF])
EVENT = st.tuples(st.sampled_from([b"\x01", b"\x01", b"\x02", b"\x00", b"\x81\x01"]), OFTEN).flatmap(
    lambda head: st.lists(STEP, min_size=(count := NUMBERS_OF[head[1]]), max_size=count).map(
        lambda steps: b"".join((*head, *steps))
    )
)


def _found(by, stream: bytes, rows: int):
    try:
        return by(stream, NEED, rows)
    except codec.DamagedError:
        return "damaged"


@given(st.lists(EVENT, max_size=40), st.sampled_from([4096, 4096, 30, 2]), st.integers(0, 12))
def test_events_read_in_runs_say_what_they_say_one_by_one(events, rows, cut) -> None:
    whole = b"".join(events)
    for stream in (whole, whole[:-cut] if cut else whole[1:]):
        if not stream or stream[-1] < 128:  # else nobody looks at it
            assert _found(dense._by_runs, stream, rows) == _found(dense._event_by_event, stream, rows)


@given(st.binary(max_size=60))
def test_of_any_bytes_runs_say_what_events_say(stream) -> None:
    if not stream or stream[-1] < 128:
        assert _found(dense._by_runs, stream, 200) == _found(dense._event_by_event, stream, 200)


@given(st.lists(st.tuples(*[st.one_of(st.none(), st.integers(0, 1 << 30))] * 3), max_size=20))
def test_sums_are_of_what_is_known(rows) -> None:
    columns = [[coded(row[i]) for row in rows] for i in range(3)]
    known = [[value for value in row if value is not None] for row in rows]
    assert [plain(value) for value in added(columns)] == [sum(values) if values else None for values in known]
    assert added(columns[:1]) == columns[0]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(2, 20), st.sampled_from(["max", "min", "last"]))
def test_of_each_part_of_the_time_one_point_is_kept(values, most, rule) -> None:
    times = [60.0 * i * (1 + i % 3) for i in range(len(values))]
    times = sorted(set(times))
    values = values[: len(times)]
    kept, figures = thinned(times, values, most, rule)
    assert len(kept) <= most
    assert kept == sorted(set(kept))
    assert set(kept) <= set(times)
    if len(times) <= most:
        assert (kept, figures) == (times, values)
        return
    by_time = dict(zip(times, values, strict=True))
    assert figures == [by_time[moment] for moment in kept]
    width = (times[-1] - times[0]) / most
    for number in range(most):  # a sample at a border may be counted to either side
        low, high = times[0] + number * width, times[0] + (number + 1) * width
        inside = [by_time[t] for t in times if low + 1e-6 < t < high - 1e-6]
        near = [by_time[t] for t in kept if low - 1e-6 <= t <= high + 1e-6]
        if inside and rule != "last":
            best = max(inside) if rule == "max" else min(inside)
            assert max(near) >= best if rule == "max" else min(near) <= best
