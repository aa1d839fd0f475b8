"""What daemons' lines say: every row's own sample, look-alikes, and fields."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.naming.marked import unmark
from oomsight.why.evidence import FactKind
from oomsight.why.lines import LINE_RULES, read_line

ID = "3f" * 32


@pytest.mark.parametrize("rule", LINE_RULES, ids=lambda rule: f"{rule.kind}-{rule.hint}")
def test_read_line_sample_of_each_row_is_read_by_that_row(rule):
    fact = read_line(f"Nov 23 10:00:00 host daemon[1]: {rule.sample}", at=5.0, source="x")
    assert fact is not None
    assert (fact.kind, fact.at, fact.source) == (rule.kind, 5.0, "x")
    assert rule.hint in rule.sample
    assert "{" not in fact.text


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("web.service: Main process exited, code=killed, status=9/KILL",
         {"unit": "web.service", "signal": 9, "status": None}),
        ("web.service: Main process exited, code=exited, status=1/FAILURE",
         {"unit": "web.service", "signal": None, "status": 1}),
        ("web.service: Main process exited, code=dumped, status=11/SEGV", {"signal": 11, "status": None}),
        ("getty@tty1.service: Failed with result 'oom-kill'.", {"unit": "getty@tty1.service", "result": "oom-kill"}),
        (r"dbus-\x2dorg.service: State 'stop-sigterm' timed out. Killing.", {"unit": r"dbus-\x2dorg.service", "signal": 9}),
        ("web.service: Killing process 1640 (a) b (c) with signal SIGKILL.", {"pid": 1640, "comm": "a) b (c", "signal": 9}),
        ("web.service: Sent signal SIGTERM to main process 7 (w) on client request.", {"signal": 15, "pid": 7}),
        (f'msg="Container failed to exit within 1s of signal 15 - using the force" container={ID}', {"container_id": ID}),
        (f"Container {ID} failed to exit within 10 seconds of signal 15 - using the force", {"container_id": ID}),
        (f'level=info msg="Stop container \\"{ID}\\" with signal terminated"', {"container_id": ID, "signal": 15}),
        ('I0528 eviction_manager.go:627] "Eviction manager: pod is evicted successfully" pod="sre/logs-d484"',
         {"pod": "sre/logs-d484"}),
        ("eviction manager: pod logs-d484_sre(8dbc2f0a-54a5-4b3e-9c5d-0123456789ab) is evicted successfully",
         {"pod": "sre/logs-d484"}),
        ('"Message for Container of pod" containerName="web" pod="a/b" containerMessage="Container web failed liveness '
         'probe, will be restarted"', {"pod": "a/b", "kind": FactKind.PROBE}),
    ],
)  # fmt: skip
def test_read_line_fields(line, expected):
    fact = read_line(line)
    assert fact is not None
    assert {name: getattr(fact, name) for name in expected} == expected


@pytest.mark.parametrize(
    "line",
    [
        "", "Main process exited, code=killed", "web.service: Succeeded.", "web: Failed with result 'oom-kill'.",
        "grep 'timed out. Killing' /var/log/syslog", "Kill container nginx now",
    ],
)  # fmt: skip
def test_read_line_that_says_nothing_is_none(line):
    assert read_line(line) is None


def test_read_line_hostile_name_stays_marked():
    fact = read_line("web.service: Killing process 1 (\x1b[31m) with signal SIGKILL.")
    assert fact is not None
    assert "\x02c" not in fact.text.replace("\x02o", "")
    assert "\x1b[31m" in unmark(fact.text)
    assert "\x1b" not in "".join(part.split("\x03")[-1] for part in fact.text.split("\x02"))


@given(st.text() | st.sampled_from([rule.sample for rule in LINE_RULES]).map(lambda s: s[: len(s) // 2]))
def test_read_line_any_text_never_raises(line):
    read_line(line)
