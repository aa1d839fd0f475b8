"""Every cgroup with a limit: how near it is to it, and who would die there."""

from __future__ import annotations

from oomsight._named import NamedTuple
from oomsight.proc.memcg import ancestors
from oomsight.score.ranking import rank_cgroup, scan_order

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from oomsight.proc.memcg import Memcg
    from oomsight.proc.process import Process
    from oomsight.score.model import Machine, Ranking, Rules, Snapshot


class LimitedCgroup(NamedTuple):
    """One cgroup with a limit of its own."""

    memcg: Memcg
    ranking: Ranking
    processes: int  #: in it and below, those that no OOM could kill included

    @property
    def headroom_kib(self) -> int | None:
        """What may still be needed until the limit kills; page cache is not counted as need. ``None`` = not known."""
        headroom = self.memcg.headroom_bytes
        return None if headroom is None else headroom >> 10

    @property
    def full_pct(self) -> float | None:
        """Need as a percentage of the limit."""
        need, limit = self.memcg.need_bytes, self.memcg.limit_bytes
        return 100 * need / limit if need is not None and isinstance(limit, int) and limit else None

    def swap_room_kib(self, machine: Machine) -> int | None:
        """What it could still swap out, bounded by its own limits and the machine's free swap; ``None`` = not known."""
        if machine.swap_free_pages is None:
            return None
        room = machine.swap_free_pages * machine.page_size
        memcg = self.memcg
        for limit, usage in (
            (memcg.swap_limit_bytes, memcg.swap_usage_bytes), (memcg.memsw_limit_bytes, memcg.memsw_usage_bytes)
        ):  # fmt: skip
            if isinstance(limit, int) and usage is not None:
                room = min(room, max(limit - usage, 0))
        return room >> 10


def limited_cgroups(snapshot: Snapshot, rules: Rules) -> list[LimitedCgroup]:
    """All cgroups with a limit, the fullest first; those whose need is not known last. An empty one is left out."""
    members: dict[str, list[Process]] = {}
    for process in scan_order(snapshot.processes, snapshot.cgroups):
        for path in ancestors(process.cgroup) if process.cgroup else ():
            members.setdefault(path, []).append(process)
    found = [
        LimitedCgroup(memcg, rank_cgroup(snapshot, rules, path, inside), len(inside))
        for path, memcg in snapshot.cgroups.items()
        if isinstance(memcg.limit_bytes, int) and (inside := members.get(path))
    ]
    return sorted(found, key=lambda cgroup: -(-1.0 if cgroup.full_pct is None else cgroup.full_pct))


def nearest_limit(snapshot: Snapshot, path: str) -> Memcg | None:
    """The limited cgroup that ``path`` or its nearest limited ancestor is; ``None`` = only the host limits it."""
    for above in ancestors(path):
        memcg = snapshot.cgroups.get(above)
        if memcg is not None and isinstance(memcg.limit_bytes, int):
            return memcg
    return None
