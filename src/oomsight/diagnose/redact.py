"""
An incident that can be shared: every name replaced by a pseudonym, every number and the verdict untouched.

The verdict was reached before the names go, so it cannot change. :data:`NAMES` says which fields hold raw names; in
all other text the names are marked (:mod:`oomsight.naming.marked`) and are found by their marks.
"""

from __future__ import annotations

from copy import copy
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from oomsight.naming.cgroup_path import Owner, describe
from oomsight.naming.marked import Kind

if TYPE_CHECKING:
    from oomsight.naming.redact import Pseudonyms

T = TypeVar("T")

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

DROPPED: Final = frozenset({("Trigger", "hardware"), ("OomReport", "pinned_by"), ("Killed", "reason"), ("OomReport", "panic")})
"""Free text from the log that may hold names nobody marked: left out of a redacted incident (a panic keeps its kind)."""

_CONSUMER_KINDS: Final = {"process": Kind.COMM, "name": Kind.COMM, "user": Kind.USER, "cgroup": Kind.CGROUP}


def redact(value: T, names: Pseudonyms) -> T:
    """Return a copy of *value* (an incident or any part of one) with all names replaced by *names*."""
    return cast("T", _walk(value, names))


def _walk(value: Any, names: Pseudonyms) -> Any:
    if isinstance(value, str):
        return value if isinstance(value, Enum) else names.redact_marked(value)
    if isinstance(value, Owner):
        return describe(names.name(value.path, Kind.CGROUP))
    if isinstance(value, list):
        return [_walk(item, names) for item in value]
    if isinstance(value, tuple):
        return tuple(_walk(item, names) for item in value)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    out = copy(value)
    owner = type(value).__name__
    for f in fields(value):
        item = getattr(value, f.name)
        if (owner, f.name) in DROPPED:
            new: Any = None if not isinstance(item, list) else []
        elif isinstance(item, str) and (owner, f.name) in NAMES:
            new = names.name(item, NAMES[owner, f.name])
        elif owner == "Consumer" and f.name == "name" and value.kind in _CONSUMER_KINDS:
            new = names.name(item, _CONSUMER_KINDS[value.kind])
        elif isinstance(item, list) and owner == "OomReport" and f.name in {"skipped_exiting", "sharing_killed"}:
            new = [(pid, names.name(comm, Kind.COMM)) for pid, comm in item]
        elif owner == "Advice" and f.name in {"command", "snippet"}:
            new = _advice(item, names)
        else:
            new = _walk(item, names)
        if new is not item:
            setattr(out, f.name, new)
    return out


def _advice(item: Any, names: Pseudonyms) -> Any:
    return _walk(item, names)
