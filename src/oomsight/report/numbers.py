"""
Many numbers at once. The scanner in C that reads JSON makes the integers of an array in less time than calls of ``int``
take, and finds what is none; so numbers are brought into that form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_DIGITS = b"0123456789"
_ALIKE = bytes.maketrans(_DIGITS, b"0" * 10)
_ARRAY = bytes(byte if byte in _DIGITS else ord("," if byte == ord(":") else " ") for byte in range(256))
_SCANNERS: list[Callable[[str, int], tuple[Any, int]]] = []  # the one, when there is something to read
_MOST = 4096  # characters of a line whose form is remembered: the kernel's are a quarter of it


def integers(array: str) -> list[int]:
    """Return the integers of *array*, which is one in JSON; ``ValueError`` or ``StopIteration`` where it is none."""
    if not _SCANNERS:
        _SCANNERS.append(_scanner())
    try:
        found: list[int] = _SCANNERS[0](array, 0)[0]
    except SystemError as error:  # its own error is a class of json.decoder, which is looked up and may not be loaded
        raise ValueError(array) from error
    return found


def by_name(text: str, names_of: Callable[[bytes], tuple[str, ...]]) -> dict[str, int]:
    """
    Return the numbers by name of *text*: pairs of a name and a number with a colon between them. Empty where it has
    another form, and the caller may read it in a slower way.

    *names_of* knows the names by the text without its digits, which is the same in all reports of a kernel, so it may
    remember them; ``()`` = no such text. With its colons as commas and all else blank the text is an array.
    """
    if not text.isascii() or len(text) > _MOST:
        return {}
    raw = text.encode()
    names = names_of(raw.translate(None, _DIGITS))
    if not names or raw.translate(_ALIKE).count(b":0") != len(names):
        return {}
    try:
        numbers = integers(f"[{raw.translate(_ARRAY).decode().partition(',')[2]}]")
    except (ValueError, StopIteration):
        return {}
    return dict(zip(names, numbers, strict=True))


def _scanner() -> Callable[[str, int], tuple[Any, int]]:
    """Reader of one value in JSON whose numbers are integers."""
    try:
        from _json import make_scanner  # what json.loads uses; that module loads five more and compiles six patterns
    except ImportError:  # another Python
        import json

        return lambda text, _at: (json.loads(text, parse_float=_no_integer, parse_constant=_no_integer), 0)
    scanner: Callable[[str, int], tuple[Any, int]] = make_scanner(_Options)  # type: ignore[arg-type]  # it asks no more
    return scanner


def _no_integer(text: str) -> None:
    raise ValueError(text)


class _Options:
    """What the scanner asks of a decoder."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_int, parse_float, parse_constant = int, _no_integer, _no_integer
