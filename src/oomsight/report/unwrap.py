"""
Text as it was before somebody wrapped, escaped, quoted or exported it.

:func:`decode` turns the bytes of one window into lines with their source line numbers, undoing structured exports
(journal export and JSON, ``dmesg -J``, container and cloud JSON), quoted-printable, escaped newlines and ANSI
colours. Damage that can be undone in more than one way (hard-wrapped lines, a report glued into one line) is left to
:mod:`~oomsight.report.rejoin`; what a whole text was put into, to :mod:`~oomsight.report.peel`.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator, Sequence

from oomsight._lazy import lazy

ANSI = lazy(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
# A whole line in one colour, with the carrier in it: of a name that comes with escapes the carrier stands in front.
_COLOURED = lazy(
    r"^(?:\x1b\[[0-9;?]*[A-Za-z])+(?=\[ *\d|[A-Z][a-z]{2} [ \d]|\d{4}-\d\d)([^\n]*?)(?:\x1b\[[0-9;?]*[A-Za-z])*\r?$",
    re.M,
)
_ESCAPED = lazy(rb"\\x([0-9a-f]{2})")
_CONTROL_ESCAPES = lazy(rb"\\x(0[0-9a-f]|1[0-9a-f]|7f|[89a-f][0-9a-f])")
# The backslash of a name that itself looks like such an escape, as /dev/kmsg writes it; kept apart until the name is
# read, so that it is undone once only.
_LITERAL = lazy(r"\\x5c(?=x(?:0[0-9a-f]|1[0-9a-f]|7f|[89a-f][0-9a-f]))")
_BACKSLASH = "\ue05c"
_SOFT = "\ue05d"  # what is left of a line that a mail program had only wrapped
_OCTAL_ESCAPES = lazy(r"#(0[0-3][0-7])")
# Only syslog daemons write control characters in octal; elsewhere "#012" is a name.
_SYSLOG_LINE = lazy(r"[ \t>|]*(?:<\d+>)?(?:1 )?(?:[A-Z][a-z]{2} [ \d]\d \d\d:|\d{4}-\d\d-\d\dT)")
_NUMBERED = tuple[int, str]
_VERBOSE = "    MESSAGE="  # journalctl -o verbose
_BEGIN = 16384  # characters in which the first record of a journal is
_HEAD = 4096  # characters in which an export shows what it is

_JSON_START = lazy(r"\s*(?:\{\s*\"|\[\s*\{)")
# A first line of at least two names, one of them that of the logged line in some export.
_CSV_HEADER = lazy(
    r"(?=\"?[@\w. ]{1,40}+(?:\[\w+\])?\"?(?:[,;\t]\"?[@\w. ]{1,40}(?:\[\w+\])?\"?)+\r?\n)"
    r"[^\n]*\b(?:message|_raw|Line|line|body|log|msg|textPayload|SyslogMessage|Message|content)\b"
)
_KILLISH = lazy(r"[Kk]illed process \d|invoked oom-killer|oom-kill:constraint|ut of memory: Kill")
# A console of z/VM on a 3270 terminal shows brackets of code page 1047 as what stands there in 037 ("Ý   64.735421¨ ").
_ON_3270 = lazy(r"(?m)^[> ]*Ý?[ ]*\d+\.\d{6}¨ ")
_LOST_ON_3270 = lazy(r"(?m)^(?=\d+\.\d{6}¨ )")
_BRACKETS_OF_3270 = {ord("Ý"): "[", ord("¨"): "]"}


def decode(data: bytes, first_no: int = 1) -> list[_NUMBERED]:
    """
    Return the numbered lines of one window.

    Bytes that are not UTF-8 survive as lone surrogates (``surrogateescape``). Lines of one multi-line record after
    the first are indented by one blank, so that later stages see them as continuations.
    """
    lines, nos = decode_lines(data, first_no)
    return list(zip(nos, lines, strict=True))


def decode_lines(data: bytes, first_no: int = 1) -> tuple[list[str], Sequence[int]]:
    """Return the lines of :func:`decode` and their numbers apart; the numbers are a ``range`` where none is missing."""
    text = plain_text(data)
    if "\u00a0" in text:
        text = _hard_blanks(text)
    if "¨" in text and _ON_3270.search(text):
        text = _LOST_ON_3270.sub("[", text).translate(_BRACKETS_OF_3270)
    if _may_be_quoted_printable(text):
        start, end = (0, len(text)) if encoded_whole(text) else _encoded_part(text)
        decoded = (_SOFT if line is None else line for line in quoted_printable(text[start:end]))
        text = text[:start] + "\n".join(decoded) + text[end:]
    head = text[:_HEAD]
    told = "MESSAGE=" in text[:_BEGIN]
    if "__CURSOR=" in head or "\n__REALTIME_TIMESTAMP=" in head or (told and "\nMESSAGE=" in text[:_BEGIN]):
        from oomsight.report.exports import journal_export  # exports are rare, and pastes are many

        return _apart(journal_export(text.encode("utf-8", "surrogateescape"), first_no))
    if told and _VERBOSE in text[:_BEGIN]:
        from oomsight.report.exports import journal_verbose

        return _apart(journal_verbose(text, first_no))
    if "{" in text and ('"msg":' in text or '{"' in text or _JSON_START.match(text)):
        from oomsight.report.exports import json_lines

        lines, nos = _apart(pair for pair in json_lines(text, first_no) if pair[1] != _SOFT)
        if lines:
            return lines, nos
    if _CSV_HEADER.match(text):
        from oomsight.report.exports import csv_lines

        lines, nos = _apart(csv_lines(text, first_no))
        if lines:
            return lines, nos
    lines = text.split("\n")
    nos = range(first_no, first_no + len(lines))
    if _SOFT in text:
        lines, nos = _apart((no, line) for no, line in zip(nos, lines, strict=True) if line != _SOFT)
    if _may_be_parts(text) and (parts := [i for i, line in enumerate(lines) if _PART.match(line)])[1:]:
        lines, nos = _apart(_in_order(list(zip(nos, lines, strict=True)), parts))
    if _stands_before("#", "0", text) or ("\\" in text and re.search(r"\\(?:n|x0a|x5c)", text)):
        lines, nos = _apart(_split_escaped(zip(nos, lines, strict=True)))
    if "`" in text:
        lines = [s.strip("`") if s.lstrip().startswith("`") else s for s in lines]
    return lines, nos


def plain_text(data: bytes) -> str:
    """Return *data* decoded, without colours, and with line ends as they are here."""
    text = data.decode("utf-8", "surrogateescape")
    # One-character searches are an order faster than longer ones, and most logs pass them all: gates first.
    if "\x1b" in text and text.count("\x1b") * 3 > text.count("\n"):
        # Colours of dmesg -L or journalctl; a rare escape may be a process name on a serial console and stays.
        text = ANSI.sub("", text)
    elif "\x1b" in text:
        text = _COLOURED.sub(r"\1", text)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text[1:] if text[:1] == "\ufeff" else text


# Where a word processor, a web page or a mail program has put hard blanks for those the kernel prints.
_HARD_BLANK = lazy("\u00a0[ \u00a0]| \u00a0|[:,\\]]\u00a0|[kK]illed\u00a0process|invoked\u00a0oom")
_HARD_THOUSANDS = lazy("\\d\u00a0\\d{3}[ \u00a0]?[kK]B")


def _hard_blanks(text: str) -> str:
    """*text* with blanks for hard ones, but in names and, where they group digits, within numbers."""
    if not _HARD_BLANK.search(text):
        return text
    if not _HARD_THOUSANDS.search(text):
        return text.replace("\u00a0", " ")
    return re.sub("(?<!\\d)\u00a0|\u00a0(?!\\d{3}(?!\\d))", " ", text)


def _apart(numbered: Iterable[_NUMBERED]) -> tuple[list[str], Sequence[int]]:
    """Numbered lines as lines and numbers."""
    pairs = list(numbered)
    return [s for _, s in pairs], [no for no, _ in pairs]


# fs/pstore/platform.c pstore_dump(): the name of the reason, the number of the dump, and of its part.
_PART = lazy(r"[A-Z][a-z]+#(\d{1,6}) Part(\d{1,4})\r?$")


def _may_be_parts(text: str) -> bool:
    """Whether the name of a part follows a number sign: one-character searches are fast."""
    at = text.find("#")
    while at >= 0:
        if text.find(" Part", at + 2, at + 12) >= 0:
            return True
        at = text.find("#", at + 1)
    return False


def _in_order(numbered: list[_NUMBERED], heads: list[int]) -> Iterator[_NUMBERED]:
    """
    The parts of a log that pstore kept (ramoops, EFI, ERST) as they were written: its files hold the end of the log in
    part 1. Files of one dump stand together, in any order; of several dumps that order stays.
    """
    yield from numbered[: heads[0]]
    dumps: dict[str, list[tuple[int, int]]] = {}
    for index, head in enumerate(heads):
        m = _PART.match(numbered[head][1])
        dumps.setdefault(m[1] if m else "", []).append((int(m[2]) if m else 0, index))
    for parts in dumps.values():
        for _part, index in sorted(parts, key=lambda pair: (-pair[0], pair[1])):
            end = heads[index + 1] if index + 1 < len(heads) else len(numbered)
            yield from numbered[heads[index] + 1 : end]


def _stands_before(one: str, other: str, text: str) -> bool:
    """``one + other in text`` for a rare character *one*: some times faster."""
    at = text.find(one)
    while at >= 0:
        if text.startswith(other, at + 1):
            return True
        at = text.find(one, at + 1)
    return False


def _may_be_quoted_printable(text: str) -> bool:
    """Whether an equal sign is encoded near the begin, or one stands at the end of any line."""
    last = len(text) - 1
    at = text.find("=")
    while 0 <= at < last:
        behind = text[at + 1]
        if behind == "\n" or (behind == "3" and at < _HEAD and text[at + 2 : at + 3] == "D"):
            return True
        at = text.find("=", at + 1)
    return False


def encoded_whole(text: str) -> bool:
    """
    Whether equal signs are those of the encoding, which leaves none alone: ``=3D``, ``=C3``, ``=`` at the end of a
    line. Mail headers around an encoded part may hold a few others; ``pid=128`` must never become a control byte.
    """
    others = len(re.findall(r"=(?![0-9A-F]{2}|\n|$)", text))
    return others * 4 <= text.count("=3D") + text.count("=\n")


def _encoded_part(text: str) -> tuple[int, int]:
    """
    Where a mail stands among lines of a log, whose equal signs are bare: from the first to the last line that shows the
    encoding; nothing where no ``=3D`` does. A line that ends in ``=`` alone may be base64.
    """
    first, last, soft = text.find("=3D"), text.rfind("=3D"), text.find("=\n")
    if first < 0:
        return 0, 0
    if soft >= 0:
        first, last = min(first, soft), max(last, text.rfind("=\n"))
    start, end = text.rfind("\n", 0, first) + 1, text.find("\n", last + 2)  # a soft break goes on in the next line
    end = end if end >= 0 else len(text)
    return (start, end) if encoded_whole(text[start:end]) else (0, 0)


def quoted_printable(text: str) -> list[str | None]:
    """Undo quoted-printable line by line; ``None`` = this one is a part of the line before, which was only wrapped."""
    out: list[str | None] = []
    carry, joined = "", 0
    for line in text.split("\n"):
        if line.endswith("=") and not line.endswith("=="):
            carry += line[:-1]
            joined += 1
            continue
        out.append(_qp_line(carry + line))
        out.extend([None] * joined)
        carry, joined = "", 0
    if carry:
        out.append(_qp_line(carry))
        out.extend([None] * (joined - 1))
    return out


def _qp_line(line: str) -> str:
    raw = binascii.a2b_qp(line.encode("utf-8", "surrogateescape"))
    return raw.decode("utf-8", "surrogateescape").replace("\n", " ")


def _split_escaped(numbered: Iterable[_NUMBERED]) -> Iterator[_NUMBERED]:
    """Split at rsyslog ``#012`` and at literal ``\\n`` where the line holds kernel text glued by them."""
    for no, line in numbered:
        if "#0" in line and _SYSLOG_LINE.match(line):
            pieces = _OCTAL_ESCAPES.sub(lambda m: chr(int(m[1], 8)), line).split("\n")
        elif "\\n" in line and _KILLISH.search(line) and line.count("\\n") > 1:
            pieces = line.replace("\\r", "").replace("\\t", "\t").replace('\\"', '"').split("\\n")
        elif "\\x" in line and re.match(r"\d+,\d+,\d+,", line):
            # A multi-line record of /dev/kmsg; one newline alone may belong to a process name and stays. A backslash
            # is escaped here (and only here), so it is undone here.
            pieces = line.split("\\x0a") if line.count("\\x0a") > 2 else [line]
            pieces = [_LITERAL.sub(_BACKSLASH, p).replace("\\x5c", "\\") for p in pieces]
        else:
            pieces = [line]
        yield no, pieces[0]
        for piece in pieces[1:]:
            yield no, " " + piece


def unescape_name(name: str) -> str:
    """
    Undo the ``\\xHH`` escapes that /dev/kmsg and dmesg put for bytes below 32 or above 126. Printable characters are
    never escaped by them, so ``\\x41`` stays as it is.
    """
    if "\\x" in name:
        raw = name.encode("utf-8", "surrogateescape")
        raw = _CONTROL_ESCAPES.sub(lambda m: bytes([int(m[1], 16)]), raw)
        name = raw.decode("utf-8", "surrogateescape")
    return name.replace(_BACKSLASH, "\\") if _BACKSLASH in name else name


def may_be_escaped(names: str) -> bool:
    """Whether :func:`unescape_name` could change anything in *names*."""
    return "\\" in names or _BACKSLASH in names
