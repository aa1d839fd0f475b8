"""Which program a cgroup runs now, for the heap it should have within its limit."""

from __future__ import annotations

from typing import Final

from oomsight.audit.runtimes.table import RUNTIMES, recognise
from oomsight.proc.process import parse_statm
from oomsight.sources.cgrouptree import CgroupTree, find_hierarchy
from oomsight.sources.proctree import ProcTree, read_if_there

MOST_PIDS: Final = 1000  #: of one cgroup, looked at for the biggest


def cgroups_here() -> CgroupTree | None:
    """The cgroups of this machine; ``None`` = it has none that are known."""
    hierarchy = find_hierarchy(ProcTree().mounts())
    return CgroupTree(hierarchy) if hierarchy is not None else None


def program_in(
    path: str, cgroups: CgroupTree | None, proc: str = "/proc"
) -> tuple[str | None, tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Runtime of the biggest process now in cgroup *path*, its command line, what it reads of its environment."""
    directory = cgroups.directory(path) if cgroups is not None else None
    pids = (read_if_there(f"{directory}/cgroup.procs") or "").split() if directory is not None else []
    sizes = [(parse_statm(read_if_there(f"{proc}/{pid}/statm") or ""), pid) for pid in pids[:MOST_PIDS]]
    known = [(statm.resident_pages, pid) for statm, pid in sizes if statm is not None]
    if not known:
        return None, (), ()
    _, pid = max(known)
    argv = tuple((read_if_there(f"{proc}/{pid}/cmdline") or "").rstrip("\0").split("\0"))
    pairs = (pair.partition("=") for pair in (read_if_there(f"{proc}/{pid}/environ") or "").split("\0"))
    wanted = {name for row in RUNTIMES for name in row.env} | {"NODE_OPTIONS"}
    environ = tuple((name, value) for name, _, value in pairs if name in wanted)
    return recognise(argv, dict(environ)), argv, environ
