"""The history in words: figures with units, sparklines, tables, the machine at one moment."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from oomsight.naming.cgroup_path import describe
from oomsight.naming.marked import Kind, mark
from oomsight.record.fields import FIELDS, LEFT, stored_kind
from oomsight.record.model import SHORT_LIVED
from oomsight.sinks.blocks import Block, Column, Heading, KeyValues, Paragraph, Row, Table, human_kib
from oomsight.trend.series import apart
from oomsight.trend.words import span

if TYPE_CHECKING:
    from oomsight.record.model import Entity, Picture
    from oomsight.trend.series import Series

_BARS: Final = "▁▂▃▄▅▆▇█"
_ASCII_BARS: Final = "_.-:=+*#"
MOST_POINTS: Final = 16  #: rows of the table of one series
GAP: Final = " "


def moment_words(unix_seconds: float, now: float | None = None) -> str:
    """A moment in local time; without the date when it is today's (*now* given)."""
    when = datetime.fromtimestamp(unix_seconds, UTC).astimezone()
    if now is not None and datetime.fromtimestamp(now, UTC).astimezone().date() == when.date():
        return when.strftime("%H:%M:%S")
    return when.strftime("%Y-%m-%d %H:%M:%S")


def figure_words(value: float | None, field: str) -> str:
    """A figure with its unit."""
    if value is None:
        return "unknown"
    if math.isinf(value):
        return "unlimited"
    if field.endswith("_bytes"):
        return human_kib(round(value / 1024))
    if field.endswith("_us"):
        return f"{value / 1e6:,.1f} s"
    if field.endswith("_pct"):
        return f"{value:.0f} %"
    return f"{value:,.0f}"


def change_words(first: float | None, last: float | None, field: str) -> str:
    """By how much a figure changed."""
    if first is None or last is None or math.isinf(first) or math.isinf(last):
        return ""
    sign = "+" if last > first else "-" if last < first else ""
    return f"{sign}{figure_words(abs(last - first), field)}" if sign else "0"


def sparkline(
    series: Series, columns: int, since: float, until: float, *, unicode: bool = True, lowest: bool = False
) -> str:
    """
    The highest (or *lowest*) value of each of *columns* equal parts of a period as one line of bars from 0; parts
    without samples are blank, so that a gap is seen as one.
    """
    worse = min if lowest else max
    bars = _BARS if unicode else _ASCII_BARS
    cells: list[float | None] = [None] * columns
    landed: int | None = None  # part of the last sample
    width = (until - since) / columns or 1.0
    # A part that is narrower than the samples are apart is no gap.
    reach = 2.5 * apart(series)
    for moment, value in zip(series.times, series.values, strict=True):
        if math.isinf(value):
            continue
        low = int((moment - since) / width)
        end = max(low, int((moment + min(reach, until - moment) - since) / width))
        for cell in range(max(low, 0), min(end, columns - 1) + 1):
            before = cells[cell]  # of a sample in the same part, or of an earlier one that reached so far
            cells[cell] = worse(before, value) if cell == low == landed and before is not None else value
        landed = low
    top = max((cell for cell in cells if cell is not None), default=0) or 1
    return "".join(GAP if c is None else bars[min(int(c / top * (len(bars) - 1) + 0.5), len(bars) - 1)] for c in cells)


def entity_words(entity: Entity) -> str:
    """What an entity is called, marked."""
    if entity.kind == "process":
        return f"{mark(entity.name)} (pid {entity.pid})"
    if entity.name == SHORT_LIVED:  # our word, whoever calls himself so
        return entity.name
    if entity.kind == "container" and entity.cgroup is not None and (owner := describe(entity.cgroup)) is not None:
        return owner.short
    kinds = {"cgroup": Kind.CGROUP, "unit": Kind.OWNER, "container": Kind.OWNER, "host": Kind.HOST}
    return mark(entity.name, kinds.get(entity.kind, Kind.COMM))


def table_of(entities: Sequence[Entity], lines: Sequence[str], field: str, *, growth: bool = False) -> list[Block]:
    """Many entities at a glance: first, highest, last, and how it went. *growth*: the change matters, not the peak."""
    columns = (
        Column("who", flexible=True), Column("first", right=True, drop=3 - growth),
        Column("peak", right=True, drop=3 * growth), Column("last", right=True),
        Column("change", right=True, drop=0 if growth else 2), Column("over time", drop=1),
    )  # fmt: skip
    plain = [entity_words(entity) for entity in entities]
    again = {words for words, times in Counter(plain).items() if times > 1}  # a pid came back under the same name
    words = [f"{mark(entity.name)} ({entity.pid}, {moment_words(entity.started, entity.last)})"
             if called in again and entity.started else called
             for entity, called in zip(entities, plain, strict=True)]  # fmt: skip
    rows = tuple(
        Row((who, figure_words(e.first_main, field), figure_words(e.peak_main, field),
             figure_words(e.last_main, field), change_words(e.first_main, e.last_main, field), line))
        for e, who, line in zip(entities, words, lines, strict=True)
    )  # fmt: skip
    return [Table(columns, rows)]


def unknown_words(kind: str, field: str) -> str:
    """That a figure is not on record, and where it would come from: this kernel or cgroup version may not have it."""
    sources = [one.source for one in FIELDS[stored_kind(kind)] if one.name == field]
    return f"Not known in this period{''.join(f'; it comes from {source}' for source in sources)}."


def series_blocks(
    entity: Entity, field: str, meaning: str, series: Series, line: str, *, now: float
) -> list[Block]:
    """One figure of one entity: how it went, and a table of it."""
    title = f"{entity_words(entity)}: {field}"
    blocks: list[Block] = [Heading(title)]
    if not len(series):
        return [*blocks, Paragraph(unknown_words(entity.kind, field), "dim")]
    values, times = series.values, series.times
    low, high = min(values), max(values)
    facts = [
        ("meaning", meaning),
        ("first", f"{figure_words(values[0], field)} at {moment_words(times[0], now)}"),
        ("highest", f"{figure_words(high, field)} at {moment_words(times[list(values).index(high)], now)}"),
        ("lowest", f"{figure_words(low, field)} at {moment_words(times[list(values).index(low)], now)}"),
        ("last", f"{figure_words(values[-1], field)} at {moment_words(times[-1], now)}"),
        ("change", change_words(values[0], values[-1], field)),
    ]  # fmt: skip
    if entity.started is not None:
        facts.insert(0, ("begun", moment_words(entity.started, now)))
    if entity.cmdline and entity.kind == "process":
        facts.insert(0, ("command", mark(entity.cmdline)))
    if entity.cgroup and entity.kind != "cgroup":
        facts.insert(bool(entity.cmdline), ("cgroup", mark(entity.cgroup, Kind.CGROUP)))
    if series.restarts:
        facts.append(("begun anew", ", ".join(moment_words(moment, now) for moment in series.restarts[-4:])))
    if words := gaps_words(series, now):
        facts.append(("gaps", words))
    return [*blocks, KeyValues(tuple(facts)), Paragraph(line)]


def figures_table(rows: Sequence[tuple[str, str, Series, str]], of: str = "figure") -> Table:
    """
    Several series at a glance, each (what it is called, field, series with samples, line of bars). Worst is the highest
    of what fills memory, and the lowest of what is left.
    """
    columns = (
        Column(of, flexible=True), Column("first", right=True, drop=3), Column("worst", right=True),
        Column("last", right=True), Column("change", right=True, drop=2), Column("over time", drop=1),
    )  # fmt: skip
    return Table(columns, tuple(
        Row((name, figure_words(s.values[0], field), figure_words((min if field in LEFT else max)(s.values), field),
             figure_words(s.values[-1], field), change_words(s.values[0], s.values[-1], field), line))
        for name, field, s, line in rows
    ))  # fmt: skip


def gaps_words(series: Series, now: float) -> str:
    """The last gaps of *series*; empty = it has none."""
    holes = gaps(series)
    words = ", ".join(f"{moment_words(a, now)} to {moment_words(b, now)}" for a, b in holes[-3:])
    return words + (f" and {len(holes) - 3} more" if len(holes) > 3 else "")


def gaps(series: Series) -> list[tuple[float, float]]:
    """Stretches in which nothing was recorded: far longer than the samples around them are apart."""
    times = series.times
    usual = max(apart(series), 5.0)
    return [(a, b) for a, b in pairwise(times) if b - a > 4 * usual]


_HOST_LINES: Final = (
    ("memory", "mem_total_bytes"), ("available", "mem_available_bytes"), ("free", "mem_free_bytes"),
    ("anonymous", "anon_bytes"), ("page cache", "file_bytes"), ("shared", "shmem_bytes"),
    ("slab, reclaimable", "slab_reclaimable_bytes"), ("slab, unreclaimable", "slab_unreclaimable_bytes"),
    ("page tables", "page_tables_bytes"), ("swap", "swap_total_bytes"), ("swap free", "swap_free_bytes"),
    ("tasks stalled", "psi_some_pct"), ("processes", "processes"),
)  # fmt: skip


def picture_blocks(picture: Picture, top: int) -> list[Block]:
    """The machine as it was."""
    blocks: list[Block] = [Heading(f"The machine at {moment_words(picture.time)}", 1)]
    late = picture.asked - picture.time
    if late > 2 * picture.step_seconds + 5:
        blocks.append(Paragraph(f"The nearest sample is {span(late)} before the moment asked for.", "warn"))
    blocks.append(KeyValues(tuple(
        (words, figure_words(picture.host[name], name)) for words, name in _HOST_LINES if name in picture.host
    )))  # fmt: skip
    blocks += _ranked("Processes", picture.processes, "need_bytes", top, (
        ("need", "need_bytes"), ("anon", "rss_anon_bytes"), ("file", "rss_file_bytes"), ("shmem", "rss_shmem_bytes"),
        ("swap", "swap_bytes"), ("adj", "oom_score_adj")))  # fmt: skip
    there = [row for row in picture.names if row[1].get("processes") != 0]
    blocks += _ranked("Names", there, "need_bytes", min(top, 6), (
        ("need", "need_bytes"), ("anon", "rss_anon_bytes"), ("processes", "processes")))  # fmt: skip
    blocks += _ranked("Cgroups", picture.cgroups, "working_set_bytes", top, (
        ("working set", "working_set_bytes"), ("usage", "usage_bytes"), ("limit", "limit_bytes"),
        ("kills", "events_oom_kill")))  # fmt: skip
    return [*blocks, *unseen_blocks(picture.unseen)]


def unseen_blocks(unseen: Sequence[str]) -> list[Block]:
    """What the recorder could not see, as a remark."""
    return [Paragraph(f"Not recorded: {'; '.join(unseen)}.", "dim")] if unseen else []


def _ranked(
    title: str, rows: Sequence[tuple[Entity, Mapping[str, float]]], order: str, top: int,
    cells: Sequence[tuple[str, str]],
) -> list[Block]:  # fmt: skip
    if not rows:
        return []
    shown = sorted(rows, key=lambda row: -row[1].get(order, 0))[:top]
    columns = (Column("who", flexible=True), *(Column(words, True, drop) for drop, (words, _) in enumerate(cells)))
    lines = tuple(
        Row((entity_words(entity), *(figure_words(values[name], name) if name in values else "" for _, name in cells)))
        for entity, values in shown
    )
    more = f"{len(rows) - len(shown):,} more" if len(rows) > len(shown) else None
    return [Heading(title), Table(columns, lines, more)]
