"""
A terminal that is drawn again and again: ``--watch``.

What is drawn replaces what was there line by line, so nothing flickers; what does not fit is cut off at the bottom, so
that the answer, which stands first, stays in sight. It is the terminal's other screen, and the terminal is left as it
was found: by ``q``, Ctrl-C, SIGTERM or an error.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty

from oomsight.cli.speak import terminal_rows

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, TracebackType
    from typing import Any, Final, Self

_ENTER: Final = "\x1b[?1049h\x1b[?25l"  # other screen, no cursor
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_QUIT: Final = frozenset(b"qQ\x1b\x04")


class Screen:
    """The terminal on standard output, and the keys of the one on standard input if it is one."""

    def __init__(self) -> None:
        self._keys = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._before: list[Any] = []
        self._on_term: Any = None

    def __enter__(self) -> Self:
        self._on_term = signal.signal(signal.SIGTERM, _ended)
        if self._keys is not None:
            self._before = termios.tcgetattr(self._keys)
            tty.setcbreak(self._keys)
        sys.stdout.write(_ENTER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keys is not None:
            termios.tcsetattr(self._keys, termios.TCSADRAIN, self._before)
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
        signal.signal(signal.SIGTERM, self._on_term)

    def draw(self, text: str) -> None:
        """Show the first lines of *text* instead of what is there."""
        lines = text.rstrip("\n").split("\n")[: terminal_rows()]
        sys.stdout.write("\x1b[H" + "\x1b[K\r\n".join(lines) + "\x1b[K\x1b[J")
        sys.stdout.flush()

    def wait(self, seconds: float) -> bool:
        """Wait; return whether to go on, as nobody asked to quit."""
        if self._keys is None:
            select.select([], [], [], seconds)
            return True
        from time import monotonic

        until = monotonic() + seconds
        while (left := until - monotonic()) > 0:
            if select.select([self._keys], [], [], left)[0]:
                pressed = os.read(self._keys, 64)
                if not pressed or _QUIT.intersection(pressed[:1]):
                    return False
        return True


def watched(ask: Callable[[int], str], seconds: float, times: int | None) -> str:
    """
    Draw what *ask* says, which is told how many lines there are, every *seconds* until somebody quits or *times* are
    over. Return what was drawn last, for the terminal to keep.
    """
    with Screen() as screen:
        for turn in turns(0.0, times):
            if turn and not screen.wait(seconds):
                break
            text = ask(terminal_rows())
            screen.draw(text)
    return text


def turns(seconds: float | None, times: int | None) -> Iterator[int]:
    """0, then once more every *seconds*, *times* in all."""
    yield 0
    if seconds is None:
        return
    from itertools import count
    from time import sleep

    for turn in count(1) if times is None else range(1, times):
        sleep(seconds)
        yield turn


def _ended(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
