"""The incident store: whole batches, each event once, the richer reading kept; damage, full disks, other writers."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "live_events"))
from kmsg_lines import BOOT, Log

from oomsight.live.counters import Finding
from oomsight.live.events import Stage
from oomsight.live.merge import Merger
from oomsight.sinks import store as store_module
from oomsight.sinks.even_clock import EVEN_SECONDS
from oomsight.sinks.live_event import event_dict
from oomsight.sinks.store import Batch, Reader, Store, StoreBusy, StoreError, default_path, fingerprint
from oomsight.sinks.store_schema import COLUMNS, MIGRATIONS

SEEN = "2026-11-23T12:00:00+00:00"
NOW_US = 1_795_430_000_000_000


def events(*pids, comm="python3", group=False, us=5_000_000):
    """(provisional, complete) of one report per pid; with *group* all in one event."""
    log, merger = Log(us=us), Merger()
    told = []
    for i, pid in enumerate(pids):
        if not group or i == 0:
            for record in log.report(pid, comm):
                merger.feed(record, 1.0)
        told += merger.feed(log.kill(pid, comm), 1.0)
        if group and i == 0:
            merger.feed(log.group(), 1.0)
    return told, merger.flush()


def batch(*found, wall_us=NOW_US, **kwargs) -> Batch:
    return Batch([(e, event_dict(e, SEEN), wall_us + i) for i, e in enumerate(found)], **kwargs)


@pytest.fixture
def path(tmp_path) -> str:
    return str(tmp_path / "state/incidents.db")


def _store(path, **kwargs) -> Store:
    return Store(path, clock=lambda: NOW_US / 1e6, **kwargs)


def _rows(path):
    reader = Reader(path)
    try:
        return reader.rows()
    finally:
        reader.close()


def test_write_provisional_then_complete_is_one_incident_with_the_whole_report(path) -> None:
    (told,), (done,) = events(7)
    store = _store(path)
    store.write(batch(told))
    assert [(r.stage, r.pid) for r in _rows(path)] == [("provisional", 7)]
    store.write(batch(done))
    store.write(batch(told))  # a late copy never goes back
    (row,) = _rows(path)
    assert (row.event_id, row.stage, row.name, row.cgroup, row.cause) == (
        told.event_id, "complete", "python3", "/app", "memcg_limit")  # fmt: skip
    reader = Reader(path)
    document = reader.document(row.event_id)
    assert document["incident"]["tasks"][0]["pid"] == 7
    assert document["kills"] == [{"kill_id": done.kills[0].kill_id, "pid": 7, "comm": "python3", "time_us": done.time_us}]
    assert reader.raw(row.event_id) == done.raw
    assert reader.kill_count() == 1
    reader.close()
    store.close()


def test_write_group_kill_counts_every_victim(path) -> None:
    _, (done,) = events(7, 8, 9, group=True)
    store = _store(path)
    store.write(batch(done))
    store.write(batch(done))
    assert store.kills(BOOT) == 3
    assert [r.kills for r in _rows(path)] == [3]
    store.close()


def test_write_poorer_reading_is_ignored_and_keeps_the_time(path) -> None:
    (told,), (done,) = events(7)
    store = _store(path)
    store.write(batch(done))
    poor = events(7)[1][0]
    poor.weight, poor.incident.headline = done.weight - 1, "poor"
    store.write(batch(poor, wall_us=NOW_US + 10**9))
    (row,) = _rows(path)
    assert (row.headline != "poor", row.wall_us) == (True, NOW_US)
    store.close()
    assert told.stage is Stage.PROVISIONAL


def test_reopen_knows_positions_kills_and_unseen(path) -> None:
    _, done = events(7, 8)
    store = _store(path)
    store.write(batch(*done, positions={"/dev/kmsg": (BOOT, "12", "40")}, unseen={BOOT: 5}))
    store.close()
    again = _store(path)
    assert again.positions() == {"/dev/kmsg": (BOOT, "12", "40")}
    assert (again.kills(BOOT), again.unseen(BOOT), again.unseen("other")) == (2, 5, None)
    assert [(k[0], k[1], k[2], k[4]) for k in again.known(10)] == [
        (e.kills[0].kill_id, e.event_id, e.weight, e.kills[0].pid) for e in done]  # fmt: skip
    again.close()


def test_write_name_that_is_not_utf8_is_kept_and_shown_escaped(path) -> None:
    _, (done,) = events(7, comm="a\udcffb")
    store = _store(path)
    store.write(batch(done))
    (row,) = _rows(path)
    assert row.name == "a\\udcffb"
    reader = Reader(path)
    assert reader.document(row.event_id)["incident"]["victims"][0]["comm"] == "a\udcffb"
    reader.close()
    store.close()


@pytest.mark.parametrize("damage", ["garbage", "middle", "empty_page"])
def test_open_damaged_file_is_set_aside_and_said(path, damage) -> None:
    store = _store(path)
    for i in range(20):
        store.write(batch(events(100 + i, us=10**9 * (i + 1))[1][0]))
    store.close()
    data = bytearray(Path(path).read_bytes())
    if damage == "garbage":
        data[:] = b"no database at all, and long enough to be one" * 100
    elif damage == "middle":
        data[8192:40960] = os.urandom(32768)
    else:
        data[4096:12288] = bytes(8192)
    Path(path).write_bytes(data)
    again = _store(path)
    (remark,) = again.remarks
    assert "was damaged" in remark
    aside = [p for p in os.listdir(os.path.dirname(path)) if ".corrupt-" in p]
    assert len(aside) == 1
    again.write(batch(events(7)[1][0]))
    assert [r.pid for r in _rows(path)] == [7]
    again.close()


def test_write_file_damaged_under_us_is_replaced_and_nothing_of_the_batch_is_lost(path) -> None:
    store = _store(path)
    store.write(batch(*events(*range(100, 160))[1]))
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(os.path.getsize(path) - 4096))
    store._db.execute("PRAGMA shrink_memory")
    store.write(batch(*events(7, 8)[1]))
    assert store.kills(BOOT) >= 2
    assert len(store.remarks) == 1
    store.close()


def test_open_second_writer_is_refused(path) -> None:
    store = _store(path)
    with pytest.raises(StoreBusy, match="another oomsight agent"):
        _store(path)
    store.close()
    _store(path).close()


def test_open_store_of_a_newer_version_is_refused_and_untouched(path) -> None:
    _store(path).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(StoreError, match="newer oomsight"):
        _store(path)
    assert not [p for p in os.listdir(os.path.dirname(path)) if "corrupt" in p]


def test_migrations_make_every_column_the_writer_names(path) -> None:
    _store(path).close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
    assert {row[1] for row in db.execute("PRAGMA table_info(incidents)")} == set(COLUMNS)
    db.close()


def test_write_full_disk_raises_and_works_again_with_room(path) -> None:
    store = _store(path)
    store.write(batch(events(1)[1][0]))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    many = batch(*events(*range(100, 200))[1])
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, before[1]))
        with pytest.raises(StoreError):
            store.write(many)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    store.write(many)
    assert store.kills(BOOT) == 101
    store.close()


def test_open_where_nothing_can_be_written_raises_one_line(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as caught:
        Store(str(tmp_path / "file/incidents.db"))
    assert "\n" not in str(caught.value)


def test_prune_removes_by_age_with_their_kills(path) -> None:
    now = [NOW_US / 1e6 - EVEN_SECONDS]
    store = Store(path, clock=lambda: now[0], steady=lambda: now[0])
    now[0] += EVEN_SECONDS
    old, new = events(7, 8)[1]
    store.write(batch(old, wall_us=NOW_US - 11 * 86400 * 10**6))
    store.write(batch(new, wall_us=NOW_US))
    assert store.prune() == 0
    store.max_age_days = 10
    assert store.prune() == 1
    assert [r.pid for r in _rows(path)] == [8]
    assert store.kills(BOOT) == 1
    store.close()


def test_prune_by_a_clock_that_jumped_removes_nothing(path) -> None:
    now, steady = [NOW_US / 1e6], [0.0]
    store = Store(path, clock=lambda: now[0], steady=lambda: steady[0], max_age_days=10)
    store.write(batch(*events(7, 8)[1], wall_us=NOW_US))
    for jump in (10 * 365 * 86400, 0):  # set wrong at boot, and put right by NTP
        now[0] += jump + 1
        steady[0] += 1
        assert store.prune() == 0
    now[0], steady[0] = NOW_US / 1e6 + EVEN_SECONDS, steady[0] + EVEN_SECONDS
    assert store.prune() == 0
    assert len(_rows(path)) == 2
    store.close()


def test_prune_removes_the_oldest_until_the_file_is_small_enough(path) -> None:
    store = _store(path)
    for i in range(40):
        (done,) = events(i + 1, us=10**9 * (i + 1))[1]
        done.raw = os.urandom(20_000)
        store.write(batch(done, wall_us=NOW_US + i))
    store.max_bytes = 400_000
    gone = store.prune()
    left = _rows(path)
    assert 0 < len(left) == 40 - gone
    assert {r.pid for r in left} == set(range(40 - len(left) + 1, 41))
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert os.path.getsize(path) < 500_000
    store.close()


def test_prune_settles_provisional_events_that_can_not_become_complete(path) -> None:
    store = _store(path)
    store.write(batch(events(7)[0][0], wall_us=NOW_US))
    store._clock = lambda: NOW_US / 1e6 + store_module.SETTLED_SECONDS - 1
    store.prune()
    assert [r.stage for r in _rows(path)] == ["provisional"]
    store._clock = lambda: NOW_US / 1e6 + store_module.SETTLED_SECONDS + 1
    store.prune()
    assert [r.stage for r in _rows(path)] == ["complete"]
    store.close()


def test_reader_finds_by_either_id_and_takes_no_wildcards(path) -> None:
    _, (done,) = events(7)
    store = _store(path)
    store.write(batch(done, notes=[(Finding("x", "said"), NOW_US, BOOT)]))
    reader = Reader(path)
    assert [r.pid for r in reader.find(done.incident.id)] == [7]
    assert [r.pid for r in reader.find(done.event_id[:8])] == [7]
    assert reader.find("%") == []
    assert list(reader.notes()) == [(NOW_US, "x", "said")]
    reader.close()
    store.close()


def test_reader_without_a_store_says_so(tmp_path) -> None:
    with pytest.raises(StoreError, match="no incident store"):
        Reader(str(tmp_path / "none.db"))


def test_fingerprint_ignores_ids_that_change_with_every_restart() -> None:
    pod = "/kubepods.slice/kubepods-pod{}.slice/cri-containerd-{}.scope"
    one = pod.format("0f3a5c1e_1111_4222_8333_444455556666", "ab" * 32)
    two = pod.format("1f3a5c1e_9999_4222_8333_444455556666", "cd" * 32)
    assert fingerprint("memcg", "java", one, "memcg_limit") == fingerprint("memcg", "java", two, "memcg_limit")
    assert fingerprint("memcg", "java", "/a.service", None) != fingerprint("memcg", "java", "/b.service", None)


@pytest.mark.parametrize(("environ", "uid", "path"), [
    ({"STATE_DIRECTORY": "/var/lib/oomsight"}, 0, "/var/lib/oomsight/incidents.db"),
    ({}, 0, "/var/lib/oomsight/incidents.db"), ({"HOME": "/home/x"}, 1000, "/home/x/.local/state/oomsight/incidents.db"),
    ({"HOME": "/home/x", "XDG_STATE_HOME": "/s"}, 1000, "/s/oomsight/incidents.db"),
])  # fmt: skip
def test_default_path(environ, uid, path) -> None:
    assert default_path(environ, uid, *([] if uid == 0 else ["/none"])) == path


def test_default_path_of_whoever_may_write_the_shared_place(tmp_path) -> None:
    assert default_path({"HOME": "/home/x"}, 1000, str(tmp_path)) == f"{tmp_path}/incidents.db"
