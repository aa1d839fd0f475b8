"""OTLP payloads, parsed by the official protobuf messages, and the way they travel."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from oomsight.metrics.family import Family, family
from oomsight.metrics.table import METRICS
from oomsight.sinks.export import ExportError
from oomsight.sinks.otlp import log_record, logs_payload, metrics_payload
from oomsight.sinks.otlp_http import OtlpHttp

sys.path.insert(0, str(Path(__file__).parents[1] / "metrics"))
from metric_events import CONTAINER, CONTAINER_ID, NOW, by_oomd, complete, named, note

from .otlp_receiver import OK, plain, receiver, request_parser

WHO = {"service.name": "oomsight", "host.name": "node-1", "k8s.node.name": None}


@pytest.fixture(scope="module")
def proto():
    """A request of a path as its message."""
    return request_parser()


def every() -> list[Family]:
    return [Family(metric).add(2, *("x" for _ in metric.labels)) for metric in METRICS]


# -- what is sent -----------------------------------------------------------------------------------------------------


def test_metrics_payload_is_what_the_protocol_defines(proto) -> None:
    message = proto("/v1/metrics", json.dumps(metrics_payload(every(), WHO, "1.2", NOW, NOW + 60.5)))
    (resource,) = message.resource_metrics
    assert plain(resource.resource.attributes) == {"service.name": "oomsight", "host.name": "node-1"}
    (scope,) = resource.scope_metrics
    assert (scope.scope.name, scope.scope.version) == ("oomsight", "1.2")
    metrics = {metric.name: metric for metric in scope.metrics}
    assert len(metrics) == len(METRICS)
    kills = metrics["oomsight.oom_kills"]
    assert (kills.sum.is_monotonic, kills.sum.aggregation_temporality, kills.unit) == (True, 2, "1")
    (point,) = kills.sum.data_points
    assert (point.start_time_unix_nano, point.time_unix_nano) == (int(NOW) * 10**9, int(NOW) * 10**9 + 60_500_000_000)
    assert point.as_double == 2.0
    assert plain(point.attributes)["k8s.pod.name"] == "x"
    assert metrics["oomsight.memory_available"].unit == "By"
    assert metrics["oomsight.memory_available"].WhichOneof("data") == "gauge"


def test_log_record_of_a_kill_says_who_why_and_whose(proto) -> None:
    enrichment = named(level="container", container="app", container_id=CONTAINER_ID, pod="web-1", namespace="shop",
                       image="shop/web:3", runtime="containerd")  # fmt: skip
    document = complete(7, memcg=CONTAINER, enrichment=enrichment)
    document["incident"]["time"] = "2026-11-23T12:00:00.5+00:00"
    message = proto("/v1/logs", json.dumps(logs_payload([log_record(document, NOW)], WHO, "1")))
    (record,) = message.resource_logs[0].scope_logs[0].log_records
    facts = plain(record.attributes)
    assert (record.severity_number, record.event_name) == (17, "oomsight.oom_kill")
    assert record.time_unix_nano == 1_795_435_200_500_000_000
    assert record.observed_time_unix_nano == int(NOW) * 10**9
    assert record.body.string_value == document["incident"]["headline"]
    expected = {
        "event.name": "oomsight.oom_kill", "oomsight.event_id": document["event_id"], "oomsight.cause": "memcg_limit",
        "oomsight.constraint": "CONSTRAINT_MEMCG", "oomsight.victims": 1, "oomsight.replayed": False,
        "process.pid": 7, "process.executable.name": "python3", "process.owner": "0",
        "oomsight.victim.anon_rss": 7936 << 10, "oomsight.victim.oom_score_adj": 0,
        "container.name": "app", "container.id": CONTAINER_ID, "container.image.name": "shop/web:3",
        "k8s.namespace.name": "shop", "k8s.pod.name": "web-1", "linux.cgroup.path": CONTAINER,
    }  # fmt: skip
    assert {key: facts[key] for key in expected} == expected
    assert "systemd.unit" not in facts


def test_log_record_of_a_userspace_killer_and_of_a_note() -> None:
    record = log_record(by_oomd(), NOW)
    assert (record["eventName"], record["severityText"]) == ("oomsight.userspace_kill", "ERROR")
    remark = log_record(note(), NOW)
    assert (remark["eventName"], remark["severityText"]) == ("oomsight.note", "WARN")
    assert remark["body"] == {"stringValue": "/dev/kmsg: the kernel overwrote 3 records"}


def test_log_record_odd_bytes_are_visible_and_valid(proto) -> None:
    document = complete(7, "a\udcffb")
    message = proto("/v1/logs", json.dumps(logs_payload([log_record(document, NOW)], WHO, "1")))
    facts = plain(message.resource_logs[0].scope_logs[0].log_records[0].attributes)
    assert facts["process.executable.name"] == "a\\udcffb"


# -- how it travels ---------------------------------------------------------------------------------------------------


def sender(url, **kwargs) -> OtlpHttp:
    return OtlpHttp(url, WHO, "1.2", **kwargs)


def test_send_metrics_and_logs_arrive_with_headers_and_compressed(proto) -> None:
    with receiver(OK) as (url, got):
        otlp = sender(url, headers={"api-key": "secret"})
        otlp.send_metrics(every(), NOW, NOW + 1)
        assert otlp.send_items([otlp.item(complete(), NOW)]) == 0
    (path, headers, body), (log_path, _, log_body) = got
    assert (path, log_path) == ("/v1/metrics", "/v1/logs")
    assert headers["Content-Type"] == "application/json"
    assert headers["Content-Encoding"] == "gzip"
    assert (headers["User-Agent"], headers["Api-Key"]) == ("oomsight/1.2", "secret")
    assert len(proto(path, body).resource_metrics[0].scope_metrics[0].metrics) == len(METRICS)
    assert len(proto(log_path, log_body).resource_logs[0].scope_logs[0].log_records) == 1


def test_send_switched_off_signals_are_not_sent() -> None:
    with receiver(OK) as (url, got):
        sender(url, metrics=False).send_metrics(every(), NOW, NOW)
        assert sender(url, logs=False).item(complete(), NOW) is None
    assert got == []


@pytest.mark.parametrize(
    ("status", "headers", "permanent", "wait"),
    [
        (503, {"Retry-After": "7"}, False, 7.0), (429, {}, False, None), (429, {"Retry-After": "99999"}, False, 300.0),
        (502, {"Retry-After": "Mon, 23 Nov 2026 12:00:00 GMT"}, False, None), (400, {}, True, None),
        (401, {}, True, None), (307, {"Location": "http://127.0.0.1:1/"}, True, None),
    ],
)  # fmt: skip
def test_send_refused_says_whether_to_try_again(status, headers, permanent, wait) -> None:
    with receiver((status, headers, b"no")) as (url, got), pytest.raises(ExportError) as error:
        sender(url).send_metrics([family("oomsight_memory_free_bytes", 1)], NOW, NOW)
    assert (error.value.permanent, error.value.retry_seconds) == (permanent, wait)
    assert str(status) in str(error.value)
    assert len(got) == 1  # the redirect was not followed: headers may hold a key


def test_send_partial_success_is_counted() -> None:
    with receiver((200, {}, b'{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"x"}}')) as (url, _):
        otlp = sender(url)
        assert otlp.send_items([otlp.item(complete(), NOW)]) == 2


@pytest.mark.parametrize("body", [b"", b"ok", b"[1]", b'{"partialSuccess":3}', b'{"partialSuccess":{"rejectedLogRecords":"x"}}'])
def test_send_odd_answers_are_success(body) -> None:
    with receiver((200, {}, body)) as (url, _):
        assert sender(url).send_items([{}]) == 0


def test_send_nobody_there_is_one_clear_line() -> None:
    with receiver(OK) as (url, _):
        pass
    with pytest.raises(ExportError, match=r"^Connection refused$") as error:
        sender(url).send_metrics([], NOW, NOW)
    assert not error.value.permanent
