"""Times of a line in every carrier."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from oomsight.report.times import Clock, when

NOW = Clock(reference=datetime(2026, 11, 24, tzinfo=UTC))


@pytest.mark.parametrize(
    ("line", "time", "uptime"),
    [
        ("[   17.316920] x", None, 17.31692),
        ("4,329,3313311,-;x", None, 3.313311),
        ("<4>[   17.316920] x", None, 17.31692),
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
