"""
Memory curves in a file: what `oomsight history --format csv` or `json` wrote, or any CSV with a time and bytes.

A CSV needs a header; columns are found by their names. Times are ISO 8601 or unix seconds.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from oomsight.foresight.model import Subject
from oomsight.foresight.need import host_of, need_of
from oomsight.sources.errors import SourceError
from oomsight.trend.series import Series

MOST_BYTES: Final = 256 << 20
TIMES: Final = ("time", "timestamp", "date", "datetime", "ts")
VALUES: Final = ("value", "bytes", "usage_bytes", "need_bytes", "working_set_bytes", "memory_bytes")
PLAIN: Final = ("need_bytes", "working_set_bytes", "rss_anon_bytes", "usage_bytes", "anon_bytes", "value")
"""Figures that stand for a need, the best first."""

Key = tuple[str, str, int | None, str | None, str]
"""kind, name, pid, cgroup, and when a process began: a pid comes back. Empty = not told."""


def read_subjects(path: str, limit_bytes: float | None = None, content: bytes | None = None) -> list[Subject]:
    """
    Return the curves in the file *path* (or in *content*, called so), *limit_bytes* for those that bring no limit.

    Raises :class:`~oomsight.sources.errors.SourceError`, naming the line.
    """
    if content is None:
        try:
            data = Path(path)
            if data.stat().st_size > MOST_BYTES:
                raise SourceError(path, "is larger than 256 MiB", "export a shorter period or fewer points")
            content = data.read_bytes()
        except OSError as error:
            named = isinstance(error, FileNotFoundError) and os.sep not in path and "." not in path
            hint = f"oomsight history {path}, or oomsight forecast {path}, to look at the record" if named else None
            raise SourceError(path, (error.strerror or str(error)).lower(), hint) from None
    text = content.decode("utf-8-sig", "replace")
    curves = _json(path, text) if text.lstrip()[:1] in {"{", "["} else _csv(path, text)
    found = list(_subjects(curves, limit_bytes))
    if not found:
        raise SourceError(path, "holds no memory curve", "CSV: time,value; or what `oomsight history` exports")
    return found


Curves = Mapping[Key, Mapping[str, Series]]


def _subjects(curves: Curves, limit_bytes: float | None) -> Iterator[Subject]:
    for (kind, name, pid, cgroup, _), figures in curves.items():
        need = need_of(figures) or next((figures[one] for one in PLAIN if one in figures and len(figures[one])), None)
        if need is None or kind == "host":
            if kind == "host" and (host := host_of(figures)) is not None:
                yield Subject("host", "", None, None, host[0], limit_bytes or host[1])
            continue
        limit = figures.get("limit_bytes")
        own = limit.values[-1] if limit is not None and len(limit) and math.isfinite(limit.values[-1]) else None
        yield Subject(kind, name, cgroup, pid, need, own if own is not None else limit_bytes)


# -- CSV --------------------------------------------------------------------------------------------------------------


def _csv(path: str, text: str) -> Curves:
    try:
        reader = csv.DictReader(text.splitlines())
        names = {name.strip().lower(): name for name in reader.fieldnames or () if name}
        when = next((names[name] for name in TIMES if name in names), None)
        value = next((names[name] for name in VALUES if name in names), None)
        if when is None or value is None:
            raise SourceError(path, "has no columns for time and value", f"a header such as {TIMES[0]},{VALUES[0]}")
        plain = value.strip().lower()
        rows: dict[Key, dict[str, list[tuple[float, float]]]] = {}
        for row in reader:
            amount = (row.get(value) or "").strip()
            if not amount:
                continue
            kind, name, pid, cgroup, started, field = (
                (row.get(names.get(column, "")) or "").strip()
                for column in ("kind", "name", "pid", "cgroup", "started", "field")
            )
            key = (kind or "series", name or ("" if kind else Path(path).name), int(pid) if pid.isdecimal() else None,
                   cgroup or None, started)  # fmt: skip
            field = field or plain
            bytes_ = math.inf if amount == "unlimited" else float(amount)
            rows.setdefault(key, {}).setdefault(field, []).append((_moment((row.get(when) or "").strip()), bytes_))
    except (ValueError, csv.Error) as error:
        raise SourceError(path, f"line {reader.line_num}: {error}", "times: ISO 8601 or unix seconds") from None
    return {key: {name: _series(points) for name, points in found.items()} for key, found in rows.items()}


def _moment(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        when = datetime.fromisoformat(text)
        return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()


def _series(points: list[tuple[float, float]], restarts: Iterable[float] = (), step: float | None = None) -> Series:
    good = sorted((when, value) for when, value in points if math.isfinite(when) and not math.isnan(value))
    once = [point for i, point in enumerate(good) if not i or point[0] > good[i - 1][0]]
    return Series([when for when, _ in once], [value for _, value in once], tuple(sorted(restarts)), step)


# -- JSON -------------------------------------------------------------------------------------------------------------


def _json(path: str, text: str) -> Curves:
    try:
        document: Any = json.loads(text)
        rows = document["series"] if isinstance(document, dict) else document
        found: dict[Key, dict[str, Series]] = {}
        for number, row in enumerate(rows):
            who = row.get("entity") or {}
            key = (str(who.get("kind") or "series"), str(who.get("name", row.get("name", number))),
                   who.get("pid"), who.get("cgroup"), str(who.get("started") or ""))  # fmt: skip
            points = [(float(when), math.inf if value == "unlimited" else float(value))
                      for when, value in zip(row["times"], row["values"], strict=True) if value is not None]
            restarts = [_moment(str(moment)) for moment in row.get("restarts", ())]
            step = row.get("step_seconds")
            found.setdefault(key, {})[str(row.get("field", "value"))] = _series(points, restarts, step)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        what = f"is not what `oomsight history --format json` writes ({type(error).__name__}: {error})"
        raise SourceError(path, what, 'a list of {"times": [...], "values": [...]} will do') from None
    return found
