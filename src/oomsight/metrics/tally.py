"""
Kills counted, each once: by label set, whatever is read again, restarted or told in pieces.

A kill is counted when its report is complete, because only then its cause is known; one whose report never becomes
complete is counted after :data:`SETTLED_SECONDS`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from oomsight.diagnose.causes import CAUSES
from oomsight.metrics.family import Bound, Family, LabelValues, present
from oomsight.metrics.labels import cause_of, event_place, event_seconds, kill_labels
from oomsight.metrics.table import BY_NAME
from oomsight.report.model import EventKind

SETTLED_SECONDS: Final = 60.0
REMEMBERED: Final = 4096  #: events known by id, so that none is counted twice; a start reads no more from the store
MAX_SERIES: Final = 500
STATE_VERSION: Final = 1
_COUNTED: Final = (
    "oomsight_oom_kills_total", "oomsight_oom_kills_by_cause_total", "oomsight_last_oom_kill_timestamp_seconds",
    "oomsight_oom_incidents_total", "oomsight_userspace_kills_total", "oomsight_agent_notes_total",
)  # fmt: skip


class Settled(NamedTuple):
    """An event that is final, or has new victims."""

    document: Mapping[str, Any]
    kills: int  #: victims not counted before
    first: bool  #: nothing of it was counted before


@dataclass(slots=True)
class Tally:
    """The counters. Times are seconds since 1970 and come from the caller."""

    since: float  #: when counting began; a restored tally keeps its own
    most: int = MAX_SERIES  #: label sets of one metric; more share ``other``
    through: float | None = None  #: moment of the last event; ``None`` = nothing was ever counted
    _series: dict[str, dict[LabelValues, float]] = field(default_factory=dict)
    _counted: OrderedDict[str, int] = field(default_factory=OrderedDict)
    _pending: dict[str, tuple[float, Mapping[str, Any]]] = field(default_factory=dict)
    _bounds: dict[str, Bound] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in _COUNTED:
            self._series[name] = {}
            self._bounds[name] = Bound(BY_NAME[name].labels, self.most)
        for rule in CAUSES:  # from the start, so that a first kill is an increase
            self._series["oomsight_oom_kills_by_cause_total"][(rule.code,)] = 0.0
        for kind in EventKind:
            self._series["oomsight_oom_incidents_total"][(kind.value,)] = 0.0

    def observe(self, document: Mapping[str, Any], now: float) -> Settled | None:
        """Take an event or a note as subscribers get it; ``None`` = nothing to count in it (now)."""
        if document["type"] == "note":
            self._add("oomsight_agent_notes_total", 1, document["code"])
            return None
        self.through = max(self.through or 0.0, now)
        event_id = document["event_id"]
        if document["stage"] == "provisional":
            if event_id not in self._counted:
                self._pending.setdefault(event_id, (now + SETTLED_SECONDS, document))
            return None
        self._pending.pop(event_id, None)
        return self._count(document, now)

    def settle(self, now: float) -> list[Settled]:
        """Count what will not become complete any more."""
        late = [event_id for event_id, (due, _) in self._pending.items() if due <= now]
        found = (self._count(self._pending.pop(event_id)[1], now) for event_id in late)
        return [settled for settled in found if settled is not None]

    def families(self) -> Iterator[Family]:
        """The counters as they stand."""
        yield from present(Family(BY_NAME[name], dict(series)) for name, series in self._series.items())

    def _count(self, document: Mapping[str, Any], now: float) -> Settled | None:
        event_id, incident = document["event_id"], document["incident"]
        userspace = incident["kind"] == EventKind.USERSPACE_KILLER
        kills = max(len(incident["killed"]), 1) if userspace else len(document["kills"])
        before = self._counted.get(event_id)
        new = kills - (before or 0)
        if before is not None and new <= 0:
            return None
        self._counted[event_id] = kills
        while len(self._counted) > REMEMBERED:
            self._counted.popitem(last=False)
        if before is None:
            self._add("oomsight_oom_incidents_total", 1, incident["kind"])
        if userspace:
            killer = incident["killer"] or "unknown"
            self._add("oomsight_userspace_kills_total", new, killer, *event_place(document))
        elif new:
            labels = kill_labels(document)
            self._add("oomsight_oom_kills_total", new, *labels)
            self._add("oomsight_oom_kills_by_cause_total", new, cause_of(incident))
            last = "oomsight_last_oom_kill_timestamp_seconds"
            key = self._bounds[last].key(self._series[last], labels)
            self._series[last][key] = max(self._series[last].get(key, 0.0), event_seconds(document, now))
        return Settled(document, new, before is None)

    def _add(self, name: str, count: int, *labels: str) -> None:
        series = self._series[name]
        key = self._bounds[name].key(series, labels)
        series[key] = series.get(key, 0.0) + count

    # -- across restarts ----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything as plain values. Counters never go back, even when the store forgets old incidents."""
        return {
            "version": STATE_VERSION, "since": self.since, "through": self.through,
            "series": {name: [[*key, value] for key, value in rows.items()] for name, rows in self._series.items()},
            "counted": dict(self._counted),
        }  # fmt: skip

    def restore(self, state: object) -> bool:
        """Go on from *state*; ``False`` = it is none, and nothing has changed."""
        try:
            series, counted, since, through = _checked(state)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            return False
        for name, rows in series.items():
            self._series[name] |= rows
        self._counted = OrderedDict(counted)
        self.since, self.through = since, through
        return True


def _checked(state: Any) -> tuple[dict[str, dict[LabelValues, float]], dict[str, int], float, float | None]:
    if state["version"] != STATE_VERSION:
        raise ValueError(state["version"])
    series: dict[str, dict[LabelValues, float]] = {}
    for name in _COUNTED:
        width = len(BY_NAME[name].labels)
        rows = {tuple(map(str, row[:-1])): float(row[-1]) for row in state["series"].get(name, [])}
        if any(len(key) != width for key in rows):  # an older release with other labels
            raise ValueError(name)
        series[name] = rows
    counted = {str(key): int(value) for key, value in state["counted"].items()}
    through = state["through"]
    return series, counted, float(state["since"]), None if through is None else float(through)


def restored(state: object, now: float, most: int = MAX_SERIES) -> Tally:
    """A tally that goes on from *state*, or a new one."""
    tally = Tally(now, most)
    tally.restore(state)
    return tally
