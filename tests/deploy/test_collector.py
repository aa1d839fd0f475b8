"""The example of an OpenTelemetry Collector: valid YAML whose pipelines name only what it defines."""

from __future__ import annotations

import pytest

from oomsight.daemons.config import parse_config

from .metric_names import DEPLOY

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (extra test)")
FILE = DEPLOY / "opentelemetry" / "collector.yaml"


def test_collector_pipelines_name_what_is_defined() -> None:
    config = yaml.safe_load(FILE.read_text())
    pipelines = config["service"]["pipelines"]
    assert set(pipelines) == {"metrics", "logs"}
    for pipeline in pipelines.values():
        for kind, names in pipeline.items():
            assert set(names) <= set(config[kind]), kind
        assert pipeline["processors"][0] == "memory_limiter"


def test_collector_listens_where_the_agent_is_told_to_send() -> None:
    config = yaml.safe_load(FILE.read_text())
    endpoint = config["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    comment = "".join(line[4:] + "\n" for line in FILE.read_text().splitlines() if line.startswith("#   "))
    said = list(parse_config(comment).sentences())
    assert f"Send metrics every 60 s and incidents as log records to http://{endpoint} (OTLP/HTTP)." in said
