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
