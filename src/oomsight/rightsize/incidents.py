"""What stored incidents (the documents of the agent's store) say about the need of whoever died or held the memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from oomsight.rightsize.model import Kill, Subject, Usage

Event = Mapping[str, Any]


def usages(events: Iterable[Event], seconds_of: Callable[[str], float | None]) -> list[Usage]:
    """
    Return one usage per subject named in *events* (stored event documents), most kills first.

    *seconds_of* turns an ISO 8601 time into unix seconds; ``None`` = it is none.
    """
    kills: dict[Subject, list[Kill]] = defaultdict(list)
    for event in events:
        for subject, kill in _kills(event, seconds_of):
            kills[subject].append(kill)
    found = []
    for subject, own in kills.items():
        own.sort(key=lambda kill: kill.time or 0.0)
        limit = next((kill.limit_bytes for kill in reversed(own) if kill.limit_bytes is not None), None)
        found.append(Usage(subject=subject, source="stored incidents", limit_bytes=limit, kills=tuple(own),
                           kill_count=len(own)))  # fmt: skip
    return sorted(found, key=lambda usage: (-len(usage.kills), usage.subject.full_name))


def _kills(event: Event, seconds_of: Callable[[str], float | None]) -> Iterable[tuple[Subject, Kill]]:
    incident = event.get("incident")
    if not isinstance(incident, Mapping) or not incident.get("victims"):
        return
    names = (event.get("enrichment") or {}).get("attribution") or {}
    cause = incident["causes"][0]["code"] if incident["causes"] else None
    time = seconds_of(incident["time"]) if incident.get("time") else None
    victim = incident["victims"][0]
    memcg = incident.get("memcg") or {}

    def kill(role: Any) -> Kill:
        usage, swap, limit = memcg.get("usage_kib"), memcg.get("swap_usage_kib"), memcg.get("limit_kib")
        demand = (usage + (swap or 0)) << 10 if isinstance(usage, int) and role == "limit" else None
        return Kill(
            incident_id=incident["id"], time=time, demand_bytes=demand, role=role, cause=cause,
            limit_bytes=limit << 10 if isinstance(limit, int) and role == "limit" else None,
        )  # fmt: skip

    if incident.get("oom_memcg") is not None:
        owner = incident.get("oom_owner") or {}
        yield _subject(names, owner, incident["oom_memcg"], victim["comm"]), kill("limit")
        return
    culprit = incident.get("culprit")
    if culprit is None:
        return
    if culprit["is_victim"]:
        yield _subject(names, victim.get("owner") or {}, incident.get("task_memcg"), victim["comm"]), kill("culprit")
    elif culprit["kind"] in {"process", "name"}:
        yield Subject(kind="name", name=culprit["name"]), kill("culprit")
        yield _subject(names, victim.get("owner") or {}, incident.get("task_memcg"), victim["comm"]), kill("victim")


def _subject(names: Mapping[str, Any], owner: Mapping[str, Any], path: str | None, comm: str | None) -> Subject:
    if names.get("pod") and names.get("container"):
        from oomsight.rightsize.prometheus import workload_of

        workload = workload_of(names["pod"])
        name = f"{names.get('namespace') or ''}/{workload}:{names['container']}"
        return Subject(kind="container", name=name, namespace=names.get("namespace"), workload=workload,
                       container=names["container"])  # fmt: skip
    if names.get("container"):
        return Subject(kind="container", name=names["container"], container=names["container"])
    unit = names.get("unit") or owner.get("unit")
    if unit:
        return Subject(kind="unit", name=unit)
    if path not in {None, "/"}:
        return Subject(kind="cgroup", name=str(path), cgroup=path)
    return Subject(kind="name", name=comm or "?")
