"""The history for programs: JSON, CSV, and the rows that Parquet has too."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from oomsight._named import NamedTuple
from oomsight.sinks.csv_cells import csv_cell
from oomsight.sinks.even_json import dumps

if TYPE_CHECKING:
    from oomsight.record.model import Entity, Picture
    from oomsight.trend.series import Series

SCHEMA: Final = "oomsight.history/1"
COLUMNS: Final = ("time", "kind", "name", "pid", "started", "cgroup", "field", "value")


ROWS_AT_ONCE: Final = 20_000  #: in memory as text
MOST_STAMPS: Final = 10_000  #: minutes, and ends of moments, whose texts are remembered
MOST_KNOWN: Final = 4  #: times :data:`ROWS_AT_ONCE` moments whose texts are
_MINUTE_MS: Final = 60_000


class Group(NamedTuple):
    """Samples of one figure of one entity: a row of :data:`COLUMNS` each."""

    who: tuple[str, str, int | None, str | None, str | None, str]  #: the columns between time and value
    times: Sequence[float]  #: unix seconds
    values: Sequence[float]


def iso(unix_seconds: float | None) -> str | None:
    """A moment as ISO 8601 with milliseconds, UTC."""
    if unix_seconds is None:
        return None
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def number(value: float | None) -> int | float | str | None:
    """A figure: whole where it is whole, ``"unlimited"`` for a limit that does not limit."""
    if value is None:
        return None
    return "unlimited" if math.isinf(value) else int(value) if value == int(value) else value


def entity_dict(entity: Entity) -> dict[str, Any]:
    """An entity as in the JSON document."""
    return {
        "kind": entity.kind, "key": entity.key, "name": entity.name, "pid": entity.pid,
        "started": iso(entity.started), "cgroup": entity.cgroup, "cmdline": entity.cmdline,
    }  # fmt: skip


def series_document(since: float, until: float, found: Sequence[tuple[Entity, str, Series]]) -> str:
    """Series as one JSON document."""
    rows = [
        {"entity": entity_dict(entity), "field": field, "step_seconds": series.step_seconds,
         "restarts": [iso(moment) for moment in series.restarts],
         "times": [round(moment, 3) for moment in series.times], "values": [number(value) for value in series.values]}
        for entity, field, series in found
    ]  # fmt: skip
    document = {"schema": SCHEMA, "since": iso(since), "until": iso(until), "series": rows}
    return json.dumps(document) + "\n"  # one line: indented, a week of samples takes three times as long


def entities_document(since: float, until: float, field: str, entities: Sequence[Entity]) -> str:
    """A list of entities with their main figure as one JSON document."""
    rows = [
        {**entity_dict(e), "field": field, "first_seen": iso(e.first), "last_seen": iso(e.last),
         "first": number(e.first_main), "peak": number(e.peak_main), "last": number(e.last_main)}
        for e in entities
    ]  # fmt: skip
    return _json({"schema": SCHEMA, "since": iso(since), "until": iso(until), "entities": rows})


def picture_document(picture: Picture) -> str:
    """The machine at one moment as one JSON document."""
    def rows(pairs: Sequence[tuple[Entity, Mapping[str, float]]]) -> list[dict[str, Any]]:
        return [{**entity_dict(entity), "values": _numbers(values)} for entity, values in pairs]

    return _json({
        "schema": SCHEMA, "time": iso(picture.time), "asked": iso(picture.asked),
        "step_seconds": picture.step_seconds, "host": _numbers(picture.host), "processes": rows(picture.processes),
        "names": rows(picture.names), "cgroups": rows(picture.cgroups), "others": rows(picture.others),
        "unseen": list(picture.unseen),
    })  # fmt: skip


def _numbers(values: Mapping[str, float]) -> dict[str, int | float | str | None]:
    return {name: number(value) for name, value in values.items()}


def _json(document: dict[str, Any]) -> str:
    return dumps(document, 1) + "\n"


def series_groups(found: Iterable[tuple[Entity, str, Series]]) -> Iterator[Group]:
    """A group for each series."""
    for entity, field, series in found:
        yield Group(_who(entity, field), series.times, series.values)


def _who(entity: Entity, field: str) -> tuple[str, str, int | None, str | None, str | None, str]:
    """Whose figure it is. A pid comes back within a period: when it was begun tells one life from the other."""
    return entity.kind, entity.name, entity.pid, iso(entity.started), entity.cgroup, field


def picture_groups(picture: Picture) -> Iterator[Group]:
    """A group of one for every figure of a moment."""
    moment = (picture.time,)
    for name, value in picture.host.items():
        yield Group(("host", "", None, None, None, name), moment, (value,))
    for pairs in (picture.processes, picture.names, picture.cgroups, picture.others):
        for entity, values in pairs:
            for name, value in values.items():
                yield Group(_who(entity, name), moment, (value,))


def csv_pieces(groups: Iterable[Group]) -> Iterator[str]:
    """Groups as CSV, safe to open in a spreadsheet, some thousands of rows at a time; each piece ends a line."""
    import csv
    import io

    lines, stamps = [",".join(COLUMNS)], Stamps()
    for group in groups:
        out = io.StringIO()
        csv.writer(out, lineterminator="").writerow([csv_cell(one) for one in group.who])
        cells = out.getvalue()
        for begin in range(0, len(group.times), ROWS_AT_ONCE):
            part = slice(begin, begin + ROWS_AT_ONCE)
            values: Iterable[object] = group.values[part]
            if {*map(type, values)} != {int}:
                values = map(number, group.values[part])
            lines += [f"{stamp},{cells},{value}"
                      for stamp, value in zip(stamps.of(group.times[part]), values, strict=True)]  # fmt: skip
            if len(lines) >= ROWS_AT_ONCE:
                yield "\n".join(lines) + "\n"
                lines.clear()
    if lines:
        yield "\n".join(lines) + "\n"


class Stamps:
    """Moments as :func:`iso` writes them, in a fraction of the time: what they have in common is written once."""

    def __init__(self) -> None:
        self._minutes, self._rest = _Minutes(), _Rest()
        self._known: deque[tuple[Sequence[float], list[str]]] = deque(maxlen=MOST_KNOWN)

    def of(self, times: Sequence[float]) -> list[str]:
        """Those of some moments; samples of many series are of the same ones."""
        for known, found in self._known:
            if known == times:
                return found
        minutes, rest = self._minutes, self._rest
        found = [minutes[ms // _MINUTE_MS] + rest[ms % _MINUTE_MS] for ms in [round(moment * 1000) for moment in times]]
        self._known.append((times, found))
        return found


class _Minutes(dict[int, str]):
    """By number since 1970, how a moment in a minute begins."""

    def __init__(self) -> None:
        self._days: dict[int, str] = {}

    def __missing__(self, minute: int) -> str:
        if len(self) >= MOST_STAMPS:
            self.clear()
        day, left = divmod(minute, 1440)
        if day not in self._days:
            self._days[day] = datetime.fromtimestamp(day * 86400, UTC).strftime("%Y-%m-%dT")
        found = self[minute] = f"{self._days[day]}{left // 60:02}:{left % 60:02}:"
        return found


class _Rest(dict[int, str]):
    """By milliseconds since its minute began, how a moment ends: the steps of a record fall on few of them."""

    def __missing__(self, left: int) -> str:
        if len(self) >= MOST_STAMPS:
            self.clear()
        found = self[left] = f"{left // 1000:02}.{left % 1000:03}Z"
        return found
