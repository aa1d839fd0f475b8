"""Who grows between two looks."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from oomsight.status import build
from oomsight.status.growth import before_of, growers
from oomsight.status.model import Earlier

from ..score.samples import process


def _rows(before, now, seconds=2.0, began=1000, error=0):
    return [(g.kind, g.name, g.pid, g.grown_kib, g.kib_per_second) for g in growers(before, now, seconds, began, error)]


def test_growers_the_fastest_first_and_small_ones_left_out() -> None:
    before = before_of([process(1, 100), process(2, 100), process(3, 100)])
    now = [process(1, 600), process(2, 1100), process(3, 103)]
    assert _rows(before, now) == [("process", "p2", 2, 4000, 2000.0), ("process", "p1", 1, 2000, 1000.0)]
    assert _rows(before, now, error=3000) == [("process", "p2", 2, 4000, 2000.0)]


def test_growers_a_pid_that_is_another_process_now_has_grown_from_nothing() -> None:
    old, new = process(7, 5000), process(7, 5000)
    new = new._replace(stat=new.stat._replace(starttime_ticks=2000))
    assert _rows(before_of([old]), [new]) == [("process", "p7", 7, 20000, 10000.0)]
    # A first look that is cheap knows no start: who began after it is new all the same.
    assert _rows({7: (None, 20000)}, [new]) == [("process", "p7", 7, 20000, 10000.0)]
    assert _rows({7: (None, 20000)}, [old]) == []


def test_growers_workers_of_one_name_are_one_row_unless_one_grows_alone() -> None:
    before = before_of([process(n, 100, comm="w") for n in range(1, 5)])
    together = [process(n, 300, comm="w", cgroup="/a") for n in range(1, 5)]
    assert _rows(before, together) == [("name", "w", None, 3200, 1600.0)]
    alone = [process(1, 1100, comm="w"), *(process(n, 110, comm="w") for n in range(2, 5))]
    assert _rows(before, alone) == [("process", "w", 1, 4000, 2000.0)]


def test_growers_of_one_look_are_none() -> None:
    assert growers({}, [process(1, 100)], 0.0, None) == []


@pytest.mark.parametrize(("wall", "ticks", "seconds"), [
    (10.2, 1020, 10.2),
    (5410.0, 1000, 10.0),  # the clock was set forth meanwhile
    (-7190.0, 1000, 10.0),  # and back
    (10.2, None, 10.2),
    (3600.0, -5000, 3600.0),  # another boot: nothing better is known
])  # fmt: skip
def test_time_between_two_looks_does_not_jump_with_the_clock(wall, ticks, seconds) -> None:
    before = Earlier(1e9, 70_000, {}, {}, None)
    look = SimpleNamespace(at=1e9 + wall, ticks=None if ticks is None else 70_000 + ticks)
    assert before.seconds_to(look) == pytest.approx(seconds)


def test_what_has_stopped_is_not_followed_to_its_limit(monkeypatch) -> None:
    memcg = SimpleNamespace(path="/web", need_bytes=90 << 20, headroom_bytes=60 << 20)
    monkeypatch.setattr(build, "recognise", lambda *_: None)
    monkeypatch.setattr(build, "limited_cgroups", lambda *_: [SimpleNamespace(memcg=memcg)])
    snapshot = SimpleNamespace(machine=None, processes=(), _replace=lambda **_: None)
    for stopped, left in ((), 60.0), (("/web",), None), (("/other",), 60.0):
        before = Earlier(1e9, None, {}, {"/web": 30 << 20}, None, stopped)
        (one,) = build._limited(SimpleNamespace(snapshot=snapshot), [memcg], before, 60.0)
        assert (one.bytes_per_second, one.time_left_seconds) == (1 << 20, left)
