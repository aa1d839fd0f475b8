"""Filters: which incidents are wanted, and how people write times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from oomsight.pipeline.query import Query, moment, parse_when, wanted
from oomsight.report import Clock, parse_text

from .events import NOW, ago, dmesg, event, iso, syslog

CET = timezone(timedelta(hours=1))
POD = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod3f7d0a52_9f1c_4c1e_a0cb_5f1f7e0e9c11.slice/x.scope"


def one(text: str):
    """The only report of *text*."""
    (report,) = parse_text(text, clock=Clock(reference=NOW.replace(tzinfo=None)))
    return report


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("today", datetime(2026, 11, 23, tzinfo=UTC)),
        ("Yesterday", datetime(2026, 11, 22, tzinfo=UTC)),
        ("2 hours ago", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("1 day", datetime(2026, 11, 22, 12, tzinfo=UTC)),
        ("-30m", datetime(2026, 11, 23, 11, 30, tzinfo=UTC)),
        ("3d", datetime(2026, 11, 20, 12, tzinfo=UTC)),
        ("2w", datetime(2026, 11, 9, 12, tzinfo=UTC)),
        ("9:05", datetime(2026, 11, 23, 9, 5, tzinfo=UTC)),
        ("14:30:15", datetime(2026, 11, 23, 14, 30, 15, tzinfo=UTC)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20 08:00", datetime(2026, 11, 20, 8, tzinfo=UTC)),
        ("2026-11-20T08:00:00+01:00", datetime(2026, 11, 20, 8, tzinfo=CET)),
    ],
)
def test_parse_when_words_people_use(text, expected):
    assert parse_when(text, NOW) == expected


def test_parse_when_date_without_zone_is_local():
    assert parse_when("2026-11-20 08:00", NOW.astimezone(CET)).utcoffset() == timedelta(hours=1)


@pytest.mark.parametrize("text", ["", "soon", "25:00", "2026-13-01", "12", "-", "five minutes ago"])
def test_parse_when_anything_else_refused(text):
    with pytest.raises(ValueError):
        parse_when(text, NOW)


@pytest.mark.parametrize(
    ("since", "until", "passes"),
    [
        (ago(hours=3), None, True), (ago(hours=1), None, False), (None, ago(hours=1), True), (None, ago(hours=3), False),
        (ago(hours=2), ago(hours=2), True), (ago(hours=3), ago(hours=1), True),
    ],
)  # fmt: skip
def test_wanted_time_both_ends_included(since, until, passes):
    report = one(iso(event(7), ago(hours=2)))
    assert wanted(report, Query(since=since, until=until), NOW) is passes


def test_wanted_time_without_zone_is_in_the_zone_of_now():
    report = one(syslog(event(7), NOW + timedelta(minutes=30)))  # 12:30 CET is 11:30 UTC
    now = NOW.astimezone(CET)
    assert moment(report, now) == datetime(2026, 11, 23, 11, 30, tzinfo=UTC)
    assert wanted(report, Query(since=datetime(2026, 11, 23, 11, 45, tzinfo=UTC)), now) is False
    assert wanted(report, Query(since=datetime(2026, 11, 23, 11, 15, tzinfo=UTC)), now) is True


def test_wanted_time_event_without_date_passes():
    report = one(dmesg(event(7), 100.0))
    assert moment(report, NOW) is None
    assert wanted(report, Query(since=ago(minutes=1), until=NOW), NOW) is True


@pytest.mark.parametrize(
    ("query", "passes"),
    [
        (Query(pid=4711), True), (Query(pid=471), False),
        (Query(comm="java"), True), (Query(comm="ja*"), True), (Query(comm="av"), False), (Query(comm="JAVA"), False),
        (Query(cgroup="app.service"), True), (Query(cgroup="/system.slice/*"), True), (Query(cgroup="db.service"), False),
        (Query(pid=4711, comm="java", cgroup="app"), True), (Query(pid=4711, comm="java", cgroup="db"), False),
    ],
)  # fmt: skip
def test_wanted_all_filters_must_pass(query, passes):
    assert wanted(one(dmesg(event(4711), 100.0)), query, NOW) is passes


def test_wanted_comm_longer_than_the_kernel_keeps():
    report = one(dmesg(event(9, comm="elasticsearch-n"), 100.0))  # elasticsearch-node, cut to 15 bytes
    assert wanted(report, Query(comm="elasticsearch-node"), NOW) is True
    assert wanted(report, Query(comm="elasticsearch"), NOW) is False


def test_wanted_pod_uid_with_dashes():
    report = one(dmesg(event(9, cgroup=POD), 100.0))
    assert wanted(report, Query(cgroup="3f7d0a52-9f1c-4c1e-a0cb-5f1f7e0e9c11"), NOW) is True
    assert wanted(report, Query(cgroup="3f7d0a52-9f1c-4c1e-a0cb-5f1f7e0e9c12"), NOW) is False
