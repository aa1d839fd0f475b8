"""Verdicts and forecasts: made curves with one answer each, a recorded one, and the test split that stays unseen."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from bench.leaks import corpus, fit
from bench.leaks.evaluate import run
from hypothesis import given, settings
from hypothesis import strategies as st

from oomsight.trend import weights
from oomsight.trend.exhaust import time_left
from oomsight.trend.features import FEATURES
from oomsight.trend.growth import growth
from oomsight.trend.leak import Verdict, judge, leaning
from oomsight.trend.periods import daily, rhythm
from oomsight.trend.robust import theil_sen
from oomsight.trend.series import Series, buckets
from oomsight.trend.shape import falls, shape
from oomsight.trend.words import span

MIB = float(1 << 20)
DAY = 86400.0


def curve(value, days=6.0, step=1800.0, restarts=()) -> Series:
    times = [step * i for i in range(int(days * DAY / step))]
    return Series(times, [value(t / DAY) * MIB for t in times], restarts=restarts, step_seconds=step)


LEAK = curve(lambda d: 200 + 3 * math.sin(40 * d) + max(0, d - 2) * 120)


def test_steady_growth_is_a_leak_with_its_rate_and_its_beginning() -> None:
    found = judge(LEAK, 1000 * MIB, LEAK.times[-1])
    assert found.verdict is Verdict.LEAK
    assert found.confidence >= 0.9
    assert found.more_memory_helps is False
    assert found.growth is not None
    assert found.growth.bytes_per_second == pytest.approx(120 * MIB / DAY, rel=0.05)
    assert found.growth.since == pytest.approx(2 * DAY, abs=0.3 * DAY)
    assert found.growth.grown_bytes == pytest.approx(480 * MIB, rel=0.1)
    assert "none of it was given back" in found.evidence[0]
    assert found.line[0][0] == found.growth.since


@pytest.mark.parametrize(("value", "verdict"), [
    (lambda d: 300.0, Verdict.LEVEL),
    (lambda d: 300 + 100 * math.sin(2 * math.pi * d), Verdict.DAILY),
    (lambda d: 300 + (250 if d > 3 else 0), Verdict.STEP),
    (lambda d: 200 + 300 * (1 - math.exp(-d / 0.1)), Verdict.WARM_UP),
    (lambda d: 200 + 300 * (1 - math.exp(-d / 0.9)), Verdict.CACHE),
    (lambda d: 200 + 300 * (d * 1.3 % 1), Verdict.SAWTOOTH),
    (lambda d: 200 + (300 if d * 1.7 % 1 < 0.2 else 0), Verdict.BATCH),
])  # fmt: skip
def test_what_is_no_leak_is_called_by_its_name(value, verdict) -> None:
    series = curve(value)
    found = judge(series, 1000 * MIB, series.times[-1])
    assert found.verdict is verdict
    assert found.evidence


def test_growth_that_is_small_yet_is_not_called_level() -> None:
    series = curve(lambda d: 300 + (d * 48 % 7) + max(0, d - 3) * 60, days=3.5)
    found = judge(series, 1024 * MIB, series.times[-1])
    assert found.verdict is Verdict.UNKNOWN
    assert "too little" in found.evidence[0]


def test_after_a_restart_there_is_nothing_to_say_yet() -> None:
    series = curve(lambda d: 200 + 100 * d, restarts=(5.95 * DAY,))
    assert judge(series, None, series.times[-1]).verdict is Verdict.RESTART
    assert judge(Series((1.0,), (5.0,)), None, 2.0).verdict is Verdict.UNKNOWN
    assert growth(Series((), ()), 0.0) is None


def test_time_left_holds_the_truth_of_a_straight_leak() -> None:
    now = LEAK.times[-1]
    left = time_left(LEAK, 1000 * MIB, now)
    assert left is not None
    truth = (1000 - 680) / 120 * DAY
    assert left.seconds == pytest.approx(truth, rel=0.1)
    assert left.high_seconds is not None
    assert left.low_seconds < truth < left.high_seconds
    assert time_left(curve(lambda d: 300.0 + d % 0.1), 1000 * MIB, now) is None


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1e13), min_size=0, max_size=80), st.one_of(st.none(), st.floats(1, 1e13)))
def test_no_curve_is_too_strange(values, limit) -> None:
    series = Series([1.7e9 + 60.0 * i for i in range(len(values))], values)
    found = judge(series, limit, 1.7e9 + 6000)
    assert 0 <= found.confidence <= 1
    left = time_left(series, limit or 1e12, 1.7e9 + 6000)
    if left is not None:
        assert 0 <= left.low_seconds <= left.seconds
        assert left.high_seconds is None or left.seconds <= left.high_seconds


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-3, 1e3), st.floats(-1e9, 1e9))
def test_the_verdict_knows_no_unit_and_no_epoch(factor, shift) -> None:
    moved = Series([t + shift for t in LEAK.times], [v * factor for v in LEAK.values])
    assert judge(moved, 1000 * MIB * factor, moved.times[-1]).verdict is Verdict.LEAK


def test_weights_were_fitted_on_the_training_split_that_is_here() -> None:
    assert fit.digest() == weights.FITTED_ON, "the training split changed: run bench/leaks/fit.py"
    assert {number for tree in weights.TREES for number in _numbers(tree)} <= set(range(len(FEATURES)))


def _numbers(node) -> list[int]:
    return [node[0], *_numbers(node[2]), *_numbers(node[3])] if isinstance(node, tuple) else []


def test_fitting_never_reads_the_test_split(monkeypatch) -> None:
    source = Path(fit.__file__).read_text(encoding="utf-8")
    assert re.findall(r"\b(?:recorded|synthetic)\((.*?)\)", source) == ["SPLIT", "SPLIT"]
    assert fit.SPLIT == "train"
    names = {trace.name for trace in corpus.recorded("train")}
    assert not names & {trace.name for trace in corpus.recorded("test")}
    assert not set(corpus.TRAIN_SEEDS) & set(corpus.TEST_SEEDS)


def test_recorded_leak_is_found_before_it_is_too_late() -> None:
    trace = next(t for t in corpus.recorded("train") if t.family == "leak" and t.origin == "python")
    result = run(trace)
    assert result.leak.detected
    assert result.leak.false_alarms == 0
    assert result.suspected.delay is not None
    assert result.leak.delay is not None
    assert result.suspected.delay <= result.leak.delay


def test_a_verdict_of_before_is_that_of_then() -> None:
    seen = set()
    for trace in list(corpus.synthetic("train"))[::40]:
        first, last = trace.series.times[0], trace.series.times[-1]
        for part in range(2, 12):
            now = first + (last - first) * part / 11
            verdict = judge(trace.series, trace.limit_bytes, now).verdict
            expected = verdict if verdict in {Verdict.LEAK, Verdict.SUSPECTED} else None
            assert leaning(trace.series, trace.limit_bytes, now) is expected
            fallen = falls(trace.series, now)
            found = shape(trace.series, trace.limit_bytes, now)
            assert not fallen or found.line.slope <= 0
            seen.add(expected)
    assert {Verdict.LEAK, None} <= seen


def test_rhythm_counts_what_was_given_back() -> None:
    parts = buckets(curve(lambda d: 200 + 300 * (d % 1)), 60)
    assert rhythm(parts).teeth == 5
    assert daily(parts) > 0.9
    assert theil_sen([1.0], [1.0]) is None


@pytest.mark.parametrize(("words", "expected"), [
    (span(40), "40 s"), (span(90), "1 min 30 s"), (span(3600 * 30), "1 d 6 h"), (span(86399), "24 h"),
    (span(200 * DAY), "200 d"),
])  # fmt: skip
def test_words(words, expected) -> None:
    assert words == expected
