"""Unit files with their drop-ins -> settings, places kept (systemd.unit(5), systemd.syntax(7))."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from oomsight.audit.env_file import read_env_file
from oomsight.audit.model import Where
from oomsight.audit.program import Program, command_words
from oomsight.audit.quantity import systemd_size
from oomsight.audit.units.container import QUADLETS, ContainerRun, of_command, of_quadlet
from oomsight.audit.units.setting import Setting
from oomsight.naming.marked import Kind, mark

ReadFile = Callable[[str, Where], str | None]
_PREFIXES: Final = "-@:+!|"  #: of a command (systemd.service(5))


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
    def is_quadlet(self) -> bool:
        """Whether podman makes the service out of it."""
        return self.name.endswith(QUADLETS)

    @property
    def is_service(self) -> bool:
        """Whether it runs a program of its own."""
        if self.is_quadlet:
            return self.last("Image") is not None
        return self.name.endswith(".service") and bool(self.every("ExecStart"))

    def container(self) -> ContainerRun | None:
        """Return the container it starts; ``None`` = it starts none."""
        if self.is_quadlet:
            return of_quadlet(self.settings, self.where, split_words)
        starts = self.every("ExecStart")
        return of_command(split_words(starts[-1].value.lstrip(_PREFIXES)), starts[-1].where) if starts else None

    def limit_bytes(self) -> int | None:
        """Return ``MemoryMax=`` in bytes; ``None`` = unlimited, a share of RAM, wrong, or not given."""
        row = self.last("MemoryMax") or self.last("MemoryLimit")
        return systemd_size(row.value).size_bytes if row else None

    def environment(self, read: ReadFile) -> tuple[dict[str, str], dict[str, Where]]:
        """Return the variables and where each is written: those of ``EnvironmentFile=`` win, as in systemd."""
        env: dict[str, str] = {}
        places: dict[str, Where] = {}
        if not self.is_quadlet:  # there [Service] has those of podman itself
            for row in self.every("Environment"):
                for word in split_words(row.value):
                    name, _, value = word.partition("=")
                    env[name] = value
                    places[name] = row.where
        for row in self.every("EnvironmentFile"):
            for name, value in read_env_file(read(row.value.removeprefix("-"), row.where) or "").items():
                env[name] = value
                places[name] = row.where
        return env, places

    def program(self, read: ReadFile = lambda _path, _where: None) -> Program | None:
        """
        Return what the service runs, under its limit; ``None`` = nothing. *read* gives the text of the file that a
        setting at a place names.
        """
        starts = self.every("ExecStart")
        run = self.container()
        if run is not None:
            return self._contained(run, read)
        if not starts:
            return None
        env, places = self.environment(read)
        words = split_words(starts[-1].value.lstrip(_PREFIXES))
        limit = self.last("MemoryMax")
        return Program(
            starts[-1].where, self.subject, command_words(words, env, "systemd"), env, None, self.limit_bytes(), limit is None,
            env_places=places, limit_where=limit.where if limit else None,
            replaces_entrypoint=True,
        )  # fmt: skip

    def _contained(self, run: ContainerRun, read: ReadFile) -> Program | None:
        if run.image is None:
            return None
        env, places = self.environment(read) if run.quadlet else ({}, {})
        for row in run.options.get("env-file", ()) if not run.quadlet else ():
            for name, value in read_env_file(read(row.text, row.where) or "").items():
                env[name], places[name] = value, row.where
        for name, value, where in run.environment():
            env[name], places[name] = value, where
        entry, own = run.option("entrypoint"), run.option("memory")
        limits = [size for size in (run.limit_bytes(), self.limit_bytes() if run.in_unit else None) if size]
        outer = self.last("MemoryMax") if run.in_unit else None
        return Program(
            run.where, self.subject, command_words([*([entry.text] if entry else []), *run.command], env, "nothing"), env,
            run.image, min(limits, default=None), own is None and outer is None, env_places=places,
            limit_where=own.where if own else outer.where if outer else None, replaces_entrypoint=entry is not None,
        )  # fmt: skip


def split_words(text: str) -> list[str]:
    """Return the words of a value; where quotes do not match, what stands between blanks."""
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
