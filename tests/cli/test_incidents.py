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
from oomsight.cli.incidents_show import places_of, table
from oomsight.cli.main import run
from oomsight.cli.stored import open_store
from oomsight.live.counters import Finding
from oomsight.naming.marked import Kind, mark
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


def test_a_terminal_shows_the_newest_that_fit_and_says_how_to_see_the_others(store) -> None:
    with open_store(store[0]) as reader:
        rows = reader.rows()
    shown = table(rows, places_of(rows), 1)[-1]
    assert len(shown.rows) == 1
    assert shown.more == "3 older: oomsight incidents --last 4, or --group"
    assert table(rows, places_of(rows))[-1].more is None


def test_incidents_without_a_subcommand_takes_the_options_of_list(store, capsys) -> None:
    rows = json.loads(_run(capsys, store, "--last", "1", "--format", "json").out)
    assert [r["name"] for r in rows] == [HOSTILE]
    assert _run(capsys, store, "--until", "2020-01-01").out == "No stored incident that you asked for.\n"
    for args in (["--last=1"], ["list", "--last", "1"]):  # the store may be named last, too
        assert run(["incidents", *args, f"--store={store[0]}"]) == Exit.OK
        assert capsys.readouterr().out.startswith("1 incident, newest first\n")
    assert "No such option '--lasst'. Did you mean '--last'?" in _run(capsys, store, "--lasst", "1", status=Exit.USAGE).err
    assert _run(capsys, store, "--help").out.startswith("Usage: oomsight incidents [OPTIONS] [COMMAND]")


def test_list_shows_the_cause_in_80_columns(store, capsys) -> None:
    lines = _run(capsys, store, "list", "--width", "80").out.splitlines()
    assert {"when", "killed", "where", "cause", "id"} <= set(lines[2].split())
    assert max(map(len, lines)) <= 80


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
    assert _run(capsys, store, "export", "--format", "markdown").out.count(" was killed: cgroup `app` reached") == 4


def test_incidents_without_a_store_says_what_to_do(tmp_path, capsys) -> None:
    assert run(["incidents", "--store", str(tmp_path / "none.db")]) == Exit.INPUT
    assert "start `oomsight agent`" in capsys.readouterr().err


def test_a_history_that_is_not_there_is_told(store, capsys) -> None:
    assert run(["incidents", "--store", store[0], "--history", "/no/such/record", "list"]) == Exit.OK
    assert "--history: /no/such/record: no such directory" in capsys.readouterr().err


# -- whose it was, and without names ----------------------------------------------------------------------------------

POD = {"name": "payments/api-7d9f:api", "level": "container", "path": "/kubepods/pod1/acme-box", "image": "reg.acme/api:7",
       "labels": {"team": "acme"}, "node": "acme-node-1", "words": "container api of acme", "host": None,
       "limit_bytes": 8 << 20}  # fmt: skip


@pytest.fixture
def attributed(tmp_path):
    path = str(tmp_path / "named.db")
    db = Store(path, clock=lambda: NOW_US / 1e6)
    event = events(7, comm="acme-billing")[1][0]
    written = batch(event)
    written.events[0][1]["enrichment"] = {"attribution": POD, "main_process_survived": True}
    db.write(written)
    db.write(batch(notes=[(Finding("counted_kill", f"{mark('/acme-box', Kind.CGROUP)} ended"), NOW_US, None)]))
    db.close()
    return path, [event]


def test_list_and_show_say_whose_it_was_as_the_runtime_named_it(attributed, capsys) -> None:
    out = _run(capsys, attributed, "list", "--width", "200").out
    assert "payments/api-7d9f:api" in out
    assert json.loads(_run(capsys, attributed, "list", "--format", "json").out)[0]["place"] == "payments/api-7d9f:api"
    assert json.loads(_run(capsys, attributed, "list", "--name", "api-7d9f", "--format", "json").out)
    shown = _run(capsys, attributed, "show", "--width", "200").out
    for words in ("payments/api-7d9f:api", "reg.acme/api:7", "8.0 MiB", "another one: it lived on"):
        assert words in shown
    rows = json.loads(_run(capsys, attributed, "compare", "last", "last", "--format", "json").out)
    assert {r["what"]: r["first"] for r in rows}["ran in"] == "payments/api-7d9f:api"


@pytest.mark.parametrize(
    "args",
    [
        ("list",), ("list", "--group"), ("list", "--format", "json"), ("list", "--format", "csv"),
        ("list", "--format", "markdown"), ("show",), ("show", "--evidence"), ("show", "--format", "json"),
        ("show", "--raw"), ("stats",), ("stats", "--format", "json"), ("compare", "last", "last"),
        ("compare", "last", "last", "--format", "json"), ("export",), ("export", "--format", "json"),
        ("export", "--format", "csv"), ("export", "--format", "markdown"),
    ],
)  # fmt: skip
def test_redact_leaves_no_name_anywhere(attributed, capsysbinary, args) -> None:
    def out(*more: str) -> str:
        assert run(["incidents", "--store", attributed[0], *args, *more]) == Exit.OK
        return capsysbinary.readouterr().out.decode()

    names = ("acme", "payments", "api-7d9f")
    assert any(name in out() for name in names)
    redacted = out("--redact", "--redact-key", "demo")
    assert [name for name in names if name in redacted] == []
    assert redacted == out("--redact", "--redact-key", "demo")


def test_redacted_document_keeps_its_verdict_and_its_numbers(attributed, capsys) -> None:
    plain, hidden = (
        json.loads(_run(capsys, attributed, "show", "--format", "json", *more).out) for more in ((), ("--redact",))
    )
    assert hidden["incident"]["causes"][0]["code"] == plain["incident"]["causes"][0]["code"]
    assert hidden["incident"]["victims"][0]["anon_rss_kib"] == plain["incident"]["victims"][0]["anon_rss_kib"]
    assert hidden["kills"][0]["pid"] == plain["kills"][0]["pid"]
    assert hidden["kills"][0]["comm"] == hidden["incident"]["victims"][0]["comm"]
    assert hidden["enrichment"]["attribution"]["limit_bytes"] == 8 << 20


def test_redact_of_an_event_without_lines(tmp_path, capsys) -> None:
    from oomsight.live.counters import CgroupChange
    from oomsight.live.silent import event_of_count

    path = str(tmp_path / "counted.db")
    db = Store(path, clock=lambda: NOW_US / 1e6)
    change = CgroupChange("/acme.slice/acme-billing.service", 2, {"oom_kill": 1, "oom": 1}, {"oom_kill": 1}, True)
    db.write(batch(event_of_count(change, "ab" * 16, "2026-11-23T12:00:00+00:00", 10**7)))
    db.close()
    for args in (("list",), ("show",), ("show", "--format", "json"), ("export",)):
        assert "acme" in _run(capsys, (path, []), *args).out
        assert "acme" not in _run(capsys, (path, []), *args, "--redact").out


@pytest.mark.parametrize(
    "args",
    [("list", "--width", "300"), ("list", "--format", "markdown"), ("list", "--format", "csv"), ("show",), ("stats",),
     ("show", "--format", "markdown"), ("export", "--format", "markdown"), ("compare", "last", "last")],
)  # fmt: skip
def test_container_named_with_markup_and_escapes_stays_data(tmp_path, capsys, args) -> None:
    path = str(tmp_path / "hostile.db")
    db = Store(path, clock=lambda: NOW_US / 1e6)
    written = batch(events(7)[1][0])
    name = "=cmd()<script>\x1b[31m|`x`\u202e[a](http://e)"
    written.events[0][1]["enrichment"] = {"attribution": {**POD, "name": name, "image": name}}
    db.write(written)
    db.close()
    out = _run(capsys, (path, []), *args).out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "script" in out
    if "csv" in args:
        assert next(csv.DictReader(io.StringIO(out)))["place"].startswith("'=")
    if "markdown" in args:
        import re

        prose = re.sub(r"(?s)(`+).*?\1", "", out)
        assert "<script>" not in prose
        assert "](http" not in prose
