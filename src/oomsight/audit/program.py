"""
A program and the memory limit it runs under, wherever that was read: a container of a pod, a service of a compose
file, an image, a systemd unit, a process. Subject of the runtime rules (scope ``program``, OS5xx).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from oomsight._lazy import lazy

if TYPE_CHECKING:
    from oomsight.audit.model import Where

SHELLS: Final = frozenset({"sh", "bash", "ash", "dash", "zsh", "ksh"})
_VARIABLE = lazy(r"\$(?:\((\w+)\)|\{(\w+)(?::?-([^}]*))?\}|(\w+))")
_PARENTHESES = lazy(r"\$\((\w+)\)")
_WHOLE = lazy(r"\$(\w+)")
MAX_WORDS: Final = 2000
Fills = Literal["kubernetes", "systemd", "nothing"]
"""Who fills variables into the words of a command that no shell runs: ``$(NAME)``, ``$NAME`` and ``${NAME}``, nobody."""


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
    config: Mapping[str, str] = field(default_factory=dict)  #: settings of its configuration file, where that is known
    config_name: str = "configuration"
    release: str | None = None  #: of the runtime, as it says itself; ``None`` = what the image's tag says
    cgroup_version: Literal[1, 2] | None = None
    counts: Mapping[str, int] = field(default_factory=dict)  #: seen while it runs: threads, worker_bytes, …
    image_only: bool = False  #: this is an image: who runs it may add a limit, variables and arguments
    replaces_entrypoint: bool = False  #: argv is all that runs; unset: the image may put a program of its own before it

    def place_of(self, text: str) -> Where:
        """Return where *text* (a flag) is written: the variable that holds it, else the command."""
        for name, value in self.env.items():
            if text in value and name in self.env_places:
                return self.env_places[name]
        return self.where


def command_words(command: list[str], env: Mapping[str, str], fills: Fills = "kubernetes") -> tuple[str, ...]:
    """
    Return the words of *command* as the program will see them: variables filled in from *env* by whoever does that
    (*fills*), the script of ``sh -c`` split into words as the shell does. What cannot be split stays one word.
    """
    words: list[str] = []
    script_next = False
    shell = bool(command) and command[0].rsplit("/", 1)[-1] in SHELLS
    for word in command[:MAX_WORDS]:
        if script_next:
            words.extend(split(fill(word, env)))
            script_next = False
            continue
        words += _outside_of_a_shell(word, env, fills)
        script_next = shell and word.startswith("-") and not word.startswith("--") and word.endswith("c")
    return tuple(words[:MAX_WORDS])


def _outside_of_a_shell(word: str, env: Mapping[str, str], fills: Fills) -> list[str]:
    if "$" not in word or fills == "nothing":
        return [word]
    if fills == "kubernetes":
        return [_PARENTHESES.sub(lambda m: env.get(m[1], m[0]), word)]
    alone = _WHOLE.fullmatch(word)
    if alone is not None and alone[1] in env:  # systemd splits $NAME, and keeps ${NAME} one word
        return split(env[alone[1]])
    return [fill(word, env)]


def fill(text: str, env: Mapping[str, str]) -> str:
    """Return *text* with references to variables replaced by their values in *env*; others stay."""
    if "$" not in text:
        return text
    return _VARIABLE.sub(lambda m: env.get(m[1] or m[2] or m[4] or "", m[3] if m[3] is not None else m[0]), text)


def split(script: str) -> list[str]:
    """
    Return the words of a shell script, with its separators (:data:`SEPARATORS`) as words of their own; where quotes do
    not match, the words between blanks.
    """
    script = script.replace("\\\n", " ").replace("\n", " ; ")
    lexer = shlex.shlex(script, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError:
        return script.split()
