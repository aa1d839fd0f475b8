"""What /proc says about a process: alive or not, since when, in which cgroup; and the OOM counters of a cgroup."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from oomsight.live.counters import parse_counts
from oomsight.naming.cgroup_path import split
from oomsight.naming.marked import Kind, mark
from oomsight.proc.process import Stat, memory_cgroup, parse_stat
from oomsight.sources.runtimes.places import Places, listed, read_text
from oomsight.why.evidence import Fact, FactKind, Subject

_TICKS_PER_SECOND = 100  # USER_HZ, the same on all machines Linux runs on today
_ZOMBIE = frozenset("ZX")


def subject_of(places: Places, pid: int, asked: str, now: float) -> Subject:
    """Return the process *pid* as far as /proc knows it; not alive when it is not there (or a zombie)."""
    stat = _stat(places, pid)
    if stat is None:
        return Subject("process", asked, alive=False, pid=pid)
    alive = stat.state not in _ZOMBIE
    return Subject(
        "process", asked, alive=alive, pid=pid, comm=stat.comm, started=started(places, stat, now),
        signal=None if alive else _zombie_signal(places, pid),
    )  # fmt: skip


def cgroup_of(places: Places, pid: int) -> str | None:
    """Return the memory cgroup of *pid* as this process sees it; ``None`` = it is gone, or not readable."""
    return memory_cgroup(read_text(places.path(f"{places.proc}/{pid}/cgroup")) or "")


def pids_of(places: Places, comm: str) -> list[int]:
    """Return the processes of that name (its first 15 bytes are what the kernel keeps), ascending."""
    found = []
    for name in listed(places.path(places.proc)):
        if name.isascii() and name.isdigit():
            stat = _stat(places, int(name))
            if stat is not None and stat.comm == comm[:15] and stat.state not in _ZOMBIE:
                found.append(stat.pid)
    return sorted(found)


def started(places: Places, stat: Stat, now: float) -> float | None:
    """Return when the process began, unix seconds; a tick is 10 ms."""
    boot = (read_text(places.path(f"{places.proc}/uptime")) or "").split()
    try:
        uptime = float(boot[0]) if boot else time.clock_gettime(time.CLOCK_BOOTTIME)
    except ValueError:
        return None
    return now - uptime + stat.starttime_ticks / _TICKS_PER_SECOND


def counter_facts(places: Places, cgroup: str | None) -> Iterator[Fact]:
    """
    Yield what the counters of *cgroup* say: ``oom_kill`` without ``oom`` is a kill from above (parent, node).

    Only while the cgroup exists. memory.events of v2 counts since the cgroup was made, as v1's oom_control does.
    """
    if cgroup is None:
        return
    below = "/".join(part for part in split(cgroup)[1] if part)
    if not below or ".." in below.split("/"):
        return
    base = places.path(places.cgroup)
    for mount, file in (("", "memory.events"), ("memory", "memory.oom_control"), ("unified", "memory.events")):
        counts = parse_counts(read_text(os.path.join(base, mount, below, file)) or "")
        kills = counts.get("oom_kill")
        if not kills:
            continue
        words = f"the kernel counted {kills:,} OOM kill{'s' if kills > 1 else ''} in {mark('/' + below, Kind.CGROUP)}"
        above = counts.get("oom") == 0
        if above:
            words += ", none of them for its own limit (a parent's limit, or the node as a whole)"
        limit = below.rpartition("/")[0] if above else None
        yield Fact(
            FactKind.COUNTER, f"{file} of its cgroup", words, cgroup="/" + below,
            limit_cgroup=f"/{limit}" if limit is not None else None,
        )  # fmt: skip
        return


def _stat(places: Places, pid: int) -> Stat | None:
    return parse_stat(read_text(places.path(f"{places.proc}/{pid}/stat")) or "")


def _zombie_signal(places: Places, pid: int) -> int | None:
    """The signal a zombie died of: the last field of stat is its wait status, shown to whoever may trace it."""
    last = (read_text(places.path(f"{places.proc}/{pid}/stat")) or "").split()[-1:]
    status = int(last[0]) if last and last[0].isascii() and last[0].isdigit() else 0
    return status & 0x7F or None
