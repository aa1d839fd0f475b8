"""
Counters of cgroups: memory.events (v2) by inotify, memory.oom_control (v1) by eventfd.

v2 counters are hierarchical (since 5.2, unless mounted with memory_localevents): only the top cgroups are watched, and
when one changes, those of its children that changed are followed down. v1 counters are local: every cgroup tells one
shared eventfd, and which one it was is found by reading; a cgroup made later is found by watching its parent.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from oomsight.live.counters import CgroupChange, parse_counts
from oomsight.proc.machine import parse_mountinfo
from oomsight.sources import inotify
from oomsight.sources.cgrouptree import find_hierarchy
from oomsight.sources.errors import SourceError
from oomsight.sources.procread import read_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oomsight.sources.cgrouptree import Hierarchy

V1_FILE: Final = "memory.oom_control"
V2_FILE: Final = "memory.events"
MAX_WATCHES: Final = 8192  #: a watch costs the kernel about 1 KiB; beyond, new cgroups are found by the next reading
MAX_MEMBERS: Final = 512  #: processes remembered of a cgroup in which one was killed
_LEVELS: Final = frozenset({"oom_kill_disable", "under_oom"})  #: states, not counters
_TELLING: Final = frozenset({"oom", "oom_kill", "oom_group_kill", "under_oom"})


class CgroupEvents:
    """
    Watches the cgroups of *hierarchy*; one of :attr:`filenos` is readable when a counter may have moved. *local*: those
    of version 2 count what happened in one cgroup alone, too.

    A cgroup that is gone before it is read has left its kills in the counters of its parent (v2); on v1 they are gone
    with it, and only /proc/vmstat knows of them.
    """

    name = "cgroups"

    def __init__(self, hierarchy: Hierarchy, *, local: bool = False) -> None:
        """Read all counters and begin to watch. Raises :class:`SourceError` where there is nothing to watch."""
        self.hierarchy = hierarchy
        self._local = local or hierarchy.version == 1
        self._file = V1_FILE if hierarchy.version == 1 else V2_FILE
        self._counts: dict[str, tuple[int, ...]] = {}
        self._keys: tuple[str, ...] = ()
        self._eventfd = -1
        self._full = False
        self._fired = False
        self._dirty: set[str] = set()
        try:
            self._inotify = inotify.Inotify()
        except OSError as error:
            raise SourceError(self.name, f"inotify: {error.strerror}") from None
        self._dirs: dict[int, str] = {}
        if hierarchy.version == 1:
            self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._discover("/", told=False)
        if not self._counts:
            self.close()
            file = f"{hierarchy.mount_point}/…/{self._file}"
            raise SourceError(self.name, f"no {file} can be read here (no memory controller, or an empty container)")

    @property
    def filenos(self) -> tuple[int, ...]:
        """Descriptors for epoll."""
        return tuple(fd for fd in (self._inotify.fd, self._eventfd) if fd >= 0)

    def close(self) -> None:
        """Stop watching."""
        for fd in self.filenos:
            os.close(fd)

    def __len__(self) -> int:
        return len(self._counts)

    def changes(self) -> list[CgroupChange]:
        """Take the notifications that have come and return the counters that moved (kills and limits hit)."""
        return [*self.notice(), *self.settle()]

    @property
    def pending(self) -> bool:
        """Whether :meth:`settle` has something to do."""
        return self._fired or bool(self._dirty)

    def notice(self) -> list[CgroupChange]:
        """
        Take the notifications that have come. Return what new cgroups already count; counters are read by
        :meth:`settle`, which had better be a moment later: v1 tells of a kill before it has made and counted it.
        """
        if self._eventfd >= 0:
            with suppress(BlockingIOError):
                self._fired |= os.eventfd_read(self._eventfd) > 0
        found: list[CgroupChange] = []
        dirty = self._dirty
        for event in self._inotify.read():
            if event.mask & inotify.Q_OVERFLOW:
                dirty.add("/")
            path = self._dirs.get(event.watch)
            if event.mask & inotify.IGNORED:
                self._dirs.pop(event.watch, None)
            elif path is not None and event.mask & inotify.CREATE and event.mask & inotify.ISDIR:
                found += self._discover(_join(path, event.name), told=True)
            elif path is not None and event.mask & inotify.MODIFY:
                dirty.add(path)
        return found

    def settle(self) -> list[CgroupChange]:
        """Read the counters that were notified and return those that moved."""
        found: list[CgroupChange] = []
        fired, dirty = self._fired, self._dirty
        self._fired, self._dirty = False, set()
        if fired:
            found += self.scan()
        # From the top, or what is told of a child would be told of its parent again when that one's notice comes.
        for path in ("/",) if dirty and "/" in self._counts else sorted(dirty):
            found += self._descend(path)
        return found

    def moved(self) -> list[CgroupChange]:
        """Return the counters that moved, without waiting for a notice: those of v2 from the top down, all of v1."""
        return self.scan() if self._local else self._descend("/")

    def members(self, path: str) -> list[int]:
        """Return the processes of the cgroup *path*, at most :data:`MAX_MEMBERS`."""
        try:
            with open(f"{self._whole(path)}/cgroup.procs", "rb", buffering=0) as file:
                return [int(pid) for pid in file.read(MAX_MEMBERS * 8).split()[:MAX_MEMBERS]]
        except (OSError, ValueError):
            return []

    def scan(self) -> list[CgroupChange]:
        """Read every counter again, whatever was notified; those of cgroups that are gone are forgotten."""
        found = []
        for path in list(self._counts):
            change = self._read(path)
            if change is not None:
                found.append(change)
        if self._full or self.hierarchy.version == 2:
            for path in list(self._counts) or ["/"]:
                for child in self._children(path):
                    if child not in self._counts:
                        found += self._discover(child, told=True)
        return found

    # -----------------------------------------------------------------------------------------------------------------

    def _discover(self, path: str, *, told: bool) -> list[CgroupChange]:
        """Begin to watch *path* and everything below; with *told* what they already count is news."""
        found: list[CgroupChange] = []
        waiting = [path]
        while waiting:
            here = waiting.pop()
            self._watch(here)
            if here not in self._counts:
                change = self._read(here)
                if told and change is not None:
                    found.append(change)
            waiting += self._children(here)
        return found

    def _watch(self, path: str) -> None:
        whole = self._whole(path)
        one = self.hierarchy.version == 1
        top = path.count("/") <= 1 or self._local
        with suppress(OSError):
            # v2 counts upwards: what is made below a watched cgroup shows in its own counters.
            if len(self._dirs) >= MAX_WATCHES:
                self._full = True
            elif one or path == "/" or self._local:
                self._dirs[self._inotify.add(whole, inotify.CREATE | inotify.ONLYDIR)] = path
        with suppress(OSError):
            if one:
                self._register(whole)
            elif top and not self._full:  # the root has the file in a container only
                self._dirs[self._inotify.add(f"{whole}/{V2_FILE}", inotify.MODIFY)] = path

    def _register(self, whole: str) -> None:
        """Have the kernel write to the eventfd when this cgroup runs out of memory; both files may be closed then."""
        control = os.open(f"{whole}/{V1_FILE}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            events = os.open(f"{whole}/cgroup.event_control", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(events, b"%d %d" % (self._eventfd, control))
            finally:
                os.close(events)
        finally:
            os.close(control)

    def _descend(self, path: str) -> list[CgroupChange]:
        """
        Follow a change of *path* down to the cgroups it comes from. A cgroup is named for the part of its growth that
        no child accounts for (its own processes, or a child that is gone).
        """
        change = self._read(path) if path != "/" else None
        if path != "/" and change is None:
            return []
        if self._local:
            return [change] if change is not None else []
        below: list[CgroupChange] = []
        children = self._children(path)
        for child in children:
            below += self._descend(child)
        if change is None:
            return below
        inner: dict[str, int] = {}
        for found in below:
            for key, value in found.grown.items():
                inner[key] = inner.get(key, 0) + value
        own = {k: v - inner.get(k, 0) for k, v in change.grown.items() if v > inner.get(k, 0)}
        return [*below, replace(change, grown=own)] if own else below

    def _read(self, path: str) -> CgroupChange | None:
        """Read the counters of *path*, remember them and return what moved; ``None`` = nothing, or it is gone."""
        try:
            now = parse_counts(read_text(f"{self._whole(path)}/{self._file}"))
        except OSError:
            self._counts.pop(path, None)
            return None
        self._keys = self._keys or tuple(now)  # one kernel prints the same keys everywhere
        before = dict(zip(self._keys, self._counts.get(path, ()), strict=False))
        self._counts[path] = tuple(now.get(key, 0) for key in self._keys)
        grown = {
            key: value - before.get(key, 0)
            for key, value in now.items()
            if key in _TELLING and value > before.get(key, 0)
        }
        if not grown:
            return None
        if self.hierarchy.version == 1 and set(grown) <= _LEVELS and not now.get("oom_kill_disable"):
            return None  # under_oom while the killer is at work
        return CgroupChange(path, self.hierarchy.version, grown, now, self._local)

    def _children(self, path: str) -> Iterator[str]:
        try:
            with os.scandir(self._whole(path)) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return
        for name in names:
            yield _join(path, name)

    def _whole(self, path: str) -> str:
        return self.hierarchy.mount_point + (path if path != "/" else "")


def _join(path: str, name: str) -> str:
    return f"{path.rstrip('/')}/{name}"


def watch_cgroups(proc: str = "/proc") -> CgroupEvents:
    """Watch the cgroups of this host or container. Raises :class:`SourceError` with the reason."""
    path = f"{proc}/self/mountinfo"
    try:
        mounts = parse_mountinfo(read_text(path))
    except OSError as error:
        raise SourceError("cgroups", f"{path}: {error.strerror}") from None
    hierarchy = find_hierarchy(mounts)
    if hierarchy is None:
        raise SourceError("cgroups", "no cgroup file system is mounted here")
    local = any(m.mount_point == hierarchy.mount_point and "memory_localevents" in m.super_options for m in mounts)
    return CgroupEvents(hierarchy, local=local)
