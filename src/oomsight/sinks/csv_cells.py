"""Cells of CSV that are safe to open in a spreadsheet."""

from __future__ import annotations

from typing import Final

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")  # a spreadsheet runs cells that begin like this


def csv_cell(value: object) -> str:
    """
    Return *value* for CSV: numbers as they are, ``None`` as nothing, names so that no spreadsheet takes them for a
    formula (an apostrophe before) and no control or non-UTF-8 byte gets through (escaped).
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(value)
    text = value.encode("utf-8", "backslashreplace").decode()
    text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    # Spaces, also before the sign, do not stop a spreadsheet; neither do full-width signs.
    first = value.lstrip()[:1]
    return "'" + text if value.startswith(_FORMULA) or first in {"=", "+", "-", "@", "＝", "＋", "－", "＠"} else text
