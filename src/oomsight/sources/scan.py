"""
Finding the few parts of a huge byte stream that can matter.

A log of gigabytes holds some kilobytes about memory. :func:`scan` searches blocks for the strings of
:mod:`~oomsight.sources.needles` while they are in the cache and yields :class:`Window` values around the hits: whole
lines, in order, never overlapping. No Python code runs per line of ordinary text, and memory is bounded whatever the
input: one buffer of 18 MiB and one window of at most 12 MiB.

* Input of at most 1 MiB is one window, if it shows any trace at all: pasted text may be wrapped in the middle of a
  needle.
* From the first line of a report the window runs to the next hit (less than 64 KiB away), else along the lines that
  look like a report; behind the last hit some more lines.
* A hit without a first line (its head was lost, or rate-limited away) reaches back along lines that look like a
  report; one from the middle of a report also forward.
* Windows that touch are one, until it exceeds 512 KiB; then it is divided before the next report that has its first
  line, and from 4 MiB on between any two events.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight._record import Record, dataclass
from oomsight.sources.needles import Role, could_matter
from oomsight.sources.source import BLOCK_BYTES

if TYPE_CHECKING:
    from oomsight.sources.areas import Area
    from oomsight.sources.file_stream import FileStream, PlainFile
    from oomsight.sources.search import Hit
    from oomsight.sources.stream import Block, Stream


class Limits(NamedTuple):
    """How far a window reaches; bytes and lines. The defaults are right; tests use small ones."""

    whole_bytes: int = 1 << 20  #: input up to this size is one window
    line_bytes: int = 1 << 20  #: longer lines are cut around the hit
    back_bytes: int = 4 << 20  #: how far a headless report may reach back
    forward_bytes: int = 8 << 20  #: how far a report may run without another hit (20,000 task rows: 2 MiB)
    bridge_bytes: int = 64 << 10  #: between two hits of one report no line is looked at up to this distance
    window_bytes: int = 512 << 10  #: a window larger than this is divided before the next first line of a report
    window_long_bytes: int = 4 << 20  #: than this: between any two events
    window_max_bytes: int = 12 << 20  #: than this: even in the middle of one
    block_bytes: int = BLOCK_BYTES  #: bytes searched at once
    head_lines: int = 10  #: kept before a report (SysRq, suppressed callbacks, the daemon's last words)
    tail_lines: int = 8  #: kept after the last hit
    user_lines: int = 60  #: kept before a userspace killer's line (nohang explains first, then kills)
    back_credit: int = 40  #: other lines allowed while walking back through a report
    forward_credit: int = 200  #: the same walking forward
    line_credit: int = 4  #: how many more of them one line that looks like a report buys


LIMITS: Final = Limits()

_LOOK_BYTES: Final = 2 << 10  # of each line, to judge what it looks like
_PART_BYTES: Final = 48  # around a hit, to judge whether it is a part of a report


@dataclass(slots=True, eq=False, repr=False)
class Window(Record):
    """A part of the stream worth parsing: whole lines, unless ``cut`` says otherwise."""

    first_line: int  #: 1-based line number of its first line in the stream
    data: bytes
    offset: int  #: byte offset in the stream
    cut: str | None = None  #: what had to be cut, in plain words; ``None`` = nothing


@dataclass(slots=True, eq=False, repr=False)
class _Open(Record):
    """The window being built."""

    start: int
    end: int
    reached: int  #: end of the last line with a hit
    in_report: bool = False  #: a head was seen, the end of its report not yet
    in_failure: bool = False  #: and the report is about a failed allocation: no kill line will come
    cut: str | None = None


def scan(blocks: Iterable[Block], limits: Limits = LIMITS) -> Scan:
    """Return the iterator of the windows of the stream *blocks* (blocks of any size, cut anywhere)."""
    return Scan(blocks, limits)


def scan_file(file: PlainFile, areas: Iterable[Area], limits: Limits = LIMITS) -> Scan:
    """Return the iterator of the windows of *file*, larger than ``whole_bytes``, whose *areas* come in order."""
    from oomsight.sources.file_stream import FileStream

    return Scan((), limits, FileStream(file, iter(areas)))


class Scan:
    """Iterator of windows. ``lines`` and ``bytes`` are totals of the stream, complete at its end."""

    def __init__(self, blocks: Iterable[Block], limits: Limits = LIMITS, file: FileStream | None = None) -> None:
        """Prepare for *blocks* or, where it is there, for *file*, which is larger than ``whole_bytes``."""
        self.lines = 0  #: lines read; a last line without newline counts
        self.bytes = 0  #: bytes read
        self.problem: str | None = None  #: why a file was not read to its end
        self._limits = limits
        self._open: _Open | None = None
        self._floor = 0  # end of the last window yielded
        self._windows = self._run(iter(blocks)) if file is None else self._through(file)

    def __iter__(self) -> Iterator[Window]:
        return self._windows

    def __next__(self) -> Window:
        return next(self._windows)

    def _run(self, blocks: Iterator[Block]) -> Iterator[Window]:
        limits, begin = self._limits, []
        for block in blocks:
            begin.append(block)
            self.bytes += len(block)
            if self.bytes > limits.whole_bytes:
                break
        else:
            data = b"".join(begin)
            self.lines = data.count(b"\n") + (data[-1:] not in b"\n")
            if data and could_matter(data):
                yield Window(1, data, 0)
            return

        from oomsight.sources import stream as streams

        # The longest window, what the hit after it can reach back, and some reading ahead.
        size = limits.window_max_bytes + limits.back_bytes + 2 * limits.line_bytes + limits.bridge_bytes
        yield from self._through(
            streams.Stream(
                chain(begin, blocks),
                size=size + 4 * limits.block_bytes,
                back_bytes=limits.back_bytes + limits.line_bytes,
                block_bytes=limits.block_bytes,
            )
        )

    def _through(self, stream: Stream | FileStream) -> Iterator[Window]:
        """The windows of *stream*."""
        from oomsight.sources import lines  # large input only: see there

        self._lines, self._stream, limits = lines, stream, self._limits
        while True:
            # A hit further down than this cannot reach back to the open window.
            hit = stream.next_hit(self._open.end + limits.back_bytes if self._open else None)
            if hit:
                yield from self._take(*hit)
            elif self._open:
                yield self._close()
            else:
                break
            self.lines, self.bytes = stream.lines, stream.end
        self.problem = stream.problem
        self.lines, self.bytes = stream.lines + (stream.last_byte != 0x0A), stream.end

    def _take(self, at: int, role: Role) -> Iterator[Window]:
        """Put the line of the hit at *at* into its window; yield the window before when that is complete."""
        limits, stream, window = self._limits, self._stream, self._open
        start, end, cut = self._line_around(at)
        stream.reach(end)
        while stream.hits and stream.hits[0][0] < end:
            role = max(role, stream.hits.popleft()[1])
        line = stream[start:end]
        if role is Role.PART and not self._lines.PART.search(line):
            return
        if self._lines.HEAD.search(line):
            role = Role.HEAD
        elif role is Role.KILL and not self._lines.KERNEL.search(line):
            role = Role.USER

        begin = start if window and start <= window.end else self._begin(start, role)
        if window is None or begin > window.end:
            if window:
                yield self._close()
            window = _Open(begin, end, end)
        elif (size := start - window.start) > limits.window_bytes:
            # Divided after the last line with a hit; what is between the two hits goes with the later one.
            between = role is Role.HEAD or (role is not Role.AFTER and size > limits.window_long_bytes)
            between = between and (not window.in_report or window.in_failure)
            if between or size > limits.window_max_bytes - limits.line_bytes:
                if not between:
                    window.cut = "too much for one window: it goes on in the next one"
                window.end = window.reached
                yield self._close()
                window = _Open(self._floor, end, end, window.in_report)
        self._open, stream.pinned = window, window.start
        window.end = max(window.end, end)
        window.reached = end
        window.cut = window.cut or cut

        if role is Role.HEAD:
            window.in_report, window.in_failure = True, b"allocation " in line
        elif self._lines.END.search(line):
            window.in_report = False
        following = stream.next_hit(end + limits.bridge_bytes)
        if window.in_report and following and following[1] is Role.PART:
            end, following = self._past_parts(end, window.start)
            window.end = window.reached = max(window.end, end)
        if following and (
            window.in_report or following[1] is Role.AFTER or (role is following[1] is Role.PART)
        ):
            window.end = max(window.end, following[0])
            return
        if window.in_report or role is Role.PART:
            end = self._forward(end, window)
            window.in_report = False
        window.end = max(window.end, self._down(end, limits.tail_lines))

    def _past_parts(self, end: int, start: int) -> tuple[int, Hit | None]:
        """End of the last line that only says that the report from *start* to *end* goes on, and the hit behind it."""
        limits, stream, last = self._limits, self._stream, None
        while (following := stream.next_hit(end + limits.bridge_bytes)) and following[1] is Role.PART:
            at = following[0]
            stream.reach(at + _PART_BYTES)
            around = stream[max(at - _PART_BYTES, stream.base) : min(at + _PART_BYTES, stream.end)]
            if at - start > limits.window_bytes or not self._lines.PART.search(around):
                break
            last = end = at
            stream.hits.popleft()
        if last is not None:
            end = self._line_around(last)[1]
            following = stream.next_hit(end + limits.bridge_bytes)
        return end, following

    def _close(self) -> Window:
        """The open window, finished."""
        window, stream = self._open, self._stream
        assert window is not None
        self._open, stream.pinned, self._floor = None, None, window.end
        data = stream.copy(window.start, window.end)
        return Window(stream.line_number(window.start), data, window.start, window.cut)

    def _line_around(self, at: int) -> tuple[int, int, str | None]:
        """Begin and end of the line around the hit at *at*, and what was cut when the line is too long."""
        stream, half = self._stream, self._limits.line_bytes // 2
        end = stream.line_end(at, half)
        start = stream.line_start(at, max(at - half, stream.base, self._floor))
        if stream.ends_line(start) and stream.ends_line(end):
            return start, end, None
        return start, end, f"a line is longer than {self._limits.line_bytes >> 10} KiB: only a part of it was read"

    def _begin(self, start: int, role: Role) -> int:
        """Where a window begins whose first hit is in the line at *start*."""
        limits, stream = self._limits, self._stream
        floor = max(self._open.end if self._open else self._floor, start - limits.back_bytes, stream.base)
        if not stream.ends_line(floor):
            floor = stream.line_end(floor, start - floor)
        if role is Role.USER:
            return self._up(start, floor, limits.user_lines)
        if role is not Role.HEAD:
            # The head is lost or was never printed: walk up as long as lines look like a report.
            at, credit = start, limits.back_credit
            while at > floor and credit:
                above = stream.line_start(at - 1, floor)
                line, at = stream[above : min(at, above + _LOOK_BYTES)], above
                if self._lines.REPORT.search(line):
                    start, credit = at, min(limits.back_credit, credit + limits.line_credit)
                elif not self._lines.NEUTRAL.match(line):
                    credit -= 1
        return self._up(start, floor, limits.head_lines)

    def _up(self, start: int, floor: int, lines: int) -> int:
        """*start* moved up by *lines*, not above *floor*; in the journal's export format to the begin of an entry."""
        stream, at = self._stream, start
        while at > floor:
            above = stream.line_start(at - 1, floor)
            line, at = stream[above : min(at, above + _LOOK_BYTES)], above
            if not self._lines.NEUTRAL.match(line):
                if not lines:
                    break
                lines -= 1
                start = at
            elif not line.isspace():  # a field of the entry begun
                start = at
            elif not lines:
                break
        return start

    def _down(self, at: int, lines: int) -> int:
        """*at* moved down by *lines*."""
        stream, stop = self._stream, at + self._limits.bridge_bytes
        while lines and at < stop and (below := self._below(at)):
            lines -= not self._lines.NEUTRAL.match(stream[at:below])
            at = below
        return at

    def _forward(self, at: int, window: _Open) -> int:
        """End of the last line that looks like a report, walking down from *at*."""
        limits, stream = self._limits, self._stream
        end, credit = at, limits.forward_credit
        stop = min(at + limits.forward_bytes, window.start + limits.window_max_bytes - limits.line_bytes)
        while at < stop and credit and (below := self._below(at)):
            line, at = stream[at : min(below, at + _LOOK_BYTES)], below
            if self._lines.REPORT.search(line):
                end, credit = at, min(limits.forward_credit, credit + limits.line_credit)
            elif not self._lines.NEUTRAL.match(line):
                credit -= 1
        return end

    def _below(self, at: int) -> int:
        """End of the line that begins at *at*; 0 = the stream ends there, or the line is too long to be of interest."""
        stream = self._stream
        below = stream.line_end(at, self._limits.line_bytes // 2)
        return below if below > at and stream.ends_line(below) else 0
