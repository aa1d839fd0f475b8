"""``score`` for people: an :class:`~oomsight.score.answer.Answer` as blocks for the terminal and for Markdown."""

from __future__ import annotations

from oomsight.kernel.badness import per_mille
from oomsight.naming.cgroup_path import describe
from oomsight.naming.marked import Kind, mark
from oomsight.sinks.blocks import (
    Block,
    Column,
    Heading,
    KeyValues,
    Paragraph,
    Row,
    Table,
    human_kib,
    human_pct,
)
from oomsight.sinks.words import in_brackets, kib_words, number, sentence, task_words

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Final

    from oomsight.score.answer import Answer, Detail
    from oomsight.score.factors import Factors, Move
    from oomsight.score.limits import LimitedCgroup
    from oomsight.score.model import Ranked, Ranking
    from oomsight.sinks.blocks import Tone

MAX_NAMES: Final = 5  #: rivals, sharers and protected processes named in a sentence


def score_blocks(answer: Answer) -> list[Block]:
    """Return the whole answer."""
    blocks: list[Block] = []
    if answer.ranking is not None:
        blocks += _ranking(answer, answer.ranking)
    if answer.cgroups is not None:
        blocks += _cgroups(answer)
    for detail in answer.details:
        blocks += _detail(answer, detail)
    blocks += _basis(answer)
    return blocks


# --- small phrases -------------------------------------------------------------------------------------------------


def _name(row: Ranked) -> str:
    return task_words(row.process.comm, row.process.pid)


def _owner(row: Ranked) -> str:
    owner = describe(row.process.cgroup)
    return "" if owner is None or owner.kind == "root" else owner.short


def _cgroup_words(path: str, *, limited: bool = True) -> str:
    """Words for a cgroup. The root of the host has no limit: where "/" has one, it is a container's own view."""
    owner = describe(path)
    if owner is None or (limited and owner.kind == "root"):
        return "this container"
    return owner.short if "," in owner.words else owner.words  # no apposition in the middle of a sentence


def _kib(answer: Answer, pages: int) -> int:
    return pages * (answer.snapshot.machine.page_size >> 10)


def _pages(answer: Answer, pages: int) -> str:
    return f"{pages:,} pages ({human_kib(_kib(answer, pages))})"


def _some(names: Sequence[str], count: int | None = None) -> str:
    """The first few of *names*, and how many more there are of ``count`` (default: as many as *names*)."""
    more = (len(names) if count is None else count) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def _some_rows(rows: Sequence[Ranked], count: int) -> str:
    return _some([_name(row) for row in rows[:MAX_NAMES]], count)


def _share(ranking: Ranking, row: Ranked) -> int | None:
    if row.points is None:
        return None
    return per_mille(row.points, ranking.total.pages) if ranking.rules.rule.unit == "pages" else row.points


# --- ranking -------------------------------------------------------------------------------------------------------


def _ranking(answer: Answer, ranking: Ranking) -> list[Block]:
    blocks: list[Block] = [Heading(_headline(answer, ranking), 1), *map(Paragraph, _verdict(answer, ranking))]
    if answer.prediction is not None:
        blocks += [Paragraph(sentence(remark), "warn") for remark in answer.prediction.remarks]
    if ranking.rows:
        blocks.append(_table(answer, ranking))
    protected = [row for row in ranking.exempt if _worth_naming(row)]
    if protected:
        names = [f"{_name(row)}{in_brackets(row.skipped or '')}" for row in protected[:MAX_NAMES]]
        blocks.append(Paragraph(f"Never chosen: {_some(names, len(protected))}."))
    return blocks


def _worth_naming(row: Ranked) -> bool:
    return row.rss_pages + row.swap_pages > 0 and row.skipped != "no memory of its own"


def _headline(answer: Answer, ranking: Ranking) -> str:
    partly = ranking.scope == "host" and bool(answer.snapshot.unseen)
    dies = f"no process{' seen here' if partly else ''} could be killed"
    if ranking.victim is not None:
        dies = f"{_name(ranking.victim)} would die{' first of those seen here' if partly else ''}"
    if answer.prediction is not None and answer.prediction.outcome == "waits":
        dies = "nobody would die: its processes would wait"
    if answer.prediction is not None and answer.prediction.outcome == "panic":
        dies = "nobody would die: the machine would panic"
    if ranking.scope == "host":
        return f"If this host ran out of memory now, {dies}"
    name = _cgroup_words(ranking.path, limited=answer.asked_cgroup != ranking.path)
    if answer.asked_cgroup == ranking.path:  # no limit anywhere
        return f"In {name}, {dies} first if this host ran out of memory now"
    return f"If {name} hit its limit now, {dies}"


def _verdict(answer: Answer, ranking: Ranking) -> Iterator[str]:
    """A few sentences: how sure, how much it would free, who with it, who instead."""
    victim, machine = ranking.victim, answer.snapshot.machine
    if answer.asked_cgroup is not None:
        asked = mark(answer.asked_cgroup, Kind.CGROUP)
        if answer.asked_cgroup != ranking.path:
            yield f"{asked} has no limit of its own; the nearest above it is that of {mark(ranking.path, Kind.CGROUP)}."
        else:
            yield f"Neither {asked} nor a cgroup above it has a limit: only the whole host can run out."
    if ranking.scope == "cgroup":
        memcg = answer.snapshot.cgroups.get(ranking.path)
        if memcg is not None and isinstance(memcg.limit_bytes, int) and memcg.need_bytes is not None:
            yield (
                f"Limit {_limit_words(memcg.limit_bytes, memcg.need_bytes)}, page cache"
                f" {human_kib((memcg.page_cache_bytes or 0) >> 10)}, headroom"
                f" {human_kib((memcg.headroom_bytes or 0) >> 10)}."
            )
    elif machine.available_pages is not None:
        swap = f"swap {human_kib(_kib(answer, machine.swap_free_pages or 0))} free" if machine.swap_pages else "no swap"
        yield f"{human_kib(_kib(answer, machine.available_pages))} of memory is available, {swap}."
    own = answer.own_limit
    if own is not None and isinstance(own.limit_bytes, int) and own.need_bytes is not None:
        yield (
            f"This container has a limit of its own: {_limit_words(own.limit_bytes, own.need_bytes)}. `oomsight"
            f" score --cgroup {mark(own.path, Kind.CGROUP)}` tells who would die of that."
        )
    if victim is None:
        return
    status = victim.process.status
    if status.rss_anon_kib is not None:
        yield f"Its death would free about {human_kib(status.rss_anon_kib + (status.vm_pte_kib or 0))} of memory" + (
            f" and {human_kib(status.vm_swap_kib)} of swap." if status.vm_swap_kib else "."
        )
    yield from _together(answer, ranking)
    if ranking.tied:
        which = "later" if victim.place > ranking.rows[1].place else "earlier"
        yield f"A tie with {_name(ranking.rows[1])}: the kernel takes the {which} of the two."
    rivals = ranking.rivals
    if rivals:
        yield (
            f"Within the error of the kernel's counters ({_pages(answer, victim.error_pages)}) it could also be"
            f" {_some_rows(rivals, len(rivals) + answer.snapshot.passed_near)}."
        )
    elif len(ranking.rows) > 1 and ranking.margin_pages:
        pages = ranking.rules.rule.unit == "pages"
        behind = _pages(answer, ranking.margin_pages) if pages else f"{ranking.margin_pages} points"
        yield f"Next would be {_name(ranking.rows[1])}, {behind} behind."


def _limit_words(limit_bytes: int, need_bytes: int) -> str:
    limit, need = human_kib(limit_bytes >> 10), human_kib(need_bytes >> 10)
    return f"{limit}, needed {need} ({human_pct(need_bytes, limit_bytes)})"


_ROLES: Final = {
    "child": "Instead of it, as this kernel sacrifices a child for its parent",
    "shared": "With it, as they use its memory",
    "group": "With it, as memory.oom.group is set",
}


def _together(answer: Answer, ranking: Ranking) -> Iterator[str]:
    """Who else would be killed, by the reason."""
    if answer.prediction is None:
        return
    for role, why in _ROLES.items():
        pids = [kill.pid for kill in answer.prediction.kills if kill.role == role]
        if pids:
            first = {pid: ranking.of(pid) for pid in pids[:MAX_NAMES]}
            names = [f"pid {pid}" if row is None else _name(row) for pid, row in first.items()]
            yield f"{why}: {_some(names, len(pids))}."


def _table(answer: Answer, ranking: Ranking) -> Table:
    swap = answer.snapshot.machine.swap_pages > 0
    shown = ranking.rows[: answer.limit]
    owners = [_owner(row) for row in shown]
    placed = any(owners)
    columns = [
        Column("rank", right=True), Column("pid", right=True), Column("process", flexible=True),
        *([Column("where", flexible=True, drop=2)] if placed else []),
        Column("uid", right=True, drop=8), Column("rss", right=True, drop=1),
        Column("anon", right=True, drop=10), Column("file", right=True, drop=12), Column("shmem", right=True, drop=11),
        *([Column("swap", right=True, drop=3)] if swap else []),
        Column("page tables", right=True, drop=9), Column("adj", right=True), Column("points", right=True),
        Column("±", right=True, drop=13), Column("per mille", right=True, drop=7),
        Column("oom_score", right=True, drop=6),
        *([Column("PSS", right=True)] if answer.pss is not None else []),
    ]  # fmt: skip
    killed = {kill.pid for kill in answer.prediction.kills} if answer.prediction else set()
    rows = []
    for row, owner in zip(shown, owners, strict=True):
        status, pid = row.process.status, row.process.pid
        cells = [
            str(row.rank), str(pid), mark(row.process.comm), *([owner] if placed else []), number_plain(status.uid),
            human_kib(_kib(answer, row.rss_pages)), kib_words(status.rss_anon_kib), kib_words(status.rss_file_kib),
            kib_words(status.rss_shmem_kib), *([human_kib(_kib(answer, row.swap_pages))] if swap else []),
            human_kib(_kib(answer, row.pgtables_pages)), number_plain(row.process.oom_score_adj), number(row.points),
            number(row.error_pages), number_plain(_share(ranking, row)), number_plain(row.process.oom_score),
        ]  # fmt: skip
        if answer.pss is not None:
            cells.append(kib_words(answer.pss[pid].pss_kib) if pid in answer.pss else "")
        tone: Tone = "bad" if pid in killed else "plain"
        rows.append(Row(tuple(cells), tone))
    more = len(ranking.rows) - len(shown) + answer.snapshot.passed_over
    return Table(tuple(columns), tuple(rows), f"{more:,} more with fewer points" if more > 0 else None)


def number_plain(value: int | None) -> str:
    """Return an identifier or small number without separators; ``None`` is an empty cell."""
    return "" if value is None else str(value)


# --- cgroups -------------------------------------------------------------------------------------------------------


def _cgroups(answer: Answer) -> list[Block]:
    cgroups = answer.cgroups or ()
    if not cgroups:
        if answer.unseen:  # a limit may be among what was not
            return [Heading("No cgroup seen here that has processes has a memory limit", 1)]
        return [Heading("No cgroup with processes has a memory limit", 1),
                Paragraph("Only the whole host can run out of memory.")]  # fmt: skip
    plural = "cgroup has" if len(cgroups) == 1 else "cgroups have"
    columns = (
        Column("cgroup", flexible=True), Column("limit", right=True, drop=4), Column("needed", right=True, drop=5),
        Column("full", right=True), Column("headroom", right=True), Column("cache", right=True, drop=7),
        Column("swap room", right=True, drop=8), Column("kills", right=True, drop=6),
        Column("would die", flexible=True), Column("pid", right=True, drop=3),
    )  # fmt: skip
    shown = cgroups[: answer.limit]
    rows = [Row(_cgroup_cells(answer, cgroup), _fullness(cgroup)) for cgroup in shown]
    more = len(cgroups) - len(shown)
    return [
        Heading(f"{len(cgroups):,} {plural} a memory limit, the fullest first", 1),
        Table(columns, tuple(rows), f"{more:,} more with more room" if more > 0 else None),
        Paragraph("Needed is usage without page cache, which the kernel drops before it kills.", "dim"),
    ]


def _cgroup_cells(answer: Answer, cgroup: LimitedCgroup) -> tuple[str, ...]:
    memcg, victim = cgroup.memcg, cgroup.ranking.victim
    owner = describe(memcg.path)
    need = None if memcg.need_bytes is None else memcg.need_bytes >> 10
    cache = None if memcg.page_cache_bytes is None else memcg.page_cache_bytes >> 10
    dies = mark(victim.process.comm) if victim is not None else "nobody can"
    if memcg.oom_kill_disable:
        dies = "nobody: tasks wait"
    elif victim is not None and memcg.oom_group:
        dies = f"all {cgroup.processes}, {dies} first"
    elif cgroup.ranking.rivals:
        dies += f" or {len(cgroup.ranking.rivals)} other"
    return (
        owner.short if owner is not None and owner.kind != "root" else _cgroup_words(memcg.path),
        kib_words(memcg.limit_bytes >> 10 if isinstance(memcg.limit_bytes, int) else None), kib_words(need),
        "" if cgroup.full_pct is None else f"{cgroup.full_pct:.0f} %", kib_words(cgroup.headroom_kib), kib_words(cache),
        kib_words(cgroup.swap_room_kib(answer.snapshot.machine)), number(memcg.oom_kills), dies,
        str(victim.process.pid) if victim is not None else "",
    )  # fmt: skip


def _fullness(cgroup: LimitedCgroup) -> Tone:
    pct = cgroup.full_pct or 0
    return "bad" if pct >= 95 else "warn" if pct >= 80 else "plain"


# --- one process ---------------------------------------------------------------------------------------------------


def _detail(answer: Answer, detail: Detail) -> Iterator[Block]:
    factors = detail.host
    row = factors.row
    yield Heading(_place_words(factors, "if this host ran out of memory"), 1)
    owner = describe(row.process.cgroup)
    if owner is not None and owner.kind != "root":
        yield KeyValues((("It runs in", owner.words), ("Cgroup", mark(owner.path, Kind.CGROUP))))
    if factors.points is not None:
        yield from _factor_table(answer, factors)
        yield from _move_blocks(factors, "in a host OOM")
    for inner in detail.cgroups:
        path = inner.ranking.path
        yield Heading(_place_words(inner, f"if {_cgroup_words(path)} hit its limit"))
        if inner.points is not None:
            terms = {term.name: term.points for term in inner.points.terms}
            yield Paragraph(
                f"{_pages(answer, inner.points.total)} against T = {inner.ranking.total.pages:,}"
                f" ({inner.per_mille} per mille); oom_score_adj makes {terms.get('oom_score_adj', 0):,} of them."
            )
            yield from _move_blocks(inner, "there")


def _place_words(factors: Factors, when: str) -> str:
    row, rows = factors.row, factors.ranking.rows
    if row.rank is None:
        return f"{_name(row)} would not be killed {when}: {row.skipped}"
    if row.rank == 1:
        return f"{_name(row)} would be the first to die {when}"
    return f"{_name(row)} would be number {row.rank:,} of {len(rows):,} to die {when}"


_TERMS: Final = {
    "rss_pages": "resident memory", "swap_pages": "swap", "pgtables_bytes": "page tables", "nr_ptes": "page tables",
    "nr_pmds": "page middle directories", "oom_score_adj": "oom_score_adj", "root": "root's bonus",
}  # fmt: skip


def _factor_table(answer: Answer, factors: Factors) -> Iterator[Block]:
    points, row, ranking = factors.points, factors.row, factors.ranking
    assert points is not None
    pages = points.unit == "pages"
    status = row.process.status
    parts = (("anonymous", status.rss_anon_kib), ("file", status.rss_file_kib), ("shared", status.rss_shmem_kib))
    rss = ", ".join(f"{name} {human_kib(kib)}" for name, kib in parts if kib)
    notes = {"rss_pages": rss, "oom_score_adj": _adj_words(factors) if pages else ""}

    def line(name: str, value: int, note: str, tone: Tone = "plain") -> Row:
        return Row((name, number(value), human_kib(_kib(answer, value)) if pages and value else "", note), tone)

    rows = [
        line(_TERMS.get(term.name, term.name), term.points, notes.get(term.name, ""))
        for term in points.terms
        if term.points or term.name in notes
    ]
    share = f"{factors.per_mille} per mille of T = {ranking.total.pages:,} pages"
    rows.append(line("badness", points.total, share, "strong"))
    points_column, size = Column("points", right=True), Column("size", right=True, drop=1)
    yield Table((Column("factor"), points_column, size, Column("", flexible=True)), tuple(rows))
    shown = row.process.oom_score
    if shown is not None and factors.oom_score is not None:
        same = "as /proc shows" if shown == factors.oom_score else f"/proc showed {shown}"
        yield Paragraph(f"/proc/PID/oom_score: {factors.oom_score}, {same}.")
    if row.error_pages:
        error = _pages(answer, row.error_pages)
        yield Paragraph(f"The kernel's own counters may be off by up to {error} either way.", "dim")
    if status.hugetlb_kib:
        yield Paragraph(f"Not counted by the kernel: {human_kib(status.hugetlb_kib)} of huge pages.", "warn")
    pss = (answer.pss or {}).get(row.process.pid)
    if pss is not None and pss.pss_kib is not None:
        private = (pss.private_clean_kib or 0) + (pss.private_dirty_kib or 0)
        yield Paragraph(
            f"Proportional set size {human_kib(pss.pss_kib)}, private {human_kib(private)}: badness counts pages it"
            " shares with others in full."
        )


def _adj_words(factors: Factors) -> str:
    adj, total = factors.row.process.oom_score_adj or 0, factors.ranking.total.pages
    return f"{adj} × (T / 1000) = {adj} × {total // 1000:,}" if adj else ""


def _move_blocks(factors: Factors, where: str) -> Iterator[Block]:
    if not factors.adj_works:
        yield Paragraph(f"oom_score_adj other than -1000 changes nothing {where}: T is below 1,000 pages.", "warn")
        return
    from oomsight.score.factors import telling_moves

    groups = telling_moves(factors)
    if len(groups) < 3:
        return
    names = {row.process.pid: _name(row) for row in factors.ranking.rows}
    own = factors.row.process.oom_score_adj
    rows = []
    for group in reversed(groups):
        first, last = group[0].first_adj, group[-1].last_adj
        span = str(first) if first == last else f"{first} to {last}"
        here = own is not None and first <= own <= last
        rows.append(Row((span, *_group_words(group, names), "now" if here else ""), "strong" if here else "plain"))
    yield Paragraph(f"What oom_score_adj would make of it {where}:")
    columns = Column("oom_score_adj", right=True), Column("rank", right=True), Column("just before", flexible=True)
    yield Table((*columns, Column("")), tuple(rows))


def _group_words(group: tuple[Move, ...], names: dict[int, str]) -> tuple[str, str]:
    """The rank that some moves give, and whom it would just pass."""
    best, worst = group[-1], group[0]
    if best.rank is None or worst.rank is None:
        return "never", ""
    if best is worst:
        passed = best.ahead_of
        return f"{best.rank:,}", "nobody: the last" if passed is None else names.get(passed, f"pid {passed}")
    return f"{best.rank:,} to {worst.rank:,}", ""


# --- what it rests on ----------------------------------------------------------------------------------------------


def _basis(answer: Answer) -> Iterator[Block]:
    rules = answer.rules
    words = f"Rule: badness as in Linux {rules.rule.name}: {rules.rule.words} ({rules.words})."
    if answer.ranking is not None:
        words += f" T = {answer.ranking.total.pages:,} pages: {answer.ranking.total.how}."
    yield Paragraph(words, "dim")
    if rules.compared:
        checked = f"It reproduces /proc/PID/oom_score for {rules.matched:,} of {rules.compared:,} processes"
        if rules.trusted and answer.snapshot.passed_over:
            others = f"{answer.snapshot.passed_over:,} others"
            lower = f"that of {others} is lower, which is enough to know of them"
            if not answer.snapshot.lowest_score:
                lower = f"{others} rank lower by their memory and oom_score_adj"
            yield Paragraph(f"{checked}; {lower}.", "dim")
        elif rules.trusted:
            yield Paragraph(f"{checked}.", "dim")
        else:
            doubt = "do not trust the points. Does /proc/meminfo show the host's memory, or a container's (lxcfs)?"
            yield Paragraph(f"{checked}: {doubt}", "warn")
