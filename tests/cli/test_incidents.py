"""``oomsight incidents`` over a store of a few made-up kills, one of them hostile."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sinks"))
from test_store import NOW_US, batch, events

from oomsight.cli.exits import Exit
from oomsight.cli.main import run
from oomsight.live.counters import Finding
from oomsight.sinks.store import Store

HOSTILE = "=cmd|' /C"


@pytest.fixture
def store(tmp_path):
    path = str(tmp_path / "i.db")
    db = Store(path, clock=lambda: NOW_US / 1e6)
    found = [events(7 + i, us=10**7 * (i + 1))[1][0] for i in range(3)]
    db.write(batch(*found))
    db.write(batch(events(50, comm=HOSTILE)[1][0], wall_us=NOW_US + 60 * 10**6))
    db.write(batch(notes=[(Finding("records_lost", "3 records were overwritten"), NOW_US, None)]))
    db.close()
    return path, found


def _run(capsys, store, *args, status=Exit.OK):
    assert run(["incidents", "--store", store[0], *args]) == status
    return capsys.readouterr()


def test_incidents_alone_lists_newest_first(store, capsys) -> None:
    lines = _run(capsys, store).out.splitlines()
    assert lines[0] == "4 incidents, newest first"
    assert [line.split()[-1] for line in lines[4:]] == [e.incident.id for e in reversed(store[1])]


def test_list_json_counts_recurrences(store, capsys) -> None:
    rows = json.loads(_run(capsys, store, "list", "--format", "json").out)
    assert [(r["name"], r["number"], r["of"]) for r in rows] == [
        (HOSTILE, 1, 1), ("python3", 3, 3), ("python3", 2, 3), ("python3", 1, 3)]  # fmt: skip


def test_list_group_and_filters(store, capsys) -> None:
    assert _run(capsys, store, "list", "--group").out.startswith("4 incidents, 2 stories\n")
    rows = json.loads(_run(capsys, store, "list", "--name", "python", "--last", "2", "--format", "json").out)
    assert [r["pid"] for r in rows] == [9, 8]
    assert _run(capsys, store, "list", "--until", "2020-01-01").out == "No stored incident that you asked for.\n"


def test_list_csv_holds_no_formula(store, capsys) -> None:
    rows = list(csv.DictReader(io.StringIO(_run(capsys, store, "list", "--format", "csv").out)))
    assert [r["name"] for r in rows] == ["'" + HOSTILE, "python3", "python3", "python3"]
    assert rows[1]["cause"] == "memcg_limit"


def test_show_tells_the_story_anew_with_the_recurrence(store, capsys) -> None:
    newest = store[1][-1]
    out = _run(capsys, store, "show", newest.incident.id).out
    assert "python3 (pid 9)" in out
    assert "3rd kill of python3 in app since" in out or "3rd kill of python3 in app today" in out
    assert newest.incident.id in out


def test_show_json_and_raw_are_what_was_stored(store, capsysbinary) -> None:
    event = store[1][0]
    assert run(["incidents", "--store", store[0], "show", event.event_id, "--format", "json"]) == Exit.OK
    document = json.loads(capsysbinary.readouterr().out)
    assert (document["event_id"], document["incident"]["id"]) == (event.event_id, event.incident.id)
    assert run(["incidents", "--store", store[0], "show", event.event_id, "--raw"]) == Exit.OK
    assert capsysbinary.readouterr().out == event.raw


def test_show_unknown_or_ambiguous_is_one_line(store, capsys) -> None:
    assert "no stored incident is called 'nope'" in _run(capsys, store, "show", "nope", status=Exit.INPUT).err
    assert "beginning of several incidents" in _run(capsys, store, "show", "oom-", status=Exit.USAGE).err


def test_stats_counts_and_remarks(store, capsys) -> None:
    found = json.loads(_run(capsys, store, "stats", "--format", "json").out)
    assert (found["incidents"], found["kills"], found["stories"]) == (4, 4, 2)
    assert found["victims"] == {"python3": 3, HOSTILE: 1}
    assert found["notes"][0]["text"] == "3 records were overwritten"
    assert "3 records were overwritten" in _run(capsys, store, "stats").out


def test_compare_says_what_differs(store, capsys) -> None:
    first, second = (e.incident.id for e in store[1][:2])
    rows = {r["what"]: r for r in json.loads(_run(capsys, store, "compare", first, second, "--format", "json").out)}
    assert (rows["pid"]["first"], rows["pid"]["second"], rows["pid"]["same"]) == (7, 8, False)
    assert rows["limit"] == {"what": "limit", "first": 8192, "second": 8192, "same": True}
    assert "8.0 MiB" in _run(capsys, store, "compare", first, second).out


def test_export_gives_every_incident_oldest_first(store, capsys) -> None:
    lines = _run(capsys, store, "export").out.splitlines()
    assert [json.loads(line)["kills"][0]["pid"] for line in lines] == [7, 8, 9, 50]
    assert len(json.loads(_run(capsys, store, "export", "--format", "json").out)) == 4
    assert _run(capsys, store, "export", "--format", "markdown").out.count(" was killed: `app` reached") == 4


def test_incidents_without_a_store_says_what_to_do(tmp_path, capsys) -> None:
    assert run(["incidents", "--store", str(tmp_path / "none.db")]) == Exit.INPUT
    assert "start `oomsight agent`" in capsys.readouterr().err
