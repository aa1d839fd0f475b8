"""What the prediction rests on (:class:`Snapshot`) and what comes out of it (:class:`Ranking`)."""

from __future__ import annotations

from oomsight._named import NamedTuple
from oomsight.kernel.constraint import t_global

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final, Literal

    from oomsight.kernel.badness import Rule
    from oomsight.kernel.constraint import Total
    from oomsight.kernel.counters import CounterEra
    from oomsight.kernel.release import Release
    from oomsight.proc.memcg import Memcg
    from oomsight.proc.process import Process


NO_CGROUPS: Final[Mapping[str, Memcg]] = {}


class Machine(NamedTuple):
    """What one must know of the host. ``None`` = not known."""

    ram_pages: int  #: MemTotal
    swap_pages: int  #: SwapTotal, used or not
    page_size: int = 4096  #: bytes
    available_pages: int | None = None  #: MemAvailable
    swap_free_pages: int | None = None
    cpus: int | None = None  #: online
    release: str | None = None  #: as ``uname -r`` prints it
    swappiness: int | None = None  #: vm.swappiness
    panic_on_oom: int = 0
    oom_kill_allocating_task: bool = False
    long_bits: int = 64  #: width of the kernel's integers

    @property
    def total(self) -> Total:
        """T of an OOM of the whole host."""
        return t_global(self.ram_pages, self.swap_pages)


class Unseen(NamedTuple):
    """Something the snapshot lacks, and the right that would show it (``None`` = none would)."""

    what: str
    right: str | None


class Snapshot(NamedTuple):
    """The state of a machine at (nearly) one moment."""

    machine: Machine
    processes: tuple[Process, ...]  #: thread-group leaders in the order of the kernel's list, which is fork order
    cgroups: Mapping[str, Memcg] = NO_CGROUPS  #: parents first, siblings by age; may be partial
    unseen: tuple[Unseen, ...] = ()
    passed_over: int = 0  #: eligible processes left out, as each of them ranks below all that are here
    lowest_score: int = 0  #: the lowest oom_score, but 0, of those that are here, if that of the others is lower
    passed_near: int = 0  #: how many of those left out could die first by the error of the kernel's counters


class Rules(NamedTuple):
    """The kernel's rules as recognised on this machine, and how well they reproduce what it shows itself."""

    rule: Rule
    era: CounterEra
    release: Release | None
    words: str  #: how they were recognised, marked text
    compared: int = 0  #: processes whose /proc/PID/oom_score could be compared
    matched: int = 0  #: of those, how many the rules reproduce

    @property
    def trusted(self) -> bool:
        """Whether the rules reproduce nearly all of /proc; sizes change while one reads, so a few may differ."""
        return self.compared == 0 or self.matched * 10 >= self.compared * 9


class Ranked(NamedTuple):
    """One process in a ranking. Page numbers are the kernel's."""

    process: Process
    place: int  #: position in the scan, for ties
    rss_pages: int
    swap_pages: int
    pgtables_pages: int
    adj_points: int  #: what oom_score_adj adds or takes, in pages
    points: int | None  #: badness; ``None`` = exempt
    error_pages: int = 0  #: how far the kernel's counters may be off, either way
    skipped: str | None = None  #: why it is exempt
    rank: int | None = None  #: 1 = dies first

    @property
    def high(self) -> int:
        """Most points the kernel may count."""
        return (self.points or 0) + self.error_pages

    @property
    def low(self) -> int:
        """Fewest points the kernel may count: no counter reads below 0."""
        return (self.points or 0) - min(self.error_pages, self.rss_pages + self.swap_pages)


class Ranking(NamedTuple):
    """Everybody one OOM would look at: the whole host, or one cgroup at its limit."""

    scope: Literal["host", "cgroup"]
    path: str  #: cgroup that runs out; ``/`` = host
    total: Total  #: T
    rules: Rules
    rows: tuple[Ranked, ...]  #: eligible, the first to die first
    exempt: tuple[Ranked, ...]  #: not eligible, biggest first; kernel threads are left out

    @property
    def victim(self) -> Ranked | None:
        """Who dies first; ``None`` = nobody can be killed."""
        return self.rows[0] if self.rows else None

    @property
    def margin_pages(self) -> int | None:
        """Points between the victim and the next; ``None`` = there is no next."""
        return (self.rows[0].points or 0) - (self.rows[1].points or 0) if len(self.rows) > 1 else None

    @property
    def rivals(self) -> tuple[Ranked, ...]:
        """Who could die instead within the error of the kernel's counters, likeliest first."""
        victim = self.victim
        if victim is None:
            return ()
        low = victim.low
        return tuple(row for row in self.rows[1:] if (row.points or 0) + row.error_pages >= low)

    @property
    def tied(self) -> bool:
        """Whether the victim only wins by its place in the scan."""
        return self.margin_pages == 0

    def of(self, pid: int) -> Ranked | None:
        """The row of ``pid``; ``None`` = not part of this OOM."""
        return next((row for row in (*self.rows, *self.exempt) if row.process.pid == pid), None)
