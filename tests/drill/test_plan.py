"""Where a drill may be made, and every reason against it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oomsight._sizes import MIB
from oomsight.drill.plan import LIMIT_BYTES, MOST_BYTES, PROCESS_NAME, REFUSALS, ROOM_BYTES, Ground, make_plan
from oomsight.drill.report import DrillReport, Link, Outcome, planned, seconds_words
from oomsight.naming.marked import unmark
from oomsight.proc.memcg import Memcg

GOOD = Ground(True, 2, "/", "/sys/fs/cgroup", available_bytes=8192 * MIB, panic_on_oom=0)
FULL = Memcg(path="/app", version=2, limit_bytes=512 * MIB, usage_bytes=500 * MIB, stat={"inactive_file": 0, "active_file": 0})


def test_limits_are_what_the_product_promises() -> None:
    assert LIMIT_BYTES <= 64 * MIB
    assert LIMIT_BYTES < MOST_BYTES < ROOM_BYTES
    assert len(PROCESS_NAME) <= 15


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"root": False}, "not_root", "use sudo"),
        ({"version": None}, "no_controller", "run it on the host itself"),
        ({"writable": False}, "read_only", "no cgroup can be made in /sys/fs/cgroup"),
        ({"delegated": False}, "not_delegated", "cgroup.subtree_control"),
        ({"panic_on_oom": 2}, "panic_on_oom", "the kernel would panic"),
        ({"above": (Memcg(path="/", version=1, oom_kill_disable=True),)}, "killer_disabled", "would hang"),
        ({"available_bytes": 200 * MIB}, "memory_short", "200 MiB of memory available, a drill wants 256 MiB"),
        ({"above": (FULL,)}, "little_headroom", "cgroup /app has 12 MiB left below its limit"),
        ({"above": (Memcg(path="/app", version=2, limit_bytes=1 << 40),)}, "little_headroom", "an unknown amount left"),
    ],
)
def test_make_plan_refuses_where_it_could_hurt(change, code, words) -> None:
    plan = make_plan(replace(GOOD, **change), 7)
    assert [found for found, _ in plan.refusals] == [code]
    assert words in unmark(plan.refusals[0][1])


def test_every_refusal_is_tested_above() -> None:
    tested = {mark.args[1][n][1] for mark in test_make_plan_refuses_where_it_could_hurt.pytestmark for n in range(len(mark.args[1]))}
    assert tested == {row.code for row in REFUSALS}


@pytest.mark.parametrize(
    "above",
    [(), (Memcg(path="/", version=2),), (FULL._replace(stat={"inactive_file": 300 * MIB, "active_file": 0}),),
     (FULL._replace(limit_bytes="unlimited"),)],
)  # fmt: skip
def test_make_plan_where_there_is_room(above) -> None:
    plan = make_plan(replace(GOOD, above=above), 7)
    assert plan.refusals == ()
    assert (plan.name, plan.cgroup, plan.directory, plan.limit_bytes) == (
        "oomsight-drill-7", "/oomsight-drill-7", "/sys/fs/cgroup/oomsight-drill-7", 32 * MIB,
    )  # fmt: skip
    assert make_plan(replace(GOOD, parent="/a/b", directory="/x"), 7).cgroup == "/a/b/oomsight-drill-7"


def test_planned_is_the_same_result_type_and_names_every_channel() -> None:
    report = planned(make_plan(GOOD, 7), ("a", "b"))
    assert report.dry_run
    assert [link.name for link in report.links] == ["kill", "log", "counters", "names", "store", "channel a", "channel b"]
    assert {link.outcome for link in report.links} == {Outcome.PLANNED}
    refused = planned(make_plan(replace(GOOD, root=False), 7), ("a",))
    assert refused.refused
    assert refused.links == ()
    assert refused.verdict == "No drill: it could hurt here, or cannot be made."


def _report(*links: Link) -> DrillReport:
    return DrillReport(make_plan(GOOD, 7), links, False, False)


@pytest.mark.parametrize(
    ("links", "verdict"),
    [
        ((Link("channel a", Outcome.OK, "", 0.4),), "Your alert arrived after 0.40 s."),
        ((Link("channel a", Outcome.OK, "", 0.012), Link("channel b", Outcome.OK, "", 2.0)),
         "Your alert arrived after 12 ms, the slowest of 2 channels after 2.00 s."),
        ((Link("store", Outcome.FAILED, "disk full"), Link("channel a", Outcome.OK, "", 0.4)),
         "The link that failed: store: disk full"),
        ((Link("log", Outcome.FAILED, "x"), Link("store", Outcome.FAILED, "y")), "The link that failed: log (and 1 more): x"),
        ((Link("kill", Outcome.OK, "", 0.0), Link("channel k", Outcome.SKIPPED, "")),
         "The kill was seen and followed, but nobody is told: no channel is configured for it."),
    ],
)  # fmt: skip
def test_verdict_says_when_or_what_failed(links, verdict) -> None:
    assert _report(*links).verdict == verdict


def test_seconds_words() -> None:
    assert [seconds_words(s) for s in (-1.0, 0.0123, 0.1, 12.345)] == ["0 ms", "12 ms", "0.10 s", "12.35 s"]
