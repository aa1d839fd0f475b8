"""
Lines of one log together: what stands in front of all of them taken off, and runs of task rows found, both many at
once. What is asked of every character of a column, or of the whole text, is asked in C.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomsight._lazy import lazy
from oomsight._named import NamedTuple
from oomsight.report.grammar import COMMON, COMMON_NAMES, HEAD_WORDS, MANY

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

    Match = Callable[[str], re.Match[str] | None]

_ENDS = frozenset("]:")  # what a prefix ends with in front of a blank
_MAX_SHAPES = 4  # a clock that grows by a digit has another shape
_WORTH = 50  # fewer lines are matched one by one
_DIGITS = bytes(48 if 48 <= byte <= 57 else byte for byte in range(256))
_KILLER = HEAD_WORDS.partition(" ")[2]  # without the blank, which tables are full of: found in a third of the time
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


class Shapes(NamedTuple):
    """What the lines of a text are, as far as it can be told of all at once."""

    kinds: list[str | None]  #: shapes by line, as :func:`~oomsight.report.grammar.classify` names them; of rows, None
    tables: dict[int, int]  #: runs of bare rows of task tables: first line of each, and the one behind its last
    others: list[int]  #: lines that are of none of the common shapes


def shapes(rows: list[str]) -> Shapes:
    """
    The shapes of lines without line ends, in one walk over them as one text: that takes half of the time that a look at
    each takes. Where somebody's name looks like the begin of another line, nothing is told but the rows.
    """
    if _misleading(text := "\n".join([*rows, ""])):
        return Shapes([None] * len(rows), runs_of_rows(rows), list(range(len(rows))))
    kinds: list[str | None] = []
    tables: dict[int, int] = {}
    others: list[int] = []
    for m in COMMON.finditer(text):
        kind = COMMON_NAMES[m.lastindex or 0]
        if kind in MANY:
            kinds += [kind] * m[0].count("\n")
        elif kind == "row":
            first, end = len(kinds), m.end()
            if end < len(text):
                behind = text[end : text.index("\n", end)]  # which is no row, and so not among them
                tables[first] = rows.index(behind, first)
            else:
                tables[first] = len(rows)
            kinds += [None] * (tables[first] - first)
        elif kind:
            kinds.append(kind)
        else:
            others.append(len(kinds))
            kinds.append(None)
    return Shapes(kinds, tables, others)


def _misleading(text: str) -> bool:
    """Whether the words of a head stand in a line that also has one of the common shapes."""
    at = text.find(_KILLER)
    while at >= 0:
        if text.endswith(HEAD_WORDS, 0, at + len(_KILLER)):
            m = COMMON.match(text, text.rfind("\n", 0, at) + 1)
            if m is None or COMMON_NAMES[m.lastindex or 0]:
                return True
            at = text.index("\n", at)  # a line is looked at once, as a whole log may stand on one
        at = text.find(_KILLER, at + 1)
    return False


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
