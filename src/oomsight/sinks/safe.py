"""
Names and sentences made safe to show: terminal, Markdown, command lines.

Whoever runs a process chooses its name, whoever makes a cgroup chooses its path. One rule for both sinks: a name
shown **bare** is literal; a name shown **in double quotes** is escaped (``\\x1b``, ``\\u202e``, ``\\\\``, ``\\"``)
and can be read back exactly. A byte that is not UTF-8 (a lone surrogate from ``surrogateescape``) is ``\\xNN``.
"""

from __future__ import annotations

from oomsight._lazy import lazy
from oomsight.naming.marked import Kind, map_names

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from typing import Final

GLUE: Final = "\x1e"
"""Stands for a space inside a name or between number and unit (or number and its name) while a sentence is wrapped."""

# Printable for str.isprintable() and yet invisible or a modifier of their neighbours: grapheme joiner, Hangul and
# Khmer fillers, Mongolian and Unicode variation selectors, braille blank, object replacement.
_HIDDEN = lazy(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\ufffc\U000e0100-\U000e01ef]"
)
# A bare name reads as one word of a sentence: no quotes needed. Digits alone would read as a number; brackets as a
# kernel thread, which user space can imitate.
_BARE_WIDE = lazy(r"(?!\d+\Z)[\w/@.][\w./@%+:=~\\#-]*(?<![.:=\\])")
_WORD_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_BARE_CHARS = _WORD_CHARS | frozenset("./@%+:=~\\#-")
_UNITS = frozenset({"page", "pages", "s", "ms", "min", *(p + i + "B" for p in ("", *"KMGTPE") for i in ("", "i"))})
_NUMBERED = ("pid", "uid", "_adj", "line", "lines")  # a number that follows belongs to them
# First characters of what may belong to the word before.
_MAY_BELONG = frozenset({"%", "-", *"0123456789", *(unit[0] for unit in _UNITS)})
_LONG: Final = 40  #: characters up to which a quoted name is kept on one line
_SPACES = lazy(r"  +|(?<=^.) |(?<=\W\W) (?=\W\W)")
# First words of Unicode character names whose letters pass for Latin ones.
_LOOKALIKE_SCRIPTS = frozenset(
    {"CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU", "FULLWIDTH", "MATHEMATICAL"}
)


def _escape(char: str) -> str:
    """Return the visible escape of one character."""
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: a raw byte
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _suspects(name: str) -> set[int]:
    """Return the positions of characters of *name* that must not be shown as they are (ASCII printable: none)."""
    if name.isascii() and name.isprintable():
        return set()
    from unicodedata import combining
    from unicodedata import name as unicode_name

    found: set[int] = set()
    scripts: dict[int, str] = {}
    marks = 2  # a mark needs a base, and at most two sit on one: more paints over the lines around
    for index, char in enumerate(name):
        if not char.isprintable() or _HIDDEN.match(char):
            found.add(index)
            marks = 2
        elif combining(char):
            marks += 1
            if marks > 2:
                found.add(index)
        else:
            marks = 0
            if char.isalpha():
                scripts[index] = unicode_name(char, "?").split(" ", 1)[0]
    if "LATIN" in scripts.values():  # look-alikes: Cyrillic or Greek letters among Latin ones
        found.update(i for i, script in scripts.items() if script in _LOOKALIKE_SCRIPTS)
    return found


def is_clean(name: str) -> bool:
    """Return whether every character of *name* is visible as itself: nothing hidden, moving or imitating."""
    return not _suspects(name)


def quoted(name: str, also: str = "") -> str:
    """Return *name* in double quotes, everything suspect and the characters of *also* as visible escapes."""
    suspects = _suspects(name)
    return '"' + "".join(
        _escape(c) if i in suspects or c in also else "\\" + c if c in '\\"' else c for i, c in enumerate(name)
    ) + '"'  # fmt: skip


def _is_bare(name: str) -> bool:
    """What :data:`_BARE_WIDE` says of an ASCII name."""
    return (
        _BARE_CHARS.issuperset(name) and not name.isdecimal() and name[:1] not in "%+:=~\\#-"
        and name[-1:] not in ".:=\\"
    )  # fmt: skip


def terminal_name(name: str, *, ascii_only: bool = False) -> str:
    """Return *name* for a terminal: bare when it reads as one harmless word, else quoted and escaped."""
    if name.isascii():
        return name if _is_bare(name) else quoted(name)
    if ascii_only:
        return quoted(name, "".join({c for c in name if not c.isascii()}))
    return name if _BARE_WIDE.fullmatch(name) and is_clean(name) else quoted(name)


def markdown_name(name: str) -> str:
    """
    Return *name* as a Markdown code span nothing can break out of, in running text and in table cells.

    Backticks, pipes and angle brackets are escaped like control characters instead of relying on longer fences or
    backslashes: tickets are read by many dialects, and they differ exactly there.
    """
    if is_clean(name) and name.strip() == name != "" and name[0] != '"' and not any(c in "`|<>" for c in name):
        return f"`{name}`"
    return f"`{quoted(name, '`|<>')}`"


def _is_harmless(text: str) -> bool:
    """Whether all is plain ASCII, or letters and typography of the Latin scripts."""
    if text.isascii() and text.isprintable():
        return True
    return all(
        " " <= c <= "~" or c in {"\n", GLUE} or ("\xa1" <= c <= "\u02ff" and c != "\xad")
        or "\u2010" <= c <= "\u2027" or "\u2030" <= c <= "\u205e" or "\u2190" <= c <= "\u22ff"
        for c in set(text)
    )  # fmt: skip


def scrub(text: str) -> str:
    """Return *text* with everything invisible or controlling escaped; newlines stay. For prose around names."""
    if _is_harmless(text):
        return text
    return "".join(c if c in ("\n", GLUE) or (c.isprintable() and not _HIDDEN.match(c)) else _escape(c) for c in text)


def plain(text: str, *, ascii_only: bool = False, glue: bool = False) -> str:
    """Return marked *text* for a terminal. With *glue*, spaces that must not be broken at are :data:`GLUE`."""

    def show(name: str, kind: Kind) -> str:
        # Digits alone pass for a number where a process is meant; uids, node lists and ids are numbers.
        number = kind is not Kind.COMM and name.isascii() and name.isdigit()
        shown = name if number else terminal_name(name, ascii_only=ascii_only)
        if not glue:
            return shown
        if len(shown) > _LONG:  # a sentence in quotes: broken at its spaces, where there is one only
            return _SPACES.sub(lambda m: GLUE * len(m[0]), shown)
        return shown.replace(" ", GLUE)

    if not glue and text.isascii() and text.isprintable():
        return text  # as most cells of a table: no name in it either
    # A sentence that carries the sentinel itself (unmarked foreign text) loses it before names may bring theirs.
    text = scrub(map_names(text.replace(GLUE, "\\x1e"), show))
    if glue:
        text = _numbers_glued(text)
    return ascii_text(text) if ascii_only else text


def _numbers_glued(text: str) -> str:
    """*text* with :data:`GLUE` between a number and its unit, and between ``pid`` and the like and their number."""
    before, *rest = text.split(" ")
    done = [before]
    for word in rest:
        start = word[:1]
        if (start in _MAY_BELONG or start > "~") and (
            (before[-1:].isdecimal() and (start == "%" or _first_word(word) in _UNITS))
            or ((start == "-" or start.isdecimal()) and before.endswith(_NUMBERED))
        ):
            done[-1] += GLUE + word
        else:
            done.append(word)
        before = word
    return " ".join(done)


def _first_word(text: str) -> str:
    """The letters that *text* begins with."""
    return text[: next((at for at, char in enumerate(text) if not (char.isalnum() or char == "_")), len(text))]


_ASCII = str.maketrans(
    {"…": "...", "–": "-", "—": "-", "‑": "-", "×": "x", "≤": "<=", "≥": ">=", "≈": "~", "→": "->", "−": "-", "µ": "u",
     "•": "*", "·": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "\xa0": " ", "Σ": "sum", "½": "1/2", "◀": "<-"}
)  # fmt: skip


def ascii_text(text: str) -> str:
    """Return *text* in ASCII: typographic characters by their usual stand-ins, the rest as escapes."""
    if text.isascii():
        return text
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")


def _is_narrow(text: str) -> bool:
    """Whether every character surely takes one column: what is ASCII, Latin, or an ellipsis of ours."""
    return text.isascii() or max(text.replace("…", ".")) < "\u0300"


def display_width(text: str) -> int:
    """Return the terminal columns *text* takes: wide East Asian characters 2, combining marks 0."""
    if _is_narrow(text):
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def cut(text: str, width: int) -> str:
    """Return the longest beginning of *text* that fits *width* columns."""
    if _is_narrow(text):
        return text[:width]
    used = 0
    for index, char in enumerate(text):
        used += display_width(char)
        if used > width:
            return text[:index]
    return text


def shorten(text: str, width: int, *, ellipsis: str = "…") -> str:
    """Return *text* in at most *width* columns, cut in the middle: both ends of a path or an id tell something."""
    if display_width(text) <= width:
        return text
    room = max(width - len(ellipsis), 0)
    head = cut(text, (room + 1) // 2)
    tail = cut(text[::-1], room - display_width(head))[::-1]
    return cut(head + ellipsis + tail, width)


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Return *text* filled with spaces to *width* columns, flush right with *right*."""
    gap = " " * max(width - display_width(text), 0)
    return gap + text if right else text + gap


def wrap(text: str, width: int) -> list[str]:
    """
    Return *text* (no ANSI sequences, as :func:`plain` gives it with ``glue``) in lines of at most *width* columns.

    Breaks at spaces only, so a glued name stays whole while it fits a line; a longer word is cut, after a ``/`` where
    it has one in reach. Explicit newlines are kept. Always at least one line.
    """
    width = max(width, 8)
    lines: list[str] = []
    for paragraph in text.split("\n"):
        if _is_narrow(paragraph) and "  " not in paragraph and paragraph.strip(" ") == paragraph:
            # Nearly all: lines end at the last space that fits, up to a word that is longer than a line.
            while len(paragraph) > width and (space := paragraph.rfind(" ", 0, width + 1)) > 0:
                lines.append(paragraph[:space])
                paragraph = paragraph[space + 1 :]  # noqa: PLW2901 - what is left of it
            if len(paragraph) <= width:
                lines.append(paragraph)
                continue
        line, used = "", 0
        for word in filter(None, paragraph.split(" ")):  # str.split() without an argument would split at GLUE
            size = display_width(word)
            if line and used + 1 + size <= width:
                line, used = f"{line} {word}", used + 1 + size
                continue
            if line:
                lines.append(line)
            while size > width:
                piece = cut(word, width)
                slash = piece.rfind("/")
                if slash > width // 2:
                    piece = piece[: slash + 1]
                lines.append(piece)
                word = word[len(piece) :]  # noqa: PLW2901 - the rest of a word that does not fit a line
                size = display_width(word)
            line, used = word, size
        lines.append(line)
    return [line.replace(GLUE, " ") for line in lines]
