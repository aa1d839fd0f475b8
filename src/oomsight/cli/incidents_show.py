"""How stored incidents look: lists, stories, counts, two side by side, rows for a spreadsheet."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from oomsight.cli.options import answer, renderer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from oomsight.live.recurrence import Place
    from oomsight.naming.redact import Pseudonyms
    from oomsight.sinks.blocks import Block
    from oomsight.sinks.store import Row
    from oomsight.sinks.stored_incident import Remember

TOP: Final = 10  #: names in each list of ``stats``


def moment_of(row: Row) -> datetime:
    """Return when *row* happened, in local time."""
    return datetime.fromtimestamp(row.wall_us / 1e6, UTC).astimezone()


def iso(us: int) -> str:
    """Return microseconds since 1970 as ISO 8601, in local time."""
    return datetime.fromtimestamp(us / 1e6, UTC).astimezone().isoformat(timespec="seconds")


def places_of(rows: Iterable[Row]) -> dict[str, Place]:
    """Return where each of *rows* stands among its like, by event id."""
    from oomsight.live.recurrence import places

    return places((row.event_id, moment_of(row), row.fingerprint) for row in rows)


def place_of(row: Row) -> str:
    """Return the place of *row* as a plain name."""
    from oomsight.naming.marked import unmark

    return unmark(row.place) if row.place else row.cgroup or "unknown"


def write(blocks: list[Block], output_format: str, width: int | None, color: str) -> None:
    """Print *blocks* in this format."""
    answer(renderer(output_format, width, color)(blocks) + ("\n" if output_format == "markdown" else ""))


def blocks(
    row: Row, document: Mapping[str, Any], raw: bytes, place: Place, *, evidence: bool = False,
    names: Pseudonyms | None = None, remember: Remember | None = None,
) -> list[Block]:  # fmt: skip
    """The story, told anew from the stored lines and what *remember* adds; without lines from the document."""
    from oomsight.live.recurrence import sentence
    from oomsight.naming.marked import mark
    from oomsight.sinks.attribution import facts_of
    from oomsight.sinks.blocks import Bullets, Heading, Item, KeyValues, Paragraph
    from oomsight.sinks.stored_incident import explained, hidden
    from oomsight.sinks.story import story

    incident = explained(document, raw, remember)
    shown = hidden(document, raw, names) if names is not None else document
    if incident is not None and names is not None:
        from oomsight.diagnose.redact import redact

        incident = redact(incident, names)
    again = sentence(place, mark(row.name or row.kind), row.place, datetime.now().astimezone())
    told: list[Block]
    if incident is not None:
        incident.recurrence = again
        told = story(incident, level="evidence" if evidence else "normal")
    else:
        stored = shown["incident"]
        notes = tuple(Item(note["text"]) for note in stored["notes"])
        told = [Heading(stored["headline"], 1), Paragraph(stored["summary"])]
        told += [Paragraph(again, "warn")] if again else []
        told += [Bullets(notes)] if notes else []
    whose = tuple(facts_of(shown["enrichment"]))
    return [*told, KeyValues(whose)] if whose else told


LIST_AROUND: Final = 8  #: lines of a terminal that the head of the list, its end and the prompts take


def table(rows: Sequence[Row], places: dict[str, Place], most: int | None = None) -> list[Block]:
    """The list, one line for each incident; *most*: the newest only, and how to see the others."""
    from oomsight.live.recurrence import ordinal
    from oomsight.naming.marked import Kind, mark
    from oomsight.sinks.blocks import Column, Heading, Table
    from oomsight.sinks.blocks import Row as TableRow

    columns = (
        Column("when"), Column("killed", flexible=True), Column("pid", right=True, drop=3),
        Column("where", flexible=True), Column("cause", flexible=True), Column("again", right=True, drop=2),
        Column("id"),
    )  # fmt: skip
    lines = []
    for row in rows[:most]:
        place = places[row.event_id]
        more = f" and {row.kills - 1} more" if row.kills > 1 else ""
        lines.append(TableRow((
            moment_of(row).strftime("%Y-%m-%d %H:%M"), (mark(row.name) if row.name else row.kind) + more,
            str(row.pid or ""), row.place or (mark(row.cgroup, Kind.CGROUP) if row.cgroup else "unknown"),
            row.cause or row.kind, ordinal(place.number) if place.count > 1 else "", row.id,
        )))  # fmt: skip
    count = f"{len(rows):,} incident{'s' if len(rows) != 1 else ''}, newest first"
    left = len(rows) - len(lines)
    others = f"{left:,} older: oomsight incidents --last {len(rows)}, or --group" if left else None
    return [Heading(count, 1), Table(columns, tuple(lines), others)]


def story_table(rows: Sequence[Row]) -> list[Block]:
    """The list, one line for each story (victim, place, cause)."""
    from oomsight.naming.marked import mark
    from oomsight.sinks.story import groups

    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.fingerprint, []).append(row)
    order = sorted(found.values(), key=len, reverse=True)
    lines = [
        (len(g), mark(g[0].name) if g[0].name else g[0].kind, g[0].place or "unknown", g[0].cause or g[0].kind,
         iso(g[-1].wall_us), iso(g[0].wall_us)) for g in order
    ]  # fmt: skip
    blocks = groups(lines, len(rows), len(lines))
    from oomsight.sinks.blocks import Heading

    return [Heading(f"{len(rows):,} incidents, {len(lines):,} stories", 1), *blocks[1:]]


def stats_blocks(
    total: dict[str, int], counts: dict[str, Counter[str]], notes: list[tuple[int, str, str]]
) -> list[Block]:
    """The counts: *counts* by what is counted, *notes* as (microseconds, code, marked text)."""
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
        blocks += [Heading("Remarks"), Bullets(tuple(Item(f"{iso(us)}: {text}") for us, _, text in notes[:TOP]))]
    return blocks


def compared(a: dict[str, Any], b: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield (what, in the event *a*, in the event *b*)."""
    for what, path in _COMPARED:
        yield what, _at(a, path), _at(b, path)


# What is compared: words, and the way to it in the event; of a list its first.
_COMPARED: Final = (
    ("time", "incident.time"), ("killed", "incident.victims.comm"), ("pid", "incident.victims.pid"),
    ("anonymous memory", "incident.victims.anon_rss_kib"), ("file memory", "incident.victims.file_rss_kib"),
    ("oom_score_adj", "incident.victims.oom_score_adj"), ("ran in", "enrichment.attribution.name"),
    ("image", "enrichment.attribution.image"), ("cgroup of the victim", "incident.task_memcg"),
    ("cgroup at its limit", "incident.oom_memcg"), ("limit", "incident.memcg.limit_kib"),
    ("trigger", "incident.trigger.comm"), ("cause", "incident.causes.code"), ("culprit", "incident.culprit.name"),
    ("its memory", "incident.culprit.kib"),
)  # fmt: skip


def _at(document: Any, path: str) -> Any:
    value = document
    for key in path.split("."):
        if isinstance(value, list):
            value = value[0] if value else None
        value = value.get(key) if isinstance(value, dict) else None
    return value


def cell(what: str, value: Any) -> str:
    """Return *value* of the row *what*, marked, for a table."""
    from oomsight.naming.marked import Kind, mark
    from oomsight.sinks.blocks import human_kib

    if isinstance(value, str):
        return value[:19].replace("T", " ") if what == "time" else mark(value, Kind.CGROUP)
    return "unknown" if value is None else human_kib(value) if "memory" in what or what == "limit" else str(value)


def as_dict(row: Row, places: dict[str, Place]) -> dict[str, Any]:
    """Return *row* as plain values."""
    place = places[row.event_id]
    return {
        "id": row.id, "event_id": row.event_id, "time": row.time or iso(row.wall_us), "kind": row.kind,
        "cause": row.cause, "name": row.name, "pid": row.pid, "cgroup": row.cgroup, "place": place_of(row),
        "kills": row.kills, "stage": row.stage, "headline": row.headline, "number": place.number, "of": place.count,
    }  # fmt: skip


_CSV: Final = ("time", "id", "kind", "cause", "name", "pid", "cgroup", "place", "kills", "headline")


def write_csv(rows: Iterable[Row]) -> None:
    """Print *rows* for a spreadsheet: no cell of it is a formula."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_CSV)
    for row in rows:
        values = {key: getattr(row, key) for key in _CSV}
        values |= {"time": row.time or iso(row.wall_us), "place": place_of(row)}
        writer.writerow([_safe_cell(values[key]) for key in _CSV])
    answer(out.getvalue())


def _safe_cell(value: Any) -> Any:
    """A spreadsheet runs what begins like a formula; and a name may hold anything."""
    from oomsight.sinks.safe import scrub

    if not isinstance(value, str):
        return value
    text = scrub(value.replace("\n", " "))
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t"} else text
