"""
One tier of the recorder's store: its journal, the chunk being gathered, the file that chunks go to.

What cannot be written never raises out of :meth:`TierLog.write`: the rows wait in memory and the health of its owner is
told. A run goes on where the one before it ended (:meth:`TierLog.recover`, :meth:`TierLog.rebuild`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from oomsight.record.chunk import ChunkBuilder
from oomsight.record.codec import CHUNK, MAGIC, ROW, DamagedError, coded, event, kind_code, record
from oomsight.record.gather import Gatherer, TierRow
from oomsight.record.journal import encode_row, read_journal
from oomsight.record.layout import Begin, Description, FileName, Words, entities_records, journal_name
from oomsight.record.ready import SHEETS
from oomsight.record.rebuild import rebuilt, rows_after
from oomsight.sinks.history_append import Appender
from oomsight.sinks.history_stored import Stored, Whole

if TYPE_CHECKING:
    from oomsight.record.model import Values
    from oomsight.record.tiers import Tier
    from oomsight.sinks.history_health import Health

RETRY_MS: Final = 10_000  #: by the clock of the rows
FILES: Final = 4  #: of each tier, at least, where there is room for them
MOST_WAITING: Final = 4  #: chunks' worth of rows kept in memory while nothing can be written; after that there is a gap


class Owner(Protocol):
    """What a tier needs of the store it belongs to."""

    path: str
    boot: str
    health: Health
    room: int | None  #: bytes for all tiers; ``None`` = as much as there is

    def next_name(self, tier: int) -> FileName:
        """A name for a new file."""

    def describe(self, entities: Iterable[int]) -> list[tuple[int, dict[str, Any]]]:
        """The descriptions of *entities*, as far as they are known."""


class TierLog:
    """One tier: its journal, the chunk being gathered, the file chunks go to."""

    def __init__(self, store: Owner, tier: Tier) -> None:
        self.store, self.tier = store, tier
        self.gatherer = Gatherer(tier)
        self.announced: set[int] = set()  #: described in the journal
        self.described: set[int] = set()  #: described in the file
        self._builder = ChunkBuilder()
        self._in_chunk: dict[int, Values] = {}
        self._journal: Appender | None = None
        self._journal_id = 0
        self._journal_whole = True
        self._file: Appender | None = None
        self._file_begun = 0  # by the clock of its rows
        self._newest: Whole | None = None  # in which the next run goes on
        self._to_sync: list[int] = []
        self._tried_ms: int | None = None  # when packing failed last
        self._left = False  # a journal of an earlier run that could not be packed for lack of room

    # -- writing ------------------------------------------------------------------------------------------------------

    def write(self, row: TierRow) -> None:
        """To the journal, and into the chunk being gathered. Never raises."""
        parts = list(row.parts)
        if not len(self._builder):  # a chunk stands for itself: it begins with everything that is there
            changed = {entity for entity, _, _ in parts}
            parts += [(e, kind, values) for e, (kind, values) in self.gatherer.held.items() if e not in changed]
        builder = self._builder
        builder.begin_row(row.boot_ms, row.wall_ms)
        written: list[tuple[int, int, bytes]] = []
        for entity, kind, values in parts:
            data = event(self._in_chunk.get(entity), values)
            if data:
                self._in_chunk[entity] = values
                code = kind_code(kind)
                builder.put(entity, code, data, coded(values[0]))
                written.append((entity, code, data))
        for entity, kind in row.gone:
            if self._in_chunk.pop(entity, None) is not None:
                builder.add(entity, kind, b"", None)
                written.append((entity, kind_code(kind), b""))
        self._journal_row(encode_row(row.boot_ms, row.wall_ms, written), [entity for entity, _, _ in written])
        if (waiting := len(builder)) > self.tier.chunk_rows * MOST_WAITING:
            self.store.health.lost(self.tier.number, waiting)
            self._leave_journal()
            self._begin_chunk()

    def pack_what_is_due(self) -> None:
        """Pack what fills a chunk, and a journal that misses rows as soon as anything can be written."""
        times, wait = self._builder.times, self._tried_ms
        if wait is not None and self.store.health.now_ms - wait < RETRY_MS:  # to try is dear
            return
        if len(times) >= self.tier.chunk_rows or not self._journal_whole or (
            len(times) and times[-1] - times[0] > self.tier.file_seconds * 1000
        ):
            self._pack()

    def _journal_row(self, body: bytes, entities: list[int]) -> None:
        if not self._journal_whole:
            return
        try:
            if self._journal is None:
                self._begin_journal()
            assert self._journal is not None
            data = record(ROW, body)
            if new := [entity for entity in entities if entity not in self.announced]:
                data = entities_records(self.store.describe(new)) + data
            self._journal.append(data)
            self.announced.update(entities)
            self._worked()
        except OSError as error:
            self._journal_whole = False
            self._failed(error)

    def _worked(self) -> None:
        self._tried_ms = None
        self.store.health.worked(self.tier.number)

    def _failed(self, error: OSError) -> None:
        self._tried_ms = self.store.health.now_ms
        self.store.health.failed(self.tier.number, error)

    def _begin_journal(self) -> None:
        self._pack_left()
        self._journal_id = max(time.time_ns() // 1_000_000, self._journal_id + 1)
        path = os.path.join(self.store.path, journal_name(self.tier.number))
        begin = Begin(self.tier.number, self.store.boot, self._journal_id)
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        self._journal = Appender(path, begin, fresh=False)
        self.announced.clear()

    def _pack(self) -> None:
        """The rows so far as a chunk; the journal begins anew."""
        if not len(self._builder):
            return
        try:
            self._pack_left()
            self._append_chunk(self._builder, self.store.describe, self.store.boot, self._journal_id)
            self._worked()
        except OSError as error:
            self._failed(error)
            return
        self._begin_chunk()
        try:
            self._begin_journal()
            self._journal_whole = True
        except OSError as error:
            self._journal_whole = False
            self._failed(error)

    def _begin_chunk(self) -> None:
        self._builder = ChunkBuilder()
        self._in_chunk = {}

    def _append_chunk(
        self, builder: ChunkBuilder, describe: Callable[[Iterable[int]], list[tuple[int, dict[str, Any]]]], boot: str,
        journal: int,
    ) -> None:  # fmt: skip
        age = builder.times[-1] - self._file_begun
        room = self.store.room  # of little room a file is a smaller part, so that not all of it goes at once
        big = room is not None and self._file is not None and self._file.size > room * self.tier.share / FILES
        if self._file is None or big or age > self.tier.file_seconds * 1000:
            self._end_file()
            self._file = self._open_file(builder, Begin(self.tier.number, boot, 0))
            self.described.clear()
        new = [entity for entity in builder.entities() if entity not in self.described]
        data = entities_records(describe(new))
        self._file.append(data + record(CHUNK, builder.body(journal, SHEETS.get(self.tier.number, ()))))
        self.described.update(new)

    def _open_file(self, builder: ChunkBuilder, begin: Begin) -> Appender:
        """The newest file, if it may go on, or a new one."""
        newest = self._newest
        if newest is not None:
            age = max(builder.wall_ms - newest.begun_ms, 0)
            if age <= self.tier.file_seconds * 1000:
                with suppress(FileNotFoundError):
                    file = Appender(newest.path, begin, size=newest.size)
                    self._file_begun = builder.times[-1] - age
                    self._newest = None
                    return file
            self._newest = None
        name = str(self.store.next_name(self.tier.number))
        file = Appender(os.path.join(self.store.path, name), begin, fresh=True)
        self._file_begun = builder.times[0]
        return file

    def _end_file(self) -> None:
        if self._file is None:
            return
        if self._file.dirty:
            self._to_sync.append(self._file.fd)
        else:
            self._file.close()
        self._file = None

    def unsynced(self) -> list[int]:
        """Descriptors of what was written since the last call, to be closed by whoever takes them."""
        found, self._to_sync = self._to_sync, []
        for file in (self._journal, self._file):
            if file is not None and file.dirty:
                file.dirty = False
                found.append(os.dup(file.fd))
        return found

    def close(self) -> None:
        """Pack what is in the journal, write it through to the disk, let go of the files."""
        self._pack()
        for fd in self.unsynced():
            with suppress(OSError):
                os.fdatasync(fd)
            os.close(fd)
        for file in (self._journal, self._file):
            if file is not None:
                file.close()
        self._journal = self._file = None

    @property
    def journal_bytes(self) -> int:
        """How much of the room the journal takes."""
        return 0 if self._journal is None else self._journal.size

    @property
    def unwritten(self) -> int:
        """How many rows are in memory only."""
        return 0 if self._journal_whole else len(self._builder)

    def entities(self) -> Iterator[int]:
        """Entities whose descriptions a chunk still needs."""
        yield from self.gatherer.held
        yield from self.gatherer.waiting()
        yield from self._builder.entities()

    # -- after a run before this one ----------------------------------------------------------------------------------

    def go_on(self) -> None:
        """What comes next is of another run, and goes to the newest file if that is whole and young."""
        self._end_file()
        with suppress(OSError):
            self._newest = Stored(self.store.path, self.tier.number).last_file()

    def recover(self) -> Begin | None:
        """Pack what an earlier run left in its journal. Return how that begins; ``None`` = it left nothing."""
        path = os.path.join(self.store.path, journal_name(self.tier.number))
        try:
            with open(path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            self.store.health.failed(self.tier.number, error)
            return None
        try:
            return self._recover(data)
        except DamagedError as error:
            aside = f"{path}.damaged-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
            with suppress(OSError):
                os.replace(path, aside)
            self.store.health.remarks.append(f"{path} was damaged ({error}); it is kept as {aside}")
        except OSError as error:
            self._left = True
            self.store.health.failed(self.tier.number, error)
        return None

    def _leave_journal(self) -> None:
        """The rows in the journal stay until there is room to pack them, though those after them are lost."""
        if self._journal is not None:
            self._journal.close()
            self._journal, self._journal_whole, self._left = None, False, True

    def _pack_left(self) -> None:
        """What could not be packed at the start, before its journal is written over. Raises :class:`OSError`."""
        if not self._left:
            return
        self._left = False
        self.recover()
        if self._left:
            raise OSError(self.store.health.trouble)

    def _recover(self, data: bytes) -> Begin | None:
        if not data.startswith(MAGIC):
            if data:
                raise DamagedError("it does not begin like a journal")
            return None
        begin, text, rows = journal = read_journal(data)
        if not rows:
            return None
        if begin.journal != Stored(self.store.path, self.tier.number).last_journal():
            self.add_old(journal.builder(), Words(text), begin.boot, begin.journal)
        return begin

    def rebuild(self, finer: Stored, boot: str, journal: int) -> None:
        """The row of a run that crashed which was not finished, from the rows of the finer tier. Never raises."""
        try:
            since = Stored(self.store.path, self.tier.number).last_moment(boot)
            pieces, words = finer.since(boot, since)
            builder = rebuilt(self.tier, rows_after(pieces, since, words))
            if builder is not None:
                self.add_old(builder, words, boot, journal)
        except (OSError, DamagedError):
            return  # it stays as it was left

    def add_old(self, builder: ChunkBuilder, words: Mapping[int, Description], boot: str, journal: int) -> None:
        """
        Append a chunk of an earlier run; numbers of entities begin anew after it. Raises :class:`OSError`,
        :class:`DamagedError`.
        """
        def known(new: Iterable[int]) -> list[tuple[int, dict[str, Any]]]:
            return [(entity, words[entity].words) for entity in new if entity in words]

        self._append_chunk(builder, known, boot, journal)
        self.go_on()
