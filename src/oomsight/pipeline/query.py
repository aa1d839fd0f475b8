"""Which incidents are wanted: filters by time, pid, name and cgroup."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from oomsight._lazy import lazy
from oomsight._named import NamedTuple

if TYPE_CHECKING:
    from oomsight.report.model import OomReport

_UNITS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_WORDS: Final = {
    "second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800, "month": 2592000, "year": 31536000,
}  # fmt: skip
_AGO: Final = lazy(r"(\d+)\s*(second|minute|hour|day|week|month|year)s?(?:\s+ago)?")
_SHORT: Final = lazy(r"-?(\d+)\s*(s|min|m|h|d|w)")


class Query(NamedTuple):
    """Filters; ``None`` = not asked. An incident must pass all of them."""

    since: datetime | None = None  #: with time zone
    until: datetime | None = None
    last: int | None = None  #: newest N of those that pass
    pid: int | None = None  #: victim, chosen task or trigger
    comm: str | None = None  #: shell pattern on those names
    cgroup: str | None = None  #: shell pattern or part of a cgroup path (a container id, a pod uid, a unit)


def parse_when(text: str, now: datetime) -> datetime:
    """
    Return the moment *text* means: ISO 8601, ``today``, ``yesterday``, ``now``, ``2 hours ago``, ``-30m``, ``14:30``.

    :param now: current time with zone; dates without a zone are in its zone.
    :raises ValueError: for anything else.
    """
    words = " ".join(text.lower().split())
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if words == "now":
        return now
    if words in {"today", "yesterday"}:
        return midnight - timedelta(days=words == "yesterday")
    if m := _AGO.fullmatch(words):
        return now - timedelta(seconds=int(m[1]) * _WORDS[m[2]])
    if m := _SHORT.fullmatch(words):
        return now - timedelta(seconds=int(m[1]) * _UNITS[m[2]])
    if re.fullmatch(r"\d{1,2}:\d\d(?::\d\d)?", words):
        hour, minute, second = (*map(int, words.split(":")), 0)[:3]
        return midnight.replace(hour=hour, minute=minute, second=second)
    moment = datetime.fromisoformat(text.strip())
    return moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)


def unix_seconds(text: str | None) -> float | None:
    """Unix seconds of an ISO 8601 time; ``None`` = it is none."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except (ValueError, OverflowError, OSError):
        return None


def moment(report: OomReport, zone: datetime) -> datetime | None:
    """Wall time of *report*; a time without zone is taken in the zone of *zone*. ``None`` = the text has no date."""
    if report.when.time is None:
        return None
    try:
        found = datetime.fromisoformat(report.when.time)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=zone.tzinfo)


def wanted(report: OomReport, query: Query, now: datetime) -> bool:
    """Whether *report* passes all filters but ``last``. A report without a date passes the time filters."""
    if query.since is not None or query.until is not None:
        at = moment(report, now)
        if at is not None and query.since is not None and at < query.since:
            return False
        if at is not None and query.until is not None and at > query.until:
            return False
    if query.pid is not None and query.pid not in _pids(report):
        return False
    if query.comm is not None and not any(_matches(name, query.comm) for name in _names(report)):
        return False
    return query.cgroup is None or any(_in_path(path, query.cgroup) for path in _paths(report))


def _pids(report: OomReport) -> set[int | None]:
    found = {p for v in report.victims for p in (v.pid, v.tgid)} | {k.pid for k in report.killed}
    for role in (report.trigger, report.selected):
        if role is not None:
            found.add(role.pid)
    return found - {None}


def _names(report: OomReport) -> set[str]:
    found = {v.comm for v in report.victims} | {k.comm for k in report.killed}
    for role in (report.trigger, report.selected):
        if role is not None:
            found.add(role.comm)
    return {name for name in found if name is not None}


def _paths(report: OomReport) -> list[str]:
    found = [report.oom_memcg, report.task_memcg, report.group_memcg, *(k.cgroup for k in report.killed)]
    if report.trigger is not None:
        found.append(report.trigger.cpuset)
    return [path for path in found if path]


def _matches(name: str, pattern: str) -> bool:
    # The kernel cuts names to 15 bytes: whoever asks for the full name means the cut one.
    return fnmatchcase(name, pattern) or name == pattern[:15]


def _in_path(path: str, pattern: str) -> bool:
    if pattern in path or fnmatchcase(path, pattern):
        return True
    # A pod uid is written with dashes by people and with underscores by the systemd cgroup driver.
    return "-" in pattern and pattern.replace("-", "_") in path
