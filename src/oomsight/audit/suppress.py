"""
Suppressions: findings somebody has looked at and accepts, with the reason.

In a file, on the line of the finding or on a line of its own above it::

    memory: 4Gi  # oomsight: ignore[OS404] the cache is warm after start only
    # oomsight: ignore[OS401,OS402] runs on nodes of its own
    # oomsight: ignore-file[OS408] scratch space, cleaned hourly

Without a reason it does not count (OS003), and one that suppresses nothing is said (OS004).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from oomsight._lazy import lazy
from oomsight.audit.model import Finding, Hit, Where
from oomsight.naming.marked import Kind, mark

_COMMENT = lazy(r"(?:#|//|;)\s*oomsight:\s*(ignore(?:-file)?)\s*\[([^\]]*)\]\s*:?\s*(.*?)\s*$")
_ID = lazy(r"OS\d{3}")
NEEDLE = "oomsight:"
"""A text without it has no suppressions: spares the search line by line."""


class Suppression(NamedTuple):
    """One comment."""

    line: int  #: of the comment, from 1
    rules: tuple[str, ...]
    reason: str  #: empty = none given
    first: int | None  #: first line it speaks of; ``None`` = the whole file
    last: int | None  #: last one


def suppressions(text: str, first_line: int = 1) -> list[Suppression]:
    """Return the suppressions in *text*, whose first line has number *first_line*."""
    if NEEDLE not in text:
        return []
    found = []
    lines = text.split("\n")
    for index, line in enumerate(lines):
        match = _COMMENT.search(line) if NEEDLE in line else None
        if match is None:
            continue
        number = first_line + index
        names = tuple(name.strip() for name in match[2].split(",") if name.strip())
        if match[1] == "ignore-file":
            found.append(Suppression(number, names, match[3], None, None))
            continue
        last = number
        if not line[: match.start()].strip():  # alone on its line: speaks of the next line that says something
            below = index + 1
            while below < len(lines) - 1 and (not lines[below].strip() or lines[below].lstrip()[:1] in "#;"):
                below += 1
            last = first_line + below
        found.append(Suppression(number, names, match[3], number, last))
    return found


def apply(findings: Iterable[Finding], comments: Iterable[Suppression]) -> tuple[list[Finding], set[Suppression]]:
    """Return *findings*, the suppressed ones with their reason, and the comments that suppressed something."""
    kept: list[Finding] = []
    used: set[Suppression] = set()
    counting = [comment for comment in comments if comment.reason]
    for finding in findings:
        for comment in counting:
            line = finding.where.line
            if finding.rule in comment.rules and (
                comment.first is None or (line is not None and comment.first <= line <= (comment.last or 0))
            ):
                kept.append(finding.because(comment.reason))
                used.add(comment)
                break
        else:
            kept.append(finding)
    return kept, used


def without_reason(comment: Suppression, path: str) -> Iterator[Hit]:
    """Yield what is wrong with *comment* itself: no reason, or something that is no rule's id."""
    where = Where(path, comment.line)
    subject = mark(path, Kind.FILE)
    if wrong := [name for name in comment.rules if not _ID.fullmatch(name)] or ([""] if not comment.rules else []):
        shown = ", ".join(mark(name, Kind.ID) for name in wrong if name) or "nothing"
        yield Hit(where, subject, f"a suppression names {shown}; rules are called OS and three digits")
    elif not comment.reason:
        yield Hit(where, subject, f"the suppression of {', '.join(comment.rules)} gives no reason: it does not count")


def idle(comment: Suppression, path: str) -> Hit:
    """Return the finding about a suppression that suppresses nothing."""
    return Hit(
        Where(path, comment.line), mark(path, Kind.FILE),
        f"the suppression of {', '.join(comment.rules)} suppresses nothing here any more: remove it",
    )  # fmt: skip
