"""Ready columns say what the streams beside them say, and are no loss where they are damaged."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.record.damage import damage

from oomsight.record import codec
from oomsight.record.dense import lives
from oomsight.record.fields import FIELDS, INDEX, UNLIMITED
from oomsight.record.formula import FORMULAS
from oomsight.record.model import Change
from oomsight.record.ready import PLACES, SHEETS, TAIL_BYTES, Sheet, sheets, spots
from oomsight.record.tiers import TIERS
from oomsight.sinks.history_store import HistoryStore
from oomsight.sources.history import History
from oomsight.sources.history_files import Shelf

WALL = 1_700_000_000_000
VALUE = st.one_of(st.none(), st.just(UNLIMITED), st.integers(0, 1 << 40))


def opened(body: bytes, kind: str) -> Sheet:
    spot = spots(body[-TAIL_BYTES:], len(body))[kind]
    begin = len(body) - spot.back
    return Sheet(body[begin : begin + spot.length], spot.sum)


def stream_of(rows: list[tuple | None]) -> bytes:
    out, before, last = bytearray(), None, 0
    for at, row in enumerate(rows):
        data = b"\x00" if row is None and before is not None else b"" if row is None else codec.event(before, row)
        if data:
            codec.put(out, at - last)
            out += data
            before, last = row, at
    return bytes(out)


@given(st.lists(st.lists(st.one_of(st.none(), st.tuples(*[VALUE] * len(FIELDS["name"]))), min_size=9, max_size=9),
                min_size=1, max_size=4))  # fmt: skip
def test_a_sheet_says_what_the_streams_say(crowd) -> None:
    streams = [("name", 7 + number, stream_of(rows)) for number, rows in enumerate(crowd)]
    whole = {number: lives(stream, PLACES["name"], 9) for _, number, stream in streams}
    alone = {number: one[0] for number, one in whole.items() if len(one) == 1 and one[0].columns[0]}
    body = b"streams" + sheets(streams, 9, ("name", "cgroup"))
    if not alone:
        assert body == b"streams"
        return
    sheet = opened(body, "name")
    for number in whole:
        assert (number in sheet) == (number in alone)
        if number in alone:
            assert sheet.life(number, range(len(PLACES["name"]))) == alone[number]
            assert sheet.life(number, [2]).columns == [alone[number].columns[2]]


@given(st.binary(max_size=90), st.integers(0, 200))
def test_the_end_of_any_body_can_be_looked_at(data, length) -> None:
    for tail in (data, data + b"\xf0Rdy"):
        for spot in spots(tail[-TAIL_BYTES:], length).values():
            assert spot.back <= length
            try:
                Sheet(data[: spot.length], spot.sum)
            except codec.DamagedError:
                continue


SIZES = {"cgroup": 24, "name": 12, "process": 30}


@pytest.fixture
def recorded(tmp_path) -> str:
    """Two hours of cgroups, names and processes, a sample each half minute, some of which go, and some come again."""
    chance, store = random.Random(5), HistoryStore(str(tmp_path), "b" * 32)
    numbers = {kind: range(1000 * at, 1000 * at + size) for at, (kind, size) in enumerate(SIZES.items(), 1)}
    away: dict[int, int] = {}
    for sample in range(240):
        change = Change()
        for kind, members in numbers.items():
            for number in members:
                if sample == 0:
                    named = {"pid": number, "start": number} if kind == "process" else {}
                    change.new.append((number, {"kind": kind, "name": f"/{kind}-{number}", **named}))
                if away.get(number, -1) == sample:
                    change.gone.append(number)
                elif not 0 <= sample - away.get(number, 1 << 30) < 7 and chance.random() < 0.7:
                    values = [chance.randrange(1 << 20) for _ in FIELDS[kind]]
                    if kind == "cgroup":
                        values[INDEX["cgroup"]["limit_bytes"]] = UNLIMITED if number % 2 else 1 << 20
                    change.rows.append((number, kind, tuple(values)))
                if chance.random() < 0.004:
                    away[number] = sample + 1
        store.write(sample * 30_000, WALL + sample * 30_000, change)
    store.close()
    return str(tmp_path)


def answers(path: str, kind: str) -> list:
    """What questions about many find, at each density."""
    history = History(path)
    low, high = history.span()
    everyone, found = history.entities(kind, low, high), []
    places = PLACES.get(kind, FORMULAS["process"].places)
    for points in (None, 100, 12):
        for since in (low, low + 1234.5):
            columns = history.columns(everyone, places, since, high - 61, points)
            found.append({key: (one.times, one.columns, one.came, one.went, one.step_seconds)
                          for key, one in columns.items()})  # fmt: skip
            ends = [INDEX[kind][name] for name in ("limit_bytes", "events_oom_kill")] if kind == "cgroup" else []
            columns = history.columns(everyone, ends, since, high - 61, points, need=True)
            found.append({key: (one.times, one.columns, one.came, one.went, one.step_seconds)
                          for key, one in columns.items()})  # fmt: skip
    assert history.damaged == 0
    return found


@pytest.mark.parametrize("kind", sorted(SIZES))
def test_questions_about_many_are_answered_as_by_the_streams(recorded, kind, monkeypatch) -> None:
    chunks = Shelf(recorded).chunks
    assert {tier.number for tier in TIERS} == {chunk.tier for chunk in chunks}
    for chunk in chunks:
        assert (Shelf(recorded).sheet(chunk, kind) is not None) == (kind in SHEETS.get(chunk.tier, ()))
    ready = answers(recorded, kind)
    assert any(Shelf(recorded).needs(chunk, kind) for chunk in chunks)
    monkeypatch.setattr(Shelf, "needs", lambda *_: None)
    assert ready == answers(recorded, kind)
    monkeypatch.setattr(Shelf, "sheet", lambda *_: None)
    assert ready == answers(recorded, kind)


def test_damage_in_ready_columns_loses_nothing(recorded, tmp_path) -> None:
    before = answers(recorded, "cgroup")
    damaged = 0
    for chunk in Shelf(recorded).chunks:
        found = Shelf(recorded)
        if found.sheet(chunk, "cgroup") is None:
            continue
        damage(chunk, "cgroup")
        damaged += 1
    assert damaged > 2
    for chunk in Shelf(recorded).chunks:
        assert Shelf(recorded).sheet(chunk, "cgroup") is None
    assert answers(recorded, "cgroup") == before
