"""``oomsight explain``: find the OOM events in logs and explain each."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from oomsight._version import __version__
from oomsight.cli import declare
from oomsight.cli.exits import CommandError, Exit, UsageError
from oomsight.cli.options import (
    answer,
    color_option,
    exit_code_option,
    format_option,
    pseudonyms_of,
    redact_options,
    remark,
    renderer,
    root_option,
    width_option,
)

if TYPE_CHECKING:
    from oomsight.diagnose.model import Incident
    from oomsight.naming.redact import Pseudonyms
    from oomsight.pipeline.entries import Entry
    from oomsight.pipeline.query import Query
    from oomsight.pipeline.remembered import Remembered
    from oomsight.pipeline.run import Run, SourceResult
    from oomsight.report import Clock
    from oomsight.sources.below import Looked
    from oomsight.sources.source import Source

FULL: Final = 10  #: newest incidents told in full; older ones in a few lines
BRIEF: Final = 40  #: and those beyond these only counted, unless --full
GROUPS: Final = 30  #: lines of the summary of the rest

EXAMPLES: Final = (
    ("oomsight explain", "the OOM kills this host remembers"),
    ("oomsight explain /var/log/kern.log*", "in log files, rotated and compressed ones included"),
    ("dmesg | oomsight explain -", "in what a pipe brings"),
    ("oomsight explain --since '2 hours ago' --comm 'java*'", "only those"),
    ("oomsight explain --last 1 --format markdown --redact > ticket.md", "for a ticket, without names"),
    ("oomsight explain --format json LOG | jq '.incidents[].culprit'", "for programs"),
)


@declare.command("explain", examples=EXAMPLES)
@declare.argument("paths", nargs=-1, metavar="[PATH]...", type=declare.Path())
@format_option("text", "json", "ndjson", "markdown")
@declare.option("--since", metavar="WHEN", help="Only events from then on: a date, 'yesterday', '2 hours ago', -30m.")
@declare.option("--until", metavar="WHEN", help="Only events up to then.")
@declare.option("--last", type=declare.IntRange(1), metavar="N", help="Only the newest N.")
@declare.option("--pid", type=declare.IntRange(1), metavar="PID",
                help="Only events in which this process died or asked.")
@declare.option("--comm", metavar="NAME", help="Only events of a process of this name (shell pattern).")
@declare.option("--cgroup", metavar="PATH",
                help="Only events of this cgroup, unit, container or pod (part of the path).")
@declare.option("--brief", is_flag=True, help="A few lines for each event.")
@declare.option("--evidence", is_flag=True, help="The log lines every statement rests on.")
@declare.option("--full", is_flag=True, help=f"Tell every event in full, not only the newest {FULL}.")
@declare.option("--history", metavar="DIR", type=declare.Path(), envvar="OOMSIGHT_HISTORY",
                help="The recorder's directory, for why it grew.  [default: this host's]")
@redact_options
@width_option
@color_option
@declare.option(
    "-j", "--jobs", type=declare.IntRange(1), metavar="N", help="Processes at most.  [default: a core each, up to 8]"
)
@root_option
@exit_code_option
def command(  # noqa: PLR0917 - one parameter per option
    paths: tuple[str, ...], output_format: str, since: str | None, until: str | None, last: int | None, pid: int | None,
    comm: str | None, cgroup: str | None, brief: bool, evidence: bool, full: bool, history: str | None, redact: bool,
    redact_key: str | None, width: int | None, color: str, jobs: int | None, root: str, exit_code: bool,
) -> int:  # fmt: skip
    """
    Find every OOM event in logs and say what was killed, why memory ran out, why the kernel chose this process, what
    really held the memory, why nothing stopped it earlier and what to change.

    PATH is a file (gz, xz, zst and bz2 included), a directory, a pattern, or - for standard input; any text that holds
    kernel messages will do: dmesg, journal, syslog, container and cloud logs, mails, tickets. Without PATH: the best
    that this host has (journal of all boots, else /dev/kmsg, dmesg, /var/log).
    """
    now = datetime.now().astimezone()
    query = _query(now, since, until, last, pid, comm, cgroup)
    given = _sources(paths, root)
    sources, failed = given.sources, given.failed
    pseudonyms = pseudonyms_of(redact, redact_key)
    recorded = _recorded(history)
    to_json = output_format in {"json", "ndjson"}
    from oomsight.pipeline.run import explain_sources
    from oomsight.sinks.progress import Progress

    sizes = [s.size_bytes for s in sources]
    total = sum(s for s in sizes if s) if all(sizes) else None
    with Progress(sys.stderr, total) as progress:
        run = explain_sources(
            sources, query, now=now, clock_of=lambda s: _clock(s, now), progress=progress, jobs=jobs,
            render=_JsonOf(pseudonyms, recorded) if to_json else None,
        )
    with run:
        for result in run.sources:
            for note in result.notes:
                remark(note)
            if result.error is not None:
                remark(str(result.error))
                failed = True
        if run.undated:
            remark(f"{run.undated} event(s) have no date in the text and are shown whatever --since and --until say")
        if to_json:
            _write_json(run, output_format, pseudonyms)
        elif run.entries:
            level = "brief" if brief else "evidence" if evidence else "normal"
            _write_stories(run, output_format, level, full, width, color, pseudonyms, recorded)
        elif not run.sources or any(r.error is None for r in run.sources):
            for line in _nothing(run, query, given, quote=pseudonyms is None):
                answer(line + "\n")
        if failed:
            return Exit.INPUT
        return Exit.FOUND if exit_code and run.entries else Exit.OK


# -- what to read ---------------------------------------------------------------------------------------------------


def _query(  # noqa: PLR0917
    now: datetime, since: str | None, until: str | None, last: int | None, pid: int | None, comm: str | None,
    cgroup: str | None,
) -> Query:  # fmt: skip
    from oomsight.cli.when import period
    from oomsight.pipeline.query import Query

    first, until_then = period(since, until, now)
    return Query(first, until_then, last, pid, comm, cgroup)


class _Given:
    """What there is to read: the readers, whether some path failed, and what needed no reading."""

    def __init__(self, sources: list[Source], looked: Looked | None = None, failed: bool = False) -> None:
        self.sources, self.looked, self.failed = sources, looked, failed
        self.about: list[str] = []  #: the host's better places, and why they cannot be read


def _sources(paths: tuple[str, ...], root: str) -> _Given:
    """The readers for *paths*, or those of the host."""
    if not paths and sys.stdin is not None and not sys.stdin.isatty() and _stdin_has_data():
        paths = ("-",)
    if paths:
        return _files(paths)
    from oomsight.sources.host import best_host_sources, in_container

    candidates = best_host_sources(root)
    about: list[str] = []
    for candidate in candidates:
        if candidate.usable:
            period = f", {candidate.period}" if candidate.period else ""
            remark(f"reading {candidate.name}{period}")
            given = _Given(list(candidate.sources))
            given.about = about
            return given
        hint = f"; {candidate.hint}" if candidate.hint else ""
        about.append(f"{candidate.name}: {candidate.reason}{hint}")
    for line in about:
        remark(line)
    if root == "/" and in_container():
        raise CommandError(
            "no kernel log is to be seen inside this container", Exit.UNSUPPORTED,
            "kills are reported in the log of the host: run it there, or give a file (oomsight explain FILE)",
        )
    raise CommandError(
        "this host shows no kernel log to this user", Exit.UNSUPPORTED,
        "give a file (oomsight explain FILE), pipe text in, or use sudo",
    )


def _files(paths: tuple[str, ...]) -> _Given:
    from oomsight.sinks.progress import Progress
    from oomsight.sources.files import FileSource, expand

    if "" in paths:
        raise UsageError("a PATH is empty; is the variable that should hold it set?")
    errors: list[str] = []
    looked = None
    if any(map(os.path.isdir, paths)):
        from oomsight.sources.below import Looked

        looked = Looked()
    with Progress(sys.stderr, None, "looking for logs") as progress:
        if looked is not None:
            looked.tell = lambda now: progress(now.bytes, f"{now.files:,} other files")
        refs = expand(paths, looked=looked, on_error=lambda error: errors.append(str(error)))
    for error in errors:
        remark(error)
    if not refs and not (looked and looked.files):
        raise CommandError("nothing to read", Exit.INPUT)
    found: list[Source] = [FileSource(ref) if ref.kind != "kmsg" else _kmsg(ref.paths[0]) for ref in refs]
    return _Given(found, looked, bool(errors))


def _kmsg(path: str) -> Source:
    from oomsight.sources.kmsg import KmsgSource

    return KmsgSource(path)


def _stdin_has_data() -> bool:
    """Something is piped or redirected into us (not a closed stdin or /dev/null, as cron and CI have)."""
    import stat

    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    if stat.S_ISREG(mode):
        return os.fstat(0).st_size > 0
    return stat.S_ISFIFO(mode)


def _clock(source: Source, now: datetime) -> Clock:
    from oomsight.report import Clock

    if source.kind in {"kmsg", "dmesg"}:
        # printk's clock starts at boot and stands still in suspend, as CLOCK_MONOTONIC does.
        boot = now - timedelta(seconds=time.clock_gettime(time.CLOCK_MONOTONIC))
        return Clock(reference=now.replace(tzinfo=None), boot=boot)
    if source.kind == "file":
        try:
            return Clock(reference=datetime.fromtimestamp(os.stat(source.name).st_mtime))  # noqa: DTZ006 - local, naive like the log
        except OSError:
            pass
    return Clock(reference=now.replace(tzinfo=None))


# -- what to print --------------------------------------------------------------------------------------------------


class _JsonOf:
    """Makes the JSON text of an incident; a class, so that worker processes can get it."""

    def __init__(self, pseudonyms: Pseudonyms | None, recorded: str | None) -> None:
        self.pseudonyms, self.recorded = pseudonyms, recorded

    def __call__(self, incident: Incident) -> str:
        from oomsight.sinks.document import incident_json

        _remember(incident, self.recorded)
        return incident_json(_redacted(incident, self.pseudonyms))


def _recorded(history: str | None) -> str | None:
    """The recorder's directory, if there is one: without it nothing has to be loaded to ask it."""
    if history is None:
        from oomsight.sinks.store_path import default_path, history_beside

        history = history_beside(default_path())
    return history if os.path.isdir(history) else None


_MEMORIES: Final[dict[str, Remembered]] = {}


def _remember(incident: Incident, recorded: str | None) -> None:
    """Add what the recorder saw before the kill, if it was this host's and is still on record."""
    if recorded is None:
        return
    if recorded not in _MEMORIES:
        from oomsight.pipeline.remembered import Remembered

        _MEMORIES[recorded] = Remembered(recorded)
    _MEMORIES[recorded].add_to(incident)


def _redacted(incident: Incident, pseudonyms: Pseudonyms | None) -> Incident:
    if pseudonyms is None:
        return incident
    from oomsight.diagnose.redact import redact

    return redact(incident, pseudonyms)


def _recurrence(number: tuple[int, int], entry: Entry) -> str | None:
    position, count = number
    if count < 2 or not entry.names:
        return None
    where = f" in {entry.where}" if entry.where else ""
    return f"{_ordinal(position)} of {count} kills of {entry.names}{where} with this cause in this input."


def _ordinal(n: int) -> str:
    suffix = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n:,}{suffix}"


_NO_RECURRENCE: Final = '"recurrence":null}'


def _write_json(run: Run, output_format: str, pseudonyms: Pseudonyms | None) -> None:
    import json

    from oomsight.naming.marked import unmark
    from oomsight.pipeline.entries import recurrences

    counts = recurrences(run.entries)

    def texts() -> Iterator[str]:
        for entry in run.entries:
            assert entry.place is not None
            text = run.spool.get(entry.place).decode("ascii")
            sentence = _recurrence(counts[id(entry)], entry)
            if sentence is not None and text.endswith(_NO_RECURRENCE):
                # How often it happened is known only at the end of the run; the key is the last of the object.
                if pseudonyms is not None:
                    sentence = pseudonyms.redact_marked(sentence)
                text = text[: -len("null}")] + json.dumps(unmark(sentence)) + "}"
            yield text

    if output_format == "ndjson":
        for text in texts():
            answer(text + "\n")
        return
    from oomsight.naming.marked import Kind
    from oomsight.sinks.document import SourceInfo, document

    infos = [
        SourceInfo(
            pseudonyms.name(r.name, Kind.FILE) if pseudonyms else r.name, r.lines, r.bytes, r.first_time, r.last_time,
            None, tuple(r.notes) if not pseudonyms else (),
        )
        for r in run.sources
        if r.error is None
    ]
    frame = json.dumps(document(__version__, infos, ()), indent=2)
    head, tail = frame.rsplit("[]", 1)
    answer(head + "[")
    first = True
    for text in texts():
        answer((",\n" if not first else "\n") + text)
        first = False
    answer(("\n  ]" if not first else "]") + tail + "\n")


def _write_stories(  # noqa: PLR0917
    run: Run, output_format: str, level: Any, full: bool, width: int | None, color: str,
    pseudonyms: Pseudonyms | None, recorded: str | None,
) -> None:  # fmt: skip
    from oomsight.pipeline.entries import recurrences, runs
    from oomsight.pipeline.run import incident_of
    from oomsight.sinks.story import more_alike, older, story

    render = renderer(output_format, width, color)
    counts = recurrences(run.entries)
    told = len(run.entries) if full else FULL
    listed = len(run.entries) if full else FULL + BRIEF

    def tell(entry: Entry, how: Any) -> str:
        incident = incident_of(entry, run)
        _remember(incident, recorded)
        incident = _redacted(incident, pseudonyms)
        sentence = _recurrence(counts[id(entry)], entry)
        if sentence is not None:
            incident.recurrence = pseudonyms.redact_marked(sentence) if pseudonyms else sentence
        return render(story(incident, level=how))

    if len(run.entries) > 1:
        from oomsight.sinks.story import overview

        shown = [_redacted(incident_of(e, run), pseudonyms) for e in run.entries[: FULL + BRIEF]]
        answer(render(overview(shown, len(run.entries))) + "\n")
    def tell_all(entries: list[Entry], how: Any, first: int, *, bare: bool) -> None:
        """Tell *entries*, the first of which is number *first* of the list; of a run of the same story the newest."""
        for same in runs(entries, bare=bare) if not full else ([entry] for entry in entries):
            answer(tell(same[0], how) + "\n")
            if len(same) > 1:
                answer(render(more_alike(first + 1, len(same) - 1)) + "\n")
            first += len(same)

    tell_all(run.entries[:told], level, 1, bare=True)
    rest = run.entries[told:listed]
    if rest:
        answer(render(older(len(rest))) + "\n")
        tell_all(rest, "brief", told + 1, bare=False)
    beyond = run.entries[listed:]
    if beyond:
        from oomsight.sinks.story import groups

        answer(render(groups(_grouped(beyond, pseudonyms), len(beyond), GROUPS)) + "\n")


def _grouped(
    entries: list[Entry], pseudonyms: Pseudonyms | None
) -> Iterable[tuple[int, str, str, str, str | None, str | None]]:
    """(count, names, where, cause, first time, last time) of the events not listed one by one, most frequent first."""
    found: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.fingerprint, []).append(entry)
    hide = pseudonyms.redact_marked if pseudonyms else (lambda text: text)
    for group in sorted(found.values(), key=len, reverse=True):
        newest = group[0]
        cause = newest.cause or newest.kind
        yield len(group), hide(newest.names), hide(newest.where), cause, group[-1].time, newest.time


def _nothing(run: Run, query: Query, given: _Given, *, quote: bool) -> Iterator[str]:
    """Say that nothing was found, where, in which period, in how many lines."""
    from oomsight.sinks.safe import scrub

    read = [r for r in run.sources if r.error is None]
    names = ", ".join(scrub(r.name) for r in read[:4]) + (f" and {len(read) - 4} more" if len(read) > 4 else "")
    lines = sum(r.lines for r in read)
    asked = any((query.since, query.until, query.pid, query.comm, query.cgroup))
    what = "No kernel OOM kill that you asked for" if asked and run.left_out else "No kernel OOM kill"
    if read:
        yield f"{what} in {names}, {_period(read)}, {lines:,} line{'s' if lines != 1 else ''}."
    if (looked := given.looked) is not None and looked.files:
        files = "1 text file" if looked.files == 1 else f"{looked.files:,} text files"
        seen = f"{looked.lines:,} line{'s' if looked.lines != 1 else ''}"
        if read:
            yield f"Besides, {files} there ({seen}) not named like logs: nothing of the kind in them."
        else:
            yield f"{what} in {files}, none named like a log, {seen}."
    if run.left_out:
        yield f"{run.left_out:,} event(s) did not pass the filters; run again without them to see those."
    said = [one for r in read for one in r.said]
    if said and not run.left_out:
        from oomsight.cli.heard import heard

        yield from heard(said, quote=quote)
    elif any(r.memory_report for r in read) and not run.left_out:
        yield "The kernel's account of memory (Mem-Info) is there, but not the line that says"
        yield "why it was printed; there are other reasons, too. Paste from the line 'invoked"
        yield "oom-killer' or 'page allocation failure' on, down to 'Killed process'."
    for line in given.about:
        yield f"Not read: {scrub(line)}"

def _period(read: list[SourceResult]) -> str:
    first = min((r.first_time for r in read if r.first_time), default=None)
    last = max((r.last_time for r in read if r.last_time), default=None)
    if first is None or last is None:
        return "no dates in the text"
    return f"{first} to {last}"
