"""Grouping, repeating, ending, rate limits: functions of event, rules, state and moment."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.alerts.decide import MAX_GROUPS, State, decide, due_seconds, tick
from oomsight.alerts.facts import Severity
from oomsight.alerts.message import Status
from oomsight.alerts.rules import ChannelSpec, Rule, Settings
from oomsight.naming.marked import unmark

from .events import event, note

HOOK = Settings(channels=(ChannelSpec("hook", "webhook", resolved=True),))
CHAT = Settings(channels=(ChannelSpec("chat", "apprise", per_minute=4),))
START = 1_000_000.0


def test_decide_first_event_is_told_at_once() -> None:
    (message,) = decide(event(), HOOK, State(), START)
    assert (message.channel, message.status, message.rule, message.severity) == ("hook", Status.FIRING, "default", "warning")
    assert unmark(message.title) == (
        "payments/api-7d9f:api: node (pid 165, 48.3 MiB) was killed: container 5b0b1c4f2d8e in pod 3f7d0a52 reached its"
        " memory limit of 48.0 MiB"
    )
    assert message.labels == {
        "alertname": "OOMKill", "severity": "warning", "kind": "memcg", "cause": "memcg_limit", "node": "node-1",
        "process": "node", "namespace": "payments", "pod": "api-7d9f", "container": "api",
    }  # fmt: skip
    assert (message.kills, message.event_id, message.started, message.at) == (1, "ev-1", START, START)
    assert message.event["incident"]["headline"]
    assert "tasks" not in message.event["incident"]
    json.dumps(message.as_dict())


def test_decide_same_event_again_says_nothing() -> None:
    state = State()
    assert len(decide(event(), HOOK, state, START)) == 1
    assert decide(event(), HOOK, state, START) == []
    assert decide(event(stage="update"), HOOK, state, START) == []


def test_decide_more_of_the_same_is_counted_and_told_once_after_the_interval() -> None:
    state = State()
    decide(event(1), HOOK, state, START)
    for number in range(2, 7):
        assert decide(event(number), HOOK, state, START + number) == []
    assert due_seconds(HOOK, state) == START + 300
    assert tick(HOOK, state, START + 299) == []
    (message,) = tick(HOOK, state, START + 300)
    assert (message.status, message.kills, message.event_id) == (Status.REPEAT, 6, None)
    assert unmark(message.title).startswith("5 more kills, 6 since 1970-01-12 13:46 UTC: payments/api-7d9f:api: node (pid 165")
    assert tick(HOOK, state, START + 301) == []


def test_decide_after_the_interval_is_told_with_its_event() -> None:
    state = State()
    decide(event(1), HOOK, state, START)
    (message,) = decide(event(2), HOOK, state, START + 400)
    assert (message.status, message.event_id, message.kills) == (Status.REPEAT, "ev-2", 2)
    assert message.labels["pod"] == "api-7d9f"


def test_tick_quiet_group_is_over_with_the_same_labels() -> None:
    state = State()
    (first,) = decide(event(1), HOOK, state, START)
    assert due_seconds(HOOK, state) == START + 900
    assert tick(HOOK, state, START + 899) == []
    (last,) = tick(HOOK, state, START + 900)
    assert (last.status, last.labels, last.group) == (Status.RESOLVED, first.labels, first.group)
    assert unmark(last.title).startswith("Over after 1 kill, nothing more for 15 min: ")
    assert due_seconds(HOOK, state) is None
    (again,) = decide(event(2), HOOK, state, START + 1000)
    assert (again.status, again.id != first.id) == (Status.FIRING, True)


def test_tick_end_is_not_told_to_a_channel_that_does_not_ask_but_what_is_untold_is() -> None:
    settings = Settings((Rule("r", repeat_seconds=1000, resolve_seconds=10),), (ChannelSpec("chat", "apprise"),))
    state = State()
    decide(event(1), settings, state, START)
    assert tick(settings, state, START + 10) == []
    decide(event(2), settings, state, START + 20)
    decide(event(3), settings, state, START + 21)
    (message,) = tick(settings, state, START + 31)
    assert (message.status, message.kills) == (Status.REPEAT, 2)


def test_decide_groups_by_story_and_ignores_ids_that_change() -> None:
    state = State()
    base = {"names": None}
    path = "/docker/" + "a" * 64
    assert len(decide(event(1, cgroup="/x/job-123456.scope", comm="a", **base), HOOK, state, START)) == 1
    assert len(decide(event(2, cgroup=path, comm="b", **base), HOOK, state, START)) == 1
    assert len(decide(event(3, comm="c"), HOOK, state, START)) == 1
    assert len(state.groups) == 3
    assert decide(event(4, comm="c"), HOOK, state, START) == []
    assert len(decide(event(5, comm="c", names={"pod": "web-1"}), HOOK, state, START)) == 1


def test_decide_rate_limit_holds_back_and_one_digest_tells_all() -> None:
    state = State()
    told = [m for n in range(20) for m in decide(event(n, comm=f"p{n}"), CHAT, state, START)]
    assert len(told) == 4
    assert tick(CHAT, state, START + 1) == []
    assert due_seconds(CHAT, state) == START + 15
    (digest,) = tick(CHAT, state, START + 15)
    assert (digest.status, digest.kills) == (Status.DIGEST, 16)
    assert unmark(digest.title) == "16 alerts of 16 different stories (16 kills) were held back by the rate limit of this channel"
    assert "p4 (pid 165" in unmark(digest.lines[0])
    assert digest.lines[-1] == "… and 6 more; `oomsight incidents` lists them all"
    assert decide(event(4000, comm="p9"), CHAT, state, START + 16) == []  # its group was told of by the digest
    assert tick(CHAT, state, START + 20) == []


def test_decide_drill_is_never_grouped_nor_held_back() -> None:
    state = State()
    for number in range(20):
        decide(event(number, comm=f"p{number}"), CHAT, state, START)
    made = event(99, cgroup="/oomsight-drill-1", names=None)
    (message,) = decide(made, CHAT, state, START)
    assert unmark(message.title).startswith("Drill, not an emergency: ")
    assert message.labels["alertname"] == "OOMDrill"
    assert len(decide({**made, "event_id": "ev-100"}, CHAT, state, START)) == 1


def test_decide_note_is_told_by_its_severity() -> None:
    assert decide(note("before_us"), HOOK, State(), START) == []
    (message,) = decide(note(), HOOK, State(), START)
    assert (message.labels["alertname"], message.labels["cause"], message.kills) == ("OOMEvent", "kills_not_in_log", 0)
    critical = Settings((Rule("r", severity=Severity.CRITICAL),), HOOK.channels)
    assert decide(note(), critical, State(), START) == []


def test_state_survives_json_and_damage_is_an_empty_state() -> None:
    state = State()
    for number in range(20):
        decide(event(number, comm=f"p{number % 7}"), CHAT, state, START + number / 10)
    again = State.load(json.loads(json.dumps(state.dump())))
    assert again == state
    assert tick(CHAT, again, START + 400) == tick(CHAT, state, START + 400)
    for damaged in (None, 3, [], {}, {"version": 2}, {"version": 1, "groups": {"a": 1}}, {**state.dump(), "seen": 3}):
        assert State.load(damaged) == State()


def test_clock_set_back_moves_all_times() -> None:
    state = State()
    decide(event(1), HOOK, state, START)
    decide(event(2), HOOK, state, START - 86_400)
    assert due_seconds(HOOK, state) == START - 86_400 + 300
    (message,) = tick(HOOK, state, START - 86_400 + 300)
    assert message.kills == 2


@pytest.mark.parametrize("step", [3600, -3600])
def test_clock_that_was_seen_to_be_set_ends_no_story_early_or_late(step) -> None:
    state = State()
    decide(event(1), HOOK, state, START)
    decide(event(2), HOOK, state, START + 10)
    state.move(step)
    assert tick(HOOK, state, START + 20 + step) == []
    (message,) = tick(HOOK, state, START + 300 + step)
    assert (message.status, message.kills, message.at) == ("repeat", 2, START + 300 + step)


def test_groups_are_bounded() -> None:
    before, state = State(), State()
    decide(event(1), HOOK, before, START - 600)
    (group,) = before.groups.values()
    state.groups = {str(n): replace(group, last=group.last + n / 100) for n in range(MAX_GROUPS)}
    (ended, first) = sorted(decide(event(1), HOOK, state, START), key=lambda m: m.status.value, reverse=True)
    assert (ended.status, first.status) == (Status.RESOLVED, Status.FIRING)
    assert len(state.groups) == MAX_GROUPS
    assert "0" not in state.groups  # the quietest


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 400)), max_size=60), st.integers(1, 5))
def test_no_kill_is_left_untold(steps, per_minute) -> None:
    settings = Settings(channels=(ChannelSpec("c", "webhook", resolved=True, per_minute=per_minute),))
    state, now, told, kills = State(), START, [], 0
    for number, (who, gap) in enumerate(steps):
        now += gap
        told += tick(settings, state, now)
        told += decide(event(number, comm=f"p{who}"), settings, state, now)
        kills += 1
    while (due := due_seconds(settings, state)) is not None:
        now = max(now + 1, due)
        told += tick(settings, state, now)
    digests = sum(message.kills for message in told if message.status is Status.DIGEST)
    last = {(m.group, m.started): m.kills for m in told if m.status is not Status.DIGEST}  # a group counts all its kills
    seen = sum(last.values())
    assert kills <= seen + digests
    assert seen <= kills
    assert len({message.id for message in told}) == len(told)
    assert state.groups == {}
