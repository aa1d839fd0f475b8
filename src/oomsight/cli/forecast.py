"""``oomsight forecast``: what will be full, when, by whose doing, and what would buy time."""

from __future__ import annotations

import os
from math import inf
from typing import TYPE_CHECKING, Final

from oomsight._record import replaced
from oomsight.cli import declare
from oomsight.cli.exits import CommandError, Exit
from oomsight.cli.foresee import draw, limit_of, period_options, place_of, plain_name, tell_lacks
from oomsight.cli.options import (
    answer,
    color_option,
    exit_code_option,
    format_option,
    renderer,
    stdout_surface,
    width_option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.cli.foresee import Place
    from oomsight.foresight.model import Outlook, Subject
    from oomsight.sinks.curve_svg import Curve

PAGE: Final = os.sysconf("SC_PAGE_SIZE")
MOST_DRAWN: Final = 6  #: curves of which nothing is forecast
EXAMPLES: Final = (
    ("oomsight forecast", "the host and every limited cgroup: when it is full, who does it, what would help"),
    ("oomsight forecast nginx", "only what has this in its path"),
    ("oomsight forecast --backtest", "how good such forecasts have been on this record"),
    ("oomsight forecast --until '14:00'", "what it would have said then"),
    ("oomsight forecast --file usage.csv --limit 2GiB", "a curve from elsewhere: columns time and value (bytes)"),
    ("oomsight forecast --format json | jq .outlooks[0].time_left.at", "for programs"),
)


@declare.command("forecast", examples=EXAMPLES)
@declare.argument("who", required=False)
@declare.option("--file", "files", type=str, multiple=True, metavar="FILE",
                help="Curves in a file (CSV, or JSON of `oomsight history`; - = standard input) instead of the record.")
@declare.option("--backtest", "test", is_flag=True, help="How good forecasts would have been on this record.")
@period_options
@format_option("text", "json", "markdown")
@width_option
@color_option
@exit_code_option
def command(
    *, who: str | None, files: tuple[str, ...], test: bool, since: str, until: str, limit_text: str | None,
    store: str | None, plot: str | None, output_format: str, width: int | None, color: str, exit_code: bool,
) -> int:  # fmt: skip
    """
    Say when the host and each limited cgroup will be full, with an 80 % interval, from what `oomsight record` has
    recorded: who causes it, who would be killed, and how much time more swap, a higher limit or a restart would buy.

    WHO is the host, or part of a cgroup path. With --exit-code: status 3 if something is filling up.
    """
    place = place_of(files, store, since, until, limit_text)
    subjects = _subjects(place, who, limit_of(limit_text), gone_too=test)
    tell_lacks(place)
    tests = None
    if test:
        from oomsight.trend.backtest import backtest

        tests = [(subject, backtest(subject.need, subject.limit_bytes)) for subject in subjects]
    outlooks = [] if test and output_format != "json" else _outlooks(place, subjects)
    filling = sorted((one for one in outlooks if one.left is not None), key=_seconds)
    quiet = [one for one in outlooks if one.left is None]
    if output_format == "json":
        import json

        from oomsight.sinks.foresight_document import forecast_dict

        document = forecast_dict(place.name, place.since, place.until, [*filling, *quiet], tests)
        answer(json.dumps(document, indent=2) + "\n")
    else:
        from oomsight.sinks.foresight_words import backtest_blocks, forecast_blocks

        surface = stdout_surface(width, color)
        blocks = (
            backtest_blocks(tests)
            if tests is not None
            else forecast_blocks(filling, quiet, place.until, surface.width, unicode=surface.unicode)
        )
        answer(renderer(output_format, width, color)(blocks))
    if plot is not None:
        draw(plot, [_curve(one) for one in filling or _fullest(quiet)])
    return Exit.FOUND if exit_code and filling else Exit.OK


def _fullest(quiet: Sequence[Outlook]) -> list[Outlook]:
    """Those of whom there is something to draw, the fullest first: of many cgroups most are empty."""
    held = [one for one in quiet if len(one.subject.need) and max(one.subject.need.values) > 0]
    return sorted(held, key=lambda one: -one.subject.need.values[-1] / (one.subject.limit_bytes or inf))[:MOST_DRAWN]


def _seconds(one: Outlook) -> float:
    return one.left.seconds if one.left is not None else float("inf")


def _subjects(place: Place, who: str | None, limit: float | None, *, gone_too: bool) -> list[Subject]:
    """Whom the question is about; what was gone in the end has nothing to come, only *gone_too* a past."""
    gone: list[Subject] = []
    if place.history is None:
        found = [one for one in place.subjects if one.limit_bytes is not None]
        if place.subjects and not found:
            raise CommandError(f"{place.name}: no limit is known", Exit.USAGE, "--limit 512MiB")
    else:
        from oomsight.pipeline.foresight import (
            COARSE_POINTS,
            MOST_POINTS,
            cgroups,
            ended,
            grown,
            host,
            limited,
            swap_free,
        )
        from oomsight.pipeline.shares import aside

        asked = place.history, place.since, place.until
        points = MOST_POINTS if gone_too else COARSE_POINTS
        if who == "host" and (machine := host(*asked, points)) is not None:  # then nobody else need be looked at
            return [machine]
        its_curve = aside(lambda: host(*asked, points)) if not who else None
        part = "" if who in {None, "cgroup"} else str(who)
        if limit is None:
            others = list(limited(*asked, part=part, gone_too=gone_too or who is not None))
        else:
            every = grown(place.history, "cgroup", place.since, place.until, part)
            others = [replaced(one, limit_bytes=one.limit_bytes or limit)
                      for one in cgroups(place.history, every, place.since, place.until)]  # fmt: skip
        machine = its_curve() if its_curve is not None else None
        swap = machine.swap_free_bytes if machine is not None else swap_free(*asked)
        found = [machine] if machine is not None else []
        found += [replaced(one, swap_free_bytes=swap) for one in others]
        gone = [] if gone_too else [one for one in found if ended(one, place.until)]
        found = [one for one in found if gone_too or not ended(one, place.until)]
    if who is None:
        return found
    wanted = [one for one in found if _is(one, who)]
    if not wanted and (was := [one for one in gone if _is(one, who)]):
        from oomsight.sinks.history_words import moment_words

        last = moment_words(max(one.need.times[-1] for one in was))
        raise CommandError(f"'{who}' is gone, last seen {last}", Exit.INPUT, f"oomsight forecast --until '{last}'")
    if not wanted:
        from oomsight.cli.near import hint_of

        known = [] if place.history is None else place.history.described("cgroup", place.since, place.until)
        names = [name for one in known for name in (one.name, one.cgroup) if name]
        raise CommandError(f"nothing with a limit on record is called '{who}'", Exit.INPUT,
                           hint_of(who, names, "oomsight forecast shows all, --limit SIZE gives one"))  # fmt: skip
    return wanted


def _is(one: Subject, who: str) -> bool:
    return who in {one.kind, one.name} or (one.cgroup is not None and who in one.cgroup)


def _outlooks(place: Place, subjects: Sequence[Subject]) -> list[Outlook]:
    if place.history is not None:
        from oomsight.pipeline.foresight import outlooks

        return outlooks(place.history, subjects, place.until, PAGE)
    from oomsight.foresight.outlook import outlook
    from oomsight.trend.windows import soonest

    return [outlook(one, place.until, soonest(one.need, one.limit_bytes, place.until), (), (), PAGE)
            for one in subjects]  # fmt: skip


def _curve(one: Outlook) -> Curve:
    from oomsight.naming.marked import unmark
    from oomsight.sinks.curve_svg import Curve
    from oomsight.sinks.foresight_words import interval_words, source_words

    words = "no forecast" if one.left is None else f"full {interval_words(one.left)}"
    if one.causes:
        words += f", by {unmark(source_words(one.causes[0]))}"
    return Curve(plain_name(one.subject), words, one.subject.need, one.subject.limit_bytes, one.finding, one.left)
