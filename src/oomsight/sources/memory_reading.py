"""
Readings for the memory alarms, as cheap as they can be: the host at every look, of the cgroups only what matters now.

Most cgroups are far from their limit most of the time, and usage is one small file. So a look reads the usage of all
limited cgroups, and everything (need, events, pressure) of those that are half full, that have just grown, that
somebody suspects, or whose turn it is: each has one at least every :data:`TURN_SECONDS`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from typing import Final

from oomsight.alarms.culprit import Census, holder_of, pools_of_cgroup, pools_of_host
from oomsight.alarms.reading import Reading
from oomsight.alarms.state import HOST
from oomsight.proc.machine import parse_meminfo
from oomsight.proc.memcg import MEMCG_FILES, Memcg, parse_memcg
from oomsight.proc.pressure import Stall, parse_pressure
from oomsight.proc.process import Process, parse_int
from oomsight.sources.cgrouptree import CgroupTree, find_hierarchy
from oomsight.sources.errors import SourceError
from oomsight.sources.proctree import ProcTree, read_if_there

TURN_SECONDS: Final = 30.0
WALK_SECONDS: Final = 10.0  #: between two searches for cgroups with a limit, at least
WALK_SHARE: Final = 0.0004  #: of a core, for those searches
NEAR_SHARE: Final = 0.5  #: of the limit that usage must be for a closer look
JUMP_SHARE: Final = 0.02  #: of the limit that usage must have grown by since the last look
LEAP_SHARE: Final = 0.1  #: grown by so much, it may be full before two more calm looks
MOST_MEMBERS: Final = 5000  #: processes of one census

_USAGE: Final = {1: "memory.usage_in_bytes", 2: "memory.current"}
_CLOSE: Final = frozenset({"limit_bytes", "high_bytes", "usage_bytes", "stat", "max_events"})
_COUNTS: Final = frozenset({"memory.events", "memory.oom_control"})


class MemoryReader:
    """Reads the host at *proc*. One thread at a time; what cannot be read is not there."""

    def __init__(self, proc: str = "/proc", *, cgroup_root: str | None = None) -> None:
        self.proc = proc
        self._cgroup_root = cgroup_root
        self._processes = ProcTree(proc)
        self._tree: CgroupTree | None = None
        self._limits: dict[str, int] = {}  #: by path: the lower of limit and memory.high
        self._usage: dict[str, int] = {}
        self._closely: dict[str, float] = {}  #: when it was looked at closely
        self._walked = float("-inf")
        self._walk_cost = 0.0
        self.limited = 0  #: cgroups with a limit, at the last search
        self.leaped = False  #: whether at the last reading a cgroup had grown by :data:`LEAP_SHARE` of its limit

    def read(self, suspects: Collection[str] = ()) -> Reading:
        """One reading. *suspects*: cgroups to be read closely whatever they use."""
        now = time.monotonic()
        before = set(self._limits)
        self._walk(now)
        meminfo = read_if_there(f"{self.proc}/meminfo")
        self.leaped = False
        cgroups = list(self._cgroups(suspects, now))
        gone = [path for path in before if path not in self._limits]
        return Reading(
            parse_meminfo(meminfo) if meminfo is not None else None, self._stalls(f"{self.proc}/pressure/memory"),
            cgroups, self._pressures(cgroups), gone,
        )  # fmt: skip

    def census(self, subject: str, at: float) -> tuple[Census, tuple[Process, ...]]:
        """Who is in *subject* (a cgroup's path, or the host) and how much each holds, and the processes themselves."""
        if subject == HOST:
            try:
                found = self._processes.processes()
            except SourceError:
                found = ()
            text = read_if_there(f"{self.proc}/meminfo")
            pools = pools_of_host(parse_meminfo(text)) if text is not None else {}
        else:
            found = tuple(self._members(subject))
            memcg = self._close(subject)
            pools = pools_of_cgroup(memcg) if memcg is not None else {}
        found = tuple(process for process in found if not process.stat.is_kthread)
        return Census(at, [holder_of(process) for process in found], pools), found

    def tree(self) -> CgroupTree | None:
        """The hierarchy of memory cgroups; ``None`` = there is none (yet)."""
        if self._tree is None:
            found = find_hierarchy(self._processes.mounts(), self._cgroup_root)
            self._tree = CgroupTree(found) if found is not None else None
        return self._tree

    # -----------------------------------------------------------------------------------------------------------------

    def _walk(self, now: float) -> None:
        """Find the cgroups with a limit, as often as the budget allows."""
        tree = self.tree()
        if tree is None or now < self._walked + max(WALK_SECONDS, self._walk_cost / WALK_SHARE):
            return
        begin = time.thread_time()
        rows = [row for row in MEMCG_FILES[tree.hierarchy.version] if row.field in {"limit_bytes", "high_bytes"}]
        found = {}
        try:
            for path in tree.paths():
                directory = tree.directory(path)
                texts = ((row, read_if_there(f"{directory}/{row.name}")) for row in rows)
                values = [row.parse(text) for row, text in texts if text is not None]
                if limits := [value for value in values if isinstance(value, int)]:
                    found[path] = min(limits)
        except SourceError:
            return
        self._limits, self.limited = found, len(found)
        self._usage = {path: usage for path, usage in self._usage.items() if path in found}
        self._closely = {path: at for path, at in self._closely.items() if path in found}
        self._walked, self._walk_cost = now, time.thread_time() - begin

    def _cgroups(self, suspects: Collection[str], now: float) -> Iterator[Memcg]:
        tree = self.tree()
        if tree is None:
            return
        name = _USAGE[tree.hierarchy.version]
        for path, limit in list(self._limits.items()):
            usage = parse_int(read_if_there(f"{tree.directory(path)}/{name}"))
            if usage is None:
                if not os.path.isdir(tree.directory(path) or ""):
                    del self._limits[path]
                continue
            before = self._usage.get(path, usage)
            self._usage[path] = usage
            self.leaped |= usage - before >= LEAP_SHARE * limit
            due = now >= self._closely.get(path, float("-inf")) + TURN_SECONDS
            if due or path in suspects or usage >= NEAR_SHARE * limit or usage - before >= JUMP_SHARE * limit:
                memcg = self._close(path)
                if memcg is not None:
                    self._closely[path] = now
                    yield memcg

    def _close(self, path: str) -> Memcg | None:
        tree = self.tree()
        if tree is None:
            return None
        version, directory = tree.hierarchy.version, tree.directory(path)
        names = [row.name for row in MEMCG_FILES[version] if row.field in _CLOSE or row.name in _COUNTS]
        memcg = parse_memcg(path, version, {name: read_if_there(f"{directory}/{name}") for name in names})
        return memcg if memcg.usage_bytes is not None else None

    def _pressures(self, cgroups: Collection[Memcg]) -> dict[str, dict[str, Stall]]:
        tree = self.tree()
        if tree is None or tree.hierarchy.version == 1:
            return {}
        return {
            memcg.path: found
            for memcg in cgroups
            if (found := self._stalls(f"{tree.directory(memcg.path)}/memory.pressure"))
        }

    def _stalls(self, path: str) -> dict[str, Stall]:
        text = read_if_there(path)
        return parse_pressure(text) if text is not None else {}

    def _members(self, path: str) -> Iterator[Process]:
        tree = self.tree()
        seen = 0
        try:
            below = list(tree.paths(path)) if tree is not None else []
        except SourceError:
            return
        for inside in below:
            text = read_if_there(f"{tree.directory(inside)}/cgroup.procs") if tree is not None else None
            for word in (text or "").split():
                process = self._processes.process(int(word)) if word.isdecimal() else None
                if process is not None:
                    seen += 1
                    yield process
                if seen >= MOST_MEMBERS:
                    return
