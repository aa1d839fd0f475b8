"""The table by family: when a leak stands above its past, what counts as told, and that only the training split is read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from bench.leaks import families, frontier
from bench.leaks.corpus import DAY, START, Trace
from bench.leaks.evaluate import CHECKS
from bench.leaks.fit import moments

from oomsight.trend.series import Series

GIB = float(1 << 30)
HOURS = range(10 * 24 + 1)


def trace(values: list[float], *, leaky: bool = True, start: float | None = 2.0, **more) -> Trace:
    """Return ten days of a service by hours; *start*: of its leak, in days, which fills 1 GiB on the tenth."""
    times = [START + hour * 3600 for hour in HOURS]
    begun = None if start is None else START + start * DAY
    end = START + 10 * DAY if leaky else None
    fields = {"name": "leak-python-0", "family": "leak", "origin": "python", "split": "train"} | more
    return Trace(leaky=leaky, series=Series(times, values), limit_bytes=GIB, leak_start=begun, exhausted=end,
                 planned_end=end, **fields)  # fmt: skip


def ramp(since: float, level: float = 0.2) -> list[float]:
    return [GIB * (level + (1 - level) * max(0.0, hour / 24 - since) / (10 - since)) for hour in HOURS]


def test_a_ramp_is_above_its_past_when_it_has_taken_a_fiftieth_of_what_was_free() -> None:
    assert families.above(trace(ramp(2.0))) == pytest.approx(0.02, abs=1 / (8 * 24))


def test_what_is_given_back_or_was_there_before_is_not_above() -> None:
    jobs = [value + 0.3 * GIB * (hour % 48 < 4) for hour, value in enumerate(ramp(2.0))]  # one of them as it begins
    assert families.above(trace(jobs)) > 0.3
    assert families.above(trace([0.2 * GIB] * len(HOURS))) is None
    assert families.above(trace(ramp(2.0), leaky=False, start=None)) is None


def test_a_leak_is_told_when_the_verdict_has_held_and_wrongly_before_it_begins() -> None:
    leak = trace(ramp(5.0), start=5.0)
    looks = list(moments(leak, CHECKS))
    assert frontier.told(leak, dict.fromkeys(looks[100:], 0.99), 0.965) == (False, pytest.approx(
        (looks[102] - leak.leak_start) / (5 * DAY)))  # fmt: skip
    early, delay = frontier.told(leak, dict.fromkeys([*looks[20:26], *looks[110:]], 0.99), 0.965)
    assert early
    assert delay == pytest.approx((looks[112] - leak.leak_start) / (5 * DAY))
    assert frontier.told(leak, dict.fromkeys(looks, 0.96), 0.965) == (False, None)


def test_a_trace_is_in_the_groups_it_belongs_to() -> None:
    row = families.Row(trace(ramp(0.0), start=0.0), False, 0.4, 0.02)
    assert dict(families.groups(row)) == {
        "all": "all", "runs in": "python", "leak begins": "with the process", "family": "leak, recorded",
    }  # fmt: skip
    assert dict(families.groups(families.Row(trace(ramp(2.0)), False, 0.4, 0.02)))["leak begins"] == "later"
    healthy = trace(ramp(0.0), leaky=False, start=None, family="cache", origin="synthetic")
    assert dict(families.groups(families.Row(healthy, True, None, None))) == {
        "all": "all", "runs in": "synthetic", "family": "cache, synthetic",
    }  # fmt: skip
    assert families.line("leak", [row, row]) == "| leak | 2 | 2 | 2 | 0 | 0.40 | 0.40 | 0.40 | 0.02 |"
    assert families.line("cache", [families.Row(healthy, True, None, None)]) == "| cache | 1 | 0 | 0 | 1 |  |  |  |  |"


def test_the_table_never_reads_the_test_split() -> None:
    source = Path(families.__file__).read_text(encoding="utf-8")
    assert re.findall(r"\b(?:recorded|synthetic)\((.*?)\)", source) == ["SPLIT", "SPLIT"]
