"""Causes in how processes use memory, and in who was allowed to be killed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight.diagnose.causes.machine import bound
from oomsight.diagnose.causes.rule import Finding
from oomsight.diagnose.model import Advice, Confidence
from oomsight.diagnose.runtimes import fit_words, runtime_of, tune
from oomsight.diagnose.wording import count, holder, process, size
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.diagnose.causes.case import Case
    from oomsight.report.model import Task

STACKS_LARGE: Final = 0.03
"""Kernel stacks (16 KiB a thread on 64-bit): 3 % of 16 GiB are 31,000 threads."""
STACK_KIB: Final = 16
POOL_BOMB_COUNT: Final = 30
POOL_BOMB_ROWS: Final = 0.5
POOL_BOMB_SHARE: Final = 0.40
"""Many small processes of one name that are half the table and hold 40 %: a fork bomb or a runaway spawner."""
NEIGHBOUR_FACTOR: Final = 2
"""The culprit must hold this many times what the victim held before the victim is called a bystander."""
NEIGHBOUR_SHARE: Final = 0.20
POOL_COUNT: Final = 8
POOL_SHARE: Final = 0.40
"""Eight processes of one name that hold 40 % together: the number, not one of them, fills the memory."""
SINGLE_SHARE: Final = 0.50
"""One process with half of everything is worth asking whether it leaks."""
SPIKE_COUNT: Final = 3
SPIKE_SHARE: Final = 0.30
PROTECTED_SHARE: Final = 0.10
STEERED_ADJ: Final = 100
"""A positive oom_score_adj that moves a tenth of the memory's worth of points."""


def thread_or_fork_bomb(case: Case) -> Finding | None:
    """Threads or processes multiplied."""
    stacks, pool = case.items.get("kernel_stack"), case.pool
    evidence = []
    if case.exceeds(stacks, STACKS_LARGE):
        threads = stacks // STACK_KIB
        evidence.append(case.at(f"kernel stacks: {size(stacks)}, room for about {count(threads, 'thread')}"))
    rows = len(case.report.tasks)
    if (
        pool is not None
        and pool.count >= POOL_BOMB_COUNT
        and pool.count >= POOL_BOMB_ROWS * rows
        and case.exceeds(pool.kib, POOL_BOMB_SHARE)
    ):
        evidence.append(
            case.at(
                f"{pool.count} of {rows} listed processes are named {mark(pool.name)} and hold {size(pool.kib)} "
                "together",
                "table_first",
            )
        )
    if not evidence:
        return None
    advice = [
        Advice(
            "bound the number of processes and threads where they are made: pids.max of the cgroup, nproc of "
            "the user (ulimit -u), the pool size of the program"
        )
    ]
    unit = case.owner.unit if case.owner else None
    if unit and case.owner and case.owner.kind in ("unit", "user_session"):
        wanted = max(64, (pool.count if pool else 512) // 2)
        advice.append(
            Advice(
                f"for the unit {mark(unit, Kind.OWNER)}",
                ("systemctl", "set-property", "--", unit, f"TasksMax={wanted}"),
            )
        )
    if stacks and case.exceeds(stacks, STACKS_LARGE):
        return Finding(Confidence.LIKELY, evidence, advice)
    return Finding(
        Confidence.POSSIBLE,
        evidence,
        advice,
        settles="whether this number of processes is what the program is meant to start, or grew by itself",
    )


def many_processes(case: Case) -> Finding | None:
    """A pool of similar processes fills the memory; none of them is big."""
    pool = case.pool
    if case.manual or pool is None or pool.count < POOL_COUNT or not case.exceeds(pool.kib, POOL_SHARE):
        return None
    each = pool.kib // pool.count
    if case.exceeds(each, POOL_SHARE / 2) or thread_or_fork_bomb(case) is not None:
        return None
    name, room = pool.name.rstrip("*"), case.room_kib(pool) or case.base_kib or 0
    return Finding(
        Confidence.CERTAIN,
        [case.at(f"{holder(pool)} hold {case.held(pool)}, {size(each)} each on average", "table_first")],
        tune(name, room, each) or [Advice(f"run fewer at a time: at {size(each)} each, {fit_words(room, each)}")],
    )


def noisy_neighbour(case: Case) -> Finding | None:
    """Somebody else held the memory: the victim is a bystander."""
    culprit, victim = case.culprit, case.victim
    if (
        case.manual
        or culprit is None
        or victim is None
        or culprit.is_victim
        or culprit.kind not in ("process", "name", "user", "cgroup")
        or case.victim_kib is None
        or culprit.kib < NEIGHBOUR_FACTOR * max(case.victim_kib, 1)
        or not case.exceeds(culprit.kib, NEIGHBOUR_SHARE)
    ):
        return None
    advice = (
        [
            Advice(
                f"look at {holder(culprit)} first: it lives under the same limit and its growth gets others "
                "killed; give "
                "it a cgroup and a limit of its own"
            )
        ]
        if case.in_memcg
        else bound(case, culprit)
    )
    return Finding(
        Confidence.LIKELY,
        [
            case.held_by(f"{holder(culprit)} held {case.held(culprit)}", culprit),
            case.at(f"the victim {process(victim.comm, victim.pid)} held {size(case.victim_kib)}", "kill"),
        ],
        advice,
    )


def _adj(task: Task) -> int:
    """Return oom_score_adj, or the legacy oom_adj (-17..15) on its scale; 0 when neither is printed."""
    if task.oom_score_adj is not None:
        return task.oom_score_adj
    if task.oom_adj is None:
        return 0
    return -1000 if task.oom_adj == -17 else task.oom_adj * 1000 // 17


def protection_misused(case: Case) -> Finding | None:
    """oom_score_adj kept the biggest process from being chosen, or sent the kill to a small one."""
    big, victim, row = case.biggest, case.victim, case.victim_row
    if (
        case.manual
        or big is None
        or victim is None
        or case.victim_kib is None
        or (row is not None and big.tgid == row.tgid)
        or big.pid == victim.pid
        or case.biggest_kib < NEIGHBOUR_FACTOR * max(case.victim_kib, 1)
        or not case.exceeds(case.biggest_kib, PROTECTED_SHARE)
    ):
        return None
    adj, victim_adj = _adj(big), victim.oom_score_adj
    if victim_adj is None and row is not None:
        victim_adj = _adj(row)
    biggest = process(big.comm, big.pid)
    if adj < 0:
        return Finding(
            Confidence.CERTAIN,
            [
                case.row(
                    f"the biggest process, {biggest} with {size(case.biggest_kib)}, has oom_score_adj {adj}"
                    f"{': it may not be killed at all' if adj == -1000 else ''}",
                    big,
                ),
                case.at(f"so {process(victim.comm, victim.pid)} died, which held {size(case.victim_kib)}", "kill"),
            ],
            [
                Advice(
                    f"a process that can grow must not be protected: take the protection from {mark(big.comm)} "
                    "(OOMScoreAdjust= in its unit, or whoever writes its oom_score_adj), or bound it with a limit of "
                    "its own"
                ),
                Advice("to change it now", ("choom", "-p", str(big.pid), "-n", "0")),
            ],
        )
    if victim_adj is not None and victim_adj >= STEERED_ADJ and victim_adj > adj:
        kubernetes = case.owner is not None and case.owner.orchestrator == "kubernetes"
        return Finding(
            Confidence.CERTAIN,
            [
                case.at(
                    f"the victim's oom_score_adj is {victim_adj}, with {size(case.victim_kib)} in use",
                    "kill",
                    "table_first",
                ),
                case.row(f"{biggest} held {size(case.biggest_kib)} with oom_score_adj {adj}", big),
            ],
            [
                Advice(
                    "the kubelet sets this value from the pod's QoS class: a request close to the real use lowers "
                    "it, and "
                    "requests equal to limits make the pod Guaranteed (-997)"
                    if kubernetes
                    else "that is right if the victim is the one to give up first; if not, lower its OOMScoreAdjust="
                )
            ],
            title="oom_score_adj sent the kill to a smaller process",
        )
    return None


def leak_suspected(case: Case) -> Finding | None:
    """One process holds most of the memory. Whether it leaks, one report cannot tell."""
    culprit = case.culprit
    if case.manual or culprit is None or culprit.kind != "process" or not case.exceeds(culprit.kib, SINGLE_SHARE):
        return None
    return Finding(
        Confidence.POSSIBLE,
        [case.held_by(f"{holder(culprit)} alone held {case.held(culprit)} at this moment", culprit)],
        [
            Advice(
                "before raising a limit, see how it grew: `oomsight record` keeps its memory until the next kill, "
                "`oomsight leaks` judges it"
            )
        ],
        settles="its size over time: growth that never falls with constant work is a leak, a jump is not; "
        "several kills "
        "of the same program at regular distances point to a leak",
        title="One process holds most of the memory: a leak?",
    )


def traffic_spike(case: Case) -> Finding | None:
    """A program whose memory follows its load holds much of it: a burst of work?"""
    culprit = case.culprit
    if case.manual or culprit is None or culprit.kind not in ("process", "name"):
        return None
    runtime = runtime_of(culprit.name.rstrip("*"))
    if runtime is None or not runtime.serves or not case.exceeds(culprit.kib, SPIKE_SHARE):
        return None
    if culprit.kind == "name" and culprit.count < SPIKE_COUNT:
        return None
    return Finding(
        Confidence.POSSIBLE,
        [
            case.held_by(
                f"{holder(culprit)} held {case.held(culprit)}; memory of {runtime.label} follows the work it is given",
                culprit,
            )
        ],
        [
            Advice(
                "bound the work taken at once (connections, concurrency, request and batch size) rather than "
                "memory alone"
            )
        ],
        settles="requests, connections or jobs in the minutes before the kill, against the same hour of other days",
        title="A burst of work?",
    )
