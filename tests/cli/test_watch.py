"""``oomsight watch`` with the detector played: what it prints, and how it ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sinks"))
from test_store import events

from oomsight.cli.exits import Exit
from oomsight.cli.main import run
from oomsight.daemons import watch as module
from oomsight.live.counters import Finding
from oomsight.live.health import Health, SourceHealth


@pytest.fixture
def played(monkeypatch):
    """Events instead of a host; ``usable`` says whether there is a source."""
    told, done = events(7, comm="a\\x1b[31m")  # as /dev/kmsg escapes it
    state = {"usable": True, "end": None}

    def watch(sources, show, note, begin, *, count=None, seconds=None, memory=None) -> int:
        health = Health(0.0, {"/dev/kmsg": SourceHealth("/dev/kmsg", state["usable"], "not permitted")})
        begin(health, [] if state["usable"] else ["/dev/kmsg: not permitted"])
        show(told[0], "2026-11-23T12:00:00.123456+00:00")
        show(done[0], "2026-11-23T12:00:00.223456+00:00")
        note(Finding("records_lost", "3 records were overwritten", {"records": 3}), "2026-11-23T12:00:01+00:00", "b")
        if state["end"]:
            raise state["end"]
        return 1

    monkeypatch.setattr(module, "watch", watch)
    return state


def test_watch_ndjson_is_one_object_per_line_with_one_event_id(played, capsys) -> None:
    assert run(["watch", "--format", "ndjson"]) == Exit.OK
    first, second, note = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert [first["stage"], second["stage"], note["type"]] == ["provisional", "complete", "note"]
    assert first["event_id"] == second["event_id"]
    assert first["incident"]["id"] == second["incident"]["id"]
    assert note["numbers"] == {"records": 3}


def test_watch_text_shows_no_escape_of_a_process_name(played, capsys) -> None:
    assert run(["watch", "--color", "never"]) == Exit.OK
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.startswith('12:00:00.123 "a\\x1b[31m" (pid 7')
    assert "Note: 3 records were overwritten" in out


def test_watch_ctrl_c_is_a_clean_end(played, capsys) -> None:
    played["end"] = KeyboardInterrupt()
    assert run(["watch"]) == Exit.OK


def test_watch_exit_code_says_that_something_was_seen(played, capsys) -> None:
    assert run(["watch", "--exit-code"]) == Exit.FOUND


def test_watch_without_any_source_says_what_is_missing(played, capsys) -> None:
    played["usable"] = False
    assert run(["watch"]) == Exit.UNSUPPORTED
    error = capsys.readouterr().err
    assert "not watched: /dev/kmsg: not permitted" in error
    assert "nothing here can be watched" in error
