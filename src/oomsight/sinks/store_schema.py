"""
Tables of the incident store and how an older store becomes a newer one.

``PRAGMA user_version`` is the number of steps of :data:`MIGRATIONS` a file has seen. A step is never changed once it is
released; a file that has seen more steps than we know was made by a newer oomsight and is only read.
"""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x6F6F6D73  #: "ooms", so that file(1) and a wrong path are recognised

MIGRATIONS: Final = (
    """
    CREATE TABLE incidents (
        event_id TEXT PRIMARY KEY,   -- live.events.kill_id of its first kill
        id TEXT NOT NULL,            -- the id explain prints
        boot_id TEXT, time_us INTEGER,  -- printk clock
        wall_us INTEGER NOT NULL,    -- since 1970, for order and age: of the event, else of its reading
        time TEXT,                   -- as in the document
        kind TEXT NOT NULL, cause TEXT, name TEXT, pid INTEGER, cgroup TEXT, place TEXT,  -- of the first victim
        fingerprint TEXT NOT NULL,   -- the same story again
        headline TEXT NOT NULL, kills INTEGER NOT NULL, weight INTEGER NOT NULL, stage TEXT NOT NULL,
        source TEXT NOT NULL, stored_us INTEGER NOT NULL,
        document BLOB NOT NULL,      -- zlib of the JSON of the contract
        raw BLOB NOT NULL,           -- zlib of the log lines
        enrichment BLOB              -- zlib of JSON
    ) WITHOUT ROWID;
    CREATE INDEX incidents_wall ON incidents (wall_us);
    CREATE INDEX incidents_id ON incidents (id);
    CREATE INDEX incidents_fingerprint ON incidents (fingerprint, wall_us);
    CREATE TABLE kills (
        kill_id TEXT PRIMARY KEY, event_id TEXT NOT NULL, boot_id TEXT, time_us INTEGER, pid INTEGER, comm TEXT
    ) WITHOUT ROWID;
    CREATE INDEX kills_event ON kills (event_id);
    CREATE INDEX kills_boot ON kills (boot_id, time_us);
    CREATE TABLE positions (source TEXT PRIMARY KEY, boot_id TEXT, position TEXT, seen TEXT) WITHOUT ROWID;
    CREATE TABLE boots (boot_id TEXT PRIMARY KEY, unseen INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE notes (id INTEGER PRIMARY KEY, wall_us INTEGER NOT NULL, boot_id TEXT, code TEXT NOT NULL,
        text TEXT NOT NULL, numbers TEXT NOT NULL);
    """,
)

COLUMNS: Final = (
    "event_id", "id", "boot_id", "time_us", "wall_us", "time", "kind", "cause", "name", "pid", "cgroup", "place",
    "fingerprint", "headline", "kills", "weight", "stage", "source", "stored_us", "document", "raw", "enrichment",
)  # fmt: skip
_KEPT = frozenset({"event_id", "id", "wall_us", "time"})
"""Of the first reading: the same event keeps its name and its place when it is read again under another wall clock."""

UPSERT: Final = (
    f"INSERT INTO incidents ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
    " ON CONFLICT (event_id) DO UPDATE SET "
    + ", ".join(
        "enrichment = coalesce(excluded.enrichment, enrichment)" if c == "enrichment" else f"{c} = excluded.{c}"
        for c in COLUMNS
        if c not in _KEPT
    )
    # A provisional event gives way to the complete one; else more is better than less.
    + " WHERE excluded.stage <> 'provisional'"
    " AND (incidents.stage = 'provisional' OR excluded.weight > incidents.weight)"
)
