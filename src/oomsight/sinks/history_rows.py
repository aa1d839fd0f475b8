"""The history for programs: JSON, CSV, Parquet."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from oomsight.sinks.score_csv import csv_cell

if TYPE_CHECKING:
    from oomsight.record.model import Entity, Picture
    from oomsight.trend.series import Series

SCHEMA: Final = "oomsight.history/1"
COLUMNS: Final = ("time", "kind", "name", "pid", "cgroup", "field", "value")


class MissingParquetError(Exception):
    """pyarrow is not installed."""


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
    })  # fmt: skip


def _numbers(values: Mapping[str, float]) -> dict[str, int | float | str | None]:
    return {name: number(value) for name, value in values.items()}


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1) + "\n"


def series_rows(found: Sequence[tuple[Entity, str, Series]]) -> Iterator[tuple[Any, ...]]:
    """One row of :data:`COLUMNS` per sample."""
    for entity, field, series in found:
        for moment, value in zip(series.times, series.values, strict=True):
            yield moment, entity.kind, entity.name, entity.pid, entity.cgroup, field, value


def picture_rows(picture: Picture) -> Iterator[tuple[Any, ...]]:
    """One row of :data:`COLUMNS` per figure of a moment."""
    for name, value in picture.host.items():
        yield picture.time, "host", "", None, None, name, value
    for pairs in (picture.processes, picture.names, picture.cgroups, picture.others):
        for entity, values in pairs:
            for name, value in values.items():
                yield picture.time, entity.kind, entity.name, entity.pid, entity.cgroup, name, value


def csv_text(rows: Iterator[tuple[Any, ...]]) -> str:
    """Rows as CSV, safe to open in a spreadsheet."""
    import csv
    import io

    lines = [",".join(COLUMNS)]
    safe: dict[tuple[Any, ...], str] = {}  # who and what repeat from row to row
    minutes: dict[int, str] = {}
    for moment, *rest, value in rows:
        who = tuple(rest)
        cells = safe.get(who)
        if cells is None:
            out = io.StringIO()
            csv.writer(out, lineterminator="").writerow([csv_cell(one) for one in rest])
            cells = safe[who] = out.getvalue()
        minute, left = divmod(round(moment * 1000), 60_000)
        begin = minutes.get(minute)
        if begin is None:
            begin = minutes[minute] = datetime.fromtimestamp(minute * 60, UTC).strftime("%Y-%m-%dT%H:%M:")
        known = number(value)
        lines.append(f"{begin}{left // 1000:02}.{left % 1000:03}Z,{cells},{'' if known is None else known}")
    return "\n".join(lines) + "\n"


def parquet_bytes(rows: Iterator[tuple[Any, ...]]) -> bytes:
    """Rows as a Parquet file; a limit that does not limit is infinity. Raises :class:`MissingParquetError`."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingParquetError("Parquet needs pyarrow") from None
    columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
    types = (pa.timestamp("ms", tz="UTC"), pa.string(), pa.string(), pa.int64(), pa.string(), pa.string(), pa.float64())
    arrays = []
    for name, kind, values in zip(COLUMNS, types, columns, strict=True):
        plain = [int(value * 1000) for value in values] if name == "time" else [_utf8(value) for value in values]
        arrays.append(pa.array(plain, type=kind))
    out = BytesIO()
    pq.write_table(pa.table(arrays, names=list(COLUMNS)), out, compression="zstd")
    return out.getvalue()


def _utf8(value: Any) -> Any:
    """Parquet text is UTF-8: a byte that is not becomes a visible escape."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
