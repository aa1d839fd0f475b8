"""
Families and incidents as OTLP payloads, in its JSON encoding: 64-bit integers are texts, enumerations are numbers.

Metrics are cumulative sums and gauges; an incident is a log record whose attributes follow the semantic conventions
where they have a word for it (process, container, k8s, host).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from oomsight.metrics.labels import cause_of, event_place, event_seconds
from oomsight.metrics.table import LABELS
from oomsight.report.model import EventKind

if TYPE_CHECKING:
    from oomsight.metrics.family import Family

CUMULATIVE: Final = 2  #: AGGREGATION_TEMPORALITY_CUMULATIVE
WARN: Final = (13, "WARN")
ERROR: Final = (17, "ERROR")
_UNITS: Final = {"bytes": "By", "seconds": "s", "ratio": "1", "": "1"}  # UCUM

Json = dict[str, Any]


def _value(value: object) -> Json:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    # Protobuf strings are UTF-8; a byte that is not stays visible.
    return {"stringValue": str(value).encode("utf-8", "backslashreplace").decode()}


def attributes(values: Mapping[str, object]) -> list[Json]:
    """Key-value pairs; what is ``None`` is left out."""
    return [{"key": key, "value": _value(value)} for key, value in values.items() if value is not None]


def _nano(seconds: float) -> str:
    return str(round(seconds * 1e6) * 1000)


def metrics_payload(
    families: Iterable[Family], resource: Mapping[str, object], version: str, since: float, now: float
) -> Json:
    """``ExportMetricsServiceRequest``: everything as of *now*; counters since *since* (seconds since 1970)."""
    scope = {"scope": {"name": "oomsight", "version": version}, "metrics": [_metric(f, since, now) for f in families]}
    return {"resourceMetrics": [{"resource": {"attributes": attributes(resource)}, "scopeMetrics": [scope]}]}


def _metric(family: Family, since: float, now: float) -> Json:
    metric = family.metric
    points = [
        {
            "attributes": attributes({LABELS[k].otel: v for k, v in family.attributes(labels).items()}),
            "timeUnixNano": _nano(now),
            "asDouble": value,
        }
        for labels, value in family.samples.items()
    ]
    found: Json = {"name": metric.otel_name, "description": metric.help, "unit": _UNITS[metric.unit]}
    if metric.kind != "counter":
        return {**found, "gauge": {"dataPoints": points}}
    for point in points:
        point["startTimeUnixNano"] = _nano(since)
    return {**found, "sum": {"dataPoints": points, "aggregationTemporality": CUMULATIVE, "isMonotonic": True}}


def logs_payload(records: Sequence[Json], resource: Mapping[str, object], version: str) -> Json:
    """``ExportLogsServiceRequest``."""
    scope = {"scope": {"name": "oomsight", "version": version}, "logRecords": list(records)}
    return {"resourceLogs": [{"resource": {"attributes": attributes(resource)}, "scopeLogs": [scope]}]}


def log_record(document: Mapping[str, Any], now: float) -> Json:
    """An event or note as a log record."""
    if document["type"] == "note":
        facts: Json = {"event.name": "oomsight.note", "oomsight.code": document["code"]}
        at, body = now, document["text"]
    elif document["type"] == "memory":
        facts = dict(alert_attributes(document))
        at, body = now, document["headline"]
    else:
        facts = dict(incident_attributes(document))
        at, body = event_seconds(document, now), document["incident"]["headline"]
    name = facts["event.name"]
    number, word = ERROR if name.endswith("_kill") else WARN
    return {
        "timeUnixNano": _nano(at), "observedTimeUnixNano": _nano(now), "severityNumber": number, "severityText": word,
        "eventName": name, "body": _value(body), "attributes": attributes(facts),
    }  # fmt: skip


def alert_attributes(document: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """What a memory alert says, by OpenTelemetry's names."""
    yield "event.name", "oomsight.memory_alert"
    yield "oomsight.alert_id", document["alert_id"]
    yield "oomsight.moment", document["moment"]
    yield "oomsight.severity", document["severity"]
    yield "oomsight.alarm", document["reasons"][0]["code"] if document["reasons"] else None
    yield "linux.cgroup.path", document["cgroup"]
    for field in ("limit", "need", "headroom"):
        yield f"oomsight.{field}", document[f"{field}_bytes"]
    yield "oomsight.time_left", document["time_left_seconds"]
    who = document["grower"] or document["biggest"] or {}
    yield "oomsight.culprit", who.get("name")
    yield "process.pid", who.get("pid")


def incident_attributes(document: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """What an incident says, by OpenTelemetry's names; sizes are bytes."""
    incident = document["incident"]
    victim = next(iter(incident["victims"] or incident["killed"]), None) or {}
    userspace = incident["kind"] == EventKind.USERSPACE_KILLER
    event = "userspace_kill" if userspace else "oom_kill" if incident["victims"] else "incident"
    yield "event.name", f"oomsight.{event}"
    yield "oomsight.event_id", document["event_id"]
    yield "oomsight.incident_id", incident["id"]
    yield "oomsight.stage", document["stage"]
    yield "oomsight.replayed", bool(document["replayed"])
    yield "oomsight.kind", incident["kind"]
    yield "oomsight.cause", cause_of(incident)
    yield "oomsight.constraint", incident["constraint"]
    yield "oomsight.killer", incident["killer"]
    yield "oomsight.victims", len(incident["victims"] or incident["killed"])
    yield "process.pid", victim.get("pid")
    yield "process.executable.name", victim.get("comm")
    yield "process.owner", None if victim.get("uid") is None else str(victim["uid"])
    for field in ("anon_rss", "file_rss", "shmem_rss", "pgtables"):
        kib = victim.get(f"{field}_kib")
        yield f"oomsight.victim.{field}", None if kib is None else kib << 10
    yield "oomsight.victim.oom_score_adj", victim.get("oom_score_adj")
    yield "linux.cgroup.path", incident["task_memcg"] or victim.get("cgroup")
    yield "oomsight.oom_memcg", incident["oom_memcg"]
    for label, value in event_place(document)._asdict().items():
        yield LABELS[label].otel, value or None
    names = (document.get("enrichment") or {}).get("attribution", document.get("enrichment") or {})
    yield "container.id", names.get("container_id") or (victim.get("owner") or {}).get("container_id")
    yield "container.image.name", names.get("image")
    yield "container.runtime", names.get("runtime")
    yield "k8s.pod.uid", names.get("pod_uid") or (victim.get("owner") or {}).get("pod_uid")
    culprit = incident["culprit"]
    if culprit is not None:
        yield "oomsight.culprit", culprit["name"]
        yield "oomsight.culprit.is_victim", culprit.get("is_victim")
    advice = next((a["text"] for cause in incident["causes"] for a in cause["advice"]), None)
    yield "oomsight.advice", advice
    yield "oomsight.summary", incident["summary"]
