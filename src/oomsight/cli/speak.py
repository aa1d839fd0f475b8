"""How a command speaks: answers to standard output, remarks to standard error, and what the terminal can show."""

from __future__ import annotations

import os
import sys

from oomsight.sinks.stream import Surface, emit, surface


def stdout_surface(width: int | None = None, color: str = "auto") -> Surface:
    """Return what standard output can show, given the user's ``--width`` and ``--color``."""
    columns = _columns() if sys.stdout.isatty() else None
    return surface(sys.stdout, os.environ, columns=columns, width=width, colour=color)


def _columns() -> int:
    """Width of the terminal, as ``shutil.get_terminal_size`` finds it without its two milliseconds of imports."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told):
        return int(told)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def answer(text: str) -> None:
    """Write *text* to standard output."""
    emit(sys.stdout, text)


def remark(text: str) -> None:
    """Write one line to standard error: what is missing, skipped or worth knowing. *text* is plain and escaped here."""
    from oomsight.sinks.safe import scrub

    emit(sys.stderr, f"oomsight: {scrub(text.replace(chr(10), ' '))}\n")
