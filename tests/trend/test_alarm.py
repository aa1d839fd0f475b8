"""What is told: a verdict that the moments before would have given as well."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from oomsight.trend import alarm
from oomsight.trend.leak import Finding, Verdict
from oomsight.trend.series import Series

DAY = 86400.0
TIMES = Series([0.0, 144.0], [1.0, 2.0])  # a step is a second
LEAK, MAYBE, NOT = Verdict.LEAK, Verdict.SUSPECTED, Verdict.SAWTOOTH


@pytest.mark.parametrize(("latest_first", "told"), [
    ((LEAK, LEAK, LEAK, LEAK), LEAK),
    ((LEAK, LEAK, MAYBE, LEAK), MAYBE),
    ((LEAK, MAYBE, MAYBE, NOT), Verdict.UNKNOWN),
    ((MAYBE, LEAK, LEAK, LEAK), MAYBE),
    ((MAYBE, LEAK, NOT, LEAK), Verdict.UNKNOWN),
    ((NOT, LEAK, LEAK, LEAK), NOT),
])  # fmt: skip
def test_a_verdict_holds_only_as_far_as_those_before(monkeypatch, latest_first, told) -> None:
    verdicts = {144.0 - i: verdict for i, verdict in enumerate(latest_first)}
    monkeypatch.setattr(alarm, "judge", lambda _series, _limit, now: Finding(verdicts[now], 0.95, None, False, ("so",)))
    may_leak = {LEAK, MAYBE}
    monkeypatch.setattr(
        alarm, "leaning", lambda _series, _limit, now: verdicts[now] if verdicts[now] in may_leak else None
    )
    found = alarm.settled(TIMES, None, 144.0)
    assert found.verdict is told
    assert found.may_leak is (told in {LEAK, MAYBE})
    assert (found.more_memory_helps is False) is (told is latest_first[0])
    assert ("too new" in found.evidence[-1]) is (told is Verdict.UNKNOWN)


def test_nothing_on_record_is_nothing_told() -> None:
    assert alarm.settled(Series([], []), None, 1.0).verdict is Verdict.UNKNOWN


def walk(rng: random.Random) -> Iterator[float]:
    value = 300.0
    while True:
        value = max(50.0, value + rng.gauss(0, 1))
        yield value


def wander(rng: random.Random) -> Iterator[float]:
    value = 0.0
    while True:
        value = 0.995 * value + rng.gauss(0, 3)
        yield 300 + value


def jumps(rng: random.Random) -> Iterator[float]:
    value = 300.0
    while True:
        value = max(50.0, value + (rng.choice((-30, -20, 20, 30)) if rng.random() < 0.01 else 0))
        yield value + abs(rng.gauss(0, 2))


@pytest.mark.parametrize("made", [walk, wander, jumps])
def test_what_goes_nowhere_is_not_told_though_no_trend_is_asked_for(made) -> None:
    times = [600.0 * i for i in range(7 * 144)]
    for seed in range(20):
        series = Series(times, [value for _, value in zip(times, made(random.Random(seed)), strict=False)])
        assert not alarm.settled(series, 1000.0, times[-1]).may_leak
