"""Values that the recorder writes and the history gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from oomsight._record import dataclass, field

SHORT_LIVED: Final = "(short-lived)"
"""Name of what is too young to have a row of its own."""

Values = tuple[int | None, ...]
"""One value per :data:`~oomsight.record.fields.FIELDS` row of the kind, as stored."""


@dataclass(frozen=True, slots=True)
class Entity:
    """
    What figures belong to. Names are as the kernel gives them: raw, chosen by whoever runs the process.

    ``key`` is the same for one thing in every part of the history: a process is its pid and start time in a boot.
    """

    kind: str  #: host, process, name, cgroup, zone, swap; unit and container are cgroups looked at by owner
    key: str
    name: str  #: what people call it: comm, path, unit, container
    pid: int | None = None
    started: float | None = None  #: unix seconds; of a process
    cgroup: str | None = None  #: path of the memory controller
    cmdline: str | None = None  #: secrets masked, cut
    unseen: tuple[str, ...] = ()  #: of the host: what its recorder could not see
    first: float | None = None  #: unix seconds of the first sample in the period asked for
    last: float | None = None  #: of the last sample
    first_main: float | None = None  #: its main figure (:data:`~oomsight.record.fields.MAIN`) then, …
    peak_main: float | None = None  #: … at its highest (lowest for free memory), …
    last_main: float | None = None  #: … and at the end


@dataclass(frozen=True, slots=True)
class Picture:
    """The machine at one moment. Figures are in the units of their names; a missing one is not known."""

    time: float  #: unix seconds of the sample that is shown, at or before the moment asked for
    asked: float
    step_seconds: float  #: how far samples are apart there
    host: Mapping[str, float]
    processes: Sequence[tuple[Entity, Mapping[str, float]]]
    names: Sequence[tuple[Entity, Mapping[str, float]]]
    cgroups: Sequence[tuple[Entity, Mapping[str, float]]]
    others: Sequence[tuple[Entity, Mapping[str, float]]] = ()  #: zones, swap devices
    unseen: tuple[str, ...] = ()  #: what the recorder could not see then


@dataclass(slots=True)
class Change:
    """What one sample found: only what is new, different or gone."""

    new: list[tuple[int, dict[str, Any]]] = field(default_factory=list)  #: (id, description), also when it changed
    rows: list[tuple[int, str, Values]] = field(default_factory=list)  #: (id, kind, all values)
    gone: list[int] = field(default_factory=list)

    def add(self, other: Change) -> None:
        """Take in what another sampler found at the same moment."""
        self.new += other.new
        self.rows += other.rows
        self.gone += other.gone
