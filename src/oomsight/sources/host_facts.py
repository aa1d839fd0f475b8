"""What the rules about a host need, read from below its root: files, processes, cgroups, and what could not be seen."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from oomsight.audit.host.facts import FILES, PLACES, HostFacts, Pids
from oomsight.proc.memcg import parse_v2_limit
from oomsight.proc.process import parse_int
from oomsight.sources.cgrouptree import CgroupTree, Hierarchy, hierarchy_of
from oomsight.sources.errors import SourceError
from oomsight.sources.proctree import ProcTree, read_if_there

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.proc.machine import Mount


def read_host(root: str = "/") -> HostFacts:
    """
    Read the host below *root*. What cannot be read is left out and said in ``unseen``.

    :raises SourceError: there is no /proc/meminfo: no host is there
    """

    def below(path: str) -> str:
        return os.path.join(root, path.lstrip("/"))

    texts = {}
    for path in FILES:
        # Below another root the mounts that count are those of its first process.
        text = read_if_there(below(path))
        if text is None and path == "/proc/self/mountinfo":
            text = read_if_there(below("/proc/1/mountinfo"))
        if text is not None:
            texts[path] = text
    if "/proc/meminfo" not in texts:
        raise SourceError(below("/proc/meminfo"), "cannot be read: no host is there")
    places = frozenset(path for path in PLACES if os.path.exists(below(path)))
    tree = ProcTree(below("proc"), below("sys"))
    snapshot = tree.snapshot()
    unseen = [entry.what + (f"; it takes {entry.right}" if entry.right else "") for entry in snapshot.unseen]
    mounts = tree.mounts("self" if root == "/" else "1")
    hierarchy = hierarchy_of(tree.proc, tree.sys, None, root)
    if hierarchy is None:
        unseen.append("memory cgroups are not mounted here: limits of services and containers are not known")
    else:
        cgroups = CgroupTree(hierarchy)
        try:
            snapshot = snapshot._replace(cgroups=cgroups.below())
        except SourceError as error:
            unseen.append(str(error))
        if cgroups.denied:
            unseen.append(f"{cgroups.denied:,} cgroups could not be listed; it takes root")
    return HostFacts(texts, places, snapshot, _pids(mounts, hierarchy, root), _log_buffer_bytes(root), tuple(unseen))


def _log_buffer_bytes(root: str) -> int | None:
    """Return the size of this kernel's ring buffer (syslog(2), SYSLOG_ACTION_SIZE_BUFFER); ``None`` = not allowed."""
    if os.path.realpath(root) != "/":
        return None
    import ctypes

    try:
        size = ctypes.CDLL(None, use_errno=True).klogctl(10, None, 0)
    except (OSError, AttributeError):
        return None
    return size if size > 0 else None


def _pids(mounts: Sequence[Mount], memory: Hierarchy | None, root: str) -> dict[str, Pids]:
    """Return the cgroups with a limit of tasks: of the same hierarchy in version 2, of another in version 1."""
    hierarchy = memory if memory is not None and memory.version == 2 else None
    for mount in reversed(mounts):
        if hierarchy is None and mount.fs_type == "cgroup" and "pids" in mount.super_options:
            hierarchy = Hierarchy(1, os.path.join(root, mount.mount_point.lstrip("/")), mount.root)
    if hierarchy is None:
        return {}
    found, tree = {}, CgroupTree(hierarchy)
    try:
        for path in tree.paths():
            directory = tree.directory(path)
            limit = parse_v2_limit(read_if_there(f"{directory}/pids.max") or "")
            if isinstance(limit, int):
                found[path] = Pids(parse_int(read_if_there(f"{directory}/pids.current")), limit)
    except SourceError:
        return {}
    return found
