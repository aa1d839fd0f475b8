"""What the rules about a host need, read from below its root: files, processes, cgroups, and what could not be seen."""

from __future__ import annotations

import os

from oomsight.audit.host.facts import FILES, PLACES, HostFacts
from oomsight.sources.cgrouptree import CgroupTree, find_hierarchy
from oomsight.sources.errors import SourceError
from oomsight.sources.proctree import ProcTree, read_if_there


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
    hierarchy = find_hierarchy(tree.mounts("self" if root == "/" else "1"), None, root)
    hierarchy = hierarchy or find_hierarchy((), below("sys/fs/cgroup"))
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
    return HostFacts(texts, places, snapshot, tuple(unseen))
