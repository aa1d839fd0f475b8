"""
A scenario file (TOML) as a :class:`Scenario`, or everything that is wrong with it.

:func:`read_scenario` never raises: each problem names line, key, what is allowed and, for a mistyped key, the nearest
valid one. :func:`changed` applies what variants, ``--set`` and ``--sweep`` change.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from oomsight.kernel.badness import rule_by_name
from oomsight.kernel.release import parse_release
from oomsight.kernel.selection import inside
from oomsight.simulate.keys import (
    ALERT_KEYS,
    CGROUP_KEYS,
    GUARD_KEYS,
    KIND_KEYS,
    MACHINE_KEYS,
    PROCESS_KEYS,
    ROOT_KEYS,
    RUN_KEYS,
    VARIANT_KEYS,
    Key,
    range_words,
    read_value,
)

Values = Mapping[str, Any]
"""The values of one table, every key of its row table present; ``None`` = not set."""

MAX_STEPS: Final = 100_000_000
MAX_PROCESSES: Final = 20_000

_SECTIONS: Final = {"run": RUN_KEYS, "machine": MACHINE_KEYS, "guard": GUARD_KEYS, "alert": ALERT_KEYS}
_LISTS: Final = ("cgroup", "process", "variant")


class Problem(NamedTuple):
    """One thing that is wrong with a scenario."""

    line: int | None  #: in the file, from 1; ``None`` = about the whole or about the command line
    key: str  #: ``machine.swap``; empty = the text itself
    words: str

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{self.key}: {self.words}" if self.key else f"{where}{self.words}"


@dataclass(frozen=True, slots=True)
class Variant:
    """The scenario with something changed, usually a cure."""

    name: str
    title: str
    changes: Mapping[str, Any]  #: dotted path -> value as written
    cures: bool = True


@dataclass(frozen=True, slots=True)
class Scenario:
    """A machine, what runs on it, and what is tried."""

    title: str
    about: str
    protect: tuple[str, ...]
    run: Values
    machine: Values
    cgroups: tuple[Values, ...]
    processes: tuple[Values, ...]
    guard: Values | None
    alert: Values
    variants: tuple[Variant, ...] = field(default=(), repr=False)

    @property
    def steps(self) -> int:
        """Length of the run in steps."""
        return max(round(float(self.run["duration"]) / float(self.run["step"])), 1)


def read_scenario(text: str) -> tuple[Scenario | None, list[Problem]]:
    """The scenario of *text*; with any problem there is none."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r" \(at line (\d+), column \d+\)$", str(error))
        words = f"not TOML: {str(error)[: found.start()] if found else str(error)}"
        return None, [Problem(int(found[1]) if found else text.count("\n") + 1, "", words)]
    reader = _Reader(text)
    scenario = reader.scenario(document)
    return (None if reader.problems else scenario), reader.problems


class _Reader:
    """Walks the document along the tables of keys and collects problems."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        self.problems: list[Problem] = []

    def line_of(self, table: str, index: int | None, key: str | None) -> int | None:
        """Line of *key* (else of the header) in the *index*-th ``[[table]]``, in ``[table]`` or at the top (empty)."""
        wanted = f"[[{table}]]" if index is not None else f"[{table}]"
        seen, inside, header = -1, not table, None
        for number, raw in enumerate(self.lines, 1):
            line = raw.strip()
            if line.startswith("["):
                name = line.partition("#")[0].replace(" ", "").rstrip()
                seen += name == wanted
                # [variant.set] goes on with the row above it.
                inside = seen == (index or 0) and (name == wanted or name.startswith(f"[{table}."))
                header = header or (number if inside else None)
                if not table and name.strip("[]") == key:
                    return number
            elif inside and key is not None:
                written = line.partition("=")[0].strip().strip("\"'")
                if written == key or f'"{key}"' in line or f"'{key}'" in line:
                    return number
        return header

    def problem(self, table: str, index: int | None, key: str, words: str, line_key: str | None = None) -> None:
        path = f"{table}.{key}" if table and key else table or key
        self.problems.append(Problem(self.line_of(table, index, line_key or key or None), path, words))

    def table(self, name: str, keys: tuple[Key, ...], found: object, index: int | None = None,
              others: tuple[str, ...] = ()) -> dict[str, Any]:  # fmt: skip
        """Values of one table, defaults filled in; *others* are keys somebody else reads."""
        if not isinstance(found, dict):
            self.problem("", None, name, f"must be a table, written [{name}]")
            return {key.name: key.default for key in keys}
        known = [key.name for key in keys] + list(others)
        for written in found:
            if written not in known:
                homes = [home for home, its in _SECTIONS.items() if written in {key.name for key in its}]
                words = f"no such key; it belongs below [{homes[0]}]" if homes else no_such_key(written, known)
                self.problem(name, index, written, words)
        values: dict[str, Any] = {}
        for key in keys:
            values[key.name] = key.default
            if key.name in found:
                value = read_value(key, found[key.name])
                if value is None:
                    self.problem(name, index, key.name, f"{_shown(found[key.name])} is not {range_words(key)}")
                else:
                    values[key.name] = value
            elif key.needed:
                self.problem(name, index, key.name, f"is missing: {range_words(key)} ({key.meaning})")
        return values

    def rows(self, document: Mapping[str, Any], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """The rows of ``[[name]]``."""
        found = document.get(name, [])
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            self.problem("", None, name, f"must be a list of tables, each written [[{name}]]")
            return
        yield from enumerate(found)

    def process(self, row: dict[str, Any], index: int) -> dict[str, Any]:
        kind = row.get("kind")
        keys = PROCESS_KEYS + (KIND_KEYS.get(kind, ()) if isinstance(kind, str) else ())
        others = () if kind in KIND_KEYS else tuple(key.name for rows in KIND_KEYS.values() for key in rows)
        values = self.table("process", keys, row, index, others)
        if isinstance(values["cgroup"], str) and not values["cgroup"].startswith("/"):
            self.problem("process", index, "cgroup", f"{_shown(values['cgroup'])} is not a path from /")
        return values

    def scenario(self, document: dict[str, Any]) -> Scenario | None:
        root = self.table("", ROOT_KEYS, document, None, (*_SECTIONS, *_LISTS))
        sections = {
            name: self.table(name, keys, document.get(name, {})) for name, keys in _SECTIONS.items()
            if name != "guard" or name in document
        }  # fmt: skip
        cgroups = [self.table("cgroup", CGROUP_KEYS, row, i) for i, row in self.rows(document, "cgroup")]
        for index, values in enumerate(cgroups):
            path = values["path"]
            if isinstance(path, str) and (not path.startswith("/") or path == "/" or path.endswith("/")):
                self.problem("cgroup", index, "path", f"{_shown(path)} is not a path such as /app or /app/web")
        processes = [self.process(row, i) for i, row in self.rows(document, "process")]
        variants = [self.variant(row, i) for i, row in self.rows(document, "variant")]
        if not processes and not self.problems:
            self.problems.append(Problem(None, "process", "is missing: at least one [[process]]"))
        for table, key, words in _contradictions(sections["run"], processes, root["protect"]):
            self.problem(table, 0 if table == "process" else None, key, words)
        guarded = sections["guard"]["cgroup"] if "guard" in sections else "/"
        paths = [values["cgroup"] for values in processes] + [values["path"] for values in cgroups]
        if isinstance(guarded, str) and guarded != "/" and not any(inside(p, guarded) for p in paths if p):
            near = get_close_matches(guarded, [path for path in paths if path], 1)
            hint = f"; did you mean {_shown(near[0])}?" if near else ""
            self.problem("guard", None, "cgroup", f"there is no cgroup {_shown(guarded)}{hint}")
        if self.problems:
            return None
        scenario = Scenario(
            root["title"], root["about"], root["protect"] or tuple(row["name"] for row in processes),
            sections["run"], sections["machine"], tuple(cgroups), tuple(processes), sections.get("guard"),
            sections["alert"], tuple(variants),
        )  # fmt: skip
        for index, variant in enumerate(variants):
            _, problems = changed(scenario, variant.changes)
            for found in problems:
                self.problem("variant", index, f"set.{found.key}", found.words, found.key)
        return scenario

    def variant(self, row: dict[str, Any], index: int) -> Variant:
        values = self.table("variant", VARIANT_KEYS, row, index, ("set",))
        changes: dict[str, Any] = {}
        found = row.get("set", {})
        if not isinstance(found, dict):
            self.problem("variant", index, "set", "must be a table of changes such as \"machine.swap\" = '1GiB'")
        else:
            _flatten(found, "", changes)
        return Variant(values["name"] or "", values["title"], changes, values["cures"])


def _contradictions(
    run: Values, processes: list[dict[str, Any]], protect: tuple[str, ...]
) -> Iterator[tuple[str, str, str]]:
    """(table, key, words) of what no single key can tell."""
    if run["duration"] and run["duration"] / run["step"] > MAX_STEPS:
        yield "run", "step", f"is too short: more than {MAX_STEPS:,} steps"
    kernel = run["kernel"]
    if rule_by_name(kernel) is None and not parse_release(kernel):
        yield "run", "kernel", f"{_shown(kernel)} is no kernel release such as 6.12 or 3.10"
    names = [row["name"] for row in processes if row["name"]]
    for name in protect:
        if name not in names:
            near = get_close_matches(name, names, 1)
            hint = f"; did you mean {_shown(near[0])}?" if near else ""
            yield "", "protect", f"there is no process {_shown(name)}{hint}"
    if sum(row["count"] for row in processes) > MAX_PROCESSES:
        yield "process", "count", f"more than {MAX_PROCESSES:,} processes in all"


def _flatten(table: Mapping[str, Any], prefix: str, into: dict[str, Any]) -> None:
    """``{machine: {swap: 1}}`` and ``{"machine.swap": 1}`` both as ``machine.swap``."""
    for name, value in table.items():
        path = f"{prefix}.{name}" if prefix else name
        if isinstance(value, dict):
            _flatten(value, path, into)
        else:
            into[path] = value


def no_such_key(written: str, known: list[str]) -> str:
    """Words for a key that is not in the table, with the nearest that is."""
    near = get_close_matches(written, known, 1, 0.5)
    return f"no such key; did you mean {near[0]}?" if near else f"no such key; there are {', '.join(known)}"


def _shown(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def changed(scenario: Scenario, changes: Mapping[str, Any]) -> tuple[Scenario, list[Problem]]:
    """
    *scenario* with *changes*: ``machine.KEY``, ``run.KEY``, ``guard.KEY``, ``alert.KEY``, ``cgroup.PATH.KEY`` (made if
    new) or ``process.NAME.KEY``; values as in a file. With problems the result is not to be used.
    """
    problems: list[Problem] = []
    for path, value in changes.items():
        words = None
        section, _, rest = path.partition(".")
        if section in _SECTIONS and rest:
            table = getattr(scenario, section) or {key.name: key.default for key in GUARD_KEYS}
            values, words = _set(table, _SECTIONS[section], rest, value)
            scenario = replace(scenario, **{section: values})  # type: ignore[arg-type]
        elif section == "cgroup" and "." in rest:
            name, _, key = rest.rpartition(".")
            rows = list(scenario.cgroups)
            at = next((i for i, row in enumerate(rows) if row["path"] == name), None)
            if not name.startswith("/") or name == "/":
                words = f"'{name}' is not a path such as /app"
            else:
                if at is None:
                    rows.append({row.name: row.default for row in CGROUP_KEYS} | {"path": name})
                    at = len(rows) - 1
                rows[at], words = _set(rows[at], CGROUP_KEYS, key, value)
            scenario = replace(scenario, cgroups=tuple(rows))
        elif section == "process" and "." in rest:
            name, _, key = rest.rpartition(".")
            if name not in {row["name"] for row in scenario.processes}:
                near = get_close_matches(name, [row["name"] for row in scenario.processes], 1)
                words = f"there is no process '{name}'" + (f"; did you mean '{near[0]}'?" if near else "")
            processes = []
            for row in scenario.processes:
                if row["name"] == name:
                    row, words = _set(row, PROCESS_KEYS + KIND_KEYS[row["kind"]], key, value)  # noqa: PLW2901
                processes.append(row)
            scenario = replace(scenario, processes=tuple(processes))
        else:
            words = no_such_key(path, [*(f"{name}.KEY" for name in _SECTIONS), "cgroup.PATH.KEY", "process.NAME.KEY"])
        if words:
            problems.append(Problem(None, path, words))
    return scenario, problems


def _set(values: Values, keys: tuple[Key, ...], name: str, value: object) -> tuple[Values, str | None]:
    """*values* with one changed, or why not. The text ``none`` takes away what has no default."""
    key = next((key for key in keys if key.name == name), None)
    if key is None or name in {"path", "name", "kind"} & {k.name for k in keys if k.needed}:
        return values, no_such_key(name, [key.name for key in keys])
    if value == "none" and key.default is None and not key.needed:
        return {**values, name: None}, None
    if key.type == "bool" and value in {"true", "false"}:
        value = value == "true"
    read = read_value(key, value)
    if read is None:
        return values, f"{_shown(value)} is not {range_words(key)}"
    return {**values, name: read}, None
