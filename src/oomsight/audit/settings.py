"""
The configuration file ``.oomsight.toml``: the table ``[audit]``, checked before it is used.

::

    [audit]
    fail-on = "high"
    exclude = ["vendor/*", "*/testdata/*"]
    limit-to-request = 4

    [[audit.ignore]]
    rules = ["OS401"]
    paths = ["dev/*"]
    reason = "the development cluster has nodes for it"
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from oomsight.audit.model import SEVERITIES, Finding, Settings, Severity
from oomsight.audit.quantity import docker_size

FILE_NAME: Final = ".oomsight.toml"


class Key(NamedTuple):
    """One key of ``[audit]``."""

    name: str
    kind: str  #: ``severity``, ``words``, ``number``, ``size``, ``flag``, ``tables``
    help: str


KEYS: Final[tuple[Key, ...]] = (
    Key("fail-on", "severity", "end with status 3 at this severity or worse: info, low, medium, high"),
    Key("select", "words", "rules to run: ids, or how they begin (`OS4`); all without it"),
    Key("exclude", "words", "files to leave out: patterns over the path below the directory audited"),
    Key("limit-to-request", "number", "OS404: a limit this many times the request is far above it; 3 without it"),
    Key("ram", "size", "RAM of the machine the files are for, `16G`: sums of limits are held against it"),
    Key("runtimes", "flag", "hold heaps and caches against the limit (OS5xx); true without it"),
    Key("ignore", "tables", "findings accepted: `rules`, `paths` (all without it) and the `reason`"),
)
"""The table ``[audit]``."""


class Ignore(NamedTuple):
    """One ``[[audit.ignore]]``."""

    rules: tuple[str, ...]
    paths: tuple[str, ...]  #: patterns; empty = everywhere
    reason: str

    def covers(self, finding: Finding) -> bool:
        """Whether *finding* is accepted by this row."""
        place = finding.where.path or finding.where.key or ""
        return finding.rule.startswith(self.rules) and (not self.paths or matches(place, self.paths))


@dataclass(frozen=True, slots=True)
class Config:
    """What the configuration file says."""

    fail_on: Severity | None = None
    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    ignore: tuple[Ignore, ...] = ()
    settings: Settings = field(default_factory=Settings)


def matches(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether *path*, or its end from any directory on, matches one of *patterns* (``*`` matches ``/``, too)."""
    plain = path.removeprefix("./")
    tails = [plain, *(plain[i + 1 :] for i, char in enumerate(plain) if char == "/")]
    return any(fnmatchcase(tail, pattern) for pattern in patterns for tail in tails)


def read_config(values: dict[str, Any]) -> tuple[Config, list[str]]:
    """Return the configuration in the parsed TOML *values*, and what is wrong with it in words."""
    table = values.get("audit", {})
    if not isinstance(table, dict):
        return Config(), ["audit is no table"]
    problems = list(_unknown(table))
    config = Config()
    settings = config.settings
    for key in KEYS:
        if key.name not in table:
            continue
        value, wrong = _READ[key.kind](table[key.name])
        if wrong is not None:
            problems.append(f"audit.{key.name}: {wrong}")
            continue
        match key.name:
            case "fail-on":
                config = replace(config, fail_on=value)
            case "select":
                config = replace(config, select=value)
            case "exclude":
                config = replace(config, exclude=value)
            case "ignore":
                config = replace(config, ignore=value)
            case "limit-to-request":
                settings = replace(settings, limit_to_request=value)
            case "ram":
                settings = replace(settings, ram_bytes=value)
            case "runtimes":
                settings = replace(settings, runtime_estimates=value)
    return replace(config, settings=settings), problems


def _unknown(table: dict[str, Any]) -> Iterator[str]:
    names = [key.name for key in KEYS]
    for name in table:
        if name not in names:
            near = get_close_matches(name, names, 1)
            yield f"audit.{name}: there is no such key; " + (
                f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
            )


def _severity(value: Any) -> tuple[Any, str | None]:
    if value in SEVERITIES:
        return SEVERITIES[value], None
    return None, f"is one of {', '.join(SEVERITIES)}"


def _words(value: Any) -> tuple[Any, str | None]:
    if isinstance(value, list) and all(isinstance(word, str) and word for word in value):
        return tuple(value), None
    return None, "is a list of texts"


def _number(value: Any) -> tuple[Any, str | None]:
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 1:
        return float(value), None
    return None, "is a number from 1 on"


def _size(value: Any) -> tuple[Any, str | None]:
    size = docker_size(str(value)).size_bytes if isinstance(value, str | int) else None
    return (size, None) if size else (None, 'is a size, "16G"')


def _flag(value: Any) -> tuple[Any, str | None]:
    return (value, None) if isinstance(value, bool) else (None, "is true or false")


def _tables(value: Any) -> tuple[Any, str | None]:
    if not isinstance(value, list):
        return None, "is written [[audit.ignore]]"
    rows = []
    for row in value:
        if not isinstance(row, dict) or set(row) - {"rules", "paths", "reason"}:
            return None, "has rules, paths and reason"
        rules, wrong = _words(row.get("rules"))
        if wrong:
            return None, f"rules {wrong}"
        paths, wrong = _words(row.get("paths", []))
        if wrong:
            return None, f"paths {wrong}"
        reason = row.get("reason")
        if not isinstance(reason, str) or not reason.strip():
            return None, f"{', '.join(rules)} is ignored without a reason: give one"
        rows.append(Ignore(rules, paths, reason))
    return tuple(rows), None


_READ: Final = {
    "severity": _severity, "words": _words, "number": _number, "size": _size, "flag": _flag, "tables": _tables,
}  # fmt: skip
