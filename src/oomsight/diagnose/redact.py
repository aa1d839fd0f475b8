"""
An incident that can be shared: every name replaced by a pseudonym, every number and the verdict untouched.

The verdict was reached before the names go, so it cannot change. :data:`NAMES` says which fields hold raw names; in
all other text the names are marked (:mod:`oomsight.naming.marked`) and are found by their marks.
"""

from __future__ import annotations

from copy import copy
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from oomsight._enums import StrEnum
from oomsight._rows import Rows
from oomsight.naming.cgroup_path import Owner, describe
from oomsight.naming.marked import Kind

if TYPE_CHECKING:
    from oomsight.diagnose.model import Incident
    from oomsight.naming.redact import Pseudonyms

NAMES: Final[dict[tuple[str, str], Kind]] = {
    ("Span", "name"): Kind.FILE,
    ("When", "host"): Kind.HOST,
    ("When", "boot_id"): Kind.ID,
    ("Trigger", "comm"): Kind.COMM,
    ("Trigger", "cpuset"): Kind.CGROUP,
    ("Task", "comm"): Kind.COMM,
    ("Victim", "comm"): Kind.COMM,
    ("Victim", "task_memcg"): Kind.CGROUP,
    ("Selected", "comm"): Kind.COMM,
    ("Killed", "comm"): Kind.COMM,
    ("Killed", "cgroup"): Kind.CGROUP,
    ("MemcgStats", "path"): Kind.CGROUP,
    ("OomReport", "oom_memcg"): Kind.CGROUP,
    ("OomReport", "task_memcg"): Kind.CGROUP,
    ("OomReport", "group_memcg"): Kind.CGROUP,
    ("RankedTask", "comm"): Kind.COMM,
}
"""Fields that hold a name as it is, by class and field."""

DROPPED: Final = frozenset(
    {("Trigger", "hardware"), ("OomReport", "pinned_by"), ("Killed", "reason"), ("OomReport", "panic")}
)
"""Free text from the log that may hold names nobody marked: left out of a redacted incident."""

_SHORTEST: Final = 3  #: shorter names stand in every command and tell nobody
_CONSUMER_KINDS: Final = {"process": Kind.COMM, "name": Kind.COMM, "user": Kind.USER, "cgroup": Kind.CGROUP}


def redact(incident: Incident, names: Pseudonyms) -> Incident:
    """Return a copy of *incident* with all names replaced by *names*; *incident* itself is not changed."""
    known = _known_names(incident)
    return cast("Incident", _walk(incident, names, known))


def _known_names(incident: Incident) -> dict[str, Kind]:
    """Names that commands and snippets hold as they are, for they must be ready to run."""
    report = incident.report
    known: dict[str, Kind] = {}
    for path in (report.oom_memcg, report.task_memcg, report.group_memcg, *(k.cgroup for k in report.killed)):
        if path:
            known[path] = Kind.CGROUP
            known[path.lstrip("/")] = Kind.CGROUP
            # Commands name a unit or a container by one component of the path.
            known.update(dict.fromkeys((part for part in path.split("/") if part), Kind.CGROUP))
    for outer in (incident.owner, incident.oom_owner):
        owner = outer
        while owner is not None:
            for text, kind in ((owner.container_id, Kind.ID), (owner.pod_uid, Kind.ID), (owner.unit, Kind.CGROUP),
                               (owner.slice, Kind.CGROUP), (owner.machine, Kind.OWNER)):  # fmt: skip
                if text:
                    known.setdefault(text, kind)
            owner = owner.nested
    for role in (*report.victims, *report.killed, report.selected, report.trigger):
        if role is not None and role.comm:
            known.setdefault(role.comm, Kind.COMM)
    return known


def _walk(value: Any, names: Pseudonyms, known: dict[str, Kind]) -> Any:
    if isinstance(value, str):
        return value if isinstance(value, StrEnum) else names.redact_marked(value)
    if isinstance(value, Owner):
        return describe(names.name(value.path, Kind.CGROUP))
    if isinstance(value, list | Rows):
        return [_walk(item, names, known) for item in value]
    if isinstance(value, tuple):
        return tuple(_walk(item, names, known) for item in value)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    out: Any = copy(value)
    owner = type(out).__name__
    for f in fields(out):
        item = getattr(out, f.name)
        if (owner, f.name) in DROPPED:
            new: Any = [] if isinstance(item, list) else None
        elif isinstance(item, str) and (owner, f.name) in NAMES:
            new = names.name(item, NAMES[owner, f.name])
        elif owner == "Consumer" and f.name == "name" and out.kind in _CONSUMER_KINDS:
            new = names.name(item, _CONSUMER_KINDS[out.kind])
        elif owner == "OomReport" and f.name in {"skipped_exiting", "reaped_only", "sharing_killed"}:
            new = [(pid, names.name(comm, Kind.COMM)) for pid, comm in item]
        elif owner == "Advice" and f.name == "command" and item is not None:
            new = tuple(_replace(word, names, known) for word in item)
        elif owner == "Advice" and f.name == "snippet" and item is not None:
            new = _replace(item, names, known)
        else:
            new = _walk(item, names, known)
        if new is not item:
            setattr(out, f.name, new)
    return out


def _replace(text: str, names: Pseudonyms, known: dict[str, Kind]) -> str:
    """Replace the known names in a command or snippet wherever they stand: better one word too many than a leak."""
    for name in sorted(known, key=len, reverse=True):
        if len(name) >= _SHORTEST and name in text:
            text = text.replace(name, names.name(name, known[name]))
    return text
