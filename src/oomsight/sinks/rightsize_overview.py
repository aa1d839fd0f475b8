"""``rightsize`` of many subjects for people: a line of each. Loaded without what one in full takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from oomsight._sizes import size_words
from oomsight.naming.marked import Kind, mark
from oomsight.rightsize.words import limit_words
from oomsight.sinks.blocks import Block, Column, Heading, Paragraph, Row, Table
from oomsight.sinks.words import sentence

if TYPE_CHECKING:
    from oomsight.proc.memcg import Limit
    from oomsight.rightsize.overview import Line


def overview_blocks(lines: Sequence[Line], source: str, asked: int | None = None) -> Iterator[Block]:
    """Yield a line per subject; *source* and *asked* as for :func:`~oomsight.sinks.rightsize.rightsize_blocks`."""
    yield Heading("What each should be allowed", 1)
    yield _overview(lines, asked)
    for line in lines:
        if line.headline is not None:
            yield Paragraph(sentence(line.headline))
    yield Paragraph(f"Source: {source}. One in full: oomsight rightsize NAME.", "dim")


def _overview(lines: Sequence[Line], asked: int | None) -> Table:
    columns = (
        Column("name", flexible=True), Column("p95", right=True, drop=2), Column("highest", right=True, drop=1),
        Column("limit now", right=True), Column("limit", right=True), Column("kills", right=True, drop=3),
        Column("verdict"),
    )  # fmt: skip
    rows = []
    for line in lines:
        if line.subject.kind == "host":
            continue  # a limit of swap is another column; its own answer says it
        limit, kills = line.limit, line.kill_count
        change = "leaks" if line.leaks else _unknown(line) if limit is None else _change(line.now, limit.bytes)
        rows.append(Row((
            mark(line.subject.full_name, Kind.OWNER), _size(line.percentile_bytes), _size(line.peak_bytes),
            limit_words(line.now), "–" if limit is None else limit.value, f"{kills or ''}", change,
        ), "bad" if line.leaks or kills else "plain"))  # fmt: skip
    more = asked - len(lines) if asked is not None else 0
    return Table(columns, tuple(rows), f"{more:,} more (-n 0 shows all)" if more > 0 else None)


def _unknown(line: Line) -> str:
    return f"adj {line.adj.value}" if line.adj is not None else "unknown"


def _change(now: Limit, limit: int | None) -> str:
    if limit is None or not isinstance(now, int):
        return "set one"
    return "fits" if abs(limit - now) <= 0.05 * now else "raise" if limit > now else "lower"


def _size(value: int | None) -> str:
    return "" if value is None else size_words(value)
