"""What ``leaks`` and ``forecast`` share: where curves come from, the period, the picture."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from oomsight._named import NamedTuple
from oomsight._record import replaced
from oomsight.cli import declare
from oomsight.cli.exits import CommandError, Exit, UsageError
from oomsight.cli.options import remark
from oomsight.cli.picture import plot_option, write_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oomsight.foresight.model import Subject
    from oomsight.sinks.curve_svg import Curve
    from oomsight.sources.history import History

DAYS: Final = 14  #: of the record that are looked at
SINCE: Final = f"-{DAYS}d"


class Place(NamedTuple):
    """Where curves come from."""

    history: History | None
    subjects: Sequence[Subject]  #: of files
    name: str
    since: float
    until: float


def period_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--since``, ``--until``, ``--limit``, ``--store``, ``--plot``."""
    for option in (
        plot_option,
        declare.option("--store", metavar="DIR", type=declare.Path(), envvar="OOMSIGHT_HISTORY",
                       help="The recorder's directory.  [default: this host's]"),
        declare.option("--limit", "limit_text", metavar="SIZE", help="Limit of what brings none, such as 512MiB."),
        declare.option("--until", metavar="WHEN", default="now", show_default=True,
                       help="Judge at that moment, with nothing of what came later."),
        declare.option("--since", metavar="WHEN", default=SINCE, show_default=True,
                       help="Look at the time from then on."),
    ):  # fmt: skip
        function = option(function)
    return function


def place_of(files: Sequence[str], store: str | None, since: str, until: str, limit_text: str | None) -> Place:
    """
    The curves of *files*, or else the recorder's, in the period asked for. A record that ends earlier is judged at
    its end: so an exported one needs no --until.
    """
    from oomsight.cli.when import in_order, moment

    now = datetime.now().astimezone()
    low, high = moment("--since", since, now), moment("--until", until, now)
    assert low is not None
    assert high is not None
    if since != SINCE:
        in_order(low, high, now)
    limit = limit_of(limit_text)
    if files:
        subjects = [one for path in files for one in _read(path, limit)]
        end = max(one.need.times[-1] for one in subjects) if until == "now" else high.timestamp()
        begin = min(one.need.times[0] for one in subjects) if since == SINCE else low.timestamp()
        cut = [replaced(one, need=one.need.between(begin, end)) for one in subjects]
        return Place(None, [one for one in cut if len(one.need)], ", ".join(files), begin, end)
    from oomsight.cli.history import open_history

    history = open_history(store)
    span = history.span()
    if span is None:
        raise CommandError(f"{history.path}: nothing is recorded yet", Exit.INPUT, "wait a minute, or give --store")
    end = min(high.timestamp(), span[1])
    begin = max(end - DAYS * 86400 if since == SINCE else low.timestamp(), span[0])
    if begin >= end and span[0] == span[1]:
        words = f"{history.path}: only one sample is recorded yet"
        raise CommandError(words, Exit.INPUT, "wait a minute while `oomsight record` runs")
    if begin >= end:
        raise CommandError(f"{history.path}: nothing was recorded in this period", Exit.INPUT, "oomsight history")
    if until == "now" and time.time() - span[1] > 300:
        from oomsight.sinks.history_words import moment_words

        remark(f"the record ends {moment_words(span[1])}: judged at that moment")
    return Place(history, (), str(history.path), begin, end)


def tell_lacks(place: Place) -> None:
    """Say what the record lacks: damaged parts, and what its recorder could not see."""
    if place.history is None:
        return
    from oomsight.cli.history import tell_damage

    tell_damage(place.history)
    host = place.history.host(place.since, place.until)
    if host is not None and host.unseen:
        remark(f"not recorded: {'; '.join(host.unseen)}")


def limit_of(text: str | None) -> float | None:
    """Bytes of ``--limit``; ``None`` = not given."""
    if text is None:
        return None
    from oomsight.simulate.units import parse_size

    value = parse_size(text)
    if not value:
        raise UsageError(f"--limit: '{text}' is no size such as 512MiB")
    return float(value)


def _read(path: str, limit: float | None) -> list[Subject]:
    from oomsight.sources.series_file import read_subjects

    if path == "-":
        import sys

        return read_subjects("<stdin>", limit, sys.stdin.buffer.read())
    return read_subjects(path, limit)


def draw(path: str, curves: Sequence[Curve]) -> None:
    """Write the picture of *curves* to *path*, if there are any."""
    if not curves:
        remark(f"{path}: nothing to draw")
        return
    from oomsight.sinks.curve_svg import curves_svg

    write_picture(path, curves_svg(curves))


def plain_name(subject: Subject) -> str:
    """What a subject is called, without marks."""
    from oomsight.naming.marked import unmark
    from oomsight.sinks.foresight_words import subject_words

    return unmark(subject_words(subject))
