"""Pieces of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from oomsight.kernel.release import Release, release_text


def code(text: object) -> str:
    """Return *text* as a code span that a table cell can hold."""
    shown = str(text).replace("\n", "\\n").replace("|", "\\|")
    if not shown.strip():
        return f"`{shown!r}`" if shown else ""
    fence = "``" if "`" in shown else "`"
    return f"{fence}{shown}{fence}"


def prose(text: str) -> str:
    """Return a docstring or a table's words as Markdown on one line: roles and double backticks become code spans."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", " ".join(text.split()))
    return re.sub(r"``(.+?)``", r"`\1`", text).replace("|", "\\|").replace("<", "\\<")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table and an empty one."""
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def span(since: Release, until: Release | None) -> str:
    """Return a range of kernel releases in words."""
    if until is None:
        return f"{release_text(since)} and later"
    return release_text(since) if since == until else f"{release_text(since)} to {release_text(until)}"
