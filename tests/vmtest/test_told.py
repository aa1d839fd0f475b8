"""What the agent told in a guest, as a run on 7.3 recorded it (scenario alarms)."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmtest import conf, told

RECORDED = (Path(__file__).parent / "data/agent_told.txt").read_bytes()
KILLED_SECONDS = {"leaky": 122.9, "browser": 207.7}  # by the kernel's log, rounded down


@pytest.mark.parametrize(
    ("code", "subject", "culprit"),
    [
        ("cgroup_growth", "/system.slice/pay.service", "leaky"),
        ("cgroup_near_limit", "/system.slice/pay.service", "leaky"),
        ("memory_high", "host", "browser"),
        ("swap_high", "host", "browser"),
    ],
)
def test_alarm_came_before_the_kill_with_the_culprit(code: str, subject: str, culprit: str) -> None:
    found = told.first_told(list(told.messages(RECORDED)), told.Expectation(code, subject, culprit))
    assert found is not None
    assert culprit in told.named(found.event)
    assert found.uptime_seconds < KILLED_SECONDS[culprit]


def test_an_alarm_of_another_subject_or_code_is_not_found() -> None:
    said = list(told.messages(RECORDED))
    assert told.first_told(said, told.Expectation("cgroup_growth", "/system.slice/other.service", "leaky")) is None
    assert told.first_told(said, told.Expectation("cgroup_throttled", "/system.slice/pay.service", "leaky")) is None


def test_each_kill_was_told_once() -> None:
    assert told.victims_told(list(told.messages(RECORDED))) == [132, 134]


def test_a_torn_line_is_passed_over() -> None:
    assert [one.uptime_seconds for one in told.messages(RECORDED[: RECORDED.index(b"\n") + 20])] == [88.37]
    assert list(told.messages(None)) == []


def test_header_names_alarms() -> None:
    text = "# DESC: x\n# ALARMS: a /b c d | e host f\narrange() {\n}\n"
    assert conf.parse_scenario("x", text).alarms == (("a", "/b", "c d"), ("e", "host", "f"))
    with pytest.raises(conf.ConfError, match="ALARMS wants"):
        conf.parse_scenario("x", "# DESC: x\n# ALARMS: a host\n")
