"""
The kernel's choice, recomputed from the task table: points of every row, order, ties, and why it was this one.

The formulas are :mod:`oomsight.kernel.badness`'s, the scan and its ties :mod:`oomsight.kernel.selection`'s. Here the
report is matched with them; every difference between the recomputed and the real choice gets a reason in
:mod:`oomsight.diagnose.select_words`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight._rows import Rows
from oomsight.diagnose.model import RankedTask, Selection
from oomsight.diagnose.scope import allowed_nodes, in_memcg, managed_kib, page_kib_of, swap_in_use_kib
from oomsight.diagnose.select_words import (
    Scene,
    Total,
    reason_for,
    score_mismatch,
    shares_memory,
    why_chosen,
    without_choice,
)
from oomsight.kernel.badness import Rule, TaskFacts, badness, badness_modern
from oomsight.kernel.constraint import memcg_era, t_global, t_memcg, t_nodes
from oomsight.kernel.era import rule_for_shape
from oomsight.kernel.gfp import layout_of
from oomsight.kernel.release import NEWEST, Release, parse_release
from oomsight.kernel.selection import rank, scan_rule
from oomsight.report.model import EventKind
from oomsight.report.task_rows import TaskRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.report.model import LimitKib, OomReport

_KINDS: Final = frozenset({
    EventKind.GLOBAL, EventKind.MEMCG, EventKind.CPUSET, EventKind.MEMPOLICY, EventKind.SYSRQ, EventKind.PANIC,
    EventKind.NO_KILLABLE,
})  # fmt: skip


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
    scene = Scene(report, rows, rule, release, total, page_size >> 10, scan.tie, base, points, skipped, order)
    ranking = Rows(len(report.tasks), lambda: _ranking(scene))
    view = Selection(rule.name, rule_why, total.pages, total.how, ranking)
    chosen = _chosen(report)
    if chosen is None:
        without_choice(scene, view)
        return view
    view.margin_pages = _margin(scene, chosen)
    view.explained = bool(order) and order[0] == chosen
    view.reason = score_mismatch(scene, chosen) if view.explained else reason_for(scene, chosen)
    view.why = why_chosen(scene, chosen, view)
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


def _total(report: OomReport, rule: Rule, release: Release | None, page_size: int) -> Total:
    """T of the constraint the OOM was under (kernel-side arithmetic: :mod:`oomsight.kernel.constraint`)."""
    info, memcg = report.meminfo, report.memcg
    page_kib = page_size >> 10
    swap = info.total_swap_kib // page_kib if info is not None and info.total_swap_kib is not None else None

    def pages(limit: LimitKib) -> LimitKib:
        return limit // page_kib if isinstance(limit, int) else limit

    if in_memcg(report):
        limit = pages(memcg.memory.limit_kib) if memcg is not None and memcg.memory is not None else None
        if memcg is None or not isinstance(limit, int):
            return Total(None, None, exact=False)
        v1 = memcg.memsw is not None or memcg.kmem is not None
        at = release if release is not None and rule.contains(release) else rule.until or NEWEST
        swap_max = pages(memcg.swap.limit_kib) if memcg.swap is not None else None
        memsw = pages(memcg.memsw.limit_kib) if memcg.memsw is not None else None
        used = swap_in_use_kib(report) // page_kib
        found = t_memcg(memcg_era(at, 1 if v1 else 2), limit, total_swap_pages=swap, swap_used_pages=used,
                        swap_max_pages=swap_max, memsw_pages=memsw, page_size=page_size)  # fmt: skip
        bounds = [b for b in (swap_max, memsw - limit if isinstance(memsw, int) else None) if isinstance(b, int)]
        return Total(found.pages, found.how, swap is not None or used >= min(bounds, default=used + 1))
    if info is None:
        return Total(None, None, exact=False)
    nodes = allowed_nodes(report)
    if nodes is not None:
        present: dict[int, int] = {}
        for zone in info.zones:
            if zone.node in nodes and zone.node is not None:
                present[zone.node] = present.get(zone.node, 0) + zone.kib.get("present", 0) // page_kib
        if not present:
            return Total(None, None, exact=False)
        # Zones above the request's are not listed from 6.1 on, and up to 5.3 the kernel added up spanned pages.
        found = t_nodes(present.values(), swap or 0)
        return Total(found.pages, found.how, exact=False)
    managed = managed_kib(info, page_kib)
    if managed is None:
        return Total(None, None, exact=False)
    found = t_global(managed[0] // page_kib, swap or 0)
    return Total(found.pages, found.how, exact=swap is not None)


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


def _ranking(scene: Scene) -> list[RankedTask]:
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


def _margin(scene: Scene, chosen: int) -> int | None:
    """Points (pages) of the chosen row minus those of the best row of another address space; ``None`` = no other."""
    mine = scene.points[chosen]
    for index in scene.order if mine is not None else ():
        other = scene.points[index]
        if mine is not None and other is not None and index != chosen and not shares_memory(scene, chosen, index):
            return scene.in_pages(mine) - scene.in_pages(other)
    return None
