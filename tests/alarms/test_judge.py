"""When an alarm is raised, when it is not, and when it is over."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.alarms.judge import holding, judge, still
from oomsight.alarms.reading import Reading
from oomsight.alarms.settings import parse_alarms
from oomsight.alarms.state import HOST, State
from oomsight.alarms.table import ALARMS, BY_CODE, Limits

from .samples import MIB, groups, host, memcg


class Clock:
    """Feeds readings at moments and collects what was told."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits, self.state, self.now = limits or Limits(), State(), 1000.0
        self.told: list[tuple[float, str, str, str, tuple[str, ...]]] = []

    def feed(self, reading: Reading, seconds: float = 0.0, step: float = 1.0) -> None:
        """*reading* again and again for *seconds*."""
        until = self.now + seconds
        while True:
            for c in judge(reading, self.limits, self.state, self.now).changes:
                codes = tuple(reason.code for reason in c.reasons)
                self.told.append((self.now - 1000, c.moment, c.subject, c.severity, codes))
            if self.now >= until:
                return
            self.now += step

    def next(self, seconds: float = 1.0) -> Clock:
        self.now += seconds
        return self

    @property
    def moments(self) -> list[str]:
        return [moment for _, moment, *_ in self.told]


def test_ram_above_80_pct_for_a_minute_once_and_over_below_75() -> None:
    clock = Clock()
    clock.feed(host(available_pct=19), 300)
    assert clock.told == [(60.0, "raised", HOST, "warning", ("memory_high",))]
    clock.next().feed(host(available_pct=22), 600)  # between the two limits: it stays what it is
    assert len(clock.told) == 1
    clock.next().feed(host(available_pct=26), 59)
    assert len(clock.told) == 1
    clock.next().feed(host(available_pct=26), 5)
    assert clock.moments == ["raised", "cleared"]


def test_a_peak_shorter_than_its_time_is_no_alarm() -> None:
    clock = Clock()
    for _ in range(10):
        clock.feed(host(available_pct=15), 50)
        clock.next().feed(host(available_pct=50), 10)
        clock.next()
    assert clock.told == []


def test_warning_that_turns_critical_is_told_again_and_swap_joins_it() -> None:
    clock = Clock()
    clock.feed(host(available_pct=19, swap_used_pct=0), 70)
    clock.next().feed(host(available_pct=4, swap_used_pct=0), 10)
    clock.next().feed(host(available_pct=4, swap_used_pct=35), 70)
    assert [(moment, severity, codes) for _, moment, _, severity, codes in clock.told] == [
        ("raised", "warning", ("memory_high",)), ("changed", "critical", ("memory_high",)),
        ("changed", "critical", ("memory_high", "swap_high")),
    ]  # fmt: skip


def test_host_without_swap_or_psi_raises_neither() -> None:
    clock = Clock()
    clock.feed(Reading(host(available_pct=50).memory), 200)
    assert clock.told == []


def test_pressure_of_ten_seconds() -> None:
    clock = Clock()
    clock.feed(host(full=12, available_pct=45), 60)
    assert clock.told == [(10.0, "raised", HOST, "warning", ("memory_pressure",))]


def test_stalls_of_a_host_with_room_are_those_of_page_cache_or_of_a_cgroup() -> None:
    """Seen in a guest: a file read through a cgroup smaller than it stalls all tasks a fifth of the time."""
    clock = Clock()
    clock.feed(host(full=22, available_pct=69), 60)
    assert clock.told == []
    clock.next().feed(host(full=22, available_pct=69, swap_used_pct=50), 60)
    assert ("memory_pressure",) in [codes[-1:] for *_, codes in clock.told]


def test_page_cache_never_raises_an_alarm() -> None:
    clock = Clock()
    for number in range(600):  # full to the limit, reclaimed all the time, nothing needed
        full = memcg(need=10 * MIB, cache=90 * MIB, high_bytes=50 * MIB, max_events=number * 9, high_events=number * 9)
        clock.feed(groups(full, full=30.0))
        clock.next()
    assert clock.told == []


def test_cgroup_near_its_limit_by_need() -> None:
    clock = Clock()
    clock.feed(groups(memcg(need=91 * MIB)), 29)
    assert clock.told == []
    clock.next().feed(groups(memcg(need=91 * MIB)), 1)
    assert clock.told == [(30.0, "raised", "/a", "warning", ("cgroup_near_limit",))]
    assert clock.state.subjects["/a"].headroom_bytes == 9 * MIB


def test_events_count_only_while_they_rise_and_the_need_is_near() -> None:
    clock = Clock(parse_alarms({"cgroup_near_limit": {"enabled": False}, "cgroup_growth": {"enabled": False}}))
    clock.feed(groups(memcg(need=85 * MIB, max_events=7)), 100)
    assert clock.told == []  # 7, once
    for number in range(20):
        clock.next().feed(groups(memcg(need=85 * MIB, max_events=8 + number)))
    assert [(moment, codes) for _, moment, _, _, codes in clock.told] == [("raised", ("cgroup_at_limit",))]
    clock.next().feed(groups(memcg(need=85 * MIB, max_events=27)), 70)
    assert clock.moments == ["raised", "cleared"]


def test_throttling_above_memory_high() -> None:
    clock = Clock()
    for number in range(20):
        clock.feed(groups(memcg(need=49 * MIB, limit="unlimited", high_bytes=50 * MIB, high_events=number)))
        clock.next()
    assert [codes for *_, codes in clock.told] == [("cgroup_throttled",)]


def test_growth_is_told_by_the_time_left_before_the_limit() -> None:
    """A leak of 1 MiB/s in 100 MiB: told long before the end, though 'for' is 30 s; a slow one is not told at all."""
    clock = Clock()
    for second in range(90):
        clock.feed(groups(memcg(need=(5 + second) * MIB)))
        clock.next()
    at, moment, _, _, codes = clock.told[0]
    assert (moment, codes) == ("raised", ("cgroup_growth",))
    assert 45 <= at <= 65
    slow = Clock()
    for second in range(0, 1200, 10):
        slow.feed(groups(memcg(need=50 * MIB + second * 20_000, limit=2048 * MIB)))
        slow.next(10)
    assert slow.told == []


@pytest.mark.parametrize("step", [1, 5])
@pytest.mark.parametrize("level", [30, 60, 300, 1200])
@pytest.mark.parametrize(("rate", "told_by"), [(0.3, 0.5), (1.0, 0.72), (3.0, 0.87)])
def test_a_leak_that_begins_after_a_level_stretch_is_told_before_its_end(step, level, rate, told_by) -> None:
    """It was told only near the limit, and what took less than half a minute from there not at all."""
    clock, chance = Clock(), random.Random(3)
    for _ in range(0, level, step):
        clock.feed(groups(memcg(need=int((10 + chance.random()) * MIB))))
        clock.next(step)
    begin, second, full = clock.now - 1000, 0, 90 / rate
    while second < full:
        clock.feed(groups(memcg(need=int((10 + rate * second + chance.random()) * MIB))))
        far = step if second < full / 3 else 1  # then somebody suspects it
        clock.next(far)
        second += far
    at, moment, _, _, codes = clock.told[0]
    assert (moment, codes) == ("raised", ("cgroup_growth",))
    assert 0.25 <= (at - begin) / full <= told_by


def test_a_job_that_comes_again_is_told_once_at_most() -> None:
    """Up to 70 % of the limit in 20 s every quarter of an hour; one day it goes on."""
    clock, chance = Clock(), random.Random(3)
    for second in range(0, 7200, 5):
        at = second % 900
        need = 15 + 55 * min(at / 20, 1) * (at < 140) + chance.random()
        clock.feed(groups(memcg(need=int(need * MIB))))
        clock.next(5)
    assert clock.moments.count("raised") <= 1
    begin = clock.now - 1000
    for second in range(80):
        clock.feed(groups(memcg(need=int((15 + second) * MIB))))
        clock.next()
    assert next(moment for at, moment, *_ in clock.told if at >= begin) == "raised"


def test_start_of_a_program_and_a_breathing_heap_are_no_growth() -> None:
    clock = Clock()
    for second in range(60):  # loads 40 MiB in 8 s, then works
        clock.feed(groups(memcg(need=min(5 + 5 * second, 45) * MIB)))
        clock.next()
    for second in range(600):  # up 20 MiB, collected, up again
        clock.feed(groups(memcg(need=(45 + second % 20) * MIB)))
        clock.next()
    assert clock.told == []


def test_who_takes_the_place_of_the_killed_grows_from_nothing() -> None:
    """Up to the limit in 66 s, killed, started again: it is one story, that of a leak, and no collected heap."""
    clock = Clock()
    for life in range(3):
        for second in range(66):
            need = int(5 + 1.45 * second) if second or not life else 99  # counted a moment before it is free
            clock.feed(groups(memcg(need=need * MIB, oom_kills=life)))
            clock.next()
            if second == 50:
                assert (clock.state.subjects["/a"].time_left_seconds or 0) == pytest.approx(16, abs=5)
    assert clock.moments[0] == "raised"
    assert "cleared" not in clock.moments


def test_a_kill_before_the_first_look_is_none() -> None:
    clock = Clock()
    for second in range(90):
        clock.feed(groups(memcg(need=(5 + second) * MIB, oom_kills=7)))
        clock.next()
    assert 45 <= clock.told[0][0] <= 65


def test_limit_and_the_limit_above_are_one_story() -> None:
    clock = Clock()
    inner, outer = memcg("/p/c", need=95 * MIB), memcg("/p", need=100 * MIB, limit=105 * MIB)
    clock.feed(groups(outer, inner), 60)
    assert [subject for _, _, subject, *_ in clock.told] == ["/p"]
    others = Clock()
    others.feed(groups(memcg("/p", need=190 * MIB, limit=200 * MIB), inner), 60)
    assert {subject for _, _, subject, *_ in others.told} == {"/p", "/p/c"}


def test_cgroup_that_is_gone_clears_its_alert() -> None:
    clock = Clock()
    clock.feed(groups(memcg(need=95 * MIB)), 40)
    clock.next().feed(Reading(gone=("/a", "/never")))
    assert clock.moments == ["raised", "cleared"]
    assert "/a" not in clock.state.subjects


def test_what_is_not_read_moves_nothing() -> None:
    clock = Clock()
    clock.feed(groups(memcg(need=95 * MIB)), 40)
    clock.next().feed(Reading(), 1000)
    clock.next().feed(host(), 100)
    assert clock.moments == ["raised"]
    assert [change.moment for change in still(clock.state)] == ["still"]


def test_limits_of_one_cgroup_and_alarms_that_are_off() -> None:
    limits = parse_alarms({
        "memory_high": {"enabled": False},
        "cgroup": [{"path": "/db*", "cgroup_near_limit": {"raise": 98}}, {"path": "/ci/*", "enabled": False}],
    })  # fmt: skip
    clock = Clock(limits)
    clock.feed(host(available_pct=1), 100)
    clock.feed(groups(memcg("/db", need=95 * MIB), memcg("/ci/x", need=99 * MIB)), 100)
    assert clock.told == []
    clock.feed(groups(memcg("/web", need=95 * MIB)), 100)
    assert [subject for _, _, subject, *_ in clock.told] == ["/web"]
    off = Clock(Limits(enabled=False))
    off.feed(host(available_pct=1), 100)
    assert off.told == []
    off.limits = Limits()
    off.feed(host(available_pct=1), 100)
    off.limits = Limits(enabled=False)  # a reload: what was told is over
    off.next().feed(host(available_pct=1))
    assert off.moments == ["raised", "cleared"]


def test_state_goes_on_after_a_restart_and_a_damaged_one_is_empty() -> None:
    clock = Clock()
    clock.feed(host(available_pct=10), 100)
    text = json.dumps(clock.state.dump(), allow_nan=False)
    clock.state = State.load(json.loads(text))
    clock.next().feed(host(available_pct=10), 100)
    clock.next().feed(host(available_pct=90), 100)
    assert clock.moments == ["raised", "cleared"]
    for value in (None, {}, {"version": 1}, {"version": 1, "clock": 0, "subjects": {"": 3}}, {"version": 2}):
        assert State.load(value).subjects == {}


def test_clock_that_is_set_back_does_not_hold_an_alarm_up() -> None:
    clock = Clock()
    clock.feed(host(available_pct=10), 30)
    clock.now -= 86_400
    clock.feed(host(available_pct=10), 35)
    assert clock.moments == ["raised"]


@pytest.mark.parametrize("step", [3600, -3600])
def test_clock_that_was_seen_to_be_set_raises_nothing_early_and_ends_nothing_early(step) -> None:
    clock = Clock()
    clock.feed(host(available_pct=10), 30)
    clock.now, _ = clock.now + step, clock.state.move(step)
    clock.feed(host(available_pct=10), 25)
    assert clock.moments == []
    clock.next().feed(host(available_pct=10), 10)
    clock.next().feed(host(available_pct=90), 30)
    clock.now, _ = clock.now + step, clock.state.move(step)
    clock.feed(host(available_pct=90), 25)
    assert clock.moments == ["raised"]
    clock.next().feed(host(available_pct=90), 10)
    assert clock.moments == ["raised", "cleared"]


def test_holding_tells_what_one_reading_shows() -> None:
    found = holding(Reading(host(available_pct=10, swap_used_pct=50).memory, {}, (memcg(need=95 * MIB),)), Limits())
    assert {key: [r.code for r in reasons] for key, reasons in found.items()} == {
        HOST: ["memory_high", "swap_high"], "/a": ["cgroup_near_limit"],
    }  # fmt: skip


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 110), st.integers(0, 120)), max_size=60))
def test_every_alert_is_raised_once_and_cleared_at_most_once(steps) -> None:
    clock = Clock()
    open_: dict[str, str] = {}
    for available, need, seconds in steps:
        reading = Reading(host(available_pct=available).memory, {}, (memcg(need=need * MIB),))
        for change in judge(reading, clock.limits, clock.state, clock.now).changes:
            if change.moment == "raised":
                assert change.subject not in open_
                open_[change.subject] = change.alert_id
            else:
                assert open_[change.subject] == change.alert_id
                if change.moment == "cleared":
                    del open_[change.subject]
            assert change.reasons
        clock.next(seconds)
    assert set(open_) == {key for key, subject in clock.state.subjects.items() if subject.alert_id}


def test_table_is_sound() -> None:
    assert len(BY_CODE) == len(ALARMS)
    for alarm in ALARMS:
        assert alarm.code.startswith("cgroup_") == (alarm.scope == "cgroup")
        assert alarm.clear_at >= alarm.raise_at if alarm.downwards else alarm.clear_at <= alarm.raise_at
        assert alarm.critical_at is None or alarm.scope == "host", "critical is the machine's word"


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"memory_hi": {}}, "did you mean 'memory_high'?"),
        ({"memory_high": 80}, "must be a table"),
        ({"memory_high": {"raise": 180}}, "must be a number from 0 to 100"),
        ({"memory_high": {"raise": 80, "clear": 85}}, "must not be above"),
        ({"memory_growth": {"raise": 600, "clear": 300}}, "must not be below"),
        ({"memory_high": {"for": 3}}, "there are: enabled"),
        ({"cgroup": {"path": "/x"}}, "double brackets"),
        ({"cgroup": [{}]}, "path must be a pattern"),
        ({"cgroup": [{"path": "/x", "memory_high": {}}]}, "there is no setting 'memory_high'"),
        ({"enabled": "no"}, "true or false"),
        (3, "must be a table"),
    ],
)
def test_wrong_settings_are_one_line(section, words) -> None:
    with pytest.raises(ValueError, match=words) as found:
        parse_alarms(section)
    assert "\n" not in str(found.value)
