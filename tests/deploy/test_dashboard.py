"""The Grafana dashboard: valid, every query about metrics that exist, every asked-for panel there."""

from __future__ import annotations

import json
import re

from oomsight.metrics.table import METRICS

from .metric_names import DEPLOY, unknown

DASHBOARD = json.loads((DEPLOY / "grafana" / "oomsight.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def test_dashboard_queries_name_metrics_that_exist() -> None:
    queries = [target["expr"] for panel in PANELS for target in panel["targets"]]
    queries += [entry["definition"] for entry in DASHBOARD["templating"]["list"] if entry["type"] == "query"]
    queries += [entry["expr"] for entry in DASHBOARD["annotations"]["list"]]
    assert len(queries) > 30
    for query in queries:
        assert unknown(query) == [], query


def test_dashboard_every_query_is_about_the_chosen_hosts() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            assert 'instance=~"$instance"' in target["expr"], panel["title"]


def test_dashboard_legends_name_labels_of_their_metrics() -> None:
    known = {label for metric in METRICS for label in metric.labels} | {"instance"}
    for panel in PANELS:
        for target in panel["targets"]:
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= known, panel["title"]


def test_dashboard_panels_have_ids_titles_places_and_a_source() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${datasource}"}


def test_dashboard_shows_what_was_asked_for() -> None:
    titles = " ".join(panel["title"] for panel in PANELS).lower()
    for word in ("kills by cause", "top victims", "headroom", "memory", "swap", "pressure", "would be killed", "sources", "queues", "alerts held", "alarms over time"):
        assert word in titles
