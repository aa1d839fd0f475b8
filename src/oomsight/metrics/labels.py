"""Event document to labels: what was killed, why, and whose it was."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

UNKNOWN: Final = "unknown"
ID_CHARS: Final = 12  #: of a container id, as ``docker ps`` shows it


class Place(NamedTuple):
    """Whose a cgroup is, as labels. Empty = there is no such thing there, ``unknown`` = there is and we do not know."""

    unit: str = ""
    container: str = ""
    namespace: str = ""
    pod: str = ""


NOWHERE: Final = Place(UNKNOWN, UNKNOWN)
"""Where no cgroup is known at all (kernels before 5.0, an excerpt)."""


def place_of(names: Mapping[str, Any] | None) -> Place:
    """
    The place in *names*: an attribution (:func:`oomsight.sinks.attribution.attribution_dict`), or the owner a path
    tells by itself. Either has the keys used here, as far as it knows.
    """
    if names is None:
        return NOWHERE
    get = names.get
    identity = get("container_id")
    container = get("container") or (str(identity)[:ID_CHARS] if identity else None) or get("machine")
    in_pod = bool(get("pod_uid") or get("pod"))
    if container is None and get("level") == "container":
        container = UNKNOWN
    return Place(
        unit="" if in_pod or identity else str(get("unit") or ""),  # the scope of a container names its id again
        container=str(container or ""),
        namespace=str(get("namespace") or (UNKNOWN if in_pod else "")),
        pod=str(get("pod") or (UNKNOWN if in_pod else "")),
    )


def event_place(document: Mapping[str, Any]) -> Place:
    """The place of the first victim of an event."""
    enrichment = document.get("enrichment") or {}
    names = enrichment.get("attribution", enrichment)
    if isinstance(names, Mapping) and "container" in names:
        return place_of(names)
    incident = document["incident"]
    victim = next(iter(incident["victims"]), None) or {}
    return place_of(victim.get("owner") or incident.get("oom_owner"))


def cause_of(incident: Mapping[str, Any]) -> str:
    """Code of the first cause."""
    return str(incident["causes"][0]["code"]) if incident["causes"] else UNKNOWN


def kill_labels(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Labels of the kill metrics, in the order of the table."""
    incident = document["incident"]
    return (cause_of(incident), incident["constraint"] or UNKNOWN, incident["kind"], *event_place(document))


def event_seconds(document: Mapping[str, Any], otherwise: float) -> float:
    """Seconds since 1970 of the event; *otherwise* where its text has no time."""
    try:
        return datetime.fromisoformat(document["incident"]["time"] or "").timestamp()
    except (ValueError, OverflowError, OSError):
        return otherwise
