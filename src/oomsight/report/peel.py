"""
What a whole text was put into, taken off again: quoting around an export, HTML, a table's frame, strings of a list.

:func:`peel` takes off one such skin; the caller reads what is inside and asks again. Only texts whose plain reading
left something open come here, so a skin may be looked for line by line. What stays of the text keeps the numbers of
the lines it came from.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

from oomsight._lazy import lazy
from oomsight.report.exports import place, record_lines, records
from oomsight.report.layers import find_layers, is_record
from oomsight.report.rejoin import QUOTE, without_quotes
from oomsight.report.unwrap import encoded_whole, quoted_printable

_NUMBERED = tuple[int, str]
_FEW = 3  #: fewer signs of a skin may be words of the log
_SOME = 60  #: lines that are looked at first
_MOST_FAULTS = 200  #: places where something looks like JSON and is none

_TAG = lazy(
    r"</?(?:p|br|pre|code|span|div|td|tr|th|table|tbody|thead|li|ul|ol|blockquote|b|i|em|strong|font|a|html|body|mark|tt"
    r"|samp|kbd|section|article|h[1-6])(?:\s[^<>\n]{0,400})?/?>"
)
_BREAK = lazy(r"<br\s*/?>|</(?:p|div|tr|li|pre|h[1-6])>")
_CELL = lazy(r"</t[dh]>\s*(?=<t[dh])")
_ENTITY = lazy(r"&(?:[a-z]{2,6}|#\d{1,6}|#x[0-9a-f]{1,5});", re.I)
_BARS = "|│┃║┆┊"
_BOX = lazy(rf"[ \t]*[{_BARS}](.*?)[ \t]*[{_BARS}]?[ \t]*$")
_CELLS = lazy(rf"[ \t]+[{_BARS}][ \t]+")
_BASE64 = lazy(r"[A-Za-z0-9+/]{40,}={0,2}[ \t]*")
_LAST_BASE64 = lazy(r"[A-Za-z0-9+/]{2,}={0,2}[ \t]*")
_DOCUMENT = lazy(r"[{\[](?=\s*[\"{\[])")
_STRING = lazy(r"""[ \t\[(]*b?(["'])((?:(?!\1)[^\\]|\\.)*)\1[ \t]*[,\])]*[ \t]*""")
_FIELD = lazy(r"""\b(?:msg|message|MESSAGE|log|line|_raw)"?=>?"((?:[^"\\]|\\.)*)\"""")
_ISO = lazy(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+\-]\d\d:?\d\d)?")
_ESCAPES = lazy(r"\\(?:u([0-9a-fA-F]{4})|(.))")
_ESCAPED_MARK = lazy(r"\\([\[\]{}()_*#+\-.!<>|~`&])")
_CONTROLS = {"n": "\n", "r": "", "t": "\t"}


def peel(numbered: list[_NUMBERED]) -> list[_NUMBERED] | None:
    """
    Take one skin off a text.

    :param numbered: its lines with their numbers, undecoded.
    :return: the lines inside, ``None`` = no skin was found.
    """
    some = numbered[:: max(1, len(numbered) // _SOME)]
    text = "\n".join(line for _, line in numbered)
    for skin, shows in _SKINS:
        if not (shows(some) if callable(shows) else re.search(shows, text)):
            continue
        inside = skin(numbered)
        if inside is not None and inside != numbered:
            return inside
    return None


def _mostly(some: int, numbered: list[_NUMBERED]) -> bool:
    """Whether *some* are more than half of the lines that are not blank, and not too few."""
    return some >= _FEW and 2 * some > sum(1 for _, line in numbered if line.strip())


def _octal(numbered: list[_NUMBERED]) -> list[_NUMBERED] | None:
    """Line ends and tabs as syslog daemons write them, around what is no kernel text yet."""
    if sum(line.count("#012") for _, line in numbered) < _FEW:
        return None
    return [(no, piece.replace("#011", "\t")) for no, line in numbered for piece in line.split("#012")]


def _markup(numbered: list[_NUMBERED]) -> list[_NUMBERED] | None:
    """HTML: tags of text, and entities."""
    signs = sum(len(_TAG.findall(line)) + len(_ENTITY.findall(line)) for _, line in numbered)
    if signs < _FEW:
        return None
    from html import unescape  # its table is large

    out: list[_NUMBERED] = []
    for no, line in numbered:
        text = _TAG.sub("", _CELL.sub("\t", _BREAK.sub("\n", line)))
        pieces = _ENTITY.sub(lambda m: unescape(m[0]), text).split("\n")
        out.extend((no, piece) for piece in (pieces if pieces[-1].strip() else pieces[:-1] or pieces))
    return out


def _frame(numbered: list[_NUMBERED]) -> list[_NUMBERED] | None:
    """A table or a window: bars in front of and behind each line, the logged line in the last column."""
    found = [m if (m := _BOX.match(line)) and line.rstrip()[-1:] in _BARS else None for _, line in numbered]
    if not _mostly(sum(m is not None for m in found), numbered):
        return None
    kept = ((no, _CELLS.split(m[1])[-1] if m else line) for (no, line), m in zip(numbered, found, strict=True))
    return [(no, line.removeprefix(" ")) for no, line in kept]


def _printable(numbered: list[_NUMBERED]) -> list[_NUMBERED] | None:
    """Quoted-printable that showed only when a quote was gone."""
    text = "\n".join(line for _, line in numbered)
    if "=\n" not in text or not encoded_whole(text):
        return None
    lines = quoted_printable(text)
    return [(no, line) for (no, _), line in zip(numbered, lines, strict=True) if line is not None]


def _base64(numbered: list[_NUMBERED]) -> list[_NUMBERED] | None:
    """Parts of a mail in base64 that are text."""
    import binascii

    out: list[_NUMBERED] = []
    at, changed = 0, False
    while at < len(numbered):
        end = at
        while end < len(numbered) and _BASE64.fullmatch(numbered[end][1]):
            end += 1
        if end - at < _FEW:
            out.extend(numbered[at : end + 1])
            at = end + 1
            continue
        if end < len(numbered) and _LAST_BASE64.fullmatch(numbered[end][1]):
            end += 1
        try:
            text = binascii.a2b_base64("".join(line for _, line in numbered[at:end])).decode("utf-8")
        except ValueError:  # binary, or cut
            out.extend(numbered[at:end])
        else:
            out.extend((numbered[at][0], line) for line in text.replace("\r\n", "\n").split("\n"))
            changed = True
        at = end
    return out if changed else None


def _documents(numbered: list[_NUMBERED]) -> list[_NUMBERED] | None:
    """JSON anywhere: several documents on one line, behind words, broken into lines of one width."""
    return _read_documents(numbered, "\n") or _read_documents(numbered, "")


def _read_documents(numbered: list[_NUMBERED], glue: str) -> list[_NUMBERED] | None:
    text = glue.join(line for _, line in numbered)
    starts = list(accumulate((len(line) + len(glue) for _, line in numbered), initial=0))
    out: list[_NUMBERED] = []
    read, at = 0, 0
    for begin, end, value in _values(text):
        out.extend((numbered[bisect_right(starts, begin) - 1][0], line) for line in text[at:begin].split("\n"))
        found = begin
        for record in records(value):
            found = max(found, place(text, record, found))
            line_no = numbered[bisect_right(starts, found) - 1][0]
            out.extend(record_lines(record, line_no))
            read += 1
        at = end
    out.extend((numbered[-1][0], line) for line in text[at:].split("\n"))
    return [(no, line) for no, line in out if line.strip(" \t,")] if read else None


def _values(text: str) -> Iterator[tuple[int, int, Any]]:
    """Every JSON document in *text*: begin, end, value."""
    if _DOCUMENT.search(text) is None:
        return
    import json

    decode = json.JSONDecoder(strict=False).raw_decode
    at = faults = 0
    while faults < _MOST_FAULTS and (m := _DOCUMENT.search(text, at)):
        try:
            value, at = decode(text, m.start())
        except (ValueError, RecursionError):
            faults, at = faults + 1, m.start() + 1
            continue
        yield m.start(), at, value


def _strings(numbered: list[_NUMBERED]) -> list[_NUMBERED] | None:
    """Strings of a list, one on each line or all on one: a variable of Ansible, a list of Python."""
    if len(numbered) <= _FEW:
        between = [re.split(r"""(?<=[^\\])(["']), \1""", line) for _, line in numbered]
        pieces = [(no, piece) for (no, _), row in zip(numbered, between, strict=True) for piece in row[::2]]
        return pieces if len(pieces) > len(numbered) + _FEW else None
    found = [_STRING.fullmatch(line) for _, line in numbered]
    if not _mostly(sum(m is not None for m in found), numbered):
        return None
    return [(no, _unescaped(m[2]) if m else line) for (no, line), m in zip(numbered, found, strict=True)]


def _fields(numbered: list[_NUMBERED]) -> list[_NUMBERED] | None:
    """Records as ``key=value`` (logfmt) or as Ruby writes them (Fluent Bit): the time, and what was logged."""
    found = [_FIELD.search(line) for _, line in numbered]
    if not _mostly(sum(m is not None for m in found), numbered):
        return None
    out: list[_NUMBERED] = []
    for (no, line), m in zip(numbered, found, strict=True):
        if m is None:
            out.append((no, line))
            continue
        time = _ISO.search(line)
        stamp = f"{time[0].replace(' ', 'T')} " if time and not m.start() <= time.start() < m.end() else ""
        out.append((no, stamp + _unescaped(m[1])))
    return out


def _escapes(numbered: list[_NUMBERED]) -> list[_NUMBERED] | None:
    r"""``\n`` and ``\"``, of a string within a string: one level of it."""
    if sum(line.count("\\n") + line.count('\\"') for _, line in numbered) < _FEW:
        return None
    return [(no, piece) for no, line in numbered for piece in _unescaped(line).split("\n")]


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPES.sub(lambda m: chr(int(m[1], 16)) if m[1] else _CONTROLS.get(m[2], m[2]), text)


def _marks(numbered: list[_NUMBERED]) -> list[_NUMBERED] | None:
    """Backslashes that keep marks of Markdown or Jira from being some."""
    if sum(len(_ESCAPED_MARK.findall(line)) for _, line in numbered) < _FEW:
        return None
    return [(no, _ESCAPED_MARK.sub(r"\1", line)) for no, line in numbered]


def _outer(numbered: list[_NUMBERED]) -> list[_NUMBERED] | None:
    """The carrier of a log that was logged once more, line by line."""
    out: list[_NUMBERED] = []
    changed = 0
    for no, line in numbered:
        end, names = find_layers(line)
        rest = line[end:].lstrip() if is_record(names) else ""
        if rest and is_record(find_layers(rest)[1]):
            changed += 1
            out.append((no, rest))
        else:
            out.append((no, line))
    return out if _mostly(changed, numbered) else None


def _often(matches: Callable[[str], object]) -> Callable[[list[_NUMBERED]], bool]:
    """Whether a sample of lines is such that most lines may be."""
    return lambda some: 4 * sum(bool(matches(line)) for _, line in some) > sum(bool(line.strip()) for _, line in some)


def _is_logged_twice(line: str) -> bool:
    end, names = find_layers(line)
    return is_record(names) and is_record(find_layers(line[end:].lstrip())[1])


_Shows = Callable[[list[_NUMBERED]], bool] | str
_SKINS: tuple[tuple[Callable[[list[_NUMBERED]], list[_NUMBERED] | None], _Shows], ...] = (
    (without_quotes, _often(lambda line: QUOTE.match(line))),  # noqa: PLW0108 - compiled when it is needed
    (_base64, r"(?m)^[A-Za-z0-9+/]{40,}={0,2}[ \t]*$"),
    (_printable, "=\n"),
    (_octal, "#012"),
    (_markup, r"</?[a-z]|&[a-z#]"),
    (_frame, _often(lambda line: _BOX.match(line))),  # noqa: PLW0108 - compiled when it is needed
    (_documents, r"[{\[]\s*[\"{\[]"),
    (_fields, _often(lambda line: _FIELD.search(line))),  # noqa: PLW0108 - compiled when it is needed
    (_strings, r"""['"][ \t]*[,\])]"""),
    (_escapes, r'\\[n"]'),
    (_marks, r"\\[\[\]_*]"),
    (_outer, _often(_is_logged_twice)),
)
"""What takes a skin off, and what tells at little cost that it is not there: a sample of lines, or words."""
