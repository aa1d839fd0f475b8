"""
The tree of memory cgroups, version 1 or 2, read from where it is mounted.

Cgroups come and go while one reads: one that is gone is simply not in the result. Children are visited by age, as the
kernel walks them: their inode numbers ascend with creation (kernfs, 5.5+; before, numbers could be reused).
"""

from __future__ import annotations

import os

from oomsight._named import NamedTuple
from oomsight.proc.machine import parse_mountinfo
from oomsight.proc.memcg import MARKER_FILES, MEMCG_FILES, Memcg, ancestors, parse_memcg
from oomsight.proc.process import memory_cgroup
from oomsight.sources.errors import SourceError
from oomsight.sources.procread import read_if_there

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Final, Literal

    from oomsight.proc.machine import Mount

MAX_CGROUPS: Final = 100_000
"""More are not read: a tree like that is a leak of cgroups, and a reader must end."""


class Hierarchy(NamedTuple):
    """Where the memory controller's cgroups are."""

    version: Literal[1, 2]
    mount_point: str
    root: str = "/"  #: cgroup that is mounted there, as /proc/PID/cgroup names it


def find_hierarchy(mounts: Sequence[Mount], cgroup_root: str | None = None, root: str = "/") -> Hierarchy | None:
    """
    The hierarchy with the memory controller: at ``cgroup_root`` if given (a mount point, or the directory of mount
    points of version 1), else where ``mounts`` say, below ``root``. ``None`` = there is none.
    """
    if cgroup_root is not None:
        return _at(cgroup_root) or _at(os.path.join(cgroup_root, "memory"))
    for mount in reversed(mounts):
        if mount.fs_type == "cgroup" and "memory" in mount.super_options:
            return Hierarchy(1, _below(root, mount.mount_point), mount.root)
    for mount in reversed(mounts):
        if mount.fs_type == "cgroup2" and _has_memory(place := _below(root, mount.mount_point)):
            return Hierarchy(2, place, mount.root)
    return None


def hierarchy_of(
    proc: str = "/proc", sys: str = "/sys", cgroup_root: str | None = None, root: str = "/"
) -> Hierarchy | None:
    """
    The hierarchy of the host whose /proc and /sys these are: as its mounts say, else where it usually is. Below another
    *root* than ``/`` the mounts that count are those of its first process.
    """
    mounts = parse_mountinfo(read_if_there(f"{proc}/{'self' if root == '/' else '1'}/mountinfo") or "")
    found = find_hierarchy(mounts, cgroup_root, root)
    if found is None and cgroup_root is None:
        found = find_hierarchy((), os.path.join(sys, "fs/cgroup"))
    return found


def is_whole(hierarchy: Hierarchy) -> bool:
    """
    Whether all cgroups of the host are in it; in a container only its own are, unless the host's are mounted. Told by
    files that only the root has or lacks (CFTYPE_ONLY_ON_ROOT, CFTYPE_NOT_ON_ROOT in kernel/cgroup/), as a cgroup
    namespace calls its own root ``/``.
    """
    def there(name: str) -> bool:
        return os.path.exists(os.path.join(hierarchy.mount_point, name))

    if hierarchy.version == 2:
        return not there("cgroup.events")
    return there("release_agent") or not there("notify_on_release")


def _has_memory(directory: str) -> bool:
    """Whether a cgroup of version 2 has the memory controller: not with cgroup_disable=memory, nor undelegated."""
    text = read_if_there(os.path.join(directory, "cgroup.controllers"))
    return text is None or "memory" in text.split()


def _at(directory: str) -> Hierarchy | None:
    versions: tuple[Literal[1, 2], ...] = (1, 2)
    for version in versions:
        there = os.path.exists(os.path.join(directory, MARKER_FILES[version]))
        if there and (version == 1 or _has_memory(directory)):
            return Hierarchy(version, directory.rstrip("/") or "/")
    return None


def _below(root: str, path: str) -> str:
    return path if root in {"/", ""} else os.path.join(root, path.lstrip("/"))


class CgroupTree:
    """The cgroups of one hierarchy."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.hierarchy = hierarchy
        self.denied = 0  #: directories that could not be listed
        self._above = hierarchy.root.startswith("/..")  # mounted from above the reader's cgroup namespace
        self._home: str | None = None  # the root of that namespace, as a path from what is mounted; empty = not found
        #: The highest cgroup that is mounted here.
        self.top: Final = "/" if hierarchy.root == "/" or self._above else hierarchy.root

    def directory(self, path: str) -> str | None:
        """Where cgroup ``path`` (as /proc names it) is; ``None`` = outside of what is mounted here."""
        if path.startswith("/.."):  # outside of the reader's cgroup namespace
            path = self.absolute(path)
            if path.startswith("/.."):
                return None
        if self.top == "/":  # the reader's cgroup namespace shows paths from the mounted root
            inside = path
        elif path == self.top or path.startswith(self.top + "/"):
            inside = path[len(self.top) :]
        else:
            return None
        return self.hierarchy.mount_point + ("" if inside == "/" else inside)

    def absolute(self, path: str) -> str:
        """
        ``path``, as /proc names it inside the reader's cgroup namespace, from the root of what is mounted here; as it
        is where that is not above the namespace, or the namespace's place in it is not found. A container with the
        host's processes and cgroups but a cgroup namespace of its own needs this: its kernel says ``/../../x`` for
        ``/x``, and ``/`` for its own.
        """
        if not self._above:
            return path
        if self._home is None:
            self._home = self._find_home()
        if not self._home:
            return path
        parts = path.strip("/").split("/")
        ups = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
        home = self._home.strip("/").split("/")
        if ups > len(home):
            return path
        return "/" + "/".join([*home[: len(home) - ups], *filter(None, parts[ups:])])

    def _find_home(self) -> str:
        """Where the reader itself is, less its place inside its namespace."""
        levels = self.hierarchy.root.strip("/").split("/")
        own = memory_cgroup(read_if_there("/proc/self/cgroup") or "")
        if own is None or own.startswith("/..") or set(levels) != {".."}:
            return ""
        pid, inside = str(os.getpid()), own.rstrip("/")
        depth = len(levels)
        for path in self.paths(depth=depth):
            directory = self.hierarchy.mount_point + path + inside
            if path.count("/") == depth and pid in (read_if_there(f"{directory}/cgroup.procs") or "").split():
                return path
        return ""

    def path_of(self, directory: str) -> str | None:
        """The cgroup that a directory under the mount point is; ``None`` = it is not under it."""
        mount = self.hierarchy.mount_point
        directory = directory.rstrip("/")
        if directory != mount and not directory.startswith(mount + "/"):
            return None
        return self.top.rstrip("/") + directory[len(mount) :] or "/"

    def read(self, path: str) -> Memcg | None:
        """One cgroup; ``None`` = there is none (any more), or it is not a memory cgroup."""
        directory = self.directory(path)
        if directory is None or not os.path.isdir(directory):
            return None
        rows = MEMCG_FILES[self.hierarchy.version]
        files = {row.name: read_if_there(f"{directory}/{row.name}") for row in rows}
        return parse_memcg(path, self.hierarchy.version, files)

    def chain(self, path: str) -> dict[str, Memcg]:
        """``path`` and everything above it, the root first."""
        found = ((above, self.read(above)) for above in reversed(ancestors(path)))
        return {above: memcg for above, memcg in found if memcg is not None}

    def nearest_limit(self, path: str) -> Memcg | None:
        """The limited cgroup that ``path`` or its nearest limited ancestor is; only that one is read whole."""
        limit = MEMCG_FILES[self.hierarchy.version][0]
        for above in ancestors(path):
            text = read_if_there(f"{self.directory(above)}/{limit.name}")
            if text is not None and isinstance(limit.parse(text), int):
                return self.read(above)
        return None

    def paths(self, path: str | None = None, depth: int | None = None) -> Iterator[str]:
        """
        ``path`` (all that is mounted) and everything below it, ``depth`` levels at most, parents first, siblings by
        age. Raises :class:`SourceError`.
        """
        path = path or self.top
        start = self.directory(path)
        if start is None or not os.path.isdir(start):
            raise SourceError(path, "there is no such memory cgroup", "oomsight score --all-cgroups")
        waiting = [(path, start)]
        seen = 0
        while waiting and seen < MAX_CGROUPS:
            here, directory = waiting.pop()
            seen += 1
            yield here
            if depth is not None and here.count("/") - path.rstrip("/").count("/") >= depth and here != "/":
                continue
            try:
                with os.scandir(directory) as entries:
                    children = [(entry.inode(), entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)]
            except OSError as error:
                self.denied += isinstance(error, PermissionError)
                continue
            children.sort(reverse=True)  # the oldest is taken off the end first
            prefix = here.rstrip("/")
            waiting += [(f"{prefix}/{name}", f"{directory}/{name}") for _, name in children]

    def below(self, path: str | None = None) -> dict[str, Memcg]:
        """``path`` and everything below it with their state, in the order of :meth:`paths`."""
        found = ((here, self.read(here)) for here in self.paths(path))
        return {here: memcg for here, memcg in found if memcg is not None}

    def find(self, text: str) -> list[str]:
        """
        Cgroups that ``text`` may mean: a path, a directory, else every cgroup whose own name is or contains it
        (a unit name, the beginning of a container id), exact names before others.
        """
        if (path := self.path_of(text)) is not None and self.directory(path) is not None:
            return [path] if os.path.isdir(text) else []
        if text.startswith("/"):
            trimmed = text.rstrip("/") or self.top
            directory = self.directory(trimmed)
            return [trimmed] if directory is not None and os.path.isdir(directory) else []
        names = [(path.rpartition("/")[2], path) for path in self.paths()]
        exact = [path for name, path in names if name in {text, f"{text}.service", f"{text}.scope", f"{text}.slice"}]
        return exact or [path for name, path in names if text in name]
