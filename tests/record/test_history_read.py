"""The short ways of reading a history say what the long ones do."""

from __future__ import annotations

import math
import random
import zlib

import pytest

from oomsight.pipeline.curves import glimpses
from oomsight.record import codec
from oomsight.record.answers import ascending, choose, thinned
from oomsight.record.chunk import ChunkBuilder, chunk_front, chunk_head
from oomsight.record.codec import ENTITIES, KINDS, MAGIC, PROCESSES
from oomsight.record.fields import FIELDS, INDEX, UNLIMITED
from oomsight.record.journal import Journal, encode_row, parse_row
from oomsight.record.layout import Begin, needle_of
from oomsight.record.model import Change
from oomsight.sinks.history_store import HistoryStore
from oomsight.sources.history import History
from oomsight.sources.history_files import Shelf

WALL = 1_700_000_000_000


def crowd(path, seconds: int = 400) -> HistoryStore:
    """Twenty processes that walk at random, some of them ending, in as many cgroups, of one host."""
    chance, store = random.Random(3), HistoryStore(str(path), "b" * 32)
    sizes = {number: chance.randrange(1 << 14) for number in range(1, 41)}
    for second in range(seconds):
        change = Change()
        for number in list(sizes):
            kind = "process" if number <= 20 else "cgroup"
            if second == 0:
                named = {"pid": 100 + number, "start": number} if kind == "process" else {}
                change.new.append((number, {"kind": kind, "name": f"{kind}-{number}", **named}))
            sizes[number] = max(sizes[number] + chance.randrange(-300, 301), 0)
            rest = [0] * (len(FIELDS[kind]) - 1)
            change.rows.append((number, kind, (sizes[number], *rest)))
        if second == 0:
            change.new.append((99, {"kind": "host", "name": "box"}))
        change.rows.append((99, "host", (second, *[None] * (len(FIELDS["host"]) - 1))))
        if second % 40 == 30:
            ended = chance.choice([number for number in sizes if number <= 20])
            del sizes[ended]
            change.gone.append(ended)
            change.rows = [row for row in change.rows if row[0] != ended]
        store.write((second + 1) * 1000, WALL + second * 1000, change)
    return store


def test_the_biggest_few_are_the_first_of_all(tmp_path) -> None:
    """Only who may be among them is looked at; the answer is that of looking at all."""
    store = crowd(tmp_path)
    low, high = History(str(tmp_path)).span()
    for since, until in ((low, high), (low + 100, low + 130), (high - 20, high)):
        for kind in ("process", "cgroup"):
            history = History(str(tmp_path))
            every = history.entities(kind, since, until)
            assert len(every) > 5
            assert History(str(tmp_path)).entities(kind, since, until, 5) == every[:5]
    store.close()
    assert History(str(tmp_path)).entities("process", low, high, 3) == every_process(tmp_path)[:3]


def every_process(path):
    history = History(str(path))
    return history.entities("process", *history.span())


@pytest.mark.parametrize("packed", [False, True])
def test_a_process_is_found_by_pid_or_part_of_its_name_without_listing_all(tmp_path, packed) -> None:
    store = crowd(tmp_path)
    if packed:
        store.close()
    history = History(str(tmp_path))
    span = history.span()
    assert [e.pid for e in history.entities("process", *span, like=needle_of("", 107))] == [107]
    found = {e.name for e in history.entities("process", *span, like=needle_of("process-1"))}
    assert found == {e.name for e in every_process(tmp_path) if "process-1" in e.name}
    assert len(found) > 1


def test_the_host_is_known_without_its_figures(tmp_path) -> None:
    crowd(tmp_path, 30).close()
    history = History(str(tmp_path))
    low, high = history.span()
    assert history.host(low, high).key == history.entities("host", low, high)[0].key
    assert history.host(low, high).name == "box"
    assert history.host(high + 10, high + 20) is None


def test_a_journal_answers_as_the_chunk_it_becomes(tmp_path) -> None:
    """Index of a kind, stream of one entity and the state of a row, without unpacking the rest."""
    crowd(tmp_path, 100)
    chunk = next(one for one in Shelf(str(tmp_path)).chunks if one.file.journal is not None and one.tier == 0)
    journal = chunk.file.journal
    builder = journal.builder()
    body = builder.body(1)
    _, whole = chunk_front(chunk_head(body), body)
    for kind in ("process", "cgroup", "host"):
        index = journal.index_of(kind)
        places = whole.places(KINDS.index(kind))
        assert list(index.entities) == [whole.entities[place] for place in places]
        for own, place in enumerate(places):
            assert index.first_rows[own] == whole.first_rows[place]
            assert index.gone_rows[own] == whole.gone_rows[place]
            for column in ("firsts", "peaks", "lasts"):
                assert getattr(index.marks, column)[own] == getattr(whole.marks, column)[place]
            assert journal.stream(index.entities[own]) == builder.stream(index.entities[own])
        every = {entity: builder.stream(entity) for entity in index.entities}
        assert journal.streams(every) == every
        few = [*every][::3]
        assert journal.streams([*few, -1]) == {entity: every[entity] for entity in few}
    for row in (0, 35, 99):
        states = {entity: list(values) for entity, _, values in journal.states(row)}
        for place, entity in enumerate(whole.entities):
            there = whole.first_rows[place] <= row < whole.gone_rows[place]
            assert there == (entity in states)
            stream, kind = builder.stream(entity), KINDS[whole.marks.kinds[place]]
            known = [list(values) for at, values in codec.events(stream, kind) if at <= row and values is not None]
            if there:
                assert states[entity] == known[-1]
                (_, last), = codec.events(stream, kind, row, last=True)
                assert list(last) == known[-1]


def test_a_damaged_journal_row_raises_one_error_only() -> None:
    body = encode_row(1000, WALL, [(1, 1, b"\x81\x01\x80"), (2, 1, b"\x01\xff")])
    parse_row(body)
    journal = Journal(Begin(0, "b", 1), "", [body])
    for question in (lambda: journal.index_of("process"), lambda: list(journal.states(0)), journal.builder):
        with pytest.raises(codec.DamagedError):
            question()


def test_a_file_with_all_descriptions_together_is_read_too(tmp_path) -> None:
    """As files were before processes were described apart."""
    crowd(tmp_path).close()
    expected = every_process(tmp_path)
    for path in tmp_path.glob("*.hist"):
        out, text = [MAGIC], []
        for kind, body, _ in codec.records(path.read_bytes(), len(MAGIC)):
            if kind in {ENTITIES, PROCESSES}:
                text.append(zlib.decompress(body))
                continue
            if kind == codec.CHUNK and text:
                out.append(codec.record(ENTITIES, zlib.compress(b"\n".join(text))))
                text = []
            out.append(codec.record(kind, body))
        path.write_bytes(b"".join(out))
    history = History(str(tmp_path))
    assert [e.name for e in history.entities("process", *history.span())] == [e.name for e in expected]
    assert len(history.entities("cgroup", *history.span())) == 20
    assert history.damaged == 0


@pytest.mark.parametrize("closed", [True, False], ids=["packed", "in the journals"])
def test_read_together_or_alone_is_the_same(tmp_path, closed) -> None:
    """Many entities are taken out of whole chunks, one out of its place in each."""
    store = crowd(tmp_path)
    if closed:
        store.close()
    history = History(str(tmp_path))
    low, high = history.span()
    for kind, fields in (("process", ["need_bytes", "rss_anon_bytes"]), ("cgroup", ["working_set_bytes", "limit_bytes"])):
        every = history.entities(kind, low, high)
        assert len(every) > 8
        for since, until, points in ((low, high, None), (low + 50, low + 90, None), (low, high, 30)):
            for entity, found in history.together(every, fields, since, until, points):
                alone = History(str(tmp_path)).several(entity, fields, since, until, points)
                for field, series in found.items():
                    kept = thinned(list(series.times), list(series.values), points, "max")
                    assert (kept, series.restarts) == ((alone[field].times, alone[field].values), alone[field].restarts)
    assert history.damaged == 0


def test_what_grew_most_comes_first_and_is_cut_there(tmp_path) -> None:
    crowd(tmp_path).close()
    history = History(str(tmp_path))
    every = history.entities("process", *history.span())
    grown = history.entities("process", *history.span(), 5, by_growth=True)
    assert grown == sorted(every, key=lambda one: one.first_main - one.peak_main)[:5]


class Piece:
    def __init__(self, tier: int, first: float, last: float) -> None:
        self.tier, self.first, self.last = tier, first, last


def test_what_a_coarse_tier_has_not_yet_comes_from_the_finest_alone_if_it_is_not_long() -> None:
    held = [Piece(3, 0, 6000), Piece(2, 0, 6060), Piece(1, 0, 6110), Piece(0, 5000, 6119)]
    assert [one.tier for one, _, _ in choose(held, 0, 6120, 10)] == [3, 0]
    held[-1] = Piece(0, 6115, 6119)  # does not reach back so far
    assert [one.tier for one, _, _ in choose(held, 0, 6120, 10)] == [3, 2, 1, 0]


def test_hours_that_a_coarse_tier_has_not_yet_come_from_the_next_finer_ones() -> None:
    held = [Piece(3, 0, 86_400), Piece(2, 0, 90_000), Piece(1, 0, 91_200), Piece(0, 84_700, 91_900)]
    found = choose(held, 0, 91_900, 100)
    assert [(one.tier, round(low), round(high)) for one, low, high in found] == [
        (3, 0, 91_900), (2, 86_400, 91_900), (1, 90_000, 91_900), (0, 91_200, 91_900)]
    held[2] = Piece(1, 0, 90_300)  # 300 s more than the minutes have: not worth it
    assert [one.tier for one, _, _ in choose(held, 0, 91_900, 100)] == [3, 2, 0]


@pytest.mark.parametrize(("since", "until"), [(1000, 1600), (0, 10), (5500, 5600), (90_000, 90_600), (99_000, 200_000)])
def test_no_piece_answers_for_more_than_was_asked(since, until) -> None:
    """A period that the finest tier has not any more ends where it was said to, not where that tier begins."""
    held = [Piece(3, 0, 99_000), Piece(2, 0, 99_060), Piece(1, 50_000, 99_110), Piece(0, 90_000, 99_119)]
    for most in (None, 10, 1000):
        chosen = choose(held, since, until, most)
        assert chosen
        assert all(since <= low <= high <= until for _, low, high in chosen)


def test_points_are_ascending_and_the_first_of_a_moment_counts() -> None:
    assert ascending([1, 2, 3], [5, 6, 7]) == ([1, 2, 3], [5, 6, 7])
    assert ascending([3, 1, 3, 2], [5, 6, 7, 8]) == ([1, 2, 3], [6, 8, 5])


def test_an_empty_chunk_has_an_index() -> None:
    builder = ChunkBuilder()
    builder.begin_row(1, WALL)
    body = builder.body(1)
    _, index = chunk_front(chunk_head(body), body)
    assert index.places(0) == []
    assert index.place(1) is None


def test_a_glimpse_is_what_all_samples_say_at_that_moment(tmp_path) -> None:
    """Of three cgroups, one that is gone for a while and one of which not all is known, in chunks and in the journal."""
    store, at = HistoryStore(str(tmp_path), "b" * 32), INDEX["cgroup"]

    def figures(**known: int) -> tuple[int | None, ...]:
        values: list[int | None] = [None] * len(FIELDS["cgroup"])
        for name, value in known.items():
            values[at[name]] = value
        return tuple(values)

    for i in range(300):
        whole = figures(usage_bytes=5000 + i * i, file_bytes=2 * i, shmem_bytes=3, limit_bytes=1 << 20)
        change = Change(rows=[(1, "cgroup", whole), (3, "cgroup", figures(usage_bytes=9 + i))])
        if not i:
            change.new = [(n, {"kind": "cgroup", "name": f"/{n}"}) for n in (1, 2, 3)]
        if i in {0, 200}:
            change.rows.append((2, "cgroup", figures(usage_bytes=7 + i, file_bytes=i, limit_bytes=UNLIMITED)))
        change.gone = [2] if i == 100 else []
        store.write(1000 + 1000 * i, 1_700_000_000_000 + 1000 * i, change)
    history = History(str(tmp_path))
    low, high = history.span()
    entities = history.entities("cgroup", low, high)
    assert [*glimpses(history, [], low, high, 20)] == []
    found = {one.entity.key: one for one in glimpses(history, entities, low, high, 20)}
    for name, limit in (("cgroup:/1", float(1 << 30)), ("cgroup:/2", math.inf)):
        assert found[name].limit_bytes == limit
        entity, need = found[name].entity, found[name].need
        usage, files = (history.series(entity, field, low, high) for field in ("usage_bytes", "file_bytes"))
        more = 3072 if name.endswith("1") else 0
        known = {moment: used - file + more for moment, used, file in zip(usage.times, usage.values, files.values, strict=True)}
        assert 10 <= len(need) <= 21
        assert need.times[-1] == high
        assert all(known[moment] == value for moment, value in zip(need.times, need.values, strict=True))
    assert not [t for t in found["cgroup:/2"].need.times if low + 100 <= t < low + 200]
    assert (found["cgroup:/3"].need, found["cgroup:/3"].limit_bytes) == (None, None)
    store.close()


def test_who_is_younger_than_a_coarse_step_is_listed_in_the_past_too(tmp_path) -> None:
    """A week is listed from rows of ten minutes; what had begun three minutes before a moment is in none of them yet."""
    store = HistoryStore(str(tmp_path), "b" * 32)
    size = len(FIELDS["cgroup"])
    for minute in range(3 * 1440):
        change = Change([(1, {"kind": "cgroup", "name": "/old"})] if minute == 0 else [])
        change.rows.append((1, "cgroup", (1000 + minute, *[0] * (size - 1))))
        if minute == 4007:
            change.new.append((2, {"kind": "cgroup", "name": "/young"}))
        if minute >= 4007:
            change.rows.append((2, "cgroup", (5000 + minute, *[0] * (size - 1))))
        store.write(minute * 60_000, WALL + minute * 60_000, change)
    store.close()
    history = History(str(tmp_path))
    low, moment = history.span()[0], history.span()[0] + 4009 * 60 + 5
    for order in (False, True):
        found = {one.name: one for one in history.entities("cgroup", low, moment, by_growth=order)}
        assert set(found) == {"/old", "/young"}
        assert found["/young"].first <= moment
    assert [one.name for one in history.entities("cgroup", low, moment - 180)] == ["/old"]
    assert [one.name for one in history.entities("cgroup", low, moment, 1)] == ["/young"]
