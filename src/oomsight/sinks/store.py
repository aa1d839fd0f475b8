"""
The incident store: one SQLite file, one connection that writes.

SQLite before 3.51.3 may corrupt a file in WAL mode that two connections write or checkpoint: so the agent is the only
writer, held by a lock file, and everybody else opens read only. A damaged file is set aside and a new one begun; a full
disk or a read-only file system lets :meth:`Store.write` raise :class:`StoreError` and nothing else.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from oomsight._lazy import lazy
from oomsight._state import FILE_NAME, default_path
from oomsight.sinks.attribution import name_of
from oomsight.sinks.even_clock import EvenClock, boot_seconds
from oomsight.sinks.store_schema import APPLICATION_ID, COLUMNS, MIGRATIONS, UPSERT

if TYPE_CHECKING:
    from oomsight.live.counters import Finding
    from oomsight.live.events import Known, LiveEvent

__all__ = ["FILE_NAME", "Batch", "Reader", "Row", "Store", "StoreBusy", "StoreError", "default_path", "fingerprint",
           "incident_row"]  # fmt: skip

MAX_NOTES: Final = 10_000
CHECK_BYTES: Final = 64 << 20  #: a larger file is not read through at every start
SETTLED_SECONDS: Final = 60.0  #: after that a provisional event will not become complete any more
PRUNE_EVERY: Final = 256  #: batches between two looks at age and size
_CHANGING: Final = lazy(r"[0-9a-f]{8}[-_](?:[0-9a-f]{4}[-_]){3}[0-9a-f]{12}|[0-9a-f]{12,64}|\d{4,}")


class StoreError(Exception):
    """The store cannot be written or opened now; one line."""


class StoreBusy(StoreError):  # noqa: N818  # the same thing with a cause of its own
    """Another process writes this store."""


@dataclass(slots=True)
class Batch:
    """What is written at once: after it the log need not be read again from before ``positions``."""

    events: list[tuple[LiveEvent, dict[str, Any], int]] = field(default_factory=list)
    """(event, its document, wall clock in microseconds)"""
    notes: list[tuple[Finding, int, str | None]] = field(default_factory=list)  #: (what, wall clock, boot)
    positions: dict[str, tuple[str | None, str, str]] = field(default_factory=dict)
    """source -> (boot, where to read on, how far it was read)"""
    unseen: dict[str, int] = field(default_factory=dict)  #: boot -> kills counted before we looked

    def __len__(self) -> int:
        return len(self.events) + len(self.notes)


@dataclass(frozen=True, slots=True)
class Row:
    """One stored incident, light: what lists are made of."""

    event_id: str
    id: str
    boot_id: str | None
    wall_us: int
    time: str | None
    kind: str
    cause: str | None
    name: str | None
    pid: int | None
    cgroup: str | None
    place: str | None
    fingerprint: str
    headline: str
    kills: int
    stage: str


_ROW: Final = ", ".join(Row.__dataclass_fields__)


class Store:
    """The one writer. ``remarks`` is what had to be said while opening (a damaged file set aside)."""

    def __init__(
        self, path: str, *, max_age_days: float | None = None, max_bytes: int | None = None,
        clock: Callable[[], float] = time.time, steady: Callable[[], float] = boot_seconds,
    ) -> None:  # fmt: skip
        """Open or create *path*. Raises :class:`StoreError` (:class:`StoreBusy` where another agent writes it)."""
        self.path = path
        self.max_age_days = max_age_days
        self.max_bytes = max_bytes
        self.remarks: list[str] = []
        self._batches = 0
        self._clock = clock
        self._even = EvenClock(clock, steady)
        try:
            os.makedirs(os.path.dirname(os.path.abspath(path)), mode=0o750, exist_ok=True)
            self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise StoreError(f"{path}: {(error.strerror or str(error)).lower()}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise StoreBusy(f"{path}: another oomsight agent writes this store") from None
        try:
            self._db = self._open_checked()
        except StoreError:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Close it; the write-ahead log is folded in."""
        self._db.close()
        os.close(self._lock)

    # -- writing ------------------------------------------------------------------------------------------------------

    def write(self, batch: Batch) -> None:
        """Write *batch* whole or not at all. Raises :class:`StoreError`; a damaged file is replaced first."""
        try:
            self._write(batch)
        except sqlite3.DatabaseError as error:
            if not _damaged(error):
                raise StoreError(f"{self.path}: {error}") from None
            self._set_aside(str(error))
            self._db = self._open()
            try:
                self._write(batch)
            except sqlite3.Error as again:
                raise StoreError(f"{self.path}: {again}") from None
        self._batches += 1
        if self._batches % PRUNE_EVERY == 1:
            self.prune()

    def _write(self, batch: Batch) -> None:
        with self._db:  # one transaction
            self._db.execute("BEGIN IMMEDIATE")
            for event, document, wall_us in batch.events:
                self._db.execute(UPSERT, incident_row(event, document, wall_us))
                self._db.executemany(
                    "INSERT OR IGNORE INTO kills VALUES (?, ?, ?, ?, ?, ?)",
                    [(k.kill_id, event.event_id, event.boot_id, k.time_us, k.pid, _text(k.comm)) for k in event.kills],
                )
            self._db.executemany(
                "INSERT INTO notes (wall_us, boot_id, code, text, numbers) VALUES (?, ?, ?, ?, ?)",
                [(us, boot, f.code, _text(f.text), json.dumps(dict(f.numbers))) for f, us, boot in batch.notes],
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)",
                [(name, *where) for name, where in batch.positions.items()],
            )
            self._db.executemany("INSERT OR REPLACE INTO boots VALUES (?, ?)", batch.unseen.items())

    def prune(self) -> int:
        """Remove what is too old, then the oldest until the file is small enough. Return how many incidents went."""
        gone = 0
        try:
            if self.max_age_days is not None and self._even.even():  # a clock set wrong must not empty the store
                oldest = self._clock() - self.max_age_days * 86400
                gone += self._delete("wall_us < ?", (int(oldest * 1e6),))
            # Their report was overwritten before it could be read to its end: they stay as they are.
            aged = int((self._clock() - SETTLED_SECONDS) * 1e6)
            self._db.execute(
                "UPDATE incidents SET stage = 'complete' WHERE stage = 'provisional' AND stored_us < ?", (aged,)
            )
            self._db.execute("DELETE FROM notes WHERE id <= (SELECT max(id) FROM notes) - ?", (MAX_NOTES,))
            while self.max_bytes is not None and self._bytes() > self.max_bytes:
                count = self._db.execute("SELECT count(*) FROM incidents").fetchone()[0]
                if count == 0:
                    break
                some = max(count // 10, 1)
                gone += self._delete(
                    "event_id IN (SELECT event_id FROM incidents ORDER BY wall_us LIMIT ?)", (some,)
                )
            if gone:
                self._db.executescript("PRAGMA incremental_vacuum")  # execute() would stop after one page
        except sqlite3.Error:
            return gone  # the next write says what is wrong
        return gone

    def _delete(self, where: str, values: tuple[object, ...]) -> int:
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(
                f"DELETE FROM kills WHERE event_id IN (SELECT event_id FROM incidents WHERE {where})", values
            )
            return self._db.execute(f"DELETE FROM incidents WHERE {where}", values).rowcount

    def _bytes(self) -> int:
        used, free, size = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((used - free) * size)

    # -- what the agent needs to go on --------------------------------------------------------------------------------

    def positions(self) -> dict[str, tuple[str | None, str, str]]:
        """Return where to read on: source -> (boot, position, how far it was read)."""
        rows = self._db.execute("SELECT source, boot_id, position, seen FROM positions")
        return {name: (boot, position, seen) for name, boot, position, seen in rows}

    def known(self, limit: int) -> list[Known]:
        """Return the newest *limit* kills, oldest first; provisional events weigh -1."""
        rows = self._db.execute(
            "SELECT k.kill_id, k.event_id, CASE i.stage WHEN 'provisional' THEN -1 ELSE i.weight END,"
            " k.boot_id, k.pid, k.time_us FROM kills k JOIN incidents i USING (event_id)"
            " ORDER BY i.wall_us DESC, k.time_us DESC LIMIT ?",
            (limit,),
        )
        return rows.fetchall()[::-1]

    def kills(self, boot_id: str | None) -> int:
        """Return how many kills of the boot are known."""
        return int(self._db.execute("SELECT count(*) FROM kills WHERE boot_id IS ?", (boot_id,)).fetchone()[0])

    def unseen(self, boot_id: str | None) -> int | None:
        """Return how many kills of the boot were counted before we looked; ``None`` = we have not looked yet."""
        row = self._db.execute("SELECT unseen FROM boots WHERE boot_id IS ?", (boot_id,)).fetchone()
        return row[0] if row else None

    # -- opening ------------------------------------------------------------------------------------------------------

    def _open_checked(self) -> sqlite3.Connection:
        try:
            db = self._open()
            if os.path.getsize(self.path) <= CHECK_BYTES:
                verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
                if verdict != "ok":
                    db.close()
                    raise sqlite3.DatabaseError(f"malformed: {verdict.splitlines()[-1]}")
        except sqlite3.DatabaseError as error:
            if not _damaged(error):
                raise StoreError(f"{self.path}: {error}") from None
            self._set_aside(str(error))
            try:
                return self._open()
            except sqlite3.Error as again:
                raise StoreError(f"{self.path}: {again}") from None
        return db

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=5)
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > len(MIGRATIONS):
                raise StoreError(f"{self.path}: made by a newer oomsight (store version {version})")
            if version == 0:
                db.execute("PRAGMA auto_vacuum = INCREMENTAL")
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute("PRAGMA journal_mode = WAL")
            # WAL with NORMAL survives a crash of the program whole; a power cut may cost the last commits, and those
            # are read again from the journal.
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA cache_size = -256")  # KiB: rows are written once, and read by somebody else
            for number, script in enumerate(MIGRATIONS[version:], version + 1):
                db.executescript(f"BEGIN IMMEDIATE;{script};PRAGMA user_version = {number};COMMIT;")
        except BaseException:
            db.close()
            raise
        return db

    def _set_aside(self, why: str) -> None:
        """Rename a damaged file, so that it can be looked at, and begin a new one."""
        if hasattr(self, "_db"):
            self._db.close()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        aside = f"{self.path}.corrupt-{stamp}"
        try:
            for suffix in ("", "-wal", "-shm"):
                if os.path.exists(self.path + suffix):
                    os.replace(self.path + suffix, aside + suffix)
        except OSError as error:
            raise StoreError(f"{self.path}: damaged ({why}) and cannot be set aside: {error.strerror}") from None
        self.remarks.append(f"{self.path} was damaged ({why}); it is kept as {aside} and a new store was begun")


class Reader:
    """A store opened for reading, beside the agent that writes it."""

    def __init__(self, path: str) -> None:
        """Open *path*. Raises :class:`StoreError`."""
        if not os.path.exists(path):
            raise StoreError(f"{path}: there is no incident store here")
        from urllib.parse import quote

        last: Exception | None = None
        # Without the right to make the -shm file a store at rest can still be read as it is.
        for mode in ("mode=ro", "mode=ro&immutable=1"):
            try:
                self._db = sqlite3.connect(f"file:{quote(os.path.abspath(path))}?{mode}", uri=True, timeout=5)
                self._db.execute("SELECT count(*) FROM incidents WHERE event_id = ''").fetchone()
                return
            except sqlite3.Error as error:
                last = error
        raise StoreError(f"{path}: {last}")

    def close(self) -> None:
        """Close it."""
        self._db.close()

    def rows(self, *, since_us: int | None = None, until_us: int | None = None) -> list[Row]:
        """Return the incidents of a period, newest first."""
        where = "wall_us >= ? AND wall_us <= ?"
        values = (since_us if since_us is not None else -(1 << 62), until_us if until_us is not None else 1 << 62)
        order = "ORDER BY wall_us DESC, time_us DESC"
        found = self._db.execute(f"SELECT {_ROW} FROM incidents WHERE {where} {order}", values)
        return [Row(*row) for row in found]

    def find(self, text: str) -> list[Row]:
        """Return the incidents whose event id or id begins with *text*, newest first."""
        like = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        found = self._db.execute(
            f"SELECT {_ROW} FROM incidents WHERE id LIKE ? ESCAPE '\\' OR event_id LIKE ? ESCAPE '\\'"
            " ORDER BY wall_us DESC, time_us DESC", (like, like),
        )  # fmt: skip
        return [Row(*row) for row in found]

    def document(self, event_id: str) -> dict[str, Any]:
        """Return the stored event (:func:`oomsight.sinks.live_event.event_dict`)."""
        blob, extra, stage = self._db.execute(
            "SELECT document, enrichment, stage FROM incidents WHERE event_id = ?", (event_id,)
        ).fetchone()
        document: dict[str, Any] = json.loads(zlib.decompress(blob))
        document["stage"] = stage
        document["enrichment"] = json.loads(zlib.decompress(extra)) if extra else None
        return document

    def latest(self, limit: int) -> list[Row]:
        """Return the newest *limit* incidents, newest first."""
        found = self._db.execute(f"SELECT {_ROW} FROM incidents ORDER BY wall_us DESC, time_us DESC LIMIT ?", (limit,))
        return [Row(*row) for row in found]

    def newest(self, limit: int, stored_since_us: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield the events of the *limit* newest incidents, oldest first; only those stored at or after a moment."""
        found = self._db.execute("SELECT event_id, stored_us FROM incidents ORDER BY wall_us DESC LIMIT ?", (limit,))
        for event_id, stored_us in found.fetchall()[::-1]:
            if stored_since_us is None or stored_us >= stored_since_us:
                yield self.document(event_id)

    def raw(self, event_id: str) -> bytes:
        """Return the log lines of the incident; empty where there were none."""
        found = self._db.execute("SELECT raw FROM incidents WHERE event_id = ?", (event_id,)).fetchone()
        return zlib.decompress(found[0])

    def kill_count(self) -> int:
        """Return how many kills are stored."""
        return int(self._db.execute("SELECT count(*) FROM kills").fetchone()[0])

    def notes(self, limit: int = 100) -> Iterator[tuple[int, str, str]]:
        """Yield (wall clock in microseconds, code, marked text) of the newest notes, newest first."""
        yield from self._db.execute("SELECT wall_us, code, text FROM notes ORDER BY id DESC LIMIT ?", (limit,))


def incident_row(event: LiveEvent, document: dict[str, Any], wall_us: int) -> tuple[object, ...]:
    """Return the values of :data:`COLUMNS` for *event*."""
    report, incident = event.incident.report, document["incident"]
    dead: Any = (report.victims or report.killed or [None])[0]
    name = (dead.comm or getattr(dead, "cgroup", None)) if dead is not None else None
    owner = event.incident.owner or event.incident.oom_owner
    cause = incident["causes"][0]["code"] if incident["causes"] else None
    cgroup = report.task_memcg or report.oom_memcg
    enrichment = document.get("enrichment")
    stage = "provisional" if event.stage == "provisional" else "complete"  # an update is a complete one, told again
    values = {
        "event_id": event.event_id, "id": event.incident.id, "boot_id": event.boot_id, "time_us": event.time_us,
        "wall_us": _wall_us(report.when.time, wall_us), "time": report.when.time, "kind": report.kind.value,
        "cause": cause, "name": _text(name), "pid": dead.pid if dead is not None else None, "cgroup": _text(cgroup),
        "place": _text(name_of(enrichment) or (owner.short if owner is not None else None)),
        "fingerprint": fingerprint(report.kind.value, name, cgroup, cause), "headline": _text(incident["headline"]),
        "kills": len(report.victims), "weight": event.weight, "stage": stage, "source": event.source,
        "stored_us": wall_us, "document": _pack({**document, "enrichment": None}),
        "raw": zlib.compress(event.raw, 6), "enrichment": _pack(enrichment) if enrichment is not None else None,
    }  # fmt: skip
    return tuple(values[column] for column in COLUMNS)


def fingerprint(kind: str, name: str | None, cgroup: str | None, cause: str | None) -> str:
    """Return what makes two incidents the same story again: ids that change with every restart do not count."""
    return _text("\x1f".join((kind, name or "", _CHANGING.sub("*", cgroup or ""), cause or ""))) or ""


def _wall_us(text: str | None, otherwise: int) -> int:
    from datetime import datetime

    try:
        return int(datetime.fromisoformat(text or "").timestamp() * 1e6)
    except (ValueError, OverflowError, OSError):
        return otherwise


def _pack(value: object) -> bytes:
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode("ascii"), 6)


def _text(text: str | None) -> str | None:
    """SQLite text is UTF-8; a byte that is not becomes a visible escape (the document keeps it as it is)."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _damaged(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    words = str(error)
    return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} or "malformed" in words or "not a database" in words
