"""
The event document: what ``watch`` prints as NDJSON, what subscribers get and what the store keeps.

An event wraps an incident of ``explain``'s contract (schema ``oomsight.explain/1``) in what only the live agent knows:
a name that is unique per kill, how final it is, when and through which source it was seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from oomsight.naming.marked import unmark
from oomsight.sinks.document import incident_dict

if TYPE_CHECKING:
    from oomsight.live.counters import Finding
    from oomsight.live.events import LiveEvent

SCHEMA_ID: Final = "oomsight.event/1"


def event_dict(event: LiveEvent, seen: str, enrichment: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return *event* as plain values. *seen*: ISO 8601 moment it was told."""
    return {
        "schema": SCHEMA_ID,
        "type": "incident",
        "event_id": event.event_id,
        "stage": event.stage.value,
        "seen": seen,
        "source": event.source,
        "boot_id": event.boot_id,
        "time_us": event.time_us,
        "replayed": event.replayed,
        "kills": [{"kill_id": k.kill_id, "pid": k.pid, "comm": k.comm, "time_us": k.time_us} for k in event.kills],
        "enrichment": enrichment,
        "incident": incident_dict(event.incident),
    }


def note_dict(finding: Finding, seen: str, boot_id: str | None) -> dict[str, Any]:
    """Return a remark (a count that differs, a source that is missing) as plain values."""
    return {
        "schema": SCHEMA_ID,
        "type": "note",
        "code": finding.code,
        "seen": seen,
        "boot_id": boot_id,
        "text": unmark(finding.text),
        "numbers": dict(finding.numbers),
    }


def event_json(document: dict[str, Any]) -> str:
    """Return an event or a note as one line, without the newline. Pure ASCII: odd bytes are ``\\udcXX``."""
    import json

    return json.dumps(document, separators=(",", ":"))
