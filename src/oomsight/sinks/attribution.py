"""Names of a cgroup as JSON and as short facts: for incidents, notifications and ``why``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from oomsight.attribute.model import UNKNOWN, UNLIMITED
from oomsight.naming.marked import Kind, mark
from oomsight.sinks.blocks import human_kib
from oomsight.sinks.schema import INT, NUMBER, SENTENCE, TEXT, Record, Type, field, mapping, optional

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from oomsight.attribute.model import Attribution, LimitBytes

LIMIT_BYTES: Final = Type({"anyOf": [{"type": "integer"}, {"const": UNLIMITED}, {"type": "null"}]})

MAX_LABELS_SHOWN: Final = 8


def _labels(attribution: Attribution) -> dict[str, str] | None:
    return dict(attribution.labels) if attribution.labels is not None else None


def _host_words(attribution: Attribution) -> str | None:
    return attribution.host.words if attribution.host is not None else None


ATTRIBUTION: Final = Record(
    "attribution",
    "Whose a cgroup was at the time of the event; null = not known.",
    field("path", optional(TEXT), "Cgroup path; null when the event names none."),
    field("name", TEXT, 'Shortest name: namespace/pod:container, container, unit, machine, user; else "unknown".'),
    field("level", TEXT, "What the path is: container, pod, unit, session, …"),
    field("orchestrator", optional(TEXT), "kubernetes, ecs, nomad, slurm, …"),
    field("runtime", optional(TEXT), "docker, containerd, cri-o, podman, lxc, …"),
    field("container_id", optional(TEXT), "Container id."),
    field("container", optional(TEXT), "Name of the container."),
    field("image", optional(TEXT), "Image it was started from."),
    field("labels", optional(mapping(TEXT)), "Labels of the container.", _labels),
    field("pod", optional(TEXT), "Name of the pod."),
    field("namespace", optional(TEXT), "Kubernetes namespace."),
    field("pod_uid", optional(TEXT), "Pod uid."),
    field("qos", optional(TEXT), "guaranteed, burstable or besteffort."),
    field("unit", optional(TEXT), "systemd unit."),
    field("uid", optional(INT), "User id."),
    field("user", optional(TEXT), "Login name."),
    field("session", optional(TEXT), "Login session."),
    field("machine", optional(TEXT), "System container or virtual machine."),
    field("limit_bytes", LIMIT_BYTES, "Memory limit of it."),
    field("node", optional(TEXT), "Host."),
    field("last_seen", optional(NUMBER), "Unix seconds these names were last seen; null = from the path alone."),
    field("words", SENTENCE, "In words."),
    field("host", optional(SENTENCE), "Owner around it, where one system runs inside another.", _host_words),
)


def attribution_dict(attribution: Attribution) -> dict[str, Any]:
    """Return *attribution* as a plain dictionary, every key present."""
    return ATTRIBUTION.write(attribution)


def limit_words(limit: LimitBytes) -> str:
    """Return a limit in words; empty when it is not known."""
    if limit is None:
        return ""
    return "unlimited" if limit == UNLIMITED else human_kib(int(limit) >> 10)


def attribution_facts(attribution: Attribution) -> Iterator[tuple[str, str]]:
    """Yield (label, marked text) of what is known, for a list of facts."""
    yield "Ran in", attribution.words
    if limit := limit_words(attribution.limit_bytes):
        yield "Its memory limit", limit
    if attribution.labels:
        shown = [f"{mark(f'{key}={value}', Kind.OWNER)}" for key, value in attribution.labels[:MAX_LABELS_SHOWN]]
        more = len(attribution.labels) - len(shown)
        yield "Labels", ", ".join(shown) + (f" and {more:,} more" if more else "")


def name_of(enrichment: Mapping[str, Any] | None) -> str | None:
    """Return the marked name people use for the victim's place, as the runtimes told it; ``None`` = not known."""
    name = _told_name((enrichment or {}).get("attribution") or {})
    return mark(name, Kind.OWNER) if name is not None else None


def _told_name(found: Mapping[str, Any]) -> str | None:
    """A name that somebody told, and not a number that the path has in better words."""
    name = found.get("name")
    return None if not name or name in {UNKNOWN, f"uid {found.get('uid')}"} else str(name)


def facts_of(enrichment: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    """Yield (label, marked text) of whose the victim was, for a list of facts."""
    found = (enrichment or {}).get("attribution") or {}
    if found.get("name") in {None, UNKNOWN}:
        return
    if (name := _told_name(found)) is not None:
        yield "Ran in", mark(name, Kind.OWNER)
    for label, key in (("Image", "image"), ("Host", "node")):
        if found.get(key):
            yield label, mark(found[key], Kind.OWNER)
    if limit := limit_words(found.get("limit_bytes")):
        yield "Its memory limit", limit
    survived = (enrichment or {}).get("main_process_survived")
    if survived is not None and found.get("level") == "container":
        yield "Main process", "another one: it lived on" if survived else "the victim itself"
