"""What is known of a subject's memory, and what should be changed. Sizes in bytes; ``None`` = not known."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Literal, Protocol

from oomsight._record import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.proc.memcg import Limit
    from oomsight.rightsize.need import Basis
    from oomsight.rightsize.tail import Tail
    from oomsight.trend.series import Series

SubjectKind = Literal["container", "unit", "cgroup", "name", "host"]
Growth = Literal["leak", "growing", "steady", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whose memory it is. Names are raw: whoever runs it chose them."""

    kind: SubjectKind
    name: str
    namespace: str | None = None
    workload: str | None = None  #: Deployment, StatefulSet, … the pod belongs to, as far as its name tells
    container: str | None = None
    cgroup: str | None = None

    @property
    def full_name(self) -> str:
        """Name with namespace and workload, for people and as an argument of the command."""
        if self.container is not None and self.workload is not None:
            front = f"{self.namespace}/" if self.namespace else ""
            return f"{front}{self.workload}:{self.container}"
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One OOM kill that concerned the subject."""

    incident_id: str
    time: float | None  #: unix seconds
    demand_bytes: int | None  #: memory and swap in use at the limit when a request was refused: need was at least that
    limit_bytes: int | None
    role: Literal["limit", "victim", "culprit"]  #: its limit was hit; it died for somebody else; it held the memory
    cause: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """The verdict about growth."""

    growth: Growth
    rate_bytes_per_second: float | None = None
    since: float | None = None  #: unix seconds
    confidence: str | None = None
    words: str | None = None  #: marked; how it was judged
    more_memory_helps: bool | None = None


class Recorded(Protocol):
    """What a subject needed over time, as somebody keeps it who knows more than samples."""

    @property
    def ordered(self) -> Sequence[float]:
        """Need at every moment known, in bytes, ascending."""
        ...

    def look_up(self, ranks: Sequence[int]) -> None:
        """What is at these places of :attr:`ordered` is asked for next: to find all of it at once is less work."""
        ...

    @property
    def peak_bytes(self) -> float:
        """The highest."""
        ...

    @property
    def span_seconds(self) -> float:
        """From the first moment known to the last."""
        ...

    def peaks(self, block_seconds: float) -> list[float]:
        """The highest need of every block of time that is known; blocks begin at multiples of their length."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Everything measured of one subject."""

    subject: Subject
    source: str  #: marked
    needs: tuple[Series, ...] = ()  #: need over time, one series per replica; peaks kept
    recorded: Recorded | None = None  #: in their place
    basis: Basis | None = None
    limit_bytes: Limit = None
    ram_bytes: int | None = None  #: of a host; its limit is RAM and swap together
    request_bytes: int | None = None
    high_bytes: Limit = None
    swap_limit_bytes: Limit = None
    swap_peak_bytes: int | None = None
    cache_peak_bytes: int | None = None  #: usage with page cache, at its highest
    oom_score_adj: int | None = None
    kills: tuple[Kill, ...] = ()
    kill_count: int = 0  #: counted by the kernel or Kubernetes, more than ``kills`` perhaps
    leak: Leak = field(default_factory=lambda: Leak(growth="unknown"))
    runtime: str | None = None  #: key of the table of runtimes: jvm, node, go, …
    command_line: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()  #: what of it the runtime reads

    @property
    def replicas(self) -> int:
        """How many at once; at least 1."""
        return max(len(self.needs), 1)

    @property
    def measured(self) -> bool:
        """Whether anything is known of its need."""
        return self.recorded is not None or bool(self.needs)

    def ordered(self) -> Sequence[float]:
        """Need at every moment known, of all replicas, ascending."""
        if self.recorded is not None:
            return self.recorded.ordered
        return sorted(chain.from_iterable(series.values for series in self.needs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One possible limit."""

    name: str  #: why it is in the list: "now", "recommended", …
    limit_bytes: int
    probability: float | None  #: of need above it within the horizon; ``None`` = history too short
    seconds_to_limit: float | None  #: from a fresh start, when it leaks
    cost_bytes: int | None  #: memory set aside more than now (negative: freed), all replicas


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One thing to set."""

    key: Literal["request", "limit", "high", "swap", "heap", "oom_score_adj", "restart"]
    value: str  #: ready to be written: ``512Mi``, ``-Xmx384m``
    bytes: int | None
    why: str  #: marked


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What to set for one subject, with what each choice means."""

    usage: Usage
    peak_bytes: int | None
    percentiles: dict[str, int]  #: p50, p95, p99 of need
    span_seconds: float
    tail: Tail | None
    margin_pct: float
    settings: tuple[Setting, ...]
    candidates: tuple[Candidate, ...]
    headline: str  #: marked
    notes: tuple[str, ...] = ()  #: marked

    def setting(self, key: str) -> Setting | None:
        """Return the setting of *key*; ``None`` = leave it."""
        return next((one for one in self.settings if one.key == key), None)
