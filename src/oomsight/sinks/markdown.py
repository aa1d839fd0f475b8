"""
Blocks as Markdown for tickets and chat: GitHub flavour, readable raw, no markup injection.

Names are code spans nothing can break out of (:func:`oomsight.sinks.safe.markdown_name`); the prose around them has
every character escaped that Markdown or HTML would act on.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from oomsight._lazy import lazy
from oomsight.naming.marked import map_names
from oomsight.sinks.blocks import (
    Bar,
    Block,
    Bullets,
    Code,
    Heading,
    KeyValues,
    Paragraph,
    Row,
    Table,
    human_kib,
    human_pct,
)
from oomsight.sinks.safe import markdown_name, scrub

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ACTIVE = lazy(r"[\\`*<>\[\]|&~$]|(?<![^\W_])_+|_+(?![^\W_])")  # underscores inside a word are harmless
_ACTIVE_CHARS = frozenset("\\`*<>[]|&~$_")  # asked for first: most prose has none, and the pattern tries every place
_LINE_START = lazy(r"^(\d*)([#+=-](?=\s|[#+=-]|$)|(?<=\d)[.)](?=\s|$))")  # heading, list, rule
_CODE = lazy(r"`([\w ./=:+%,'-]{1,100})`", re.ASCII)  # our own prose quotes commands and files like this
_WRAP: Final = {"strong": "**", "bad": "**", "warn": "", "good": "", "plain": "", "dim": ""}


def render_markdown(blocks: Iterable[Block]) -> str:
    """Return *blocks* as Markdown ending in a newline."""
    lines: list[str] = []
    for block in blocks:
        lines += _show(block, "")
        lines.append("")
    return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"


def markdown_text(text: str) -> str:
    """Return marked *text* as inline Markdown: prose escaped, names in code spans, on one line."""
    pieces: list[str] = []
    names: list[str] = []

    def take(name: str, _kind: object) -> str:
        names.append(markdown_name(name))
        return "\x00"

    # Foreign NULs outside marks would shift the names; scrub() makes them visible once the names are out.
    prose = map_names(text.replace("\x00", "\\x00"), take)
    for index, piece in enumerate(prose.split("\x00")):
        if index:
            pieces.append(names[index - 1])
        # Split by a capturing group: every other part is the inside of a code span.
        for odd, part in enumerate(_CODE.split(scrub(piece).replace("\n", " "))):
            if odd % 2:
                pieces.append(f"`{part}`")
            else:
                pieces.append(part if _ACTIVE_CHARS.isdisjoint(part) else _ACTIVE.sub(_escaped, part))
    text = "".join(pieces)
    return _LINE_START.sub(r"\1\\\2", text) if _LINE_START.match(text) else text


def _escaped(match: re.Match[str]) -> str:
    return "".join("\\" + char for char in match[0])


def _show(block: Block, indent: str) -> Iterator[str]:
    match block:
        case Heading(text, level):
            yield f"{indent}{'#' * (level + 1)} {markdown_text(text)}"
        case Paragraph(text, tone):
            mark = _WRAP[tone]
            yield f"{indent}{mark}{markdown_text(text)}{mark}"
        case Bullets(items, numbered):
            for number, item in enumerate(items, 1):
                lead = f"{number}. " if numbered else "- "
                mark = _WRAP[item.tone]
                yield f"{indent}{lead}{mark}{markdown_text(item.text)}{mark}"
                for below in item.below:
                    if not isinstance(below, Bullets):
                        yield ""
                    yield from _show(below, indent + " " * len(lead))
        case KeyValues(rows):
            yield from _table(("", ""), (False, False), [Row(row) for row in rows], indent)
        case Table(columns, table_rows, more):
            yield from _table([c.title for c in columns], [c.right for c in columns], table_rows, indent)
            if more:
                yield ""
                yield f"{indent}… {markdown_text(more)}"
        case Bar(title, total_kib, segments):
            yield f"{indent}**{markdown_text(title)}**"
            yield ""
            wide = 4 if any(s.detail for s in segments) else 3
            addends = [
                Row((s.label, human_kib(s.kib), human_pct(s.kib, total_kib), s.detail or "")[:wide]) for s in segments
            ]
            titles, right = ("memory", "size", "share", ""), (False, True, True, False)
            yield from _table(titles[:wide], right[:wide], addends, indent)
        case Code(text, language):
            fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
            yield f"{indent}{fence}{language}"
            for line in text.split("\n"):
                yield indent + line
            yield indent + fence


def _table(titles: Iterable[str], right: Iterable[bool], rows: Iterable[Row], indent: str) -> Iterator[str]:
    yield f"{indent}| {' | '.join(map(markdown_text, titles))} |"
    yield f"{indent}|{'|'.join('---:' if flush else '---' for flush in right)}|"
    for row in rows:
        mark = _WRAP[row.tone]
        cells = (f"{mark}{text}{mark}" if (text := markdown_text(cell)) else "" for cell in row.cells)
        yield f"{indent}| {' | '.join(cells)} |"
