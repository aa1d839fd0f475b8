"""Times of a line in every carrier."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from oomsight.report import parse_text
from oomsight.report.times import Clock, when, when_at

NOW = Clock(reference=datetime(2026, 11, 24, tzinfo=UTC))


@pytest.mark.parametrize(
    ("line", "time", "uptime"),
    [
        ("[   17.316920] x", None, 17.31692),
        ("4,329,3313311,-;x", None, 3.313311),
        ("<4>[   17.316920] x", None, 17.31692),
        ("[   17.316920 <    0.000013>] x", None, 17.31692),
        ("[Nov23 09:58] x", "2026-11-23T09:58:00", None),
        ("[Dec 5 21:08] x", "2025-12-05T21:08:00", None),
        ("kern  :warn  : [Nov23 09:58] x", "2026-11-23T09:58:00", None),
        ("[nov.23 09:58] x", "2026-11-23T09:58:00", None),
        ("[11月23 09:58] x", "2026-11-23T09:58:00", None),
        ("[  +0.000013] x", None, None),
        ("Nov 23 09:58:14 db1 kernel: [   17.316920] x", "2026-11-23T09:58:14", 17.31692),
        ("Dec 31 23:59:59 db1 kernel: x", "2025-12-31T23:59:59", None),
        ("Nov 23 09:58:14.652060 db1 kernel: x", "2026-11-23T09:58:14.652060", None),
        ("2026-11-23T09:58:14+0000 db1 kernel: x", "2026-11-23T09:58:14+00:00", None),
        ("2026-11-23T09:58:14.652060+01:00 db1 kernel: x", "2026-11-23T09:58:14.652060+01:00", None),
        ("2026-11-23T09:58:14,652060+00:00 x", "2026-11-23T09:58:14.652060+00:00", None),
        ("<4>1 2026-11-23T09:58:14.652060Z db1 kernel - - - x", "2026-11-23T09:58:14.652060+00:00", None),
        ("2026-11-23T09:58:14.652060789Z stdout F [   17.316920] x", "2026-11-23T09:58:14.652060+00:00", 17.31692),
        ("Mon 2026-11-23 09:58:14 UTC db1 kernel: x", "2026-11-23T09:58:14+00:00", None),
        ("1795427894.750231 db1 kernel: x", "2026-11-23T09:58:14.750231+00:00", None),
        ("[Mon Nov 23 09:58:12 2026] x", "2026-11-23T09:58:12", None),
        ("[Mo Nov 23 09:58:12 2026] x", "2026-11-23T09:58:12", None),
        ("[Пн ноя 23 09:58:12 2026] x", "2026-11-23T09:58:12", None),
        ("[一 11月 23 09:58:12 2026] x", "2026-11-23T09:58:12", None),
        ("[lun. nov. 23 09:58:12 2026] x", "2026-11-23T09:58:12", None),
        ("[pon lis 23 09:58:12 2026] x", "2026-11-23T09:58:12", None),
        ("avril 16 21:08:50 db1 kernel: x", "2026-04-16T21:08:50", None),
        ("déc. 05 21:08:50 db1 kernel: x", "2025-12-05T21:08:50", None),
        ("апр 28 01:23:30 db1 kernel: x", "2026-04-28T01:23:30", None),
        ("4月 16 21:08:50 db1 kernel: x", "2026-04-16T21:08:50", None),
        ("11월 05 21:08:50 db1 kernel: [   17.316920] x", "2026-11-05T21:08:50", 17.31692),
        ("Foo 05 21:08:50 db1 kernel: x", None, None),
        ("2026-13-45T09:58:14Z db1 kernel: x", None, None),
        ("Feb 30 09:58:14 db1 kernel: x", None, None),
        ("Mem-Info:", None, None),
        ("", None, None),
    ],
)
def test_when(line: str, time: str | None, uptime: float | None) -> None:
    found = when(line, NOW)
    assert (found.time, found.uptime_s) == (time, uptime)


def test_date_without_year_stays_open_without_a_reference() -> None:
    found = when("Nov 23 09:58:14 db1 kernel: x")
    assert (found.time, found.time_text, found.host) == (None, "Nov 23 09:58:14", "db1")


def test_boot_time_dates_the_printk_clock() -> None:
    clock = Clock(boot=datetime(2026, 11, 23, 9, 0, tzinfo=UTC))
    assert when("[   17.500000] x", clock).time == "2026-11-23T09:00:17.500000+00:00"
    assert when("[999999999999.000000] x", clock).time is None


def test_kmsg_keeps_its_sequence_number() -> None:
    assert when("4,329,3313311,-;x").seq == 329


# dmesg -H of util-linux 2.38.1 on Linux 6.18, two kills of cgroups in one minute; most lines left out.
HUMAN = """\
[  +0.000001] usb 1-1: new high-speed USB device number 2 using xhci_hcd
[Nov29 16:15] loop0: detected capacity change from 0 to 409600
[  +0.069303] python invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
[  +0.000011] CPU: 0 UID: 0 PID: 28107 Comm: python Not tainted 6.18.44 #1 PREEMPT(none)
[  +0.000003] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a,task=python,pid=28107,uid=0
[  +0.000013] Memory cgroup out of memory: Killed process 28107 (python) total-vm:1622044kB, anon-rss:141396kB, file-rss:5080kB, shmem-rss:0kB, UID:0 pgtables:500kB oom_score_adj:0
[  +1.774147] loop1: detected capacity change from 0 to 409600
              a further line of that record
[  +0.161656] python invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
[  +0.000011] CPU: 0 UID: 0 PID: 28116 Comm: python Not tainted 6.18.44 #1 PREEMPT(none)
[  +0.000004] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/b,task_memcg=/b,task=python,pid=28116,uid=0
[Nov30 00:02] Memory cgroup out of memory: Killed process 28116 (python) total-vm:109216kB, anon-rss:84968kB, file-rss:3672kB, shmem-rss:0kB, UID:0 pgtables:248kB oom_score_adj:0
"""
LATER = Clock(reference=datetime(2026, 12, 24, tzinfo=UTC))


def test_lines_of_dmesg_h_have_the_minute_above_and_the_seconds_since():
    raws = HUMAN.splitlines()
    times = [when_at(raws, i, LATER).time for i in range(len(raws))]
    assert times == [None, *["2026-11-29T16:15:00"] * 5, "2026-11-29T16:15:01", None,
                     *["2026-11-29T16:15:02"] * 3, "2026-11-30T00:02:00"]  # fmt: skip
    assert when_at(raws, 2, LATER).time_text == "Nov29 16:15"
    assert when_at(raws, 2, LATER).year_derived
    assert (when_at(raws, 2).time, when_at(raws, 2).time_text) == (None, "Nov29 16:15")


def test_kills_in_dmesg_h_are_dated_and_the_lost_seconds_noted():
    one, two = parse_text(HUMAN, clock=LATER)
    assert (one.when.time, two.when.time) == ("2026-11-29T16:15:00", "2026-11-29T16:15:02")
    assert two.victims[0].time.time == "2026-11-30T00:02:00"
    for report in (one, two):
        assert {"year_derived", "minutes_only"} <= {note.code for note in report.notes}


def test_dmesg_with_deltas_only_has_no_time():
    text = HUMAN.replace("[Nov29 16:15]", "[<    0.0001>]").replace("[  +", "[<    ").replace("] ", ">] ")
    assert {report.when.time for report in parse_text(text, clock=LATER)} == {None}
