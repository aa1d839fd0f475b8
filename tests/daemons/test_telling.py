"""The subscriber: messages reach channels, state and spools survive, a dead channel costs the caller nothing."""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "alerts"))
from events import event

from oomsight.alerts.settings import parse_settings
from oomsight.daemons.config import ConfigError, parse_config
from oomsight.daemons.telling import Telling, TellingBusy, deliveries, directory_for, sentences, settings_of


def until(done, seconds: float = 20.0):
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def hook(path, name: str = "hook", **more) -> dict:
    return {"name": name, "type": "exec", "command": ["/bin/sh", "-c", f"cat >> {path}"], **more}


def told(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_telling_tells_once_and_remembers_over_a_restart(tmp_path) -> None:
    out = tmp_path / "out"
    settings = parse_settings({"channel": [hook(out)]})
    said = []
    telling = Telling(settings, str(tmp_path / "alerts"), said.append, node="n1")
    telling(event(1))
    telling(event(1))
    until(lambda: telling.health()["hook"]["sent"] == 1)
    telling.close()
    again = Telling(settings, str(tmp_path / "alerts"), said.append)
    again(event(1))
    again(event(2))  # of the same group: counted, not told
    again.close()
    assert [(m["event_id"], m["status"]) for m in told(out)] == [("ev-1", "firing")]
    (delivery,) = deliveries(str(tmp_path / "alerts"))
    assert (delivery.channel, delivery.event_id, delivery.status, delivery.attempts) == ("hook", "ev-1", "told", 1)
    assert said == []


def test_telling_dead_channel_costs_the_caller_nothing_and_loses_nothing(tmp_path) -> None:
    folder, said = str(tmp_path / "alerts"), []
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts and never answers
        settings = parse_settings(
            {"channel": [{"name": "hook", "type": "webhook", "url": f"http://127.0.0.1:{silent.getsockname()[1]}", "per_minute": 0, "timeout_seconds": 0.5}]}
        )
        telling = Telling(settings, folder, said.append)
        took = []
        for number in range(40):
            started = time.monotonic()
            telling(event(number, comm=f"p{number}"))
            took.append(time.monotonic() - started)
        until(lambda: telling.health()["hook"]["trouble"])
        telling.close(1.0)
    assert sorted(took)[20] < 0.25
    assert telling.health()["hook"]["waiting"] == 40
    (waiting,) = deliveries(folder)  # what a drill can say of a channel that is down
    assert (waiting.event_id, waiting.status, waiting.attempts) == ("ev-0", "waiting", 1)
    assert waiting.words
    out = tmp_path / "out"
    mended = Telling(parse_settings({"channel": [hook(out)]}), folder, said.append)
    until(lambda: mended.health()["hook"]["sent"] == 40)
    mended.close()
    assert [m["event_id"] for m in told(out)] == [f"ev-{n}" for n in range(40)]


def test_telling_reload_changes_channels_and_a_mistake_changes_nothing(tmp_path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    telling = Telling(parse_settings({"channel": [hook(first)]}), str(tmp_path / "alerts"), lambda _: None)
    telling(event(1))
    until(lambda: len(told(first)) == 1)
    text = f'[[alerts.channel]]\nname = "other"\ntype = "exec"\ncommand = ["/bin/sh", "-c", "cat >> {second}"]\n'
    with pytest.raises(ConfigError):
        telling.reload(parse_config(text.replace('"exec"', '"exek"')))
    telling.reload(parse_config(text))
    until(lambda: list(telling.senders) == ["other"])
    telling(event(2))
    until(lambda: len(told(second)) == 1)
    telling.close()
    assert [m["event_id"] for m in told(first)] == ["ev-1"]
    assert [m["event_id"] for m in told(second)] == ["ev-2"]


def test_telling_what_is_due_comes_by_itself(tmp_path) -> None:
    out = tmp_path / "out"
    settings = parse_settings({"channel": [hook(out)], "rule": [{"name": "r", "repeat_seconds": 0.3, "resolve_seconds": 1}]})
    telling = Telling(settings, None, lambda _: None)
    telling(event(1))
    telling(event(2))
    until(lambda: len(told(out)) == 3)
    telling.close()
    assert [(m["status"], m["kills"]) for m in told(out)] == [("firing", 1), ("repeat", 2), ("resolved", 2)]


def test_telling_clock_that_is_set_ends_nothing_early(tmp_path) -> None:
    out, ahead, ran = tmp_path / "out", 0.0, 0.0
    settings = parse_settings({"channel": [hook(out)], "rule": [{"name": "r", "resolve_seconds": 900}]})
    telling = Telling(
        settings, None, lambda _: None, clock=lambda: time.time() + ahead, steady=lambda: time.monotonic() + ran
    )
    telling(event(1))
    until(lambda: len(told(out)) == 1)
    ahead = 3600.0  # set forward by an hour
    telling.wake()
    telling(event(2, comm="other"))  # comes after the look at the clock
    until(lambda: len(told(out)) == 2)
    assert [m["status"] for m in told(out)] == ["firing", "firing"]
    ahead, ran = 4600.0, 1000.0  # a quarter of an hour went by
    telling.wake()
    until(lambda: len(told(out)) == 4)
    telling.close()
    assert [m["status"] for m in told(out)] == ["firing", "firing", "resolved", "resolved"]


def test_telling_second_on_the_same_files_is_refused(tmp_path) -> None:
    telling = Telling(parse_settings({}), str(tmp_path), lambda _: None)
    with pytest.raises(TellingBusy):
        Telling(parse_settings({}), str(tmp_path), lambda _: None)
    telling.close()
    Telling(parse_settings({}), str(tmp_path), lambda _: None).close()


def test_telling_directory_that_cannot_be_made_is_said_and_messages_are_told(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    out, said = tmp_path / "out", []
    telling = Telling(parse_settings({"channel": [hook(out)]}), str(tmp_path / "file" / "alerts"), said.append)
    telling(event(1))
    until(lambda: len(told(out)) == 1)
    telling.close()
    assert said == [f"alerts: {tmp_path}/file/alerts: not a directory; messages wait in memory only"]


def test_settings_of_config_without_the_section_tells_nobody() -> None:
    assert settings_of(parse_config("")).channels == ()
    assert next(iter(sentences({}))) == "Nobody is told: there is no [[alerts.channel]]."


def test_directory_is_beside_the_store() -> None:
    assert directory_for("/var/lib/oomsight/incidents.db") == "/var/lib/oomsight/incidents.alerts"
    assert deliveries("/nonexistent") == []
