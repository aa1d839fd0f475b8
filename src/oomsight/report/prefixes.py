"""
Lines of one log together: what stands in front of all of them taken off, and runs of task rows found, both many at
once. What is asked of every character of a column, or of the whole text, is asked in C.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomsight._lazy import lazy

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

    Match = Callable[[str], re.Match[str] | None]

_ENDS = frozenset("]:")  # what a prefix ends with in front of a blank
_MAX_SHAPES = 4  # a clock that grows by a digit has another shape
_WORTH = 50  # fewer lines are matched one by one
_DIGITS = bytes(48 if 48 <= byte <= 57 else byte for byte in range(256))
_NO_ROW = lazy(r"\n(?!\[ *[0-9]+\])")  # a line that is no grammar.ROW


def cut_off(rows: list[str], match: Match, shapes_left: int = _MAX_SHAPES) -> list[str | None]:
    """
    What :func:`matched` says, where no text begins with a bracket.

    The prefixes of one log differ in nothing but digits, as a rule. Where one ends does not depend on which digits they
    are, so those that are like that of one row are cut off where that one ends, without a look at each.
    """
    one = match(rows[len(rows) // 2]) if shapes_left and len(rows) > _WORTH else None
    prefix = one[0].rstrip(" \t") if one is not None else ""
    if one is None or not prefix.isascii() or prefix[-1:] not in _ENDS or not one[0].startswith(f"{prefix} "):
        return matched(rows, match)
    end = len(prefix) + 1
    heads = [line[:end] for line in rows]
    together = "".join(heads)
    if len(together) != len(rows) * end or not together.isascii():
        together = "".join([head.ljust(end) if head.isascii() else " " * end for head in heads])
    shapes, like = together.encode().translate(_DIGITS), f"{prefix} ".encode().translate(_DIGITS)
    alike = [shapes[at : at + end] == like for at in range(0, len(shapes), end)]
    texts: list[str | None]
    texts = [line[end:].lstrip(" \t") if same else None for line, same in zip(rows, alike, strict=True)]
    others = [row for row, same in enumerate(alike) if not same]
    for row, text in zip(others, cut_off([rows[row] for row in others], match, shapes_left - 1), strict=True):
        texts[row] = text
    return texts


def matched(rows: list[str], match: Match) -> list[str | None]:
    """*rows* without what *match* finds in front of them; ``None`` = it finds nothing."""
    return [line[m.end() :] if (m := match(line)) else None for line in rows]


def runs_of_rows(rows: list[str]) -> dict[int, int]:
    """
    Runs of bare rows of task tables: index of the first of each and index behind its last. The first line that is no
    row is searched for in the whole text, which takes half of the time that matching each row takes.
    """
    found: dict[int, int] = {}
    text = "\n".join(["", *rows, ""])
    last = len(text) - 1
    begin = text.find("\n[")
    at = 0
    while begin >= 0:
        behind = _NO_ROW.search(text, begin)
        end = behind.start() if behind else last
        if end > begin:
            first = rows.index(text[begin + 1 : text.index("\n", begin + 1)], at)
            at = rows.index(text[end + 1 : text.index("\n", end + 1)], first) if end < last else len(rows)
            found[first] = at
        begin = text.find("\n[", max(end, begin + 1))
    return found
