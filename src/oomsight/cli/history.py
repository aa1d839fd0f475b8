"""``oomsight history``: what the recorder has seen."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from oomsight.cli import declare
from oomsight.cli.exits import UPDATE, CommandError, Exit
from oomsight.cli.history_question import GROWN_BYTES, RANKED_MOST, Question
from oomsight.cli.history_show import (
    Show,
    blocks_of_fields,
    blocks_of_figures,
    blocks_of_host,
    blocks_of_series,
    draw,
    plain_name,
)
from oomsight.cli.options import answer, color_option, format_option, remark, width_option
from oomsight.cli.picture import plot_option
from oomsight.cli.when import in_order

if TYPE_CHECKING:

    from oomsight.record.model import Entity
    from oomsight.sinks.blocks import Block
    from oomsight.sources.history import History
    from oomsight.trend.series import Series

EXAMPLES: Final = (
    ("oomsight history", "the host in the last hour, and who grew"),
    ("oomsight history postgres --since -6h", "one process, name, unit, container or cgroup"),
    ("oomsight history --by cgroup --since yesterday", "the biggest cgroups, with how they went"),
    ("oomsight history --at '14:02'", "the machine as it was then"),
    ("oomsight history --around last", "the minutes before the newest stored kill"),
    ("oomsight history nginx --plot nginx.svg", "a picture"),
    ("oomsight history --by name --format csv > names.csv", "for a spreadsheet"),
)
SINCE: Final = "-1h"
KINDS: Final = ("host", "process", "name", "unit", "container", "cgroup")
SEEN_POINTS: Final = 1000  #: more is not seen in a line, a table or a picture
LISTED_POINTS: Final = 200  #: … and these in a row of a list


@declare.command("history", examples=EXAMPLES)
@declare.argument("who", required=False)
@declare.option("--by", "kind", type=declare.Choice(KINDS),
                help="List the biggest of a kind; with WHO: look only there.")
@declare.option("--field", "fields", multiple=True, metavar="NAME",
                help="Which figure (--list-fields); may be repeated. A list is by the first, of the 100 biggest.")
@declare.option("--list-fields", is_flag=True, help="Every figure of every kind, with its meaning and source.")
@declare.option("--since", metavar="WHEN", default=SINCE, show_default=True, help="From then on: a date, 14:30, -2d.")
@declare.option("--until", metavar="WHEN", default="now", show_default=True, help="Up to then.")
@declare.option("--at", "moment", metavar="WHEN", help="The whole machine as it was at that moment.")
@declare.option("--around", metavar="INCIDENT", help="The minutes before a stored kill: its id, or 'last'.")
@declare.option("--top", type=declare.IntRange(1), default=10, show_default=True, metavar="N", help="Rows of a list.")
@declare.option("--points", type=declare.IntRange(2, 1_000_000), metavar="N",
                help="At most N samples of each figure, peaks kept.  [default: all; for people 1,000]")
@plot_option
@declare.option("--store", metavar="DIR", type=declare.Path(), envvar="OOMSIGHT_HISTORY",
                help="The recorder's directory.  [default: this host's]")
@declare.option("--incidents", metavar="FILE", type=declare.Path(dir_okay=False), envvar="OOMSIGHT_STORE",
                help="Incident store for --around.  [default: the agent's]")
@format_option("text", "markdown", "json", "csv", "parquet")
@width_option
@color_option
def command(
    *, who: str | None, kind: str | None, fields: tuple[str, ...], list_fields: bool, since: str, until: str,
    moment: str | None, around: str | None, top: int, points: int | None, plot: str | None, store: str | None,
    incidents: str | None, output_format: str, width: int | None, color: str,
) -> int:  # fmt: skip
    """
    Show what `oomsight record` has recorded: by process, name, unit, container, cgroup or for the host.

    WHO is a pid, a name, a unit, a container or (part of) a cgroup path. Without it the host and who grew most.
    """
    show = Show(output_format, width, color)
    if list_fields:
        show.blocks(blocks_of_fields())
        return Exit.OK
    history = open_history(store)
    now = datetime.now().astimezone()
    if moment is not None:
        return _at(history, _when("--at", moment, now).timestamp(), top, show)
    first, last = _when("--since", since, now), _when("--until", until, now)
    if since == SINCE and first >= last:
        first = last - (now - first)  # as long as ever, before the moment that was asked for
    in_order(first, last, now)
    low, high = first.timestamp(), last.timestamp()
    if around is not None:
        from oomsight.cli.history_around import show_around

        return show_around(history, around, incidents, top, show, plot)
    from oomsight.record.fields import stored_kind

    high = max(min(high, now.timestamp()), low + 1)  # nothing is on record of what is to come
    question = Question(history, low, high, points or (SEEN_POINTS if show.for_people or plot else None))
    if who is None and kind not in {None, "host"}:
        assert kind is not None
        return _list(question, kind, fields, top, show, plot)
    entities = question.find(who, kind, fields) if who is not None else question.host()
    if show.format == "csv" and plot is None:  # of many series each is written before the next is read
        show.each(question.each_series(entities[:top], fields))
        tell_damage(history)
        return Exit.OK
    found, damaged = show.read(lambda: (question.series(entities[:top], fields), history.damaged))
    if plot is not None:
        limited = question.series(entities[:1], ["limit_bytes"]) if stored_kind(entities[0].kind) == "cgroup" else []
        title = who or plain_name(entities[0])
        alone = len(entities) == 1
        marks = question.kills(entities[0]) if alone else []
        draw(plot, title, question.seen(), [*found, *(limited if alone else [])], marks=marks)
    if not show.for_people:
        show.series(low, high, found)
    else:
        low = max([low, *[series.times[0] for _, _, series in found if len(series)][:1]])  # what there is fills a line
        if who is None:
            from oomsight.sinks.history_words import unseen_blocks

            unseen = unseen_blocks(entities[0].unseen)
            host = blocks_of_host(history, found, low, high, show)
            show.blocks([*host, *_growth_blocks(question, low, top, show), *unseen])
        else:
            show.blocks(blocks_of_series(found, show.surface.width, low, high, unicode=show.surface.unicode))
    tell_damage(history, damaged)
    return Exit.OK


def open_history(store: str | None) -> History:
    """The history in *store* (default: this host's), or the error that says how to begin one."""
    from oomsight.sources.history import History, HistoryDenied, HistoryError, HistoryNewer

    try:
        return History(store)
    except HistoryDenied as error:
        raise CommandError(str(error), Exit.INPUT, "this user may not read it; sudo would") from None
    except HistoryNewer as error:
        raise CommandError(str(error), Exit.INPUT, UPDATE) from None
    except HistoryError as error:
        raise CommandError(str(error), Exit.INPUT, "start `oomsight record`, or give --store") from None


def tell_damage(history: History, elsewhere: int = 0) -> None:
    """Say what was left out as it is damaged. *elsewhere*: parts that another process found."""
    if damaged := max(elsewhere, history.damaged):
        remark(f"{history.path}: {damaged} damaged part(s) left out")


def _when(option: str, text: str, now: datetime) -> datetime:
    from oomsight.cli.when import moment

    found = moment(option, text, now)
    assert found is not None
    return found


def _at(history: History, moment: float, top: int, show: Show) -> int:
    from oomsight.sources.history import HistoryError

    try:
        picture = history.at(moment)
    except HistoryError as error:
        raise CommandError(str(error), Exit.INPUT) from None
    if show.format == "json":
        from oomsight.sinks.history_rows import picture_document

        answer(picture_document(picture))
    elif show.format in {"csv", "parquet"}:
        from oomsight.sinks.history_rows import picture_groups

        show.rows(picture_groups(picture))
    else:
        from oomsight.sinks.history_words import picture_blocks

        show.blocks(picture_blocks(picture, top))
    return Exit.OK


def _list(  # noqa: PLR0917
    question: Question, kind: str, fields: tuple[str, ...], top: int, show: Show, plot: str | None
) -> int:
    from oomsight.record.fields import MAIN, stored_kind
    from oomsight.sinks.blocks import Heading, Paragraph
    from oomsight.sinks.history_words import table_of

    main = MAIN[stored_kind(kind)]
    field = fields[0] if fields else main
    entities = question.biggest(kind, field, top + 1)
    if len(entities) > top:
        del entities[top:]
        if not show.for_people:  # people see that the list has as many rows as --top says
            remark(f"only the {top:,} biggest by {field}; --top N gives more")
    drawn: dict[str, Series] = {}
    if plot is not None and entities:
        found = question.series(entities, fields)
        draw(plot, f"{'processes' if kind == 'process' else f'{kind}s'} by {field}", question.seen(), found)
        drawn = {entity.key: series for entity, name, series in found if name == main}
    if show.format == "csv":
        show.each(question.each_series(entities, fields))
        return Exit.OK
    if show.format == "parquet" or (show.format == "json" and fields):
        show.series(question.since, question.until, show.read(lambda: question.series(entities, fields)))
        return Exit.OK
    if show.format == "json":
        from oomsight.sinks.history_rows import entities_document

        answer(entities_document(question.since, question.until, field, entities))
        return Exit.OK
    title = f"{'Processes' if kind == 'process' else kind.capitalize() + 's'} by {field}, biggest first"
    if not entities:
        show.blocks([Heading(title, 1), Paragraph(f"No {kind} was recorded in this period.", "dim")])
        return Exit.OK
    span = question.history.span()
    since = max(question.since, span[0] if span else 0)
    if fields and fields != (main,):
        tables = blocks_of_figures(question.series(entities, fields, LISTED_POINTS), since, question.until, show)
        show.blocks([Heading(title, 1), *tables])
        return Exit.OK
    lines = [_line(question, e, since, show, drawn.get(e.key)) for e in entities]
    show.blocks([Heading(title, 1), *table_of(entities, lines, field)])
    return Exit.OK


def _growth_blocks(question: Question, since: float, top: int, show: Show) -> list[Block]:
    from oomsight.sinks.blocks import Heading
    from oomsight.sinks.history_words import table_of

    # To its peak, not to its last figure: what was killed for its growth holds nothing at the end.
    names = question.history.entities("name", question.since, question.until, RANKED_MOST, by_growth=True)
    names = question.within(names)
    growth = {e.key: (e.peak_main or 0) - (e.first_main or 0) for e in names}
    grown = sorted((e for e in names if growth[e.key] >= GROWN_BYTES), key=lambda e: -growth[e.key])[: min(top, 5)]
    if not grown:
        return []
    lines = [_line(question, e, since, show) for e in grown]
    return [Heading("Who grew most, by name"), *table_of(grown, lines, "rss_anon_bytes")]


def _line(question: Question, entity: Entity, since: float, show: Show, known: Series | None = None) -> str:
    """How the main figure of *entity* (*known*, if it has been asked for) went, in 20 bars."""
    from oomsight.record.fields import MAIN, stored_kind
    from oomsight.sinks.history_words import sparkline

    field = MAIN[stored_kind(entity.kind)]
    series = known or question.history.series(entity, field, since, question.until, LISTED_POINTS)
    return sparkline(series, 20, since, question.until, unicode=show.surface.unicode)
