"""
What Prometheus knows of containers, as queries and as the parsed answers.

:data:`QUERIES` says which metric is which counter of :mod:`oomsight.rightsize.need`: cAdvisor's and
kube-state-metrics' on a cluster, the agent's own on a host. A reader asks, :func:`usages` puts the answers together.

Sources: cAdvisor docs/storage/prometheus.md; kube-state-metrics docs/metrics/workload/pod-metrics.md; the Prometheus
HTTP API (range vectors: ``query_range``).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, Final, NamedTuple

from oomsight.rightsize.model import Subject, Usage
from oomsight.rightsize.need import BASES
from oomsight.trend.series import Series

_CONTAINER: Final = '{{container!="",container!="POD"{m}}}'
_HOST: Final = '{{cgroup!=""{m}}}'
_BY: Final = "max by (namespace, pod, container) "


class Query(NamedTuple):
    """One question."""

    counter: str  #: ``need:BASIS`` (a row of :data:`oomsight.rightsize.need.BASES`), ``limit_bytes``, ``oom_kills``, …
    promql: str  #: ``{m}`` stands for the user's matchers, ``{step}`` and ``{sub}`` for seconds
    range: bool  #: over the whole time; else the latest value


def _highest(expression: str) -> str:
    """Peaks matter: the highest of every step, of a sum taken at equal moments."""
    return f"max_over_time(({expression})[{{step}}s:{{sub}}s])"


QUERIES: Final = (
    Query("need:lru", _BY + "(" + _highest(
        f"container_memory_usage_bytes{_CONTAINER} - container_memory_total_active_file_bytes{_CONTAINER}"
        f" - container_memory_total_inactive_file_bytes{_CONTAINER}") + ")", True),
    Query("need:working_set", f"{_BY}(max_over_time(container_memory_working_set_bytes{_CONTAINER}[{{step}}s]))", True),
    Query("need:rss", f"{_BY}(max_over_time(container_memory_rss{_CONTAINER}[{{step}}s]))", True),
    Query("need:headroom", "max by (cgroup, unit, container) (" + _highest(
        f"oomsight_cgroup_memory_limit_bytes{_HOST} - oomsight_cgroup_memory_headroom_bytes{_HOST}") + ")", True),
    Query("usage_bytes", f"{_BY}(max_over_time(container_memory_usage_bytes{_CONTAINER}[{{step}}s]))", True),
    Query("swap_bytes", f"{_BY}(max_over_time(container_memory_swap{_CONTAINER}[{{step}}s]))", True),
    Query("limit_bytes", _BY + '(kube_pod_container_resource_limits{{resource="memory",container!=""{m}}})', False),
    Query("limit_bytes", f"{_BY}(container_spec_memory_limit_bytes{_CONTAINER} > 0)", False),
    Query("limit_bytes", f"max by (cgroup, unit, container) (oomsight_cgroup_memory_limit_bytes{_HOST})", False),
    Query("request_bytes", _BY + '(kube_pod_container_resource_requests{{resource="memory",container!=""{m}}})', False),
    Query("oom_kills", f"{_BY}(increase(container_oom_events_total{_CONTAINER}[{{span}}s]))", False),
)  # fmt: skip
"""Every question; of several for one counter the first that is answered counts."""


class Row(NamedTuple):
    """One series of an answer."""

    labels: Mapping[str, str]
    times: tuple[float, ...]
    values: tuple[float, ...]


class AnswerError(ValueError):
    """The answer is none of Prometheus's, or it says why there is none; one line."""


def expression(query: Query, matchers: Sequence[str], step_seconds: int, span_seconds: int) -> str:
    """Return the PromQL of *query*; *matchers* such as ``namespace="shop"`` are added to its selectors."""
    more = "".join(f",{matcher}" for matcher in matchers)
    sub = max(step_seconds // 10, 15)
    return query.promql.format(m=more, step=step_seconds, sub=min(sub, step_seconds), span=span_seconds)


def parse_matrix(document: Any) -> list[Row]:
    """Return the series of a ``query_range`` or ``query`` answer. Raises :class:`AnswerError`."""
    try:
        if document["status"] != "success":
            raise AnswerError(str(document.get("error") or "the query failed"))
        kind, found = document["data"]["resultType"], document["data"]["result"]
        if kind not in {"matrix", "vector"}:
            raise AnswerError(f"the answer is a {kind}, not a matrix")
        rows = []
        for row in found:
            pairs = row["values"] if kind == "matrix" else [row["value"]]
            samples = [(float(time), float(value)) for time, value in pairs]
            samples = [(time, value) for time, value in samples if isfinite(value)]
            rows.append(Row(dict(row["metric"]), tuple(t for t, _ in samples), tuple(v for _, v in samples)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, AnswerError):
            raise
        raise AnswerError("that is not the answer of Prometheus's HTTP API") from None
    return rows


_REPLICA: Final = (
    re.compile(r"^(?P<workload>.+)-[0-9a-f]{6,10}-[a-z0-9]{5}$"),  # Deployment: ReplicaSet hash and pod suffix
    re.compile(r"^(?P<workload>.+)-\d{7,}-[a-z0-9]{5}$"),  # CronJob: minute and pod suffix
    re.compile(r"^(?P<workload>.+)-\d+$"),  # StatefulSet
    re.compile(r"^(?P<workload>.+)-[a-z0-9]{5}$"),  # DaemonSet, Job
)


def workload_of(pod: str) -> str:
    """Return the name of the workload a pod's name gives away; the pod's own where it gives away none."""
    return next((found["workload"] for pattern in _REPLICA if (found := pattern.match(pod))), pod)


def usages(answers: Iterable[tuple[Query, Sequence[Row]]], source: str) -> list[Usage]:
    """Return one usage per container of a workload (all its replicas) or per cgroup, biggest first."""
    counters: dict[tuple[str, str, str], dict[str, Row]] = defaultdict(dict)  # by namespace, pod or cgroup, container
    for query, rows in answers:
        for row in rows:
            place = row.labels.get("pod") or row.labels.get("cgroup") or ""
            key = (row.labels.get("namespace", ""), place, row.labels.get("container", ""))
            if place and row.times:
                counters[key].setdefault(query.counter, row)
    groups: dict[tuple[str, str, str], list[dict[str, Row]]] = defaultdict(list)
    for (namespace, place, container), found in counters.items():
        groups[namespace, place if place.startswith("/") else workload_of(place), container].append(found)
    found_usages = [_usage(key, replicas, source) for key, replicas in groups.items()]
    return sorted(
        (usage for usage in found_usages if usage.needs), key=lambda usage: -max(max(s.values) for s in usage.needs)
    )


def _usage(key: tuple[str, str, str], replicas: Sequence[Mapping[str, Row]], source: str) -> Usage:
    namespace, workload, container = key
    basis = next((b for b in BASES if any(f"need:{b.name}" in counters for counters in replicas)), None)
    series = []
    for counters in replicas:
        row = next((counters[name] for b in BASES if (name := f"need:{b.name}") in counters), None)
        if row is None:
            continue
        swapped = counters.get("swap_bytes")
        swap = dict(zip(swapped.times, swapped.values, strict=True)) if swapped is not None else {}
        values = tuple(max(value, 0.0) + swap.get(time, 0.0) for time, value in zip(row.times, row.values, strict=True))
        series.append(Series(row.times, values))

    def highest(name: str) -> int | None:
        return int(max((max(row.values) for c in replicas if (row := c.get(name)) is not None), default=0)) or None

    host = workload.startswith("/")
    subject = (
        Subject(kind="cgroup", name=workload, cgroup=workload)
        if host
        else Subject(kind="container", name=f"{namespace}/{workload}:{container}", namespace=namespace or None,
                     workload=workload, container=container or None)
    )  # fmt: skip
    return Usage(
        subject=subject, source=source, needs=tuple(series), basis=basis,
        limit_bytes=highest("limit_bytes") or "unlimited", request_bytes=highest("request_bytes"),
        cache_peak_bytes=highest("usage_bytes"), swap_peak_bytes=highest("swap_bytes"),
        kill_count=round(sum(row.values[-1] for c in replicas if (row := c.get("oom_kills")) is not None)),
    )  # fmt: skip
