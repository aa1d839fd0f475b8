"""
The simulator against real OOM kills of whole machines and of cgroups in them, as the VM rig recorded them.

`data/reality.json` is what `python -m vmtest.reality --record` wrote of runs of the rig: the machine as it was measured
just before the trigger, and who died when. The memory cgroups of this machine are in tests/live/test_simulator_reality.py.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from oomsight.simulate.engine import simulate
from oomsight.simulate.scenario import read_scenario

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from vmtest import reality  # noqa: E402

RECORDED = json.loads((Path(__file__).parent / "data" / "reality.json").read_text())


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: f"{row['kernel']}-{row['scenario']}")
def test_the_same_dies_at_the_same_time_as_for_real(row) -> None:
    text = (ROOT / "vmtest" / "twins" / f"{row['scenario']}.toml").read_text()
    scenario, problems = read_scenario(reality.with_machine(text, row["machine"], row["release"]))
    assert scenario is not None, problems
    first = next(kill for kill in simulate(scenario).kills if kill.by == "kernel")
    real = {**row, "kills": [{"comm": row["victim"]}]}
    paper = reality.Foretold(first.victims[0].name, first.time_seconds)
    assert reality.compare(row["kernel"], row["scenario"], paper, real).ok, (paper, row)
    assert row["seconds_to_kill"] is not None


def test_at_least_eight_scenarios_are_held_against_reality_here_and_in_machines() -> None:
    live = (ROOT / "tests/live/test_simulator_reality.py").read_text()
    cases = live[live.index("CASES = {") : live.index("\n}\n", live.index("CASES = {"))].count(": Case(")
    machines = {row["scenario"] for row in RECORDED}
    assert cases >= 8
    assert len(machines) >= 8
    assert {"global_noswap", "global_swap_disk", "tmpfs_fill", "adj_biased"} <= machines
