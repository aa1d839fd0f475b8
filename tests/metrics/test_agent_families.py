"""The agent's own state as families."""

from __future__ import annotations

from oomsight.live.health import Health, SourceHealth
from oomsight.metrics.agent import ExportState, Own, agent_families


def found(health: Health | None, own: Own) -> dict[str, dict[tuple[str, ...], float]]:
    families = agent_families(health.as_dict() if health is not None else None, own)
    return {family.metric.name: family.samples for family in families}


def test_agent_families_before_detection_only_the_process() -> None:
    families = found(None, Own("1.2", 0.5, 4096))
    assert families == {
        "oomsight_build_info": {("1.2",): 1.0},
        "oomsight_agent_cpu_seconds_total": {(): 0.5},
        "oomsight_agent_resident_memory_bytes": {(): 4096.0},
    }


def test_agent_families_sources_queues_and_losses() -> None:
    health = Health(100.0, store="ok", queue=3, missed=2, dropped=1, subscriber_errors={"alerts": 4})
    health.sources["/dev/kmsg"] = SourceHealth("/dev/kmsg", True, records=7, lost=5)
    health.sources["journal"] = SourceHealth("journal", False, "no right")
    families = found(health, Own("1", queues={"metrics": 6}, exporters={"otlp": ExportState(9, 8, 7, 5)}))
    assert families["oomsight_agent_source_up"] == {("/dev/kmsg",): 1.0, ("journal",): 0.0}
    assert families["oomsight_agent_records_lost_total"]["/dev/kmsg",] == 5.0
    assert families["oomsight_agent_queue_length"] == {("store",): 3.0, ("metrics",): 6.0, ("otlp",): 5.0}
    assert families["oomsight_agent_kills_not_in_log"] == {(): 2.0}
    assert families["oomsight_agent_events_dropped_total"] == {(): 1.0}
    assert families["oomsight_agent_subscriber_errors_total"] == {("alerts",): 4.0}
    assert families["oomsight_agent_export_failures_total"] == {("otlp",): 8.0}
    assert families["oomsight_agent_store_up"] == {(): 1.0}
    assert families["oomsight_agent_degraded"] == {(): 1.0}  # an event was dropped
    assert "oomsight_agent_last_event_timestamp_seconds" not in families  # never


def test_agent_families_store_that_is_off_or_broken() -> None:
    assert "oomsight_agent_store_up" not in found(Health(1.0), Own("1"))
    assert found(Health(1.0, store="disk full"), Own("1"))["oomsight_agent_store_up"] == {(): 0.0}
