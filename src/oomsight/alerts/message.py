"""What a channel gets: one :class:`Message`, its title and lines marked text, and its form as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final

from oomsight.alarms.event import exact_span
from oomsight.alerts.facts import MEMORY, NOTE, Facts

SCHEMA_ID: Final = "oomsight.alert/1"
MAX_EVENT_ROWS: Final = 20  #: of any list inside ``event``: the store has the whole

_HEAVY: Final = frozenset({"tasks", "zones", "memory_other", "selection", "consumers", "answers", "page_size_from"})
"""Parts of an incident that no message needs; ``incidents show`` prints them."""


class Status(StrEnum):
    """What a message says of its group."""

    FIRING = "firing"  #: the first event
    REPEAT = "repeat"  #: more of the same, since the last message
    RESOLVED = "resolved"  #: nothing more for a while
    DIGEST = "digest"  #: what the rate limit held back, of all groups of the channel


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one channel. Times are unix seconds."""

    id: str  #: the same for the same message after a restart: receivers may use it to drop a copy
    channel: str
    status: Status
    rule: str
    group: str  #: key of the group
    severity: str
    title: str  #: marked
    lines: tuple[str, ...]  #: marked
    labels: Mapping[str, str]  #: the same for all messages of a group; raw names
    kills: int  #: of the group so far
    started: float  #: first event of the group
    at: float  #: when it was decided
    hold_seconds: float  #: how long the group counts as going on without another message
    event_id: str | None  #: the event that caused it; ``None`` = none, or several
    subject: Mapping[str, Any]  #: pod, pod_uid, namespace, container, unit, cgroup, node, pid, …; ``None`` = not known
    event: Mapping[str, Any] | None  #: the event document without its bulk

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values; title and lines stay marked."""
        return {
            "schema": SCHEMA_ID, "id": self.id, "channel": self.channel, "status": self.status.value,
            "rule": self.rule, "group": self.group, "severity": self.severity, "title": self.title,
            "lines": list(self.lines), "labels": dict(self.labels), "kills": self.kills, "started": self.started,
            "at": self.at, "hold_seconds": self.hold_seconds, "event_id": self.event_id,
            "subject": dict(self.subject), "event": self.event,
        }  # fmt: skip


def message_id(*parts: object) -> str:
    """Return a short name for what *parts* say."""
    return blake2b("\x1f".join(map(str, parts)).encode("utf-8", "backslashreplace"), digest_size=10).hexdigest()


def labels_of(facts: Facts) -> dict[str, str]:
    """Return labels of few values: what stays the same for all events of a group."""
    name = "OOMDrill" if facts.drill else "OOMKill" if facts.kills else "OOMEvent"
    if facts.kind == MEMORY:
        name = "MemoryAlert"
    place = {"namespace": facts.namespace, "pod": facts.pod, "container": facts.container}
    if not any(place.values()):
        place |= {"machine": facts.machine, "unit": facts.unit}
    if not any(place.values()) and facts.kind != "global" and facts.cgroup is not None:
        place["cgroup"] = facts.cgroup
    found = {
        "alertname": name, "severity": facts.severity.word, "kind": facts.kind, "cause": facts.cause,
        "node": facts.node, "process": facts.comm, **place,
    }  # fmt: skip
    return {key: value for key, value in found.items() if value}


def subject_of(facts: Facts) -> dict[str, Any]:
    """Return who it happened to, as plain values."""
    keys = ("node", "namespace", "pod", "pod_uid", "container", "image", "unit", "machine", "cgroup", "comm", "pid",
            "cause", "kind", "incident_id", "time")  # fmt: skip
    return {key: getattr(facts, key) for key in keys}


def title_of(facts: Facts) -> str:
    """Return the title of the first message of a group (marked)."""
    where = f"{facts.where}: " if facts.where and facts.where not in facts.headline else ""
    return f"{'Drill, not an emergency: ' if facts.drill else ''}{where}{facts.headline}"


def repeat_title(title: str, kills: int, events: int, total: int, started: float) -> str:
    """Return the title of a message about *kills* more kills (or *events*, where nobody was killed) of a group."""
    what = f"{kills:,} more kill{'s' * (kills != 1)}" if kills else f"{events:,} more time{'s' * (events != 1)}"
    return f"{what}, {total:,} since {clock_words(started)}: {title}"


def resolved_title(title: str, total: int, quiet_seconds: float) -> str:
    """Return the title of the message that ends a group."""
    count = f" after {total:,} kill{'s' * (total != 1)}" if total else ""
    return f"Over{count}, nothing more for {exact_span(quiet_seconds)}: {title}"


def digest_title(alerts: int, kills: int, groups: int) -> str:
    """Return the title of a digest."""
    of = f" of {groups:,} different stories" if groups > 1 else ""
    dead = f"{kills:,} kill{'s' * (kills != 1)}"
    return f"{alerts:,} alerts{of} ({dead}) were held back by the rate limit of this channel"


def clock_words(seconds: float) -> str:
    """Return a moment as ``2026-11-23 14:30 UTC``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def slim(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return *event* without its bulk: a message must not become a megabyte because 10,000 tasks ran."""
    if event.get("type") in {NOTE, MEMORY}:
        return dict(event)
    incident = {key: _short(value) for key, value in event["incident"].items() if key not in _HEAVY}
    if incident.get("memcg"):
        incident["memcg"] = {k: v for k, v in incident["memcg"].items() if k not in {"stats", "cgroups"}}
    return {**event, "kills": _short(event["kills"]), "incident": incident}


def _short(value: Any) -> Any:
    return list(value[:MAX_EVENT_ROWS]) if isinstance(value, Sequence) and not isinstance(value, str) else value
