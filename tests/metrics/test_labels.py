"""Whose a kill was, as labels."""

from __future__ import annotations

from oomsight.metrics.labels import NOWHERE, Place, event_place, event_seconds, kill_labels, place_of

from .metric_events import CONTAINER, CONTAINER_ID, NOW, UNIT, complete, named


def test_place_of_unit_by_the_path_alone() -> None:
    assert event_place(complete(memcg=UNIT)) == Place(unit="nginx.service")


def test_place_of_container_without_names_is_its_short_id_and_unknown_pod() -> None:
    assert event_place(complete(memcg=CONTAINER)) == Place("", CONTAINER_ID[:12], "unknown", "unknown")


def test_place_of_names_from_attribution_win() -> None:
    enrichment = named(level="container", container="app", container_id=CONTAINER_ID, pod="web-1", namespace="shop",
                       unit="docker-x.scope")  # fmt: skip
    document = complete(memcg=CONTAINER, enrichment=enrichment)
    assert event_place(document) == Place("", "app", "shop", "web-1")


def test_place_of_root_cgroup_is_empty_and_no_cgroup_is_unknown() -> None:
    assert event_place(complete(memcg="/")) == Place()
    assert place_of(None) == NOWHERE == Place("unknown", "unknown", "", "")


def test_kill_labels_in_the_order_of_the_table() -> None:
    document = complete(memcg=UNIT)
    assert kill_labels(document) == ("memcg_limit", "CONSTRAINT_MEMCG", "memcg", "nginx.service", "", "", "")
    empty = {**document, "incident": {**document["incident"], "causes": [], "constraint": None}}
    assert kill_labels(empty)[:2] == ("unknown", "unknown")


def test_event_seconds_of_the_event_or_otherwise() -> None:
    document = complete()
    document["incident"]["time"] = "2026-11-23T12:00:00+02:00"
    assert event_seconds(document, NOW) == 1795428000.0
    document["incident"]["time"] = None
    assert event_seconds(document, NOW) == NOW
