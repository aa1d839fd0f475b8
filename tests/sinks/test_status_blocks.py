"""oomsight.sinks.status_blocks"""

from types import SimpleNamespace

import pytest

from oomsight.naming.marked import unmark
from oomsight.sinks.status_blocks import _lasts
from oomsight.sinks.status_facts import _forecast_words, _growing_words
from oomsight.status.growth import Grower
from oomsight.status.model import Forecast


def grower(name, pid, grown_mib, seconds):
    return Grower("process", name, pid, 1, "/x", 1 << 20, grown_mib << 10, (grown_mib << 10) / seconds)


def group(name, processes, grown_mib):
    return Grower("name", name, None, processes, "/x", 1 << 20, grown_mib << 10, (grown_mib << 10) / 60)


NOW = [grower("leaky", 7, 12, 60), grower("java", 8, 2, 60)]
BEFORE = [grower("leaky", 7, 180, 900), grower("cc1", 9, 40, 900)]


@pytest.mark.parametrize(("now", "before", "seconds", "words"), [
    ([], [], None, "not known from one look"),
    ([], [], 60, "nobody within 60 s"),
    (NOW, None, 60, "leaky (7) 12.0 MiB/min, java (8) 2.0 MiB/min (within 60 s)"),
    (NOW, BEFORE, 60, "leaky (7) 12.0 MiB/min, +180.0 MiB in 15 min; java (8) 2.0 MiB/min (rates within 60 s); "
                      "not now, but in 15 min: cc1 (9) +40.0 MiB"),
    ([], BEFORE, 60, "nobody within 60 s; not now, but in 15 min: leaky (7) +180.0 MiB, cc1 (9) +40.0 MiB"),
    (NOW, [group("leaky", 3, 90), group("cc1", 4, 40)], 60,
     "leaky (7) 12.0 MiB/min; java (8) 2.0 MiB/min (rates within 60 s); not now, but in 15 min: 4 × cc1 +40.0 MiB"),
    ([group("leaky", 3, 6)], BEFORE, 60, "3 × leaky 6.0 MiB/min (rates within 60 s); not now, but in 15 min: cc1 (9) +40.0 MiB"),
    ([], BEFORE, None, "not known from one look; in 15 min: leaky (7) +180.0 MiB, cc1 (9) +40.0 MiB"),
])  # fmt: skip
def test_growth_now_and_on_record_is_one_statement(now, before, seconds, words) -> None:
    status = SimpleNamespace(growers=now, grown=before or [], grown_seconds=None if before is None else 900.0,
                             seconds=seconds, counter_error_kib=0)  # fmt: skip
    assert unmark(_growing_words(status)) == words


@pytest.mark.parametrize(("seconds", "words"), [
    ((90.0, 60.0, 120.0), "a full in about 90 s (80 %: 60 s to 2 min), by app (pid 7)"), ((0.0, 0.0, 0.2), "a is full now, by app (pid 7)"),
    ((0.0, 0.0, 5.0), "a full in about 0.0 s (80 %: 0.0 s to 5 s), by app (pid 7)"),
    ((90.0, 60.0, None), "a full in about 90 s (80 %: 60 s to no end), by app (pid 7)"),
])  # fmt: skip
def test_what_is_full_is_not_foretold(seconds, words) -> None:
    assert unmark(_forecast_words(Forecast("/a", *seconds, "app", 7, "a line"))) == words


@pytest.mark.parametrize(("left", "record", "forecasts", "lasts"), [
    (None, 900.0, [], True), (600.0, None, [], True), (600.0, 900.0, [], False), (150.0, 900.0, [], True),
    (600.0, 900.0, ["/a"], True), (600.0, 900.0, ["/b"], False),
])  # fmt: skip
def test_a_minute_of_growth_is_not_followed_to_the_limit_against_the_record(left, record, forecasts, lasts) -> None:
    one = SimpleNamespace(time_left_seconds=left, cgroup=SimpleNamespace(memcg=SimpleNamespace(path="/a")))
    status = SimpleNamespace(grown_seconds=record, seconds=60.0, forecasts=[SimpleNamespace(subject=s) for s in forecasts])
    assert _lasts(one, status) is lasts
