"""``oomsight history --around``: the minutes before a stored kill."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight.cli.exits import Exit
from oomsight.cli.history_question import GROWN_BYTES, Question
from oomsight.cli.history_show import draw
from oomsight.cli.stored import one_incident, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from oomsight.cli.history_show import Show
    from oomsight.record.model import Entity
    from oomsight.sinks.blocks import Block
    from oomsight.sources.history import History
    from oomsight.trend.series import Series

BEFORE_SECONDS: Final = 600.0  #: how much of the time before a kill is told
ENDED_SECONDS: Final = 60.0  #: who was last seen so long before the kill held nothing then
SPARED_SECONDS: Final = 60.0  #: from which on a time in which nobody named was there is left out
LOOKED_AT: Final = 40  #: the biggest, whose growth is looked at
POINTS: Final = 600
FIELD: Final = {"process": "rss_anon_bytes", "cgroup": "working_set_bytes"}


class _Kill(NamedTuple):
    """What was killed, and where."""

    id: str
    at: float  #: unix seconds
    headline: str
    limited: str | None  #: the cgroup whose limit was reached; ``None`` = the host was out of memory
    pids: frozenset[int | None]  #: of those that were killed


def show_around(  # noqa: PLR0917
    history: History, wanted: str, incidents: str | None, top: int, show: Show, plot: str | None
) -> int:
    """Who grew in the minutes before a stored kill, where its limit was, and the machine just before."""
    kill = _kill(wanted, incidents)
    since = kill.at - BEFORE_SECONDS
    if not show.for_people:
        _for_programs(history, kill, top, show)
        return Exit.OK
    from oomsight.naming.marked import unmark
    from oomsight.sinks.blocks import Heading, Paragraph
    from oomsight.sinks.history_words import moment_words, picture_blocks
    from oomsight.sources.history import HistoryError

    drawn: list[tuple[Entity, str, Series]] = []
    blocks: list[Block] = [Heading(f"Before {kill.id}, {moment_words(kill.at)}", 1), Paragraph(kill.headline)]
    found = {kind: _grown(history, kind, kill)[:top] for kind in ("process", "cgroup")}
    begin = _begin([series for grown in found.values() for _, _, series in grown], kill)
    for kind, grown in found.items():
        drawn += [(entity, FIELD[kind], series) for _, entity, series in grown]
        blocks += _table(kind, grown, kill, begin, show)
    if not drawn:
        where = _where(kill)
        words = f"Nobody on record{where} grew by 1 MiB or more in the {BEFORE_SECONDS / 60:.0f} minutes before."
        blocks.append(Paragraph(words, "dim"))
    try:
        blocks += picture_blocks(history.at(kill.at), top)
    except HistoryError as error:
        blocks.append(Paragraph(str(error), "warn"))
    show.blocks(blocks)
    if plot is not None:
        limited = next((entity for entity, _, _ in drawn if entity.name == kill.limited), None)
        limits = history.series(limited, "limit_bytes", since, kill.at, POINTS).values if limited is not None else ()
        limit = limits[-1] if limits else None
        title = f"{unmark(kill.headline).partition(':')[0]} ({kill.id})"
        edge = min(5.0, (kill.at - begin) / 20)
        draw(plot, title, (begin - edge, kill.at + edge), drawn, marks=[(kill.at, "killed")], limit=limit)
    return Exit.OK


def _kill(wanted: str, incidents: str | None) -> _Kill:
    with open_store(incidents, "--incidents") as reader:
        row = one_incident(reader, wanted)
        document = reader.document(row.event_id)
    told = document.get("incident") or {}
    limited = told.get("oom_memcg") or (row.cgroup if row.kind == "memcg" else None)
    pids = frozenset(victim.get("pid") for victim in told.get("victims") or ()) | {row.pid}
    return _Kill(row.id, row.wall_us / 1e6, row.headline, None if limited == "/" else limited, pids)


def _grown(history: History, kind: str, kill: _Kill) -> list[tuple[float, Entity, Series]]:
    """
    (by how much, who, how) of those who held more in the end, those that were killed and the cgroup whose limit was
    reached first, then by growth. What is outside of that cgroup had no part in it.
    """
    since = kill.at - BEFORE_SECONDS
    found: list[tuple[bool, float, int, Entity, Series]] = []
    for entity in _candidates(history, kind, since, kill):
        series = history.series(entity, FIELD[kind], since, kill.at, POINTS)
        named = entity.pid in kill.pids if kind == "process" else entity.name == kill.limited
        if len(series) < 2 or (not named and (entity.last or 0) < kill.at - ENDED_SECONDS):
            continue
        by = series.values[-1] - series.values[0]
        if named or by >= GROWN_BYTES:
            found.append((not named, -by, len(found), entity, series))
    return [(-by, entity, series) for _, by, _, entity, series in sorted(found, key=lambda one: one[:3])]


def _candidates(history: History, kind: str, since: float, kill: _Kill) -> Iterator[Entity]:
    from oomsight.foresight.victim import inside
    from oomsight.record.layout import needle_of

    if kill.limited is None:
        yield from (e for e in history.entities(kind, since, kill.at, LOOKED_AT) if e.name != "/")
        return
    like, within = needle_of(kill.limited), 0
    for entity in history.entities(kind, since, kill.at, like=like):
        if inside(entity.cgroup, kill.limited) and (within := within + 1) <= LOOKED_AT:
            yield entity


def _begin(curves: Sequence[Series], kill: _Kill) -> float:
    """Where tables and pictures begin: of who lived for seconds, ten minutes would show next to nothing."""
    since = kill.at - BEFORE_SECONDS
    first = min((one.times[0] for one in curves), default=since)
    return since if first - since < SPARED_SECONDS else first


def _where(kill: _Kill) -> str:
    from oomsight.naming.cgroup_path import short_words

    return "" if kill.limited is None else f" in {short_words(kill.limited)}"


def _table(
    kind: str, grown: Sequence[tuple[float, Entity, Series]], kill: _Kill, begin: float, show: Show
) -> Iterator[Block]:
    from oomsight.sinks.blocks import Heading
    from oomsight.sinks.history_words import sparkline, table_of
    from oomsight.trend.words import span

    if not grown:
        return
    exact = [replace(entity, first_main=s.values[0], peak_main=max(s.values), last_main=s.values[-1])
             for _, entity, s in grown]  # fmt: skip
    lines = [sparkline(s, 20, begin, kill.at, unicode=show.surface.unicode) for _, _, s in grown]
    title = "processes" if kind == "process" else "cgroups"
    yield Heading(f"Which {title}{_where(kill)} grew in the {span(kill.at - begin)} before")
    yield from table_of(exact, lines, FIELD[kind], growth=True)


def _for_programs(history: History, kill: _Kill, top: int, show: Show) -> None:
    since = kill.at - BEFORE_SECONDS
    question = Question(history, since, kill.at, None)
    everything = question.host()
    named = [entity for kind in ("process", "cgroup") for _, entity, _ in _grown(history, kind, kill)[:top]]
    for kind in ("name", "cgroup"):
        everything += history.entities(kind, since, kill.at, top)
    known = {entity.key for entity in everything}
    everything += [entity for entity in named if entity.key not in known]
    show.series(since, kill.at, question.series(everything, ()))
