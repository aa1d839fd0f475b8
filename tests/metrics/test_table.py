"""The table itself: names as Prometheus and OpenTelemetry want them, every label known, every metric filled."""

from __future__ import annotations

import re

from oomsight.metrics.table import LABELS, METRICS


def test_metrics_names_follow_prometheus() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert re.fullmatch(r"oomsight_[a-z0-9_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert metric.name.endswith("_info") == (metric.kind == "info"), metric.name
        assert not metric.name.endswith(("_count", "_sum", "_bucket", "_created")), metric.name
        assert metric.help.endswith("."), metric.name
        assert metric.source, metric.name


def test_metrics_otel_names_are_unique_and_carry_no_unit() -> None:
    names = [metric.otel_name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert not [name for name in names if name.endswith(("_bytes", "_seconds", "_ratio"))]
    assert next(m for m in METRICS if m.name == "oomsight_memory_available_bytes").otel_name == "oomsight.memory_available"


def test_labels_every_one_is_described_used_and_has_an_attribute() -> None:
    used = {label for metric in METRICS for label in metric.labels}
    assert used == set(LABELS)
    assert all(label.otel and label.help for label in LABELS.values())
    attributes = [label.otel for label in LABELS.values()]
    assert len(set(attributes)) == len(attributes)
