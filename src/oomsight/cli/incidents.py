"""``oomsight incidents``: what the agent has stored."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from oomsight.cli.exits import Exit
from oomsight.cli.options import Command, answer, color_option, format_option, renderer, width_option
from oomsight.cli.stored import one_incident, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from oomsight.live.recurrence import Place
    from oomsight.sinks.blocks import Block
    from oomsight.sinks.store import Reader, Row

EXAMPLES: Final = (
    ("oomsight incidents", "what was killed, newest first"),
    ("oomsight incidents list --since yesterday --group", "the same stories together"),
    ("oomsight incidents show last", "the newest, explained in full"),
    ("oomsight incidents compare oom-abc oom-def", "two of them side by side"),
    ("oomsight incidents export --format csv > kills.csv", "for a spreadsheet"),
)
TOP: Final = 10  #: names in each list of ``stats``


class _Group(click.Group, Command):
    """A group whose help ends like that of a command; alone it lists."""


@click.group("incidents", cls=_Group, examples=EXAMPLES, invoke_without_command=True)
@click.option("--store", metavar="FILE", type=click.Path(dir_okay=False), envvar="OOMSIGHT_STORE",
              help="Incident store.  [default: the agent's]")
@click.pass_context
def command(ctx: click.Context, store: str | None) -> Any:
    """List, show, count, compare and export the OOM kills that `oomsight agent` has stored."""
    from oomsight.sinks.store import default_path

    ctx.obj = store or default_path()
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
@format_option("text", "markdown", "json", "csv")
@_period
@click.option("--group", is_flag=True, help="One row per story (victim, place, cause) instead of per incident.")
@click.option("--last", type=click.IntRange(1), metavar="N", help="Only the newest N.")
@width_option
@color_option
@click.pass_context
def list_command(
    ctx: click.Context, *, output_format: str, since: str | None, until: str | None, name: str | None, group: bool,
    last: int | None, width: int | None, color: str,
) -> int:  # fmt: skip
    """List stored incidents, newest first."""
    with open_store(ctx.obj) as reader:
        everything = reader.rows()
        rows = _wanted(everything, since, until, name)[:last]
    places = _places(everything)
    if output_format == "json":
        answer(json.dumps([_as_dict(row, places) for row in rows], indent=2) + "\n")
    elif output_format == "csv":
        _write_csv(rows)
    elif not rows:
        answer("No stored incident" + (" that you asked for" if everything else "") + ".\n")
    else:
        _write(_story_table(rows) if group else _table(rows, places), output_format, width, color)
    return Exit.OK


@command.command("show", cls=Command)
@click.argument("incident", default="last")
@format_option("text", "markdown", "json")
@click.option("--raw", is_flag=True, help="The stored log lines as they were read.")
@click.option("--evidence", is_flag=True, help="The log lines every statement rests on.")
@width_option
@color_option
@click.pass_context
def show_command(
    ctx: click.Context, *, incident: str, output_format: str, raw: bool, evidence: bool, width: int | None, color: str
) -> int:
    """Show one incident: INCIDENT is its id or the beginning of it, or 'last'."""
    import sys

    with open_store(ctx.obj) as reader:
        row = one_incident(reader, incident)
        if raw:
            sys.stdout.flush()
            sys.stdout.buffer.write(reader.raw(row.event_id))
        elif output_format == "json":
            answer(json.dumps(reader.document(row.event_id), indent=2) + "\n")
        else:
            blocks = _blocks(reader, row, _places(reader.rows()), "evidence" if evidence else "normal")
            _write(blocks, output_format, width, color)
    return Exit.OK


@command.command("stats", cls=Command)
@format_option("text", "markdown", "json")
@_period
@width_option
@color_option
@click.pass_context
def stats_command(
    ctx: click.Context, *, output_format: str, since: str | None, until: str | None, name: str | None,
    width: int | None, color: str,
) -> int:  # fmt: skip
    """Count: kills by victim, place, cause, day; and what was counted but never seen."""
    from oomsight.naming.marked import Kind, mark

    with open_store(ctx.obj) as reader:
        rows = _wanted(reader.rows(), since, until, name)
        notes = list(reader.notes())
    counts = {
        "victims": Counter(mark(r.name) if r.name else "unknown" for r in rows),
        "places": Counter(r.place or (mark(r.cgroup, Kind.CGROUP) if r.cgroup else "unknown") for r in rows),
        "causes": Counter(r.cause or r.kind for r in rows),
        "days": Counter(_moment(r).date().isoformat() for r in rows),
    }  # fmt: skip
    total = {"incidents": len(rows), "kills": sum(r.kills for r in rows), "stories": len({r.fingerprint for r in rows})}
    if output_format == "json":
        from oomsight.naming.marked import unmark

        remarks = [{"time": _iso(us), "code": code, "text": unmark(text)} for us, code, text in notes]
        listed = {k: {unmark(name): count for name, count in v.most_common()} for k, v in counts.items()}
        found = {**total, **listed, "notes": remarks}
        answer(json.dumps(found, indent=2) + "\n")
        return Exit.OK
    _write(_stats_blocks(total, counts, notes), output_format, width, color)
    return Exit.OK


@command.command("compare", cls=Command)
@click.argument("first")
@click.argument("second")
@format_option("text", "markdown", "json")
@width_option
@color_option
@click.pass_context
def compare_command(
    ctx: click.Context, *, first: str, second: str, output_format: str, width: int | None, color: str
) -> int:
    """Put two incidents side by side: what is the same, what has grown."""
    with open_store(ctx.obj) as reader:
        documents = [reader.document(one_incident(reader, text).event_id)["incident"] for text in (first, second)]
    rows = list(_compared(*documents))
    if output_format == "json":
        answer(json.dumps([{"what": w, "first": a, "second": b, "same": a == b} for w, a, b in rows], indent=2) + "\n")
        return Exit.OK
    from oomsight.sinks.blocks import Column, Heading, Table
    from oomsight.sinks.blocks import Row as TableRow

    cells = [
        TableRow((what, _cell(what, a), _cell(what, b)), "plain" if a == b else "warn") for what, a, b in rows
    ]
    columns = (Column(""), Column(documents[0]["id"], flexible=True), Column(documents[1]["id"], flexible=True))
    _write([Heading("Two incidents", 1), Table(columns, tuple(cells))], output_format, width, color)
    return Exit.OK


@command.command("export", cls=Command)
@format_option("ndjson", "json", "csv", "markdown", default="ndjson")
@_period
@click.pass_context
def export_command(
    ctx: click.Context, *, output_format: str, since: str | None, until: str | None, name: str | None
) -> int:
    """Write whole incidents, oldest first, for other programs (markdown: as stories)."""
    with open_store(ctx.obj) as reader:
        everything = reader.rows()
        rows = _wanted(everything, since, until, name)[::-1]
        if output_format == "csv":
            _write_csv(rows)
        elif output_format == "markdown":
            places = _places(everything)
            for row in rows:
                _write(_blocks(reader, row, places, "normal"), "markdown", None, "never")
        elif output_format == "ndjson":
            for row in rows:
                answer(json.dumps(reader.document(row.event_id), separators=(",", ":")) + "\n")
        else:
            answer("[")
            for number, row in enumerate(rows):
                answer((",\n" if number else "\n") + json.dumps(reader.document(row.event_id), separators=(",", ":")))
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


def _moment(row: Row) -> datetime:
    return datetime.fromtimestamp(row.wall_us / 1e6, UTC).astimezone()


def _iso(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).astimezone().isoformat(timespec="seconds")


def _places(rows: Iterable[Row]) -> dict[str, Place]:
    from oomsight.live.recurrence import places

    return places((row.event_id, _moment(row), row.fingerprint) for row in rows)


def _place(row: Row) -> str:
    from oomsight.naming.marked import unmark

    return unmark(row.place) if row.place else row.cgroup or "unknown"


# -- showing ----------------------------------------------------------------------------------------------------------


def _write(blocks: list[Block], output_format: str, width: int | None, color: str) -> None:
    answer(renderer(output_format, width, color)(blocks) + ("\n" if output_format == "markdown" else ""))


def _blocks(reader: Reader, row: Row, places: dict[str, Place], level: Any) -> list[Block]:
    """The story, told anew from the stored lines; without lines (counters, tracepoint) from the document."""
    from oomsight.live.recurrence import sentence
    from oomsight.naming.marked import mark
    from oomsight.sinks.blocks import Bullets, Heading, Item, Paragraph
    from oomsight.sinks.story import story

    again = sentence(places[row.event_id], mark(row.name or row.kind), row.place, datetime.now().astimezone())
    incident = _explained(reader, row)
    if incident is not None:
        incident.recurrence = again
        return story(incident, level=level)
    document = reader.document(row.event_id)["incident"]
    notes = tuple(Item(note["text"]) for note in document["notes"])
    blocks: list[Block] = [Heading(document["headline"], 1), Paragraph(document["summary"])]
    if again:
        blocks.append(Paragraph(again, "warn"))
    return [*blocks, Bullets(notes)] if notes else blocks


def _explained(reader: Reader, row: Row) -> Any:
    from oomsight.diagnose.explain import explain_report
    from oomsight.report import parse_text

    document = reader.document(row.event_id)["incident"]
    found = [explain_report(report) for report in parse_text(reader.raw(row.event_id), document["source"]["name"])]
    for incident in found:
        if incident.id == row.id:
            incident.report.when.time = document["time"]
            if incident.report.task_memcg is None and document["task_memcg"] is not None:
                incident.report.task_memcg = document["task_memcg"]
                return explain_report(incident.report)
            return incident
    return None


def _table(rows: Sequence[Row], places: dict[str, Place]) -> list[Block]:
    from oomsight.live.recurrence import ordinal
    from oomsight.naming.marked import Kind, mark
    from oomsight.sinks.blocks import Column, Heading, Table
    from oomsight.sinks.blocks import Row as TableRow

    columns = (
        Column("when"), Column("killed", flexible=True), Column("pid", right=True, drop=3),
        Column("where", flexible=True), Column("cause", drop=1), Column("again", right=True, drop=2), Column("id"),
    )  # fmt: skip
    lines = []
    for row in rows:
        place = places[row.event_id]
        more = f" and {row.kills - 1} more" if row.kills > 1 else ""
        lines.append(TableRow((
            _moment(row).strftime("%Y-%m-%d %H:%M:%S"), (mark(row.name) if row.name else row.kind) + more,
            str(row.pid or ""), row.place or (mark(row.cgroup, Kind.CGROUP) if row.cgroup else "unknown"),
            row.cause or row.kind, ordinal(place.number) if place.count > 1 else "", row.id,
        )))  # fmt: skip
    count = f"{len(rows):,} incident{'s' if len(rows) != 1 else ''}, newest first"
    return [Heading(count, 1), Table(columns, tuple(lines))]


def _story_table(rows: Sequence[Row]) -> list[Block]:
    from oomsight.naming.marked import mark
    from oomsight.sinks.story import groups

    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.fingerprint, []).append(row)
    order = sorted(found.values(), key=len, reverse=True)
    lines = [
        (len(g), mark(g[0].name) if g[0].name else g[0].kind, g[0].place or "unknown", g[0].cause or g[0].kind,
         _iso(g[-1].wall_us), _iso(g[0].wall_us)) for g in order
    ]  # fmt: skip
    blocks = groups(lines, len(rows), len(lines))
    from oomsight.sinks.blocks import Heading

    return [Heading(f"{len(rows):,} incidents, {len(lines):,} stories", 1), *blocks[1:]]


def _stats_blocks(
    total: dict[str, int], counts: dict[str, Counter[str]], notes: list[tuple[int, str, str]]
) -> list[Block]:
    from oomsight.sinks.blocks import Bullets, Column, Heading, Item, Table
    from oomsight.sinks.blocks import Row as TableRow

    title = f"{total['kills']:,} kills in {total['incidents']:,} incidents, {total['stories']:,} stories"
    blocks: list[Block] = [Heading(title, 1)]
    for what, counted in counts.items():
        listed = sorted(counted.items(), reverse=True)[:TOP] if what == "days" else counted.most_common(TOP)
        if not listed:
            continue
        lines = tuple(TableRow((key, f"{count:,}")) for key, count in listed)
        more = f"{len(counted) - TOP:,} more" if len(counted) > TOP else None
        columns = (Column(what, flexible=True), Column("incidents", right=True))
        blocks += [Heading(what.capitalize()), Table(columns, lines, more)]
    if notes:
        blocks += [Heading("Remarks"), Bullets(tuple(Item(f"{_iso(us)}: {text}") for us, _, text in notes[:TOP]))]
    return blocks


def _compared(a: dict[str, Any], b: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for what, path in _COMPARED:
        yield what, _at(a, path), _at(b, path)


# What is compared: words, and the way to it in the document; of a list its first.
_COMPARED: Final = (
    ("time", "time"), ("killed", "victims.comm"), ("pid", "victims.pid"), ("anonymous memory", "victims.anon_rss_kib"),
    ("file memory", "victims.file_rss_kib"), ("oom_score_adj", "victims.oom_score_adj"),
    ("cgroup of the victim", "task_memcg"), ("cgroup at its limit", "oom_memcg"), ("limit", "memcg.limit_kib"),
    ("trigger", "trigger.comm"), ("cause", "causes.code"), ("culprit", "culprit.name"), ("its memory", "culprit.kib"),
)  # fmt: skip


def _at(document: Any, path: str) -> Any:
    value = document
    for key in path.split("."):
        if isinstance(value, list):
            value = value[0] if value else None
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _cell(what: str, value: Any) -> str:
    from oomsight.naming.marked import Kind, mark
    from oomsight.sinks.blocks import human_kib

    if isinstance(value, str):
        return value if what == "time" else mark(value, Kind.CGROUP)
    return "unknown" if value is None else human_kib(value) if "memory" in what or what == "limit" else str(value)


def _as_dict(row: Row, places: dict[str, Place]) -> dict[str, Any]:
    place = places[row.event_id]
    return {
        "id": row.id, "event_id": row.event_id, "time": row.time or _iso(row.wall_us), "kind": row.kind,
        "cause": row.cause, "name": row.name, "pid": row.pid, "cgroup": row.cgroup, "place": _place(row),
        "kills": row.kills, "stage": row.stage, "headline": row.headline, "number": place.number, "of": place.count,
    }  # fmt: skip


_CSV: Final = ("time", "id", "kind", "cause", "name", "pid", "cgroup", "place", "kills", "headline")


def _write_csv(rows: Iterable[Row]) -> None:
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_CSV)
    for row in rows:
        values = {key: getattr(row, key) for key in _CSV}
        values |= {"time": row.time or _iso(row.wall_us), "place": _place(row)}
        writer.writerow([_safe_cell(values[key]) for key in _CSV])
    answer(out.getvalue())


def _safe_cell(value: Any) -> Any:
    """A spreadsheet runs what begins like a formula; and a name may hold anything."""
    from oomsight.sinks.safe import scrub

    if not isinstance(value, str):
        return value
    text = scrub(value.replace("\n", " "))
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t"} else text
