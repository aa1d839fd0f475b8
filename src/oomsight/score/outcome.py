"""
What would happen after the choice: who dies together, who dies instead, or why nobody would.

The last steps are played by the full engine, on those few processes the choice concerns.
"""

from __future__ import annotations

from oomsight._named import NamedTuple
from oomsight.kernel.release import NEWEST
from oomsight.kernel.selection import Candidate, Outcome, Scene, inside, scan_rule, select
from oomsight.naming.marked import Kind as NameKind
from oomsight.naming.marked import mark
from oomsight.score.rules import facts, memory_reader

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from oomsight.kernel.selection import Kill
    from oomsight.proc.process import Process
    from oomsight.score.model import Ranking, Snapshot


class Prediction(NamedTuple):
    """What an OOM would come to."""

    outcome: str  #: ``killed``, ``panic``, ``no_killable``, or ``waits`` (v1 oom_kill_disable)
    kills: tuple[Kill, ...]  #: every process that would get SIGKILL, the chosen one first
    remarks: tuple[str, ...]  #: what changes the picture, marked text, one sentence each


_WAITS: Final = (
    "memory.oom_control disables the killer here: at the limit every task that needs memory waits, until somebody"
    " raises the limit or kills one."
)


def predict(ranking: Ranking, snapshot: Snapshot) -> Prediction:
    """Play the end of the OOM that ``ranking`` is about."""
    machine, memcg = snapshot.machine, snapshot.cgroups.get(ranking.path)
    remarks = list(_remarks(ranking, snapshot))
    if ranking.scope == "cgroup" and memcg is not None and memcg.oom_kill_disable:
        return Prediction("waits", (), (_WAITS,))
    scene = Scene(
        total_pages=ranking.total.pages,
        page_size=machine.page_size,
        constraint="CONSTRAINT_MEMCG" if ranking.scope == "cgroup" else "CONSTRAINT_NONE",
        oom_memcg=ranking.path,
        release=ranking.rules.release or NEWEST,
        panic_on_oom=machine.panic_on_oom,
        oom_group=frozenset(path for path, group in snapshot.cgroups.items() if group.oom_group),
    )
    selection = select(list(_concerned(ranking, snapshot, scene)), ranking.rules.rule, scene)
    if selection.outcome == Outcome.PANIC:
        remarks.insert(0, f"Nobody would be killed: vm.panic_on_oom is {machine.panic_on_oom}, the machine panics.")
    elif selection.outcome == Outcome.NO_KILLABLE and not snapshot.unseen:
        ends = "the kernel panics" if ranking.scope == "host" else "the allocation fails or is retried"
        remarks.insert(0, f"No process can be killed: {ends}.")
    return Prediction(selection.outcome.value, selection.kills, tuple(remarks))


def _concerned(ranking: Ranking, snapshot: Snapshot, scene: Scene) -> Iterable[Candidate]:
    """The chosen process, and whoever may die with it: sharers of its memory, children, its oom.group."""
    victim = ranking.victim
    if victim is None:
        return
    chosen = victim.process
    space = chosen.shares_with or chosen.pid
    groups = [path for path in scene.oom_group if chosen.cgroup is not None and inside(chosen.cgroup, path)]
    read = memory_reader(snapshot.machine, ranking.rules.era)

    def concerned(other: Process) -> bool:
        return (
            other.stat.ppid == chosen.pid
            or (other.shares_with or other.pid) == space
            or any(inside(other.cgroup or "/", path) for path in groups)
        )

    near = [p for p in snapshot.processes if p.pid != chosen.pid and not p.stat.is_kthread and concerned(p)]
    children = tuple(p.pid for p in near if p.stat.ppid == chosen.pid)
    # Candidates that tie with the choice must not undo it.
    last = scan_rule(ranking.rules.rule, ranking.scope == "cgroup", scene.release).tie == "last"
    for process in (*near, chosen) if last else (chosen, *near):
        yield Candidate(
            pid=process.pid,
            facts=facts(process, read(process), snapshot.machine),
            mm=process.shares_with,
            memcg=process.cgroup or "/",
            children=children if process is chosen else (),
            in_vfork=process.in_vfork,
            oom_skip=process is not chosen and process.stat.ppid != chosen.pid,  # follows, is not chosen itself
        )


def _remarks(ranking: Ranking, snapshot: Snapshot) -> Iterable[str]:
    machine = snapshot.machine
    if ranking.scope == "host" and machine.oom_kill_allocating_task:
        yield "vm.oom_kill_allocating_task is set: not the first of the ranking dies, but whoever asks for memory last."
    if ranking.total.pages < 1000 and ranking.rows and any(row.process.oom_score_adj for row in ranking.rows):
        yield (f"The limit is below 1,000 pages (T = {ranking.total.pages:,}): the kernel divides it by 1,000 first, so"
               " oom_score_adj other than -1000 has no effect here.")  # fmt: skip
    memcg = snapshot.cgroups.get(ranking.path)
    if ranking.scope == "cgroup":
        from oomsight.proc.memcg import ancestors

        if memcg is not None and isinstance(memcg.high_bytes, int) and memcg.high_bytes < _limit(memcg.limit_bytes):
            yield "memory.high is below the limit: processes are slowed down there, and may never reach the limit."
        for path in ancestors(ranking.path)[1:]:
            above = snapshot.cgroups.get(path)
            if (
                above is not None and memcg is not None and isinstance(above.limit_bytes, int)
                and above.headroom_bytes is not None and memcg.headroom_bytes is not None
                and above.headroom_bytes < memcg.headroom_bytes
            ):  # fmt: skip
                above_it = mark(path, NameKind.CGROUP)
                yield f"The cgroup above it, {above_it}, is nearer to its limit and would be hit first."
                break


def _limit(limit: object) -> float:
    return limit if isinstance(limit, int) else float("inf")
