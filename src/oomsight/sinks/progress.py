"""A progress line for long reads: on a terminal's stderr only, late, and gone when the work is done."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final, Self

from oomsight.sinks.blocks import human_kib

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

SHOW_AFTER_SECONDS: Final = 0.5  #: shorter work shows nothing: a flash is noise
REDRAW_SECONDS: Final = 0.1
COLUMNS: Final = 80  #: of a terminal that does not say how wide it is
_BAR_CELLS: Final = 24
_LEAST_CELLS: Final = 6


class Progress:
    """
    Call it with the bytes done so far; use it as a context manager so that the line is removed at the end.

    ``total_bytes`` is ``None`` when it is not known (pipes, journals): then neither share nor time left is shown.
    """

    def __init__(
        self,
        stream: TextIO,
        total_bytes: int | None,
        label: str = "reading",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._total, self._label, self._clock = stream, total_bytes, label, clock
        self._start = clock()
        self._next = self._start + SHOW_AFTER_SECONDS
        self._shown = False
        # A line that cannot be taken back is worse than none.
        self._on = stream.isatty() and os.environ.get("TERM") != "dumb"

    def __call__(self, done_bytes: int, detail: str = "") -> None:
        """Redraw the line if it is time to; *detail* is what else to say, where the total is not known."""
        if self._on and (now := self._clock()) >= self._next:
            self._next = now + REDRAW_SECONDS
            self._shown = True
            columns = _columns(self._stream)
            line = progress_line(self._label, done_bytes, self._total, now - self._start, detail, columns)
            self._write(f"\r\x1b[K{line}")

    def close(self) -> None:
        """Remove the line."""
        if self._shown:
            self._shown = False
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # the terminal went away: the work goes on
            self._on = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _columns(stream: TextIO) -> int:
    """How wide the terminal is now; people change it."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or COLUMNS
    except (OSError, ValueError):
        return COLUMNS


def progress_line(  # noqa: PLR0917
    label: str, done_bytes: int, total_bytes: int | None, elapsed_seconds: float, detail: str = "",
    columns: int = COLUMNS,
) -> str:  # fmt: skip
    """
    Return ``label [####----] 34 %  1.2 GiB of 3.5 GiB  310.0 MiB/s  8 s left`` (ASCII, under *columns*).

    Where there is no room for all, the parts that matter least are left out: a wrapped line cannot be redrawn.
    """
    most = columns - 1
    per_second = done_bytes / elapsed_seconds if elapsed_seconds > 0 else 0.0
    rate = f"{human_kib(int(per_second) >> 10)}/s"
    done = human_kib(done_bytes >> 10)
    if not total_bytes:
        parts = [detail] if detail else []
        return _fitting([[f"{label} {done}", rate, *parts], [f"{label} {done}", *parts], [f"{label} {done}"]], most)
    share = min(done_bytes / total_bytes, 1.0)
    left = _left(max(total_bytes - done_bytes, 0) / per_second if per_second else 0.0)
    percent = f"{share * 100:.0f} %"
    amount = f"{done} of {human_kib(total_bytes >> 10)}"
    text = _fitting(
        [[percent, amount, rate, left], [percent, rate, left], [percent, left], [percent]],
        most - len(f"{label} [{'#' * _LEAST_CELLS}] "),
    )
    width = min(_BAR_CELLS, most - len(label) - len(text) - len(" [] "))
    if width < _LEAST_CELLS:
        return f"{label} {text}"[:most]
    cells = int(share * width)
    return f"{label} [{'#' * cells}{'-' * (width - cells)}] {text}"


def _fitting(choices: list[list[str]], most: int) -> str:
    """The first of *choices* that has room, its parts two blanks apart."""
    texts = ["  ".join(parts) for parts in choices]
    return next((text for text in texts if len(text) <= most), texts[-1])[:max(most, 0)]


def _left(seconds: float) -> str:
    """Return the time left in words; an estimate of hours needs no seconds."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    if minutes >= 120:
        return f"{minutes // 60} h left"
    if minutes >= 10:
        return f"{minutes} min left"
    return f"{minutes} min {rest} s left" if minutes else f"{rest} s left"
