"""``status`` for people: one screen of 80 columns, the worst first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from oomsight.alarms.event import place_words, size, span
from oomsight.alarms.growth import FURTHEST
from oomsight.naming.cgroup_path import describe
from oomsight.naming.marked import mark
from oomsight.sinks.blocks import (
    Bar,
    Block,
    Bullets,
    Column,
    Heading,
    Item,
    KeyValues,
    Paragraph,
    Row,
    Segment,
    Table,
    human_kib,
    human_pct,
)
from oomsight.sinks.memory_bar import MEMORY_KINDS
from oomsight.sinks.status_facts import ONE_LINE, alerts_words, facts_of, rate_words

if TYPE_CHECKING:
    from oomsight.sinks.blocks import Tone
    from oomsight.status.memory import Accounting
    from oomsight.status.model import Holder, Limited, Status

ROWS: Final = 5
"""Of each table, unless asked for more."""
FEWER_ROWS: Final = (0, 0, 0, 0, 0, 1, 2, 2, 3, 4, 4)
"""Rows less of each table, by how brief a status is."""
MOST_BRIEF: Final = len(FEWER_ROWS) - 1
"""How far a status can be shortened to fit a screen."""
STALE_SECONDS: Final = 10.0  #: an alert whose words are older is told with their age
_KIND_OF: Final = {key: index for index, kind in enumerate(MEMORY_KINDS) for key in kind.keys}
_OTHER: Final = next(index for index, kind in enumerate(MEMORY_KINDS) if not kind.keys)
_TONES: Final[dict[str, Tone]] = {"critical": "bad", "warning": "warn", "bad": "bad", "warn": "warn", "note": "dim"}


def status_blocks(status: Status, rows: int = ROWS, brief: int = 0) -> list[Block]:
    """
    Return *status* as blocks; *rows* of each table. *brief*: 1 settings that hurt in one line, 2 RAM too, 3 nothing of
    what there is not, 4 few words, then fewer rows, 7 a line for each fact, then fewer rows again.
    """
    rows, more = max(rows - FEWER_ROWS[brief], 1), brief < MOST_BRIEF
    briefest = brief >= ONE_LINE
    blocks: list[Block] = [Heading(verdict(status), 1)]
    facts = list(facts_of(status, brief))
    if status.accounting is not None:
        bar = memory_bar_of(status.accounting)
        if brief < 2:
            blocks.append(bar)
        else:
            facts.insert(0, ("RAM", _bar_words(bar)))
    if status.hurts and brief:
        facts.append(("Will hurt", _hurts_words(status)))
    if status.alerts and briefest:  # the first is told in full by the verdict
        facts.insert(0, ("Alerts", alerts_words(status)))
    blocks.append(KeyValues(tuple(facts)))
    if status.alerts and not briefest:
        blocks += [Heading("Alerts"), Bullets(tuple(_alert_items(status)))]
    if status.holders:
        blocks += [Heading("Who holds most (memory only their end would free)"), _holders(status, rows, more=more)]
    if status.limited:
        blocks += [Heading("Limits, the fullest first"), _limited(status, rows, more=more)]
    if status.hurts and not brief:
        blocks += [Heading("Settings that will hurt"), Bullets(tuple(_hurt_items(status)))]
    for unseen in status.unseen:
        right = f"; {unseen.right} would show them" if unseen.right else ""
        blocks.append(Paragraph(f"Not seen: {unseen.what}{right}.", "dim"))
    return blocks


def _bar_words(bar: Bar) -> str:
    """The three biggest kinds in a bar, in words."""
    most = sorted(bar.segments, key=lambda segment: -segment.kib)[:3]
    parts = (f"{segment.label} {human_pct(segment.kib, bar.total_kib)}" for segment in most)
    return f"{human_kib(bar.total_kib)}: {', '.join(parts)}"


def _hurts_words(status: Status) -> str:
    """The first of the settings that hurt, without its cure, and how many more there are."""
    more = f" and {len(status.hurts) - 1} more" if len(status.hurts) > 1 else ""
    return f"{status.hurts[0].text.partition(':')[0]}{more}; `oomsight status | cat` says why"


def verdict(status: Status) -> str:
    """The state in one sentence (marked)."""
    worst = next((a for a in status.alerts if a.severity == "critical"), None) or next(iter(status.alerts), None)
    if worst is not None:
        more = len(status.alerts) - 1
        tail = f" (and {more} more alert{'s' * (more > 1)})" if more else ""
        text, age = worst.text, status.look.at - (worst.at if worst.at is not None else status.look.at)
        if age < STALE_SECONDS:
            return f"{text[:1].upper()}{text[1:]}{tail}"
        now = _available(status) if worst.subject == "host" else None
        return f"{span(age)} ago: {text}{tail}" + (f"; now {now}" if now is not None else "")
    available = _available(status)
    if available is None:
        return "How much memory is available is not known: this kernel does not say (before 3.14)"
    return f"{available}, no alert"


def _available(status: Status) -> str | None:
    memory = status.look.memory
    if memory.mem_available_kib is None or memory.mem_total_kib is None:
        return None
    available, total = memory.mem_available_kib, memory.mem_total_kib
    return f"{human_kib(available)} of {human_kib(total)} RAM available ({human_pct(available, total)})"


def memory_bar_of(accounting: Accounting) -> Bar:
    """The bar of the host's RAM; kinds below 1 % share the segment of the rest, whose parts are named."""
    kinds: dict[int, list[tuple[str, int]]] = {}
    for part in accounting.parts:
        if part.kib:
            kinds.setdefault(_KIND_OF.get(part.key, _OTHER), []).append((part.label, part.kib))
    small = [index for index, parts in kinds.items()
             if index != _OTHER and MEMORY_KINDS[index].letter != "F"
             and sum(kib for _, kib in parts) * 100 < accounting.total_kib]  # fmt: skip
    for index in small:
        label = MEMORY_KINDS[index].label
        kinds.setdefault(_OTHER, []).append((label, sum(kib for _, kib in kinds.pop(index))))
    segments = []
    for index, parts in sorted(kinds.items()):
        kib = sum(part for _, part in parts)
        label = MEMORY_KINDS[index].label
        detail = None
        if index == _OTHER:
            label = "all else" if small else label
            parts.sort(key=lambda part: -part[1])
            detail = f"most: {parts[0][0]} {human_kib(parts[0][1])}" if len(parts) > 1 else parts[0][0]
        segments.append(Segment(MEMORY_KINDS[index].letter, label, kib, index, detail))
    about = ", nearly" if accounting.approximate else ""
    return Bar(f"RAM: {human_kib(accounting.total_kib)}{about}", accounting.total_kib, tuple(segments))


# -- lists ------------------------------------------------------------------------------------------------------------


def _alert_items(status: Status) -> Iterator[Item]:
    now = status.look.at
    for alert in status.alerts:
        since = f" (held for {span(now - alert.since)})" if alert.since is not None else ""
        yield Item(f"{alert.severity}: {alert.text}{since}", _TONES[alert.severity])


def _hurt_items(status: Status) -> Iterator[Item]:
    for hurt in status.hurts:
        cure = f"; {hurt.cure}" if hurt.weight != "note" else ""
        yield Item(f"{hurt.text}{cure}", _TONES[hurt.weight])


def _where(cgroup: str | None) -> str:
    owner = describe(cgroup)
    if owner is None or owner.kind == "root":
        return ""
    return owner.short


def _holders(status: Status, rows: int, *, more: bool) -> Table:
    columns = (
        Column("who", flexible=True), Column("pid", right=True, drop=2), Column("memory", right=True),
        Column("swap", right=True, drop=3), Column("grows", right=True, drop=1), Column("where", flexible=True, drop=4),
    )  # fmt: skip
    shown = [Row(_holder_cells(holder)) for holder in status.holders[:rows]]
    rest = status.holders[rows:]
    words = None
    if rest and more:
        words = f"{len(rest):,} more with {human_kib(sum(holder.need_kib for holder in rest))} together"
    return Table(columns, tuple(shown), words)


def _holder_cells(holder: Holder) -> tuple[str, ...]:
    name = mark(holder.name) if holder.processes == 1 else f"{holder.processes} × {mark(holder.name)}"
    return (
        name, "" if holder.pid is None else str(holder.pid), human_kib(holder.need_kib),
        human_kib(holder.swap_kib) if holder.swap_kib else "",
        rate_words(holder.kib_per_second) if holder.kib_per_second else "", _where(holder.cgroup),
    )  # fmt: skip


def _limited(status: Status, rows: int, *, more: bool) -> Table:
    columns = (
        Column("cgroup", flexible=True), Column("limit", right=True), Column("needs", right=True, drop=4),
        Column("full", right=True), Column("headroom", right=True), Column("cache", right=True, drop=5),
        Column("grows", right=True, drop=2), Column("full in", right=True, drop=1),
        Column("would die", flexible=True, drop=3),
    )  # fmt: skip
    shown = [Row(_limited_cells(one, lasts=_lasts(one, status)), _fullness(one)) for one in status.limited[:rows]]
    others = status.limited_all - len(shown)
    words = f"{others:,} more with more room, or with nobody inside" if others > 0 and more else None
    return Table(columns, tuple(shown), words)


def _lasts(one: Limited, status: Status) -> bool:
    """
    Whether the rate of the last look may be followed to the limit: not far beyond what was seen where a record knows
    better, as heaps and jobs climb for a minute and fall again.
    """
    if one.time_left_seconds is None or status.grown_seconds is None:
        return True
    forecast = any(told.subject == one.cgroup.memcg.path for told in status.forecasts)
    return forecast or one.time_left_seconds <= FURTHEST * (status.seconds or 0.0)


def _limited_cells(one: Limited, *, lasts: bool) -> tuple[str, ...]:
    cgroup, memcg = one.cgroup, one.cgroup.memcg
    victim = cgroup.ranking.victim
    dies = f"{mark(victim.process.comm)} ({victim.process.pid})" if victim is not None else "nobody can"
    if memcg.oom_kill_disable:
        dies = "nobody: tasks wait"
    elif victim is not None and memcg.oom_group:
        dies = f"all {cgroup.processes}"
    left = one.time_left_seconds
    grows = rate_words(one.bytes_per_second / 1024) if left is not None and one.bytes_per_second else ""
    return (
        place_words(memcg.path), size(memcg.limit_bytes if isinstance(memcg.limit_bytes, int) else None),
        size(memcg.need_bytes), "" if cgroup.full_pct is None else f"{cgroup.full_pct:.0f} %",
        size(memcg.headroom_bytes), size(memcg.page_cache_bytes), grows,
        span(left) if left is not None and lasts else "", dies,
    )  # fmt: skip


def _fullness(one: Limited) -> Tone:
    pct = one.cgroup.full_pct or 0
    return "bad" if pct >= 95 else "warn" if pct >= 80 else "plain"
