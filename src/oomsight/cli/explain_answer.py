"""What ``oomsight explain`` prints: JSON, the story of each event, or that nothing was found."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from oomsight._version import __version__
from oomsight.cli.speak import answer, remark, renderer

if TYPE_CHECKING:
    from oomsight.diagnose.model import Incident
    from oomsight.naming.redact import Pseudonyms
    from oomsight.pipeline.entries import Entry
    from oomsight.pipeline.query import Query
    from oomsight.pipeline.reading import SourceResult
    from oomsight.pipeline.remembered import Remembered
    from oomsight.pipeline.run import Run
    from oomsight.sources.below import Looked

FULL: Final = 10  #: newest incidents told in full; older ones in a few lines
BRIEF: Final = 40  #: and those beyond these only counted, unless --full
GROUPS: Final = 30  #: lines of the summary of the rest


class JsonOf:
    """Makes the JSON text of an incident; a class, so that worker processes can get it."""

    def __init__(self, pseudonyms: Pseudonyms | None, recorded: str | None) -> None:
        """*pseudonyms*: instead of names; *recorded*: the recorder's directory."""
        self.pseudonyms, self.recorded = pseudonyms, recorded

    def __call__(self, incident: Incident) -> str:
        """Return one line of JSON."""
        from oomsight.sinks.document import incident_json

        _remember(incident, self.recorded)
        return incident_json(_redacted(incident, self.pseudonyms))


def recorded_at(history: str | None) -> str | None:
    """The recorder's directory, if there is one: without it nothing has to be loaded to ask it."""
    if history is None:
        from oomsight._state import default_path, history_beside

        history = history_beside(default_path())
    return history if os.path.isdir(history) else None


def tell_unread(history: str | None) -> None:
    """Say why a recorder's directory that somebody named (``None`` = nobody did) tells nothing of what grew."""
    if history is None:
        return
    if not os.path.isdir(history):
        remark(f"--history: {history}: no such directory; explained without a record")
        return
    from oomsight.sources.history import History, HistoryError

    try:
        History(history)
    except HistoryError as error:
        remark(f"--history: {error}; explained without a record")


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


def write_json(run: Run, output_format: str, pseudonyms: Pseudonyms | None) -> None:
    """Print the run as one document, or (ndjson) an incident a line."""
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


def write_stories(  # noqa: PLR0917
    run: Run, output_format: str, level: Any, full: bool, width: int | None, color: str,
    pseudonyms: Pseudonyms | None, recorded: str | None,
) -> None:  # fmt: skip
    """Tell the newest events, list those before, count the rest; *full*: tell all. *level*: as of ``sinks.story``."""
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


def nothing(run: Run, query: Query, looked: Looked | None, about: Iterable[str], *, quote: bool) -> Iterator[str]:
    """
    Say that nothing was found, where, in which period, in how many lines.

    :param looked: what was seen in directories besides the logs.
    :param about: places of the host that could not be read, and why.
    :param quote: whether lines of the input may be shown.
    """
    from oomsight.sinks.safe import scrub

    read = [r for r in run.sources if r.error is None]
    names = ", ".join(scrub(r.name) for r in read[:4]) + (f" and {len(read) - 4} more" if len(read) > 4 else "")
    lines = sum(r.lines for r in read)
    asked = any((query.since, query.until, query.pid, query.comm, query.cgroup))
    what = "No kernel OOM kill that you asked for" if asked and run.left_out else "No kernel OOM kill"
    if read:
        yield f"{what} in {names}, {_period(read)}, {lines:,} line{'s' if lines != 1 else ''}."
    if looked is not None and looked.files:
        files = "1 text file" if looked.files == 1 else f"{looked.files:,} text files"
        seen = f"{looked.lines:,} line{'s' if looked.lines != 1 else ''}"
        if read:
            yield f"Besides, {files} there ({seen}) not named like logs: nothing of the kind in them."
        else:
            yield f"{what} in {files}, none named like a log, {seen}."
    if run.left_out:
        events = "1 event" if run.left_out == 1 else f"{run.left_out:,} events"
        yield f"{events} did not pass the filters; run again without them to see more."
    said = [one for r in read for one in r.said]
    if said and not run.left_out:
        from oomsight.cli.heard import heard

        yield from heard(said, quote=quote)
    elif any(r.memory_report for r in read) and not run.left_out:
        yield "The kernel's account of memory (Mem-Info) is there, but not the line that says"
        yield "why it was printed; there are other reasons, too. Paste from the line 'invoked"
        yield "oom-killer' or 'page allocation failure' on, down to 'Killed process'."
    for line in about:
        yield f"Not read: {scrub(line)}"


def _period(read: list[SourceResult]) -> str:
    first = min((r.first_time for r in read if r.first_time), default=None)
    last = max((r.last_time for r in read if r.last_time), default=None)
    if first is None or last is None:
        return "no dates in the text"
    return f"{first} to {last}" if first != last else first
