"""What a drill came to: one :class:`Link` for each step between the kill and whoever is to be told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from oomsight.naming.marked import mark

if TYPE_CHECKING:
    from oomsight.drill.plan import Plan


class Outcome(StrEnum):
    """What became of one link."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"  #: not configured, or not for a drill
    PLANNED = "planned"  #: of a dry run


@dataclass(frozen=True, slots=True)
class Link:
    """One step. ``seconds`` after the kill it was done; ``None`` = it was not, or there is no such moment."""

    name: str  #: kill, log, counters, names, store, or ``channel NAME``
    outcome: Outcome
    words: str  #: marked
    seconds: float | None = None


CHANNEL: Final = "channel "  #: begins the names of links that are channels


@dataclass(frozen=True, slots=True)
class DrillReport:
    """The result, of a dry run too."""

    plan: Plan
    links: tuple[Link, ...]
    dry_run: bool
    by_agent: bool  #: a running agent stored and told; else the drill did it itself, with the same code
    event_id: str | None = None
    pid: int | None = None  #: of the process that died

    @property
    def refused(self) -> bool:
        """Whether nothing was done because it could hurt."""
        return bool(self.plan.refusals)

    @property
    def failed(self) -> tuple[Link, ...]:
        """The links that broke, in order."""
        return tuple(link for link in self.links if link.outcome is Outcome.FAILED)

    @property
    def verdict(self) -> str:
        """One sentence: when the alert arrived, or which link failed (marked)."""
        if self.refused:
            return "No drill: it could hurt here, or cannot be made."
        if self.dry_run:
            return "Nothing was done: this is what a drill would do."
        if self.failed:
            first = self.failed[0]
            more = f" (and {len(self.failed) - 1} more)" if len(self.failed) > 1 else ""
            return f"The link that failed: {first.name}{more}: {first.words}"
        told = [link for link in self.links if link.name.startswith(CHANNEL) and link.outcome is Outcome.OK]
        if not told:
            return "The kill was seen and followed, but nobody is told: no channel is configured for it."
        times = [link.seconds for link in told if link.seconds is not None]
        if len(told) == 1:
            return f"Your alert arrived after {seconds_words(times[0])}." if times else "Your alert arrived."
        slowest = f", the slowest of {len(told)} channels after {seconds_words(max(times))}" if times else ""
        return f"Your alert arrived after {seconds_words(min(times))}{slowest}." if times else "Your alerts arrived."


def seconds_words(seconds: float) -> str:
    """Return a time as ``3 ms`` or ``0.42 s``."""
    return f"{max(seconds, 0.0) * 1000:.0f} ms" if seconds < 0.1 else f"{seconds:.2f} s"


def planned(plan: Plan, channels: tuple[str, ...]) -> DrillReport:
    """Return the report of a dry run (or of a refused drill): nothing was done."""
    names = ("kill", "log", "counters", "names", "store", *(CHANNEL + name for name in channels))
    words = {
        "kill": f"one process in {mark(plan.cgroup)}", "log": "wait for its report in the kernel log",
        "counters": "compare with the kernel's own count", "names": "ask whose cgroup it was",
        "store": "find the incident in the store",
    }  # fmt: skip
    links = tuple(Link(name, Outcome.PLANNED, words.get(name, "wait until the message is delivered")) for name in names)
    return DrillReport(plan, () if plan.refusals else links, dry_run=True, by_agent=False)
