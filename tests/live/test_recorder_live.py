"""A program that leaks until its cgroup's limit kills it, with the recorder running: why it grew is on record."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from oomsight.cli.main import cli
from oomsight.sources.history import History, HistoryError

from .docker_rig import eventually
from .test_alerts_live import agent, bench
from .test_memory_alerts_live import MEMORY, _inside, limited

pytestmark = [
    pytest.mark.live, pytest.mark.skipif(bench.why_not() is not None, reason=f"live: {bench.why_not()}"),
    pytest.mark.skipif(not MEMORY.joinpath("memory.limit_in_bytes").exists(), reason="no version 1 memory controller"),
]  # fmt: skip

MIB_PER_SECOND = 6.0
LEVEL_SECONDS = 8
LEAK = f"""
import time
held = [bytes([1]) * (20 << 20)]
time.sleep({LEVEL_SECONDS})
begun = time.monotonic()
while True:
    if len(held) - 1 < (time.monotonic() - begun) * {MIB_PER_SECOND}:
        held.append(b"x" * (1 << 20))
    else:
        time.sleep(0.02)
"""


def history_of(path: Path):
    try:
        return History(str(path))
    except HistoryError:
        return None


def children(pid: int) -> list[int]:
    found = [one for task in Path(f"/proc/{pid}/task").iterdir() for one in (task / "children").read_text().split()]
    return [int(one) for one in found if b"record" in Path(f"/proc/{one}/cmdline").read_bytes()]


def test_why_it_grew_is_answered_from_the_record(tmp_path) -> None:
    config = "[record]\ninterval_seconds = 1\n"
    store, place = tmp_path / "i.db", tmp_path / "history"
    with limited("record") as group, agent(tmp_path, config) as daemon:
        eventually(lambda: history_of(place) is not None and len(history_of(place).hours(0, 1e11)) > 1)
        assert children(daemon.pid)
        started = time.time()
        program = _inside(group, LEAK)
        assert program.wait(90) == -9
        died = time.time()
        run = CliRunner()
        shown = ["incidents", "--store", str(store), "show", "last", "--format", "json"]
        eventually(lambda: run.invoke(cli, shown).exit_code == 0 and str(program.pid) in run.invoke(cli, shown).output)
        eventually(lambda: history_of(place).span()[1] > died)
        document = json.loads(run.invoke(cli, shown).output)["incident"]
    said = document["answers"]["why_it_grew"]
    cgroup, leaker = said[0], said[1]
    assert f"/{group.name}" in cgroup
    assert "limit being 96.0 MiB" in cgroup
    assert f"(pid {program.pid})" in leaker
    # What really happened: level for 8 s, then 6 MiB a second until about 96 MiB.
    rate = float(re.search(r"by ([\d.]+) MiB/s", leaker)[1])
    assert rate == pytest.approx(MIB_PER_SECOND, rel=0.25)
    since = time.mktime(time.strptime(re.search(r"since ([\d-]+ [\d:]+)", leaker)[1], "%Y-%m-%d %H:%M:%S"))
    assert since == pytest.approx(started + LEVEL_SECONDS, abs=5)
    assert "steadily" in leaker
    assert not any(text.startswith("One report is one moment") for text in said)
    # The next step is to look at what is recorded, and the command that is given shows it.
    leak = next(cause for cause in document["causes"] if cause["code"] == "leak_suspected")
    (command,) = (advice["command"] for advice in leak["advice"])
    assert command[:3] == ["oomsight", "history", str(program.pid)]
    assert f"(pid {program.pid})" in CliRunner().invoke(cli, command[1:]).output
    # The machine as it was, and the minutes before, from what is left when all have ended.
    text = run.invoke(cli, ["incidents", "--store", str(store), "show", "last"]).output
    assert "On record, cgroup" in text
    around = run.invoke(cli, ["history", "--store", str(place), "--incidents", str(store), "--around", "last"])
    assert around.exit_code == 0, around.output
    assert f"(pid {program.pid})" in around.output
    picture = History(str(place)).at(died - 2)
    (process,) = [values for entity, values in picture.processes if entity.pid == program.pid]
    assert process["rss_anon_bytes"] > 50 << 20
    # explain reads the kernel's own log and finds the same.
    told = run.invoke(cli, ["explain", "/dev/kmsg", "--history", str(place), "--pid", str(program.pid)])
    assert told.exit_code == 0, told.output
    assert "On record, cgroup" in told.output
    print(told.output)


def test_recorder_ends_with_its_agent_and_begins_again_when_killed(tmp_path) -> None:
    place = tmp_path / "history"
    with agent(tmp_path, "[record]\ninterval_seconds = 1\n") as daemon:
        eventually(lambda: history_of(place) is not None)
        (first,) = children(daemon.pid)
        os.kill(first, 9)
        eventually(lambda: [pid for pid in children(daemon.pid) if pid != first], seconds=40)
        (second,) = children(daemon.pid)
        daemon.kill()
        daemon.wait()
        eventually(lambda: not Path(f"/proc/{second}").exists(), seconds=20)
    assert history_of(place).damaged == 0
