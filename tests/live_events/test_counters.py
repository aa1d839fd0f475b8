"""Counters beside the log."""

from __future__ import annotations

import pytest

from oomsight.live.counters import CgroupChange, CrossCheck, judge_cgroup, parse_counts, parse_vmstat_oom_kill
from oomsight.naming.marked import unmark


@pytest.mark.parametrize(
    ("text", "count"),
    [("pgfault 1\noom_kill 14\nnuma 2\n", 14), ("pgfault 1\n", None), ("a 1\noom_kill x\n", None), ("", None)],
)
def test_parse_vmstat_oom_kill(text, count) -> None:
    assert parse_vmstat_oom_kill(text) == count


def test_parse_counts_keeps_unknown_keys_and_drops_nonsense() -> None:
    text = "low 0\nhigh 3\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\nsock_throttled 5\nbad x\n²\n"
    assert parse_counts(text)["sock_throttled"] == 5
    assert len(parse_counts(text)) == 7


def test_observe_first_gap_is_history_and_growth_is_news_once_it_stays() -> None:
    check = CrossCheck()
    before = check.observe(10, 4, 0.0)
    assert before is not None
    assert before.text == "the kernel counted 10 kills since boot, the log still shows 4"
    assert check.unseen == 6
    assert check.observe(12, 6, 1.0) is None
    assert check.observe(13, 6, 2.0) is None
    assert check.observe(13, 6, 2.5) is None
    found = check.observe(13, 6, 3.0)
    assert found is not None
    assert found.text == "the kernel counted 7 kills, the log shows 6 (a line was lost, rate-limited or never printed)"
    assert (found.numbers["missed"], check.missed) == (1, 1)
    assert check.observe(13, 6, 9.0) is None


def test_observe_line_that_comes_a_moment_later_is_no_finding() -> None:
    check = CrossCheck(0)
    assert check.observe(1, 0, 0.0) is None
    assert check.observe(1, 1, 1.0) is None
    assert check.observe(2, 1, 2.0) is None
    assert check.observe(2, 2, 3.0) is None
    assert check.missed == 0


def test_judge_cgroup_counted_kill_matters_only_without_a_log() -> None:
    change = CgroupChange("/a", 2, {"oom_kill": 2}, {"oom": 0, "oom_kill": 2}, False)
    assert judge_cgroup(change, log_readable=True) is None
    finding = judge_cgroup(change, log_readable=False)
    assert finding is not None
    assert unmark(finding.text) == (
        "the OOM killer ended 2 processes in /a, for a limit above it, or the whole host; whom, the kernel log would tell"
    )


def test_judge_cgroup_disabled_killer_is_said_whatever_can_be_read() -> None:
    now = {"oom_kill_disable": 1, "under_oom": 1, "oom_kill": 0}
    finding = judge_cgroup(CgroupChange("/a", 1, {"under_oom": 1}, now, True), log_readable=True)
    assert finding is not None
    assert finding.code == "killer_disabled"
