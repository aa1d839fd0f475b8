"""How ``oomsight history`` shows its answers: blocks for people, rows and bytes for programs, pictures."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from oomsight._extras import how_to_get
from oomsight.cli.exits import CommandError, Exit, UsageError
from oomsight.cli.picture import write_picture
from oomsight.cli.speak import answer, renderer, stdout_surface

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from oomsight.record.model import Entity
    from oomsight.sinks.blocks import Block
    from oomsight.sinks.history_rows import Group
    from oomsight.sources.history import History
    from oomsight.trend.series import Series

    Found = Sequence[tuple[Entity, str, Series]]

T = TypeVar("T")


class Show:
    """Answers in the format asked for."""

    def __init__(self, output_format: str, width: int | None, color: str) -> None:
        self.format = output_format
        self.surface = stdout_surface(width, color)
        self._render = renderer(output_format, width, color)

    @property
    def for_people(self) -> bool:
        """Whether blocks are wanted."""
        return self.format in {"text", "markdown"}

    def blocks(self, blocks: list[Block]) -> None:
        """Blocks for people."""
        if blocks:
            text = self._render(blocks)
            answer(text if text.endswith("\n") else text + "\n")

    def read(self, work: Callable[[], T]) -> T:
        """
        What *work* reads of a history. For Parquet another process reads while this one loads the library, which takes
        as long.
        """
        if self.format != "parquet":
            return work()
        from oomsight.pipeline.shares import aside
        from oomsight.sinks.history_parquet import load

        _not_to_a_terminal()
        found = aside(work)
        with _library():
            load()
        return found()

    def series(self, since: float, until: float, found: Found) -> None:
        """Series for programs."""
        from oomsight.sinks.history_rows import series_document

        if self.format == "json":
            answer(series_document(since, until, found))
        else:
            self.each(found)

    def each(self, found: Iterable[tuple[Entity, str, Series]]) -> None:
        """Series as rows for programs, one after the other."""
        from oomsight.sinks.history_rows import series_groups

        self.rows(series_groups(found))

    def rows(self, groups: Iterator[Group]) -> None:
        """Rows for programs: CSV, or Parquet as bytes."""
        if self.format == "csv":
            from oomsight.sinks.history_rows import csv_pieces

            for piece in csv_pieces(groups):
                answer(piece)
            return
        from oomsight.sinks.history_parquet import parquet_bytes

        _not_to_a_terminal()
        with _library():
            data = parquet_bytes(groups)
        sys.stdout.flush()
        sys.stdout.buffer.write(data)


def _not_to_a_terminal() -> None:
    if sys.stdout.isatty():
        raise UsageError("--format parquet is not for a terminal: send it to a file")


@contextmanager
def _library() -> Iterator[None]:
    """The error that says how to get what Parquet needs."""
    from oomsight.sinks.history_parquet import MissingParquetError

    try:
        yield
    except MissingParquetError as error:
        hint = f"{how_to_get('parquet')}, or --format csv"
        raise CommandError(str(error), Exit.UNSUPPORTED, hint) from None


def plain_name(entity: Entity) -> str:
    """What a picture calls an entity."""
    from oomsight.naming.marked import unmark
    from oomsight.sinks.history_words import entity_words

    return unmark(entity_words(entity))


def draw(
    path: str, title: str, span: tuple[float, float], found: Found, *, marks: Sequence[tuple[float, str]] = (),
    limit: float | None = None,
) -> None:  # fmt: skip
    """
    Write a picture of *found* to *path*: a panel for each figure; of the host one for all sizes. *limit*: of a cgroup;
    what is found of one alone brings its own.
    """
    from oomsight.sinks.plot_history import HOST_SIZES, Panel, Picture, history_svg

    panels: dict[str, list[tuple[str, Series]]] = {}
    for entity, field, series in found:
        host = entity.kind == "host"
        panel = HOST_SIZES if host and field.endswith("_bytes") else field
        panels.setdefault(panel, []).append((field if host else plain_name(entity), series))
    limits = {field: series.values[-1] for _, field, series in found if field == "limit_bytes" and len(series)}
    one = len({entity.key for entity, _, _ in found}) == 1
    limit = limits.get("limit_bytes") if one else limit
    picture = Picture(title, *span, [
        Panel(field, lines, limit if field in {"usage_bytes", "working_set_bytes"} else None)
        for field, lines in panels.items() if field != "limit_bytes"
    ], marks)  # fmt: skip
    write_picture(path, history_svg(picture))


def blocks_of_series(
    found: Sequence[tuple[Entity, str, Series]], columns: int, low: float, high: float, *, unicode: bool
) -> list[Block]:
    """Every series with its meaning, its figures and a line of bars."""
    from oomsight.record.fields import DERIVED, FIELDS, LEFT, stored_kind
    from oomsight.sinks.history_words import series_blocks, sparkline

    blocks: list[Block] = []
    for entity, field, series in found:
        kind = stored_kind(entity.kind)
        meanings = {row.name: row.meaning for row in FIELDS[kind]}
        derived = " + ".join(DERIVED.get(kind, {}).get(field, ()))
        line = sparkline(series, min(columns - 2, 100), low, high, unicode=unicode, lowest=field in LEFT)
        blocks += series_blocks(entity, field, meanings.get(field, derived), series, line, now=time.time())
    return blocks


def blocks_of_figures(found: Found, low: float, high: float, show: Show) -> list[Block]:
    """Every figure of several entities: a table for each."""
    from oomsight.sinks.blocks import Heading, Paragraph
    from oomsight.sinks.history_words import entity_words, figures_table, unknown_words

    tables: dict[str, list[tuple[str, str, Series, str]]] = {}
    kind = found[0][0].kind if found else ""
    for entity, field, series in found:
        rows = tables.setdefault(field, [])
        if len(series):
            line = _line(field, series, low, high, show)
            rows.append((entity_words(entity), field, series, line))
    blocks: list[Block] = []
    for field, rows in tables.items():
        blocks += [Heading(field)] if len(tables) > 1 else []
        blocks += [figures_table(rows, "who") if rows else Paragraph(unknown_words(kind, field), "dim")]
    return blocks


def blocks_of_host(history: History, found: Found, low: float, high: float, show: Show) -> list[Block]:
    """The figures of the host, one row each."""
    from oomsight.naming.marked import Kind, mark
    from oomsight.sinks.blocks import Heading, Paragraph
    from oomsight.sinks.history_words import figures_table, gaps_words, moment_words
    from oomsight.sources.history_silent import LATE_SECONDS, silent_seconds, why_silent

    rows = [(field, field, series, _line(field, series, low, high, show))
            for _, field, series in found if len(series)]  # fmt: skip
    if not rows:
        return [Paragraph("Nothing was recorded in this period.", "dim")]
    now, first, last = time.time(), rows[0][2].times[0], rows[0][2].times[-1]
    title = f"{mark(found[0][0].name, Kind.HOST)}, {moment_words(first, now)} to {moment_words(last, now)}"
    blocks: list[Block] = [Heading(title, 1), figures_table(rows)]
    if words := gaps_words(rows[0][2], now):
        blocks.append(Paragraph(f"Nothing was recorded from {words}.", "warn"))
    if high > now - LATE_SECONDS and (ago := silent_seconds(history, now)) is not None:
        words = f"Nothing has been recorded since {moment_words(now - ago, now)}"
        blocks.append(Paragraph(f"{words}: {why_silent(history.path)}.", "warn"))
    return blocks


def _line(field: str, series: Series, low: float, high: float, show: Show) -> str:
    """How a figure went, in 20 bars: each the highest of its time, of what is left of memory the lowest."""
    from oomsight.record.fields import LEFT
    from oomsight.sinks.history_words import sparkline

    return sparkline(series, 20, low, high, unicode=show.surface.unicode, lowest=field in LEFT)


def blocks_of_fields() -> list[Block]:
    """Every figure of every kind."""
    from oomsight.record.fields import DERIVED, FIELDS
    from oomsight.sinks.blocks import Column, Heading, Row, Table

    columns = (Column("field"), Column("meaning", flexible=True), Column("from", flexible=True, drop=1))
    blocks: list[Block] = []
    for kind, fields in FIELDS.items():
        rows = [Row((row.name, row.meaning, row.source)) for row in fields]
        rows += [Row((name, " + ".join(parts), "")) for name, parts in DERIVED.get(kind, {}).items()]
        blocks += [Heading(kind), Table(columns, tuple(rows))]
    return blocks
