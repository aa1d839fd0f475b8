"""
The ranking: every process's badness, in the order the kernel would choose, for a host OOM or a cgroup at its limit.
"""

from __future__ import annotations

from oomsight.kernel.badness import pages_below_score
from oomsight.kernel.constraint import memcg_era, t_memcg
from oomsight.kernel.counters import counter_error_pages
from oomsight.kernel.release import NEWEST
from oomsight.kernel.selection import inside, rank, scan_rule
from oomsight.score.model import Ranked, Ranking
from oomsight.score.rules import error_reader, exemption, memory_reader, score_points

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Final

    from oomsight.kernel.constraint import Total
    from oomsight.proc.memcg import Limit, Memcg
    from oomsight.proc.process import Process
    from oomsight.score.model import Machine, Rules, Snapshot


_COUNTERS: Final = 4  # anonymous, file, shared memory and swap, each with an error of its own


def rank_host(snapshot: Snapshot, rules: Rules) -> Ranking:
    """Who would die if the whole host ran out of memory (CONSTRAINT_NONE)."""
    return _ranking(None, snapshot.machine.total, snapshot.processes, snapshot.machine, rules)


def settled(ranking: Ranking, snapshot: Snapshot, wanted: int = 0) -> bool:
    """
    Whether the processes passed over (:attr:`~oomsight.score.model.Snapshot.passed_over`) cannot matter: the rules are
    those of this kernel, there are as many others as are ``wanted``, and within the error of its counters none of them
    could be chosen, but for those that are counted (``passed_near``).
    """
    if not snapshot.passed_over:
        return True
    victim, rules = ranking.victim, ranking.rules
    if victim is None or not rules.trusted or len(ranking.rows) < wanted:
        return False
    if not snapshot.lowest_score:
        return True  # who was passed over is known better than by oom_score
    one = counter_error_pages(rules.era, cpus=snapshot.machine.cpus or 1)
    most = pages_below_score(snapshot.lowest_score, ranking.total.pages)
    return one is not None and most + _COUNTERS * one < victim.low


def rank_cgroup(snapshot: Snapshot, rules: Rules, path: str, members: Sequence[Process] | None = None) -> Ranking:
    """
    Who would die if cgroup ``path`` hit its limit (CONSTRAINT_MEMCG): its processes and those below it, measured
    against that limit. Without a limit of its own it can only be hit by somebody else's; T is then the host's.
    ``members``: its processes in scan order, if already known.
    """
    processes = cgroup_members(snapshot, path) if members is None else members
    total = cgroup_total(snapshot, rules, path)
    return _ranking(path, total or snapshot.machine.total, processes, snapshot.machine, rules)


def cgroup_total(snapshot: Snapshot, rules: Rules, path: str) -> Total | None:
    """T of a cgroup's own limit; ``None`` = it has none."""
    memcg, machine = snapshot.cgroups.get(path), snapshot.machine
    if memcg is None or not isinstance(memcg.limit_bytes, int):
        return None

    def pages(limit: Limit) -> Limit:
        return limit // machine.page_size if isinstance(limit, int) else limit

    return t_memcg(
        memcg_era(rules.release or NEWEST, memcg.version),
        memcg.limit_bytes // machine.page_size,
        total_swap_pages=machine.swap_pages,
        swap_max_pages=pages(memcg.swap_limit_bytes),
        memsw_pages=pages(memcg.memsw_limit_bytes),
        # Version 2 and the root of version 1 follow the host's setting.
        swappiness=machine.swappiness if memcg.swappiness is None else memcg.swappiness,
        page_size=machine.page_size,
    )


def cgroup_members(snapshot: Snapshot, path: str) -> list[Process]:
    """Processes in ``path`` and below it, in the order of the kernel's walk as far as it can be known."""
    return scan_order((p for p in snapshot.processes if p.cgroup and inside(p.cgroup, path)), snapshot.cgroups)


def scan_order(processes: Iterable[Process], cgroups: Mapping[str, Memcg]) -> list[Process]:
    """
    The order in which a cgroup OOM looks at ``processes`` (given in fork order): cgroups parents first and siblings by
    age, inside each by the time of joining. Where that is not known (version 1, no right to read) fork order stands in;
    it only matters for ties. mem_cgroup_scan_tasks() in mm/memcontrol.c, css_task_iter_start() in kernel/cgroup.
    """
    place = {path: position for position, path in enumerate(cgroups)}
    joined = {pid: at for memcg in cgroups.values() if memcg.pids for at, pid in enumerate(memcg.pids)}
    last = len(place)

    def key(process: Process) -> tuple[int, str, int]:
        path = process.cgroup or ""
        return place.get(path, last), "" if path in place else path, joined.get(process.stat.pid, 0)

    return sorted(processes, key=key)  # stable: fork order where nothing better is known


def _ranking(
    path: str | None, total: Total, processes: Sequence[Process], machine: Machine, rules: Rules
) -> Ranking:
    rule, pages, page_size = rules.rule, total.pages, machine.page_size
    read, error = memory_reader(machine, rules.era), error_reader(machine, rules.era)
    scale = pages // 1000 if rule.unit == "pages" else 1
    rows: list[tuple[Process, int, int, int, int, int, int | None, int, str | None]] = []
    exempt: list[Ranked] = []
    scored: list[int] = []
    for place, process in enumerate(processes):
        skipped = exemption(process)
        if skipped == "kernel thread":
            continue
        memory = read(process)
        points = score_points(rule, process, memory, pages, machine) if skipped is None else None
        row = (
            process, place, memory.rss_pages, memory.swap_pages, memory.pgtables_bytes // page_size,
            (process.oom_score_adj or 0) * scale, points, error(process), skipped,
        )  # fmt: skip
        if points is None:
            exempt.append(Ranked(*row))
        else:
            rows.append(row)
            scored.append(points)
    order = rank(scored, scan_rule(rule, path is not None, rules.release))
    ranked = tuple(Ranked(*rows[at], number) for number, at in enumerate(order, 1))
    exempt.sort(key=lambda row: -(row.rss_pages + row.swap_pages))
    return Ranking("host" if path is None else "cgroup", path or "/", total, rules, ranked, tuple(exempt))
