"""How a command speaks: answers to standard output, remarks to standard error, and what the terminal can show."""

from __future__ import annotations

import os
import sys

from oomsight.sinks.stream import Surface, emit, surface

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from oomsight.sinks.blocks import Block


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


def terminal_rows() -> int:
    """How many lines the terminal on standard output has; 24 if it does not say."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).lines or 24
    except (OSError, ValueError):
        return 24


def can_be_drawn_over() -> bool:
    """Whether standard output is a terminal that obeys cursor moves: others show them as garbage."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in {"", "dumb"}


def renderer(output_format: str, width: int | None = None, color: str = "auto") -> Callable[[Iterable[Block]], str]:
    """Return what turns blocks into Markdown (*output_format* ``markdown``) or else into text for standard output."""
    if output_format == "markdown":
        from oomsight.sinks.markdown import render_markdown

        return render_markdown
    from oomsight.sinks.text import render_text

    shown = stdout_surface(width, color)
    return lambda blocks: render_text(blocks, width=shown.width, colour=shown.colour, unicode=shown.unicode)


def answer(text: str) -> None:
    """Write *text* to standard output."""
    emit(sys.stdout, text)


def remark(text: str) -> None:
    """Write one line to standard error: what is missing, skipped or worth knowing. *text* is plain and escaped here."""
    from oomsight.sinks.safe import scrub

    emit(sys.stderr, f"oomsight: {scrub(text.replace(chr(10), ' '))}\n")
