"""``oomsight incidents``: what the agent has stored."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import click

from oomsight.cli.clicked import Command, WholeNumber, in_click
from oomsight.cli.exits import Exit
from oomsight.cli.incidents_show import (
    LIST_AROUND,
    as_dict,
    blocks,
    cell,
    compared,
    iso,
    moment_of,
    places_of,
    stats_blocks,
    story_table,
    table,
    write,
    write_csv,
)
from oomsight.cli.options import (
    answer,
    color_option,
    format_option,
    pseudonyms_of,
    redact_options,
    width_option,
)
from oomsight.cli.speak import terminal_rows
from oomsight.cli.stored import one_incident, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oomsight.naming.redact import Pseudonyms
    from oomsight.sinks.store import Reader, Row
    from oomsight.sinks.stored_incident import Remember

EXAMPLES: Final = (
    ("oomsight incidents", "what was killed, newest first"),
    ("oomsight incidents --since yesterday --group", "the same stories together"),
    ("oomsight incidents show last", "the newest, explained in full"),
    ("oomsight incidents compare oom-abc oom-def", "two of them side by side"),
    ("oomsight incidents export --format csv > kills.csv", "for a spreadsheet"),
    ("oomsight incidents show last --redact --format markdown > ticket.md", "for a ticket, without names"),
)

HISTORY: Final = "oomsight.history"  #: key of the recorder's directory in click's context


class _Group(click.Group, Command):
    """
    A group whose help ends like that of a command. Its own options may stand anywhere, and without a subcommand it is
    ``list`` with the options of it: ``incidents --since yesterday --store FILE``.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        mine = {name for option in self.params for name in option.opts}
        own: list[str] = []
        rest: list[str] = []
        left = list(args)
        while left and left[0] != "--":
            name, equals, _ = left[0].partition("=")
            taken = (1 if equals else 2) if name in mine else 1
            (own if name in mine else rest).extend(left[:taken])
            del left[:taken]
        rest += left
        if rest and rest[0].startswith("-") and rest[0] not in {"-h", "--help"}:
            rest.insert(0, "list")
        return super().parse_args(ctx, own + rest)


@click.group("incidents", cls=_Group, examples=EXAMPLES, invoke_without_command=True)
@click.option("--store", metavar="FILE", type=click.Path(dir_okay=False), envvar="OOMSIGHT_STORE",
              help="Incident store.  [default: the agent's]")
@click.option("--history", metavar="DIR", type=click.Path(), envvar="OOMSIGHT_HISTORY",
              help="The recorder's directory, for why it grew.  [default: history/ beside the store]")
@click.pass_context
def command(ctx: click.Context, store: str | None, history: str | None) -> Any:
    """
    List, show, count, compare and export the OOM kills that `oomsight agent` has stored.

    Without a subcommand it is `list` and takes the options of it.
    """
    from oomsight._state import default_path, history_beside

    ctx.obj = store or default_path()
    ctx.meta[HISTORY] = history or history_beside(ctx.obj)
    if history is not None:
        from oomsight.cli.explain_answer import tell_unread

        tell_unread(history)
    if ctx.invoked_subcommand is not None:
        return None
    with list_command.make_context("list", [], parent=ctx) as inner:
        return list_command.invoke(inner)


def _period(function: Callable[..., Any]) -> Callable[..., Any]:
    until = click.option("--until", metavar="WHEN", help="Only those up to then.")
    when = "Only those from then on: a date, 'yesterday', '2 hours ago', -30m."
    since = click.option("--since", metavar="WHEN", help=when)
    name = click.option("--name", metavar="TEXT", help="Only those whose victim, place or cgroup holds this text.")
    return since(until(name(function)))


@command.command("list", cls=Command)
@in_click(format_option("text", "markdown", "json", "csv"))
@_period
@click.option("--group", is_flag=True, help="One row per story (victim, place, cause) instead of per incident.")
@click.option("--last", type=WholeNumber(1), metavar="N", help="Only the newest N.")
@in_click(redact_options)
@in_click(width_option)
@in_click(color_option)
@click.pass_context
def list_command(
    ctx: click.Context, *, output_format: str, since: str | None, until: str | None, name: str | None, group: bool,
    last: int | None, redact: bool, redact_key: str | None, width: int | None, color: str,
) -> int:  # fmt: skip
    """List stored incidents, newest first."""
    with open_store(ctx.obj) as reader:
        everything = reader.rows()
        rows = _hidden(reader, _wanted(everything, since, until, name)[:last], pseudonyms_of(redact, redact_key))
    places = places_of(everything)
    if output_format == "json":
        answer(json.dumps([as_dict(row, places) for row in rows], indent=2) + "\n")
    elif output_format == "csv":
        write_csv(rows)
    elif not rows:
        answer("No stored incident" + (" that you asked for" if everything else "") + ".\n")
    else:
        fits = last is None and output_format == "text" and sys.stdout.isatty()
        most = max(terminal_rows() - LIST_AROUND, 1) if fits else None  # the newest stand first: they stay in sight
        write(story_table(rows) if group else table(rows, places, most), output_format, width, color)
    return Exit.OK


@command.command("show", cls=Command, short_help="Show one: its id, the beginning of it, or 'last'.")
@click.argument("incident", default="last")
@in_click(format_option("text", "markdown", "json"))
@click.option("--raw", is_flag=True, help="The stored log lines as they were read.")
@click.option("--evidence", is_flag=True, help="The log lines every statement rests on.")
@in_click(redact_options)
@in_click(width_option)
@in_click(color_option)
@click.pass_context
def show_command(
    ctx: click.Context, *, incident: str, output_format: str, raw: bool, evidence: bool, redact: bool,
    redact_key: str | None, width: int | None, color: str,
) -> int:  # fmt: skip
    """Show one incident: INCIDENT is its id or the beginning of it, or 'last'."""
    import sys

    names = pseudonyms_of(redact, redact_key)
    with open_store(ctx.obj) as reader:
        row = one_incident(reader, incident)
        if raw:
            lines = reader.raw(row.event_id)
            if names is not None:
                from oomsight.sinks.stored_incident import hidden_raw

                lines = hidden_raw(reader.document(row.event_id), lines, names)
            sys.stdout.flush()
            sys.stdout.buffer.write(lines)
        elif output_format == "json":
            answer(json.dumps(_document(reader, row, names, _remember(ctx)), indent=2) + "\n")
        else:
            places = places_of(reader.rows())
            document, lines = reader.document(row.event_id), reader.raw(row.event_id)
            (row,) = _hidden(reader, [row], names)
            place, remember = places[row.event_id], _remember(ctx)
            told = blocks(row, document, lines, place, evidence=evidence, names=names, remember=remember)
            write(told, output_format, width, color)
    return Exit.OK


@command.command("stats", cls=Command, short_help="Count kills by victim, place, cause and day.")
@in_click(format_option("text", "markdown", "json"))
@_period
@in_click(redact_options)
@in_click(width_option)
@in_click(color_option)
@click.pass_context
def stats_command(
    ctx: click.Context, *, output_format: str, since: str | None, until: str | None, name: str | None,
    redact: bool, redact_key: str | None, width: int | None, color: str,
) -> int:  # fmt: skip
    """Count: kills by victim, place, cause, day; and what was counted but never seen."""
    from oomsight.naming.marked import Kind, mark, unmark

    names = pseudonyms_of(redact, redact_key)
    with open_store(ctx.obj) as reader:
        rows = _hidden(reader, _wanted(reader.rows(), since, until, name), names)
        notes = [(us, code, names.redact_marked(text) if names else text) for us, code, text in reader.notes()]
    counts = {
        "victims": Counter(mark(r.name) if r.name else "unknown" for r in rows),
        "places": Counter(r.place or (mark(r.cgroup, Kind.CGROUP) if r.cgroup else "unknown") for r in rows),
        "causes": Counter(r.cause or r.kind for r in rows),
        "days": Counter(moment_of(r).date().isoformat() for r in rows),
    }  # fmt: skip
    total = {"incidents": len(rows), "kills": sum(r.kills for r in rows), "stories": len({r.fingerprint for r in rows})}
    if output_format == "json":
        remarks = [{"time": iso(us), "code": code, "text": unmark(text)} for us, code, text in notes]
        listed = {k: {unmark(name): count for name, count in v.most_common()} for k, v in counts.items()}
        answer(json.dumps({**total, **listed, "notes": remarks}, indent=2) + "\n")
        return Exit.OK
    write(stats_blocks(total, counts, notes), output_format, width, color)
    return Exit.OK


@command.command("compare", cls=Command, short_help="Put two side by side: what is the same, what grew.")
@click.argument("first")
@click.argument("second")
@in_click(format_option("text", "markdown", "json"))
@in_click(redact_options)
@in_click(width_option)
@in_click(color_option)
@click.pass_context
def compare_command(
    ctx: click.Context, *, first: str, second: str, output_format: str, redact: bool, redact_key: str | None,
    width: int | None, color: str,
) -> int:  # fmt: skip
    """Put two incidents side by side: what is the same, what has grown."""
    names = pseudonyms_of(redact, redact_key)
    with open_store(ctx.obj) as reader:
        documents = [_document(reader, one_incident(reader, text), names) for text in (first, second)]
    rows = list(compared(*documents))
    if output_format == "json":
        answer(json.dumps([{"what": w, "first": a, "second": b, "same": a == b} for w, a, b in rows], indent=2) + "\n")
        return Exit.OK
    from oomsight.sinks.blocks import Column, Heading, Table
    from oomsight.sinks.blocks import Row as TableRow

    cells = [TableRow((what, cell(what, a), cell(what, b)), "plain" if a == b else "warn") for what, a, b in rows]
    columns = (Column(""), *(Column(document["incident"]["id"], flexible=True) for document in documents))
    write([Heading("Two incidents", 1), Table(columns, tuple(cells))], output_format, width, color)
    return Exit.OK


@command.command("export", cls=Command, short_help="Write whole incidents for other programs.")
@in_click(format_option("ndjson", "json", "csv", "markdown", default="ndjson"))
@_period
@in_click(redact_options)
@click.pass_context
def export_command(
    ctx: click.Context, *, output_format: str, since: str | None, until: str | None, name: str | None, redact: bool,
    redact_key: str | None,
) -> int:  # fmt: skip
    """Write whole incidents, oldest first, for other programs (markdown: as stories)."""
    names = pseudonyms_of(redact, redact_key)
    with open_store(ctx.obj) as reader:
        everything = reader.rows()
        rows = _wanted(everything, since, until, name)[::-1]
        if output_format == "csv":
            write_csv(_hidden(reader, rows, names))
        elif output_format == "markdown":
            places = places_of(everything)
            for row in rows:
                document, raw = reader.document(row.event_id), reader.raw(row.event_id)
                (shown,) = _hidden(reader, [row], names)
                told = blocks(shown, document, raw, places[row.event_id], names=names, remember=_remember(ctx))
                write(told, "markdown", None, "never")
        elif output_format == "ndjson":
            for row in rows:
                answer(json.dumps(_document(reader, row, names), separators=(",", ":")) + "\n")
        else:
            answer("[")
            for number, row in enumerate(rows):
                text = json.dumps(_document(reader, row, names), separators=(",", ":"))
                answer((",\n" if number else "\n") + text)
            answer("\n]\n")
    return Exit.OK


# -- reading ----------------------------------------------------------------------------------------------------------


def _wanted(rows: Sequence[Row], since: str | None, until: str | None, name: str | None) -> list[Row]:
    from oomsight.cli.when import period

    first, last = (None if end is None else end.timestamp() * 1e6 for end in period(since, until))
    return [
        row for row in rows
        if (first is None or row.wall_us >= first) and (last is None or row.wall_us <= last)
        and (name is None or any(name in (text or "") for text in (row.name, row.place, row.cgroup)))
    ]  # fmt: skip


def _remember(ctx: click.Context) -> Remember | None:
    """What adds the recorder's history to an incident; ``None`` = there is none."""
    import os

    if not os.path.isdir(ctx.meta[HISTORY]):
        return None
    from oomsight.pipeline.remembered import Remembered

    return Remembered(ctx.meta[HISTORY]).add_to


def _document(
    reader: Reader, row: Row, names: Pseudonyms | None, remember: Remember | None = None
) -> dict[str, Any]:
    document = reader.document(row.event_id)
    from oomsight.sinks.stored_incident import hidden, remembered

    if names is not None:
        return hidden(document, reader.raw(row.event_id), names, remember)
    return document if remember is None else remembered(document, reader.raw(row.event_id), remember)


def _hidden(reader: Reader, rows: Sequence[Row], names: Pseudonyms | None) -> list[Row]:
    if names is None:
        return list(rows)
    from oomsight.sinks.stored_incident import hidden_row

    return [hidden_row(row, _document(reader, row, names), names) for row in rows]
