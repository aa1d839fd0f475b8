"""
Families of samples as Prometheus text or OpenMetrics, by the official client library (extra ``agent``).

The library is imported when the first text is written: without it everything else of the agent works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from oomsight._extras import how_to_get

if TYPE_CHECKING:
    from oomsight.metrics.family import Family


def missing_words() -> str:
    """What is missing for /metrics, and how to get it."""
    return f"prometheus_client is not installed; to get /metrics: {how_to_get('agent')}"


def available() -> bool:
    """Whether the library is installed."""
    from importlib.util import find_spec

    return find_spec("prometheus_client") is not None


class FamilyCollector:
    """A custom collector: what ``collect`` gives, as the library's families."""

    def __init__(self, collect: Callable[[], Iterable[Family]]) -> None:
        self._collect = collect

    def describe(self) -> list[Any]:
        """Nothing: a registry would else collect once when it gets to know us."""
        return []

    def collect(self) -> Iterator[Any]:
        """Yield the families."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        for family in self._collect():
            metric = family.metric
            if metric.kind == "info":
                info = InfoMetricFamily(metric.name.removesuffix("_info"), metric.help, labels=())
                for labels in family.samples:
                    info.add_metric((), dict(zip(metric.labels, labels, strict=True)))
                yield info
                continue
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            found = kind(metric.name, metric.help, labels=metric.labels, unit=metric.unit)
            for labels, value in family.samples.items():
                found.add_metric(labels, value)
            yield found


class Exposition:
    """Writes the text of ``GET /metrics``."""

    def __init__(self, collect: Callable[[], Iterable[Family]]) -> None:
        """Raises :class:`ImportError` without the library."""
        from prometheus_client import CollectorRegistry

        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(FamilyCollector(collect))

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Text and content type, in the best format that *accept* (the request's header) takes."""
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type
