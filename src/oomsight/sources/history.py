"""
The recorder's history, read: any number of readers beside the one writer, and after it.

Times are of the wall clock as it stands: samples keep the time since boot, and all of a boot are dated by the newest
comparison of the two clocks, so that a clock that was set later corrects what was recorded before. A gap (recorder
down, machine suspended) is a gap in the times.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from oomsight.record.answers import (
    choose,
    entity_of,
    figures,
    key_of,
    looked_at_as,
    main_figure,
    once,
    summed,
    thinned,
)
from oomsight.record.codec import KINDS, DamagedError, chunk_stream, events, stream_of
from oomsight.record.fields import FIELDS, field_names, parts_of, shown, stored_kind
from oomsight.record.model import Entity, Picture
from oomsight.record.tiers import TIERS
from oomsight.sources.history_files import Chunk, HistoryError, Shelf
from oomsight.trend.series import Series

__all__ = ["History", "HistoryError", "default_directory"]


class History:
    """A history opened for reading. What is recorded later is seen by a new one."""

    def __init__(self, path: str | None = None) -> None:
        """Open the directory *path* (default: the agent's). Raises :class:`HistoryError`."""
        self.path = path if path is not None else default_directory()
        self._shelf = Shelf(self.path)

    @property
    def damaged(self) -> int:
        """How many parts are damaged, as far as anybody asked for them; they are left out."""
        return self._shelf.damaged

    # -- questions ----------------------------------------------------------------------------------------------------

    def span(self) -> tuple[float, float] | None:
        """First and last moment on record; ``None`` = nothing is."""
        if not self._shelf.chunks:
            return None
        return min(chunk.first for chunk in self._shelf.chunks), max(chunk.last for chunk in self._shelf.chunks)

    def entities(self, kind: str, since: float, until: float) -> list[Entity]:
        """
        Everything of *kind* on record in a period, biggest peak first: host, process, name, unit, container, cgroup
        (and zone, swap). First, peak and last figures are those of the chunks that touch the period.
        """
        stored = stored_kind(kind)
        code = KINDS.index(stored)
        found: dict[str, Entity] = {}
        for chunk, low, high in choose(self._shelf.chunks, since, until, 480):
            if not self._shelf.load(chunk) or chunk.last < low or chunk.first > high:
                continue
            assert chunk.index is not None
            index, words, times = chunk.index, self._shelf.words(chunk.file), self._shelf.times(chunk)
            sign = -1 if stored == "zone" else 1
            for place, number in enumerate(index.entities):
                if index.kinds[place] != code or number not in words:
                    continue
                first = (times[index.first_rows[place]] + chunk.shift_ms) / 1000
                end = index.gone_rows[place]
                last = (times[min(end, len(times)) - 1] + chunk.shift_ms) / 1000
                if last < low or first > high:
                    continue
                mains = [main_figure(stored, column[place]) for column in (index.firsts, index.peaks, index.lasts)]
                key = key_of(words[number], chunk.file.boot)
                before = found.get(key)
                if before is None:
                    made = entity_of(stored, key, words[number], chunk.shift_ms)
                    found[key] = replace(made, first=first, last=last, first_main=mains[0], peak_main=mains[1],
                                         last_main=mains[2])  # fmt: skip
                    continue
                peaks = [peak for peak in (before.peak_main, mains[1]) if peak is not None]
                found[key] = replace(
                    entity_of(stored, key, words[number], chunk.shift_ms) if last >= (before.last or 0) else before,
                    first=min(before.first or first, first), last=max(before.last or last, last),
                    first_main=before.first_main if (before.first or 0) <= first else mains[0],
                    last_main=mains[2] if last >= (before.last or 0) else before.last_main,
                    peak_main=max(peaks, key=lambda peak: sign * peak) if peaks else None,
                )  # fmt: skip
        made_of = [entity for one in found.values() if (entity := looked_at_as(one, kind)) is not None]
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
        for chunk, low, high in choose(self._shelf.chunks, since, until, max_points):
            numbers = self._numbers(chunk, entity)
            if not numbers or not self._shelf.load(chunk):
                continue
            step = max(step, TIERS[chunk.file.tier].step_seconds)
            times = self._shelf.times(chunk)
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
        rows = thinned(once(rows), max_points, rule)
        kept = tuple(moment for moment in restarts if since <= moment <= until)
        return Series([row[0] for row in rows], [row[1] for row in rows], kept, step or None)

    def at(self, moment: float) -> Picture:
        """The machine at the nearest sample at or before *moment*. Raises :class:`HistoryError` before the first."""
        candidates = [chunk for chunk in self._shelf.chunks if chunk.first <= moment]
        if not candidates:
            raise HistoryError(f"{self.path}: nothing was recorded before then")
        newest = max(min(chunk.last, moment) for chunk in candidates)
        # Of those that reach as near as any (within their own step), the finest.
        near = [c for c in candidates if min(c.last, moment) >= newest - TIERS[c.file.tier].step_seconds]
        for chunk in sorted(near, key=lambda c: (c.file.tier, -min(c.last, moment))):
            if self._shelf.load(chunk):
                return self._picture(chunk, moment)
        raise HistoryError(f"{self.path}: what was recorded then is damaged")

    def hours(self, since: float, until: float, max_points: int | None = None) -> list[float]:
        """The moments of all samples of a period, as :meth:`series` would take them."""
        found: list[float] = []
        for chunk, low, high in choose(self._shelf.chunks, since, until, max_points):
            if self._shelf.load(chunk):
                found += [m for ms in self._shelf.times(chunk) if low <= (m := (ms + chunk.shift_ms) / 1000) <= high]
        return sorted(set(found))

    def _numbers(self, chunk: Chunk, entity: Entity) -> list[int]:
        """Numbers that *entity* has in a chunk's file; one that went and came again has several."""
        boot, words = chunk.file.boot, self._shelf.words(chunk.file)
        kind = stored_kind(entity.kind)
        return [n for n, text in words.items() if text.get("kind") == kind and key_of(text, boot) == entity.key]

    def _steps(
        self, chunk: Chunk, number: int, kind: str, parts: tuple[int, ...]
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
                value = summed([values[part] for part in parts])
        except DamagedError:
            self._shelf.damaged += 1
        if row is not None:
            yield row, chunk.head.rows, value

    def _picture(self, chunk: Chunk, moment: float) -> Picture:
        assert chunk.index is not None
        assert chunk.body is not None
        times, index, words = self._shelf.times(chunk), chunk.index, self._shelf.words(chunk.file)
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
                self._shelf.damaged += 1
                continue
            if state is not None:
                key = key_of(words[number], chunk.file.boot)
                entity = entity_of(kind, key, words[number], chunk.shift_ms)
                found.setdefault(kind, []).append((entity, figures(kind, state)))
        host = found.get("host", [])
        when = (times[row] + chunk.shift_ms) / 1000
        others = [*found.get("zone", ()), *found.get("swap", ())]
        return Picture(
            when, moment, TIERS[chunk.file.tier].step_seconds, host[0][1] if host else {}, found.get("process", []),
            found.get("name", []), found.get("cgroup", []), others,
        )  # fmt: skip


def default_directory() -> str:
    """Where the recorder keeps its history unless told otherwise: the same rule as the incident store's."""
    if state := os.environ.get("STATE_DIRECTORY"):
        return os.path.join(state.split(":")[0], "history")
    if os.geteuid() == 0:
        return "/var/lib/oomsight/history"
    home = os.environ.get("XDG_STATE_HOME") or os.path.join(os.environ.get("HOME") or "/", ".local/state")
    return os.path.join(home, "oomsight", "history")
