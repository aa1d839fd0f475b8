"""The tables of an explanation: biggest consumers, the kernel's ranking, many incidents at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight.diagnose.wording import share
from oomsight.naming.cgroup_path import describe
from oomsight.naming.marked import Kind, mark
from oomsight.sinks.blocks import Column, Row, Table, human_kib
from oomsight.sinks.words import clock_words, kib_words, number, rss_kib, task_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from oomsight.diagnose.model import Consumer, Incident, RankedTask, Selection
    from oomsight.report.model import Killed
    from oomsight.sinks.blocks import Tone

MAX_CONSUMERS: Final = 6
MAX_RANKED: Final = 5  #: top of the ranking; victim, trigger and culprit are shown wherever they rank
MAX_MARKED: Final = 6  #: rows below the top shown for their role (memory.oom.group may kill hundreds)
_NOBODY: Final[dict[str, str]] = {
    "allocation_failure": "none (failed request)", "no_killable": "nobody (none left)", "panic": "nobody (panic)",
}  # fmt: skip
"""What stands in place of a name where no process died."""


def _ended(killed: Killed) -> str:
    owner = describe(killed.cgroup) if killed.comm is None and killed.pid is None else None
    return task_words(killed.comm, killed.pid) if owner is None else owner.short


def _is_named(killed: Killed) -> bool:
    return bool(killed.comm or killed.cgroup or killed.pid is not None)


def overview_table(incidents: Sequence[Incident]) -> Table:
    """Return one row per incident."""
    columns = (
        Column("#", right=True), Column("time", drop=1), Column("killed", flexible=True), Column("size", right=True),
        Column("where", flexible=True, drop=3), Column("cause", drop=2),
    )  # fmt: skip
    rows = []
    for index, incident in enumerate(incidents, 1):
        report = incident.report
        names = [task_words(dead.comm, dead.pid) for dead in report.victims]
        names = names or list(map(_ended, filter(_is_named, report.killed)))
        if not names and report.selected is not None and report.selected.comm is not None:
            names = [f"{task_words(report.selected.comm, report.selected.pid)}, chosen"]
        names = names or [f"{task_words(comm, pid)}, reaped" for pid, comm in report.reaped_only]
        others = max(len(names) - 1, 0) + (report.killed_unnamed or 0)
        more = f" +{others}" if others else ""
        sizes = [kib for v in report.victims if (kib := rss_kib(v)) is not None]
        owner = incident.oom_owner or incident.owner
        if report.killed_unnamed and not names:
            names, more = [f"{report.killed_unnamed:,}, not named"], ""
        asked = report.trigger.comm if report.trigger is not None else None
        unknown = f"unknown ({mark(asked)} asked)" if asked else "not in this text"
        nobody = "not named" if report.killed else _NOBODY.get(report.kind, unknown)
        cells = (
            str(index), clock_words(report.when),
            names[0] + more if names else nobody,
            human_kib(sum(sizes)) if sizes else "",
            owner.short if owner else "", incident.causes[0].code if incident.causes else "",
        )  # fmt: skip
        rows.append(cells)
    told = [at for at in range(len(columns)) if any(cells[at] for cells in rows)]  # a column of nothing tells nothing
    return Table(tuple(columns[at] for at in told), tuple(Row(tuple(cells[at] for at in told)) for cells in rows))


def consumers_table(incident: Incident, *, proof: bool) -> tuple[Table, list[str]] | None:
    """Return the biggest consumers and the remarks that belong below them; ``None`` when none is known."""
    culprit = incident.culprit
    rows = sorted(_worth_showing(incident.consumers, culprit), key=lambda c: -c.kib)
    shown = rows[:MAX_CONSUMERS] + [c for c in rows[MAX_CONSUMERS:] if c.is_victim or c == culprit][:MAX_MARKED]
    if not shown:
        return None
    labels = {word: item.label for a in incident.accountings for item in a.items for word in (item.key, item.label)}
    lines = {task.pid: task.line for task in incident.report.tasks} if proof else {}
    trigger = incident.report.trigger.pid if incident.report.trigger else None
    columns = [
        Column("who", flexible=True), Column("pid", right=True, drop=2), Column("memory", right=True),
        Column("share", right=True, drop=1), Column("role", flexible=True),
    ]  # fmt: skip
    table = []
    for c in shown:
        pid = c.pids[0] if c.kind == "process" and c.pids else None
        cells = [
            _consumer_name(c, labels), "" if pid is None else str(pid), human_kib(c.kib),
            "" if c.share_pct is None else share(c.share_pct),
            _roles(c.is_victim, c == culprit, trigger is not None and trigger in c.pids),
        ]  # fmt: skip
        if proof:
            cells.append(str(lines.get(pid, "")) if pid is not None else "")
        table.append(Row(tuple(cells), _tone(c.is_victim, c == culprit)))
    if proof:
        columns.append(Column("line", right=True, drop=1))
    return Table(tuple(columns), tuple(table)), list(dict.fromkeys(c.note for c in shown if c.note))


def _worth_showing(consumers: Sequence[Consumer], culprit: Consumer | None) -> Iterable[Consumer]:
    """
    Leave out what would say a row again: a pool of one; members of a pool, unless they have a role of their own; users
    and cgroups, unless one is the culprit.
    """
    pools = {consumer.name for consumer in consumers if consumer.kind == "name" and consumer.count > 1}
    for consumer in consumers:
        match consumer.kind:
            case "process":
                shown = consumer.is_victim or consumer.name not in pools
            case "name":
                shown = consumer.count > 1
            case "user" | "cgroup":
                shown = False
            case _:
                shown = True
        if shown or consumer == culprit:
            yield consumer


def _consumer_name(consumer: Consumer, labels: dict[str, str]) -> str:
    match consumer.kind:
        case "name":
            return f"{consumer.count} × {mark(consumer.name)}"
        case "user":
            return f"user {mark(consumer.name, Kind.USER)}, {consumer.count} processes"
        case "cgroup":
            return f"cgroup {mark(consumer.name, Kind.CGROUP)}"
        case "kernel" | "shared":  # an accounting item, named in our own words; anything else is a foreign name
            return labels.get(consumer.name) or mark(consumer.name, Kind.OWNER)
        case _:
            return mark(consumer.name)


def _roles(victim: bool, culprit: bool, trigger: bool) -> str:
    return ", ".join(word for word, on in (("killed", victim), ("culprit", culprit), ("trigger", trigger)) if on)


def _tone(victim: bool, culprit: bool) -> Tone:
    return "bad" if victim else "warn" if culprit else "plain"


def ranking_table(incident: Incident, selection: Selection, *, proof: bool) -> Table:
    """Return the top of the kernel's ranking and, wherever they rank, victim, trigger and culprit."""
    report, culprit = incident.report, incident.culprit
    killed = {v.pid for v in report.victims} | {v.tgid for v in report.victims}
    trigger = report.trigger.pid if report.trigger else None
    guilty = set(culprit.pids) if culprit is not None and culprit.kind == "process" else set()
    eligible = [t for t in selection.ranking if t.rank is not None]

    def parts(task: RankedTask) -> tuple[bool, bool, bool]:
        own = (task.pid, task.tgid)
        return any(p in killed for p in own), any(p in guilty for p in own), trigger in own

    shown = eligible[:MAX_RANKED] + [t for t in eligible[MAX_RANKED:] if any(parts(t))][:MAX_MARKED]
    columns = [
        Column("rank", right=True, drop=2), Column("process", flexible=True), Column("pid", right=True, drop=3),
        Column("points", right=True), Column("per mille", right=True, drop=5), Column("rss", right=True, drop=1),
        Column("swap", right=True, drop=4), Column("page tables", right=True, drop=7), Column("adj", right=True),
        Column("points of adj", right=True, drop=6), Column("role", flexible=True),
    ]  # fmt: skip
    if proof:
        columns.append(Column("line", right=True, drop=1))
    lines = {task.pid: task.line for task in report.tasks} if proof else {}
    rows = []
    for t in shown:
        victim, biggest, asked = parts(t)
        cells = [
            str(t.rank), mark(t.comm), str(t.pid), number(t.points_pages), number(t.per_mille), human_kib(t.rss_kib),
            kib_words(t.swap_kib), kib_words(t.pgtables_kib), number(t.oom_score_adj), number(t.adj_points_pages),
            _roles(victim, biggest, asked),
        ]  # fmt: skip
        if proof:
            cells.append(str(lines.get(t.pid, "")))
        rows.append(Row(tuple(cells), _tone(victim, biggest)))
    more = len(eligible) - len(shown)
    return _without_silent_columns(
        Table(tuple(columns), tuple(rows), f"{more:,} more eligible processes with fewer points" if more > 0 else None)
    )


def _without_silent_columns(table: Table) -> Table:
    """Leave out optional columns in which no row says anything: no swap anywhere, every adj 0."""
    keep = [
        i
        for i, column in enumerate(table.columns)
        if not column.drop or any(row.cells[i] not in ("", "0", "0 KiB") for row in table.rows)
    ]
    return Table(
        tuple(table.columns[i] for i in keep),
        tuple(Row(tuple(row.cells[i] for i in keep), row.tone) for row in table.rows),
        table.more,
    )
