"""
Every memory cgroup, sampled by its usage; the rest of its files when usage moved by much, and in turn.

Cgroups are looked for when the kernel's own count of them changes, when one has gone, and every few seconds: one that
goes while another comes leaves the count as it was, and version 1 counts those that linger, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from oomsight.record.fields import INDEX
from oomsight.record.model import Change
from oomsight.record.pace import Filling
from oomsight.record.raw_cgroups import CGROUP_FILES, cgroup_values
from oomsight.sources.cgrouptree import CgroupTree
from oomsight.sources.errors import SourceError
from oomsight.sources.procread import read_if_there

if TYPE_CHECKING:
    from oomsight.record.model import Values
    from oomsight.sources.cgrouptree import Hierarchy

_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC
_BLOCK: Final = 16 << 10
TURN_SECONDS: Final = 20.0  #: every file of every cgroup is read anew within this time
SEARCH_SECONDS: Final = 4.5  #: cgroups are looked for at least this often: in each calm sample
MOST_CGROUPS: Final = 5000  #: of more, only the first are recorded
MUCH_KIB: Final = 256  #: a change of usage by this much is worth a look at memory.stat at once, …
STAT_SECONDS: Final = 5.0  #: … a smaller one so long after the last look
NEAR: Final = 0.9  #: share of a limit from which on its events count

_WORKING, _LIMIT = INDEX["cgroup"]["working_set_bytes"], INDEX["cgroup"]["limit_bytes"]


class _Cgroup:
    __slots__ = (
        "directory", "eid", "fds", "figures", "filling", "looked", "missing", "path", "raw", "stat_at", "values",
    )  # fmt: skip

    def __init__(self, path: str, directory: str, eid: int) -> None:
        self.path, self.directory, self.eid = path, directory, eid
        self.fds: dict[str, int] = {}
        self.raw: bytes | None = None  # of the first file
        self.figures: dict[str, int | None] = {}
        self.looked = -STAT_SECONDS  # when memory.stat was read, …
        self.stat_at = 0  # … and what was used then
        self.missing: set[str] = set()
        self.values: Values = ()
        self.filling = Filling()

    def near(self) -> bool:
        """Whether usage is near one of its limits."""
        usage = self.figures.get("usage_bytes") or 0
        return any((limit := self.figures.get(name)) is not None and 0 <= limit * NEAR <= usage
                   for name in ("limit_bytes", "high_bytes"))  # fmt: skip


class CgroupSampler:
    """The cgroups of one hierarchy."""

    def __init__(
        self, next_id: Callable[[], int], hierarchy: Hierarchy, proc: str = "/proc", *, descriptors: int = 0
    ) -> None:
        """*descriptors*: how many may be kept open."""
        self._next_id, self._tree, self._free, self._proc = next_id, CgroupTree(hierarchy), descriptors, proc
        self.version = hierarchy.version
        self._first, *self._files = CGROUP_FILES[hierarchy.version]
        self._known: dict[str, _Cgroup] = {}
        self._count: str | None = None
        self._searched = -SEARCH_SECONDS
        self._search_again = False
        self._turn: list[_Cgroup] = []
        self._turned = 0.0

    def close(self) -> None:
        """Give all descriptors back."""
        for cgroup in self._known.values():
            self._close(cgroup)

    def sample(self, now: float, *, swapping: bool = True, killed: bool = False) -> Change:
        """
        What changed since the last sample. *now*: seconds of a clock that does not step; *swapping*: whether the host
        has swapped since; *killed*: whether it has counted an OOM kill since.
        """
        change = Change()
        fresh = self._search(now, change)
        due = {cgroup.path for cgroup in fresh} | self._due(now)
        first = self._first
        for cgroup in list(self._known.values()):
            try:
                raw = self._read(cgroup, first.name, first.kept_open)
            except OSError:
                self._gone(cgroup, change)
                continue
            moved, whole = raw != cgroup.raw, cgroup.path in due
            if not raw and now - cgroup.looked >= STAT_SECONDS:  # nothing tells whether the root of version 2 moved
                moved = True
            if moved:
                cgroup.raw = raw
                cgroup.figures.update(first.read(raw))
            if moved or whole or killed:
                self._read_rest(cgroup, now, whole=whole, swapping=swapping and moved, killed=killed)
                values = cgroup_values(cgroup.figures)
                if values != cgroup.values:
                    cgroup.values = values
                    change.rows.append((cgroup.eid, "cgroup", values))
        return change

    def headroom(self, now: float) -> tuple[float | None, float | None, bool]:
        """
        The least share of its limit that is free in any limited cgroup, how soon the first of them is full at the rate
        of the last calls, and whether one of them is new; page cache that can go counts as free.
        """
        share = seconds = None
        fresh = False
        for cgroup in self._known.values():
            if not cgroup.values:
                continue
            used, limit = cgroup.values[_WORKING], cgroup.values[_LIMIT]
            if used is None or limit is None or limit <= 0:
                continue
            free = 1 - used / limit
            share = free if share is None or free < share else share
            fresh = fresh or not cgroup.filling.fed
            soon = cgroup.filling.feed(now, limit - used)
            if soon is not None and (seconds is None or soon < seconds):
                seconds = soon
        return share, seconds, fresh

    # -----------------------------------------------------------------------------------------------------------------

    def _search(self, now: float, change: Change) -> list[_Cgroup]:
        count = self._kernel_count()
        if count == self._count and not self._search_again and now - self._searched < SEARCH_SECONDS:
            return []
        self._count, self._searched, self._search_again = count, now, False
        fresh: list[_Cgroup] = []
        seen: set[str] = set()
        root = self._tree.hierarchy.root
        with suppress(SourceError):
            for path in self._tree.paths("/" if root.startswith("/..") else root):
                if len(seen) >= MOST_CGROUPS:
                    break
                seen.add(path)
                if path not in self._known and (directory := self._tree.directory(path)) is not None:
                    cgroup = _Cgroup(path, directory, self._next_id())
                    self._known[path] = cgroup
                    change.new.append((cgroup.eid, {"kind": "cgroup", "name": path}))
                    fresh.append(cgroup)
        for path in self._known.keys() - seen:
            self._gone(self._known[path], change)
        return fresh

    def _kernel_count(self) -> str | None:
        """How many memory cgroups the kernel counts; ``None`` = it does not say."""
        if self.version == 2:
            return read_if_there(f"{self._tree.hierarchy.mount_point}/cgroup.stat")
        for line in (read_if_there(f"{self._proc}/cgroups") or "").split("\n"):
            if line.startswith("memory\t"):
                return line
        return None

    def _due(self, now: float) -> set[str]:
        elapsed, self._turned = now - self._turned, now
        count = int(len(self._known) * min(elapsed / TURN_SECONDS, 1.0)) + 1
        if not self._turn:
            self._turn = list(self._known.values())
        due, self._turn = self._turn[-count:], self._turn[:-count]
        return {cgroup.path for cgroup in due}

    def _read_rest(self, cgroup: _Cgroup, now: float, *, whole: bool, swapping: bool, killed: bool) -> None:
        usage, near = cgroup.figures.get("usage_bytes") or 0, cgroup.near()
        events = near or killed
        stat = abs(usage - cgroup.stat_at) >= MUCH_KIB or now - cgroup.looked >= STAT_SECONDS
        for file in self._files:
            wanted = whole or (file.when == "moved" and (stat or near)) or (file.when == "near" and events) or (
                file.when == "swapped" and swapping)  # fmt: skip
            if not wanted or (file.name in cgroup.missing and not whole):
                continue
            try:
                cgroup.figures.update(file.read(self._read(cgroup, file.name, file.kept_open)))
            except OSError:  # this kernel or this cgroup has no such file
                cgroup.missing.add(file.name)
                cgroup.figures.update(dict.fromkeys(file.fields))
            if file.when == "moved":
                cgroup.looked, cgroup.stat_at = now, usage

    def _read(self, cgroup: _Cgroup, name: str, kept_open: bool) -> bytes:
        fd = cgroup.fds.get(name, -1)
        if fd >= 0:
            return os.pread(fd, _BLOCK, 0)
        try:
            fd = os.open(f"{cgroup.directory}/{name}", _FLAGS)
        except FileNotFoundError:
            if name == self._first.name and os.path.isdir(cgroup.directory):
                return b""  # the root of version 2 has no usage of its own
            raise
        if kept_open and self._free > 0:
            cgroup.fds[name] = fd
            self._free -= 1
            return os.pread(fd, _BLOCK, 0)
        try:
            return os.read(fd, _BLOCK)
        finally:
            os.close(fd)

    def _gone(self, cgroup: _Cgroup, change: Change) -> None:
        self._close(cgroup)
        del self._known[cgroup.path]
        change.gone.append(cgroup.eid)
        self._search_again = True  # another may be there already under its name

    def _close(self, cgroup: _Cgroup) -> None:
        for fd in cgroup.fds.values():
            os.close(fd)
        self._free += len(cgroup.fds)
        cgroup.fds.clear()
