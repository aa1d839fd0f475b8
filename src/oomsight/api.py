"""
The library: what ``import oomsight`` offers, a thin layer over the rooms below.

Nothing here prints, starts processes unasked or changes the system, and no text makes it raise: what cannot be read
becomes a note of the report. Only files raise (:class:`~oomsight.sources.errors.SourceError`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from oomsight._version import __version__
from oomsight.diagnose.explain import explain_report
from oomsight.report import Clock, parse_text
from oomsight.sources.scan import Window, scan

if TYPE_CHECKING:
    from oomsight.diagnose.model import Incident
    from oomsight.pipeline.query import Query
    from oomsight.pipeline.run import Run
    from oomsight.report.model import OomReport
    from oomsight.sources.errors import SourceError
    from oomsight.sources.source import Kind, Progress, Source

Level = Literal["brief", "normal", "evidence"]
"""How much to tell: a few lines, everything, everything with the log lines it rests on."""

__all__ = [
    "explain", "explain_paths", "iter_incidents", "json_schema", "parse", "redact", "to_dict", "to_json",
    "to_markdown", "to_text",
]  # fmt: skip


class _Text:
    """Text in memory as a source."""

    kind: Kind = "stdin"
    follows: str | None = None

    def __init__(self, data: bytes, name: str) -> None:
        self.name, self.size_bytes, self.notes = name, len(data), list[str]()
        self._data = data

    def blocks(self, progress: Progress | None = None) -> Iterator[bytes]:  # noqa: ARG002 - in memory: no progress
        """Yield all of it."""
        yield self._data


def _bytes(text: str | bytes) -> bytes:
    if isinstance(text, str):
        return text.encode("utf-8", "surrogateescape")
    if isinstance(text, (bytes, bytearray, memoryview)):
        return bytes(text)
    # bytes() would take a path for its name and a number for that many zeros, and find no kill in either.
    hint = "for a file use explain_paths, for an open one iter_incidents"
    raise TypeError(f"a log is text or bytes, not {type(text).__name__}; {hint}")


def _level(level: Level) -> Level:
    if level not in {"brief", "normal", "evidence"}:
        raise ValueError(f"level is 'brief', 'normal' or 'evidence', not {level!r}")
    return level


def _aware(now: datetime | None) -> datetime:
    """*now* with a zone; the local one where it has none."""
    if now is not None and not isinstance(now, datetime):
        raise TypeError(f"a time is a datetime, not {type(now).__name__}")
    return datetime.now().astimezone() if now is None else now.astimezone() if now.tzinfo is None else now


def _clock(clock: Clock | None) -> Clock:
    # A date without a year (RFC 3164) is the newest that is not in the future.
    return Clock(reference=datetime.now()) if clock is None else clock  # noqa: DTZ005 - local, naive like the log


def parse(text: str | bytes, name: str = "<text>", *, clock: Clock | None = None) -> list[OomReport]:
    """
    Return what *text* says about each OOM event in it, in the order of the text, with nothing concluded.

    :param text: a kernel log in any carrier (dmesg, journal, syslog, mail, ticket, …) of any size; any bytes will do.
    :param name: name of the source, put into each report.
    :param clock: what is known about time outside of the text; ``None`` = dates without a year lie in the last 12
        months.
    :return: reports, empty where the text holds no event. A field is ``None`` where the text does not say. Copies of
        an event (two log files put together) may be reports of their own; :func:`explain` merges them. Never raises.
    """
    data, known = _bytes(text), _clock(clock)
    return [
        report
        for window in scan([data])
        for report in parse_text(window.data, name, first_line=window.first_line, clock=known)
    ]


def iter_incidents(
    blocks: Iterable[str | bytes], name: str = "<stream>", *, clock: Clock | None = None
) -> Iterator[Incident]:
    """
    Yield the incidents of a stream as they come, in the order of the text, with bounded memory.

    :param blocks: the log in pieces of any size, cut anywhere: an open file, lines, blocks of a socket.
    :param name: name of the source, put into each incident.
    :param clock: as of :func:`parse`.
    :return: an iterator. Input of up to 1 MiB is looked at whole, so its incidents come at its end. Copies of an
        event are not merged: that needs all of them.
    """
    if isinstance(blocks, (str, bytes)):
        raise TypeError("a stream is an open file or its pieces; for a text use explain, for a path explain_paths")
    return _stream(blocks, name, _clock(clock))


def _stream(blocks: Iterable[str | bytes], name: str, known: Clock) -> Iterator[Incident]:
    windows: Iterable[Window] = scan(_bytes(block) for block in blocks)
    for window in windows:
        for report in parse_text(window.data, name, first_line=window.first_line, clock=known):
            yield explain_report(report)


def explain(text: str | bytes, name: str = "<text>", *, clock: Clock | None = None) -> list[Incident]:
    """
    Return every OOM event in *text* explained, newest first, each once.

    :param text: a kernel log in any carrier and of any size; any bytes will do.
    :param name: name of the source, put into each incident.
    :param clock: as of :func:`parse`.
    :return: incidents, empty where the text holds no event. Never raises: what could not be worked out is a note.
    """
    known = _clock(clock)
    with _run([_Text(_bytes(text), name)], _query(), datetime.now().astimezone(), lambda _: known, 1) as run:
        return list(_incidents(run))


def explain_paths(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    last: int | None = None,
    pid: int | None = None,
    comm: str | None = None,
    cgroup: str | None = None,
    now: datetime | None = None,
    jobs: int | None = 1,
    on_error: Callable[[SourceError], None] | None = None,
) -> Iterator[Incident]:
    """
    Yield every OOM event of log files explained, newest first, each once however many files tell of it.

    :param paths: files (gz, xz, zst and bz2 included), directories, shell patterns, ``-`` for standard input; one alone
        need not be in a list.
    :param since: only events from then on; a time without zone is local. Events without a date always pass.
    :param until: only events up to then.
    :param last: only the newest *last* of those that pass.
    :param pid: only events in which this process died or asked for memory.
    :param comm: only events of a process of this name (shell pattern).
    :param cgroup: only events of this cgroup, unit, container id or pod uid (part of a path, or a shell pattern).
    :param now: the current time; ``None`` = ask the system. Dates without a year are not after it.
    :param jobs: worker processes for inputs of many megabytes, ``None`` = one per core. They are forked: keep 1 in a
        program with threads.
    :param on_error: called with each source that cannot be read, and the others are read; ``None`` = raise.
    :raises SourceError: when a source cannot be read and *on_error* is ``None``; before anything is yielded.
    """
    from oomsight.sources.below import Looked
    from oomsight.sources.files import FileSource, expand
    from oomsight.sources.kmsg import KmsgSource

    report_error = on_error or _raise
    given = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    refs = expand([os.fspath(path) for path in given], looked=Looked(), on_error=report_error)
    sources = [KmsgSource(ref.paths[0]) if ref.kind == "kmsg" else FileSource(ref) for ref in refs]
    moment = _aware(now)
    query = _query(
        since=_aware(since) if since else None, until=_aware(until) if until else None, last=last, pid=pid, comm=comm,
        cgroup=cgroup,
    )  # fmt: skip
    run = _run(sources, query, moment, lambda source: _clock_of(source, moment), jobs)
    with run:
        for result in run.sources:
            if result.error is not None:
                report_error(result.error)
        yield from _incidents(run)


def _raise(error: SourceError) -> None:
    raise error


def _query(**filters: Any) -> Query:
    from oomsight.pipeline.query import Query

    return Query(**filters)


def _run(sources: list[Any], query: Query, now: datetime, clock_of: Callable[[Source], Clock], jobs: int | None) -> Run:
    from oomsight.pipeline.run import explain_sources

    return explain_sources(sources, query, now=now, clock_of=clock_of, jobs=jobs)


def _incidents(run: Run) -> Iterator[Incident]:
    from oomsight.pipeline.run import incident_of

    return (incident_of(entry, run) for entry in run.entries)


def _clock_of(source: Source, now: datetime) -> Clock:
    """Nothing in a file is later than its last change."""
    try:
        changed = datetime.fromtimestamp(os.stat(source.name).st_mtime)  # noqa: DTZ006 - local, naive like the log
    except OSError:
        changed = now.replace(tzinfo=None)
    return Clock(reference=min(changed, now.replace(tzinfo=None)))


# -- showing ----------------------------------------------------------------------------------------------------------


def to_dict(incident: Incident) -> dict[str, Any]:
    """Return *incident* as the JSON object of the contract (:func:`json_schema`), every key present."""
    from oomsight.sinks.document import incident_dict

    return incident_dict(incident)


def to_json(incidents: Iterable[Incident]) -> str:
    """Return the document of ``oomsight explain --format json`` for *incidents*, ``sources`` empty; pure ASCII."""
    from oomsight.sinks.document import document_json

    return document_json(__version__, (), list(incidents))


def to_markdown(incident: Incident, level: Level = "normal") -> str:
    """Return *incident* as GitHub-flavoured Markdown; names in it cannot become markup."""
    from oomsight.sinks.markdown import render_markdown
    from oomsight.sinks.story import story

    return render_markdown(story(incident, level=_level(level)))


def to_text(
    incident: Incident, level: Level = "normal", *, width: int = 80, colour: bool = False, unicode: bool = True
) -> str:
    """
    Return *incident* as text for a terminal; names in it cannot become control sequences.

    :param width: terminal columns, at least 40.
    :param colour: add colour sequences.
    :param unicode: ``False`` = ASCII only.
    """
    from oomsight.sinks.story import story
    from oomsight.sinks.text import render_text

    return render_text(story(incident, level=_level(level)), width=width, colour=colour, unicode=unicode)


def redact(incident: Incident, key: bytes) -> Incident:
    """
    Return a copy of *incident* with every name replaced by a pseudonym, numbers and verdict untouched.

    :param key: secret that makes the pseudonyms; the same key gives the same ones again. ``os.urandom(16)`` for once.
    """
    from oomsight.diagnose.redact import redact as redacted
    from oomsight.naming.redact import Pseudonyms

    return redacted(incident, Pseudonyms(key))


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of ``oomsight explain --format json``."""
    from oomsight.sinks.document import json_schema as schema

    return schema()
