"""Simulations told in blocks: what happened, when, the table of each choice, what would help, what is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight._sizes import size_words
from oomsight.naming.marked import Kind as Name
from oomsight.naming.marked import mark
from oomsight.simulate.fidelity import GAPS
from oomsight.simulate.keys import TABLES, Key, range_words, value_words
from oomsight.simulate.sweep import BASE
from oomsight.simulate.units import duration_words
from oomsight.simulate.verdict import (
    comparison_words,
    monte_carlo_words,
    place,
    result_words,
    sweep_words,
    verdict,
)
from oomsight.simulate.whatif import what_if_words
from oomsight.sinks.blocks import Block, Bullets, Code, Column, Heading, Item, KeyValues, Paragraph, Row, Table
from oomsight.sinks.timeline_chart import chart_lines, sparkline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from oomsight.simulate.outcome import Kill, Run
    from oomsight.simulate.scenario import Scenario
    from oomsight.simulate.sweep import MonteCarlo, Played, Sweep
    from oomsight.simulate.whatif import Death, WhatIf
    from oomsight.sinks.blocks import Tone

TABLES_SHOWN: Final = 2  #: kills told with their table; the rest in one
EVENTS_SHOWN: Final = 8
SWEEP_ROWS: Final = 40
DEATHS_SHOWN: Final = 12


def scenario_blocks(played: Sequence[Played], *, width: int = 80, unicode: bool = True) -> list[Block]:
    """The first of *played* in full, all of them compared."""
    first = played[0]
    scenario = first.run.scenario
    title = scenario.title if first.name == BASE else f"{scenario.title}: {first.title}"
    blocks: list[Block] = [Heading(title, 1)]
    blocks.append(Paragraph(" ".join(verdict(first.run)), "good" if first.run.survived else "bad"))
    blocks.append(KeyValues(tuple(_facts(scenario))))
    blocks += _timeline(first.run, width, unicode)
    blocks += _kills(first.run)
    if len(played) > 1:
        blocks += [Heading("What would help"), Paragraph(comparison_words(played))]
        blocks += _comparison(played)
    blocks += fidelity_blocks()
    return blocks


def _facts(scenario: Scenario) -> Iterator[tuple[str, str]]:
    if scenario.about:
        yield "scenario", " ".join(scenario.about.split())
    machine, run = scenario.machine, scenario.run
    swap = "no swap"
    if machine["swap"]:
        swap = f"{size_words(machine['swap'])} of swap, swappiness {machine['swappiness']}"
    yield "machine", f"{size_words(machine['ram'])} of RAM, {swap}, rules of Linux {run['kernel']}"
    yield "must live", ", ".join(mark(name) for name in scenario.protect)


def _timeline(run: Run, width: int, unicode: bool) -> list[Block]:
    # Two columns of a section and four of a code block.
    lines = chart_lines(run, min(width, 100) - 6, unicode=unicode)
    blocks: list[Block] = [Heading(f"Timeline of {duration_words(run.end_seconds)}"), Code("\n".join(lines), "text")]
    if any("kills" in line for line in lines):
        blocks.append(Paragraph("K kill by the kernel, G end by the guard, ! alert", "dim"))
    told = [event for event in run.events if event.kind not in {"stopped"}]
    if told:
        rows = tuple(
            Row((duration_words(e.time_seconds), e.kind.replace("_", " "),
                 place(e.name) if e.name.startswith("/") else mark(e.name), e.words))
            for e in told[:EVENTS_SHOWN]
        )  # fmt: skip
        more = f"{len(told) - EVENTS_SHOWN:,} more events" if len(told) > EVENTS_SHOWN else None
        columns = (Column("after"), Column("event"), Column("of", flexible=True), Column("what", flexible=True))
        blocks.append(Table(columns, rows, more))
    return blocks


def _kills(run: Run) -> list[Block]:
    blocks: list[Block] = []
    for number, kill in enumerate(run.kills[:TABLES_SHOWN], 1):
        who = "guard" if kill.by == "guard" else "kernel"
        blocks.append(Heading(f"Choice {number}, after {duration_words(kill.time_seconds)}, by the {who}"))
        blocks.append(Paragraph(_basis(kill)))
        blocks.append(_selection(kill))
    rest = run.kills[TABLES_SHOWN:]
    if rest:
        columns = (Column("after"), Column("by", drop=1), Column("where", flexible=True),
                   Column("killed", flexible=True), Column("freed", right=True))  # fmt: skip
        rows = tuple(
            Row((duration_words(kill.time_seconds), kill.by, place(kill.cgroup), _names(kill),
                 size_words(kill.freed_bytes)), "warn" if kill.by == "guard" else "bad")
            for kill in rest[:EVENTS_SHOWN]
        )  # fmt: skip
        more = f"{len(rest) - EVENTS_SHOWN:,} more" if len(rest) > EVENTS_SHOWN else None
        blocks += [Heading("More kills"), Table(columns, rows, more)]
    return blocks


def _names(kill: Kill) -> str:
    if not kill.victims:
        return "nobody"
    more = f" +{len(kill.victims) - 1}" if len(kill.victims) > 1 else ""
    return f"{mark(kill.victims[0].name)} (pid {kill.victims[0].pid}){more}"


def _basis(kill: Kill) -> str:
    where = place(kill.cgroup)
    what = f"{kill.constraint}, {where}: " if kill.constraint else f"{where[:1].upper()}{where[1:]}: "
    return f"{what}T = {kill.total_pages:,} pages ({kill.total_how}). {size_words(kill.freed_bytes)} are freed."


def _selection(kill: Kill) -> Table:
    columns = (
        Column("process", flexible=True), Column("pid", right=True, drop=4), Column("points", right=True),
        Column("per mille", right=True, drop=3), Column("rss", right=True), Column("swap", right=True, drop=2),
        Column("adj", right=True), Column("verdict", flexible=True, drop=1),
    )  # fmt: skip
    rows = tuple(
        Row((
            mark(row.name), str(row.pid), "" if row.points is None else f"{row.points:,}",
            "" if row.per_mille is None else str(row.per_mille), size_words(row.rss_bytes),
            size_words(row.swap_bytes) if row.swap_bytes else "", str(row.adj),
            "killed" if row.killed else row.words if row.points is None else "",
        ), "bad" if row.killed else "plain")
        for row in kill.rows
    )  # fmt: skip
    return Table(columns, rows, f"{kill.more_rows:,} more processes" if kill.more_rows else None)


def _comparison(played: Sequence[Played]) -> list[Block]:
    columns = (
        Column("change"), Column("result", flexible=True), Column("kernel kills", right=True), Column("first", drop=2),
        Column("alert before", drop=3), Column("most needed", right=True, drop=1),
    )  # fmt: skip
    rows = []
    for one in sorted(played, key=lambda one: one.name != BASE):
        run, kills = one.run, one.run.oom_kills
        lead = run.crash_seconds - run.alert_seconds if run.crash_seconds and run.alert_seconds else None
        peak = max((sample.need_bytes[0] + sample.swap_bytes[0] for sample in run.samples), default=0)
        rows.append(Row((
            mark(one.name, Name.OWNER), result_words(run), str(len(kills)),
            duration_words(kills[0].time_seconds) if kills else "", duration_words(lead) if lead is not None else "",
            size_words(peak),
        ), "good" if run.survived else "bad"))  # fmt: skip
    titles = ((mark(one.name, Name.OWNER), one.title) for one in played if one.name != BASE)
    return [Table(columns, tuple(rows)), KeyValues(tuple(titles))]


def fidelity_blocks() -> list[Block]:
    """What the model leaves out, in short; JSON and documentation say what each does to the result."""
    words = "; ".join(gap.short for gap in GAPS)
    return [Heading("What the model leaves out"), Paragraph(f"{words[:1].upper()}{words[1:]}.", "dim")]


# -- many runs --------------------------------------------------------------------------------------------------------


def sweep_blocks(scenario: Scenario, result: Sweep) -> list[Block]:
    """A sweep as a table, one row for each value."""
    columns = (Column(result.path, right=True), Column("result", flexible=True), Column("kernel kills", right=True),
               Column("first", right=True, drop=1), Column("needed RAM", right=True, drop=2))  # fmt: skip
    rows = []
    for point in result.points[:SWEEP_ROWS]:
        run, kills = point.run, point.run.oom_kills
        peak = max((sample.need_bytes[0] for sample in run.samples), default=0)
        first = duration_words(kills[0].time_seconds) if kills else ""
        tone: Tone = "good" if run.survived else "bad"
        rows.append(Row((point.value, result_words(run), str(len(kills)), first, size_words(peak)), tone))
    more = len(result.points) - SWEEP_ROWS
    return [
        Heading(f"{scenario.title}: {result.path} swept", 1), Paragraph(sweep_words(result)),
        Table(columns, tuple(rows), f"{more:,} more values (all with --format json)" if more > 0 else None),
        *fidelity_blocks(),
    ]  # fmt: skip


def monte_carlo_blocks(result: MonteCarlo, seed: int, *, width: int = 80, unicode: bool = True) -> list[Block]:
    """How many crashes what would have prevented, and the survival curves."""
    scenario, crashes = result.scenario, result.crashes
    columns = (
        Column("change"), Column("crashes", right=True),
        Column("prevented", right=True), Column("caused", right=True, drop=3), Column("by guard", right=True, drop=4),
        Column("slowed", right=True, drop=5),
    )  # fmt: skip
    rows = []
    for curve in result.curves:
        prevented = "" if curve is result.curves[0] else f"{curve.prevented:,}"
        if prevented and crashes:
            prevented += f" ({100 * curve.prevented / crashes:.0f} %)"
        rows.append(Row((
            mark(curve.name, Name.OWNER), f"{curve.crashes:,}", prevented, _count(curve.caused),
            _count(curve.by_guard), _count(curve.throttled),
        ), "bad" if curve.crashes == crashes and crashes else "good" if not curve.crashes else "warn"))  # fmt: skip
    alert = scenario.alert
    share = f" ({100 * result.alerted / crashes:.0f} %)" if crashes else ""
    rows.append(Row((f"alert at {alert['at']} %", "", f"{result.alerted:,}{share}", "", "", "")))
    facts = (("runs", f"{result.draws:,}, each with every change"), ("seed", str(seed)),
             ("varied", f"sizes, rates and times of workloads by up to {scenario.run['spread']} %"),
             ("alert", f"counts if it comes {duration_words(alert['lead'])} before the crash"))  # fmt: skip
    return [
        Heading(f"{scenario.title}: {result.draws:,} times by chance", 1),
        Paragraph(" ".join(monte_carlo_words(result))), KeyValues(facts), Table(columns, tuple(rows)),
        KeyValues(tuple((mark(curve.name, Name.OWNER), curve.title) for curve in result.curves[1:])),
        Heading("Still alive after"), Code("\n".join(_survival(result, min(width, 100) - 6, unicode)), "text"),
        *fidelity_blocks(),
    ]  # fmt: skip


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _survival(result: MonteCarlo, width: int, unicode: bool) -> list[str]:
    """One sparkline for each change: the share of runs alive at each moment."""
    label = max(len(curve.name) for curve in result.curves)
    columns = max(width - label - 12, 20)
    duration = result.scenario.run["duration"]
    lines = []
    for curve in result.curves:
        shares = [round(1000 * curve.alive_at(duration * (n + 1) / columns)) for n in range(columns)]
        levels = " ▁▂▃▄▅▆▇█" if unicode else " .:-=+*#@"
        name = "".join(c if c.isprintable() and (unicode or c.isascii()) else "?" for c in curve.name)
        left, right = ("▕", "▏") if unicode else ("[", "]")
        lines.append(f"{name:<{label}} {left}{sparkline(shares, 1000, levels)}{right} {shares[-1] / 10:5.1f} %")
    middle, end = duration_words(duration / 2), duration_words(duration)
    lines.append(" " * (label + 2) + f"0 s{middle:^{columns - 3 - len(end)}}{end}")
    return lines


# -- what if ----------------------------------------------------------------------------------------------------------


def what_if_blocks(result: WhatIf) -> list[Block]:
    """Before and after, and the chain of kills."""
    moment = result.moment
    facts = [
        ("taken from", moment.source), ("rules", f"{result.changed.rule.name}: {result.changed.rule.words}"),
        ("T", f"{result.changed.total.pages:,} pages ({result.changed.total.how})"),
        ("to be freed", size_words(result.changed.need_pages * moment.page_size)),
    ]  # fmt: skip
    blocks: list[Block] = [
        Heading("What if", 1), Paragraph(" ".join(what_if_words(result))), KeyValues(tuple(facts)),
    ]  # fmt: skip
    if result.changes.nothing:
        blocks += [Heading("Who dies, and who is next"), _deaths(result, result.after)]
    else:
        blocks += [Heading("As it is"), _deaths(result, result.before), Heading("With the change"),
                   _deaths(result, result.after)]  # fmt: skip
    if result.notes:
        blocks.append(Bullets(tuple(Item(note, "dim") for note in result.notes)))
    return blocks


def _deaths(result: WhatIf, deaths: Sequence[Death]) -> Block:
    if not deaths:
        return Paragraph("Nobody can be killed.")
    size = result.moment.page_size
    columns = (
        Column("#", right=True), Column("killed", flexible=True), Column("pid", right=True, drop=1),
        Column("points", right=True), Column("adj", right=True), Column("holds", right=True, drop=3),
        Column("frees", right=True), Column("in all", right=True, drop=2), Column("needed"),
    )  # fmt: skip
    rows = tuple(
        Row((
            str(number), mark(d.name), str(d.pid), "" if d.points is None else f"{d.points:,}", str(d.adj),
            size_words(d.held_pages * size), size_words(d.freed_pages * size), size_words(d.total_freed_pages * size),
            "yes" if d.needed else "next",
        ), "bad" if d.needed else "dim")
        for number, d in enumerate(deaths[:DEATHS_SHOWN], 1)
    )  # fmt: skip
    more = len(deaths) - DEATHS_SHOWN
    return Table(columns, rows, f"{more:,} more (all with --format json)" if more > 0 else None)


# -- help -------------------------------------------------------------------------------------------------------------


def keys_blocks() -> list[Block]:
    """Every key of a scenario file, from the table that reads it."""
    blocks: list[Block] = [Heading("Keys of a scenario file", 1)]
    for table, keys in TABLES:
        rows = tuple((key.name, f"{key.meaning}; {range_words(key)}; {_default(key)}") for key in keys)
        blocks += [Heading(table or "top of the file"), KeyValues(rows)]
    return blocks


def _default(key: Key) -> str:
    return "needed" if key.needed else f"default {value_words(key, key.default) or 'empty'}"


def list_blocks(scenarios: Sequence[tuple[str, Scenario]]) -> list[Block]:
    """The scenarios that come with oomsight."""
    rows = tuple(
        (name, f"{s.title}; changes tried: {', '.join(mark(v.name, Name.OWNER) for v in s.variants)}")
        for name, s in scenarios
    )
    return [Heading("Scenarios that come with oomsight", 1), KeyValues(rows)]
