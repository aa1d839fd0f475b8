"""
Patterns of whole names, matched without :mod:`re` where they are simple.

Loading re and compiling a dozen patterns takes as long as all else that ``oomsight score`` does besides reading. Most
patterns of :mod:`oomsight.naming.cgroup_layouts` are plain texts, choices between a few and parts of one of few kinds
(:data:`PARTS`), one after the other. The others are left to re, but only for names that hold what every match must
hold.
"""

from __future__ import annotations

from oomsight._lazy import lazy

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    import re
    from collections.abc import Callable
    from typing import Final, Literal

    _Piece = tuple[str, tuple[str, ...], "Callable[[str], bool | None] | None"]

_PLAIN: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-@:\0"
_HEX: Final = frozenset("0123456789abcdef")

CUT: Final = r"(?:…|\.{2,3})"  #: what people leave of an id they cut
HOLE: Final = rf"{CUT}|<[\w -]{{1,20}}>"  #: … or remove before posting: "docker-<id>.scope", "docker-….scope"
ID: Final = rf"[0-9a-f]{{12,64}}|[0-9a-f]{{4,63}}{CUT}|{HOLE}"  #: of a container
UUID: Final = r"[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}"
POD: Final = rf"{UUID}|[0-9a-f]{{32}}|[0-9a-f][0-9a-f_-]{{3,35}}{CUT}|{HOLE}"  #: uid of a Kubernetes pod
UNITS: Final = ("service", "scope", "socket", "mount", "automount", "swap")  #: kinds of systemd units in cgroups
UNIT: Final = f"(?:{'|'.join(UNITS)})"


def is_hex(text: str) -> bool:
    """Whether all is hexadecimal digits, as kernel and runtimes print them."""
    return _HEX.issuperset(text)


def _number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10


_CUT_SHORT: Final = {"…", ".", ">"}  # how :data:`CUT` and :data:`HOLE` end
_DASHES: Final = (8, 13, 18, 23)
_NO_DASHES: Final = {ord("-"): None, ord("_"): None}


def _uuid(text: str) -> bool:
    digits = text.translate(_NO_DASHES)
    return len(text) == 36 and len(digits) == 32 and is_hex(digits) and all(text[at] in "-_" for at in _DASHES)


def _id(text: str) -> bool | None:
    return None if text[-1:] in _CUT_SHORT else 12 <= len(text) <= 64 and is_hex(text)


def _pod(text: str) -> bool | None:
    return None if text[-1:] in _CUT_SHORT else _uuid(text) or (len(text) == 32 and is_hex(text))


PARTS: Final[dict[str, Callable[[str], bool | None]]] = {
    ".+": bool,
    ".*": lambda _text: True,
    "[^@]+": lambda text: text != "" and "@" not in text,
    r"\d{1,10}": _number,
    r"c?\d{1,10}": lambda text: _number(text.removeprefix("c")),
    "[0-9a-f]{64}": lambda text: len(text) == 64 and is_hex(text),
    ID: _id,
    UUID: _uuid,
    POD: _pod,
}
"""Pattern of a part -> whether a text is one; ``None`` = it takes the pattern to tell."""


class Part:
    """What is used of ``re.Match``."""

    __slots__ = ("_spans", "_text")

    def __init__(self, text: str, spans: dict[str, tuple[int, int]]) -> None:
        self._text, self._spans = text, spans

    @property
    def re(self) -> Part:
        """The pattern, of which only :attr:`groupindex` is used."""
        return self

    @property
    def groupindex(self) -> dict[str, int]:
        """Names of groups, by which :meth:`span` is asked."""
        return {name: number for number, name in enumerate(self._spans, 1)}

    def groupdict(self) -> dict[str, str]:
        """The groups by their names."""
        return {name: self[name] for name in self._spans}

    def span(self, name: str) -> tuple[int, int]:
        """Where the group begins and ends."""
        return self._spans[name]

    def __getitem__(self, name: str) -> str:
        start, end = self._spans[name]
        return self._text[start:end]


class Shape:
    """Patterns of a whole name, tried one after the other: ASCII classes, and dots that match everything."""

    def __init__(self, *patterns: str) -> None:
        self.patterns = patterns
        self._ways = [_Way(pattern) for pattern in patterns]
        ends = [_ends(pattern) for pattern in patterns]
        #: What every match begins and ends with; empty = it cannot be told.
        self.first, self.last = ends[0] if len(ends) == 1 else (_shared([one[0] for one in ends]), "")

    def fullmatch(self, text: str) -> re.Match[str] | Part | None:
        """As ``re.fullmatch`` with the first of the patterns that matches."""
        for way in self._ways:
            if match := way.fullmatch(text):
                return match
        return None


def _shared(texts: list[str]) -> str:
    """What all *texts* begin with."""
    least, most = min(texts), max(texts)
    return next((least[:at] for at, char in enumerate(least) if char != most[at]), least)


class _Way:
    """One pattern of a :class:`Shape`."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._regex = lazy(f"(?as){pattern}")
        self._pieces: list[_Piece] | None = None  # found out when first asked for: most rows never are
        self._needs: list[list[tuple[str, ...]]] = []

    def fullmatch(self, text: str) -> re.Match[str] | Part | None:
        if self._pieces is None:
            self._pieces = _pieces(self._pattern)
            self._needs = [] if self._pieces else needs(self._pattern)
        if self._pieces:
            match = _walk(self._pieces, text)
            return self._regex.fullmatch(text) if match is None else match or None
        if any(all(any(word in text for word in piece) for piece in pieces) for pieces in self._needs):
            return self._regex.fullmatch(text)
        return None


def _pieces(pattern: str) -> list[_Piece]:
    """
    What *pattern* is made of, one piece after the other: the name of its group, the texts to choose from or else the
    test of a part. Nothing = it is not as simple as that.
    """
    found: list[_Piece] = []
    top = pattern.replace(r"\.", "\0")
    if not top.strip(_PLAIN + "|"):
        return [("", tuple(top.replace("\0", ".").split("|")), None)]
    while top:
        if top[0] == "(":
            end = _closing(top, 0)
            name, body = "", top[1:end].removeprefix("?:")
            if body.startswith("?P<"):
                name, _, body = body[3:].partition(">")
            test = PARTS.get(body.replace("\0", r"\."))
            if test is None and body.strip(_PLAIN + "|"):
                return []
            found.append((name, () if test else tuple(body.replace("\0", ".").split("|")), test))
            top = top[end + 1 :]
        else:
            rest = top.lstrip(_PLAIN)
            if rest == top:
                return []
            found.append(("", (top[: len(top) - len(rest)].replace("\0", "."),), None))
            top = rest
    free = [number for number, piece in enumerate(found) if piece[2]]
    # Only the last part may be of any length; those before it end where the next text begins.
    early = [number for number in free[:-1] if PARTS["[^@]+"] is not found[number][2] or found[number + 1][1] != ("@",)]
    return [] if early else found


def _walk(pieces: list[_Piece], text: str) -> Part | Literal[False] | None:
    """The match of *pieces* with *text*, ``False`` = none; ``None`` = it takes the pattern to tell."""
    spans: dict[str, tuple[int, int]] = {}
    name, texts, test = pieces[0]
    if len(pieces) == 1 and test is None:
        return text in texts and Part(text, {name: (0, len(text))} if name else spans)
    last = max((number for number, piece in enumerate(pieces) if piece[2]), default=len(pieces))
    at, end = 0, len(text)
    for name, texts, _ in reversed(pieces[last + 1 :]):
        fits = [choice for choice in texts if text.endswith(choice, at, end)]
        if len(fits) != 1:
            return None if fits else False
        start = end - len(fits[0])
        spans[name] = start, end
        end = start
    for number, (name, texts, test) in enumerate(pieces[: last + 1]):
        if test is None:
            fits = [choice for choice in texts if text.startswith(choice, at, end)]
            if len(fits) != 1:
                return None if fits else False
            stop = at + len(fits[0])
        else:
            stop = end if number == last else text.find("@", at, end)
            told = stop >= 0 and test(text[at:stop])
            if told is None or not told:
                return told
        spans[name] = at, stop
        at = stop
    spans.pop("", None)
    return at == end and Part(text, dict(sorted(spans.items(), key=lambda one: one[1])))


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
