"""Families as Prometheus text and OpenMetrics, read back by the official parsers."""

from __future__ import annotations

import pytest

from oomsight.metrics.family import Family, family
from oomsight.metrics.table import METRICS

pytest.importorskip("prometheus_client", reason="prometheus_client is not installed (extra agent)")

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from oomsight.sinks.prometheus import Exposition, available

HOSTILE = 'a"b\\c\n# HELP x\u202e'


def every() -> list[Family]:
    return [Family(metric).add(1.5, *("x" for _ in metric.labels)) for metric in METRICS]


def test_render_every_metric_of_the_table_is_read_back_by_its_name_and_labels() -> None:
    text, content_type = Exposition(every).render()
    assert content_type.startswith("text/plain; version=0.0.4")
    samples = {s.name: s for f in text_string_to_metric_families(text.decode()) for s in f.samples}
    assert set(samples) == {metric.name for metric in METRICS}
    for metric in METRICS:
        assert set(samples[metric.name].labels) == set(metric.labels), metric.name
        assert samples[metric.name].value == (1.0 if metric.kind == "info" else 1.5)


def test_render_openmetrics_is_valid_with_types_and_units() -> None:
    text, content_type = Exposition(every).render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    families = {f.name: f for f in openmetrics_families(text.decode())}
    assert families["oomsight_oom_kills"].type == "counter"
    assert families["oomsight_memory_total_bytes"].unit == "bytes"
    assert families["oomsight_build"].type == "info"
    assert len(families) == len(METRICS)


def test_render_hostile_names_break_nothing() -> None:
    kills = family("oomsight_userspace_kills_total").add(2, HOSTILE, "u", "\udcff", "", "")
    text, _ = Exposition(lambda: [kills]).render()
    (found,) = text_string_to_metric_families(text.decode())
    (sample,) = found.samples
    assert sample.labels["killer"] == 'a"b\\c\\x0a# HELP x\\u202e'
    assert sample.labels["container"] == "\\xff"
    assert len(text.splitlines()) == 3


def test_exposition_collects_only_when_asked() -> None:
    asked = []
    exposition = Exposition(lambda: asked.append(1) or [])
    assert asked == []
    exposition.render()
    assert asked == [1]


def test_available_where_it_is_installed() -> None:
    assert available()
