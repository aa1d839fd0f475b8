"""What a kill is told from the record: where it began, and what came too late to be seen growing."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

from oomsight.pipeline.remembered import Remembered
from oomsight.record.fields import INDEX
from oomsight.record.model import Change
from oomsight.sinks.history_store import HistoryStore

WALL = 1_700_000_000


def _row(kind: str, **kib: int) -> tuple[int, ...]:
    return tuple(kib.get(name, 0) for name in INDEX[kind])


def _store(path, born: int, seconds: int, boot_ms: int = 1000) -> None:
    """A cgroup and its process that come up *born* seconds after the recorder and grow by 1 MiB a second."""
    store = HistoryStore(path, "b" * 32)
    for second in range(seconds):
        change = Change([], [(1, "host", _row("host", anon_bytes=second))])
        if not second:
            change.new.append((1, {"kind": "host", "name": "box"}))
        if second == born:
            change.new += [(2, {"kind": "cgroup", "name": "/app"}),
                           (3, {"kind": "process", "pid": 7, "start": born, "name": "grows", "cgroup": "/app", "cmd": "", "age": 1})]  # fmt: skip
        if second >= born:
            kib = 20_480 + ((second - born) << 10)
            change.rows += [(2, "cgroup", _row("cgroup", working_set_bytes=kib, usage_bytes=kib, limit_bytes=1 << 17)),
                            (3, "process", _row("process", rss_anon_bytes=kib))]  # fmt: skip
        store.write(boot_ms + second * 1000, (WALL + second) * 1000, change)
    store.close()


def _told(path, second: int) -> str:
    time = datetime.fromtimestamp(WALL + second, UTC).isoformat()
    report = SimpleNamespace(when=SimpleNamespace(time=time), oom_memcg="/app", task_memcg="/app", memcg=None,
                             victims=[SimpleNamespace(pid=7, comm="grows")])  # fmt: skip
    return " ".join(Remembered(str(path)).sentences(report))


def test_what_grew_from_its_start_on_is_told_from_there(tmp_path) -> None:
    _store(str(tmp_path), 60, 160)
    began = datetime.fromtimestamp(WALL + 60).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    told = _told(tmp_path, 159)
    assert f"from 20.0 MiB to 119.0 MiB in 1 min 39 s, steadily, by 1 MiB/s from its start on ({began})" in told


def test_a_process_that_began_as_its_recorder_did_grew_from_its_start_on(tmp_path) -> None:
    _store(str(tmp_path / "young"), 0, 100)
    _store(str(tmp_path / "old"), 0, 100, boot_ms=100_000)  # it had run for 100 seconds
    began = datetime.fromtimestamp(WALL).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    young, old = (_told(tmp_path / name, 99).partition("(pid 7)")[2] for name in ("young", "old"))
    assert f"from its start on ({began})" in young
    assert f"had begun before the record does ({began})" in old


def test_what_grew_evenly_up_to_the_kill_is_told_what_a_higher_limit_had_been_worth(tmp_path) -> None:
    _store(str(tmp_path), 0, 109)  # to 128 MiB
    assert "a limit a quarter higher (32.0 MiB more) would have been reached 32 s later" in _told(tmp_path, 108)
    assert "a quarter higher" not in _told(tmp_path, 40)  # too short to be followed
    assert "a quarter higher" not in _told(tmp_path, 180)  # it had ended


def test_what_came_with_its_kill_is_not_told_as_level(tmp_path) -> None:
    _store(str(tmp_path), 60, 61)
    told = _told(tmp_path, 60)
    assert "only with the kill, too late to see it grow" in told
    assert "minutes before" not in told


def test_who_came_while_its_cgroup_grew_is_told_with_all_it_held(tmp_path) -> None:
    """The first seconds of a process are summed by name: its own curve begins when it holds a lot already."""
    store = HistoryStore(str(tmp_path), "b" * 32)
    for second in range(66):
        usage = 3_000 if second < 61 else 3_000 + 9_000 * (second - 60)
        change = Change([], [(1, "host", _row("host", anon_bytes=second)),
                             (2, "cgroup", _row("cgroup", working_set_bytes=usage, usage_bytes=usage, limit_bytes=1 << 17))])
        if not second:
            change.new += [(1, {"kind": "host", "name": "box"}), (2, {"kind": "cgroup", "name": "/app"})]
        if second >= 64:
            change.rows.append((3, "process", _row("process", rss_anon_bytes=usage - 3_000)))
        if second == 64:
            words = {"kind": "process", "pid": 7, "start": 6200, "name": "grows", "cgroup": "/app", "cmd": "", "age": 62}
            change.new.append((3, words))
        store.write(1000 + second * 1000, (WALL + second) * 1000, change)
    store.close()
    told = _told(tmp_path, 65)
    assert "all it held is 100 % of the growth of its cgroup" in told
