"""
The run: sources in, a ledger of incidents out.

One process scans (memory-bound work that needs no Python per line); parsing and diagnosing happen in the same process
while there is little, and in worker processes once there is much. Memory stays bounded whatever the input: of each
incident only an :class:`~oomsight.pipeline.entries.Entry` is kept; its window of the log, or its JSON, goes to a spool.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final, Self

from oomsight._record import Record, dataclass, field
from oomsight.diagnose.explain import explain_report
from oomsight.pipeline.entries import Entry, Ledger, Place, Spool
from oomsight.pipeline.jobs import Done, Job
from oomsight.pipeline.reading import Reading, SourceResult
from oomsight.pipeline.seams import Origin, Seams, noted
from oomsight.pipeline.workers import Workers
from oomsight.report import Clock, parse_text

if TYPE_CHECKING:
    from oomsight.diagnose.model import Incident
    from oomsight.pipeline.query import Query
    from oomsight.report.model import OomReport
    from oomsight.sources.scan import Scan
    from oomsight.sources.source import Source

BATCH_BYTES: Final = 192 << 10  #: of windows handed to a worker at once
MOST_PROCESSES: Final = 8  #: unasked: one process searches and cannot keep more of them busy; each adds 15 MiB
KEEP_INCIDENTS: Final = 64  #: whole incidents kept at most
KEEP_ROWS: Final = 20_000  #: of task tables in them


@dataclass(slots=True, eq=False, repr=False)
class Run(Record):
    """Result of :func:`explain_sources`."""

    sources: list[SourceResult]
    entries: list[Entry]  #: newest first, each event once, filtered
    spool: Spool
    clocks: dict[str, Clock]
    kept: Kept
    seams: dict[str, str] = field(default_factory=dict)  #: by name of two files: where an event goes on, in words
    left_out: int = 0  #: incidents that did not pass the filters
    undated: int = 0  #: kept although a time filter was asked and they have no date

    def __enter__(self) -> Self:
        """Return the run itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the spool."""
        self.spool.close()


class Kept:
    """What need not be made again: incidents while they are few and small, reports of the windows read again last."""

    def __init__(self) -> None:
        """Start empty."""
        self._entries: list[Entry] = []
        self._rows = 0
        self._windows: dict[Place, list[OomReport]] = {}

    def incident(self, entry: Entry) -> None:
        """Keep the incident of *entry*; when there are too many, forget those before."""
        if entry.incident is None:
            return
        rows = len(entry.incident.report.tasks)
        if len(self._entries) == KEEP_INCIDENTS or self._rows + rows > KEEP_ROWS:
            for known in self._entries:
                known.incident = None
            self._entries.clear()
            self._rows = 0
        self._entries.append(entry)
        self._rows += rows

    def reports(self, place: Place, parse: Callable[[], list[OomReport]]) -> list[OomReport]:
        """Reports of the window at *place*; its neighbours in time are asked for next, so two windows are kept."""
        if place not in self._windows:
            if len(self._windows) > 1:
                del self._windows[next(iter(self._windows))]
            self._windows[place] = parse()
        return self._windows[place]


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
    :param jobs: processes at most, this one included; ``None`` = one per core, up to :data:`MOST_PROCESSES`.
    :param render: makes the text to keep of each incident (JSON); ``None`` = keep its lines.
    :return: the run; a source that cannot be read has ``error`` set, the others are complete.
    """

    def cores() -> int:
        if jobs is not None:
            return jobs
        from oomsight.pipeline.cores import usable_cores

        return min(MOST_PROCESSES, usable_cores())

    ledger = Ledger()
    run = Run([], [], Spool(), {}, Kept())
    workers = Workers(cores)
    seams = Seams()
    boots: dict[int, tuple[int, float]] = {}

    def take(job: Job, done: Done) -> None:
        run.left_out += done.left_out
        for found in done.found:
            if job.render is None:
                place = run.spool.put(job.windows[found.window][1], job.windows[found.window][0])
            for number, entry in enumerate(found.entries):
                # A printk clock that falls means another boot (records stand in order within a source).
                boot, latest = boots.get(job.source, (0, -1.0))
                if entry.uptime_s is not None:
                    boot += entry.uptime_s < latest - 1.0
                    boots[job.source] = (boot, entry.uptime_s)
                dated, epoch, _, uptime, line = entry.order
                entry.order = (dated, epoch, (job.source << 16) + boot, uptime, line)
                entry.place = run.spool.put(found.texts[number]) if found.texts else place
                run.kept.incident(entry)
                ledger.add(entry)

    base = 0
    with _rare_collection():
        try:
            for index, source in enumerate(sources):
                result = SourceResult(source.name, source.kind)
                run.sources.append(result)
                clock = run.clocks[source.name] = clock_of(source)
                moved = _offset(progress, base) if progress else None
                with Reading(source, workers, moved) as reading:
                    goes_on = index + 1 < len(sources) and sources[index + 1].follows == source.name
                    origin, scanner = Origin(index, source.name, clock), reading.scanner
                    batches = _batches(scanner, result)
                    for of, batch in seams.through(origin, batches, scanner, keep_last=goes_on):
                        if of.seam is not None:
                            run.clocks[of.name], run.seams[of.name] = of.clock, of.seam
                        given = Job(of.source, of.name, of.clock, batch, query, now, render, of.seam)
                        for job, done in workers.submit(given):
                            take(job, done)
                    reading.sum_up(result, clock)
                base += source.size_bytes or result.bytes
            for job, done in workers.finish():
                take(job, done)
            if run.sources:
                run.sources[-1].notes.extend(workers.told())
        finally:
            workers.close()
    run.entries = ledger.newest_first()
    if query.since is not None or query.until is not None:
        run.undated = sum(not e.order[0] for e in run.entries)
    if query.last is not None:
        run.left_out += max(0, len(run.entries) - query.last)
        run.entries = run.entries[: query.last]
    return run


@contextmanager
def _rare_collection() -> Iterator[None]:
    """Millions of small objects that all die by reference count: look for cycles among them seldom."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _offset(progress: Callable[[int], None], base: int) -> Callable[[int], None]:
    return lambda done: progress(base + done)


def incident_of(entry: Entry, run: Run) -> Incident:
    """Return the incident of *entry*, made again from its window if it was not kept."""
    if entry.incident is not None:
        return entry.incident
    place = entry.place
    assert place is not None

    def parse() -> list[OomReport]:
        clock = run.clocks.get(entry.source, Clock())
        found = parse_text(run.spool.get(place), entry.source, first_line=place.first_line, clock=clock)
        return noted(found, run.seams.get(entry.source))

    found = [r for r in run.kept.reports(place, parse) if r.source.first_line == entry.first_line]
    # Two events may begin in one line (several records joined by a relay).
    incidents = (explain_report(report) for report in found)
    entry.incident = next(i for i in incidents if i.id == entry.id) if len(found) > 1 else next(incidents)
    run.kept.incident(entry)
    return entry.incident


def _batches(scanner: Scan, result: SourceResult) -> Iterator[list[tuple[int, bytes]]]:
    """The windows of *scanner* in batches worth a hand-over; what had to be cut is noted once."""
    batch: list[tuple[int, bytes]] = []
    size = 0
    noted: set[str] = set()
    for window in scanner:
        if window.cut and window.cut not in noted:
            noted.add(window.cut)
            result.notes.append(f"{result.name}: from line {window.first_line:,} on: {window.cut}")
        batch.append((window.first_line, window.data))
        size += len(window.data)
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
