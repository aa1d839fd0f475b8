"""
Patterns of whole names, matched without :mod:`re` where they are simple.

Loading re and compiling a dozen patterns takes as long as all else that ``oomsight score`` does besides reading. Most
patterns of :mod:`oomsight.naming.cgroup_layouts` are plain text, or one part between two texts, and such a part is of
one of few kinds (:data:`PARTS`). The others are left to re, but only for names that hold what every match must hold.
"""

from __future__ import annotations

from oomsight._lazy import lazy

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    import re
    from collections.abc import Callable
    from typing import Final

_PLAIN: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-@:\0"
_HEX: Final = frozenset("0123456789abcdef")

CUT: Final = r"(?:…|\.{2,3})"  #: what people leave of an id they cut
HOLE: Final = rf"{CUT}|<[\w -]{{1,20}}>"  #: … or remove before posting: "docker-<id>.scope", "docker-….scope"
ID: Final = rf"[0-9a-f]{{12,64}}|[0-9a-f]{{4,63}}{CUT}|{HOLE}"  #: of a container
UNITS: Final = ("service", "scope", "socket", "mount", "automount", "swap")  #: kinds of systemd units in cgroups
UNIT: Final = f"(?:{'|'.join(UNITS)})"


def is_hex(text: str) -> bool:
    """Whether all is hexadecimal digits, as kernel and runtimes print them."""
    return _HEX.issuperset(text)


def _number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10


def _nothing(text: str) -> bool:
    return not text


PARTS: Final[dict[str, Callable[[str], bool | None]]] = {
    ".+": bool,
    r"\d{1,10}": _number,
    r"c?\d{1,10}": lambda text: _number(text.removeprefix("c")),
    "[0-9a-f]{64}": lambda text: len(text) == 64 and is_hex(text),
    ID: lambda text: True if 12 <= len(text) <= 64 and is_hex(text) else None,
}
"""Pattern of a part -> whether a text is one; ``None`` = it takes the pattern to tell."""


class Part:
    """What is used of ``re.Match``, for a match with one named group, or with none."""

    __slots__ = ("_end", "_name", "_start", "_text")

    def __init__(self, text: str, name: str, start: int, end: int) -> None:
        self._text, self._name, self._start, self._end = text, name, start, end

    @property
    def re(self) -> Part:
        """The pattern, of which only :attr:`groupindex` is used."""
        return self

    @property
    def groupindex(self) -> dict[str, int]:
        """Names of groups, by which :meth:`span` is asked."""
        return {self._name: 1} if self._name else {}

    def groupdict(self) -> dict[str, str]:
        """The groups by their names."""
        return {self._name: self._text[self._start : self._end]} if self._name else {}

    def span(self, _name: str) -> tuple[int, int]:
        """Where the group begins and ends."""
        return self._start, self._end

    def __getitem__(self, _name: str) -> str:
        return self._text[self._start : self._end]


class Shape:
    """A pattern of a whole name: ASCII classes, and dots that match everything."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.first, self.last = _ends(pattern)  #: what every match begins and ends with; empty = it cannot be told
        self._regex = lazy(f"(?as){pattern}")
        self._name, self._test, self._endings = _simple(pattern)
        self._needs: list[list[tuple[str, ...]]] | None = None

    def fullmatch(self, text: str) -> re.Match[str] | Part | None:
        """As ``re.fullmatch``."""
        for ending in self._endings:
            start, end = len(self.first), len(text) - len(ending)
            if end < start or not text.startswith(self.first) or not text.endswith(ending):
                continue
            fits = self._test(text[start:end])
            if fits:
                return Part(text, self._name, start, end)
            if fits is None:
                return self._regex.fullmatch(text)
        if self._endings:
            return None
        if self._needs is None:
            self._needs = needs(self.pattern)
        if any(all(any(word in text for word in piece) for piece in pieces) for pieces in self._needs):
            return self._regex.fullmatch(text)
        return None


def _simple(pattern: str) -> tuple[str, Callable[[str], bool | None], tuple[str, ...]]:
    """Name and test of the only part that changes, and what may follow it; nothing may = the pattern is not simple."""
    top = pattern.replace(r"\.", "\0")
    head = top[: len(top) - len(top.lstrip(_PLAIN))]
    if head == top:
        return "", _nothing, ("",)
    if not top.strip(_PLAIN + "|"):
        return "", _nothing, tuple(top.replace("\0", ".").split("|"))
    if top.startswith("(?P<", len(head)):
        name, _, rest = top[len(head) + 4 :].partition(">")
        for source, test in PARTS.items():
            part = source.replace(r"\.", "\0") + ")"
            if rest.startswith(part):
                tail = rest[len(part) :]
                if not tail.strip(_PLAIN):
                    return name, test, (tail.replace("\0", "."),)
                if tail == "\0" + UNIT:
                    return name, test, tuple(f".{unit}" for unit in UNITS)
    return "", bool, ()


def _ends(pattern: str) -> tuple[str, str]:
    """The plain text that every match of *pattern* begins with, and ends with; empty where it cannot be told."""
    depth, top = 0, pattern.replace("\\.", "\0")  # an escaped dot is plain text
    for character in top if "|" in top else "":
        depth += (character == "(") - (character == ")")
        if character == "|" and not depth:
            return "", ""
    first = len(top) - len(top.lstrip(_PLAIN))
    if first < len(top) and top[first] in "?*+{":
        first -= 1
    last = max(len(top.rstrip(_PLAIN)), first)
    if last and top[last - 1] not in ")":  # an escape like \\d, the end of a repetition, or nothing but plain text
        last = len(top) if first < len(top) else 0
    return top[: max(first, 0)].replace("\0", "."), top[last:].replace("\0", ".")


def needs(pattern: str) -> list[list[tuple[str, ...]]]:
    """For each alternative of *pattern*: what every match of it holds, each one of a few texts."""
    found: list[list[tuple[str, ...]]] = [[]]
    run, at = "", 0
    top = pattern.replace(r"\.", "\0")

    def hold(*words: str) -> None:
        if all(words):
            found[-1].append(tuple(word.replace("\0", ".") for word in words))

    while at < len(top):
        char = top[at]
        if char not in "([{?*+|\\.":
            run += char
            at += 1
            continue
        hold(run[:-1] if char in "?*{" else run)  # what is before these may be missing
        run = ""
        if char == "|":
            found.append([])
        if char == "(":
            end = _closing(top, at)
            body = top[at + 1 : end].removeprefix("?:")
            body = body.partition(">")[2] if body.startswith("?P<") else body
            if top[end + 1 : end + 2] not in {"?", "*", "{"} and not body.strip(_PLAIN + "|"):
                hold(*body.split("|"))
            at = end
        if char in "[{":
            at = top.index("]}"["[{".index(char)], at + 1)
        at += 2 if char == "\\" else 1
    hold(run)
    return found


def _closing(pattern: str, at: int) -> int:
    """Where the group that opens at *at* is closed."""
    depth = 0
    while True:
        char = pattern[at]
        if char == "[":
            at = pattern.index("]", at + 1)
        depth += (char == "(") - (char == ")")
        if not depth:
            return at
        at += 2 if char == "\\" else 1
