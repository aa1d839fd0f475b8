"""What ``leaks`` and ``forecast`` are told (:class:`Subject`) and what they say. ``None`` = not known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight._record import dataclass

if TYPE_CHECKING:
    from oomsight.trend.exhaust import Exhaustion
    from oomsight.trend.leak import Finding
    from oomsight.trend.series import Series


@dataclass(frozen=True, slots=True)
class Subject:
    """Something whose memory is on record."""

    kind: str  #: host, cgroup, name, process, or series (of a file)
    name: str  #: raw, chosen by whoever runs it; empty for the host
    cgroup: str | None  #: path
    pid: int | None
    need: Series  #: bytes that cannot be taken back: without page cache, with tmpfs; of the host RAM and swap in use
    limit_bytes: float | None  #: at which there is a kill; ``None`` = no limit of its own
    swap_free_bytes: float | None = None  #: that it might use besides
    kills: tuple[float, ...] = ()  #: unix seconds of OOM kills in it


class Task(NamedTuple):
    """A process at the last moment on record."""

    comm: str
    pid: int | None
    cgroup: str | None
    rss_bytes: float
    swap_bytes: float
    pgtables_bytes: float
    oom_score_adj: int
    need_bytes: float


SHMEM: Final = "tmpfs and shared memory"
"""Name of the source that is no process; longer than any program's."""


class Source(NamedTuple):
    """Who grew inside of something."""

    kind: str  #: process, name: several together, or shmem: what lies in tmpfs and shared memory, whoever put it there
    name: str
    pid: int | None
    cgroup: str | None
    processes: int
    holds_bytes: float  #: in the end
    grown_bytes: float
    bytes_per_second: float
    share: float | None  #: of the whole growth


class Remedy(NamedTuple):
    """Something that would buy time."""

    kind: str  #: limit, swap, restart, confine, or delete
    text: str  #: marked
    seconds: float | None  #: how much; ``None`` = none for the culprit, but for the others


class Victim(NamedTuple):
    """Who would be killed when it is full."""

    comm: str
    pid: int | None
    points_pages: int
    is_cause: bool  #: the one that grows


@dataclass(frozen=True, slots=True)
class Outlook:
    """What comes for one subject."""

    subject: Subject
    finding: Finding  #: verdict on its curve
    left: Exhaustion | None  #: ``None`` = it is not filling, or nothing can be said
    causes: Sequence[Source] = ()
    victim: Victim | None = None
    remedies: Sequence[Remedy] = ()


@dataclass(frozen=True, slots=True)
class Leak:
    """One curve that was judged."""

    subject: Subject
    finding: Finding
    left: Exhaustion | None  #: until its limit
    causes: Sequence[Source] = ()
