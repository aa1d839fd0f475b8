"""Unit files with their drop-ins -> settings, places kept (systemd.unit(5), systemd.syntax(7))."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from oomsight.audit.model import Where
from oomsight.audit.program import Program, command_words
from oomsight.audit.quantity import systemd_size
from oomsight.naming.marked import Kind, mark


class Setting(NamedTuple):
    """One assignment."""

    section: str
    key: str
    value: str
    where: Where


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit; ``whole`` = its own file is here, not drop-ins alone."""

    name: str
    subject: str  #: marked
    where: Where
    settings: tuple[Setting, ...]  #: in the order systemd reads them
    whole: bool

    def last(self, key: str) -> Setting | None:
        """Return the assignment of *key* that counts; an empty one takes back those before it."""
        found = None
        for row in self.settings:
            if row.key == key:
                found = row if row.value else None
        return found

    def every(self, key: str) -> list[Setting]:
        """Return the assignments of a list: an empty one takes back those before it."""
        found: list[Setting] = []
        for row in self.settings:
            if row.key == key:
                found = [*found, row] if row.value else []
        return found

    @property
    def is_service(self) -> bool:
        """Whether it runs a program of its own."""
        return self.name.endswith(".service") and bool(self.every("ExecStart"))

    def limit_bytes(self) -> int | None:
        """Return ``MemoryMax=`` in bytes; ``None`` = unlimited, a share of RAM, wrong, or not given."""
        row = self.last("MemoryMax") or self.last("MemoryLimit")
        return systemd_size(row.value).size_bytes if row else None

    def program(self) -> Program | None:
        """Return what the service runs, under its limit; ``None`` = nothing."""
        starts = self.every("ExecStart")
        if not starts:
            return None
        env: dict[str, str] = {}
        places: dict[str, Where] = {}
        for row in self.every("Environment"):
            for word in _words(row.value):
                name, _, value = word.partition("=")
                env[name] = value
                places[name] = row.where
        words = _words(starts[-1].value.lstrip("-@:+!|"))
        limit = self.last("MemoryMax")
        return Program(
            starts[-1].where, self.subject, command_words(words, env, "systemd"), env, None, self.limit_bytes(), limit is None,
            env_places=places, limit_where=limit.where if limit else None,
            replaces_entrypoint=True,
        )  # fmt: skip


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def parse_unit(name: str, files: Sequence[tuple[str, str]], whole: bool = True) -> Unit:
    """Return the unit called *name* from *files* (path and text): its own first, then drop-ins in their order."""
    settings: list[Setting] = []
    for path, text in files:
        section, pending, first = "", "", 0
        for number, raw in enumerate(text.split("\n"), 1):
            line = raw.strip()
            if line[:1] in {"#", ";"} or (not line and not pending):
                continue
            if not pending:
                first = number
            if line.endswith("\\"):
                pending += line[:-1] + " "
                continue
            line, pending = pending + line, ""
            if line.startswith("[") and line.endswith("]"):
                section = line[1:-1]
            elif "=" in line:
                key, _, value = line.partition("=")
                settings.append(Setting(section, key.strip(), value.strip(), Where(path, first)))
    return Unit(name, mark(name, Kind.OWNER), Where(files[0][0], 1), tuple(settings), whole)
