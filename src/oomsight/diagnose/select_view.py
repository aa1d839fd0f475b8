"""
The kernel's choice, recomputed from the task table: points of every row, order, ties, and why it was this one.

The formulas are :mod:`oomsight.kernel.badness`'s, the scan and its ties :mod:`oomsight.kernel.selection`'s. Here the
report is matched with them, and every difference between the recomputed and the real choice gets a reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight._rows import Rows
from oomsight.diagnose.accounting import allowed_nodes, in_memcg, managed_kib, page_kib_of
from oomsight.diagnose.model import RankedTask, Selection
from oomsight.diagnose.wording import process, size
from oomsight.kernel.badness import Rule, TaskFacts, badness, badness_modern, printed_score
from oomsight.kernel.constraint import memcg_era, t_global, t_memcg, t_nodes
from oomsight.kernel.counters import counter_era, counter_error_pages
from oomsight.kernel.era import rule_for_shape
from oomsight.kernel.gfp import layout_of
from oomsight.kernel.release import NEWEST, Release, parse_release
from oomsight.kernel.selection import rank, scan_rule
from oomsight.report.model import EventKind
from oomsight.report.task_rows import TaskRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.kernel.selection import Tie
    from oomsight.report.model import LimitKib, OomReport, Task

_KINDS: Final = frozenset({
    EventKind.GLOBAL, EventKind.MEMCG, EventKind.CPUSET, EventKind.MEMPOLICY, EventKind.SYSRQ, EventKind.PANIC,
    EventKind.NO_KILLABLE,
})  # fmt: skip
_ASSUMED_CPUS: Final = 2  #: when the text does not show more; counter error grows with the square of the CPUs
_ASSUMED_THREADS: Final = 4
_COUNTERS: Final = 4  #: anon, file, shmem and swap err independently
_GROWTH_SHIFT: Final = 4  #: a 16th of T is plausible growth between choice and table


class _Total(NamedTuple):
    """T as far as the report tells."""

    pages: int | None
    how: str | None
    exact: bool  #: False = a lower bound


class _Scene(NamedTuple):
    """One table with everything computed for it; rows go by their index."""

    report: OomReport
    rows: TaskRows
    rule: Rule
    release: Release | None  #: release in which the rule's era is, as far as the text tells
    total: _Total
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


def selection(report: OomReport) -> Selection | None:
    """
    The kernel's choice recomputed from the task table of *report*; ``None`` without a table.

    ``ranking`` holds the eligible rows in the order the kernel would take them, then the exempt ones, biggest first.
    ``explained`` is True when the first is the one the kernel chose; otherwise ``reason`` says what can make the
    difference. ``per_mille`` and ``adj_points_pages`` are ``None`` where T is not known.
    """
    if not report.tasks or report.kind not in _KINDS:
        return None
    page_size = page_kib_of(report) << 10
    release = parse_release(report.trigger.kernel_release) if report.trigger else None
    rule, rule_why = _rule(report)
    total = _total(report, rule, release, page_size)
    scan = scan_rule(rule, in_memcg(report), release)
    rows = TaskRows.of(report.tasks)
    base, points, skipped = _score(rows, rule, total.pages, page_size)
    # What everybody holds is put in order once for the whole diagnosis.
    order = rows.by_held(page_size) if points is base and scan.tie == "last" else rank(points, scan)
    scene = _Scene(report, rows, rule, release, total, page_size >> 10, scan.tie, base, points, skipped, order)
    ranking = Rows(len(report.tasks), lambda: _ranking(scene))
    view = Selection(rule.name, rule_why, total.pages, total.how, ranking)
    chosen = _chosen(report)
    if chosen is None:
        _without_choice(scene, view)
        return view
    view.margin_pages = _margin(scene, chosen)
    view.explained = bool(order) and order[0] == chosen
    view.reason = _score_mismatch(scene, chosen) if view.explained else _reason(scene, chosen)
    view.why = _why(scene, chosen, view)
    return view


def _rule(report: OomReport) -> tuple[Rule, str]:
    """Badness rule of the kernel that wrote *report*, from the shape of its lines."""
    columns = report.table_columns
    if columns is None:
        task = report.tasks[0]
        cells = (
            ("rss_anon", task.rss_anon_pages), ("pgtables_bytes", task.pgtables_bytes), ("nr_ptes", task.nr_ptes),
            ("nr_pmds", task.nr_pmds), ("oom_score_adj", task.oom_score_adj), ("oom_adj", task.oom_adj),
        )  # fmt: skip
        columns = tuple(name for name, value in cells if value is not None)
    fields: set[str] = set()
    for victim in report.victims[:1]:
        # vsz: of 2.6.33-2.6.35 is the same number; those kernels are known by the table's columns.
        for name, value in (("total-vm", victim.total_vm_kib), ("shmem-rss", victim.shmem_rss_kib),
                            ("pgtables", victim.pgtables_kib), ("score", victim.score)):  # fmt: skip
            if value is not None:
                fields.add(name)
    trigger = report.trigger
    layout = layout_of(trigger.gfp_mask) if trigger is not None and trigger.gfp_mask else None
    release = trigger.kernel_release if trigger is not None else None
    return rule_for_shape(columns, "oom_kill" in report.lines, frozenset(fields), layout, release)


def _total(report: OomReport, rule: Rule, release: Release | None, page_size: int) -> _Total:
    """T of the constraint the OOM was under (kernel-side arithmetic: :mod:`oomsight.kernel.constraint`)."""
    info, memcg = report.meminfo, report.memcg
    page_kib = page_size >> 10
    swap = info.total_swap_kib // page_kib if info is not None and info.total_swap_kib is not None else None

    def pages(limit: LimitKib) -> LimitKib:
        return limit // page_kib if isinstance(limit, int) else limit

    if in_memcg(report):
        limit = pages(memcg.memory.limit_kib) if memcg is not None and memcg.memory is not None else None
        if memcg is None or not isinstance(limit, int):
            return _Total(None, None, exact=False)
        v1 = memcg.memsw is not None or memcg.kmem is not None
        at = release if release is not None and rule.contains(release) else rule.until or NEWEST
        swap_max = pages(memcg.swap.limit_kib) if memcg.swap is not None else None
        memsw = pages(memcg.memsw.limit_kib) if memcg.memsw is not None else None
        found = t_memcg(memcg_era(at, 1 if v1 else 2), limit, total_swap_pages=swap, swap_max_pages=swap_max,
                        memsw_pages=memsw, page_size=page_size)  # fmt: skip
        return _Total(found.pages, found.how, swap is not None or swap_max == 0 or memsw == limit)
    if info is None:
        return _Total(None, None, exact=False)
    nodes = allowed_nodes(report)
    if nodes is not None:
        present: dict[int, int] = {}
        for zone in info.zones:
            if zone.node in nodes and zone.node is not None:
                present[zone.node] = present.get(zone.node, 0) + zone.kib.get("present", 0) // page_kib
        if not present:
            return _Total(None, None, exact=False)
        # Zones above the request's are not listed from 6.1 on, and up to 5.3 the kernel added up spanned pages.
        found = t_nodes(present.values(), swap or 0)
        return _Total(found.pages, found.how, exact=False)
    managed = managed_kib(info, page_kib)
    if managed is None:
        return _Total(None, None, exact=False)
    found = t_global(managed[0] // page_kib, swap or 0)
    return _Total(found.pages, found.how, exact=swap is not None)


def _score(
    tasks: TaskRows, rule: Rule, total: int | None, page_size: int
) -> tuple[Sequence[int], Sequence[int | None], dict[int, str]]:
    """
    Base pages and points of every row, and why rows are exempt; one and the same list where the points are those pages.
    Whole columns: tables have hundreds of rows.
    """
    legacy = rule.unit == "points"
    # Without T oom_score_adj cannot be scaled: the rows are then compared by memory alone.
    modern = rule.unit == "pages" or (rule.unit == "per_mille" and total is None)
    scale = total or 0
    base = tasks.numbers("total_vm_pages") if legacy else tasks.held_pages(page_size)
    skipped = _exempt(tasks, legacy)
    if modern and rule.root == "none":
        thousandth, floor = scale // 1000, rule.floor
        scored = base
        if not tasks.is_zero("oom_score_adj"):
            adj = tasks.numbers("oom_score_adj")
            scored = [held + by * thousandth if by else held for held, by in zip(base, adj, strict=True)]
        if floor is not None and min(scored, default=floor) < floor:
            scored = [max(floor, value) for value in scored]
        if not skipped:
            return base, scored, skipped
        points: list[int | None] = [*scored]
        for index in skipped:
            points[index] = None
        return base, points, skipped
    points = []
    for index, task in enumerate(tasks):
        tables = task.pgtables_bytes
        if tables is None:
            tables = ((task.nr_ptes or 0) + (task.nr_pmds or 0)) * page_size
        if index in skipped:
            points.append(None)
        elif modern and task.uid != 0:
            by, swap = task.oom_score_adj or 0, task.swapents_pages or 0
            points.append(badness_modern(task.rss_pages, swap, tables, by, scale, page_size, rule.floor))
        else:
            # CAP_SYS_ADMIN is not printed; uid 0 is the best guess there is.
            facts = TaskFacts(
                rss_pages=task.rss_pages, swap_pages=task.swapents_pages or 0, pgtables_bytes=task.pgtables_bytes,
                nr_ptes=task.nr_ptes, nr_pmds=task.nr_pmds, oom_score_adj=task.oom_score_adj,
                cap_sys_admin=task.uid == 0, total_vm_pages=task.total_vm_pages, oom_adj=task.oom_adj,
            )  # fmt: skip
            found = badness(rule, facts, scale, page_size)
            points.append(found.total if found is not None else None)
    return base, points, skipped


def _exempt(tasks: TaskRows, legacy: bool) -> dict[int, str]:
    """Why rows cannot be chosen, by index."""
    field, least = ("oom_adj", -17) if legacy else ("oom_score_adj", -1000)
    found = {}
    if not tasks.is_zero(field):
        found = {index: f"{field} {least}" for index, adj in enumerate(tasks.numbers(field)) if adj == least}
    if tasks.find(1, "tgid") is not None:
        for index, tgid in enumerate(tasks.numbers("tgid")):
            if tgid == 1:
                found.setdefault(index, "init")
    return dict(sorted(found.items()))


def _ranking(scene: _Scene) -> list[RankedTask]:
    """Rows of the table in the kernel's order of choice, exempt rows after them, biggest first."""
    tasks, points_of, skipped, page_kib = scene.report.tasks, scene.points, scene.skipped, scene.page_kib
    total = scene.total.pages or 0
    thousandth = total // 1000
    unit = scene.rule.unit
    rows: list[RankedTask] = []
    place: int | None = 0
    for index in scene.order + sorted(skipped, key=lambda i: -scene.base[i]):
        task = tasks[index]
        points = points_of[index]
        adj = task.oom_score_adj
        per_mille = adj_points = None
        if points is None or place is None:
            place = None
        else:
            place += 1
            if total and unit == "pages":
                per_mille = points * 1000 // total if points >= 0 else -(-points * 1000 // total)
                adj_points = (adj or 0) * thousandth
            elif total and unit == "per_mille":
                per_mille, points = points, points * total // 1000
                adj_points = (adj or 0) * total // 1000
        tables = task.pgtables_bytes
        if tables is not None:
            tables >>= 10
        elif task.nr_ptes is not None:
            tables = (task.nr_ptes + (task.nr_pmds or 0)) * page_kib
        swap = task.swapents_pages
        rows.append(RankedTask(
            place, task.pid, task.tgid, task.comm, points, task.oom_adj if adj is None else adj,
            task.rss_pages * page_kib, None if swap is None else swap * page_kib, tables, adj_points, per_mille,
            skipped.get(index),
        ))  # fmt: skip
    return rows


def _chosen(report: OomReport) -> int | None:
    """Row of the task the kernel chose (before child sacrifice); only the first of a group was chosen."""
    ids: tuple[int | None, ...] = ()
    if report.selected is not None and report.selected.pid is not None:
        ids = (report.selected.pid,)
    elif report.victims and report.victims[0].role == "selected":
        ids = (report.victims[0].tgid, report.victims[0].pid)
    rows = TaskRows.of(report.tasks)
    # A leader that has exited is printed as the first thread that still has the memory.
    return next((index for wanted in ids if (index := rows.find(wanted, "tgid", "pid")) is not None), None)


def _margin(scene: _Scene, chosen: int) -> int | None:
    """Points (pages) of the chosen row minus those of the best row of another address space; ``None`` = no other."""
    mine = scene.points[chosen]
    for index in scene.order if mine is not None else ():
        other = scene.points[index]
        if mine is not None and other is not None and index != chosen and not _shares_memory(scene, chosen, index):
            return scene.in_pages(mine) - scene.in_pages(other)
    return None


def _shares_memory(scene: _Scene, one: int, other: int) -> bool:
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


def _score_mismatch(scene: _Scene, chosen: int) -> str | None:
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


def _reason(scene: _Scene, chosen: int) -> str:
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
    if _shares_memory(scene, chosen, best):
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


def _without_choice(scene: _Scene, view: Selection) -> None:
    """Fill in *view* where no row is the chosen one."""
    report = scene.report
    first = scene.name(scene.order[0]) if scene.order else None
    victim = report.victims[0] if report.victims else None
    died = process(victim.comm, victim.pid) if victim is not None else ""
    doubt = "" if scene.comparable else ", as far as their oom_score_adj, which differ, do not change the order"
    if first is None:
        view.explained = victim is None
        view.why = "No process of the table can be killed: each is exempt by its oom_score_adj."
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


def _why(scene: _Scene, chosen: int, view: Selection) -> str:
    """One sentence in plain words: why this process and not the biggest one."""
    report, base, name, order = scene.report, scene.base, scene.name(chosen), scene.order
    if report.allocating_task_killed:
        return f"{name} was killed because it asked for memory: vm.oom_kill_allocating_task is set."
    held = scene.held(chosen)
    if not view.explained:
        first = f" although {scene.name(order[0])} comes first by the table" if order else ""
        return f"{name} ({held}) was killed{first}: {view.reason}."
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
    if _shares_memory(scene, chosen, twin) and scene.task(twin).tgid != scene.task(chosen).tgid:
        text += f"; {scene.name(twin)} shares that memory, so the kernel killed it too, which no line says"
    if view.margin_pages == 0:
        wins = scene.tie.partition("_")[0]
        text += f"; another process has the same points, and of these the {wins} scanned is taken"
    return f"{text}."


def _whole(scene: _Scene) -> str:
    """What T is, in words."""
    if in_memcg(scene.report):
        return "the limit"
    return "RAM and swap" if allowed_nodes(scene.report) is None else "the nodes' memory and swap"


def _effect(scene: _Scene, adj: int) -> str:
    """What an adjustment does to the points, with numbers where T is known."""
    verb = "adds" if adj > 0 else "takes off"
    if scene.rule.unit == "points":
        return f"{'doubles' if adj > 0 else 'halves'} the points {abs(adj)} times"
    text = f"{verb} {abs(adj)}/1000 of {_whole(scene)}"
    if scene.total.pages is None:
        return text
    return f"{text}, {size(abs(adj) * (scene.total.pages // 1000) * scene.page_kib)}"
