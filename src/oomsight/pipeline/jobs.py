"""What is done with a batch of windows, in this process or in a worker: parse, filter, diagnose, make entries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from oomsight._named import NamedTuple
from oomsight.diagnose.explain import explain_report
from oomsight.pipeline.entries import Entry, entry_of
from oomsight.pipeline.query import Query, moment, wanted
from oomsight.pipeline.seams import noted
from oomsight.report import Clock, parse_text

if TYPE_CHECKING:
    from oomsight.diagnose.model import Incident


class Job(NamedTuple):
    """A batch of windows of one source."""

    source: int  #: number of the source
    name: str  #: of the source
    clock: Clock
    windows: list[tuple[int, bytes]]  #: number of the first line, text
    query: Query
    now: datetime
    render: Callable[[Incident], str] | None  #: makes the text to keep of each incident; ``None`` = keep the window
    seam: str | None = None  #: that the window is of two files, in words


class Found(NamedTuple):
    """What one window held."""

    window: int  #: its index in the job
    entries: list[Entry]
    texts: list[bytes]  #: what ``render`` made of each; empty without it


class Done(NamedTuple):
    """Result of a job."""

    found: list[Found]  #: windows in which something was found, in order
    left_out: int  #: incidents that did not pass the filters


def work(job: Job) -> Done:
    """Parse and diagnose the windows of *job*. Never raises for what a log may hold."""
    found: list[Found] = []
    left_out = 0
    for index, (first_line, data) in enumerate(job.windows):
        entries: list[Entry] = []
        texts: list[bytes] = []
        for report in noted(parse_text(data, job.name, first_line=first_line, clock=job.clock), job.seam):
            if not wanted(report, job.query, job.now):
                left_out += 1
                continue
            incident = explain_report(report)
            at = moment(report, job.now)
            entry = entry_of(incident, at.timestamp() if at else None, job.source)
            entry.incident = incident
            entries.append(entry)
            if job.render is not None:
                texts.append(job.render(incident).encode("ascii", "backslashreplace"))
                entry.incident = None
        if entries:
            found.append(Found(index, entries, texts))
    return Done(found, left_out)


def work_handed(job: Job, pieces: list[bytes]) -> Done:
    """:func:`work` in a worker process, the texts of the windows apart: incidents stay there."""
    texts = zip(job.windows, pieces, strict=True)
    done = work(job._replace(windows=[(first_line, data) for (first_line, _), data in texts]))
    for found in done.found:
        for entry in found.entries:
            entry.incident = None
    return done
