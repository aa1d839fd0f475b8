"""
Names over time: who was called what, and when; answers for a moment, also after the subject is gone.

A pure state: it takes observations and never asks anybody. Bounded; written to and read from plain dictionaries, so
that an agent can keep it across restarts. Damaged dictionaries lose entries, never raise.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, get_args

from oomsight.attribute.model import FIELDS, UNLIMITED, Names

KeyKind = Literal["container", "pod", "session", "user", "machine", "cgroup"]

UNIQUE: Final[frozenset[KeyKind]] = frozenset({"container", "pod", "user"})
"""Kinds whose ids are never given to another subject (128 random bits and more), so any observation is an answer."""

GRACE_SECONDS: Final = 120.0
"""How much older than its first observation a reused id may be asked for: observers come after the start."""

MAX_RECORDS: Final = 20_000  #: ≈ 20 MB with labels; a busy node makes some hundred containers a day
SHORT_ID_CHARS: Final = 12  #: shortest container id that counts as one
FULL_ID_CHARS: Final = 64

_INTEGERS: Final = frozenset({"uid", "main_pid"})


class Key(NamedTuple):
    """What names belong to: a container id, pod uid (with dashes), logind session, user id, machine or cgroup path."""

    kind: KeyKind
    id: str


class Observation(NamedTuple):
    """What a source said once. Times are unix seconds."""

    key: Key
    names: Names
    at: float
    since: float | None = None  #: when the subject began; ``None`` = not known
    until: float | None = None  #: when it ended; ``None`` = it has not, or not known


@dataclass(slots=True)
class Record:
    """Names that held from ``first`` to ``last`` (unix seconds)."""

    names: Names
    first: float
    last: float


class Memory:
    """What was seen, by key, oldest first; at most *limit* records, those not seen for longest are forgotten first."""

    def __init__(self, limit: int = MAX_RECORDS) -> None:
        """Start empty."""
        self.limit = max(limit, 1)
        self._records: dict[Key, list[Record]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def see(self, observation: Observation) -> None:
        """
        Remember *observation*.

        Names that agree with the newest record of the key complete it and extend its time; names that contradict it
        (a limit that was changed, an id that was given away again) start a new record.
        """
        key, names, at, since, until = observation
        names = names.bounded()
        first = at if since is None else min(since, at)
        last = at if until is None else max(min(until, at), first)
        records = self._records.setdefault(key, [])
        newest = records[-1] if records else None
        if newest is None or names.contradicts(newest.names):
            if newest is not None:
                # The old names held until somebody saw the new ones at the latest.
                first = max(first, newest.last) if key.kind in UNIQUE or since is None else first
            records.append(Record(names, first, max(last, first)))
            self._count += 1
            self._shrink()
        else:
            newest.names = names.filled(newest.names)
            newest.first, newest.last = min(first, newest.first), max(last, newest.last)

    def ask(self, key: Key, at: float | None = None) -> Record | None:
        """
        Return the record of *key* that holds at *at* (``None``: the newest); ``None`` when nothing is known.

        Between and after observations the one before counts. Before the first, an id that is never reused has its
        first names, any other only within :data:`GRACE_SECONDS`.
        """
        records = self._records.get(key)
        if not records:
            return None
        if at is None:
            return records[-1]
        before = [record for record in records if record.first <= at]
        if before:
            return before[-1]
        return records[0] if key.kind in UNIQUE or records[0].first - at <= GRACE_SECONDS else None

    def full_id(self, kind: KeyKind, text: str) -> Key | None:
        """Return the key *text* names or shortens (12 digits or more, as logs print them); ``None`` = none or many."""
        key = Key(kind, text)
        if key in self._records:
            return key
        start = text.rstrip("….")
        if not SHORT_ID_CHARS <= len(start) < FULL_ID_CHARS:
            return None
        found = [known for known in self._records if known.kind == kind and known.id.startswith(start)]
        return found[0] if len(found) == 1 else None

    def __iter__(self) -> Iterator[tuple[Key, Record]]:
        """All keys with their records, oldest first within a key."""
        return ((key, record) for key, records in self._records.items() for record in records)

    def forget(self, before: float) -> int:
        """Drop what was last seen before *before*; return how many records."""
        gone = self._count
        for key in list(self._records):
            kept = [record for record in self._records[key] if record.last >= before]
            self._keep(key, kept)
        return gone - self._count

    def _keep(self, key: Key, kept: list[Record]) -> None:
        self._count -= len(self._records[key]) - len(kept)
        if kept:
            self._records[key] = kept
        else:
            del self._records[key]

    def _shrink(self) -> None:
        if self._count <= self.limit:
            return
        drop = self._count - self.limit + self.limit // 10  # a tenth at once: this walk is not for every observation
        oldest = heapq.nsmallest(drop, ((record.last, i, key) for i, (key, record) in enumerate(self)))
        losers: dict[Key, int] = {}
        for _, _, key in oldest:
            losers[key] = losers.get(key, 0) + 1
        for key, count in losers.items():
            by_age = sorted(self._records[key], key=lambda record: record.last)[count:]
            self._keep(key, sorted(by_age, key=lambda record: record.first))

    # -- plain dictionaries -------------------------------------------------------------------------------------------

    def dump(self) -> list[dict[str, Any]]:
        """Return everything as plain dictionaries, for JSON; what is not known is left out."""
        return [
            {"kind": key.kind, "id": key.id, "first": record.first, "last": record.last}
            | {name: value for name in FIELDS if (value := getattr(record.names, name)) is not None}
            for key, record in self
        ]

    @classmethod
    def load(cls, rows: Iterable[Any], limit: int = MAX_RECORDS) -> Memory:
        """Return the memory :meth:`dump` wrote; rows that are damaged are left out."""
        memory = cls(limit)
        for row in rows:
            record = _record(row) if isinstance(row, Mapping) else None
            if record is not None:
                memory._records.setdefault(Key(row["kind"], row["id"]), []).append(record)
                memory._count += 1
        for records in memory._records.values():
            records.sort(key=lambda record: record.first)
        memory._shrink()
        return memory


def _record(row: Mapping[str, Any]) -> Record | None:
    first, last = row.get("first"), row.get("last")
    sound = row.get("kind") in get_args(KeyKind) and isinstance(row.get("id"), str)
    if not sound or not isinstance(first, int | float) or not isinstance(last, int | float):
        return None
    values = {name: _value(name, row.get(name)) for name in FIELDS}
    return Record(Names(**values), float(first), float(last))


def _value(name: str, value: Any) -> Any:
    if name == "labels":
        pairs = value if isinstance(value, list | tuple) else ()
        sound = tuple((p[0], p[1]) for p in pairs if isinstance(p, list | tuple) and len(p) == 2)
        return tuple(p for p in sound if isinstance(p[0], str) and isinstance(p[1], str)) if value is not None else None
    if name in _INTEGERS or (name == "limit_bytes" and value != UNLIMITED):
        return value if isinstance(value, int) else None
    return value if isinstance(value, str) else None
