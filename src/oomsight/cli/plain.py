"""
Command lines read without click: those that are right and ask for no help.

:func:`read` understands options, their values in every form (``--last 3``, ``--last=3``, ``-j2``), environment
variables and arguments by the rows of :mod:`oomsight.cli.declare`. It never says what is wrong: whatever it does not
understand it leaves to click, which does.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from oomsight.cli.exits import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oomsight.cli.declare import Command, Parameter


def read(command: Command, args: Sequence[str], environ: Mapping[str, str] = os.environ) -> dict[str, Any] | None:
    """Return the values that *args* give the parameters of *command*; ``None`` = ask click."""
    try:
        texts, words = _options(command, list(args))
        values = _arguments(command, words)
        for row in command.parameters:
            if row.is_option:
                value = _value(row, texts.get(row.name), environ)
                check = row.about.get("callback")
                values[row.name] = value if check is None else check(value)
    except (ValueError, UsageError):
        return None
    return values


def _options(command: Command, args: list[str]) -> tuple[dict[str, list[Any]], list[str]]:
    """What stands behind each option, and the words that belong to none."""
    rows = {word: row for row in command.parameters if row.is_option for word in row.words if word.startswith("-")}
    texts: dict[str, list[Any]] = {}
    words: list[str] = []
    args.reverse()
    while args:
        arg = args.pop()
        if arg == "--":
            words += reversed(args)
            break
        if not arg.startswith("-") or arg == "-":
            words.append(arg)
            continue
        name, is_given, text = arg.partition("=") if arg.startswith("--") else (arg[:2], arg[2:], arg[2:])
        row = rows.get(name)
        if row is None:
            raise ValueError(arg)
        about: dict[str, Any] = row.about
        value: Any = text if is_given else None
        if about.get("is_flag"):
            if value is not None:
                raise ValueError(arg)
            value = True
        elif value is None:
            if "flag_value" in about and (not args or (args[-1].startswith("-") and len(args[-1]) > 1)):
                value = about["flag_value"]
            elif args:
                value = args.pop()
            else:
                raise ValueError(arg)
        texts.setdefault(row.name, []).append(value)
    return texts, words


def _value(row: Parameter, given: list[Any] | None, environ: Mapping[str, str]) -> Any:
    """The value of an option."""
    about = row.about
    if given is None and (variable := about.get("envvar")) and environ.get(variable):
        given = [environ[variable]]
    if about.get("multiple"):
        return tuple(row.read(text) for text in given or ())
    if given is None:
        return about.get("default", False if about.get("is_flag") else None)
    return row.read(given[-1]) if isinstance(given[-1], str) else given[-1]


def _arguments(command: Command, words: list[str]) -> dict[str, Any]:
    """The values of the arguments."""
    rows = [row for row in command.parameters if not row.is_option]
    if len(rows) == 1 and rows[0].about.get("nargs") == -1:
        return {rows[0].name: tuple(map(rows[0].read, words))}
    if len(words) > len(rows):
        raise ValueError(words)
    values: dict[str, Any] = {}
    for at, row in enumerate(rows):
        if at < len(words):
            values[row.name] = row.read(words[at])
        elif row.about.get("required", "default" not in row.about):
            raise ValueError(row.name)
        else:
            values[row.name] = row.about.get("default")
    return values
