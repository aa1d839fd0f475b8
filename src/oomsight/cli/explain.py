"""``oomsight explain``: find the OOM events in logs and explain each."""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from oomsight.cli import declare
from oomsight.cli.exits import CommandError, Exit, UsageError
from oomsight.cli.explain_answer import FULL, JsonOf, nothing, recorded_at, tell_unread, write_json, write_stories
from oomsight.cli.options import (
    answer,
    color_option,
    exit_code_option,
    format_option,
    pseudonyms_of,
    redact_options,
    remark,
    root_option,
    width_option,
)

if TYPE_CHECKING:
    from oomsight.pipeline.query import Query
    from oomsight.report import Clock
    from oomsight.sources.below import Looked
    from oomsight.sources.source import Source

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
    recorded = recorded_at(history)
    tell_unread(history)
    to_json = output_format in {"json", "ndjson"}
    from oomsight.pipeline.run import explain_sources
    from oomsight.sinks.progress import Progress

    sizes = [s.size_bytes for s in sources]
    total = sum(s for s in sizes if s) if all(sizes) else None
    with Progress(sys.stderr, total) as progress:
        run = explain_sources(
            sources, query, now=now, clock_of=lambda s: _clock(s, now), progress=progress, jobs=jobs,
            render=JsonOf(pseudonyms, recorded) if to_json else None,
        )
    with run:
        for result in run.sources:
            for note in result.notes:
                remark(note)
            if result.error is not None:
                remark(str(result.error))
                failed = True
        if run.undated:
            undated = f"{run.undated:,} of the events have" if run.undated > 1 else "1 of the events has"
            remark(f"{undated} no date in the text: shown whatever --since and --until say")
        if to_json:
            write_json(run, output_format, pseudonyms)
        elif run.entries:
            level = "brief" if brief else "evidence" if evidence else "normal"
            write_stories(run, output_format, level, full, width, color, pseudonyms, recorded)
        elif not run.sources or any(r.error is None for r in run.sources):
            for line in nothing(run, query, given.looked, given.about, quote=pseudonyms is None):
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

    for option, value in (("--comm", comm), ("--cgroup", cgroup)):
        if value == "":
            raise UsageError(f"{option} is empty; is the variable that should hold it set?")
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
    if not os.path.isdir(root):
        raise UsageError(f"--root: {root}: no such directory")
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
