"""What daemons wrote about an end: lines of systemd, dockerd, containerd and kubelet, from the journal or log files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from oomsight.report.times import Clock, when
from oomsight.sources.errors import SourceError
from oomsight.sources.journal import DIRECTORIES
from oomsight.sources.program import Program, find
from oomsight.sources.runtimes.places import Places, json_object, text, whole
from oomsight.why.lines import LINE_RULES, read_line

if TYPE_CHECKING:
    from oomsight.sources.source import Source
    from oomsight.why.evidence import Fact, Subject

IDENTIFIERS: Final = ("kubelet", "containerd", "dockerd", "crio", "k3s", "rke2")
"""SYSLOG_IDENTIFIER of the daemons that end containers."""

AROUND_SECONDS: Final = 3600.0  #: of the journal, before and after a known end; stop time-outs are shorter
LAST_DAYS: Final = 14  #: of the journal, where the end is not known
MAX_LINE_BYTES: Final = 16 << 10

_HINTS: Final = tuple(sorted({rule.hint.encode() for rule in LINE_RULES}))


def journal_facts(places: Places, subject: Subject, keep: Callable[[Fact], bool]) -> Iterator[Fact]:
    """Yield the facts about *subject* in the journal, oldest first; raises :class:`SourceError`."""
    program = find("journalctl")
    folders = [places.path(folder) for folder in DIRECTORIES]
    folder = next((path for path in folders if os.path.isdir(path)), None)
    if program is None or folder is None:
        raise SourceError("journal", "this host keeps no journal" if program else "journalctl is not installed")
    command = [program, "--quiet", "--output=json"]
    if os.path.realpath(places.root) != "/":
        command.append(f"--directory={folder}")
    if subject.ended is not None:
        command += [f"--since=@{subject.ended - AROUND_SECONDS:.0f}", f"--until=@{subject.ended + AROUND_SECONDS:.0f}"]
    else:
        command.append(f"--since=-{LAST_DAYS} days")
    run = Program([*command, *_matches(subject)])
    found = False
    for line in _lines(run):
        entry = json_object(line)
        message = _message(entry.get("MESSAGE")) if entry is not None else None
        if entry is None or message is None:
            continue
        found = True
        stamp = whole(entry.get("_SOURCE_REALTIME_TIMESTAMP")) or whole(entry.get("__REALTIME_TIMESTAMP"))
        fact = read_line(message, at=stamp / 1e6 if stamp else None, source="journal")
        if fact is None and (unit := text(entry.get("UNIT"))):
            fact = read_line(f"{unit}: {message}", at=stamp / 1e6 if stamp else None, source="journal")
        if fact is not None and keep(fact):
            yield fact
    if not found and (run.status or run.complaint):
        raise SourceError("journal", run.complaint or "journalctl failed", "sudo, or group systemd-journal")


def _matches(subject: Subject) -> list[str]:
    if subject.unit is not None and subject.kind == "unit":
        return [f"UNIT={subject.unit}", "+", f"USER_UNIT={subject.unit}"]
    daemons = [part for name in IDENTIFIERS for part in (f"SYSLOG_IDENTIFIER={name}", "+")][:-1]
    return daemons if subject.kind in {"container", "pod"} else ["SYSLOG_IDENTIFIER=systemd"]


def _message(value: Any) -> str | None:
    if isinstance(value, list):  # not clean UTF-8: journalctl prints the bytes as numbers
        try:
            return bytes(value).decode("utf-8", "surrogateescape")
        except (ValueError, TypeError):
            return None
    return text(value)


def log_facts(
    sources: Iterable[Source], clock_of: Callable[[Source], Clock], keep: Callable[[Fact], bool]
) -> Iterator[Fact]:
    """Yield the facts in log files, oldest first within each; a file that cannot be read is passed over."""
    for source in sources:
        clock = clock_of(source)
        try:
            for raw in _lines(bytes(block) for block in source.blocks()):
                if not any(hint in raw for hint in _HINTS):
                    continue
                line = raw.decode("utf-8", "surrogateescape")
                fact = read_line(line, at=_seconds(line, clock), source=source.name)
                if fact is not None and keep(fact):
                    yield fact
        except SourceError:
            continue


def _seconds(line: str, clock: Clock) -> float | None:
    stamp = when(line[:200], clock).time
    try:
        return datetime.fromisoformat(stamp).timestamp() if stamp else None  # without a zone: local time, as logs are
    except (ValueError, OverflowError, OSError):
        return None


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines of a stream; what is longer than :data:`MAX_LINE_BYTES` is cut."""
    rest = b""
    for block in blocks:
        lines = (rest + block).split(b"\n")
        rest = lines.pop()[:MAX_LINE_BYTES]
        yield from lines
    if rest:
        yield rest
