"""``oomsight leaks``: what grows without an end in sight, and what only looks so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight.cli import declare
from oomsight.cli.exits import Exit
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
    from oomsight.cli.foresee import Place
    from oomsight.foresight.model import Leak
    from oomsight.sinks.curve_svg import Curve

KINDS: Final = ("cgroup", "name", "process")
EXAMPLES: Final = (
    ("oomsight leaks", "cgroups and programs on record that leak"),
    ("oomsight leaks --all", "and what all others are: warm-up, cache, sawtooth, daily, …"),
    ("oomsight leaks --by process --since -2d", "single processes, by the last two days"),
    ("oomsight leaks --plot leaks.svg", "with the evidence as a picture"),
    ("oomsight leaks usage.csv --limit 2GiB", "a curve from elsewhere: columns time and value (bytes)"),
    ("oomsight leaks --format json | jq '.leaks[].subject.name'", "for programs"),
)


@declare.command("leaks", examples=EXAMPLES)
@declare.argument("files", nargs=-1, metavar="[FILE]...")
@declare.option("--by", "kinds", type=declare.Choice(KINDS), multiple=True,
                help="Only curves of this kind; may be repeated.  [default: cgroup and name]")
@declare.option("--all", "everything", is_flag=True, help="Show the verdict on every curve.")
@period_options
@format_option("text", "json", "markdown")
@width_option
@color_option
@exit_code_option
def command(
    *, files: tuple[str, ...], kinds: tuple[str, ...], everything: bool, since: str, until: str, limit_text: str | None,
    store: str | None, plot: str | None, output_format: str, width: int | None, color: str, exit_code: bool,
) -> int:  # fmt: skip
    """
    Find memory leaks in what `oomsight record` has recorded, or in FILEs (CSV, or JSON of `oomsight history`).

    Each finding has its rate, since when, by whom, how sure it is, what it rests on, and whether more memory would
    help. Told apart from leaks: warm-up, caches that level off, collected heaps, what follows the day, jobs, jumps
    and restarts. What grows as a leak does, but not for long enough to be sure, is listed as suspected. With
    --exit-code: status 3 if something leaks.
    """
    place = place_of(files, store, since, until, limit_text)
    from oomsight.foresight.leaks import suspected, told

    whole = everything or output_format == "json"
    every, curves = _judged(place, kinds, limit_text, everything=whole, drawn=plot is not None)
    tell_lacks(place)
    leaks, suspects = told(every), suspected(every)
    if output_format == "json":
        import json

        from oomsight.sinks.foresight_document import leaks_dict

        answer(json.dumps(leaks_dict(place.name, place.since, place.until, leaks, every), indent=2) + "\n")
    else:
        from oomsight.sinks.foresight_words import leaks_blocks

        surface = stdout_surface(width, color)
        blocks = leaks_blocks(leaks, suspects, every, place.until, surface.width, curves=curves,
                              everything=everything, unicode=surface.unicode)  # fmt: skip
        answer(renderer(output_format, width, color)(blocks))
    if plot is not None:
        draw(plot, [_curve(leak) for leak in [*leaks, *suspects] or (every[:6] if everything else [])])
    return Exit.FOUND if exit_code and leaks else Exit.OK


def _judged(
    place: Place, kinds: tuple[str, ...], limit_text: str | None, *, everything: bool, drawn: bool
) -> tuple[list[Leak], int]:
    """The verdicts, without *everything* those that are told, and on how many curves."""
    if place.history is None:
        from oomsight.foresight.leaks import judged

        found = [judged(one, place.until) for one in place.subjects
                 if one.kind != "host" and (not kinds or one.kind in kinds)]  # fmt: skip
        return found, len(found)
    from oomsight.pipeline.leaks import leaks_on_record

    asked = place.since, place.until, limit_of(limit_text)
    kinds = kinds or ("cgroup", "name")
    return leaks_on_record(place.history, kinds, *asked, everything=everything, curves_too=drawn)


def _curve(leak: Leak) -> Curve:
    from oomsight._sizes import rate_words
    from oomsight.sinks.curve_svg import Curve
    from oomsight.trend.words import share

    finding, subject = leak.finding, leak.subject
    grows = f", {rate_words(finding.growth.bytes_per_second)}" if finding.growth is not None else ""
    evidence = finding.evidence[0].partition(" (")[0]  # a line of a picture has no room for what is in brackets
    sure = f", {share(finding.confidence)} sure" if finding.verdict.value != "unknown" else ""
    words = f"{finding.verdict.value.replace('_', '-')}{grows}{sure}: {evidence}"
    return Curve(plain_name(subject), words, subject.need, subject.limit_bytes, finding, leak.left)
