"""What the judge remembers between two readings: plain values that survive a restart of the agent."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from oomsight.alarms.growth import Point  # noqa: TC001 - read at run time by dataclass

HOST: Final = ""  #: key of the host among the subjects; every other key is the path of a cgroup
STATE_VERSION: Final = 1
MOST_SUBJECTS: Final = 20_000


@dataclass(slots=True)
class Track:
    """One alarm of one subject. Times are unix seconds."""

    value: float  #: as last measured, in the alarm's unit
    since: float | None = None  #: it has been beyond its limit since then
    raised: float | None = None
    over: float | None = None  #: raised, and over since then
    critical: bool = False


@dataclass(slots=True)
class Subject:
    """The host or one cgroup. ``None`` = not known."""

    tracks: dict[str, Track] = field(default_factory=dict)  #: by code of the alarm; only those with something to say
    points: list[Point] = field(default_factory=list)  #: need, in bytes
    counts: dict[str, tuple[float, int]] = field(default_factory=dict)  #: events: when looked at, and how many
    limit_bytes: int | None = None
    need_bytes: int | None = None
    cache_bytes: int | None = None
    usage_bytes: int | None = None
    headroom_bytes: int | None = None  #: what may still be needed; of the host with free swap
    bytes_per_second: float | None = None
    time_left_seconds: float | None = None  #: ``None`` = it does not grow, or that is not known
    alert_id: str | None = None  #: of the alert that is told now; ``None`` = none is
    raised: float | None = None  #: when that was
    critical: bool = False
    told: list[str] = field(default_factory=list)  #: codes named in what was told

    @property
    def active(self) -> list[str]:
        """Codes of the alarms that are raised."""
        return [code for code, track in self.tracks.items() if track.raised is not None]

    @property
    def pending(self) -> bool:
        """Whether something is beyond its limit and not raised yet."""
        return any(track.since is not None and track.raised is None for track in self.tracks.values())


@dataclass(slots=True)
class State:
    """All subjects by key."""

    subjects: dict[str, Subject] = field(default_factory=dict)
    clock: float = 0.0

    def move(self, seconds: float) -> None:
        """Move all times with a clock that was set by *seconds* (negative = back)."""
        self.clock += seconds
        for subject in self.subjects.values():
            subject.points = [(at + seconds, value) for at, value in subject.points]
            subject.counts = {name: (at + seconds, count) for name, (at, count) in subject.counts.items()}
            subject.raised = None if subject.raised is None else subject.raised + seconds
            for track in subject.tracks.values():
                track.since = None if track.since is None else track.since + seconds
                track.raised = None if track.raised is None else track.raised + seconds
                track.over = None if track.over is None else track.over + seconds

    def dump(self) -> dict[str, Any]:
        """What a restart needs: subjects with an alert, without their samples."""
        kept = {key: asdict(subject) | {"points": [], "counts": {}}
                for key, subject in self.subjects.items() if subject.alert_id is not None}  # fmt: skip
        return {"version": STATE_VERSION, "clock": self.clock, "subjects": kept}

    @classmethod
    def load(cls, value: Any) -> State:
        """The state :meth:`dump` wrote; anything else is an empty one (an alert may then be told twice)."""
        try:
            if value["version"] != STATE_VERSION:
                return cls()
            found = {}
            for key, row in value["subjects"].items():
                tracks = {
                    str(code): Track(**{f.name: track[f.name] for f in fields(Track)})
                    for code, track in row["tracks"].items()
                }
                found[str(key)] = Subject(**{f.name: row[f.name] for f in fields(Subject)} | {"tracks": tracks})
            return cls(found, float(value["clock"]))
        except (TypeError, KeyError, ValueError, AttributeError):
            return cls()
