"""Exports of log stores, clouds and CI systems: each gives the facts of the log that was put in."""

from __future__ import annotations

import json

import pytest

from oomsight.report import parse_text

from .export_forms import EXPORTS, line
from .test_mangled import GOLDENS, check_same, source


@pytest.mark.parametrize("golden", GOLDENS)
@pytest.mark.parametrize("form", EXPORTS)
def test_an_export_says_what_the_log_says(form: str, golden: str) -> None:
    check_same(EXPORTS[form](source(golden)), golden)


@pytest.mark.parametrize("form", ["gelf", "loki query", "cloudwatch csv", "gcp jsonPayload newest first", "elk hits one line",
                                  "splunk csv", "datadog", "azure syslog", "cloudwatch insights"])  # fmt: skip
def test_the_time_of_a_record_is_that_of_its_event(form: str) -> None:
    report = parse_text(EXPORTS[form](source(GOLDENS[0])))[0]
    assert report.when.time is not None
    assert report.when.time.startswith("2026-11-23T09:58:1")


def test_rows_of_a_sheet_have_their_own_line_numbers() -> None:
    sheet = EXPORTS["cloudwatch csv"](source(GOLDENS[1])).split("\r\n")
    (report,) = parse_text("\n".join(sheet))
    assert report.trigger is not None
    assert report.trigger.comm is not None
    assert report.trigger.line is not None
    assert report.trigger.comm in sheet[report.trigger.line - 1]


@pytest.mark.parametrize("broken", ['{"message": ', '[{"message": 1}]', '{"values": [[]], "stream": {}}', '{"columns": [], "rows": [1]}',
                                    '[{"field": [], "value": {}}]', "message,time\n\"a", "time,message\n1,\0", '{"message": ["a"]}',
                                    '{"timestamp": 1e400, "message": "x"}', '{"timestamp": "9" , "message": []}'])  # fmt: skip
def test_broken_exports_never_raise(broken: str) -> None:
    assert parse_text(broken) == []
    real = json.dumps({"message": line(source(GOLDENS[1])[-1])})
    parse_text(f"{broken}\n{real}\n")


VERBOSE = """\
Thu 2023-02-02 11:49:13.015489 CET [s=1d8f87cf60064ba690c44490f14bb3e3;i=10823659;b=796d12a513054cf1bbde201dd1bca9a1;m=1f6726955fe3;t=5f3b550c118c1;x=e5347f6b24873f0c]
    _TRANSPORT=kernel
    _HOSTNAME=web-07
    MESSAGE=Out of memory: Killed process 7 (a) total-vm:4296kB, anon-rss:60kB, file-rss:516kB, shmem-rss:0kB
    _SOURCE_MONOTONIC_TIMESTAMP=34529551
"""


def test_journal_verbose_has_the_time_of_its_cursor_which_is_utc() -> None:
    (report,) = parse_text(VERBOSE)
    assert (report.when.time, report.when.host) == ("2023-02-02T10:49:13.015489+00:00", "web-07")
    assert (report.victims[0].pid, report.source.first_line) == (7, 4)


def test_no_host_is_made_up() -> None:
    (report,) = parse_text(VERBOSE.replace("    _HOSTNAME=web-07\n", "").replace("    _TRANSPORT=kernel\n", ""))
    assert report.when.time == "2023-02-02T10:49:13.015489+00:00"


@pytest.mark.parametrize("golden", ["6.1.192-memcg_v1", "7.3.4-numa_cpuset"])
def test_journal_verbose_keeps_everything(golden: str) -> None:
    log = source(golden)
    head = "Thu 2023-02-02 11:49:13.015489 CET [s=1d;i=1;b=79;m=1f;t=5f3b550c118c1;x=e5]\n    _TRANSPORT=kernel\n    MESSAGE="
    check_same("".join(f"{head}{m.text}\n    PRIORITY=4\n" for m in log), golden)
