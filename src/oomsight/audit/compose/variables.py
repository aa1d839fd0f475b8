"""Variables in compose files: ``$NAME``, ``${NAME:-default}`` and the others (Compose specification, interpolation)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from oomsight._lazy import lazy

_NAME = lazy(r"[A-Za-z_]\w*")
MAX_DEPTH: Final = 10


def filled(text: str, variables: Mapping[str, str]) -> tuple[str, bool]:
    """
    Return *text* with its variables replaced, and whether all of them are known: given in *variables* or by a default
    in the text. What is not known stays as it is written.
    """
    return _fill(text, variables, 0) if "$" in text else (text, True)


def _fill(text: str, variables: Mapping[str, str], depth: int) -> tuple[str, bool]:
    parts: list[str] = []
    known, at = True, 0
    while (sign := text.find("$", at)) >= 0:
        parts.append(text[at:sign])
        at = sign + 1
        following = text[at : at + 1]
        if following == "$":
            parts.append("$")
            at += 1
        elif following == "{" and (end := _closing(text, at)) is not None:
            value = _braced(text[at + 1 : end], variables, depth)
            known &= value is not None
            parts.append(text[sign : end + 1] if value is None else value)
            at = end + 1
        elif name := _NAME.match(text, at):
            value = variables.get(name[0])
            known &= value is not None
            parts.append("$" + name[0] if value is None else value)
            at = name.end()
        else:
            parts.append("$")
    parts.append(text[at:])
    return "".join(parts), known


def _closing(text: str, at: int) -> int | None:
    depth = 0
    for index in range(at, len(text)):
        if text[index] == "{":
            depth += 1
        elif text[index] == "}":
            depth -= 1
            if depth == 0:
                return index
    return None


def _braced(inner: str, variables: Mapping[str, str], depth: int) -> str | None:
    name = _NAME.match(inner)
    if name is None or depth > MAX_DEPTH:
        return None
    value, rest = variables.get(name[0]), inner[name.end() :]
    empty_counts = rest[:1] == ":"
    operator, word = (rest[1:2], rest[2:]) if empty_counts else (rest[:1], rest[1:])
    missing = value is None or (empty_counts and not value)
    if operator == "-" and missing:
        default, known = _fill(word, variables, depth + 1)
        return default if known else None
    if operator == "+":  # what is not known may be set where it runs
        return None if missing else _fill(word, variables, depth + 1)[0]
    return None if missing else value
