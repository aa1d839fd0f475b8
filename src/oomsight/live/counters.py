"""
Counters beside the log: did the kernel kill more than the log shows?

``/proc/vmstat`` counts every ``Killed process`` line of the boot (mm/oom_kill.c __oom_kill_process(), OOM_KILL since
4.13), memory.events and memory.oom_control those of one cgroup. The log may lose lines: an overwritten ring, a console
level, a rate limit, a reader that was not there. What was missing when we came is history; only growth is news.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CONFIRM_SECONDS: Final = 1.0
"""A difference counts when it stands this long: the kernel counts a kill before it prints it."""


def parse_vmstat_oom_kill(text: str) -> int | None:
    """Return the ``oom_kill`` of /proc/vmstat; ``None`` = this kernel has no such counter (before 4.13)."""
    at = text.find("\noom_kill ")
    if at < 0:
        return None
    try:
        return int(text[at + len("\noom_kill ") :].split("\n", 1)[0])
    except ValueError:
        return None


def parse_counts(text: str) -> dict[str, int]:
    """Return the ``key number`` lines of memory.events or memory.oom_control; anything else is left out."""
    counts = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if value.isascii() and value.isdigit():
            counts[key] = int(value)
    return counts


@dataclass(frozen=True, slots=True)
class CgroupChange:
    """Counters of one cgroup that moved."""

    path: str  #: below the mount point of its hierarchy
    version: int  #: cgroup version, 1 or 2
    grown: Mapping[str, int]  #: by how much; keys of memory.events, or ``oom_kill``
    now: Mapping[str, int]  #: all counters
    local: bool  #: only of this cgroup itself, not of those below it

    @property
    def waiting(self) -> bool:
        """Tasks wait for memory because the OOM killer is disabled here (v1 oom_kill_disable): no kill, no log line."""
        return self.version == 1 and self.now.get("oom_kill_disable", 0) == 1 and self.now.get("under_oom", 0) == 1


@dataclass(frozen=True, slots=True)
class Finding:
    """A remark worth telling and storing."""

    code: str
    text: str  #: marked
    numbers: Mapping[str, int | str] = field(default_factory=dict)


class CrossCheck:
    """
    Compares the kernel's count of kills with the kills seen.

    ``unseen`` is how many more the kernel had counted than were known when we first looked in this boot; ``None`` =
    we have not looked yet (the first :meth:`observe` sets it).
    """

    def __init__(self, unseen: int | None = None) -> None:
        self.unseen = unseen
        self.missed = 0  #: counted by the kernel, seen by nobody, since we look
        self._pending: tuple[int, float] | None = None

    def observe(self, kernel: int, seen: int, now_seconds: float, reasons: Iterable[str] = ()) -> Finding | None:
        """
        Take one reading at a moment when the log is read to its end.

        :param kernel: kills the kernel counted in this boot.
        :param seen: distinct kills of this boot we know of.
        :param reasons: why lines may be missing, in words, as far as known.
        :return: what to tell, when the difference has grown and stayed.
        """
        gap = kernel - seen
        if self.unseen is None:
            self.unseen = max(gap, 0)
            if not self.unseen:
                return None
            text = f"the kernel counted {_kills(kernel)} since boot, the log still shows {seen}"
            return Finding("before_us", text, {"kernel": kernel, "seen": seen})
        missed = gap - self.unseen
        if missed <= self.missed:
            self._pending = None
            return None
        if self._pending is None or self._pending[0] != missed:
            self._pending = (missed, now_seconds)
            return None
        if now_seconds - self._pending[1] < CONFIRM_SECONDS:
            return None
        new, self.missed, self._pending = missed - self.missed, missed, None
        why = ", ".join(reasons) or "a line was lost, rate-limited or never printed"
        counted = kernel - self.unseen
        text = f"the kernel counted {_kills(counted)}, the log shows {seen} ({why})"
        return Finding("kills_not_in_log", text, {"kernel": counted, "seen": seen, "missed": new})


def judge_cgroup(change: CgroupChange, *, log_readable: bool) -> Finding | None:
    """
    Return what is to be said about *change*; ``None`` = the log tells it better.

    A kill whose log line can be read is an event of its own. Without a log the counter is all there is.
    """
    where = mark(change.path, Kind.CGROUP)
    kills = change.grown.get("oom_kill", 0)
    if change.waiting:
        text = f"{where} is out of memory and its OOM killer is disabled (memory.oom_control): its tasks wait, unkilled"
        return Finding("killer_disabled", text, {"cgroup": change.path})
    if kills and not log_readable:
        members = change.grown.get("oom_group_kill", 0)
        how = " as a whole (memory.oom.group)" if members else ""
        cause = "its own limit" if change.grown.get("oom") else "a limit above it, or the whole host"
        text = f"the OOM killer ended {_processes(kills)} in {where}{how}, for {cause}; whom, the kernel log would tell"
        return Finding("counted_kill", text, {"cgroup": change.path, "kills": kills})
    return None


def _kills(count: int) -> str:
    return f"{count} kill{'s' if count != 1 else ''}"


def _processes(count: int) -> str:
    return "one process" if count == 1 else f"{count} processes"
