"""``oomsight audit --explain-incident``: a stored real kill, played again."""

from __future__ import annotations

import gzip
import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sinks"))
from test_store import NOW_US, batch, events

from oomsight.cli.exits import Exit
from oomsight.cli.main import run
from oomsight.live.events import LogRecord
from oomsight.live.merge import Merger
from oomsight.sinks.store import Store

GOLDEN = Path(__file__).parents[1] / "golden"
CAPTURES = {
    # real kill -> the rule that helps most, and how much
    "5.10.262-memcg_pod": ("rightsize", "prevented"),
    "5.10.262-global_swap_zram": ("OS124", "no_difference"),
    "5.10.262-shmem_hold": ("OS101", "prevented"),
    "5.10.262-adj_biased": ("OS101", "prevented"),
    "5.10.262-global_oomgroup": ("OS101", "prevented"),
}


@pytest.fixture
def store(tmp_path):
    path = str(tmp_path / "i.db")
    db = Store(path, clock=lambda: NOW_US / 1e6)
    db.write(batch(events(7)[1][0]))
    db.close()
    return path


def test_the_last_incident_is_played_again(store, capsys) -> None:
    assert run(["audit", "--store", store, "--explain-incident", "last", "--format", "json"]) == Exit.OK
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "oomsight.prevention/1"
    assert document["missing"] is not None or document["rules"]
    assert run(["audit", "--store", store, "--explain-incident", document["incident"][:8], "--width", "80"]) == Exit.OK
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_what_is_not_there_is_one_line(store, capsys) -> None:
    assert run(["audit", "--store", store, "--explain-incident", "oom-nothing"]) == Exit.INPUT
    assert "no stored incident is called 'oom-nothing'" in capsys.readouterr().err
    assert run(["audit", "--store", store + "x", "--explain-incident", "last"]) == Exit.INPUT
    assert capsys.readouterr().err.count("\n") == 1
    assert run(["audit", "--store", store, "--explain-incident", "last", "--format", "sarif"]) == Exit.USAGE


def _records(name: str) -> list[LogRecord]:
    """The lines of a capture as the follower of /dev/kmsg hands them on."""
    found = []
    for line in gzip.decompress((GOLDEN / name / "kmsg.gz").read_bytes()).decode().splitlines(keepends=True):
        head = re.match(r"(\d+),(\d+),(\d+),[^;]*;(.*)", line)
        if head is not None:
            found.append(
                LogRecord(
                    line.encode(), head[4], "/dev/kmsg", int(head[2]), int(head[3]), f"{name:>032}"[-32:], True, False
                )
            )
    return found


def test_several_real_kills_of_one_store_each_by_its_id(tmp_path, capsys) -> None:
    path = str(tmp_path / "i.db")
    db = Store(path, clock=lambda: NOW_US / 1e6)
    known = {}
    for count, name in enumerate(CAPTURES):
        merger, told = Merger(), []
        for record in _records(name):
            told += merger.feed(record, 1.0, fresh=False)
        told += merger.flush()
        victims = [event for event in told if event.incident is not None and event.incident.report.victims]
        assert victims, name
        known[name] = victims[-1].incident.id
        db.write(batch(victims[-1], wall_us=NOW_US + count * 1_000_000))
    db.close()
    for name, (rule, outcome) in CAPTURES.items():
        assert run(["audit", "--store", path, "--explain-incident", known[name], "--format", "json"]) == Exit.OK, name
        document = json.loads(capsys.readouterr().out)
        assert document["incident"] == known[name]
        assert document["missing"] is None, name
        best = document["rules"][0]
        assert (best["rule"], best["outcome"]) == (rule, outcome), name
        assert best["setting"]
        assert best["words"]
    assert run(["audit", "--store", path, "--explain-incident", "last", "--width", "80"]) == Exit.OK
    assert "Would have prevented it" in capsys.readouterr().out
