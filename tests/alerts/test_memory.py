"""Memory alerts on their way to the channels: one story, an end, reminders, the right rule."""

from __future__ import annotations

from oomsight.alarms.culprit import Blame, Who
from oomsight.alarms.event import memory_event
from oomsight.alarms.judge import Change, Reason
from oomsight.alarms.state import HOST, Subject
from oomsight.alerts.decide import REFRESH_SECONDS, REMIND_SECONDS, SILENT_SECONDS, State, decide, due_seconds, tick
from oomsight.alerts.facts import facts_of
from oomsight.alerts.message import Status
from oomsight.alerts.settings import parse_settings
from oomsight.naming.marked import unmark

HOOK = {"name": "hook", "type": "webhook", "url": "http://127.0.0.1/", "per_minute": 0}
AM = {"name": "am", "type": "alertmanager", "url": "http://127.0.0.1/"}


def event(moment: str = "raised", *, severity: str = "warning", cgroup: str = "/docker/x", at: float = 0.0, gone: bool = False,
          name: str = "leak", codes: tuple[str, ...] = ("cgroup_near_limit",)):  # fmt: skip
    subject = Subject(limit_bytes=100 << 20, need_bytes=95 << 20, cache_bytes=2 << 20, headroom_bytes=5 << 20,
                      bytes_per_second=1 << 20, time_left_seconds=5.0)  # fmt: skip
    change = Change(moment, cgroup, "al-1", severity, tuple(Reason(code, 95.0, 0.0) for code in codes), 0.0, subject, gone)
    grower = Who("process", name, 60 << 10, 40 << 10, 7)
    return memory_event(change, Blame(grower, Who("process", "db", 70 << 10, 0, 9), 30.0), f"2026-01-01T00:00:{at:09.6f}", "b")


def test_who_grew_next_to_nothing_is_not_named_first() -> None:
    subject = Subject(limit_bytes=1000 << 20, need_bytes=900 << 20, headroom_bytes=100 << 20)
    for code, grower in (("memory_high", None), ("memory_growth", "sleep")):
        change = Change("raised", HOST, "al-1", "warning", (Reason(code, 90.0, 0.0),), 0.0, subject, False)
        blame = Blame(Who("process", "sleep", 2 << 10, 2 << 10, 7), Who("process", "db", 700 << 10, 0, 9), 60.0)
        told = memory_event(change, blame, "2026-01-01T00:00:00", "b")
        assert ("sleep (pid 7) grew" in told["headline"]) is (grower is not None), told["headline"]
        assert ("most is held by db (pid 9), 700.0 MiB" in told["headline"]) is (grower is None)
        assert told["grower"]["name"] == "sleep"


def test_a_message_about_the_machine_says_where_who_grew_runs() -> None:
    subject, scope = Subject(limit_bytes=1000 << 20, need_bytes=900 << 20), "/user.slice/user-7.slice/session-1.scope"
    for where, grower, told in (
        (HOST, scope, True), ("/a", "/a/b", True), ("/a", "/a", False), (HOST, "/", False), (HOST, None, False),
    ):  # fmt: skip
        change = Change("raised", where, "al-1", "warning", (Reason("memory_high", 90.0, 0.0),), 0.0, subject, False)
        who = Who("process", "browser", 300 << 10, 200 << 10, 7, 1, grower)
        said = memory_event(change, Blame(who, who, 60.0), "2026-01-01T00:00:00", "b")["lines"]
        assert any(line.startswith("browser (pid 7) runs in: ") for line in said) is told
        assert ("browser (pid 7) runs in: session 1 of user 7" in said) is (grower == scope)


def test_room_says_when_it_is_swap_and_a_rate_that_is_over_is_no_number() -> None:
    subject = Subject(limit_bytes=333 << 20, need_bytes=325 << 20, headroom_bytes=208 << 20)
    change = Change("raised", HOST, "al-1", "warning", (Reason("memory_high", 98.0, 0.0),), 0.0, subject, False)
    assert "98 % of RAM needed, 208.0 MiB left with swap" in memory_event(change, None, "2026-01-01T00:00:00", "b")["headline"]
    change = Change("changed", "/a", "al-1", "warning", (Reason("cgroup_at_limit", 0.0, 0.0),), 0.0, subject, False)
    assert "ran into its limit a moment ago" in memory_event(change, None, "2026-01-01T00:00:00", "b")["headline"]


def _settings(*channels, **more):
    return parse_settings({"channel": list(channels or (HOOK,)), **more})


def _run(settings, *steps):
    """(event, moment) in turn -> (status, severity, title) of what was told."""
    state, found = State(), []
    for document, now in steps:
        state = State.load(state.dump())  # a restart between any two
        found += decide(document, settings, state, now) if document is not None else tick(settings, state, now)
    return [(m.status, m.severity, unmark(m.title)) for m in found], state


def test_alert_is_told_at_once_named_and_ended_at_once() -> None:
    told, state = _run(_settings(), (event(), 0.0), (event("cleared", at=9), 90.0))
    assert told == [
        (Status.FIRING, "warning", "x: needs 95 % of its limit of 100.0 MiB, 5.0 MiB left, full in about 5 s;"
                                   " leak (pid 7) grew 40.0 MiB in 30 s"),
        (Status.RESOLVED, "warning", "x: enough memory again, 5.0 MiB left"),
    ]  # fmt: skip
    assert state.groups == {}


def test_alert_that_goes_on_is_not_ended_by_quiet_and_reminded_of_rarely() -> None:
    steps = [(event(), 0.0)]
    steps += [(event("still", at=n % 60 + n / 1e5), n * 600.0) for n in range(1, 26)]
    steps += [(None, 25 * 600.0 + 1)]
    told, state = _run(_settings(), *steps)
    assert [status for status, *_ in told] == [Status.FIRING, Status.REPEAT]
    assert told[1][2].startswith("Still, since 1970-01-01 00:00 UTC: ")
    assert len(state.groups) == 1
    told, _ = _run(_settings(AM), *steps)  # a receiver that would let it go hears of it every time
    assert [status for status, *_ in told].count(Status.REPEAT) == 25
    assert REFRESH_SECONDS <= 600 < REMIND_SECONDS


def test_alert_that_another_alarm_joins_is_told_as_worse_not_as_still() -> None:
    more = ("cgroup_near_limit", "cgroup_at_limit")
    told, _ = _run(_settings(), (event(), 0.0), (event("changed", at=1, codes=more), 400.0), (event("still", at=2), 15_000.0))
    assert [title.partition(": ")[0] for _, _, title in told[1:]] == [
        "Worse; it began 1970-01-01 00:00 UTC", "Still, since 1970-01-01 00:00 UTC"]  # fmt: skip


def test_alert_nobody_speaks_of_any_more_is_over() -> None:
    settings, state = _settings(), State()
    decide(event(), settings, state, 0.0)
    assert due_seconds(settings, state) == SILENT_SECONDS
    assert [m.status for m in tick(settings, state, SILENT_SECONDS)] == [Status.RESOLVED]


def test_warning_that_turns_critical_is_told_again_under_its_own_labels() -> None:
    settings, state = _settings(AM), State()
    first = decide(event(cgroup="", codes=("memory_high",)), settings, state, 0.0)
    second = decide(event("changed", cgroup="", severity="critical", codes=("memory_high",), at=1), settings, state, 10.0)
    third = decide(event("cleared", cgroup="", severity="critical", codes=("memory_high",), at=2), settings, state, 20.0)
    assert [m.status for m in (*first, *second)] == [Status.FIRING, Status.FIRING]
    assert second[0].title == f"Worse; it began 1970-01-01 00:00 UTC: {first[0].title}"
    assert (first[0].labels["severity"], second[0].labels["severity"]) == ("warning", "critical")
    assert first[0].labels["alertname"] == "MemoryAlert"
    assert "cgroup" not in first[0].labels
    assert [m.status for m in third] == [Status.RESOLVED, Status.RESOLVED]
    assert {frozenset(m.labels.items()) for m in third} == {frozenset(m.labels.items()) for m in (*first, *second)}


def test_rules_ask_for_kind_cause_cgroup_and_severity() -> None:
    rules = [{"name": "no", "kind": "memory", "cause": "cgroup_near_limit", "cgroup": "/docker/*", "channels": [], "stop": True}]
    told, _ = _run(_settings(rule=rules), (event(), 0.0), (event("cleared", at=1), 9.0))
    assert told == []
    told, _ = _run(_settings(rule=[*rules, {"name": "all"}]), (event(cgroup="/other"), 0.0))
    assert len(told) == 1
    told, _ = _run(_settings(rule=[{"name": "worst", "severity": "critical"}]), (event(), 0.0))
    assert told == []


def test_culprit_is_a_name_that_cannot_forge_anything() -> None:
    facts = facts_of(event(name="x\x1b[31m\x02c"))
    assert facts is not None
    assert "\x1b[31m" not in facts.headline.replace("\x02c\x1fx\x1b[31m\\x02c\x03", "")
    assert (facts.comm, facts.pid, facts.kind, facts.cgroup) == ("x\x1b[31m\x02c", 7, "memory", "/docker/x")
    assert any("db" in line for line in facts.lines)


def test_the_same_event_twice_is_told_once() -> None:
    told, _ = _run(_settings(), (event(), 0.0), (event(), 1.0))
    assert len(told) == 1
