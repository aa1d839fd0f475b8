"""
The recorder's history, read: any number of readers beside the one writer, and after it.

Times are of the wall clock as it stands: samples keep the time since boot, and all of a boot are dated by the newest
comparison of the two clocks, so that a clock that was set later corrects what was recorded before. A gap (recorder
down, machine suspended) is a gap in the times.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from oomsight.naming.cgroup_path import describe
from oomsight.naming.marked import unmark
from oomsight.record.codec import (
    CHUNK,
    ENTITIES,
    HEAD_BYTES,
    HEADER,
    KINDS,
    MAGIC,
    ChunkHead,
    DamagedError,
    Index,
    check,
    chunk_head,
    chunk_index,
    chunk_stream,
    chunk_times,
    events,
    header,
    plain,
    stream_of,
)
from oomsight.record.fields import (
    DERIVED,
    FIELDS,
    INDEX,
    MAIN,
    STORED_KIND,
    field_names,
    parts_of,
    shown,
    stored_kind,
)
from oomsight.record.journal import read_journal
from oomsight.record.layout import journal_name, parse_begin, parse_entities, parse_name
from oomsight.record.model import Entity, Picture
from oomsight.record.tiers import TIERS
from oomsight.trend.series import Series


class HistoryError(Exception):
    """There is no history to read; one line."""


@dataclass(slots=True)
class _File:
    """One file of chunks, or one journal as if it were one."""

    path: str
    tier: int
    boot: str
    words: dict[int, dict[str, Any]] | None = None
    spots: list[tuple[int, int, int]] | None = None  #: of descriptions: (where, length, sum)
    data: bytes | None = None  #: of a journal: the one chunk made of it


@dataclass(slots=True)
class _Chunk:
    file: _File
    start: int  #: of the body in the file
    length: int
    crc: int
    head: ChunkHead
    shift_ms: int = 0  #: what makes time since boot wall clock
    body: bytes | None = None
    times: list[int] | None = None
    index: Index | None = None

    @property
    def first(self) -> float:
        return (self.head.first_ms + self.shift_ms) / 1000

    @property
    def last(self) -> float:
        return (self.head.last_ms + self.shift_ms) / 1000


class History:
    """A history opened for reading. What is recorded later is seen by a new one."""

    def __init__(self, path: str | None = None) -> None:
        """Open the directory *path* (default: the agent's). Raises :class:`HistoryError`."""
        self.path = path if path is not None else default_directory()
        self.damaged = 0  #: chunks whose sum is wrong; they are left out
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            raise HistoryError(f"{self.path}: nothing has been recorded here") from None
        except OSError as error:
            raise HistoryError(f"{self.path}: {(error.strerror or str(error)).lower()}") from None
        # Journals first: what is packed in the meantime is then seen twice, and known by its number, never missed.
        journals = [found for tier in TIERS if (found := self._journal(journal_name(tier.number)))]
        self._chunks: list[_Chunk] = []
        for name in sorted(filter(None, map(parse_name, [*names, *os.listdir(self.path)]))):
            if not self._chunks or self._chunks[-1].file.path != os.path.join(self.path, str(name)):
                self._chunks += self._scan(str(name), name.tier)
        packed = {chunk.head.journal for chunk in self._chunks}
        self._chunks += [chunk for chunk in journals if chunk.head.journal not in packed]
        self._date()

    # -- questions ----------------------------------------------------------------------------------------------------

    def span(self) -> tuple[float, float] | None:
        """First and last moment on record; ``None`` = nothing is."""
        if not self._chunks:
            return None
        return min(chunk.first for chunk in self._chunks), max(chunk.last for chunk in self._chunks)

    def entities(self, kind: str, since: float, until: float) -> list[Entity]:
        """
        Everything of *kind* on record in a period, biggest peak first: host, process, name, unit, container, cgroup
        (and zone, swap). First, peak and last figures are those of the chunks that touch the period.
        """
        stored = stored_kind(kind)
        code = KINDS.index(stored)
        found: dict[str, Entity] = {}
        for chunk, low, high in self._select(since, until, 480):
            if not self._load(chunk) or chunk.last < low or chunk.first > high:
                continue
            assert chunk.index is not None
            index, words, times = chunk.index, self._words(chunk.file), self._times(chunk)
            sign = -1 if stored == "zone" else 1
            for place, number in enumerate(index.entities):
                if index.kinds[place] != code or number not in words:
                    continue
                first = (times[index.first_rows[place]] + chunk.shift_ms) / 1000
                end = index.gone_rows[place]
                last = (times[min(end, len(times)) - 1] + chunk.shift_ms) / 1000
                if last < low or first > high:
                    continue
                mains = [_main(stored, column[place]) for column in (index.firsts, index.peaks, index.lasts)]
                key = key_of(words[number], chunk.file.boot)
                before = found.get(key)
                if before is None:
                    made = _entity(stored, key, words[number], chunk)
                    found[key] = replace(made, first=first, last=last, first_main=mains[0], peak_main=mains[1],
                                         last_main=mains[2])  # fmt: skip
                    continue
                peaks = [peak for peak in (before.peak_main, mains[1]) if peak is not None]
                found[key] = replace(
                    _entity(stored, key, words[number], chunk) if last >= (before.last or 0) else before,
                    first=min(before.first or first, first), last=max(before.last or last, last),
                    first_main=before.first_main if (before.first or 0) <= first else mains[0],
                    last_main=mains[2] if last >= (before.last or 0) else before.last_main,
                    peak_main=max(peaks, key=lambda peak: sign * peak) if peaks else None,
                )  # fmt: skip
        made_of = [entity for one in found.values() if (entity := _as_kind(one, kind)) is not None]
        return sorted(made_of, key=lambda e: -(e.peak_main or 0))

    def series(
        self, entity: Entity, field: str, since: float, until: float, max_points: int | None = None
    ) -> Series:
        """
        One figure of *entity* over a period, from the finest tier on record for each part of it; with *max_points*
        from the one that is fine enough, thinned to the highest of each part (of what is left of memory: the lowest).

        Raises :class:`ValueError` for a field its kind does not have.
        """
        if field not in field_names(entity.kind):
            raise ValueError(f"{entity.kind} has no {field}; there are: {', '.join(field_names(entity.kind))}")
        parts = parts_of(entity.kind, field)
        stored = stored_kind(entity.kind)
        scale = FIELDS[stored][parts[0]].scale
        rule = FIELDS[stored][parts[0]].rule
        rows: list[tuple[float, float]] = []
        restarts: list[float] = []
        went, step = False, 0.0
        for chunk, low, high in self._select(since, until, max_points):
            numbers = self._numbers(chunk, entity)
            if not numbers or not self._load(chunk):
                continue
            step = max(step, TIERS[chunk.file.tier].step_seconds)
            times = self._times(chunk)
            for number in numbers:
                for row, end, value in self._steps(chunk, number, stored, parts):
                    if value is None:
                        went = went or row < 0
                        continue
                    number_shown = shown(value, scale)
                    assert number_shown is not None
                    moments = [(moment + chunk.shift_ms) / 1000 for moment in times[row:end]]
                    if went and moments and rows:
                        restarts.append(moments[0])
                    went = False
                    rows += [(moment, number_shown) for moment in moments if low <= moment <= high]
        rows.sort(key=lambda row: row[0])
        rows = _thin(_once(rows), max_points, rule)
        kept = tuple(moment for moment in restarts if since <= moment <= until)
        return Series([row[0] for row in rows], [row[1] for row in rows], kept, step or None)

    def at(self, moment: float) -> Picture:
        """The machine at the nearest sample at or before *moment*. Raises :class:`HistoryError` before the first."""
        candidates = [chunk for chunk in self._chunks if chunk.first <= moment]
        if not candidates:
            raise HistoryError(f"{self.path}: nothing was recorded before then")
        newest = max(min(chunk.last, moment) for chunk in candidates)
        # Of those that reach as near as any (within their own step), the finest.
        near = [c for c in candidates if min(c.last, moment) >= newest - TIERS[c.file.tier].step_seconds]
        for chunk in sorted(near, key=lambda c: (c.file.tier, -min(c.last, moment))):
            if self._load(chunk):
                return self._picture(chunk, moment)
        raise HistoryError(f"{self.path}: what was recorded then is damaged")

    def hours(self, since: float, until: float, max_points: int | None = None) -> list[float]:
        """The moments of all samples of a period, as :meth:`series` would take them."""
        found: list[float] = []
        for chunk, low, high in self._select(since, until, max_points):
            if self._load(chunk):
                found += [m for ms in self._times(chunk) if low <= (m := (ms + chunk.shift_ms) / 1000) <= high]
        return sorted(set(found))

    # -- files --------------------------------------------------------------------------------------------------------

    def _journal(self, name: str) -> _Chunk | None:
        path = os.path.join(self.path, name)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError:
            return None
        if not _ours(path, data):
            return None
        try:
            begin, builder, words = read_journal(data)
            if not len(builder):
                return None
            body = builder.body(begin.journal)
            file_ = _File(path, begin.tier, begin.boot, words, data=body)
            return _Chunk(file_, 0, len(body), 0, chunk_head(body), body=body)
        except DamagedError:
            self.damaged += 1
            return None

    def _scan(self, name: str, tier: int) -> Iterator[_Chunk]:
        """The chunks of a file, their heads only."""
        path = os.path.join(self.path, name)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # too old by now
        except OSError as error:
            raise HistoryError(f"{path}: {(error.strerror or str(error)).lower()}") from None
        try:
            size = os.fstat(fd).st_size
            if not _ours(path, os.pread(fd, len(MAGIC), 0)):
                self.damaged += size > 0
                return
            file = _File(path, tier, "", spots=[])
            at = len(MAGIC)
            while at + HEADER.size <= size:
                head = os.pread(fd, HEADER.size + HEAD_BYTES, at)
                kind, length, crc = header(head[: HEADER.size])
                start, at = at + HEADER.size, at + HEADER.size + length
                if at > size:
                    return
                if kind == CHUNK:
                    yield _Chunk(file, start, length, crc, chunk_head(head[HEADER.size :]))
                elif kind == ENTITIES:
                    assert file.spots is not None
                    file.spots.append((start, length, crc))
                else:
                    file.boot = parse_begin(os.pread(fd, length, start)).boot
        except DamagedError:
            self.damaged += 1
        finally:
            os.close(fd)

    def _date(self) -> None:
        newest: dict[str, tuple[int, int]] = {}
        for chunk in self._chunks:
            head = chunk.head
            if head.last_ms >= newest.get(chunk.file.boot, (-1, 0))[0]:
                newest[chunk.file.boot] = (head.last_ms, head.wall_ms - head.last_ms)
        for chunk in self._chunks:
            chunk.shift_ms = newest[chunk.file.boot][1]
        self._chunks.sort(key=lambda chunk: chunk.first)

    def _load(self, chunk: _Chunk) -> bool:
        """Read a chunk; ``False`` = it is damaged or gone."""
        if chunk.index is not None:
            return True
        try:
            if chunk.body is None:
                chunk.body = _piece(chunk.file.path, chunk.start, chunk.length)
                if not check(CHUNK, chunk.body, chunk.crc):
                    raise DamagedError("sum")
            chunk.index = chunk_index(chunk.head, chunk.body)
            chunk.times = chunk_times(chunk.head, chunk.body)
        except (OSError, DamagedError):
            self.damaged += 1
            self._chunks = [one for one in self._chunks if one is not chunk]
            chunk.body = chunk.index = None
            return False
        return True

    def _times(self, chunk: _Chunk) -> list[int]:
        if chunk.times is None:
            assert chunk.body is not None
            chunk.times = chunk_times(chunk.head, chunk.body)
        return chunk.times

    def _words(self, file: _File) -> dict[int, dict[str, Any]]:
        if file.words is None:
            file.words = {}
            for start, length, crc in file.spots or ():
                try:
                    body = _piece(file.path, start, length)
                    if check(ENTITIES, body, crc):
                        file.words.update(parse_entities(body))
                except (OSError, DamagedError):
                    self.damaged += 1
        return file.words

    # -- choosing -----------------------------------------------------------------------------------------------------

    def _select(self, since: float, until: float, max_points: int | None) -> list[tuple[_Chunk, float, float]]:
        """
        Chunks that cover a period, and the part of it each answers for: a tier that is fine enough; before what it
        still has a coarser one, after its last row a finer one.
        """
        wanted = 0
        if max_points:
            step = (until - since) / max_points
            wanted = max((tier.number for tier in TIERS if tier.step_seconds <= max(step, 1)), default=0)
        by_tier: dict[int, list[_Chunk]] = {}
        for chunk in self._chunks:
            by_tier.setdefault(chunk.file.tier, []).append(chunk)
        order = [*range(wanted, len(TIERS)), *range(wanted - 1, -1, -1)]
        chosen: list[tuple[_Chunk, float, float]] = []
        begin, end = until, since  # covered so far; nothing yet
        for tier in order:
            held = by_tier.get(tier)
            if not held:
                continue
            first, last = held[0].first, max(chunk.last for chunk in held)
            nothing = begin >= end and not chosen
            if nothing:
                spans = [(since, until)]
                begin, end = first, last
            elif tier > wanted:
                spans = [(since, begin - 1e-6)] if first < begin else []
                begin = min(begin, first)
                if last > end:
                    spans.append((end + 1e-6, until))
                    end = last
            else:
                spans = [(end + 1e-6, until)] if last > end else []
                end = max(end, last)
                if first < begin:
                    spans.append((since, begin - 1e-6))
                    begin = first
            for low, high in spans:
                chosen += [(c, low, high) for c in held if low <= high and c.last >= low and c.first <= high]
        return sorted(chosen, key=lambda one: one[0].first)

    def _numbers(self, chunk: _Chunk, entity: Entity) -> list[int]:
        """Numbers that *entity* has in a chunk's file; one that went and came again has several."""
        boot, words = chunk.file.boot, self._words(chunk.file)
        kind = stored_kind(entity.kind)
        return [n for n, text in words.items() if text.get("kind") == kind and key_of(text, boot) == entity.key]

    def _steps(
        self, chunk: _Chunk, number: int, kind: str, parts: tuple[int, ...]
    ) -> Iterator[tuple[int, int, int | None]]:
        """(first row, end, sum of the parts) of each stretch of equal values; ``None`` = not known; row -1: it went."""
        assert chunk.index is not None
        assert chunk.body is not None
        place = chunk.index.place(number)
        if place is None:
            return
        row: int | None = None
        value: int | None = None
        try:
            stream = chunk_stream(chunk.head, chunk.index, chunk.body, place)
            for now, values in events(stream, kind):
                if row is not None:
                    yield row, now, value
                if values is None:
                    yield -1, -1, None
                    row = None
                    continue
                row = now
                value = _summed([values[part] for part in parts])
        except DamagedError:
            self.damaged += 1
        if row is not None:
            yield row, chunk.head.rows, value

    def _picture(self, chunk: _Chunk, moment: float) -> Picture:
        assert chunk.index is not None
        assert chunk.body is not None
        times, index, words = self._times(chunk), chunk.index, self._words(chunk.file)
        row = sum((ms + chunk.shift_ms) / 1000 <= moment for ms in times) - 1
        found: dict[str, list[tuple[Entity, dict[str, float]]]] = {}
        start = chunk.head.streams_at
        for place, number in enumerate(index.entities):
            length = index.lengths[place]
            blob, start = chunk.body[start : start + (length >> 1)], start + (length >> 1)
            if index.first_rows[place] > row or number not in words:
                continue
            kind, state = KINDS[index.kinds[place]], None
            try:
                for now, values in events(stream_of(blob, bool(length & 1)), kind):
                    if now > row:
                        break
                    state = None if values is None else list(values)
            except DamagedError:
                self.damaged += 1
                continue
            if state is not None:
                key = key_of(words[number], chunk.file.boot)
                found.setdefault(kind, []).append((_entity(kind, key, words[number], chunk), figures(kind, state)))
        host = found.get("host", [])
        when = (times[row] + chunk.shift_ms) / 1000
        others = [*found.get("zone", ()), *found.get("swap", ())]
        return Picture(
            when, moment, TIERS[chunk.file.tier].step_seconds, host[0][1] if host else {}, found.get("process", []),
            found.get("name", []), found.get("cgroup", []), others,
        )  # fmt: skip


# -- values -----------------------------------------------------------------------------------------------------------


def default_directory() -> str:
    """Where the recorder keeps its history unless told otherwise: the same rule as the incident store's."""
    if state := os.environ.get("STATE_DIRECTORY"):
        return os.path.join(state.split(":")[0], "history")
    if os.geteuid() == 0:
        return "/var/lib/oomsight/history"
    home = os.environ.get("XDG_STATE_HOME") or os.path.join(os.environ.get("HOME") or "/", ".local/state")
    return os.path.join(home, "oomsight", "history")


def key_of(words: dict[str, Any], boot: str) -> str:
    """What names an entity in every part of the history."""
    kind = words.get("kind")
    if kind == "process":
        return f"process:{boot[:12]}:{words.get('pid')}:{words.get('start')}"
    return "host" if kind == "host" else f"{kind}:{words.get('name')}"


def _entity(kind: str, key: str, words: dict[str, Any], chunk: _Chunk) -> Entity:
    age = words.get("age")
    started = chunk.shift_ms / 1000 + age if isinstance(age, int | float) else None
    cgroup = words.get("name") if kind == "cgroup" else words.get("cgroup")
    return Entity(kind, key, str(words.get("name", "")), words.get("pid"), started, cgroup, words.get("cmd"))


def _as_kind(entity: Entity, kind: str) -> Entity | None:
    """*entity* looked at as *kind*: a cgroup as its container or unit; ``None`` = it is none."""
    if kind not in STORED_KIND:
        return entity
    owner = describe(entity.name)
    if owner is None or owner.level != kind:
        return None
    name = (owner.unit or unmark(owner.short)) if kind == "unit" else unmark(owner.short)
    return replace(entity, kind=kind, name=name)


def figures(kind: str, state: list[int]) -> dict[str, float]:
    """Coded values by name and in the units of their names, sums included; what is not known is left out."""
    found: dict[str, float] = {}
    for field, coded in zip(FIELDS[kind], state, strict=False):
        value = shown(plain(coded), field.scale)
        if value is not None:
            found[field.name] = value
    for name, parts in DERIVED.get(kind, {}).items():
        if any(part in found for part in parts):
            found[name] = sum(found.get(part, 0) for part in parts)
    return found


def _main(kind: str, coded: int) -> float | None:
    return shown(plain(coded), FIELDS[kind][INDEX[kind][MAIN[kind]]].scale)


def _summed(coded: list[int]) -> int | None:
    if len(coded) == 1:
        return plain(coded[0])
    known = [value for one in coded if (value := plain(one)) is not None]
    return sum(known) if known else None


def _once(rows: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """*rows* with one per moment."""
    return [row for i, row in enumerate(rows) if not i or row[0] > rows[i - 1][0]]


def _thin(rows: list[tuple[float, float]], most: int | None, rule: str) -> list[tuple[float, float]]:
    if most is None or len(rows) <= most:
        return rows
    first, width = rows[0][0], (rows[-1][0] - rows[0][0]) / most or 1.0
    found: dict[int, tuple[float, float]] = {}
    for row in rows:
        bucket = min(int((row[0] - first) / width), most - 1)
        before = found.get(bucket)
        if (
            before is None or rule == "last" or (rule == "max" and row[1] >= before[1])
            or (rule == "min" and row[1] <= before[1])
        ):  # fmt: skip
            found[bucket] = row
    return list(found.values())


def _ours(path: str, data: bytes) -> bool:
    """Whether a file is a history's. Raises :class:`HistoryError` for one of a later format."""
    if data[: len(MAGIC)] == MAGIC:
        return True
    if data[:4] == MAGIC[:4] and len(data) >= len(MAGIC) and data[5 : len(MAGIC)] == MAGIC[5:]:
        raise HistoryError(f"{path}: made by a newer oomsight (format {data[4]})")
    return False


def _piece(path: str, start: int, length: int) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, length, start)
    finally:
        os.close(fd)
