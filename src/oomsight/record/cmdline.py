"""
A command line fit to be kept: secrets masked, cut to what people need to tell processes apart.

A secret is known by the name before it (:mod:`oomsight.record.secrets`), by the program whose option it follows, or by
its look. Words of a shell (``sh -c "mysql -pX"``) are read as the command lines they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from oomsight._lazy import lazy
from oomsight.record.secrets import LOOKS, PLACES, announces

MOST_CHARS: Final = 200
MASK: Final = "***"
_DEPTH: Final = 4  #: of commands quoted in commands

# NAME=value, NAME: value, "NAME": "value"; the value up to its closing quote, else to what ends one in a URL,
# a connection string, a list or a sentence.
_VALUE: Final = lazy(r""""[^"]*"?|'[^']*'?|[^\s&;,"'})\]]+""")
_NAME: Final = lazy(r"""(?<![\w.-])([\w.-]+)["']?\s*[=:](?![=/*])\s*""")
_WHOLE: Final = lazy(r"([-/]{0,2}[\w.-]+)([=:])(?!//).+")
_HEADER: Final = lazy(r"(?i)(\b(?:(?:proxy-)?authorization|(?:set-)?cookie|x-[\w-]*(?:key|token))\s*[:=]\s*)[^\"']+")
_SCHEME: Final = lazy(r"(?i)\b(bearer|basic)(\s+)[\w.~+/=-]{6,}")
_LOGIN: Final = lazy(r"(\b[a-zA-Z][\w+.-]*://[^/\s:@\"']*):[^/\s@\"']+@")
_LONE: Final = lazy(r"(\bhttps?://)[^/\s:@\"']+@")  # a token in place of a user
_ORACLE: Final = lazy(r"(\bjdbc:oracle:\w+:[^/\s@\"']*/)[^@\s\"']+")
_DSN: Final = lazy(r"(?<![\w.+-])([\w.+-]+):[^\s@\"']+@(?=(?:tcp|tcp6|unix)\()")  # of Go's MySQL driver
_SWITCH: Final = lazy(r"-{1,2}[\w.-]+")
_TOKEN: Final = lazy(r"""\s+|(?:"[^"]*"|'[^']*'|[^\s"'])+|["']""")
_MARKS: Final = "\"'`$("


def masked(raw: bytes, most: int = MOST_CHARS) -> str | None:
    """
    The text of /proc/PID/cmdline with passwords, keys and tokens replaced by ``***``; ``None`` = it has none.

    A mask that is too greedy costs a word, one that is too lax a password: what looks like a secret is one.
    """
    words = [w.decode("utf-8", "surrogateescape") for w in raw.rstrip(b"\0").split(b"\0")]
    if words == [""]:
        return None
    text = " ".join(masked_words(words))
    return text if len(text) <= most else text[: most - 1] + "…"


def masked_words(words: Sequence[str]) -> list[str]:
    """Return the words of a command line, program first, with what looks like a secret masked."""
    line = _Line()
    return [line.word(word) for word in words]


class _Line:
    """What was read of a command line says how its next word is to be read."""

    def __init__(self) -> None:
        self._places = PLACES[""]
        self._hide = False  # the next word is a secret
        self._rest = False  # all that follow are

    def word(self, word: str, depth: int = 0) -> str:
        if (self._hide or self._rest) and not word.startswith("-"):
            self._hide = False
            return MASK
        self._hide = False
        if any(mark in word for mark in " \t\n") and depth < _DEPTH:
            return self._text(_pairs(word), depth)
        program = word.lstrip(_MARKS).rpartition("/")[2]
        places = self._places.then.get(word) or (PLACES.get(program) if program else None)
        if places is not None:
            self._places, self._rest = places, False
            return word
        return self._option(word)

    def _text(self, text: str, depth: int) -> str:
        """A word of several: commands of a shell, most likely."""
        parts = []
        for part in _TOKEN.findall(text):
            if part.isspace() or len(part) == 1:
                parts.append(part)
            elif part[0] == part[-1] and part[0] in "\"'":
                parts.append(part[0] + self.word(part[1:-1], depth + 1) + part[0])
            else:
                parts.append(self.word(part, depth + 1))
        return "".join(parts)

    def _option(self, word: str) -> str:
        places = self._places
        glued = next((one for one in places.glued if word.startswith(one) and word != one), None)
        whole = _WHOLE.fullmatch(word)
        if word in places.options:
            self._hide = True
        elif word in places.commands:
            self._rest = True
        elif glued is not None:
            return glued + MASK
        elif _SWITCH.fullmatch(word) is not None and announces(word):
            self._hide = True
        elif whole is not None and (whole[1] in places.options or announces(whole[1])):
            return whole[1] + whole[2] + MASK
        elif places.shape is not None:
            word = places.shape.sub(rf"\g<1>{MASK}", word)
        return _pairs(word)


def _pairs(word: str) -> str:
    """*word* without the secrets that need no other word to be known."""
    if "://" in word:
        word = _LONE.sub(rf"\g<1>{MASK}@", _LOGIN.sub(rf"\g<1>:{MASK}@", word))
    if ":" in word or "=" in word:
        word = _ORACLE.sub(rf"\g<1>{MASK}", _HEADER.sub(rf"\g<1>{MASK}", word))
        if "(" in word:
            word = _DSN.sub(rf"\g<1>:{MASK}@", word)
        word = _named(word)
    return LOOKS.sub(MASK, _SCHEME.sub(rf"\g<1>\g<2>{MASK}", word))


def _named(word: str) -> str:
    """*word* with the values of names that announce a secret masked; a value may hold pairs of its own."""
    parts, at = [], 0
    for found in _NAME.finditer(word):
        if found.start() < at or not announces(found[1]):
            continue
        value = _VALUE.match(word, found.end())
        if value is not None:
            parts += [word[at : found.end()], MASK]
            at = value.end()
    return "".join([*parts, word[at:]])
