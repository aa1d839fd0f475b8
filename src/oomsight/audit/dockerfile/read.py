"""
Dockerfiles -> what the last stage runs: ENTRYPOINT, CMD, ENV and the image it stands on, stages followed.

Docker documentation, Dockerfile reference. Nothing is built: variables without a default stay as they are written.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from oomsight._lazy import lazy
from oomsight.audit.model import Where
from oomsight.audit.program import Program, command_words, fill
from oomsight.naming.marked import Kind, mark

MAX_INSTRUCTIONS: Final = 5000
_ESCAPE = lazy(r"#\s*escape\s*=\s*(\S)\s*$", re.IGNORECASE)
_HERE = lazy(r"<<-?\s*([\"']?)(\w+)\1")
_ASSIGNED = lazy(r"^\w+=")


class Instruction(NamedTuple):
    """One instruction, its continuation lines joined."""

    line: int
    word: str  #: capitals
    rest: str


@dataclass(frozen=True, slots=True)
class Stage:
    """One build stage, as it stands at its end."""

    base: str | None = None  #: image it stands on; ``None`` = scratch or not known
    env: dict[str, str] = field(default_factory=dict)
    places: dict[str, Where] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    where: Where = field(default_factory=Where)  #: of ENTRYPOINT, CMD or FROM

    @property
    def arguments(self) -> tuple[str, ...]:
        """What CMD adds: nothing to an ENTRYPOINT in shell form, which takes no arguments."""
        return () if self.entrypoint[:2] == ("/bin/sh", "-c") else self.command


@dataclass(frozen=True, slots=True)
class Image:
    """What a Dockerfile makes: its last stage."""

    subject: str  #: marked
    where: Where
    stage: Stage

    def program(self) -> Program:
        """Return what runs in it: no limit is known, whoever runs the image adds one."""
        stage = self.stage
        argv = command_words([*stage.entrypoint, *stage.arguments], stage.env, "nothing")
        return Program(
            stage.where, self.subject, argv, stage.env, stage.base, env_places=stage.places, image_only=True,
            replaces_entrypoint=bool(argv),
        )  # fmt: skip


def instructions(text: str) -> Iterator[Instruction]:
    """Yield the instructions of a Dockerfile; heredocs and comments are left out."""
    escape, pending, first = "\\", "", 0
    terminators: list[str] = []
    head = True  # parser directives stand before everything else
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.rstrip("\r")
        if terminators:
            if line.strip("\t ") == terminators[0]:
                terminators.pop(0)
            continue
        bare = line.strip()
        if bare.startswith("#") or not bare:
            if head and (found := _ESCAPE.match(bare)):
                escape = found[1]
            continue
        head = False
        if not pending:
            first = number
        if bare.endswith(escape) and not bare.endswith(escape * 2):
            pending += bare[:-1] + " "
            continue
        whole, pending = pending + bare, ""
        word, _, rest = whole.strip().partition(" ")
        yield Instruction(first, word.upper(), rest.strip())
        if word.upper() in {"RUN", "COPY", "ADD"}:
            terminators = [found[2] for found in _HERE.finditer(rest)]
    if pending.strip():
        word, _, rest = pending.strip().partition(" ")
        yield Instruction(first, word.upper(), rest.strip())


def read_dockerfile(path: str, text: str) -> Image | None:
    """Return what the Dockerfile *text* makes; ``None`` = it has no stage."""
    stages: dict[str, Stage] = {}
    arguments: dict[str, str] = {}
    here: Stage | None = None
    name, shell, own_command = "", ["/bin/sh", "-c"], False
    for count, (line, word, rest) in enumerate(instructions(text)):
        if count > MAX_INSTRUCTIONS:
            break
        where = Where(path, line)
        match word:
            case "FROM":
                if here is not None:
                    stages[name] = here
                image, name = _from(fill(rest, arguments), len(stages))
                below = stages.get(image.lower())
                here = replace(below, where=where) if below is not None else Stage(
                    None if image.lower() == "scratch" else image, where=where
                )  # fmt: skip
                shell, own_command = ["/bin/sh", "-c"], False
            case "ARG":
                key, given, value = rest.partition("=")
                if given:
                    arguments[key.strip()] = _unquoted(fill(value, arguments))
            case "ENV" if here is not None:
                found = dict(_pairs(rest, {**arguments, **here.env}))
                here = replace(
                    here, env={**here.env, **found}, places={**here.places, **dict.fromkeys(found, where)}
                )  # fmt: skip
            case "SHELL" if here is not None:
                shell = _array(rest) or shell
            case "ENTRYPOINT" if here is not None:
                # It takes back the CMD of the image below, not one of its own stage.
                here = replace(
                    here, entrypoint=tuple(_array(rest) or ([*shell, rest] if rest else [])),
                    command=here.command if own_command else (), where=where,
                )  # fmt: skip
            case "CMD" if here is not None:
                own_command = True
                here = replace(here, command=tuple(_array(rest) or ([*shell, rest] if rest else [])),
                               where=here.where if here.entrypoint else where)  # fmt: skip
    if here is None:
        return None
    return Image(f"image of {mark(path, Kind.FILE)}", Where(path, 1), here)


def _from(rest: str, number: int) -> tuple[str, str]:
    words = [word for word in rest.split() if not word.startswith("--")]
    name = words[2] if len(words) > 2 and words[1].lower() == "as" else f"#{number}"
    return (words[0] if words else ""), name.lower()


def _array(text: str) -> list[str] | None:
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return [str(word) for word in found] if isinstance(found, list) else None


def _pairs(rest: str, known: dict[str, str]) -> Iterator[tuple[str, str]]:
    if not _ASSIGNED.match(rest):  # ENV NAME the rest of the line
        name, _, value = rest.partition(" ")
        yield name, fill(_unquoted(value.strip()), known)
        return
    try:
        words = shlex.split(rest)
    except ValueError:
        words = rest.split()
    for word in words:
        name, given, value = word.partition("=")
        if given:
            yield name, fill(value, known)


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
