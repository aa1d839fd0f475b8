"""
The recorder's history, read: any number of readers beside the one writer, and after it.

Times are of the wall clock as it stands: samples keep the time since boot, and all of a boot are dated by the newest
comparison of the two clocks, so that a clock that was set later corrects what was recorded before. A gap (recorder
down, machine suspended) is a gap in the times.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

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
from oomsight.record.codec import KINDS, DamagedError, events
from oomsight.record.fields import FIELDS, field_names, parts_of, shown, stored_kind
from oomsight.record.model import Entity, Picture
from oomsight.record.tiers import TIERS
from oomsight.sources.history_files import Chunk, File, HistoryError, Shelf
from oomsight.trend.series import Series

__all__ = ["History", "HistoryError", "default_directory"]


_LIST_POINTS: Final = 480  #: how fine the chunks are that a list is made of


@dataclass(slots=True)
class _Sum:
    """What is known of an entity of a list so far; main figures are coded."""

    number: int
    chunk: Chunk
    first: float
    last: float
    first_main: int
    peak: int
    last_main: int


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

    def entities(self, kind: str, since: float, until: float, most: int | None = None) -> list[Entity]:
        """
        Everything of *kind* on record in a period, biggest peak first, at most *most*: host, process, name, unit,
        container, cgroup (and zone, swap). First, peak and last figures are those of the chunks that touch the period.
        """
        stored = stored_kind(kind)
        found: dict[str, _Sum] = {}
        for chunk, low, high in choose(self._shelf.chunks, since, until, _LIST_POINTS):
            if self._shelf.load(chunk, stored) and chunk.last >= low and chunk.first <= high:
                self._sum_up(chunk, stored, low, high, found)
        sign = -1 if stored == "zone" else 1  # the scarcest zone first
        ordered = sorted(found.items(), key=lambda one: -sign * one[1].peak)
        whole: list[Entity] = []
        for key, one in ordered:
            words = self._shelf.words(one.chunk.file)[one.number].words
            entity = looked_at_as(entity_of(stored, key, words, one.chunk.shift_ms), kind)
            if entity is not None:
                first, peak, last = (main_figure(stored, coded) for coded in (one.first_main, one.peak, one.last_main))
                whole.append(replace(entity, first=one.first, last=one.last, first_main=first, peak_main=peak,
                                     last_main=last))  # fmt: skip
                if len(whole) == most:
                    break
        self._shelf.close()
        return whole

    def series(
        self, entity: Entity, field: str, since: float, until: float, max_points: int | None = None
    ) -> Series:
        """
        One figure of *entity* over a period, from the finest tier on record for each part of it; with *max_points*
        from the one that is fine enough, thinned to the highest of each part (of what is left of memory: the lowest).

        Raises :class:`ValueError` for a field its kind does not have.
        """
        return self.several(entity, [field], since, until, max_points)[field]

    def several(
        self, entity: Entity, fields: Sequence[str], since: float, until: float, max_points: int | None = None
    ) -> dict[str, Series]:
        """As :meth:`series`, several figures at once: by field."""
        stored, known = stored_kind(entity.kind), field_names(entity.kind)
        for field in fields:
            if field not in known:
                raise ValueError(f"{entity.kind} has no {field}; there are: {', '.join(known)}")
        parts = [parts_of(entity.kind, field) for field in fields]
        rows: list[list[tuple[float, float]]] = [[] for _ in fields]
        restarts: list[float] = []
        went, step = False, 0.0
        for chunk, low, high in choose(self._shelf.chunks, since, until, max_points):
            numbers = self._numbers(chunk.file, entity)
            if not numbers or not self._shelf.load(chunk, stored):
                continue
            step = max(step, TIERS[chunk.tier].step_seconds)
            moments = [(ms + chunk.shift_ms) / 1000 for ms in chunk.times]
            begin, end = bisect_left(moments, low), bisect_right(moments, high)
            for number in numbers:
                for row, stop, values in self._stretches(chunk, number, stored, parts):
                    if values is None:
                        went = True
                        continue
                    if went and rows[0]:
                        restarts.append(moments[row])
                    went = False
                    for out, value in zip(rows, values, strict=True):
                        if value is not None:
                            out += [(moment, value) for moment in moments[max(row, begin) : min(stop, end)]]
        self._shelf.close()
        kept = tuple(moment for moment in restarts if since <= moment <= until)
        answer = {}
        for field, part, out in zip(fields, parts, rows, strict=True):
            out.sort(key=lambda row: row[0])
            found = thinned(once(out), max_points, FIELDS[stored][part[0]].rule)
            answer[field] = Series([row[0] for row in found], [row[1] for row in found], kept, step or None)
        return answer

    def at(self, moment: float) -> Picture:
        """The machine at the nearest sample at or before *moment*. Raises :class:`HistoryError` before the first."""
        candidates = [chunk for chunk in self._shelf.chunks if chunk.first <= moment]
        if not candidates:
            raise HistoryError(f"{self.path}: nothing was recorded before then")
        newest = max(min(chunk.last, moment) for chunk in candidates)
        # Of those that reach as near as any (within their own step), the finest.
        near = [c for c in candidates if min(c.last, moment) >= newest - TIERS[c.tier].step_seconds]
        for chunk in sorted(near, key=lambda c: (c.tier, -min(c.last, moment))):
            if self._shelf.load(chunk):
                return self._picture(chunk, moment)
        raise HistoryError(f"{self.path}: what was recorded then is damaged")

    def hours(self, since: float, until: float, max_points: int | None = None) -> list[float]:
        """The moments of all samples of a period, as :meth:`series` would take them."""
        found: list[float] = []
        for chunk, low, high in choose(self._shelf.chunks, since, until, max_points):
            if self._shelf.load(chunk):
                found += [m for ms in chunk.times if low <= (m := (ms + chunk.shift_ms) / 1000) <= high]
        self._shelf.close()
        return sorted(set(found))

    # -----------------------------------------------------------------------------------------------------------------

    def _sum_up(self, chunk: Chunk, kind: str, low: float, high: float, found: dict[str, _Sum]) -> None:
        """Add what a chunk says of each entity of a kind."""
        index, words, boot = chunk.index, self._shelf.words(chunk.file), chunk.file.boot
        assert index is not None
        code, lowest = KINDS.index(kind), kind == "zone"
        moments = [(ms + chunk.shift_ms) / 1000 for ms in chunk.times]
        for place in [place for place, one in enumerate(index.kinds) if one == code]:
            first = moments[index.first_rows[place]]
            last = moments[min(index.gone_rows[place], len(moments)) - 1]
            one = words.get(number := index.entities[place])
            if last < low or first > high or one is None:
                continue
            key = key_of(one.kind, one.ident, boot)
            now = _Sum(number, chunk, first, last, index.firsts[place], index.peaks[place], index.lasts[place])
            before = found.get(key)
            if before is None:
                found[key] = now
                continue
            if first < before.first:
                before.first, before.first_main = first, now.first_main
            if last >= before.last:
                before.last, before.last_main, before.number, before.chunk = last, now.last_main, number, chunk
            before.peak = min(before.peak, now.peak) if lowest else max(before.peak, now.peak)

    def _numbers(self, file: File, entity: Entity) -> list[int]:
        """Numbers that *entity* has in a file; one that went and came again has several."""
        kind, _, ident = entity.key.partition(":")
        if kind == "process":
            boot, _, ident = ident.partition(":")
            if not file.boot.startswith(boot):
                return []
        return self._shelf.numbers(file, kind, ident)

    def _stretches(
        self, chunk: Chunk, number: int, kind: str, parts: Sequence[tuple[int, ...]]
    ) -> Iterator[tuple[int, int, list[float | None] | None]]:
        """(first row, end, figures) of each stretch of equal values; ``None`` in place of the figures: it went."""
        assert chunk.index is not None
        place = chunk.index.place(number)
        if place is None:
            return
        scales = [FIELDS[kind][part[0]].scale for part in parts]
        row: int | None = None
        shown_now: list[float | None] = []
        try:
            for now, values in events(self._shelf.stream(chunk, place), kind):
                if row is not None:
                    yield row, now, shown_now
                if values is None:
                    yield now, now, None
                    row = None
                    continue
                row = now
                shown_now = [shown(summed([values[i] for i in part]), scale)
                             for part, scale in zip(parts, scales, strict=True)]  # fmt: skip
        except DamagedError:
            self._shelf.damaged += 1
        if row is not None:
            yield row, chunk.head.rows, shown_now

    def _picture(self, chunk: Chunk, moment: float) -> Picture:
        index, words = chunk.index, self._shelf.words(chunk.file)
        assert index is not None
        row = sum((ms + chunk.shift_ms) / 1000 <= moment for ms in chunk.times) - 1
        found: dict[str, list[tuple[Entity, dict[str, float]]]] = {}
        for place, stream in self._shelf.streams(chunk):
            number = index.entities[place]
            if index.first_rows[place] > row or index.gone_rows[place] <= row or number not in words:
                continue
            kind, state = KINDS[index.kinds[place]], None
            try:
                for now, values in events(stream, kind):
                    if now > row:
                        break
                    state = None if values is None else list(values)
            except DamagedError:
                self._shelf.damaged += 1
                continue
            if state is not None:
                one = words[number]
                key = key_of(one.kind, one.ident, chunk.file.boot)
                entity = entity_of(kind, key, one.words, chunk.shift_ms)
                found.setdefault(kind, []).append((entity, figures(kind, state)))
        self._shelf.close()
        host = found.get("host", [])
        when = (chunk.times[row] + chunk.shift_ms) / 1000
        others = [*found.get("zone", ()), *found.get("swap", ())]
        return Picture(
            when, moment, TIERS[chunk.tier].step_seconds, host[0][1] if host else {}, found.get("process", []),
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
