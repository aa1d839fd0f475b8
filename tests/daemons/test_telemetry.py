"""Metrics of the agent end to end in one process: counted, served, pushed, kept over restarts."""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from oomsight._extras import how_to_get
from oomsight.cli.exits import Exit
from oomsight.cli.main import run
from oomsight.daemons import exporter as exporter_module
from oomsight.daemons.config import parse_config
from oomsight.daemons.hub import Hub
from oomsight.daemons.telemetry import STUCK_SECONDS, Telemetry
from oomsight.daemons.telemetry_config import telemetry_settings
from oomsight.live.health import Health, SourceHealth
from oomsight.sinks import prometheus
from oomsight.sinks.live_event import event_dict
from oomsight.sinks.store import Batch, Store

sys.path.insert(0, str(Path(__file__).parents[1] / "metrics"))
sys.path.insert(0, str(Path(__file__).parents[1] / "sinks"))
from metric_events import CONTAINER, complete, named, note
from otlp_receiver import OK, plain, receiver, request_parser
from test_store import NOW_US, SEEN, events

KILLS = "oomsight_oom_kills_by_cause_total"


@contextmanager
def running(text='[metrics]\nlisten = "127.0.0.1:0"\n', store=None, health=None):
    said: list[str] = []
    telemetry = Telemetry(telemetry_settings(parse_config(text)), said.append, store=store)
    if health is not None:
        hub = SimpleNamespace(queued=lambda: {"alerts": 3})
        telemetry.agent = SimpleNamespace(detector=SimpleNamespace(health=health), hub=hub)
    telemetry.start()
    try:
        yield telemetry, said
    finally:
        telemetry.close()


def get(telemetry, path, **headers):
    with closing(http.client.HTTPConnection("127.0.0.1", telemetry.endpoint.port, timeout=10)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def healthy() -> Health:
    health = Health(time.time(), store="ok", turned=time.monotonic())
    health.sources["/dev/kmsg"] = SourceHealth("/dev/kmsg", True)
    return health


def counted(telemetry, cause="memcg_limit"):
    return next(f for f in telemetry.collect() if f.metric.name == KILLS).samples[cause,]


def until(condition) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.01)


def test_metrics_page_has_kills_host_and_agent() -> None:
    pytest.importorskip("prometheus_client", reason="prometheus_client is not installed (extra agent)")
    with running(health=healthy()) as (telemetry, said):
        telemetry(complete())
        telemetry(note())
        status, text = get(telemetry, "/metrics")
    assert status == 200
    lines = set(text.splitlines())
    assert f'{KILLS}{{cause="memcg_limit"}} 1.0' in lines
    assert 'oomsight_agent_notes_total{code="records_lost"} 1.0' in lines
    assert 'oomsight_agent_queue_length{queue="alerts"} 3.0' in lines
    assert any(line.startswith("oomsight_memory_total_bytes ") for line in lines)
    assert any(line.startswith('oomsight_predicted_victim_pid{at="host"}') for line in lines)
    assert said == []


def test_metrics_without_the_library_is_one_clear_line_and_the_rest_works(monkeypatch) -> None:
    monkeypatch.setattr(prometheus, "available", lambda: False)
    with running(health=healthy()) as (telemetry, said):
        assert get(telemetry, "/metrics") == (503, f"{prometheus.missing_words()}\n")
        assert get(telemetry, "/healthz")[0] == 200
    assert said == [prometheus.missing_words()]
    assert said[0].endswith(how_to_get("agent"))


def test_healthz_says_what_is_wrong() -> None:
    health = healthy()
    with running() as (telemetry, _):
        assert get(telemetry, "/healthz") == (503, '{"status":"starting","reasons":["detection has not begun"]}\n')
    with running(health=health) as (telemetry, _):
        assert get(telemetry, "/healthz") == (200, '{"status":"ok","reasons":[]}\n')
        health.store = "disk full"
        assert get(telemetry, "/healthz") == (200, '{"status":"degraded","reasons":["store: disk full"]}\n')
        health.sources["/dev/kmsg"] = SourceHealth("/dev/kmsg", False, "no right")
        status, text = get(telemetry, "/healthz")
        assert (status, json.loads(text)["reasons"][:2]) == (503, ["no source of events can be read", "/dev/kmsg: no right"])
        health.sources["/dev/kmsg"] = SourceHealth("/dev/kmsg", True)
        health.turned -= STUCK_SECONDS + 1
        status, text = get(telemetry, "/healthz")
        assert (status, json.loads(text)["status"]) == (503, "failed")


def test_token_guards_everything_but_the_bare_state(tmp_path) -> None:
    (tmp_path / "token").write_text("0123456789abcdef")
    text = f'[metrics]\nlisten = "127.0.0.1:0"\ntoken_file = "{tmp_path}/token"\n'
    with running(text, health=healthy()) as (telemetry, _):
        assert get(telemetry, "/incidents.json")[0] == 401
        assert get(telemetry, "/healthz") == (200, '{"status":"ok"}\n')
        assert get(telemetry, "/healthz", Authorization="Bearer 0123456789abcdef")[1] == '{"status":"ok","reasons":[]}\n'


def test_incidents_are_the_newest_of_the_store(tmp_path) -> None:
    path = str(tmp_path / "incidents.db")
    with running(store=path) as (telemetry, _):
        assert get(telemetry, "/incidents.json")[0] == 503  # no store yet
        store = Store(path)
        _, found = events(7, 8, 9)
        store.write(Batch([(event, event_dict(event, SEEN), NOW_US + i) for i, event in enumerate(found)]))
        store.close()
        status, text = get(telemetry, "/incidents.json?limit=2")
        rows = json.loads(text)["incidents"]
        for wrong in ("0", "x", "-1", "1001", "9" * 30):
            assert get(telemetry, f"/incidents.json?limit={wrong}")[0] == 400
    assert status == 200
    assert [(row["pid"], row["name"], row["cause"]) for row in rows] == [(9, "python3", "memcg_limit"), (8, "python3", "memcg_limit")]
    assert "\\u0002" not in text  # no marks of ours


def test_counters_survive_a_clean_restart(tmp_path) -> None:
    path = str(tmp_path / "incidents.db")
    with running(store=path) as (telemetry, _):
        telemetry(complete())
    with running(store=path) as (telemetry, _):
        assert counted(telemetry) == 1.0
        telemetry(complete())
        assert counted(telemetry) == 1.0


def test_counters_of_a_killed_agent_are_completed_from_the_store(tmp_path) -> None:
    path = str(tmp_path / "incidents.db")
    _, found = events(7, 8, 9)
    now_us = time.time_ns() // 1000
    documents = [event_dict(event, SEEN) for event in found]
    store = Store(path)
    store.write(Batch([(event, d, now_us) for event, d in zip(found, documents, strict=True)]))
    store.close()
    first = Telemetry(telemetry_settings(parse_config("[metrics]\n")), print, store=path)
    first(documents[0])  # saved; then it is killed: no close()
    with running(store=path) as (telemetry, _):
        until(lambda: counted(telemetry) == 3.0)
        telemetry(documents[2])
        assert counted(telemetry) == 3.0


def test_counters_that_cannot_be_kept_are_said_once(tmp_path) -> None:
    (tmp_path / "metrics.json.new").mkdir()
    with running(store=str(tmp_path / "incidents.db")) as (telemetry, said):
        telemetry(complete())
        telemetry._saved = -1e9
        telemetry(complete(8))
        assert counted(telemetry) == 2.0
    assert [line for line in said if "counters are not kept" in line] == said
    assert len(said) == 1


def test_otlp_receiver_gets_metrics_and_the_incident(monkeypatch) -> None:
    proto = request_parser()
    monkeypatch.setattr(exporter_module, "FIRST_SECONDS", 0.0)
    with receiver(OK) as (url, got), running(f'[otlp]\nendpoint = "{url}"\n', health=healthy()) as (telemetry, said):
        telemetry(complete(memcg=CONTAINER, enrichment=named(level="container", container="app")))
        until(lambda: {path for path, _, _ in got} == {"/v1/metrics", "/v1/logs"})
    parsed = {path: proto(path, body) for path, _, body in got}
    names = {m.name for m in parsed["/v1/metrics"].resource_metrics[0].scope_metrics[0].metrics}
    assert {"oomsight.memory_available", "oomsight.agent_source_up", "oomsight.oom_kills_by_cause"} <= names
    (record,) = parsed["/v1/logs"].resource_logs[0].scope_logs[0].log_records
    assert plain(record.attributes)["container.name"] == "app"
    assert said == []


def test_names_that_come_late_are_waited_for() -> None:
    def settle(event) -> None:
        event["enrichment"] = named(level="container", container="late")

    telemetry = Telemetry(telemetry_settings(parse_config("[metrics]\n")), print, settle=settle)
    telemetry(complete(memcg=CONTAINER))
    telemetry(note())
    kills = next(f for f in telemetry.collect() if f.metric.name == "oomsight_oom_kills_total")
    assert [key[4] for key in kills.samples] == ["late"]


def test_hub_tells_how_many_events_wait() -> None:
    gate, taken = threading.Event(), threading.Event()
    hub = Hub({"metrics": lambda _event: (taken.set(), gate.wait(10))})
    hub.publish({})
    assert taken.wait(10)
    hub.publish({})
    hub.publish({})
    assert hub.queued() == {"metrics": 2}
    gate.set()
    hub.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('listen = "0.0.0.0:9873"', "[metrics] listen: 0.0.0.0:9873 can be reached from other machines: set token_file"),
        ('token_file = "/nonexistent/token"', "token_file: /nonexistent/token: no such file or directory"),
    ],
)  # fmt: skip
def test_agent_refuses_to_start_with_one_clear_line(text, words, tmp_path, capsys) -> None:
    (tmp_path / "agent.toml").write_text(f"[metrics]\n{text}\n")
    assert run(["agent", "-c", str(tmp_path / "agent.toml"), "--store", str(tmp_path / "i.db")]) == Exit.USAGE
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1


def test_exporters_get_each_incident_once() -> None:
    text = '[otlp]\nendpoint = "http://127.0.0.1:1"\n[zabbix]\nserver = "127.0.0.1:1"\n'
    telemetry = Telemetry(telemetry_settings(parse_config(text)), print)
    telemetry(complete())
    telemetry(complete())
    telemetry(note())
    assert {x.name: x.state().queue for x in telemetry.exporters} == {"otlp": 2, "zabbix": 1}
    assert telemetry.endpoint is None
