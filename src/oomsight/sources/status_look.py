"""One look at a machine for ``oomsight status``: everything that can be read, in one quick pass."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from oomsight.live.counters import parse_vmstat_oom_kill
from oomsight.proc.machine import parse_meminfo
from oomsight.proc.memcg import MEMCG_FILES, Memcg, parse_memcg
from oomsight.proc.pressure import RESOURCES, Stall, parse_pressure
from oomsight.proc.process import parse_int, parse_status
from oomsight.score.model import Unseen
from oomsight.sources.cgrouptree import CgroupTree, hierarchy_of, is_whole
from oomsight.sources.errors import SourceError, from_os_error
from oomsight.sources.procread import read_if_there, read_text
from oomsight.sources.proctree import CGROUPS_OUTSIDE, OUTSIDE, ProcTree
from oomsight.sources.vmstat import read_zram_kib
from oomsight.status.hurts import SYSCTLS
from oomsight.status.model import Earlier, Look

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oomsight.proc.machine import MemInfo

USER_HZ = os.sysconf("SC_CLK_TCK")


class Looker:
    """
    Looks at the host whose /proc is at *proc*. *me*: pid that is left out, being gone when the answer is read.

    :meth:`glance` is the cheap first look, :meth:`look` the whole one. Both raise
    :class:`~oomsight.sources.errors.SourceError` without a readable meminfo.
    """

    def __init__(
        self, proc: str = "/proc", sys: str = "/sys", *, cgroup_root: str | None = None, root: str = "/",
        me: int | None = None, helper: bool = False,
    ) -> None:  # fmt: skip
        self.proc, self.sys, self.root = proc, sys, root
        self._cgroup_root = cgroup_root
        self._me = me
        self._tree = ProcTree(proc, sys, helper=helper)
        self._cgroups: CgroupTree | None = None
        self._searched = False
        self._seen: tuple[str, ...] = ()

    def glance(self) -> Earlier:
        """What of the machine changes, before the whole is read: need of every process and limited cgroup."""
        at, ticks = time.time(), self._ticks()
        memory = self._meminfo()
        processes: dict[int, tuple[int | None, int]] = {}
        for pid in self._tree.pids():
            text = read_if_there(f"{self.proc}/{pid}/status")
            if text is None or pid == self._me:
                continue
            status = parse_status(text)
            anon = status.rss_anon_kib if status.rss_anon_kib is not None else status.vm_rss_kib
            if anon is None:  # a kernel thread
                continue
            parts = (anon, status.rss_shmem_kib, status.vm_swap_kib, status.vm_pte_kib)
            processes[pid] = (None, sum(part for part in parts if part is not None))
        cgroups = {memcg.path: memcg.need_bytes for memcg in self._limited() if memcg.need_bytes is not None}
        return Earlier(at, ticks, processes, cgroups, memory.mem_available_kib)

    def look(self) -> Look:
        """Everything."""
        tree = self._tree
        tree.denied = 0
        at, ticks = time.time(), self._ticks()
        memory = self._meminfo()
        snapshot = tree.snapshot()
        if self._me is not None:
            others = tuple(process for process in snapshot.processes if process.pid != self._me)
            snapshot = snapshot._replace(processes=others)
        hierarchy = self.cgroup_tree()
        cgroups = self._limited() if hierarchy is not None else None
        unseen = list(snapshot.unseen)
        if hierarchy is not None and hierarchy.denied:
            unseen.append(Unseen(f"{hierarchy.denied:,} cgroups could not be listed", "root"))
        if hierarchy is not None and OUTSIDE not in unseen and not is_whole(hierarchy.hierarchy):
            unseen.append(CGROUPS_OUTSIDE)
        vmstat = read_if_there(f"{self.proc}/vmstat")
        return Look(
            at=at, ticks=ticks, memory=memory, snapshot=snapshot, pressure=self._pressure(),
            cgroup_pressure=self._cgroup_pressure(cgroups or ()), sysctl=self._sysctls(),
            oom_kills=parse_vmstat_oom_kill(vmstat) if vmstat is not None else None,
            cgroups=cgroups, cgroups_all=len(self._seen), unseen=tuple(unseen), zram_kib=read_zram_kib(self.sys),
        )  # fmt: skip

    def cgroup_tree(self) -> CgroupTree | None:
        """The hierarchy with the memory controller; ``None`` = there is none."""
        if not self._searched:
            self._searched = True
            found = hierarchy_of(self.proc, self.sys, self._cgroup_root, self.root)
            self._cgroups = CgroupTree(found) if found is not None else None
        return self._cgroups

    def _limited(self) -> list[Memcg]:
        """Cgroups with a limit or with memory.high; most have none and are not read in full."""
        tree = self.cgroup_tree()
        if tree is None:
            return []
        tree.denied = 0
        try:
            self._seen = tuple(tree.paths())
        except SourceError:
            return []
        return read_limited(tree, self._seen)

    def _meminfo(self) -> MemInfo:
        try:
            memory = parse_meminfo(read_text(f"{self.proc}/meminfo"))
        except OSError as error:
            raise from_os_error(f"{self.proc}/meminfo", error) from error
        if memory.mem_total_kib is None:
            raise SourceError(f"{self.proc}/meminfo", "does not say how much memory there is")
        return memory

    def _pressure(self) -> dict[str, dict[str, Stall]]:
        texts = ((name, read_if_there(f"{self.proc}/pressure/{name}")) for name in RESOURCES)
        return {name: found for name, text in texts if text is not None and (found := parse_pressure(text))}

    def _cgroup_pressure(self, cgroups: Iterable[Memcg]) -> dict[str, dict[str, Stall]]:
        tree = self.cgroup_tree()
        if tree is None or tree.hierarchy.version == 1:
            return {}
        texts = ((c.path, read_if_there(f"{tree.directory(c.path)}/memory.pressure")) for c in cgroups)
        return {path: found for path, text in texts if text is not None and (found := parse_pressure(text))}

    def _sysctls(self) -> dict[str, int]:
        values = ((name, parse_int(read_if_there(f"{self.proc}/sys/vm/{name}"))) for name in SYSCTLS)
        return {name: value for name, value in values if value is not None}

    def _ticks(self) -> int | None:
        text = read_if_there(f"{self.proc}/uptime")
        try:
            return int(float((text or "").split()[0]) * USER_HZ)
        except (ValueError, IndexError):
            return None


def read_limited(tree: CgroupTree, paths: Iterable[str]) -> list[Memcg]:
    """Those of *paths* that have a limit or a memory.high, with all that is known of them."""
    version = tree.hierarchy.version
    rows = MEMCG_FILES[version]
    limits = [row for row in rows if row.field in {"limit_bytes", "high_bytes"}]
    found = []
    for path in paths:
        directory = tree.directory(path)
        texts = {row.name: read_if_there(f"{directory}/{row.name}") for row in limits}
        if not any(isinstance(row.parse(text), int) for row in limits if (text := texts[row.name]) is not None):
            continue
        texts |= {row.name: read_if_there(f"{directory}/{row.name}") for row in rows if row.name not in texts}
        found.append(parse_memcg(path, version, texts))
    return found
