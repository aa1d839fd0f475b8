"""A command line fit to be kept: secrets masked, cut to what people need to tell processes apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from oomsight._lazy import lazy

MOST_CHARS: Final = 200
MASK: Final = "***"

# Words that announce a secret, as option, variable or key.
_WORD: Final = r"(?:pass(?:wd|word|phrase)?|pwd|secret|token|(?:api|access|private)[-_]?key|auth|credentials?)"
_ASSIGN: Final = lazy(rf"(?i)^(-{{0,2}}[\w.-]*{_WORD}[\w.-]*[=:]).+")
_INNER: Final = lazy(rf"(?i)([?&;,\s{{\"'][\w.-]*{_WORD}[\w.-]*\"?'?\s*[=:]\s*\"?)[^&;,\s\"'}}]+")
_OPTION: Final = lazy(rf"(?i)^-{{1,2}}[\w.-]*{_WORD}[\w-]*$")
_URL: Final = lazy(r"(\b[a-zA-Z][\w+.-]*://[^/\s:@]*):[^/\s@]+@")
_HEADER: Final = lazy(r"(?i)((?:authorization|x-[\w-]*(?:key|token))\s*[:=]\s*)(?:bearer |basic )?\S+")
# Tokens that are known by their look.
_SHAPE: Final = lazy(
    r"\b(?:gh[pousr]_\w{20,}|xox[abprs]-[\w-]{10,}|AKIA[0-9A-Z]{16}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*|sk-[\w-]{16,})"
)
_GLUED: Final = frozenset({"mysql", "mysqldump", "mysqladmin", "mariadb", "mariadb-dump"})


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
    program = words[0].rpartition("/")[2] if words else ""
    out: list[str] = []
    hide = False
    for word in words:
        if hide and not word.startswith("-"):
            out.append(MASK)
        elif program in _GLUED and re.match(r"-p.", word):
            out.append("-p" + MASK)
        else:
            out.append(_masked_word(word))
        hide = _OPTION.match(word) is not None
    return out


def _masked_word(word: str) -> str:
    word = _URL.sub(rf"\1:{MASK}@", word)
    word = _HEADER.sub(rf"\1{MASK}", word)
    if _ASSIGN.match(word):
        return _ASSIGN.sub(rf"\g<1>{MASK}", word)
    return _SHAPE.sub(MASK, _INNER.sub(rf"\g<1>{MASK}", word))
