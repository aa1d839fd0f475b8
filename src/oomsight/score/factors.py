"""
One process, factor by factor: what its points are made of, and what oom_score_adj would move it where.
"""

from __future__ import annotations

from functools import partial

from oomsight._named import NamedTuple
from oomsight.kernel.badness import OOM_SCORE_ADJ_MAX, OOM_SCORE_ADJ_MIN, badness, oom_score, per_mille
from oomsight.kernel.release import NEWEST
from oomsight.kernel.selection import scan_rule
from oomsight.score.rules import facts, memory_reader, score_points

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from oomsight.kernel.badness import Points
    from oomsight.proc.process import Process
    from oomsight.score.model import Machine, Ranked, Ranking, Snapshot

NEIGHBOURS: Final = 2  #: ranks above and below its own that are told, besides the first and the last


class Move(NamedTuple):
    """What a span of oom_score_adj would make of the process."""

    first_adj: int
    last_adj: int
    rank: int | None  #: ``None`` = exempt
    ahead_of: int | None  #: pid it would just pass; ``None`` = it would be last, or is exempt


class Factors(NamedTuple):
    """Why a process ranks where it ranks, in one OOM."""

    row: Ranked
    ranking: Ranking
    points: Points | None  #: by the full engine, terms included; ``None`` = exempt
    per_mille: int | None  #: of T
    oom_score: int | None  #: what /proc should show (always by the host's T)
    moves: tuple[Move, ...]  #: from -1000 up
    adj_works: bool  #: False = T is below 1,000 pages, only -1000 does anything


def explain_process(ranking: Ranking, snapshot: Snapshot, pid: int) -> Factors | None:
    """Everything about ``pid`` in this OOM; ``None`` = it is not part of it."""
    row = ranking.of(pid)
    if row is None:
        return None
    machine, rule, total_pages = snapshot.machine, ranking.rules.rule, ranking.total.pages
    memory = memory_reader(machine, ranking.rules.era)(row.process)
    points = None
    shown = 0
    if row.skipped is None:
        points = badness(rule, facts(row.process, memory, machine), total_pages, machine.page_size, machine.long_bits)
        whole = machine.total.pages
        shown = oom_score(rule, score_points(rule, row.process, memory, whole, machine), whole, machine.long_bits)
    return Factors(
        row, ranking, points,
        None if row.points is None else per_mille(row.points, total_pages) if rule.unit == "pages" else row.points,
        shown, tuple(_moves(row, ranking, machine)), rule.unit != "pages" or total_pages >= 1000,
    )  # fmt: skip


def points_by_adj(row: Ranked, ranking: Ranking, machine: Machine) -> Callable[[int], int]:
    """The process's points as a function of oom_score_adj (-999 … 1000)."""
    memory = memory_reader(machine, ranking.rules.era)(row.process)

    def points(adj: int) -> int:
        process: Process = row.process._replace(oom_score_adj=adj)
        return score_points(ranking.rules.rule, process, memory, ranking.total.pages, machine)

    return points


def _moves(row: Ranked, ranking: Ranking, machine: Machine) -> list[Move]:
    """Spans of oom_score_adj with the rank each would give, those of interest only."""
    if row.skipped not in {None, "oom_score_adj -1000"}:
        return []
    points = points_by_adj(row, ranking, machine)
    others = [other for other in ranking.rows if other is not row]  # first to die first
    tie = scan_rule(ranking.rules.rule, ranking.scope == "cgroup", ranking.rules.release or NEWEST).tie

    def ahead(adj: int, other: Ranked) -> bool:
        mine, theirs = points(adj), other.points or 0
        return mine > theirs or (mine == theirs and (row.place > other.place) == (tie == "last"))

    moves = [Move(OOM_SCORE_ADJ_MIN, OOM_SCORE_ADJ_MIN, None, None)]
    at, low, high = len(others), OOM_SCORE_ADJ_MIN + 1, OOM_SCORE_ADJ_MAX
    while low <= high:  # walk up: from the last rank to the first
        while at and ahead(low, others[at - 1]):
            at -= 1
        last = high if at == 0 else _last_behind(partial(ahead, other=others[at - 1]), low, high)
        moves.append(Move(low, last, at + 1, others[at].process.pid if at < len(others) else None))
        low = last + 1
    return moves


def _last_behind(passes: Callable[[int], bool], low: int, high: int) -> int:
    """The last value in ``low`` … ``high`` that does not pass yet; ``low`` does not, and passing is monotonic."""
    while low < high:
        middle = (low + high + 1) // 2
        if passes(middle):
            high = middle - 1
        else:
            low = middle
    return low


def telling_moves(factors: Factors) -> list[tuple[Move, ...]]:
    """
    The moves, all of them, from -1000 up: exempt, last, around its own rank and first alone; those between them, which
    are of less interest, together.
    """
    own, moves = factors.row.rank, factors.moves
    if len(moves) <= 2 * NEIGHBOURS + 4:
        return [(move,) for move in moves]
    groups: list[list[Move]] = []
    together = False
    for place, move in enumerate(moves):
        near = own is not None and move.rank is not None and abs(move.rank - own) <= NEIGHBOURS
        alone = place < 2 or place == len(moves) - 1 or near
        if alone or not together:
            groups.append([])
        groups[-1].append(move)
        together = not alone
    return [tuple(group) for group in groups]
