"""
The recorder's history, read: any number of readers beside the one writer, and after it.

Times are of the wall clock as it stands: samples keep the time since boot, and all of a boot are dated by the newest
comparison of the two clocks, so that a clock that was set later corrects what was recorded before. A gap (recorder
down, machine suspended) is a gap in the times.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from heapq import nlargest, nsmallest
from operator import lt
from typing import TYPE_CHECKING, Final, cast

from oomsight._record import dataclass, replaced
from oomsight._state import default_history
from oomsight.record.answers import (
    ascending,
    choose,
    entity_of,
    figures,
    key_of,
    looked_at_as,
    main_figure,
    thinned,
)
from oomsight.record.codec import KINDS, plain
from oomsight.record.dense import added
from oomsight.record.fields import FIELDS, field_names, parts_of, shown, stored_kind
from oomsight.record.formula import FORMULAS
from oomsight.record.model import Entity, Picture
from oomsight.record.tiers import TIERS
from oomsight.sources.history_columns import Columns, Gathering
from oomsight.sources.history_files import MANY, Chunk, File, HistoryDenied, HistoryError, HistoryNewer, Shelf
from oomsight.sources.history_growth import bounds_of, grown_most
from oomsight.sources.history_needs import Held, needed
from oomsight.trend.series import Series

if TYPE_CHECKING:
    from oomsight.record.layout import Words

__all__ = ["History", "HistoryDenied", "HistoryError", "HistoryNewer"]


POINTS_AT_ONCE: Final = 160_000  #: of each figure that are in memory
_EDGE_SHARE: Final = 0.02  #: of a period: so much more is as good as the period
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


class _Keys(dict[int, str | None]):
    """Keys by number, each made when first asked for; ``None`` = that number is not described."""

    def __init__(self, words: Words, boot: str) -> None:
        super().__init__()
        self._words, self._boot = words, boot

    def __missing__(self, number: int) -> str | None:
        one = self._words.get(number)
        self[number] = key = None if one is None else key_of(one.kind, one.ident, self._boot)
        return key


class History:
    """A history opened for reading. What is recorded later is seen by a new one."""

    def __init__(self, path: str | None = None) -> None:
        """Open the directory *path* (default: the agent's). Raises :class:`HistoryError`."""
        self.path = path if path is not None else default_history()
        self._shelf = Shelf(self.path)
        self._keys: dict[tuple[int, str], _Keys] = {}
        self._numbers: dict[str, int] = {}  #: of processes that were listed, by key: the same in all files of a run

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

    def entities(
        self, kind: str, since: float, until: float, most: int | None = None,
        like: str | None = None, *, by_growth: bool = False,
    ) -> list[Entity]:  # fmt: skip
        """
        Everything of *kind* on record in a period, biggest peak first, or what grew most to its peak, at most *most*:
        host, process, name, unit, container, cgroup (and zone, swap); with *like* only in whose description that
        stands. First, peak and last figures are those of the chunks that touch the period.
        """
        stored = stored_kind(kind)
        chosen = choose(self._shelf.chunks, since, until, _LIST_POINTS)
        least = most if kind == stored and not by_growth else None  # which cgroups are units their names must tell
        grown = most if kind == "process" and by_growth and like is None else None  # of others there are few
        found = self._grown(chosen, stored, grown) if grown else self._summed(chosen, stored, least, like)
        # Who is younger than a step of the coarse tier at the end of the period is in no row of it by then.
        step = max((TIERS[c.tier].step_seconds for c, _, _ in chosen if c.first <= until < c.last), default=0)
        newest = choose(self._shelf.chunks, max(until - step, since), until, None) if step > 1 else []
        young = self._summed(newest, stored, least, like)
        if grown:  # who grew by too little to be found is no younger for that
            young = {key: one for key, one in young.items() if not self._is_in(chosen, stored, key, one)}
        found = young | found
        sign = -1 if stored == "zone" else 1  # the scarcest zone first
        ordered = sorted(found.items(), key=lambda one: -sign * one[1].peak)
        if by_growth:
            ordered.sort(key=lambda one: one[1].first_main - one[1].peak)
        whole: list[Entity] = []
        for key, one in ordered:
            words = self._shelf.words(one.chunk.file, stored)[one.number].words
            entity = looked_at_as(entity_of(stored, key, words, one.chunk.shift_ms), kind)
            if entity is not None:
                if kind == "process":
                    self._numbers[key] = one.number
                first, peak, last = (main_figure(stored, coded) for coded in (one.first_main, one.peak, one.last_main))
                whole.append(replaced(entity, first=one.first, last=one.last, first_main=first, peak_main=peak,
                                     last_main=last))  # fmt: skip
                if len(whole) == most:
                    break
        self._shelf.close()
        return whole

    def cuts(self, since: float, until: float) -> bool:
        """Whether figures of :meth:`entities` are of clearly more than that period, as chunks reach beyond it."""
        edge = (until - since) * _EDGE_SHARE
        chosen = choose(self._shelf.chunks, since, until, _LIST_POINTS)
        return any(chunk.first < since - edge or chunk.last > until + edge for chunk, _, _ in chosen)

    def described(self, kind: str, since: float, until: float, max_points: int | None = None) -> list[Entity]:
        """
        Everything of a stored *kind* that is described where a question of that density is answered, without its
        figures; some may not have been there in that period. A fraction of the work of :meth:`entities`.
        """
        found: dict[str, Entity] = {}
        files = {id(chunk.file): chunk for chunk, _, _ in choose(self._shelf.chunks, since, until, max_points)}
        for chunk in files.values():
            for one in self._shelf.words(chunk.file, kind).holding(f"\t{kind}\t"):
                key = key_of(one.kind, one.ident, chunk.file.boot)
                if one.kind == kind and key not in found:
                    found[key] = entity_of(kind, key, one.words, chunk.shift_ms)
        return list(found.values())

    def host(self, since: float, until: float) -> Entity | None:
        """The host, if anything was recorded in a period; without its figures, which takes no time."""
        for chunk in reversed(self._shelf.chunks):
            if chunk.first <= until and chunk.last >= since:
                for one in self._shelf.words(chunk.file, "host").values():
                    if one.kind == "host":
                        return entity_of("host", key_of("host", one.ident, ""), one.words, chunk.shift_ms)
        return None

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
        ((_, found),) = self.together([entity], fields, since, until, max_points)
        answer = {}
        for field, one in found.items():
            rule = FIELDS[stored_kind(entity.kind)][parts_of(entity.kind, field)[0]].rule
            times, values = thinned(*_both(one), max_points, rule)
            answer[field] = replaced(one, times=times, values=values)
        return answer

    def together(
        self, entities: Sequence[Entity], fields: Sequence[str], since: float, until: float,
        max_points: int | None = None,
    ) -> Iterator[tuple[Entity, dict[str, Series]]]:  # fmt: skip
        """
        As :meth:`several`, for many entities of one kind, and every row of the tier that is fine enough: what is to be
        added up must not be thinned before. Figures that are known in every row share their list of times.
        """
        if not entities:
            return
        kind, known = entities[0].kind, field_names(entities[0].kind)
        for field in fields:
            if field not in known:
                raise ValueError(f"{kind} has no {field}; there are: {', '.join(known)}")
        parts = [parts_of(kind, field) for field in fields]
        places = sorted({place for part in parts for place in part})
        size = max(POINTS_AT_ONCE // (max_points or POINTS_AT_ONCE), 1)
        for at in range(0, len(entities), size):
            batch = entities[at : at + size]
            found = self.columns(batch, places, since, until, max_points)
            for entity in batch:
                one = found.pop(entity.key)
                kept = tuple(moment for moment in one.came if since <= moment <= until)
                column_of = dict(zip(places, one.columns, strict=True))
                answer, straight = {}, all(map(lt, one.times, one.times[1:]))
                for field, part in zip(fields, parts, strict=True):
                    column = added([column_of[place] for place in part])
                    scale = FIELDS[stored_kind(kind)][part[0]].scale
                    times, values = _known(one.times, column, scale)
                    if not straight:
                        times, values = ascending(times, values)
                    answer[field] = Series(times, values, kept, one.step_seconds or None)
                yield entity, answer

    def needs(
        self, entities: Sequence[Entity], since: float, until: float, max_points: int | None = None
    ) -> Iterator[tuple[Entity, Held | None]]:
        """
        How much each of *entities*, cgroups, names or the host, all of one kind, needed for how long, of every row of
        the tier that is fine enough; ``None`` = it was there, but that is not known. Who was not there is left out.
        """
        if not entities:
            return
        pieces, by_key = choose(self._shelf.chunks, since, until, max_points), {one.key: one for one in entities}
        for key, held in needed(self._shelf, pieces, stored_kind(entities[0].kind), list(by_key), self._known_as):
            yield by_key[key], held
        self._shelf.close()

    def columns(
        self, entities: Sequence[Entity], places: Sequence[int], since: float, until: float,
        max_points: int | None = None, *, need: bool = False,
    ) -> dict[str, Columns]:  # fmt: skip
        """
        Stored figures of *entities*, all of one kind, by key: every row of the tier that is fine enough for
        *max_points*, not thinned. With *need* the first column is what they need, in bytes
        (:func:`~oomsight.record.formula.totals`).
        """
        found, pieces = self.gathering(entities, places, need=need), self.pieces(since, until, max_points)
        kind = stored_kind(entities[0].kind) if entities else ""
        self.expect(pieces, kind, need=need, many=len(entities) > MANY)
        for piece in pieces:
            found.add(piece)
        self._shelf.close()
        return found.columns

    def pieces(self, since: float, until: float, max_points: int | None = None) -> list[tuple[Chunk, float, float]]:
        """The chunks that answer a question about a period, and the part of it each answers for, by time."""
        return choose(self._shelf.chunks, since, until, max_points)

    def expect(
        self, pieces: Sequence[tuple[Chunk, float, float]], kind: str, *, need: bool = True, many: bool = True
    ) -> None:
        """Have what will be asked of chunks about a stored *kind* read ahead."""
        ready = [*([kind.upper()] if need else []), *([kind] if many else [])]
        self._shelf.expect([chunk for chunk, _, _ in pieces], ready, fronts=True)

    def gathering(self, entities: Sequence[Entity], places: Sequence[int], *, need: bool = False) -> Gathering:
        """As :meth:`columns`, of chunks that whoever asks adds himself."""
        kind = stored_kind(entities[0].kind) if entities else ""
        return Gathering(self._shelf, kind, [one.key for one in entities], places, self._known_as,
                         FORMULAS[kind] if need else None)  # fmt: skip

    def at(self, moment: float) -> Picture:
        """The machine at the nearest sample at or before *moment*. Raises :class:`HistoryError` before the first."""
        candidates = [chunk for chunk in self._shelf.chunks if chunk.first <= moment]
        if not candidates:
            span = self.span()
            if span is None:
                raise HistoryError(f"{self.path}: nothing is recorded yet")
            first = f"{datetime.fromtimestamp(span[0]).astimezone():%Y-%m-%d %H:%M:%S}"
            raise HistoryError(f"{self.path}: nothing was recorded before then; the record begins {first}")
        newest = max(min(chunk.last, moment) for chunk in candidates)
        # Of those that reach as near as any (within their own step), the finest.
        near = [c for c in candidates if min(c.last, moment) >= newest - TIERS[c.tier].step_seconds]
        for chunk in sorted(near, key=lambda c: (c.tier, -min(c.last, moment))):
            if self._shelf.load(chunk, "host"):
                return self._picture(chunk, moment)
        raise HistoryError(f"{self.path}: what was recorded then is damaged")

    def hours(self, since: float, until: float, max_points: int | None = None) -> list[float]:
        """The moments of all samples of a period, as :meth:`series` would take them."""
        found: list[float] = []
        for chunk, low, high in choose(self._shelf.chunks, since, until, max_points):
            if self._shelf.load(chunk, "host"):
                found += [moment for moment in chunk.moments if low <= moment <= high]
        self._shelf.close()
        return sorted(set(found))

    # -----------------------------------------------------------------------------------------------------------------

    def _summed(
        self, chosen: Sequence[tuple[Chunk, float, float]], kind: str, most: int | None, like: str | None
    ) -> dict[str, _Sum]:  # fmt: skip
        """What is known by key of everything of a kind, of the *most* biggest, or of whom *like* means."""
        pieces = self._loaded(chosen, kind)
        found: dict[str, _Sum] = {}
        wanted = None if most is None and like is None else self._wanted(pieces, kind, most, like)
        for chunk, low, high in pieces:
            numbers = None if wanted is None else sorted(
                number for key in wanted for number in self._known_as(chunk.file, kind, key)
            )  # fmt: skip
            self._sum_up(chunk, kind, low, high, found, numbers)
        return found

    def _grown(self, chosen: Sequence[tuple[Chunk, float, float]], kind: str, most: int) -> dict[str, _Sum]:
        """What is known by key of everything of a kind that may be among the *most* that grew most."""
        pieces = self._loaded(chosen, kind)

        def summed(among: Mapping[str, set[int]]) -> dict[str, _Sum]:
            found: dict[str, _Sum] = {}
            for chunk, low, high in pieces:
                self._sum_up(chunk, kind, low, high, found, sorted(among.get(chunk.file.boot, ())))
            return found

        return grown_most(bounds_of(pieces, kind), most, summed)

    def _is_in(self, chosen: Sequence[tuple[Chunk, float, float]], kind: str, key: str, one: _Sum) -> bool:
        """Whether an entity, called *key* and known by a number, is in these chunks in their part of the time."""
        for chunk, low, high in reversed(chosen):  # who is there now has been for a while
            place = chunk.index.place(one.number) if chunk.index is not None else None
            there = place is not None and within(chunk, place, low, high)
            if there and self._keys_of(chunk.file, kind)[one.number] == key:
                return True
        return False

    def _loaded(self, chosen: Sequence[tuple[Chunk, float, float]], kind: str) -> list[tuple[Chunk, float, float]]:
        self._shelf.expect([chunk for chunk, _, _ in chosen], fronts=True)
        return [piece for piece in chosen
                if self._shelf.load(piece[0], kind) and self._shelf.marks(piece[0]) is not None]  # fmt: skip

    def _wanted(
        self, pieces: Sequence[tuple[Chunk, float, float]], kind: str, most: int | None, like: str | None
    ) -> set[str]:  # fmt: skip
        """
        Keys of the entities that *like* means; without it, of those that may be among the *most* biggest: who is, is so
        in the chunk of its peak too.
        """
        code, pick = KINDS.index(kind), nsmallest if kind == "zone" else nlargest
        found: set[str] = set()
        files = {id(chunk.file): chunk.file for chunk, _, _ in pieces}
        if like is not None:
            for file in files.values():
                for one in self._shelf.words(file, kind).holding(like):
                    if one.kind == kind:
                        if kind == "process":
                            self._shelf.is_number(file, one)
                        found.add(key_of(one.kind, one.ident, file.boot))
            return found
        for chunk, low, high in pieces:
            index, words = chunk.index, self._shelf.words(chunk.file, kind)
            assert index is not None
            assert most is not None
            places = index.places(code)
            if low > chunk.first or high < chunk.last:
                places = [place for place in places if within(chunk, place, low, high)]
            for place in pick(most, places, index.marks.peaks.__getitem__):
                if (one := words.get(index.entities[place])) is not None:
                    if kind == "process":
                        self._shelf.is_number(chunk.file, one)
                    found.add(key_of(one.kind, one.ident, chunk.file.boot))
        return found

    def _sum_up(  # noqa: PLR0917
        self, chunk: Chunk, kind: str, low: float, high: float, found: dict[str, _Sum],
        numbers: Sequence[int] | None,
    ) -> None:
        """Add what a chunk says of each entity of a kind, or of those called by *numbers*, which ascend."""
        index, keys, moments = chunk.index, self._keys_of(chunk.file, kind), chunk.moments
        assert index is not None
        marks, lowest, rows = index.marks, kind == "zone", len(moments)
        if numbers is None:
            places = index.places(KINDS.index(kind))
        else:
            places = [place for number in numbers if (place := index.place(number)) is not None]
        for place in places:
            first = moments[index.first_rows[place]]
            last = moments[min(index.gone_rows[place], rows) - 1]
            key = keys[number := index.entities[place]]
            if last < low or first > high or key is None:
                continue
            peak, before = marks.peaks[place], found.get(key)
            if before is None:
                found[key] = _Sum(number, chunk, first, last, marks.firsts[place], peak, marks.lasts[place])
                continue
            if first < before.first:
                before.first, before.first_main = first, marks.firsts[place]
            if last >= before.last:
                before.last, before.last_main, before.number, before.chunk = last, marks.lasts[place], number, chunk
            if peak < before.peak if lowest else peak > before.peak:
                before.peak = peak

    def _keys_of(self, file: File, kind: str) -> _Keys:
        """What the entities of *kind* in a file are called in all of them, by number."""
        found = self._keys.get((id(file), kind))
        if found is None:
            found = self._keys[id(file), kind] = _Keys(self._shelf.words(file, kind), file.boot)
        return found

    def _known_as(self, file: File, kind: str, key: str) -> list[int]:
        """Numbers that the entity called *key* has in a file: one that went and came again has several."""
        _, _, ident = key.partition(":")
        if kind == "process":
            boot, _, ident = ident.partition(":")
            if not file.boot.startswith(boot):
                return []
            number = self._numbers.get(key)
            if number is not None and self._keys_of(file, kind)[number] == key:  # it has one in a file
                return [number]
        return self._shelf.numbers(file, kind, ident)

    def _picture(self, chunk: Chunk, moment: float) -> Picture:
        row = bisect_right(chunk.moments, moment) - 1
        found: dict[str, list[tuple[Entity, dict[str, float]]]] = {}
        for number, code, state in self._shelf.states(chunk, row):
            kind = KINDS[code]
            one = self._shelf.words(chunk.file, kind).get(number)
            if one is not None:
                key = key_of(one.kind, one.ident, chunk.file.boot)
                entity = entity_of(kind, key, one.words, chunk.shift_ms)
                found.setdefault(kind, []).append((entity, figures(kind, state)))
        self._shelf.close()
        host = found.get("host", [])
        when = chunk.moments[row]
        others = [*found.get("zone", ()), *found.get("swap", ())]
        return Picture(
            when, moment, TIERS[chunk.tier].step_seconds, host[0][1] if host else {}, found.get("process", []),
            found.get("name", []), found.get("cgroup", []), others, host[0][0].unseen if host else (),
        )  # fmt: skip


def _both(series: Series) -> tuple[list[float], list[float]]:
    return cast("list[float]", series.times), cast("list[float]", series.values)


def _known(times: list[float], column: list[int], scale: int) -> tuple[list[float], list[float]]:
    """The points of a coded column that have a value, in the unit of its name."""
    if column and column.count(column[0]) == len(column):
        value = shown(plain(column[0]), scale)
        return ([], []) if value is None else (times, [value] * len(times))
    if min(column, default=1) > 0:
        return times, [(coded - 1) * scale for coded in column]
    found = [(moment, value) for moment, coded in zip(times, column, strict=True)
             if (value := shown(plain(coded), scale)) is not None]  # fmt: skip
    return [moment for moment, _ in found], [value for _, value in found]


def within(chunk: Chunk, place: int, low: float, high: float) -> bool:
    """Whether the entity at *place* of a loaded chunk was there in a period."""
    index, moments = chunk.index, chunk.moments
    assert index is not None
    return moments[min(index.gone_rows[place], len(moments)) - 1] >= low and moments[index.first_rows[place]] <= high
