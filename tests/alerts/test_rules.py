"""Which events go where."""

from __future__ import annotations

import pytest

from oomsight.alarms.event import exact_span
from oomsight.alerts.facts import Facts, Severity
from oomsight.alerts.rules import ChannelSpec, Rule, Settings, matches, route, rule_sentence

FACTS = Facts(
    "ev-1", "memcg", "memcg_limit", Severity.WARNING, "x", kills=1, comm="java", cgroup="/a/b.service",
    unit="b.service", container="api", pod="api-1", namespace="pay", image="reg/api:3",
)  # fmt: skip
CHANNELS = (ChannelSpec("a", "exec"), ChannelSpec("b", "exec"))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule("r"), True),
        (Rule("r", severity=Severity.CRITICAL), False),
        (Rule("r", severity=Severity.INFO), True),
        (Rule("r", cause=("memcg_limit",)), True),
        (Rule("r", cause=("memcg",)), False),
        (Rule("r", cause=("memcg*", "x")), True),
        (Rule("r", kind=("global",)), False),
        (Rule("r", pod=("pay/*",)), True),
        (Rule("r", pod=("api-?",)), True),
        (Rule("r", pod=("other/*",)), False),
        (Rule("r", process=("java",)), True),
        (Rule("r", process=("JAVA",)), False),
        (Rule("r", cgroup=("/a/*",)), True),
        (Rule("r", unit=("!b.service",)), False),
        (Rule("r", unit=("!c.service",)), True),
        (Rule("r", container=("*", "!api")), False),
        (Rule("r", image=("reg/*",), namespace=("pay",)), True),
        (Rule("r", image=("reg/*",), namespace=("play",)), False),
    ],
)
def test_matches_asks_for_every_field(rule, expected) -> None:
    assert matches(rule, FACTS) is expected


@pytest.mark.parametrize(("patterns", "expected"), [(("*",), True), (("x",), False), (("!x",), True), ((), True)])
def test_matches_unknown_name_meets_no_pattern_but_the_open_one(patterns, expected) -> None:
    facts = Facts("ev-1", "global", "host_exhausted", Severity.CRITICAL, "x")
    assert matches(Rule("r", container=patterns), facts) is expected


def test_route_first_rule_of_a_channel_wins_and_stop_ends() -> None:
    one, two, three = Rule("1", channels=("a",)), Rule("2", stop=True), Rule("3")
    assert route(FACTS, Settings((one, two, three), CHANNELS)) == {"a": one, "b": two}


def test_route_rule_without_channels_and_stop_tells_nobody() -> None:
    assert route(FACTS, Settings((Rule("mute", pod=("pay/*",), channels=(), stop=True), Rule("rest")), CHANNELS)) == {}


def test_route_drill_goes_to_every_channel_whatever_the_rules_say() -> None:
    facts = Facts("ev-1", "memcg", "memcg_limit", Severity.WARNING, "x", drill=True)
    found = route(facts, Settings((Rule("mute", channels=(), stop=True),), CHANNELS))
    assert {name: rule.name for name, rule in found.items()} == {"a": "drill", "b": "drill"}


def test_rule_sentence_says_everything() -> None:
    rule = Rule("pay", pod=("pay/*", "!pay/test-*"), severity=Severity.INFO, channels=("a",), stop=True)
    assert rule_sentence(rule) == (
        "Rule pay: Every event whose pod is pay/* and whose pod is not pay/test-* is told to a (again after 5 min at the"
        " earliest, over after 15 min of quiet); rules below do not see it."
    )
    assert rule_sentence(Rule("m", channels=(), severity=Severity.CRITICAL)) == "Rule m: Every critical event is told to nobody."


@pytest.mark.parametrize(("seconds", "words"), [(0.5, "0.5 s"), (60, "1 min"), (90, "90 s"), (300, "5 min"), (7200, "2 h"), (5400, "90 min")])
def test_exact_span(seconds, words) -> None:
    assert exact_span(seconds) == words
