"""
A program and the memory limit it runs under, wherever that was read: a container of a pod, a service of a compose
file, an image, a systemd unit, a process. Subject of the runtime rules (scope ``program``, OS5xx).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from oomsight._lazy import lazy

if TYPE_CHECKING:
    from oomsight.audit.model import Where

SCOPE: Final = "program"
SHELLS: Final = frozenset({"sh", "bash", "ash", "dash", "zsh", "ksh"})
_VARIABLE = lazy(r"\$(?:\((\w+)\)|\{(\w+)(?::?-([^}]*))?\}|(\w+))")
MAX_WORDS: Final = 2000


@dataclass(frozen=True, slots=True)
class Program:
    """What runs, and what it may use. ``None`` = not known."""

    where: Where  #: of the command, or of what runs it
    subject: str  #: marked: ``Deployment/api, container app``
    argv: tuple[str, ...] = ()  #: command and arguments; a shell's ``-c`` script is split into its words
    env: Mapping[str, str] = field(default_factory=dict)  #: variables with their values, as far as they are known
    image: str | None = None  #: ``registry/name:tag``
    limit_bytes: int | None = None  #: memory limit; ``None`` with ``unlimited`` unset = not known
    unlimited: bool = False  #: it is known that there is no limit
    request_bytes: int | None = None
    ram_bytes: int | None = None  #: RAM of the machine it will run on
    cpus: float | None = None
    env_places: Mapping[str, Where] = field(default_factory=dict)  #: where each variable is written
    limit_where: Where | None = None

    def place_of(self, text: str) -> Where:
        """Return where *text* (a flag) is written: the variable that holds it, else the command."""
        for name, value in self.env.items():
            if text in value and name in self.env_places:
                return self.env_places[name]
        return self.where


def command_words(command: list[str], env: Mapping[str, str]) -> tuple[str, ...]:
    """
    Return the words of *command* as the program will see them: ``$(NAME)`` and ``$NAME`` filled in from *env*, the
    script of ``sh -c`` split into words. What cannot be split stays one word.
    """
    words: list[str] = []
    script_next = False
    shell = bool(command) and command[0].rsplit("/", 1)[-1] in SHELLS
    for word in command[:MAX_WORDS]:
        filled = fill(word, env)
        if script_next:
            words.extend(split(filled))
            script_next = False
        else:
            words.append(filled)
            script_next = shell and word.startswith("-") and word.endswith("c")
    return tuple(words[:MAX_WORDS])


def fill(text: str, env: Mapping[str, str]) -> str:
    """Return *text* with references to variables replaced by their values in *env*; others stay."""
    if "$" not in text:
        return text
    return _VARIABLE.sub(lambda m: env.get(m[1] or m[2] or m[4] or "", m[3] if m[3] is not None else m[0]), text)


def split(script: str) -> list[str]:
    """Return the words of a shell command line; where quotes do not match, those between blanks."""
    try:
        return shlex.split(script, comments=False)
    except ValueError:
        return script.split()
