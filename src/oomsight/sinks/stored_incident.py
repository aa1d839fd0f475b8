"""
A stored event read again: explained anew from its lines, with whose it was, and with pseudonyms for names.

Stored documents are plain: their sentences carry no marks. So what can be explained anew from the stored lines is, and
then every name in it is known. Where there were no lines (a counter, the tracepoint) the names are taken from the
fields that hold them, and replaced wherever they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from oomsight.attribute.model import UNKNOWN
from oomsight.diagnose.explain import explain_report
from oomsight.diagnose.redact import redact
from oomsight.naming.marked import Kind
from oomsight.report import parse_text
from oomsight.sinks.document import incident_dict

if TYPE_CHECKING:
    from oomsight.diagnose.model import Incident
    from oomsight.naming.redact import Pseudonyms
    from oomsight.sinks.store import Row

_NAME_FIELDS: Final = {
    "comm": Kind.COMM, "task_memcg": Kind.CGROUP, "oom_memcg": Kind.CGROUP, "group_memcg": Kind.CGROUP,
    "cgroup": Kind.CGROUP, "path": Kind.CGROUP, "host": Kind.HOST, "boot_id": Kind.ID, "unit": Kind.CGROUP,
    "slice": Kind.CGROUP, "machine": Kind.OWNER, "container_id": Kind.ID, "pod_uid": Kind.ID, "session": Kind.SERIAL,
}  # fmt: skip
"""Keys of the document whose text is a name."""

_ATTRIBUTED: Final = {
    "path": Kind.CGROUP, "name": Kind.OWNER, "container_id": Kind.ID, "container": Kind.OWNER, "image": Kind.OWNER,
    "pod": Kind.OWNER, "namespace": Kind.OWNER, "pod_uid": Kind.ID, "unit": Kind.CGROUP, "user": Kind.USER,
    "machine": Kind.OWNER, "node": Kind.HOST, "session": Kind.SERIAL,
}  # fmt: skip
"""What is replaced in an attribution; labels and sentences are left out, because nobody marked what they name."""


Remember = Callable[["Incident"], object]
"""Adds to an incident what is known from elsewhere: the recorder's history."""


def explained(document: Mapping[str, Any], raw: bytes, remember: Remember | None = None) -> Incident | None:
    """Return the incident of a stored event, told anew from its lines; ``None`` = there are none."""
    incident = _from_lines(document, raw)
    if incident is not None and remember is not None:
        remember(incident)
    return incident


def _from_lines(document: Mapping[str, Any], raw: bytes) -> Incident | None:
    stored = document["incident"]
    for report in parse_text(raw, stored["source"]["name"]):
        incident = explain_report(report)
        if incident.id == stored["id"]:
            report.when.time = stored["time"]
            if report.task_memcg is None and stored["task_memcg"] is not None:
                report.task_memcg = stored["task_memcg"]
                return explain_report(report)
            return incident
    return None


def hidden_row(row: Row, shown: Mapping[str, Any], names: Pseudonyms) -> Row:
    """Return *row* with pseudonyms; *shown* is its event from :func:`hidden`."""
    return replace(
        row, name=_name(row.name, Kind.COMM, names), cgroup=_name(row.cgroup, Kind.CGROUP, names),
        place=names.redact_marked(row.place) if row.place is not None else None,
        headline=shown["incident"]["headline"], boot_id=_name(row.boot_id, Kind.ID, names),
    )  # fmt: skip


def remembered(document: dict[str, Any], raw: bytes, remember: Remember) -> dict[str, Any]:
    """Return the stored event *document* with the answers that *remember* completes."""
    incident = explained(document, raw, remember)
    if incident is not None:
        fresh = incident_dict(incident)
        document["incident"] |= {key: fresh[key] for key in ("answers", "causes")}
    return document


def hidden(
    document: Mapping[str, Any], raw: bytes, names: Pseudonyms, remember: Remember | None = None
) -> dict[str, Any]:
    """Return the stored event *document* with pseudonyms for all names."""
    incident = explained(document, raw, remember)
    known = dict(known_names(document))
    shown: dict[str, Any] = _hidden(dict(document), known, names)
    if incident is not None:
        shown["incident"] = incident_dict(redact(incident, names))
    shown["enrichment"] = _hidden_enrichment(document.get("enrichment"), names)
    return shown


def hidden_raw(document: Mapping[str, Any], raw: bytes, names: Pseudonyms) -> bytes:
    """Return the stored log lines with pseudonyms for the names the event knows."""
    text = raw.decode("utf-8", "surrogateescape")
    return _replaced(text, dict(known_names(document)), names).encode("utf-8", "surrogateescape")


def known_names(document: Any, key: str = "") -> Iterator[tuple[str, Kind]]:
    """Yield the names that stand in fields of their own, paths with all they lie below."""
    if isinstance(document, Mapping):
        for name, value in document.items():
            yield from known_names(value, name)
    elif isinstance(document, list):
        for value in document:
            yield from known_names(value, key)
    elif isinstance(document, str) and document and key in _NAME_FIELDS:
        kind = _NAME_FIELDS[key]
        yield document, kind
        if kind is Kind.CGROUP:
            parts = document.split("/")
            for depth in range(2, len(parts)):
                yield "/".join(parts[:depth]), kind
            for part in parts:
                if part:
                    yield part, kind


def _hidden(value: Any, known: dict[str, Kind], names: Pseudonyms, key: str = "") -> Any:
    if isinstance(value, Mapping):
        return {name: _hidden(inner, known, names, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_hidden(inner, known, names, key) for inner in value]
    if not isinstance(value, str):
        return value
    if key in _NAME_FIELDS:
        return names.name(value, _NAME_FIELDS[key])
    return _replaced(value, known, names)


def _hidden_enrichment(enrichment: Mapping[str, Any] | None, names: Pseudonyms) -> dict[str, Any] | None:
    if enrichment is None:
        return None
    shown = dict(enrichment)
    found = enrichment.get("attribution")
    if found is not None:
        new = {
            key: _name(value, _ATTRIBUTED[key], names) if key in _ATTRIBUTED else value for key, value in found.items()
        }
        if found["name"] == UNKNOWN:
            new["name"] = UNKNOWN
        shown["attribution"] = {**new, "labels": None, "words": new["name"], "host": None}
    return shown


def _name(text: str | None, kind: Kind, names: Pseudonyms) -> str | None:
    return None if text is None else names.name(text, kind)


def _replaced(text: str, known: dict[str, Kind], names: Pseudonyms) -> str:
    return names.redact_text(text, known) if text else text
