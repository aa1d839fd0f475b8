"""
The recorder's store: one process writes, anybody reads beside it.

Rows go to a tier's journal at once: what was written survives a ``kill -9`` in the page cache, and a power cut or a
reset up to the last :meth:`HistoryStore.sync`. Full journals are packed into chunks
(:mod:`oomsight.sinks.history_tier`). A run goes on in the newest file of each tier, so that a recorder that is often
started anew does not leave a crumb each time; what a crash left half written stays the end of its file. No
SQLite: rows are written once, in order, by one process, and removed a file at a time, which plain files do with a third
of the bytes and without a lock that a reader could hold.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from oomsight.record.codec import MAGIC, newer_format
from oomsight.record.layout import LOCK, FileName, journal_name, parse_name
from oomsight.record.tiers import TIERS, StoredFile, expired
from oomsight.sinks.history_health import Health, room_on
from oomsight.sinks.history_stored import Stored
from oomsight.sinks.history_tier import TierLog

if TYPE_CHECKING:
    from oomsight.record.gather import TierRow
    from oomsight.record.model import Change

PRUNE_SECONDS: Final = 60.0


class HistoryStoreError(Exception):
    """The store cannot be opened; one line."""


class HistoryBusy(HistoryStoreError):  # noqa: N818  # the same thing with a cause of its own
    """Another recorder writes this store."""


class HistoryStoreNewer(HistoryStoreError):  # noqa: N818  # the same thing with a cause of its own
    """A newer oomsight writes this store; what is added in an older format were damage to it."""


class HistoryStore:
    """The one writer. :attr:`health` says what has to be told, and why something cannot be written now."""

    def __init__(
        self, path: str, boot: str, *, max_bytes: int | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        """
        Open or create the directory *path*. Raises :class:`HistoryStoreError` (:class:`HistoryBusy`,
        :class:`HistoryStoreNewer`).
        """
        self.path, self.boot, self.max_bytes = path, boot, max_bytes
        self.health = Health(path)
        self.room = max_bytes  #: bytes; ``None`` = as much as there is
        self.words: dict[int, dict[str, Any]] = {}  #: entity -> its description
        self._clock = clock
        self._pruned = 0.0
        try:
            os.makedirs(path, mode=0o750, exist_ok=True)
            self._lock = os.open(os.path.join(path, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise HistoryStoreError(f"{path}: {(error.strerror or str(error)).lower()}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise HistoryBusy(f"{path}: another recorder writes this history") from None
        for name in [*self._names(), *(journal_name(tier.number) for tier in TIERS)]:
            if (number := newer_format(_head(os.path.join(path, str(name))))) is not None:
                os.close(self._lock)
                raise HistoryStoreNewer(f"{path}: written by a newer oomsight (format {number})")
        self._number = max((name.number for name in self._names()), default=0)
        self._tiers = [TierLog(self, tier) for tier in TIERS]
        for log in self._tiers:
            log.go_on()
        left = [log.recover() for log in self._tiers]
        ended = next((begin.boot for begin in left if begin is not None), None)
        if ended is not None:  # it ended in the midst of a step
            for finer, log, begin in zip(self._tiers, self._tiers[1:], left[1:], strict=False):
                log.rebuild(Stored(path, finer.tier.number), ended, begin.journal if begin is not None else 0)

    def close(self) -> None:
        """Pack what is in the journals and let go of the store; what cannot be packed is among the remarks."""
        below: TierRow | None = None
        for log in self._tiers:
            if below is not None and (row := log.gatherer.feed(below.boot_ms, below.wall_ms, below.change())):
                log.write(row)
            below = log.gatherer.finish() if log.tier.number else None
            if below is not None:
                log.write(below)
            log.close()
        self.health.ended(self._tiers[0].unwritten)
        os.close(self._lock)

    def write(self, boot_ms: int, wall_ms: int, change: Change) -> None:
        """Record a sample. Never raises: what cannot be written waits, then is a gap, and :attr:`trouble` says why."""
        self.health.now_ms = boot_ms
        for entity, words in change.new:
            self.words[entity] = words
            for log in self._tiers:
                log.described.discard(entity)
                log.announced.discard(entity)
        for log in self._tiers:  # each tier is made of the rows of the one below
            row = log.gatherer.feed(boot_ms, wall_ms, change)
            if row is None:
                break
            log.write(row)
            boot_ms, wall_ms, change = row.boot_ms, row.wall_ms, row.change()
        for log in self._tiers:
            log.pack_what_is_due()
        now = self._clock()
        if abs(now - self._pruned) >= PRUNE_SECONDS:
            self._pruned = now
            self.prune()

    def sync(self) -> list[int]:
        """Descriptors of what was written since the last call; give each to ``fdatasync`` and close it."""
        return [fd for log in self._tiers for fd in log.unsynced()]

    def prune(self) -> list[str]:
        """Remove files that are too old, or too much, and forget who is in no row any more. Return the files' names."""
        wanted = {entity for log in self._tiers for entity in log.entities()}
        self.words = {entity: words for entity, words in self.words.items() if entity in wanted}
        held = []
        for name in self._names():
            with suppress(OSError):
                info = os.stat(os.path.join(self.path, str(name)))
                held.append(StoredFile(str(name), name.tier, info.st_size, info.st_mtime))
        self.room, journals = room_on(self.path, self.max_bytes), sum(log.journal_bytes for log in self._tiers)
        gone = expired(held, self._clock(), None if self.room is None else self.room - journals)
        for text in gone:
            with suppress(OSError):
                os.unlink(os.path.join(self.path, text))
        self.health.takes(journals + sum(file.bytes for file in held if file.name not in gone), self.room)
        return gone

    def next_name(self, tier: int) -> FileName:
        """A name for a new file."""
        self._number += 1
        return FileName(tier, self._number)

    def describe(self, entities: Iterable[int]) -> list[tuple[int, dict[str, Any]]]:
        """The descriptions of *entities*, as far as they are known."""
        return [(entity, self.words[entity]) for entity in entities if entity in self.words]

    @property
    def remarks(self) -> list[str]:
        """What has to be told; whoever tells it clears the list."""
        return self.health.remarks

    def _names(self) -> Iterator[FileName]:
        try:
            entries = os.listdir(self.path)
        except OSError:
            return
        yield from filter(None, map(parse_name, entries))


def _head(path: str) -> bytes:
    """How a file begins; empty = it cannot be read, which whoever writes to it will say."""
    with suppress(OSError), open(path, "rb", buffering=0) as file:
        return file.read(len(MAGIC))
    return b""
