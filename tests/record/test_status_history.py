"""Growth since what was recorded a minute ago."""

from __future__ import annotations

import time

import pytest

from oomsight.pipeline.outlook import outlook
from oomsight.record.fields import INDEX
from oomsight.record.model import Change
from oomsight.sinks.history_store import HistoryStore
from oomsight.sources.status_history import earlier_on_record

NOW, BOOT, HZ = 1_700_000_600.0, "ab" * 16, 100


def record(path, *, until: float, boot: str = BOOT) -> str:
    """Two minutes up to *until*: a process that grows by 1 MiB a second, its cgroup, the host."""
    store = HistoryStore(str(path), boot)
    start = until - 120
    for i in range(120):
        figures = {"usage_bytes": 9000 + 1024 * i, "file_bytes": 3000, "shmem_bytes": 1000}
        host = {"mem_available_bytes": 900_000 - 1024 * i}
        change = Change(rows=[
            (1, "host", tuple(host.get(name) for name in INDEX["host"])),
            (2, "process", (1024 * i, 10, 100, 200, 5, 0, None, 1024 * i)),
            (3, "cgroup", tuple(figures.get(name) for name in INDEX["cgroup"])),
        ])  # fmt: skip
        if i == 0:
            change.new = [(1, {"kind": "host", "name": "box"}), (3, {"kind": "cgroup", "name": "/web"}),
                          (2, {"kind": "process", "pid": 42, "start": 777, "name": "app", "age": 7.77})]  # fmt: skip
        store.write(50_000 + i * 1000, int((start + i) * 1000), change)
    store.close()
    return str(path)


def test_a_minute_ago_is_what_growth_is_measured_from(tmp_path) -> None:
    found = earlier_on_record(record(tmp_path, until=NOW), BOOT, NOW, 200_000)
    assert found.at == pytest.approx(NOW - 60)
    assert found.ticks == 200_000 - 60 * HZ
    assert found.processes == {42: (777, 1024 * 60 + 100 + 200 + 5)}
    assert found.cgroups == {"/web": (9000 + 1024 * 60 - 2000) << 10}
    assert found.available_kib == 900_000 - 1024 * 60


def test_a_record_that_ended_half_a_minute_ago_is_of_a_minute_ago_all_the_same(tmp_path) -> None:
    """A disk that is full since: nothing is known of what has stopped."""
    found = earlier_on_record(record(tmp_path, until=NOW - 55), BOOT, NOW, 200_000)
    assert found is not None
    assert set(found.stopped) == set()


@pytest.mark.parametrize(("ended", "stopped"), [(120, False), (115, False), (90, True), (70, True)])
def test_what_grew_and_has_stopped_is_told_from_what_goes_on(tmp_path, ended, stopped) -> None:
    """A program in a cgroup grows for its first seconds, as all do."""
    store = HistoryStore(str(tmp_path), BOOT)
    for i in range(120):
        kib = 9000 + 1024 * min(i, ended)
        figures = {"usage_bytes": kib, "file_bytes": 0, "shmem_bytes": 0}
        change = Change(rows=[(1, "host", tuple(0 for _ in INDEX["host"])),
                              (3, "cgroup", tuple(figures.get(name) for name in INDEX["cgroup"]))])  # fmt: skip
        if i == 0:
            change.new = [(1, {"kind": "host", "name": "box"}), (3, {"kind": "cgroup", "name": "/web"})]
        store.write(50_000 + i * 1000, int((NOW - 120 + i) * 1000), change)
    store.close()
    found = earlier_on_record(str(tmp_path), BOOT, NOW, 200_000)
    assert set(found.stopped) == ({"/web"} if stopped else set())


@pytest.mark.parametrize(
    ("until", "boot"), [(NOW - 300, BOOT), (NOW, "cd" * 16), (NOW + 400, BOOT)], ids=["old", "other boot", "later"]
)
def test_what_is_no_record_of_a_minute_ago_is_not_taken_for_one(tmp_path, until, boot) -> None:
    assert earlier_on_record(record(tmp_path, until=until, boot=boot), BOOT, NOW, 200_000) is None


@pytest.mark.parametrize(("age", "known"), [(40, True), (12, True), (8, False)])
def test_a_recorder_that_began_a_moment_ago_is_heard(tmp_path, age, known) -> None:
    """The 0.3 seconds of two looks would say that nobody grows."""
    found = earlier_on_record(record(tmp_path, until=NOW + 120 - age), BOOT, NOW, 200_000)
    assert (found is not None and NOW - found.at) == (pytest.approx(age) if known else False)


def test_without_a_history_nothing_is_known(tmp_path) -> None:
    assert earlier_on_record(str(tmp_path / "none"), BOOT, NOW, None) is None


def test_workers_that_take_turns_under_one_name_have_not_grown(tmp_path) -> None:
    """What came is not growth where as much went; of another name it is."""
    now = time.time()
    store, rest = HistoryStore(str(tmp_path), "b" * 32), (0,) * 6
    for second in range(0, 300, 5):
        change = Change()
        turn = second // 100
        if second % 100 == 0:
            for number in (10 * turn + 1, 10 * turn + 2):
                words = {"kind": "process", "pid": number, "start": second * 100, "name": "worker", "age": second}
                change.new.append((number, words))
                change.rows.append((number, "process", (100 << 10, *rest, 100 << 10)))
            change.gone += [10 * turn - 9, 10 * turn - 8] if turn else []
        if second == 0:
            change.new += [(901, {"kind": "name", "name": "worker"}), (902, {"kind": "name", "name": "leaky"}),
                           (900, {"kind": "process", "pid": 900, "start": 0, "name": "leaky", "age": 0})]  # fmt: skip
            change.rows.append((901, "name", (200 << 10, *rest)))
        change.rows += [(902, "name", (second << 10, *rest)), (900, "process", (second << 10, *rest, second << 10))]
        store.write((second + 1) * 1000, int((now - 300 + second) * 1000), change)
    store.close()
    grown = outlook(str(tmp_path), now).grown
    assert [(one.name, one.pid) for one in grown] == [("leaky", 900)]
    assert grown[0].grown_kib == 295 << 10
