"""Who surely is no leak is told from a part of the record: never of somebody who is one by all of it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from oomsight.foresight.leaks import judged, suspected, told
from oomsight.pipeline import leaks
from oomsight.pipeline.early import curves_that_may_leak
from oomsight.pipeline.foresight import each_program, grown
from oomsight.pipeline.leaks import POINTS, leaks_on_record
from oomsight.record.fields import FIELDS
from oomsight.record.model import Change
from oomsight.sinks.history_store import HistoryStore
from oomsight.sources.history import History
from oomsight.trend.leak import Verdict

WALL = 1_700_000_000_000
STEP_SECONDS = 70
SAMPLES = 2100
HOUR = 3600 // STEP_SECONDS
KIB_OF_MIB = 1024


def shapes(chance: random.Random) -> Callable[[int], float | None]:
    """MiB by sample, ``None`` = not there: one of many ways in which memory goes up and down."""
    begin = chance.choice([0, 0, 0, chance.randrange(SAMPLES)])
    end = chance.choice([SAMPLES] * 5 + [chance.randrange(SAMPLES), SAMPLES - 4 * HOUR])
    rate, level, noise = chance.uniform(0.01, 0.2), chance.uniform(20, 200), chance.uniform(0, 4)
    late = chance.randrange(SAMPLES)
    kinds: list[Callable[[int], float]] = [
        lambda i: rate * (i - begin),  # leaks
        lambda i: rate * max(0, i - late),  # later
        lambda i: rate * ((i - begin) % 300),  # collected
        lambda i: 60 * math.sin(i / 230),
        lambda i: 80 * (1 - math.exp(-(i - begin) / 200)),
        lambda i: 50.0 * (i > late),
        lambda i: rate * max(0, i - (SAMPLES - 3 * HOUR)) * 10,  # within the last hours
        lambda i: rate * min(i, late),
    ]
    curve = chance.choice(kinds)
    away = chance.choice([[], [], [], [SAMPLES - chance.randrange(5, 8 * HOUR)], [chance.randrange(SAMPLES)]])
    unknown = chance.choice([[], [], [range(SAMPLES - 30, SAMPLES)], [range(late, late + 90)]])

    def at(i: int) -> float | None:
        if not begin <= i < end or any(gone <= i < gone + 3 for gone in away):
            return None
        if any(i in part for part in unknown):
            return math.nan
        return max(level + curve(i) + chance.uniform(-noise, noise), 1.0)

    return at


@pytest.fixture(scope="module", params=range(2))
def recorded(request, tmp_path_factory) -> str:
    path, chance = str(tmp_path_factory.mktemp("early") / "h"), random.Random(request.param)
    curves = [shapes(chance) for _ in range(40)]
    store, there = HistoryStore(path, "c" * 32), set[int]()
    for sample in range(SAMPLES):
        change = Change()
        if not sample:
            change.new = [(number, {"kind": "process", "pid": number, "start": number, "name": f"p{number}"})
                          for number in range(1, len(curves) + 1)]  # fmt: skip
        for number, curve in enumerate(curves, 1):
            mib = curve(sample)
            if mib is None:
                if number in there:
                    change.gone.append(number)
                    there.remove(number)
                continue
            there.add(number)
            anon = None if math.isnan(mib) else int(mib * KIB_OF_MIB)
            change.rows.append((number, "process", (anon, *[None] * (len(FIELDS["process"]) - 1))))
        store.write(sample * STEP_SECONDS * 1000 + 1000, WALL + sample * STEP_SECONDS * 1000, change)
    if request.param:
        store.close()  # else the last rows are in journals, as they are while a recorder runs
    return path


@pytest.fixture(params=[1, 0.97, 0.82, 0.5, 0.2])
def period(request, recorded) -> tuple[History, float, float]:
    history = History(recorded)
    low, high = history.span()
    return history, low, low + request.param * (high - low)


@pytest.mark.parametrize("most", [POINTS, (800, 350, 4)])
def test_of_who_leaks_or_may_or_began_anew_the_whole_curve_is_read(period, most) -> None:
    history, since, until = period
    entities = grown(history, "process", since, until)
    found = dict(curves_that_may_leak(history, entities, since, until, most, limit_bytes=None))
    assert [*found] == entities
    begun = 0
    for entity, subject in each_program(history, entities, since, until, most):
        begun += len(subject.need.restarts) > 0
        if found[entity] is not None:
            assert found[entity] == subject.need
        else:
            assert not subject.need.restarts
            assert not judged(subject, until).finding.may_leak
    if until == history.span()[1]:  # else of an older record not all is as dense
        assert list(found.values()).count(None) > (len(entities) / 8 if most is POINTS else 0)
        assert begun


def test_what_is_told_is_what_all_verdicts_say(period) -> None:
    history, since, until = period
    every, curves = leaks_on_record(history, ["process"], since, until, None)
    some, as_many = leaks_on_record(history, ["process"], since, until, None, everything=False)
    assert curves == as_many == len(every)
    assert [one.subject.pid for one in told(some)] == [one.subject.pid for one in told(every)]
    assert told(some) == told(every)
    assert suspected(some) == suspected(every)


def test_where_nothing_leaks_it_is_said_of_whom_it_is_too_early_to_tell(period, monkeypatch) -> None:
    history, since, until = period
    monkeypatch.setattr("oomsight.trend.leak.SUSPECT", 2.0)
    monkeypatch.setattr(leaks, "FEW_AT_ONCE", 5)
    every, _ = leaks_on_record(history, ["process"], since, until, None)
    some, _ = leaks_on_record(history, ["process"], since, until, None, everything=False)
    unsure = [one for one in every if one.finding.verdict is Verdict.UNKNOWN]
    assert some[:3] == unsure[:3]
