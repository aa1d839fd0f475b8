"""
Every memory cgroup, sampled by its usage; the rest of its files when usage moved, and in turn.

Cgroups are looked for when the kernel's own count of them changes, when one has gone, and now and then.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from oomsight.record.fields import INDEX
from oomsight.record.model import Change
from oomsight.record.raw import CGROUP_FILES, cgroup_values
from oomsight.sources.cgrouptree import CgroupTree
from oomsight.sources.errors import SourceError

if TYPE_CHECKING:
    from oomsight.record.model import Values
    from oomsight.sources.cgrouptree import Hierarchy

_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC
_BLOCK: Final = 16 << 10
TURN_SECONDS: Final = 20.0  #: every file of every cgroup is read anew within this time
SEARCH_SECONDS: Final = 30.0  #: cgroups are looked for at least this often
MOST_CGROUPS: Final = 5000  #: of more, only the first are recorded

_USAGE, _LIMIT = INDEX["cgroup"]["working_set_bytes"], INDEX["cgroup"]["limit_bytes"]


class _Cgroup:
    __slots__ = ("directory", "eid", "fds", "missing", "path", "texts", "values")

    def __init__(self, path: str, directory: str, eid: int) -> None:
        self.path, self.directory, self.eid = path, directory, eid
        self.fds: dict[str, int] = {}
        self.texts: dict[str, str | None] = {}
        self.missing: set[str] = set()
        self.values: Values = ()


class CgroupSampler:
    """The cgroups of one hierarchy."""

    def __init__(
        self, next_id: Callable[[], int], hierarchy: Hierarchy, proc: str = "/proc", *, descriptors: int = 0
    ) -> None:
        """*descriptors*: how many may be kept open."""
        self._next_id, self._tree, self._free, self._proc = next_id, CgroupTree(hierarchy), descriptors, proc
        self.version = hierarchy.version
        self._files = CGROUP_FILES[hierarchy.version]
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

    def sample(self, now: float) -> Change:
        """What changed since the last sample. *now*: seconds of a clock that does not step."""
        change = Change()
        fresh = self._search(now, change)
        due = {cgroup.path for cgroup in fresh} | self._due(now)
        first = self._files[0]
        for cgroup in list(self._known.values()):
            before = cgroup.texts.get(first.name)
            try:
                text = self._read(cgroup, first.name, first.kept_open)
            except OSError:
                self._gone(cgroup, change)
                continue
            cgroup.texts[first.name] = text
            whole = cgroup.path in due
            if text != before or whole:
                self._read_rest(cgroup, whole)
                values = cgroup_values(self.version, cgroup.texts)
                if values != cgroup.values:
                    cgroup.values = values
                    change.rows.append((cgroup.eid, "cgroup", values))
        return change

    def tightest_share(self) -> float | None:
        """The least share of its limit that is free in any limited cgroup; page cache that can go counts as free."""
        found = None
        for cgroup in self._known.values():
            if cgroup.values:
                used, limit = cgroup.values[_USAGE], cgroup.values[_LIMIT]
                if used is not None and limit is not None and limit > 0:
                    share = 1 - used / limit
                    found = share if found is None else min(found, share)
        return found

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
            return _text(f"{self._tree.hierarchy.mount_point}/cgroup.stat")
        for line in (_text(f"{self._proc}/cgroups") or "").split("\n"):
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

    def _read_rest(self, cgroup: _Cgroup, whole: bool) -> None:
        for file in self._files[1:]:
            if not (whole or file.when == "changed") or (file.name in cgroup.missing and not whole):
                continue
            try:
                cgroup.texts[file.name] = self._read(cgroup, file.name, file.kept_open)
            except OSError:  # this kernel or this cgroup has no such file
                cgroup.missing.add(file.name)
                cgroup.texts[file.name] = None

    def _read(self, cgroup: _Cgroup, name: str, kept_open: bool) -> str:
        fd = cgroup.fds.get(name, -1)
        if fd >= 0:
            return os.pread(fd, _BLOCK, 0).decode("ascii", "replace")
        try:
            fd = os.open(f"{cgroup.directory}/{name}", _FLAGS)
        except FileNotFoundError:
            if name == self._files[0].name and os.path.isdir(cgroup.directory):
                return ""  # the root of version 2 has no usage of its own
            raise
        if kept_open and self._free > 0:
            cgroup.fds[name] = fd
            self._free -= 1
            return os.pread(fd, _BLOCK, 0).decode("ascii", "replace")
        try:
            return os.read(fd, _BLOCK).decode("ascii", "replace")
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


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return None
