"""
Configuration files -> settings with their lines, by the program's own names, as
:class:`oomsight.audit.runtimes.Inputs` takes them.

Values stay text: each estimate reads sizes as its program does. Included files are not followed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from oomsight._lazy import lazy
from oomsight.audit.model import Where

if TYPE_CHECKING:
    from oomsight.audit.configs.kinds import ConfigKind

MAX_SETTINGS: Final = 20_000
_SECTION = lazy(r"\[([^\]]*)\]")
_POSTGRES = lazy(r"([A-Za-z_][\w.]*)\s*(?:=\s*|\s+)('(?:[^']|'')*'|[^\s#]+)")
_VERSIONED = lazy(r"(?:(\d+)(-(\d*))?:)?(-.*)")
_NGINX = lazy(r"(?:^|[;{}])\s*([a-z_]+)\s+([^;{}]*);")
_ZONE = lazy(r"(?:keys_zone=[^:\s]+|zone=[^:\s]+|shared:[^:\s]+):(\d+[kKmMgG]?)")

Setting = tuple[str, str, int]  #: name, value, line from 1


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """One configuration file."""

    kind: ConfigKind
    path: str
    settings: dict[str, str]
    lines: dict[str, int]

    def where(self, *names: str) -> Where:
        """Return where the first of *names* that is set stands; the file's begin without any."""
        for name in names:
            if name in self.lines:
                return Where(self.path, self.lines[name])
        return Where(self.path, 1)


def read_config_file(kind: ConfigKind, path: str, text: str) -> ConfigFile:
    """Return the settings in *text*: the last of equal ones counts."""
    settings: dict[str, str] = {}
    lines: dict[str, int] = {}
    for count, (name, value, line) in enumerate(READERS[kind.syntax](text)):
        if count >= MAX_SETTINGS:
            break
        adds_up = kind.syntax == "jvm.options" and name in settings
        settings[name] = f"{settings[name]} {value}" if adds_up else value
        lines[name] = line
    return ConfigFile(kind, path, settings, lines)


def _lines(text: str, comments: str = "#") -> Iterator[tuple[int, str]]:
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if line and line[0] not in comments:
            yield number, line


def _postgres(text: str) -> Iterator[Setting]:
    for number, line in _lines(text):
        found = _POSTGRES.match(line)
        if found is not None:
            yield found[1].lower(), found[2].strip("'"), number


def _mysql(text: str) -> Iterator[Setting]:
    section = ""
    for number, line in _lines(text, "#;!"):
        if found := _SECTION.match(line):
            section = found[1]
        elif section.partition("-")[0] in {"mysqld", "mariadb", "mariadbd", "server"}:
            name, _, value = line.partition("=")
            yield name.strip().replace("-", "_"), value.split(" #", 1)[0].strip().strip("'\""), number


def _redis(text: str) -> Iterator[Setting]:
    saves: list[str] = []
    for number, line in _lines(text):
        name, _, value = line.partition(" ")
        value = value.strip()
        if name.lower() == "save" and value.strip("'\"") != "":  # save lines add up, an empty one takes them back
            saves.append(value)
            value = " ".join(saves)
        yield name.lower(), value.strip("'\""), number


def _php_fpm(text: str) -> Iterator[Setting]:
    for number, line in _lines(text, "#;"):
        name, given, value = line.partition("=")
        if given:
            yield name.strip(), value.split(" ;", 1)[0].strip().strip("'\""), number


def _jvm_options(text: str) -> Iterator[Setting]:
    for number, line in _lines(text):
        found = _VERSIONED.fullmatch(line)
        # 8-13: is for these releases; what is for old ones only (below 17) is left out.
        if found is not None and not (found[1] and int((found[3] or "99") if found[2] else found[1]) < 17):
            yield "jvm.options", found[4], number


def _nginx(text: str) -> Iterator[Setting]:
    bare = "\n".join(line.partition("#")[0] for line in text.split("\n"))
    zones = _ZONE.findall(bare)
    at, line = 0, 1
    for found in _NGINX.finditer(bare):
        line += bare.count("\n", at, found.start(1))
        at = found.start(1)
        yield found[1], " ".join(found[2].split()), line
    if zones:
        yield "zones", " ".join(zones), 1


def _runtimeconfig(text: str) -> Iterator[Setting]:
    try:
        document = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return
    options = document.get("runtimeOptions") if isinstance(document, dict) else None
    found = options.get("configProperties") if isinstance(options, dict) else None
    for name, value in found.items() if isinstance(found, dict) else ():
        at = text.find(json.dumps(name))
        yield name, str(value), text.count("\n", 0, max(at, 0)) + 1


READERS: Final[dict[str, Callable[[str], Iterator[Setting]]]] = {
    "postgres": _postgres, "mysql": _mysql, "redis": _redis, "php-fpm": _php_fpm, "jvm.options": _jvm_options,
    "nginx": _nginx, "runtimeconfig": _runtimeconfig,
}  # fmt: skip
