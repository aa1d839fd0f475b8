"""
One report in two files: logrotate cuts a log wherever it is, also in the middle of a report.

The window that ends the older file and the one that begins the newer are read together; where an event has lines in
both, those lines become a window of their own, and what is left of the two stays what it was. Line numbers of the
shared window are those of the older file and count on in the newer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from oomsight._named import NamedTuple
from oomsight.naming.marked import Kind, mark
from oomsight.report import Clock, parse_text
from oomsight.report.model import Note

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from oomsight.report.model import OomReport

NEAR_LINES: Final = 400  #: lines of other programs that may stand between a window and the end of its file
_BEFORE_LINES: Final = 10  #: of the next event's first words stay with it
_HEAD: Final = b"oom-killer"


class Part(NamedTuple):
    """A window of one file."""

    first_line: int
    data: bytes

    @property
    def window(self) -> tuple[int, bytes]:
        """It as a job takes it."""
        return self.first_line, self.data

    @property
    def last_line(self) -> int:
        """Number of its last line."""
        return self.first_line + self.data.count(b"\n") - self.data.endswith(b"\n")


class Origin(NamedTuple):
    """Where windows are from."""

    source: int  #: number of the source; of the newer file, where it is two
    name: str
    clock: Clock
    seam: str | None = None  #: that they are of two files, in words


class Seam(NamedTuple):
    """What :func:`join` makes of two windows."""

    before: Part | None  #: what is left of the older file's
    shared: Part  #: the lines of the events that stand in both files
    after: Part | None  #: what is left of the newer file's
    name: str  #: of both files together
    words: str  #: for people: where the seam is (marked text)


class _Counted(Protocol):
    """What has read a file."""

    lines: int  #: of the file, when it is at its end


Batch = list[tuple[int, bytes]]
"""Windows of one origin: number of the first line, text."""


class Seams:
    """Watches the windows of all sources pass by and joins those at the seams of a rotated log."""

    def __init__(self) -> None:
        """Begin with the first source."""
        self._held: tuple[Origin, Part, int] | None = None

    def through(
        self, origin: Origin, batches: Iterable[Batch], counted: _Counted, *, keep_last: bool
    ) -> Iterator[tuple[Origin, Batch]]:
        """
        Pass the windows of one source on, with where they are from.

        With *keep_last* the source that comes next goes on where this one ends: the last window waits for its first.
        """
        waiting: Batch = []
        for batch in batches:
            if self._held is not None:
                yield from self._joined(origin, batch)
            if waiting:
                yield origin, waiting
            waiting = batch
            if not keep_last and waiting:
                yield origin, waiting
                waiting = []
        yield from self._alone()  # nothing in this source goes on with it
        if keep_last and waiting:
            last = waiting.pop()
            if waiting:
                yield origin, waiting
            self._held = origin, Part(*last), counted.lines

    def _joined(self, origin: Origin, batch: Batch) -> Iterator[tuple[Origin, Batch]]:
        """What the window held back and the first one of *batch* are together; the rest of the latter stays there."""
        assert self._held is not None
        older, tail, lines = self._held
        seam = join(tail, Part(*batch[0]), lines, (older.name, origin.name), origin.clock)
        if seam is None:
            yield from self._alone()
            return
        self._held = None
        if seam.before is not None:
            yield older, [seam.before.window]
        yield Origin(origin.source, seam.name, origin.clock, seam.words), [seam.shared.window]
        batch[:1] = [] if seam.after is None else [seam.after.window]

    def _alone(self) -> Iterator[tuple[Origin, Batch]]:
        """The window held back, as it is."""
        if self._held is not None:
            origin, part, _ = self._held
            self._held = None
            yield origin, [part.window]


def join(tail: Part, head: Part, lines: int, names: tuple[str, str], clock: Clock) -> Seam | None:
    """
    Join the last window of a file of *lines* lines with the first one of the file that goes on from there.

    *names* are those of the two files, older first. ``None`` = no event stands in both.
    """
    gap, lead = lines - tail.last_line, head.first_line - 1
    if max(gap, lead) > NEAR_LINES or not (_is_open(tail.data) or (_goes_on(head.data) and _says_anything(tail.data))):
        return None
    # A copy that was truncated (copytruncate) may end within a line.
    torn = not gap and not lead and not tail.data.endswith(b"\n")
    offset = lines - torn  # line n of the newer file is line offset + n here
    text = b"".join((tail.data, b"" if torn or tail.data.endswith(b"\n") else b"\n", b"\n" * (gap + lead), head.data))
    reports = [(_extent(report), report) for report in parse_text(text, first_line=tail.first_line, clock=clock)]
    both = [extent for extent, _ in reports if extent[0] <= lines and extent[1] > offset]
    if not both:
        return None
    low, high = min(first for first, _ in both), max(last for _, last in both)
    # Lines that say more about the event without being counted to it (further reaper lines) stand around it.
    first = max((last + 1 for (_, last), _ in reports if last < low), default=tail.first_line)
    until = min((begin - _BEFORE_LINES for (begin, _), _ in reports if begin > high), default=None)
    pieces = text.split(b"\n")
    start = first - tail.first_line
    stop = len(pieces) if until is None else max(until, high + 1) - tail.first_line
    shared = Part(first, b"\n".join(pieces[start:stop]) + b"\n")
    before, after = pieces[:start], pieces[stop:]
    words = (
        f"an event begins in {mark(names[0], Kind.FILE)} and goes on in {mark(names[1], Kind.FILE)}: line numbers count"
        f" on, {offset + 1:,} is the first line of the newer file"
    )
    return Seam(
        Part(tail.first_line, b"\n".join(before) + b"\n") if any(map(bytes.strip, before)) else None,
        shared,
        Part(tail.first_line + stop - offset, b"\n".join(after)) if any(map(bytes.strip, after)) else None,
        " + ".join(names),
        words,
    )


def noted(reports: list[OomReport], words: str | None) -> list[OomReport]:
    """*reports* of a shared window, saying that they are: *words* are those of its :class:`Seam`."""
    if words is not None:
        for report in reports:
            report.notes.append(Note("log_rotated", None, words))
    return reports


def _is_open(data: bytes) -> bool:
    """Whether a window ends in a report whose end is not in it."""
    from oomsight.sources.lines import END

    begin = max(map(data.rfind, (_HEAD, b"allocation failure", b"vmalloc error")))
    return begin >= 0 and END.search(data, begin) is None


def _says_anything(data: bytes) -> bool:
    from oomsight.sources.needles import NEEDLES

    return any(needle.text in data for needle in NEEDLES)


def _goes_on(data: bytes) -> bool:
    """Whether the first thing a window says about memory is not the begin of a report: that would be above it."""
    from oomsight.sources.needles import NEEDLES

    first = min(((at, needle.text) for needle in NEEDLES if (at := data.find(needle.text)) >= 0), default=None)
    if first is None:
        return False
    line = data[data.rfind(b"\n", 0, first[0]) + 1 : data.find(b"\n", first[0]) % (len(data) + 1)]
    return _HEAD not in line


def _extent(report: OomReport) -> tuple[int, int]:
    """First and last line that say anything about the event."""
    known = [report.source.first_line, report.source.last_line, *report.lines.values()]
    return min(known), max(known)
