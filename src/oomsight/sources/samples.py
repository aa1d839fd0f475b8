"""
The host as monitoring wants it: memory and PSI at every look, cgroups and victims as often as a small budget allows.

Nothing is read unless somebody asks, and a sample that cost much is kept for long: with 10,000 cgroups or processes the
agent still uses no more than :data:`SHARE` of a core for each kind.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Generic, TypeVar

from oomsight.live.counters import parse_vmstat_oom_kill
from oomsight.metrics.host import Cost, Sample, Victim, victim_of
from oomsight.proc.machine import parse_meminfo
from oomsight.proc.memcg import MEMCG_FILES, Memcg, parse_memcg
from oomsight.proc.pressure import RESOURCES, Stall, parse_pressure
from oomsight.score.limits import limited_cgroups
from oomsight.score.ranking import rank_host
from oomsight.score.rules import recognise
from oomsight.sources.cgrouptree import CgroupTree, find_hierarchy
from oomsight.sources.errors import SourceError
from oomsight.sources.procread import read_if_there
from oomsight.sources.proctree import ProcTree

SHARE: Final = 0.0005  #: of a core, for each kind of sample
HOST_SECONDS: Final = 1.0
CGROUPS_SECONDS: Final = 10.0
WALK_SECONDS: Final = 60.0  #: between two searches for cgroups with a limit
VICTIMS_SECONDS: Final = 60.0
VICTIM_CGROUPS: Final = 10  #: fullest cgroups for which a victim is told, besides the host

_NEEDED: Final = frozenset({"limit_bytes", "usage_bytes", "stat"})

T = TypeVar("T")


class Kept(Generic[T]):
    """The value of *read*, taken again when it is older than *seconds* and than its cost divided by :data:`SHARE`."""

    def __init__(self, read: Callable[[], T], seconds: float, share: float = SHARE) -> None:
        self._read, self._seconds, self._share = read, seconds, share
        self._value: T | None = None
        self._taken: float | None = None
        self.cpu_seconds = 0.0

    def get(self) -> T:
        """The value, fresh enough."""
        now = time.monotonic()
        keep = max(self._seconds, self.cpu_seconds / self._share)
        if self._taken is None or self._value is None or now - self._taken >= keep:
            begin = time.thread_time()
            self._value = self._read()
            self.cpu_seconds = time.thread_time() - begin
            self._taken = time.monotonic()
        return self._value

    @property
    def cost(self) -> Cost:
        """Of the value last given."""
        age = 0.0 if self._taken is None else time.monotonic() - self._taken
        return Cost(age, self.cpu_seconds)


class HostSamples:
    """
    Samples of the host at *proc*. ``victim_seconds`` 0 = no victims. May be used by several threads.
    """

    def __init__(
        self, proc: str = "/proc", *, cgroup_root: str | None = None, victim_seconds: float = VICTIMS_SECONDS
    ) -> None:
        self.proc = proc
        self._cgroup_root = cgroup_root
        self._lock = threading.Lock()
        self._host = Kept(self._read_host, HOST_SECONDS)
        self._paths = Kept(self._walk, WALK_SECONDS)
        self._cgroups = Kept(self._read_cgroups, CGROUPS_SECONDS)
        self._victims = Kept(self._read_victims, victim_seconds) if victim_seconds else None
        self._tree: CgroupTree | None = None

    def sample(self) -> Sample:
        """The host now; what cannot be read is ``None`` or empty."""
        with self._lock:
            found = replace(self._host.get(), cgroups=self._cgroups.get() if self._hierarchy() is not None else None)
            costs = {"host": self._host.cost}
            if found.cgroups is not None:
                costs["cgroups"] = self._cgroups.cost
            if self._victims is not None:
                found = replace(found, victims=self._victims.get())
                costs["victims"] = self._victims.cost
            return replace(found, costs=costs)

    def _read_host(self) -> Sample:
        meminfo, vmstat = (read_if_there(f"{self.proc}/{name}") for name in ("meminfo", "vmstat"))
        return Sample(
            memory=parse_meminfo(meminfo) if meminfo is not None else None,
            pressure=self._pressure(),
            oom_kills=parse_vmstat_oom_kill(vmstat) if vmstat is not None else None,
        )

    def _pressure(self) -> dict[str, dict[str, Stall]]:
        texts = ((name, read_if_there(f"{self.proc}/pressure/{name}")) for name in RESOURCES)
        return {name: parse_pressure(text) for name, text in texts if text is not None}

    def _hierarchy(self) -> CgroupTree | None:
        if self._tree is None:
            found = find_hierarchy(ProcTree(self.proc).mounts(), self._cgroup_root)
            self._tree = CgroupTree(found) if found is not None else None
        return self._tree

    def _walk(self) -> list[str]:
        """Paths of the cgroups with a limit: most have none, and need not be read in full."""
        tree = self._hierarchy()
        if tree is None:
            return []
        row = next(row for row in MEMCG_FILES[tree.hierarchy.version] if row.field == "limit_bytes")
        try:
            texts = ((path, read_if_there(f"{tree.directory(path)}/{row.name}")) for path in tree.paths())
            return [path for path, text in texts if text is not None and isinstance(row.parse(text), int)]
        except SourceError:
            return []

    def _read_cgroups(self) -> list[Memcg]:
        tree = self._hierarchy()
        if tree is None:
            return []
        rows = [row for row in MEMCG_FILES[tree.hierarchy.version] if row.field in _NEEDED]
        found = []
        for path in self._paths.get():
            files = {row.name: read_if_there(f"{tree.directory(path)}/{row.name}") for row in rows}
            memcg = parse_memcg(path, tree.hierarchy.version, files)
            if isinstance(memcg.limit_bytes, int):  # else it is gone, or limited no more
                found.append(memcg)
        return found

    def _read_victims(self) -> Sequence[Victim]:
        tree = ProcTree(self.proc)  # no helper: fork() and threads do not go together
        try:
            snapshot = tree.snapshot()
        except SourceError:
            return ()
        rules = recognise(snapshot.machine, snapshot.processes)
        cgroups = self._cgroups.get()
        fullest = sorted(cgroups, key=lambda memcg: -(memcg.need_bytes or 0) / max(_limit(memcg), 1))[:VICTIM_CGROUPS]
        snapshot = snapshot._replace(cgroups={memcg.path: memcg for memcg in fullest})
        rankings = [rank_host(snapshot, rules), *(x.ranking for x in limited_cgroups(snapshot, rules))]
        found = (victim_of(ranking, snapshot.machine.page_size) for ranking in rankings)
        return [victim for victim in found if victim is not None]


def _limit(memcg: Memcg) -> int:
    return memcg.limit_bytes if isinstance(memcg.limit_bytes, int) else 0


def own_usage() -> tuple[float, int | None]:
    """CPU seconds this process has used, and its resident bytes."""
    times = os.times()
    text = read_if_there("/proc/self/statm")
    pages = text.split()[1:2] if text else []
    return times.user + times.system, int(pages[0]) * os.sysconf("SC_PAGE_SIZE") if pages else None
