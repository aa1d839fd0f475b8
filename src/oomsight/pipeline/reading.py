"""Reading one source: its windows, in order, and what is to be said about the source as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Self

from oomsight._record import Record, dataclass, field
from oomsight.diagnose.said import sayings
from oomsight.report.times import when
from oomsight.report.unwrap import decode
from oomsight.sources.errors import SourceError
from oomsight.sources.scan import LIMITS, scan, scan_file

if TYPE_CHECKING:
    from oomsight.diagnose.said import Said
    from oomsight.pipeline.workers import Workers
    from oomsight.report import Clock
    from oomsight.sources.areas import Area
    from oomsight.sources.file_stream import PlainFile
    from oomsight.sources.source import Source

_EDGE_BYTES: Final = 16 << 10  #: of a source's begin and end, to tell the period it covers
_ONE_LINE_BYTES: Final = 16 << 20  #: without any line end are no log


@dataclass(slots=True, eq=False, repr=False)
class SourceResult(Record):
    """What came of one source."""

    name: str
    kind: str
    lines: int = 0
    bytes: int = 0
    first_time: str | None = None
    last_time: str | None = None
    notes: list[str] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)  #: lines in which others speak of memory or of a kill
    memory_report: bool = False  #: lines of the kernel's account of memory (Mem-Info) are in it
    error: SourceError | None = None


class Reading:
    """
    One source being read. A large file that is plain text is searched in areas, by all processes; everything else comes
    in blocks, and is searched here. The windows are the same.
    """

    def __init__(self, source: Source, workers: Workers, progress: Callable[[int], None] | None) -> None:
        """Begin; *progress* is called with the bytes of *source* read so far."""
        self._source = source
        self._edges = Edges()
        self._error: SourceError | None = None
        open_plain = getattr(source, "plain_file", None)
        self._file = open_plain(LIMITS.whole_bytes) if open_plain is not None else None
        if self._file is None:
            self.scanner = scan(self._edges.watch(self._readable(progress)))
        else:
            self._edges.take(self._file)
            self.scanner = scan_file(self._file, _counted(workers.areas(self._file), progress))

    def __enter__(self) -> Self:
        """Return the reading itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.__exit__()

    def sum_up(self, result: SourceResult, clock: Clock) -> None:
        """Put what is known at the end of the source into *result*."""
        scanner, name = self.scanner, self._source.name
        result.error = self._error
        result.lines, result.bytes = scanner.lines, scanner.bytes
        result.first_time, result.last_time = self._edges.period(clock)
        result.said.extend(self._edges.said())
        result.memory_report = self._edges.memory_report()
        result.notes.extend(self._source.notes)
        if scanner.problem is not None:
            after = f"{scanner.problem} after {scanner.bytes} bytes; explained what was readable"
            result.notes.append(f"{name}: {after}")
        if scanner.lines == 1 and scanner.bytes > _ONE_LINE_BYTES:
            result.notes.append(f"{name}: {scanner.bytes:,} bytes without a line end: this is no log")

    def _readable(self, progress: Callable[[int], None] | None) -> Iterator[Any]:
        """The blocks of the source up to its end or the first error: what was read before that is explained."""
        try:
            yield from self._source.blocks(progress)
        except SourceError as error:
            self._error = error


def _counted(areas: Iterator[Area], progress: Callable[[int], None] | None) -> Iterator[Area]:
    """Pass *areas* on and tell how far they reach."""
    for area in areas:
        if progress is not None:
            progress(area.end)
        yield area


class Edges:
    """Keeps the begin and the end of a stream, to tell the period it covers."""

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""

    def take(self, file: PlainFile) -> None:
        """Look at both ends of *file*."""
        self._head = file.read(0, _EDGE_BYTES)
        self._tail = file.read(max(0, file.size_bytes - _EDGE_BYTES), file.size_bytes)

    def watch(self, blocks: Iterable[Any]) -> Iterator[Any]:
        """Pass *blocks* through."""
        for block in blocks:
            if len(self._head) < _EDGE_BYTES:
                self._head += bytes(block[: _EDGE_BYTES - len(self._head)])
            size = len(block)
            # A block may be a view of a buffer that is used again: copy what is kept.
            end = bytes(block[max(0, size - _EDGE_BYTES) :])
            self._tail = end if size >= _EDGE_BYTES else (self._tail + end)[-_EDGE_BYTES:]
            yield block

    def period(self, clock: Clock) -> tuple[str | None, str | None]:
        """Times of the first and the last line that have one (a date, else the printk clock)."""
        head = _stamps(self._head, clock)
        tail = _stamps(self._tail, clock)
        return (head[0] if head else None), (tail[-1] if tail else None)

    def said(self) -> list[Said]:
        """Lines at both ends (so all of a small text) in which others speak of memory or of a kill."""
        return list(dict.fromkeys(one for data in dict.fromkeys((self._head, self._tail)) for one in sayings(data)))

    def memory_report(self) -> bool:
        """Whether lines of the kernel's account of memory stand at one of the ends."""
        return any(words in data for data in (self._head, self._tail) for words in _MEMORY_REPORT)


_MEMORY_REPORT: Final = (b"Mem-Info:", b"Mem-info:", b"kB min:", b"lowmem_reserve[]:")


def _stamps(data: bytes, clock: Clock) -> list[str]:
    found = []
    lines = [line for _, line in decode(data)]
    for line in (*lines[:40], *lines[-40:]):
        moment_ = when(line[:200], clock)
        if moment_.time or moment_.uptime_s is not None:
            found.append(moment_.time or moment_.time_text or f"[{moment_.uptime_s}]")
    return found
