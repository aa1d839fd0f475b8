"""The agent's own state as families: is it alive, does it see, does it keep up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from oomsight.metrics.family import Family, family, present


@dataclass(frozen=True, slots=True)
class ExportState:
    """What became of an exporter's requests."""

    sent: int = 0
    failed: int = 0
    dropped: int = 0  #: items for which there was no room, or which were refused for good
    queue: int = 0  #: items that wait


@dataclass(frozen=True, slots=True)
class Own:
    """What the process knows of itself. ``None`` = not known."""

    version: str
    cpu_seconds: float | None = None
    resident_bytes: int | None = None
    queues: Mapping[str, int] = field(default_factory=dict)
    exporters: Mapping[str, ExportState] = field(default_factory=dict)


def agent_families(health: Mapping[str, Any] | None, own: Own) -> list[Family]:
    """*health*: :meth:`oomsight.live.health.Health.as_dict`; ``None`` = the detector does not run yet."""
    state = _health(health) if health is not None else ()
    return present([*_own(own), *_exporters(own), *state, _queues(health, own)])


def _own(own: Own) -> Iterator[Family]:
    yield family("oomsight_build_info").add(1, own.version)
    yield family("oomsight_agent_cpu_seconds_total", own.cpu_seconds)
    yield family("oomsight_agent_resident_memory_bytes", own.resident_bytes)


def _exporters(own: Own) -> Iterator[Family]:
    sent, failed = family("oomsight_agent_exports_total"), family("oomsight_agent_export_failures_total")
    dropped = family("oomsight_agent_export_dropped_total")
    for name, state in own.exporters.items():
        sent.add(state.sent, name)
        failed.add(state.failed, name)
        dropped.add(state.dropped, name)
    yield from (sent, failed, dropped)


def _health(health: Mapping[str, Any]) -> Iterator[Family]:
    yield family("oomsight_agent_start_time_seconds", health["started"])
    yield family("oomsight_agent_last_event_timestamp_seconds", health["last_event"])
    yield family("oomsight_agent_degraded", int(health["degraded"]))
    up, records = family("oomsight_agent_source_up"), family("oomsight_agent_records_total")
    lost = family("oomsight_agent_records_lost_total")
    for source in health["sources"]:
        up.add(int(source["usable"]), source["name"])
        records.add(source["records"], source["name"])
        lost.add(source["lost"], source["name"])
    yield from (up, records, lost)
    yield family("oomsight_agent_kills_not_in_log", health["missed"])
    yield family("oomsight_agent_events_dropped_total", health["dropped"])
    if health["store"] != "off":
        yield family("oomsight_agent_store_up", int(health["store"] == "ok"))
    errors = family("oomsight_agent_subscriber_errors_total")
    for name, count in health["subscriber_errors"].items():
        errors.add(count, name)
    yield errors


def _queues(health: Mapping[str, Any] | None, own: Own) -> Family:
    found = family("oomsight_agent_queue_length")
    queues = {**({"store": health["queue"]} if health is not None else {}), **own.queues}
    for name, length in queues.items():
        found.add(length, name)
    for name, state in own.exporters.items():
        found.add(state.queue, name)
    return found
