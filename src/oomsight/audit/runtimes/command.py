"""Which words of a command line are the program's own: wrappers, shells and what runs before it are stepped over."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

SEPARATORS: Final = frozenset({"&&", "||", ";", "|", "&", ";;"})
WRAPPERS: Final = frozenset(
    {"sh", "bash", "ash", "dash", "ksh", "zsh", "env", "exec", "sudo", "tini", "dumb-init", "catatonit", "nice", "ionice",
     "nohup", "time", "stdbuf", "setpriv", "gosu", "su-exec", "chpst", "setuidgid", "runuser", "poetry", "pipenv", "uv",
     "run", "npx", "docker-entrypoint.sh", "docker-php-entrypoint", "entrypoint.sh", "ddtrace-run",
     "opentelemetry-instrument", "newrelic-admin", "run-program", "numactl", "taskset", "chrt", "timeout", "--"}
)  # fmt: skip
"""Programs that run the one behind them, and what stands between."""
_TAKES_A_WORD: Final = frozenset({"gosu", "su-exec", "setuidgid", "timeout", "taskset", "chrt"})  #: a user, a time, a mask
_OPTION_TAKES_A_WORD: Final = frozenset({"-u", "-n", "-g", "--user", "--signal", "-k", "-s"})
_ROLE: Final = re.compile(r"^(?:nginx|postgres|php-fpm)(?=: )")  # setproctitle: "nginx: worker process"
_PYTHON: Final = re.compile(r"python[\d.]*")
MAX_LOOK: Final = 24


def commands(argv: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """
    Yield the commands of *argv*, each from its program on, the last first: of a script the last one stays. Without a
    shell's separators there is one.
    """
    parts: list[list[str]] = [[]]
    for word in argv:
        if word in SEPARATORS:
            parts.append([])
        else:
            parts[-1].append(word)
    for part in reversed(parts):
        at = _program_at(part)
        if at is not None:
            yield tuple(part[at:])


def _program_at(words: Sequence[str]) -> int | None:
    skip = False
    wrapped = True  # options before the program belong to a wrapper
    for at, word in enumerate(words[:MAX_LOOK]):
        name = base_name(word)
        if skip:
            skip = False
        elif name in WRAPPERS:
            skip = name in _TAKES_A_WORD
        elif word.startswith("-"):
            skip = wrapped and word in _OPTION_TAKES_A_WORD
        elif "=" not in word.partition("/")[0] and word.strip():
            return at
    return None


def base_name(word: str) -> str:
    """Return the name of the program *word*: without directories, of a process title its role."""
    titled = _ROLE.match(word)
    if titled:
        return titled[0]
    return word.split(None, 1)[0].rpartition("/")[2] if word.strip() else ""


def names(command: Sequence[str]) -> list[str]:
    """
    Return what the program of *command* may be called, the most telling first: of ``python -m gunicorn app`` and
    ``python3 /usr/bin/gunicorn app`` it is gunicorn, then python.
    """
    found = [base_name(command[0])]
    if _PYTHON.fullmatch(found[0]):
        for word in command[1:4]:
            if not word.startswith("-"):
                found.insert(0, base_name(word))
                break
    return found
