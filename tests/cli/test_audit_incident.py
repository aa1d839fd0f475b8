"""``oomsight audit --explain-incident``: a stored real kill, played again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sinks"))
from test_store import NOW_US, batch, events

from oomsight.cli.exits import Exit
from oomsight.cli.main import run
from oomsight.sinks.store import Store


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
