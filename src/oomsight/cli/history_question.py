"""What ``oomsight history`` is asked: a period of a record, and whom a name means in it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from oomsight.cli.exits import CommandError, Exit, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from oomsight.record.model import Entity
    from oomsight.sources.history import History
    from oomsight.trend.series import Series

GROWN_BYTES: Final = 1 << 20  #: growth by less is not worth a row
RANKED_POINTS: Final = 200  #: of each, peaks kept: to tell which is the biggest
RANKED_MOST: Final = 100
"""So many of the biggest are asked for another figure: a week has tens of thousands of processes."""
MOST_MARKS: Final = 12  #: of kills in a picture
KINDS: Final = ("name", "unit", "container", "cgroup", "process")
"""What a name may mean, in the order in which it is looked for."""
HOST_FIELDS: Final = ("mem_available_bytes", "anon_bytes", "file_bytes", "shmem_bytes", "slab_unreclaimable_bytes",
                      "swap_free_bytes", "psi_some_pct")  # fmt: skip


class Question:
    """A history and the period asked about."""

    def __init__(self, history: History, since: float, until: float, points: int | None) -> None:
        self.history, self.since, self.until, self.points = history, since, until, points
        self._all: dict[str, list[Entity]] = {}  #: by kind under which they are stored, as far as anybody asked

    def seen(self) -> tuple[float, float]:
        """The part of the period that is on record at all, for pictures."""
        first, last = self.history.span() or (self.since, self.until)
        return max(self.since, first), min(self.until, max(last, first + 1))

    def host(self) -> list[Entity]:
        """The host, as a list of one."""
        found = self.history.host(self.since, self.until)
        if found is None:
            span = self.history.span()
            from oomsight.sinks.history_words import moment_words

            words = f"; there is {moment_words(span[0])} to {moment_words(span[1])}" if span else ""
            raise CommandError(f"{self.history.path}: nothing was recorded in this period{words}", Exit.INPUT)
        return [found]

    def find(self, who: str, kind: str | None, fields: Sequence[str] = ()) -> list[Entity]:
        """
        Whom *who* means: a pid or an exact name before a part of one, names before units, containers and cgroups. All
        processes are part of a name, and to list them takes longest: they come last. A kind that does not have the
        *fields* asked for is not meant.
        """
        from oomsight.record.fields import field_names

        able = [one for one in KINDS if set(fields) <= set(field_names(one))]
        kinds = [kind] if kind else [one for one in able if one != "process" or fields]
        if who.isdecimal() and kind in {None, "process"} and (same := self._listed("process", pid=int(who))):
            return sorted(same, key=lambda life: life.started or 0.0)
        every: dict[str, list[Entity]] = {}  # listed as far as the search gets
        for matches, among in ((_exact, kinds), (_part, kinds if kind else able)):
            for one in among:
                if one not in every:
                    every[one] = self._listed(one, who)
                if found := [entity for entity in every[one] if matches(entity, who)]:
                    return found if one != "name" else found[:1]
        if kind is None and len(able) < len(KINDS):
            return self.find(who, None)  # it is there, and has no such figure
        from oomsight.cli.near import hint_of

        words = f"nothing recorded in this period is called '{who}'"
        known = (entity.name for entities in every.values() for entity in entities)
        raise CommandError(words, Exit.INPUT, hint_of(who, known, "oomsight history --by name"))

    def biggest(self, kind: str, field: str, top: int) -> list[Entity]:
        """
        The *top* of *kind* by the peak of *field*, of the :data:`RANKED_MOST` biggest; what has none, or no limit, is
        last.
        """
        from oomsight.record.fields import MAIN, stored_kind

        if field == MAIN[stored_kind(kind)]:  # known of all without their samples
            most = max(top, RANKED_MOST) if self.history.cuts(self.since, self.until) else top
            listed = self.within(self.history.entities(kind, self.since, self.until, most))
            return sorted(listed, key=lambda entity: -(entity.peak_main or 0.0))[:top]
        places = self._places(kind, field)
        every = self.history.entities(kind, self.since, self.until, max(top, RANKED_MOST))
        found = self.history.columns(every, places, self.since, self.until, RANKED_POINTS)
        peaks = {key: peak_of(one.columns) for key, one in found.items()}
        return sorted(every, key=lambda entity: -peaks[entity.key])[:top]

    def within(self, entities: list[Entity]) -> list[Entity]:
        """
        *entities*, all of one kind, with the main figures of the period alone; those they are listed with are of whole
        chunks, which in a short period tell of what was before and after.
        """
        if not entities or not self.history.cuts(self.since, self.until):
            return entities
        from oomsight._record import replaced
        from oomsight.record.answers import main_figure
        from oomsight.record.fields import MAIN, stored_kind

        kind = stored_kind(entities[0].kind)
        places = self._places(kind, MAIN[kind])
        known = self.history.columns(entities, places, self.since, self.until, RANKED_POINTS)
        found = []
        for entity in entities:
            rows = known.get(entity.key)
            if rows is None or not rows.times:
                found.append(entity)
                continue
            ordered = [coded for _, coded in sorted(zip(rows.times, rows.columns[0], strict=True))]
            first, peak, last = (main_figure(kind, coded) for coded in (ordered[0], max(ordered), ordered[-1]))
            found.append(replaced(entity, first_main=first, peak_main=peak, last_main=last))
        return found

    @staticmethod
    def _places(kind: str, field: str) -> tuple[int, ...]:
        from oomsight.record.fields import field_names, parts_of

        try:
            return parts_of(kind, field)
        except KeyError:
            known = ", ".join(field_names(kind))
            raise UsageError(f"--field: {kind} has no {field}; there are: {known}") from None

    def _listed(self, kind: str, who: str = "", pid: int | None = None) -> list[Entity]:
        """All of a kind; of processes only those that *who* or *pid* may mean."""
        from oomsight.record.answers import looked_at_as
        from oomsight.record.fields import stored_kind

        if kind != "process":  # units and containers are cgroups, which are listed once
            stored = stored_kind(kind)
            if stored not in self._all:
                self._all[stored] = self.history.entities(stored, self.since, self.until)
            return [one for entity in self._all[stored] if (one := looked_at_as(entity, kind)) is not None]
        from oomsight.record.layout import needle_of

        return self.history.entities(kind, self.since, self.until, like=needle_of(who, pid))

    def series(
        self, entities: Sequence[Entity], fields: Sequence[str], points: int | None = None
    ) -> list[tuple[Entity, str, Series]]:
        """The figures of *entities*; *points*: not so many as were asked for."""
        return list(self.each_series(entities, fields, points))

    def each_series(
        self, entities: Sequence[Entity], fields: Sequence[str], points: int | None = None
    ) -> Iterator[tuple[Entity, str, Series]]:
        """As :meth:`series`, but those of one entity at a time are in memory."""
        from oomsight.record.fields import MAIN, stored_kind

        for entity in entities:
            usual = HOST_FIELDS if entity.kind == "host" else (MAIN[stored_kind(entity.kind)],)
            try:
                several = self.history.several(entity, fields or usual, self.since, self.until, points or self.points)
            except ValueError as error:
                raise UsageError(f"--field: {error}") from None
            for field in list(several):
                yield entity, field, several.pop(field)

    def kills(self, entity: Entity) -> list[tuple[float, str]]:
        """When the OOM killer ended somebody on the host or in a cgroup, and how many, as marks of a picture."""
        from oomsight.record.fields import stored_kind

        field = {"host": "oom_kill", "cgroup": "events_oom_kill"}.get(stored_kind(entity.kind))
        if field is None:
            return []
        ((_, _, counted),) = self.series([entity], [field])
        first, last = self.seen()
        found: list[tuple[float, int]] = []
        for (_, before), (moment, after) in pairwise(zip(counted.times, counted.values, strict=True)):
            if after > before:
                number = round(after - before)
                if found and moment - found[-1][0] < (last - first) / MOST_MARKS:  # their words would overlap
                    found[-1] = found[-1][0], found[-1][1] + number
                else:
                    found.append((moment, number))
        return [(moment, "killed" if number == 1 else f"{number:,} killed") for moment, number in found]


def peak_of(columns: Sequence[Sequence[int]]) -> float:
    """The highest sum of coded figures that are known and finite; -1 = there is none."""
    from oomsight.record.codec import plain
    from oomsight.record.fields import UNLIMITED

    best = -1.0
    for row in set(zip(*columns, strict=True)):
        known = [value for coded in row if (value := plain(coded)) is not None]
        if known and UNLIMITED not in known:
            best = max(best, sum(known))
    return best


def _exact(entity: Entity, who: str) -> bool:
    names = {entity.name, entity.name.removesuffix(".service"), entity.name.removesuffix(".scope")}
    return who in names or (entity.cgroup == who and entity.kind != "process")


def _part(entity: Entity, who: str) -> bool:
    return who in entity.name or (entity.kind in {"unit", "container"} and who in (entity.cgroup or ""))
