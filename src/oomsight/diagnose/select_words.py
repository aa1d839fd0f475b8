"""
The kernel's choice in words: why it was this process and not the bigger one, and what can have made the difference
where the choice recomputed from the task table (:mod:`oomsight.diagnose.select_view`) is not the real one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight.diagnose.scope import allowed_nodes, in_memcg
from oomsight.diagnose.wording import process, size
from oomsight.kernel.badness import Rule, printed_score
from oomsight.kernel.counters import counter_era, counter_error_pages
from oomsight.kernel.release import NEWEST, Release
from oomsight.report.model import EventKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.diagnose.model import Selection
    from oomsight.kernel.selection import Tie
    from oomsight.report.model import OomReport, Task
    from oomsight.report.task_rows import TaskRows

_ASSUMED_CPUS: Final = 2  #: when the text does not show more; counter error grows with the square of the CPUs
_ASSUMED_THREADS: Final = 4
_COUNTERS: Final = 4  #: anon, file, shmem and swap err independently
_GROWTH_SHIFT: Final = 4  #: a 16th of T is plausible growth between choice and table


class Total(NamedTuple):
    """T as far as the report tells."""

    pages: int | None
    how: str | None
    exact: bool  #: False = a lower bound


class Scene(NamedTuple):
    """One table with everything computed for it; rows go by their index."""

    report: OomReport
    rows: TaskRows
    rule: Rule
    release: Release | None  #: release in which the rule's era is, as far as the text tells
    total: Total
    page_kib: int
    tie: Tie
    base: Sequence[int]  #: points without oom_score_adj, also for exempt rows (pages)
    points: Sequence[int | None]  #: in the rule's own unit; ``None`` = exempt
    skipped: dict[int, str]
    order: list[int]  #: eligible rows, first choice first

    def task(self, index: int) -> Task:
        """The row."""
        return self.report.tasks[index]

    def adj(self, index: int) -> int:
        """``oom_score_adj``, or ``oom_adj`` on kernels that print nothing else."""
        task = self.report.tasks[index]
        return (task.oom_adj if task.oom_score_adj is None else task.oom_score_adj) or 0

    @property
    def comparable(self) -> bool:
        """Whether the order is the kernel's: without T nobody's ``oom_score_adj`` can be scaled, and they differ."""
        if self.total.pages is not None or self.rule.unit == "points":
            return True
        return len({self.adj(index) for index in self.order}) <= 1

    def name(self, index: int) -> str:
        """``NAME (pid 12)``, marked."""
        task = self.report.tasks[index]
        return process(task.comm, task.tgid)

    def held(self, index: int) -> str:
        """Memory the row is charged with, in words."""
        return size(self.base[index] * self.page_kib)

    def in_pages(self, points: int) -> int:
        """Points in pages whatever unit the rule counts in."""
        return points * self.total.pages // 1000 if self.rule.unit == "per_mille" and self.total.pages else points


def shares_memory(scene: Scene, one: int, other: int) -> bool:
    """Whether two rows are certainly one address space: same size in all columns, and too big to be there twice."""
    tgids, resident, total = scene.rows.numbers("tgid"), scene.rows.numbers("rss_pages"), scene.total.pages
    if tgids[one] == tgids[other]:
        return True
    if total is None or 2 * resident[one] <= total or resident[one] != resident[other]:
        return False
    a, b = scene.task(one), scene.task(other)
    return (a.total_vm_pages, a.pgtables_bytes, a.nr_ptes, a.swapents_pages) == (
        b.total_vm_pages, b.pgtables_bytes, b.nr_ptes, b.swapents_pages
    )  # fmt: skip


def score_mismatch(scene: Scene, chosen: int) -> str | None:
    """What can explain a printed score (<= 5.0) that is not the recomputed one; ``None`` = none printed, or equal."""
    report, rule, total, points = scene.report, scene.rule, scene.total, scene.points[chosen]
    printed = report.selected.score if report.selected is not None else None
    if printed is None and report.victims:
        printed = report.victims[0].score
    if printed is None or points is None or rule.unit == "points" or not total.pages or report.allocating_task_killed:
        return None
    high = report.meminfo is not None and any(zone.name == "HighMem" for zone in report.meminfo.zones)
    expected = printed_score(rule, points, total.pages, 32 if high else 64)
    if expected is None or expected == printed:
        return None
    cause = "the table is printed after the choice" if total.exact else "T is only a lower bound"
    if rule.root != "none" and scene.task(chosen).uid == 0:
        cause += ", and CAP_SYS_ADMIN, which lowers it, is not printed: uid 0 is taken for it"
    return f"the kernel printed score {printed}, the table gives {expected}: {cause}"


def reason_for(scene: Scene, chosen: int) -> str:
    """What can have made the kernel choose another row than the first; never empty."""
    report, rule, total = scene.report, scene.rule, scene.total
    if report.allocating_task_killed:
        return "vm.oom_kill_allocating_task is set: the kernel kills the task that asked, without comparing"
    mine = scene.points[chosen]
    if mine is None:
        return (
            f"{scene.name(chosen)} is exempt by the table ({scene.skipped[chosen]}): its adjustment changed after the "
            "choice, or it died because it shares memory with the chosen one"
        )
    best = scene.order[0]
    rival, task, other = scene.name(best), scene.task(chosen), scene.task(best)
    gap = (scene.points[best] or 0) - mine
    if shares_memory(scene, chosen, best):
        return f"{rival} shares its memory with the chosen process: both die, whichever the scan takes"
    if gap == 0:
        wins = "last" if scene.tie == "last" else "first"
        return (
            f"{rival} has the same points; on a tie the {wins} scanned wins, and the table need not be in the order of "
            "the scan"
        )
    if any(pid in (other.pid, other.tgid) for pid, _ in report.skipped_exiting):
        return f"{rival} had more points but was already exiting"
    if rule.unit == "points":
        return "kernels up to 2.6.35 also weigh CPU time, age, children and privileges, which the table does not show"
    if scene.adj(chosen) > scene.adj(best) and not total.exact:
        known = "is not in the text" if total.pages is None else "is only known as a lower bound"
        return f"T, which scales oom_score_adj, {known}; {rival} has more memory but the smaller oom_score_adj"
    if rule.root != "none" and 0 in (task.uid, other.uid):
        return f"root's bonus: whether {rival} or the chosen process has CAP_SYS_ADMIN is not printed"
    pages = scene.in_pages(gap)
    ahead = f"{rival} is {size(pages * scene.page_kib)} ahead"
    at = scene.release if scene.release is not None and rule.contains(scene.release) else rule.until or NEWEST
    cpus = max(_ASSUMED_CPUS, ((report.trigger.cpu or 0) if report.trigger else 0) + 1)
    if pages <= _COUNTERS * (counter_error_pages(counter_era(at), cpus, _ASSUMED_THREADS) or 0):
        return f"{ahead}, which is within the error of the kernel's per-CPU counters"
    if total.pages is not None and pages <= total.pages >> _GROWTH_SHIFT:
        return f"{ahead} in the table, which is printed after the choice, while tasks still allocate"
    return (
        f"{ahead}: the kernel must have passed it over for a state no line shows (memory already reaped, inside "
        "vfork, or an oom_score_adj that changed since)"
    )


def without_choice(scene: Scene, view: Selection) -> None:
    """Fill in *view* where no row is the chosen one."""
    report = scene.report
    first = scene.name(scene.order[0]) if scene.order else None
    victim = report.victims[0] if report.victims else None
    died = process(victim.comm, victim.pid) if victim is not None else ""
    doubt = "" if scene.comparable else ", as far as their oom_score_adj, which differ, do not change the order"
    if first is None:
        view.explained = victim is None
        whole = victim is not None or report.kind is EventKind.NO_KILLABLE or bool(report.panic)
        those = "process of the table" if whole else "process listed in this text"
        view.why = f"No {those} can be killed: each is exempt by its oom_score_adj."
        if victim is not None:
            view.reason = "every row of the table is exempt, and the victim is not in it"
    elif victim is None:
        view.reason = "the kernel panicked instead of choosing" if report.panic else "no kill line is in the text"
        view.why = f"By the table {first} would be the first choice."
        if not scene.comparable:
            view.why = (
                f"Of those that can be killed {first} holds the most; oom_score_adj counts as a share of "
                f"{_whole(scene)}, which is not in this text, so another may come first."
            )
    elif victim.role == "child":
        view.reason = "a child was killed in place of the chosen process, which the text does not name"
        view.why = f"{died} died as a child of the chosen process; by the table {first} comes first{doubt}."
    else:
        view.reason = "the victim is not in the task table: rows are missing, or it started after the table was made"
        view.why = f"{died} is not in the table; by the table {first} comes first{doubt}."


def why_chosen(scene: Scene, chosen: int, view: Selection) -> str:
    """One sentence in plain words: why this process and not the biggest one."""
    report, base, name, order = scene.report, scene.base, scene.name(chosen), scene.order
    if report.allocating_task_killed:
        return f"{name} was killed because it asked for memory: vm.oom_kill_allocating_task is set."
    held = scene.held(chosen)
    if not view.explained:
        first = f" although {scene.name(order[0])} comes first by the table" if order else ""
        child = report.victims and report.victims[0].role == "child"
        return f"{name} ({held}) was {'chosen' if child else 'killed'}{first}: {view.reason}."
    spared = ""
    heavier = [i for i in scene.skipped if base[i] > base[chosen]]
    if heavier:
        top = max(heavier, key=base.__getitem__)
        spared = f"{scene.name(top)} is bigger ({scene.held(top)}) but exempt by {scene.skipped[top]}; "
    adj, total = scene.adj(chosen), scene.total.pages
    key = "oom_score_adj" if scene.rule.unit != "points" else "oom_adj"
    top = order[0] if scene.points is base else max(order, key=base.__getitem__, default=chosen)
    if base[top] > base[chosen]:
        other = scene.adj(top)
        text = f"{spared}{scene.name(top)} is bigger ({scene.held(top)}) than {name} ({held})"
        # Whichever adjustment is not zero made the difference; of two, the victim's own is the one to tell.
        who, value = ("the victim's", adj) if adj > 0 else ("its", other)
        return f"{text}, but {who} {key} {value:+d} {_effect(scene, value)}."
    if len(order) == 1 and not spared:
        where = "this text" if any(note.code == "table_no_header" for note in report.notes) else "the table"
        return f"{name}, with {held}, is the only process in {where} that can be killed."
    text = f"{spared}{name} held the most{' of the rest' if spared else ''}, {held}"
    if total is not None and total < 1000 and any(scene.adj(i) not in {0, -1000} for i in order):
        text += f"; {_whole(scene)} is less than 1000 pages, so oom_score_adj has no effect"
    elif adj:
        text += f", and its {key} {adj:+d} {_effect(scene, adj)}"
    twin = order[1] if len(order) > 1 else chosen  # those of one memory are of one size, and rank side by side
    if shares_memory(scene, chosen, twin) and scene.task(twin).tgid != scene.task(chosen).tgid:
        text += f"; {scene.name(twin)} shares that memory, so the kernel killed it too, which no line says"
    if view.margin_pages == 0:
        wins = scene.tie.partition("_")[0]
        text += f"; another process has the same points, and of these the {wins} scanned is taken"
    return f"{text}."


def _whole(scene: Scene) -> str:
    """What T is, in words."""
    if in_memcg(scene.report):
        return "the limit"
    return "RAM and swap" if allowed_nodes(scene.report) is None else "the nodes' memory and swap"


def _effect(scene: Scene, adj: int) -> str:
    """What an adjustment does to the points, with numbers where T is known."""
    verb = "adds" if adj > 0 else "takes off"
    if scene.rule.unit == "points":
        return f"{'doubles' if adj > 0 else 'halves'} the points {abs(adj)} times"
    text = f"{verb} {abs(adj)}/1000 of {_whole(scene)}"
    if scene.total.pages is None:
        return text
    return f"{text}, {size(abs(adj) * (scene.total.pages // 1000) * scene.page_kib)}"
