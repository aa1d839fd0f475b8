"""
The run: sources in, a ledger of incidents out.

One process scans (memory-bound work that needs no Python per line); parsing and diagnosing happen in the same process
while there is little, and in worker processes once there is much. Memory stays bounded whatever the input: of each
incident only an :class:`~oomsight.pipeline.entries.Entry` is kept, its lines or JSON go to a spool.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Self

from oomsight._record import Record
from oomsight.diagnose.explain import explain_report
from oomsight.pipeline.entries import Entry, Ledger, Spool, entry_of
from oomsight.pipeline.query import Query, moment, wanted
from oomsight.report import Clock, parse_text
from oomsight.report.times import when
from oomsight.report.unwrap import decode
from oomsight.sources.errors import SourceError
from oomsight.sources.scan import Window, scan

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor

    from oomsight.diagnose.model import Incident
    from oomsight.sources.source import Source

INLINE_BYTES: Final = 1 << 20  #: of windows; starting processes pays off only beyond
BATCH_BYTES: Final = 384 << 10  #: of windows handed to a worker at once
KEEP_INCIDENTS: Final = 64  #: whole incidents kept while working in one process
_EDGE_BYTES: Final = 16 << 10  #: of a source's begin and end, to tell the period it covers
_CONTEXT_LINES: Final = 12  #: kept around an incident's own lines when it is made again from them


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
    error: SourceError | None = None


@dataclass(slots=True, eq=False, repr=False)
class Run(Record):
    """Result of :func:`explain_sources`."""

    sources: list[SourceResult]
    entries: list[Entry]  #: newest first, each event once, filtered
    spool: Spool
    clocks: dict[str, Clock]
    left_out: int = 0  #: incidents that did not pass the filters
    undated: int = 0  #: kept although a time filter was asked and they have no date

    def __enter__(self) -> Self:
        """Return the run itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the spool."""
        self.spool.close()


Job = tuple[int, str, Clock, list[tuple[int, bytes]], Query, datetime, Callable[["Incident"], str] | None]
Done = list[tuple[Entry, bytes, float | None]]


def explain_sources(
    sources: Sequence[Source], query: Query, *, now: datetime, clock_of: Callable[[Source], Clock],
    progress: Callable[[int], None] | None = None, jobs: int | None = None,
    render: Callable[[Incident], str] | None = None,
) -> Run:  # fmt: skip
    """
    Read *sources*, find and explain every incident that passes *query*.

    :param now: current time with zone, for dates without one.
    :param clock_of: what is known about time for each source.
    :param progress: called with the bytes read so far, all sources together.
    :param jobs: worker processes at most; ``None`` = one per core, 1 = none.
    :param render: makes the text to keep of each incident (JSON); ``None`` = keep its lines.
    :return: the run; a source that cannot be read has ``error`` set, the others are complete.
    """
    cores = jobs if jobs is not None else len(os.sched_getaffinity(0))
    ledger, spool = Ledger(), Spool()
    run = Run([], [], spool, {})
    workers = _Workers(cores)
    boots: dict[int, tuple[int, float]] = {}
    kept = 0

    def take(done: Done) -> None:
        nonlocal kept
        for entry, data, uptime in done:
            source = entry.order[2]
            # A printk clock that falls means another boot (records stand in order within a source).
            boot, latest = boots.get(source, (0, -1.0))
            if uptime is not None:
                boot += uptime < latest - 1.0
                boots[source] = (boot, uptime)
            entry.order = (entry.order[0], entry.order[1], (source << 16) + boot, entry.order[3], entry.order[4])
            if entry.incident is not None:
                kept += 1
                if kept > KEEP_INCIDENTS or render is not None:
                    entry.incident = None
            entry.spooled = spool.put(data)
            ledger.add(entry)

    base = 0
    try:
        for index, source in enumerate(sources):
            result = SourceResult(source.name, source.kind)
            run.sources.append(result)
            clock = run.clocks[source.name] = clock_of(source)
            edges = _Edges()
            try:
                blocks = source.blocks(_offset(progress, base) if progress else None)
                scanner = scan(edges.watch(blocks))
                for batch in _batches(scanner):
                    job: Job = (index, source.name, clock, batch, query, now, render)
                    for done in workers.submit(job):
                        take(done)
            except SourceError as error:
                result.error = error
            else:
                result.lines, result.bytes = scanner.lines, scanner.bytes
                result.first_time, result.last_time = edges.period(clock)
            result.notes.extend(source.notes)
            base += source.size_bytes or result.bytes
        for done in workers.finish():
            take(done)
    finally:
        workers.close()
    run.left_out = workers.left_out
    run.entries = ledger.newest_first()
    if query.since is not None or query.until is not None:
        run.undated = sum(not e.order[0] for e in run.entries)
    if query.last is not None:
        run.left_out += max(0, len(run.entries) - query.last)
        run.entries = run.entries[: query.last]
    return run


def _offset(progress: Callable[[int], None], base: int) -> Callable[[int], None]:
    return lambda done: progress(base + done)


def incident_of(entry: Entry, run: Run) -> Incident:
    """Return the incident of *entry*, made again from its lines if it was not kept."""
    if entry.incident is not None:
        return entry.incident
    assert entry.spooled is not None
    first, _, data = run.spool.get(entry.spooled).partition(b"\n")
    reports = parse_text(data, entry.source, first_line=int(first), clock=run.clocks.get(entry.source, Clock()))
    for report in reports:
        if report.source.first_line == entry.first_line:
            return explain_report(report)
    found = [explain_report(report) for report in reports]
    same = [incident for incident in found if incident.id == entry.id]
    return (same or found)[0]


def work(job: Job) -> tuple[Done, int]:
    """Parse and diagnose the windows of one job; runs in a worker process or in this one."""
    source, name, clock, windows, query, now, render = job
    done: Done = []
    left_out = 0
    for first_line, data in windows:
        reports = parse_text(data, name, first_line=first_line, clock=clock)
        starts: list[int] | None = None
        for report in reports:
            if not wanted(report, query, now):
                left_out += 1
                continue
            incident = explain_report(report)
            at = moment(report, now)
            entry = entry_of(incident, at.timestamp() if at else None, source, 0)
            if render is not None:
                kept = render(incident).encode("ascii", "backslashreplace")
            else:
                if starts is None:
                    starts = _line_starts(data)
                kept = _slice(data, starts, first_line, report.source.first_line, report.source.last_line)
            entry.incident = incident
            done.append((entry, kept, report.when.uptime_s))
    return done, left_out


def work_remote(job: Job) -> tuple[Done, int]:
    """:func:`work` for another process: incidents stay there."""
    done, left_out = work(job)
    for entry, _, _ in done:
        entry.incident = None
    return done, left_out


def _line_starts(data: bytes) -> list[int]:
    starts, at = [0], data.find(b"\n")
    while at >= 0:
        starts.append(at + 1)
        at = data.find(b"\n", at + 1)
    return starts


def _slice(data: bytes, starts: list[int], first_no: int, first: int, last: int) -> bytes:
    """The lines *first* to *last* and some around, behind a line that holds the number of the first."""
    begin = max(0, first - first_no - _CONTEXT_LINES)
    end = min(len(starts), last - first_no + 1 + _CONTEXT_LINES)
    if len(data) < 64 << 10:
        begin, end = 0, len(starts)  # small texts whole: they may have been wrapped or turned around
    stop = starts[end] if end < len(starts) else len(data)
    return b"%d\n" % (first_no + begin) + data[starts[begin] : stop]


def _batches(windows: Iterable[Window]) -> Iterator[list[tuple[int, bytes]]]:
    batch: list[tuple[int, bytes]] = []
    size = 0
    for window in windows:
        batch.append((window.first_line, window.data))
        size += len(window.data)
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _Workers:
    """Runs jobs here while there are few bytes, then in processes; results come back in order."""

    def __init__(self, cores: int) -> None:
        self.left_out = 0
        self._cores = cores
        self._seen_bytes = 0
        self._pool: ProcessPoolExecutor | None = None
        self._waiting: deque[Future[tuple[Done, int]]] = deque()

    def submit(self, job: Job) -> Iterator[Done]:
        self._seen_bytes += sum(len(data) for _, data in job[3])
        if self._pool is None and (self._cores < 2 or self._seen_bytes <= INLINE_BYTES):
            done, left_out = work(job)
            self.left_out += left_out
            yield done
            return
        if self._pool is None:
            from concurrent.futures import ProcessPoolExecutor
            from multiprocessing import get_context

            # fork: the workers need the modules this process has already imported; no threads run here yet.
            self._pool = ProcessPoolExecutor(self._cores, mp_context=get_context("fork"))
        self._waiting.append(self._pool.submit(work_remote, job))
        while self._waiting and (self._waiting[0].done() or len(self._waiting) > 2 * self._cores):
            yield self._result()

    def _result(self) -> Done:
        done, left_out = self._waiting.popleft().result()
        self.left_out += left_out
        return done

    def finish(self) -> Iterator[Done]:
        while self._waiting:
            yield self._result()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


class _Edges:
    """Keeps the begin and the end of a stream, to tell the period it covers."""

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""

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


def _stamps(data: bytes, clock: Clock) -> list[str]:
    found = []
    lines = [line for _, line in decode(data)]
    for line in (*lines[:40], *lines[-40:]):
        moment_ = when(line[:200], clock)
        if moment_.time or moment_.uptime_s is not None:
            found.append(moment_.time or moment_.time_text or f"[{moment_.uptime_s}]")
    return found
