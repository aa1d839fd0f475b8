"""The few that grew most are the same as when everything is summed up."""

from __future__ import annotations

import random

import pytest

from oomsight.record.fields import FIELDS
from oomsight.record.model import Change
from oomsight.sinks.history_store import HistoryStore
from oomsight.sources.history import History

WALL = 1_700_000_000_000
SECONDS = 30


def run(path: str, boot: str, chance: random.Random, samples: range, crowd: int) -> None:
    """
    A run of the recorder: processes that walk at random, end, and have new ones take their places, some of which are
    seen only after later ones.
    """
    store, sizes, made = HistoryStore(path, boot), dict[int, int](), 0
    late: dict[int, int] = {}
    for sample in samples:
        change = Change()
        while len(sizes) < crowd:
            made += 1  # every run counts from one
            (late if sample and chance.random() < 0.1 else sizes)[made] = chance.randrange(1 << 16)
            change.new.append((made, {"kind": "process", "pid": made, "start": sample * 100 + made, "name": "x"}))
        for number in [number for number in late if chance.random() < 0.03]:
            sizes[number] = late.pop(number)
        for number in list(sizes):
            sizes[number] = max(sizes[number] + 4 * chance.randrange(-300, 301), 0)
            change.rows.append((number, "process", (sizes[number], *[None] * (len(FIELDS["process"]) - 1))))
        store.write(sample * SECONDS * 1000, WALL + sample * SECONDS * 1000, change)
        for number in [number for number in sizes if chance.random() < 0.01]:
            del sizes[number]
    store.close()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> str:
    path, chance = str(tmp_path_factory.mktemp("history")), random.Random(11)
    run(path, "a" * 32, chance, range(400), 60)
    run(path, "a" * 32, chance, range(420, 720), 40)  # of the same boot, with numbers that others had
    run(path, "b" * 32, chance, range(800, 1100), 50)
    return path


@pytest.mark.parametrize("most", [1, 5, 40, 10_000])
@pytest.mark.parametrize("part", [(0, 1), (0, 0.55), (0.3, 0.6), (0.62, 1), (0.98, 1)])
def test_those_that_grew_most(recorded, most, part) -> None:
    history = History(recorded)
    low, high = history.span()
    period = [low + share * (high - low) for share in part]
    every = history.entities("process", *period, by_growth=True)
    assert len(every) > 30
    assert history.entities("process", *period, most, by_growth=True) == every[:most]
