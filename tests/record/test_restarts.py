"""A recorder that is started again and again: one file goes on, each run's numbers stay its own."""

from __future__ import annotations

import errno
import os

import pytest

from oomsight.record.codec import HEADER, MAGIC, RUN
from oomsight.record.fields import FIELDS
from oomsight.record.model import Change
from oomsight.record.pace import Pace, Reading, decide
from oomsight.record.raw import host_values
from oomsight.record.tiers import TIERS
from oomsight.record.walk import walk
from oomsight.sinks.history_store import HistoryStore
from oomsight.sources.history import History

WALL = 1_700_000_000_000


def run(path, begin: int, names: tuple[str, ...], *, rows: int = 30, boot: str = "b", close: bool = True) -> None:
    """A run of the recorder from second *begin* on, in which the entities are numbered from 1 again."""
    store = HistoryStore(str(path), boot * 32, clock=lambda: WALL / 1000 + begin)
    for i in range(begin, begin + rows):
        change = Change()
        for number, name in enumerate(names, 1):
            if i == begin:
                change.new.append((number, {"kind": "cgroup", "name": name}))
            size = 100 * len(name) + i
            change.rows.append((number, "cgroup", (size, size, *[None] * (len(FIELDS["cgroup"]) - 2))))
        store.write((i + 1) * 1000, WALL + i * 1000, change)
    if close:
        store.close()
    else:
        os.close(store._lock)  # as a kill leaves it: journals that nobody has packed


def held(path, name: str) -> list[tuple[float, float]]:
    """What a cgroup held when, by the record."""
    history = History(str(path))
    low, high = history.span()
    (entity,) = [one for one in history.entities("cgroup", low, high) if one.name == name]
    series = history.series(entity, "usage_bytes", low, high)
    assert history.damaged == 0
    return [(moment - WALL / 1000, value / 1024) for moment, value in zip(series.times, series.values, strict=True)]


@pytest.mark.parametrize("close", [True, False])
@pytest.mark.parametrize("boots", ["bbbbb", "bcdef"])
def test_five_restarts_leave_one_file_of_each_tier(tmp_path, close, boots) -> None:
    for turn, boot in enumerate(boots):
        names = ("/always", f"/{'x' * (turn + 1)}")
        run(tmp_path, turn * 40, names if turn % 2 else names[::-1], boot=boot, close=close)
    HistoryStore(str(tmp_path), "e" * 32).close()  # packs what the last left
    files = sorted(name for name in os.listdir(tmp_path) if name.endswith(".hist"))
    assert [name[:2] for name in files] == [f"t{tier.number}" for tier in TIERS]
    runs = walk(*reading((tmp_path / files[0]).read_bytes())).runs
    assert len(runs) == 5
    assert [one.boot[0] for one in runs] == list(boots)
    assert held(tmp_path, "/always") == [(t * 40 + i, 700 + t * 40 + i) for t in range(5) for i in range(30)]
    for turn in range(5):
        name = f"/{'x' * (turn + 1)}"
        assert held(tmp_path, name) == [(turn * 40 + i, 100 * len(name) + turn * 40 + i) for i in range(30)]


def reading(data: bytes):
    return (lambda length, at: data[at : at + length]), len(data)


def test_an_old_file_is_left_as_it_is(tmp_path) -> None:
    run(tmp_path, 0, ("/a",))
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path) if name.endswith(".hist")}
    run(tmp_path, 4000, ("/a",))  # an hour later: the ten minutes of a file of the finest tier are over
    after = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path) if name.endswith(".hist")}
    assert len([name for name in after if name.startswith("t0")]) == 2
    assert len([name for name in after if name.startswith("t3")]) == 1
    assert all(after[name].startswith(data) for name, data in before.items())
    assert len(held(tmp_path, "/a")) >= 60


def test_what_was_cut_off_stays_the_end_of_its_file(tmp_path) -> None:
    run(tmp_path, 0, ("/a",))
    (file,) = tmp_path.glob("t0-*.hist")
    whole = file.read_bytes()
    file.write_bytes(whole + whole[len(MAGIC) : len(MAGIC) + HEADER.size + 3])  # a record's head, and no more
    run(tmp_path, 40, ("/a",))
    assert len(list(tmp_path.glob("t0-*.hist"))) == 2
    assert len(held(tmp_path, "/a")) == 60


def test_a_full_disk_when_a_file_should_go_on_costs_nothing(tmp_path, monkeypatch) -> None:
    run(tmp_path, 0, ("/a",))
    sizes = {file: file.stat().st_size for file in tmp_path.glob("*.hist")}
    written = os.pwrite

    def refused(fd: int, data, at: int) -> int:
        if at in sizes.values():
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(fd, data, at)

    monkeypatch.setattr(os, "pwrite", refused)
    run(tmp_path, 40, ("/a",))
    assert {file: file.stat().st_size for file in tmp_path.glob("*.hist")} == sizes
    monkeypatch.setattr(os, "pwrite", written)
    run(tmp_path, 80, ("/a",))
    assert [moment for moment, _ in held(tmp_path, "/a")] == [*range(30), *range(40, 70), *range(80, 110)]
    assert len(list(tmp_path.glob("*.hist"))) == len(TIERS)


def test_a_walk_ends_where_no_record_begins(tmp_path) -> None:
    run(tmp_path, 0, ("/a",))
    run(tmp_path, 40, ("/a",))
    data = next(tmp_path.glob("t0-*.hist")).read_bytes()
    whole = walk(*reading(data))
    assert (len(whole.runs), whole.end, whole.damaged) == (2, len(data), False)
    cut = walk(*reading(data[:-1]))
    assert (len(cut.runs), cut.damaged) == (2, False)
    assert cut.end < len(data) - 1
    at = data.index(bytes([RUN, 0, 0, 0]), len(MAGIC)) - 4
    broken = walk(*reading(data[:at] + b"\0\0\0\0" + data[at + 4 :]))
    assert (len(broken.runs), broken.end, broken.damaged) == (1, at, True)
    assert walk(*reading(b"")) == ([], len(MAGIC), False)


@pytest.mark.parametrize(("avg10", "dense"), [("0.50", False), ("0.99", False), ("1.00", True), ("37.40", True)])
def test_stalls_make_sampling_dense_from_one_percent_on(avg10, dense) -> None:
    pressure = f"some avg10={avg10} avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    values = host_values("MemTotal: 1000 kB\n", "", pressure, None, {})
    place = [field.name for field in FIELDS["host"]].index("psi_some_pct")
    assert (decide(Pace(), Reading(0.0, psi_some_pct=values[place])).reason is not None) is dense


def test_figures_that_an_older_recorder_did_not_keep_are_not_known(tmp_path) -> None:
    older = [field.name for field in FIELDS["cgroup"]].index("zswap_bytes")
    for begin, more in ((0, ()), (10, (3, 9))):
        store = HistoryStore(str(tmp_path), "b" * 32)
        for i in range(begin, begin + 10):
            change = Change(rows=[(1, "cgroup", (i, *[7] * (older - 1), *more))])
            if i == begin:
                change.new.append((1, {"kind": "cgroup", "name": "/a"}))
            store.write(i * 1000 + 1000, WALL + i * 1000, change)
        store.close()
    history = History(str(tmp_path))
    low, high = history.span()
    (entity,) = history.entities("cgroup", low, high)
    found = history.several(entity, ["usage_bytes", "zswap_bytes", "zswapped_bytes"], low, high)
    assert [len(one) for one in found.values()] == [20, 10, 10]
    assert list(found["zswap_bytes"].values) == [3 * 1024] * 10
