"""What the recorder's history adds to `status`: who grew in the last minutes, and what will be full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from oomsight._state import default_history
from oomsight.alarms.event import span
from oomsight.pipeline import foresight
from oomsight.sources.history import History, HistoryDenied, HistoryError, HistoryNewer
from oomsight.sources.history_silent import silent_seconds, why_silent
from oomsight.status.growth import Grower
from oomsight.status.model import Forecast

if TYPE_CHECKING:
    from oomsight.foresight.model import Source

LOOK_BACK_SECONDS: Final = 6 * 3600.0  #: of the record: enough for what is full within a day, and quick
GREW_SECONDS: Final = 900.0
STALE_SECONDS: Final = 600.0  #: a record that ended before says nothing about now
KEEP_SECONDS: Final = 30.0  #: an answer is good for so long, for `status --watch`
MOST: Final = 3
CGROUPS: Final = 12  #: those that grew most
BUDGET_SECONDS: Final = 0.5  #: `status` is one screen at once; `forecast` looks at everything


class Ahead(NamedTuple):
    """What the history says."""

    forecasts: Sequence[Forecast] = ()
    missing: str | None = None  #: why there is no forecast, in words
    grown: Sequence[Grower] = ()
    seconds: float | None = None  #: the time over which they grew


_kept: dict[str, tuple[float, Ahead]] = {}


def outlook(directory: str | None, now: float) -> Ahead:
    """What the history in *directory* (``None`` = this host's) says at *now*; remembered for a while."""
    path = directory or default_history()
    before = _kept.get(path)
    if before is None or not 0 <= now - before[0] < KEEP_SECONDS:
        before = _kept[path] = now, _outlook(path, now)
    return before[1]


def _outlook(path: str, now: float) -> Ahead:
    try:
        history = History(path)
    except (HistoryDenied, HistoryNewer) as error:
        return Ahead(missing=f"none: {error}")
    except HistoryError:
        return Ahead(missing="none: nothing is recorded (`oomsight record` or `oomsight agent` does)")
    ends = history.span()
    if ends is None or now - ends[1] > STALE_SECONDS:
        ago = "" if ends is None else f"; the record ended {span(now - ends[1])} ago"
        return Ahead(missing=f"none: {why_silent(path)}{ago}")
    until = min(ends[1], now)
    silent = silent_seconds(history, now)
    late = silent or 0.0  # a sample or two are no loss
    since = max(until - GREW_SECONDS, ends[0])
    grew = [one for one in foresight.causes(history, None, since, until) if one.kind != "shmem"]
    grown = [_grower(one) for one in grew[:MOST]]
    forecasts = []
    begin = max(until - LOOK_BACK_SECONDS, ends[0])
    near = foresight.nearest(history, begin, until, MOST, among=CGROUPS, budget_seconds=BUDGET_SECONDS)
    for subject, left in near:
        if left.high_seconds is not None and left.high_seconds < late:
            continue  # it has come by now, or has not
        causes = foresight.causes(history, subject.cgroup, left.growth.since, left.growth.until)
        cause = causes[0] if causes else None
        forecasts.append(Forecast(
            "host" if subject.kind == "host" else subject.cgroup or subject.name, max(left.seconds - late, 0.0),
            max(left.low_seconds - late, 0.0),
            None if left.high_seconds is None else max(left.high_seconds - late, 0.0),
            cause.name if cause is not None else None, cause.pid if cause is not None else None, left.method,
        ))  # fmt: skip
    missing = None if forecasts else f"nothing is filling up, by the last {span(until - begin)}"
    if silent is not None:
        missing = f"by what was recorded until {span(silent)} ago; nothing is since: {why_silent(path)}"
    return Ahead(forecasts, missing, grown, until - since)


def _grower(one: Source) -> Grower:
    kind: Literal["process", "name"] = "process" if one.pid is not None else "name"
    return Grower(kind, one.name, one.pid, one.processes, one.cgroup, round(one.holds_bytes / 1024),
                  round(one.grown_bytes / 1024), one.bytes_per_second / 1024)  # fmt: skip
