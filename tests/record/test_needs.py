"""How much was needed for how long: what stands ready says what the rows say, to the byte, and damage loses nothing."""

from __future__ import annotations

import random
import shutil
import zlib
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.record.damage import damage

from oomsight.record import ordered
from oomsight.record.codec import DamagedError
from oomsight.record.dense import Life
from oomsight.record.fields import FIELDS, INDEX, UNLIMITED
from oomsight.record.formula import FORMULAS, totals
from oomsight.record.model import Change
from oomsight.record.needs import SUMS, Needs, entry, packed
from oomsight.record.ordered import Ordered, nth
from oomsight.record.ready import PLACES, SHEETS
from oomsight.rightsize.need import BASES, Basis, need_bytes
from oomsight.rightsize.tail import block_peaks
from oomsight.sinks.history_store import HistoryStore
from oomsight.sources.history import History
from oomsight.sources.history_files import Shelf

WALL = 1_700_000_000_000
NAMES = {kind: [FIELDS[kind][place].name for place in PLACES[kind]] for kind in SUMS}


def test_need_is_what_rightsize_says_it_is() -> None:
    for kind, basis in (("cgroup", "charged"), ("name", "process")):
        rule = next(one for one in BASES if one.name == basis)
        mine = SUMS[kind]
        assert (mine.plus, mine.minus, (*mine.optional, *mine.apart)) == (rule.plus, rule.minus, rule.optional)
        assert set(SUMS[kind].names) <= set(NAMES[kind])


PIECES = st.lists(st.lists(st.integers(-50, 50), min_size=1, max_size=9), min_size=1, max_size=12)


@given(PIECES, st.integers(1, 40))
def test_the_nth_of_sorted_pieces_is_that_of_all(pieces, few) -> None:
    pieces = [sorted(piece) for piece in pieces]
    whole = sorted(chain.from_iterable(pieces))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordered, "FEW", few)
        assert [nth(pieces, rank) for rank in range(len(whole))] == whole


@given(PIECES, st.data())
def test_ranks_that_are_asked_for_together_are_what_each_is(pieces, data) -> None:
    pieces = [sorted(piece) for piece in pieces]
    whole = sorted(chain.from_iterable(pieces))
    wanted = data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=5))
    opened: list[int] = []

    def piece(at: int) -> list[int]:
        opened.append(at)
        return pieces[at]

    found = Ordered([one[0] for one in pieces], [one[-1] for one in pieces], list(map(len, pieces)), piece)
    assert found.look_up(wanted) == [whole[rank] for rank in wanted]
    assert len(set(opened)) == len(opened)  # each no more than once
    assert [found[rank] for rank in wanted] == [whole[rank] for rank in wanted]


@given(PIECES)
def test_a_rank_is_found_among_sorted_pieces(pieces) -> None:
    pieces = [sorted(piece) for piece in pieces]
    found = Ordered([one[0] for one in pieces], [one[-1] for one in pieces], list(map(len, pieces)), pieces.__getitem__, 4)
    whole = sorted(4.0 * value for piece in pieces for value in piece)
    assert len(found) == len(whole)
    assert [found[rank] for rank in range(len(whole))] == whole
    assert (found[-1], found[-len(whole)], found[1:3]) == (whole[-1], whole[0], whole[1:3])
    with pytest.raises(IndexError):
        found[len(whole)]


CODED = st.one_of(st.just(0), st.integers(1, 1 << 40), st.integers(1, 4))


@given(st.integers(1, 6).flatmap(lambda rows: st.lists(
    st.lists(st.lists(CODED, min_size=rows, max_size=rows), min_size=7, max_size=7), min_size=1, max_size=4)))  # fmt: skip
def test_what_is_packed_comes_back(crowd) -> None:
    known = {name: at for at, name in enumerate(NAMES["cgroup"])}
    entries, others = [], []
    for number, columns in enumerate(crowd, 5):
        one = entry("cgroup", number, Life(2, columns, ended=False), known)
        (others if one is None else entries).append(number if one is None else one)
    if not entries:
        return
    data = packed("cgroup", entries, others)
    needs = Needs("cgroup", data, zlib.crc32(data))
    assert set(needs.places) == {one.number for one in entries}
    assert needs.others == set(others)
    for one in entries:
        place = needs.places[one.number]
        columns = crowd[one.number - 5]
        rows = [{name: columns[at][row] - 1 if columns[at][row] else None for name, at in known.items()}
                for row in range(len(columns[0]))]  # fmt: skip
        assert needs.ordered(place) == sorted(need_bytes(row, BASES[0]) for row in rows)
        assert (needs.lows[place], needs.highs[place]) == (needs.ordered(place)[0], needs.ordered(place)[-1])
        coded = [[columns[known[name]][row] for row in range(len(columns[0]))]
                 for name in ("usage_bytes", "file_bytes", "shmem_bytes")]  # fmt: skip
        assert needs.curve(place) == totals(coded, FORMULAS["cgroup"])
        assert (needs.firsts[place], needs.rows[place]) == (2, len(columns[0]))
    with pytest.raises(DamagedError):
        Needs("cgroup", data[:-1], zlib.crc32(data))


@given(st.binary(max_size=120))
def test_any_bytes_are_needs_or_damaged(data) -> None:
    for text in (data, zlib.compress(data)):
        try:
            Needs("name", text, zlib.crc32(text))
        except DamagedError:
            continue


SIZES = {"cgroup": 12, "name": 11, "host": 1}


def machine(
    path: str, first: int, minutes: int, *, seed: int = 5, boot: str = "b", skip: frozenset[int] = frozenset()
) -> None:
    """Cgroups and names over some hours of minutes: some go and come, some figures are not known for a while."""
    chance, store = random.Random(seed), HistoryStore(path, boot * 32, clock=lambda: WALL / 1000 + first * 60)
    numbers = {kind: range(100 * at, 100 * at + size) for at, (kind, size) in enumerate(SIZES.items(), 1)}
    held: dict[int, list[int | None]] = {}
    away: dict[int, int] = {}
    for minute in range(first, first + minutes):
        if minute in skip:
            continue
        change = Change()
        for kind, members in numbers.items():
            for number in members:
                if minute == first:
                    change.new.append((number, {"kind": kind, "name": f"/{kind}-{number}"}))
                    held[number] = [chance.randrange(1 << 18) for _ in FIELDS[kind]]
                    if kind == "cgroup":
                        held[number][INDEX[kind]["usage_bytes"]] = (1 << 19) + chance.randrange(1 << 18)
                        held[number][INDEX[kind]["limit_bytes"]] = UNLIMITED if number % 3 == 0 else 1 << 20
                        if number % 2:
                            held[number][INDEX[kind]["swap_bytes"]] = None
                values = held[number]
                if away.get(number, -1) == minute:
                    change.gone.append(number)
                elif kind == "host" or (not 0 <= minute - away.get(number, 1 << 30) < 20 and chance.random() < 0.8):
                    moved = chance.sample(range(len(values)), 2)
                    for place in moved:
                        if values[place] is not None and values[place] != UNLIMITED:
                            values[place] = max(values[place] + 4 * chance.randrange(-200, 200), 0)
                    place = INDEX[kind]["rss_shmem_bytes" if kind == "name" else "shmem_bytes"]
                    if kind != "host" and (values[place] is None or chance.random() < 0.002):
                        values[place] = None if values[place] is not None else 4096
                    change.rows.append((number, kind, tuple(values)))
                if kind != "host" and chance.random() < 0.002:
                    away[number] = minute + 1
        store.write(minute * 60_000 + 5_000, WALL + minute * 60_000, change)
    store.close()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> str:
    """Thirty hours, a restart, a gap and a reboot in them."""
    path = str(tmp_path_factory.mktemp("needs"))
    machine(path, 0, 700, skip=frozenset(range(300, 340)))
    machine(path, 720, 600, seed=6)
    machine(path, 1340, 500, seed=7, boot="c")
    return path


def ranks(values) -> tuple[int, list[float]]:
    """How many there are, and about thirty of them."""
    return len(values), [values[rank] for rank in {*range(0, len(values), len(values) // 30 + 1), len(values) - 1}]


def told(history: History, kind: str, since: float, until: float, points: int | None) -> dict:
    """What is said of everybody."""
    everyone = history.entities(kind, since, until)
    return {
        entity.name: (ranks(one.ordered), one.span_seconds,
                      {name: value for name in (*SUMS[kind].highest, *SUMS[kind].lowest)
                       if (value := one.extreme(name)) is not None},
                      {name: (value, one.end(name, 1)) for name in SUMS[kind].ends
                       if (value := one.end(name, 0)) is not None},
                      {block: one.peaks(block) for block in (900.0, 3600.0, 21600.0, 86400.0)})
        for entity, one in history.needs(everyone, since, until, points) if one is not None
    }  # fmt: skip


def by_rows(history: History, kind: str, since: float, until: float, points: int | None) -> dict:
    """The same from every row, added up here."""
    found, rule = {}, SUMS[kind]
    fields = list(rule.names)
    for entity, figures in history.together(history.entities(kind, since, until), fields, since, until, points):
        by_time = {name: dict(zip(one.times, one.values, strict=True)) for name, one in figures.items()}
        basis = Basis("", rule.plus, rule.minus, (*rule.optional, *rule.apart), True, "", "")
        rows = [(time, need_bytes({name: values.get(time) for name, values in by_time.items()}, basis))
                for time in sorted({time for values in by_time.values() for time in values})]  # fmt: skip
        rows = [(time, need) for time, need in rows if need is not None]
        if not rows:
            continue
        times, needs = [time for time, _ in rows], [need for _, need in rows]
        extremes = {name: max(figures[name].values) for name in rule.highest if len(figures[name])}
        extremes |= {name: min(figures[name].values) for name in rule.lowest if len(figures[name])}
        ends = {name: (figures[name].values[0], figures[name].values[-1]) for name in rule.ends if len(figures[name])}
        peaks = {block: block_peaks(times, needs, block) for block in (900.0, 3600.0, 21600.0, 86400.0)}
        found[entity.name] = ranks(sorted(needs)), times[-1] - times[0], extremes, ends, peaks
    return found


@pytest.mark.parametrize("kind", sorted(SIZES))
def test_needs_are_what_the_rows_say(recorded, kind) -> None:
    history = History(recorded)
    low, high = history.span()
    for since, until, points in ((low, high, 1800), (low, high, 180), (low + 4321, high - 5432, 1500), (low, high, None)):
        assert told(history, kind, since, until, points) == by_rows(history, kind, since, until, points)
    assert len(told(history, kind, low, high, 1800)) == SIZES[kind]
    assert history.damaged == 0


@pytest.mark.parametrize("kind", sorted(SIZES))
def test_most_is_answered_without_rows(recorded, kind) -> None:
    shelf, ready, others = Shelf(recorded), 0, 0
    for chunk in shelf.chunks:
        needs = shelf.needs(chunk, kind)
        assert needs is None or kind.upper() in SHEETS[chunk.tier]
        if needs is not None and chunk.tier == 2:
            ready, others = ready + len(needs.places), others + len(needs.others)
    assert ready > 2 * others
    assert (others > 0) == (kind != "host")


def test_an_older_record_and_a_damaged_one_say_the_same(recorded, monkeypatch) -> None:
    history = History(recorded)
    low, high = history.span()
    ready = told(history, "cgroup", low, high, 1800)
    monkeypatch.setattr(Shelf, "needs", lambda *_: None)
    assert told(History(recorded), "cgroup", low, high, 1800) == ready


def test_damage_costs_time_only(recorded, tmp_path) -> None:
    path = str(tmp_path / "copy")
    shutil.copytree(recorded, path)
    history = History(path)
    low, high = history.span()
    before, damaged = told(history, "name", low, high, 1800), 0
    for chunk in Shelf(path).chunks:
        shelf = Shelf(path)
        if shelf.needs(chunk, "name") is None:
            continue
        damage(chunk, "NAME")
        damaged += 1
    assert damaged > 20
    assert told(History(path), "name", low, high, 1800) == before
