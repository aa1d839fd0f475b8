"""``oomsight status``: the state of this machine's memory on one screen."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight.cli import declare
from oomsight.cli.exits import Exit, UsageError
from oomsight.cli.options import (
    answer,
    color_option,
    exit_code_option,
    format_option,
    renderer,
    root_option,
    width_option,
)
from oomsight.cli.speak import can_be_drawn_over, terminal_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oomsight.status.model import Alert, Earlier, Last, Look, Status

ROWS: Final = 5
APART_SECONDS: Final = 0.2  #: between the two looks growth comes from
WATCH_SECONDS: Final = 2.0
COMPARED_SECONDS: Final = 30.0  #: with --watch growth is over so long, as soon as there is so much

EXAMPLES: Final = (
    ("oomsight status", "what is left, who holds it, who grows, which limit is near, who would die"),
    ("oomsight status --watch", "the same every two seconds; growth over the last 30 seconds"),
    ("oomsight status --apart 10", "compare over ten seconds: slow growth shows"),
    ("oomsight status --format json | jq -r .verdict", "for programs"),
)


class Place(NamedTuple):
    """Where things are."""

    root: str
    proc: str
    sys: str
    cgroup_root: str | None
    store: str | None
    history: str | None  #: the recorder's directory; ``None`` = this host's


@declare.command("status", examples=EXAMPLES)
@format_option("text", "json", "markdown")
@declare.option("-n", "--limit", type=declare.IntRange(1), default=ROWS, show_default=True, metavar="N",
                help="Rows of each table; JSON has all processes.")
@declare.option("--apart", type=declare.FloatRange(0, 600), metavar="SECONDS",
                help="Time between the two looks that growth comes from; 0 = one look, no growth.  [default: what was "
                   f"recorded a minute ago, else {APART_SECONDS:g}]")
@declare.option("--watch", is_flag=False, flag_value=WATCH_SECONDS, type=declare.FloatRange(0.1), metavar="SECONDS",
                help=f"Refresh until q or Ctrl-C.  [default: every {WATCH_SECONDS:g} s]")
@declare.option("--count", type=declare.IntRange(1), metavar="N", help="With --watch: stop after N times.")
@declare.option("--store", metavar="FILE", type=declare.Path(dir_okay=False), envvar="OOMSIGHT_STORE",
                help="Incident store of the agent.  [default: that of `oomsight agent`]")
@declare.option("--history", metavar="DIR", type=declare.Path(), envvar="OOMSIGHT_HISTORY",
                help="The recorder's directory, for growth and forecast.  [default: this host's]")
@declare.option("--proc", type=declare.Path(file_okay=False), metavar="DIR", help="Where /proc is.")
@declare.option("--sys", "sys_", type=declare.Path(file_okay=False), metavar="DIR", help="Where /sys is.")
@declare.option("--cgroup-root", type=declare.Path(file_okay=False), metavar="DIR",
                help="Where the memory cgroups are mounted.  [default: as /proc says]")
@root_option
@width_option
@color_option
@exit_code_option
def command(  # noqa: PLR0917 - one parameter per option
    output_format: str, limit: int, apart: float | None, watch: float | None, count: int | None, store: str | None,
    history: str | None, proc: str | None, sys_: str | None, cgroup_root: str | None, root: str, width: int | None,
    color: str, exit_code: bool,
) -> int:  # fmt: skip
    """
    Show the state of this machine's memory: what is really available, who holds it, who grows, which limits are near,
    who would be killed, what is alerted, and which settings will hurt.

    Growth is that since a minute ago where `oomsight record` or the agent records; else it comes from two looks 0.2
    seconds apart, and --apart and --watch compare over longer. Works without
    root and says what it does not see. With --exit-code: status 3 if there is an alert.
    """
    if count is not None and watch is None:
        raise UsageError("--count goes with --watch")
    here = os.path.realpath(root) == "/" and proc is None
    place = Place(root, proc or os.path.join(root, "proc"), sys_ or os.path.join(root, "sys"), cgroup_root,
                  store or (_default_store() if here else None), history)  # fmt: skip
    looks = _Looks(place, apart, watch)
    screen = output_format == "text" and sys.stdout.isatty()
    if screen and watch is not None and can_be_drawn_over():
        from oomsight.cli.screen import watched

        answer(watched(lambda rows: _fitting(looks.next(), limit, width, color, rows), watch, count))
    elif screen and watch is None:
        answer(_fitting(looks.next(), limit, width, color, terminal_rows() - 1))  # a line is the prompt's
    else:
        for turn in _turns(watch, count):
            text = _rendered(looks.next(), output_format, limit, width, color, compact=watch is not None)
            answer("\n" + text if turn and output_format == "text" else text)
            sys.stdout.flush()
    return Exit.FOUND if exit_code and looks.last is not None and looks.last.alerts else Exit.OK


class _Looks:
    """
    The state now, as often as somebody asks. *apart* ``None``: growth since what was recorded a minute ago, and without
    a record over a fraction of a second.
    """

    def __init__(self, place: Place, apart: float | None, watch: float | None) -> None:
        from oomsight.sources.status_look import Looker

        mine = place.proc == "/proc"
        self._place, self._watch = place, watch or 0.0
        self._looker = Looker(place.proc, place.sys, cgroup_root=place.cgroup_root, root=place.root,
                              me=os.getpid() if mine else None, helper=True)  # fmt: skip
        self._before: deque[Earlier] = deque()
        self.last: Status | None = None
        if apart is None:
            recorded = _recorded(place)
            apart = 0.0 if recorded is not None else APART_SECONDS
            self._before.extend([recorded] if recorded is not None else [])
        if apart:
            self._before.append(self._looker.glance())
        _import_sinks()  # what takes time to import is imported while time must go by
        if apart:
            time.sleep(min(max(self._before[0].at + apart - time.time(), 0.0), apart))

    def next(self) -> Status:
        """Look again."""
        from oomsight.status.build import earlier

        look, before = self._looker.look(), self._before
        self.last = _status(self._place, look, before[0] if before else None)
        before.append(earlier(look))
        while len(before) > 1 and before[1].seconds_to(look) >= COMPARED_SECONDS - self._watch:
            before.popleft()
        return self.last


def _turns(watch: float | None, count: int | None) -> Iterable[int]:
    if watch is None:
        return (0,)
    from oomsight.cli.screen import turns

    return turns(watch, count)


def _recorded(place: Place) -> Earlier | None:
    """What the recorder saw of this machine a minute ago."""
    from oomsight._state import history_beside

    path = place.history or (history_beside(place.store) if place.store is not None else None)
    if path is None or not os.path.isdir(path):
        return None
    from oomsight.sources.procread import read_if_there
    from oomsight.sources.status_history import earlier_on_record
    from oomsight.sources.vmstat import read_boot_id

    boot = read_boot_id(place.proc) or ""
    uptime = (read_if_there(f"{place.proc}/uptime") or "").split()
    ticks = int(float(uptime[0]) * os.sysconf("SC_CLK_TCK")) if uptime else None
    return earlier_on_record(path, boot, time.time(), ticks)


def _import_sinks() -> None:
    pass


def _status(place: Place, look: Look, before: Earlier | None) -> Status:
    from oomsight.status.build import build

    last, missing = _last(place)
    alerts = _alerts(place)
    if place.store is None:
        return build(look, before, alerts=alerts, last=last, last_missing=missing)
    from oomsight.pipeline.outlook import outlook

    ahead = outlook(place.history, look.at)
    return build(
        look, before, alerts=alerts, last=last, last_missing=missing, forecasts=ahead.forecasts,
        forecast_missing=ahead.missing, grown=ahead.grown, grown_seconds=ahead.seconds,
    )  # fmt: skip


def _default_store() -> str:
    from oomsight._state import default_path

    return default_path()


def _alerts(place: Place) -> list[Alert] | None:
    if place.store is None:
        return None
    from oomsight.sinks.alarm_file import load_alerts, path_beside

    return load_alerts(path_beside(place.store), time.time())


def _last(place: Place) -> tuple[Last | None, str | None]:
    """The newest stored incident, or why there is none."""
    if place.store is None:
        return None, None
    if not os.path.exists(place.store):
        return None, "no agent stores them; `oomsight explain` reads the log"
    from oomsight.sinks.store import Reader, StoreError
    from oomsight.status.model import Last

    try:
        reader = Reader(place.store)
    except StoreError:
        return None, "the agent's store cannot be read by this user; sudo would"
    try:
        rows = reader.latest(1)
    finally:
        reader.close()
    if not rows:
        return None, "none stored"
    row = rows[0]
    return Last(row.id, row.wall_us / 1e6, row.headline, row.kills), None


def _rendered(
    status: Status, output_format: str, limit: int, width: int | None, color: str, *, compact: bool
) -> str:
    if output_format == "json":
        import json

        from oomsight.sinks.status_document import status_dict

        return json.dumps(status_dict(status), indent=None if compact else 2) + "\n"
    from oomsight.sinks.status_blocks import status_blocks

    return renderer(output_format, width, color)(status_blocks(status, limit))


def _fitting(status: Status, limit: int, width: int | None, color: str, rows: int) -> str:
    """The text for a screen of *rows*: with less of what matters less, as far as it does not fit."""
    from oomsight.sinks.status_blocks import MOST_BRIEF, status_blocks

    render = renderer("text", width, color)
    for brief in range(MOST_BRIEF + 1):
        text = render(status_blocks(status, limit, brief))
        if text.count("\n") <= rows:
            break
    return text
