"""The scenarios that come with oomsight: each crashes as it is, and what is called a cure cures."""

from __future__ import annotations

from importlib.resources import files

import pytest

from oomsight.cli.simulate import SHIPPED
from oomsight.simulate.scenario import Scenario, read_scenario
from oomsight.simulate.sweep import play_variants

FOLDER = files("oomsight.data") / "scenarios"


def shipped(name: str) -> Scenario:
    """The scenario in the package."""
    found, problems = read_scenario((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    assert problems == []
    return found


def test_every_file_is_listed() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.toml" for name in SHIPPED}


@pytest.mark.parametrize("name", SHIPPED)
def test_scenario_crashes_and_its_cures_cure(name) -> None:
    played = play_variants(shipped(name))
    assert not played[0].run.survived
    assert {p.name: p.run.survived for p in played[1:]} == {p.name: p.cures for p in played[1:]}
    assert any(p.cures for p in played)


@pytest.mark.parametrize(
    ("name", "victim", "seconds"),
    [("leak", "postgres", 15071), ("heap", "java", 591), ("spike", "app", 1567), ("noswap", "mysqld", 2501),
     ("neighbour", "redis", 2786)],
)  # fmt: skip
def test_scenario_kills_whom_and_when(name, victim, seconds) -> None:
    kill = play_variants(shipped(name), ())[0].run.kills[0]
    assert kill.victims[0].name == victim
    assert abs(kill.time_seconds - seconds) <= 15


def test_cures_of_all_kinds_are_shown() -> None:
    paths = {path for name in SHIPPED for variant in shipped(name).variants for path in variant.changes}
    kinds = {path.rpartition(".")[2] for path in paths}
    assert {"max", "high", "swap", "heap_max", "adj", "available", "oom_group"} <= kinds
