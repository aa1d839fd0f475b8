"""Options of a command line, of variables and of option files, in the order in which the program obeys them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Flag(NamedTuple):
    """One word of options and where it stands."""

    text: str
    source: str


def words(text: str) -> list[str]:
    """Split a variable's value as a shell does; text whose quotes do not close is split at its spaces."""
    if not text:
        return []
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def flags(parts: Iterable[tuple[str, Sequence[str]]]) -> list[Flag]:
    """Words of several places, each ``(place, words)``, in their order."""
    return [Flag(word, place) for place, found in parts for word in found]


def option(argv: Sequence[str], *names: str) -> str | None:
    """
    The last value of an option: ``--name=value``, ``--name value``, ``-nvalue``, ``-n value``. ``None`` = not given.
    """
    value = None
    for at, word in enumerate(argv):
        for name in names:
            if word == name and at + 1 < len(argv):
                value = argv[at + 1]
            elif word.startswith(name + "="):
                value = word[len(name) + 1 :]
            elif not name.startswith("--") and len(name) == 2 and word.startswith(name) and word[2:].isdecimal():
                value = word[2:]
    return value


def count(text: str | None) -> int | None:
    """A whole number, ``None`` for anything else."""
    return int(text) if text is not None and text.strip().isdecimal() and len(text) < 12 else None
