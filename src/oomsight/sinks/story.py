"""
One incident told in the order an engineer asks: what died, who used the memory, why, what to change.

:func:`story` turns an :class:`~oomsight.diagnose.model.Incident` into blocks; the sinks only lay them out. Nothing is
concluded here: every number comes from the incident, and what it does not know is left out, not filled in.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final, Literal

from oomsight.diagnose.userspace import reports_kernel_kill
from oomsight.diagnose.wording import asked_in, first_clause
from oomsight.naming.marked import Kind, mark, unmark
from oomsight.sinks.blocks import Block, Bullets, Code, Column, Heading, Item, KeyValues, Paragraph, Table, human_kib
from oomsight.sinks.blocks import Row as TableRow
from oomsight.sinks.memory_bar import memory_bar, primary_accounting
from oomsight.sinks.safe import is_clean
from oomsight.sinks.tables import consumers_table, overview_table, ranking_table
from oomsight.sinks.words import (
    in_brackets,
    line_words,
    page_kib,
    rss_kib,
    sentence,
    source_words,
    task_words,
    usage_words,
    when_words,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from oomsight.diagnose.model import Advice, Cause, Incident, RankedTask
    from oomsight.report.model import OomReport, Victim
    from oomsight.sinks.blocks import Tone

Level = Literal["brief", "normal", "evidence"]

MAX_VICTIMS: Final = 5  #: kills listed one by one (memory.oom.group may kill hundreds); the rest is counted
MAX_SKIPPED: Final = 5  #: names told per reason why the kernel passed processes over

# Causes about where a request could be served, not how much memory there was: then zones and watermarks matter.
_REQUEST_CAUSES: Final = frozenset({"fragmentation", "cma_reserved", "low_zone_exhausted", "numa_or_cpuset_constraint"})
_ROLES: Final = {
    "selected": "",
    "child": ", as a child of the chosen process",
    "group": ", with its whole cgroup (memory.oom.group)",
}


def story(incident: Incident, *, level: Level = "normal") -> list[Block]:
    """Return the blocks that explain *incident*: ``brief`` (a few lines), ``normal``, or ``evidence`` (with proof)."""
    if level == "brief":
        return _brief(incident)
    proof = level == "evidence"
    blocks: list[Block] = [Heading(incident.headline, 1), Paragraph(_more(incident))]
    if incident.recurrence:
        blocks.append(Paragraph(incident.recurrence, "warn"))
    blocks.append(KeyValues(tuple(_facts(incident, proof))))
    blocks += _memory(incident, proof)
    blocks += _questions("Why did it grow", incident.answers.why_it_grew)
    blocks += _questions("Why did nothing stop it earlier", incident.answers.why_nothing_stopped_it)
    blocks += _choice(incident, proof)
    blocks += _request(incident, proof)
    blocks += _causes(incident.causes, proof)
    blocks += _advice(incident.causes)
    blocks += _notes(incident.report)
    return blocks


def overview(incidents: Sequence[Incident], total: int | None = None) -> list[Block]:
    """Return a heading and one row per incident, for inputs that hold many; *total* if more than those shown."""
    count = total or len(incidents)
    more = f", the newest {len(incidents):,} listed" if count > len(incidents) else ""
    return [Heading(f"{count:,} OOM {_events(count)}, newest first{more}", 1), overview_table(incidents)]


def more_alike(number: int, count: int) -> list[Block]:
    """Return the sentence in place of *count* events that tell the one before again, from *number* of the list on."""
    if count == 1:
        return [Paragraph(f"Number {number} of the list is like this one.", "dim")]
    return [Paragraph(f"Numbers {number} to {number + count - 1} of the list are like this one.", "dim")]


def older(count: int) -> list[Block]:
    """Return the heading above the *count* events that are told in brief."""
    return [Heading(f"{count:,} older {_events(count)}, in brief (--full tells them all)", 1)]


def _events(count: int) -> str:
    return "event" if count == 1 else "events"


def groups(rows: Iterable[tuple[int, str, str, str, str | None, str | None]], total: int, most: int) -> list[Block]:
    """
    Return the summary of the *total* events that are only counted: one row per story (victim, place, cause) with its
    count and its first and last time, the *most* frequent ones.
    """
    table_rows = list(rows)
    columns = (
        Column("events", right=True), Column("killed", flexible=True), Column("where", flexible=True, drop=2),
        Column("cause"), Column("first", drop=3), Column("last", drop=1),
    )  # fmt: skip
    shown = tuple(
        TableRow((f"{count:,}", names, where, cause, first or "", last or ""))
        for count, names, where, cause, first, last in table_rows[:most]
    )
    title = f"{total:,} older {_events(total)}, counted (--full tells them all)"
    blocks: list[Block] = [Heading(title, 1), Table(columns, shown)]
    if len(table_rows) > most:
        rest = sum(row[0] for row in table_rows[most:])
        blocks.append(Paragraph(f"And {rest:,} more in {len(table_rows) - most:,} rarer kinds."))
    return blocks


def stories(incidents: Sequence[Incident], *, level: Level = "normal") -> list[Block]:
    """Return the stories of *incidents* one after the other, behind an overview when there are several."""
    blocks = overview(incidents) if len(incidents) > 1 else []
    for incident in incidents:
        blocks += story(incident, level=level)
    return blocks


def _more(incident: Incident) -> str:
    """The summary, without the headline where it begins with that."""
    return incident.summary.removeprefix(f"{incident.headline}.").lstrip() or incident.summary


def _brief(incident: Incident) -> list[Block]:
    first = next((advice for cause in incident.causes for advice in cause.advice), None)
    blocks: list[Block] = [Heading(incident.headline, 1), Paragraph(_more(incident))]
    if first is not None:
        item = _advice_item(first)
        clause = first_clause(item.text)
        if clause[1:].rstrip(".") in incident.summary:  # the first letter is small there
            rest = item.text[len(clause) + 1 :].strip()
            item = item._replace(text=sentence(rest)) if rest else item
            blocks += [Bullets((item,))] if rest else item.below
        else:
            blocks.append(Bullets((item,)))
    when = when_words(incident.report)
    blocks.append(Paragraph(f"{f'{when}; ' if when else ''}{source_words(incident.source)}.", "dim"))
    return blocks


# --- facts ---------------------------------------------------------------------------------------------------------


def _facts(incident: Incident, proof: bool) -> Iterable[tuple[str, str]]:
    report = incident.report

    def line(number: int | None) -> str:
        return in_brackets(line_words(number)) if proof else ""

    for victim in report.victims[:MAX_VICTIMS]:
        yield "Killed", _victim_words(victim) + line(victim.line)
    if (more := len(report.victims) - MAX_VICTIMS) > 0:
        yield "Killed", f"and {more:,} more"
    for killed in report.killed[:MAX_VICTIMS]:
        what = task_words(killed.comm, killed.pid) if killed.comm is not None or not killed.cgroup else ""
        inside = f"{' in ' if what else ''}{mark(killed.cgroup, Kind.CGROUP)}" if killed.cgroup else ""
        size = f", {human_kib(killed.rss_kib)}" if killed.rss_kib is not None else ""
        signal = f", {killed.signal}" if killed.signal else ""
        by = "Reported by" if reports_kernel_kill(report) else "Killed by"
        yield f"{by} {report.killer or 'a userspace killer'}", what + inside + size + signal + line(killed.line)
    if incident.owner is not None:
        yield "It ran in", incident.owner.words
    memcg = report.memcg
    usage = usage_words(memcg.memory) + line(memcg.first_line) if memcg and memcg.memory else ""
    if incident.oom_owner is not None:
        own = incident.owner is not None and incident.oom_owner.path == incident.owner.path
        yield "Limit hit", ("its own" if own else incident.oom_owner.words) + (f": {usage}" if usage else "")
        yield "Cgroup", mark(incident.oom_owner.path, Kind.CGROUP)
    elif usage:
        yield "Limit hit", usage
    if memcg:
        for label, counter in (("Memory + swap", memcg.memsw), ("Kernel memory", memcg.kmem), ("Swap", memcg.swap)):
            if counter is not None and (counter.usage_kib or isinstance(counter.limit_kib, int)):
                yield label, usage_words(counter)  # unlimited and unused tells nothing
    if (trigger := report.trigger) is not None:
        request = f": {incident.gfp.words}" if incident.gfp is not None else ""
        inside = f" of {container}" if (container := asked_in(report)) else ""
        yield "Asked for memory", task_words(trigger.comm, trigger.pid) + inside + request + line(trigger.line)
        if trigger.kernel_release:
            yield "Kernel", mark(trigger.kernel_release, Kind.OWNER)
    if when := when_words(report):
        yield "When", when
    yield "Read from", source_words(incident.source)
    yield "Incident", incident.id


def _victim_words(victim: Victim) -> str:
    words = task_words(victim.comm, victim.pid)
    rss = rss_kib(victim)
    if rss is not None:
        parts = (("anonymous", victim.anon_rss_kib), ("file", victim.file_rss_kib), ("shared", victim.shmem_rss_kib))
        shown = [f"{label} {human_kib(kib)}" for label, kib in parts if kib]
        words += f", {human_kib(rss)} resident" + in_brackets(", ".join(shown) if len(shown) > 1 else "")
    if victim.uid is not None:
        words += f", uid {victim.uid}"
    if victim.oom_score_adj is not None:
        words += f", oom_score_adj {victim.oom_score_adj}"
    words += _ROLES[victim.role]
    if victim.reaped is not None:
        words += ", reaped" if victim.reaped else ", could not be reaped"
        if victim.reaped_left_kib:
            words += f" ({human_kib(victim.reaped_left_kib)} left)"
    return words


# --- memory --------------------------------------------------------------------------------------------------------


def _memory(incident: Incident, proof: bool) -> list[Block]:
    told = incident.answers.what_used_too_much
    blocks: list[Block] = [_statements(told)] if told else []
    first = primary_accounting(incident)
    wanted = incident.accountings if proof else [first] if first else []
    if not proof and incident.report.kind in ("cpuset", "mempolicy"):
        wanted = [a for a in incident.accountings if a.scope == "node"] or wanted
    for accounting in wanted:
        owner = incident.oom_owner if accounting.scope == "memcg" else None
        blocks.append(memory_bar(accounting, owner.short if owner else None, details=proof))
        if proof and accounting.basis:
            part = incident.report.memcg if accounting.scope == "memcg" else incident.report.meminfo
            lines = line_words(part.first_line, part.last_line) if part else ""
            blocks.append(Paragraph(f"Total: {accounting.basis}{in_brackets(lines)}.", "dim"))
        if accounting.approximate:
            blocks.append(Paragraph("The kernel's counters contradict each other; the sum was made to fit.", "dim"))
        blocks += _swap(accounting.swap_total_kib, accounting.swap_free_kib)
    if (consumers := consumers_table(incident, proof=proof)) is not None:
        table, remarks = consumers
        blocks += [Heading("Biggest consumers", 3), table, *(Paragraph(sentence(text), "dim") for text in remarks)]
    return [Heading("What used too much memory"), *blocks] if blocks else []


def _swap(total_kib: int | None, free_kib: int | None) -> list[Block]:
    if total_kib is None:
        return []
    if total_kib == 0:
        return [Paragraph("Swap: none.")]
    used = "" if free_kib is None else f", {human_kib(total_kib - free_kib)} used, {human_kib(free_kib)} free"
    return [Paragraph(f"Swap: {human_kib(total_kib)}{used}.")]


# --- questions, choice, request ------------------------------------------------------------------------------------


def _questions(title: str, sentences: list[str]) -> list[Block]:
    return [Heading(title), _statements(sentences)] if sentences else []


def _statements(sentences: Iterable[str]) -> Bullets:
    return Bullets(tuple(Item(sentence) for sentence in sentences))


def _choice(incident: Incident, proof: bool) -> list[Block]:
    selection = incident.selection
    if selection is None or not (selection.why or selection.ranking):
        return []
    blocks: list[Block] = [Heading("Why this process")]
    if selection.why:
        blocks.append(Paragraph(selection.why))
    by_rule = incident.report.allocating_task_killed
    if not selection.explained and selection.reason and not by_rule and selection.reason not in (selection.why or ""):
        blocks.append(Paragraph(sentence(selection.reason), "warn"))
    if (table := ranking_table(incident, selection, proof=proof)).rows:
        blocks.append(table)
    blocks += _passed_over(selection.ranking)
    if selection.margin_pages is not None:
        kib = selection.margin_pages * page_kib(incident.report)
        margin = f"Margin to the next process: {selection.margin_pages:,} pages ({human_kib(kib)})."
        if kib < 0:
            margin = f"It had {-selection.margin_pages:,} points ({human_kib(-kib)}) fewer than the first."
        blocks.append(Paragraph("Margin to the next process: none, a tie." if kib == 0 else margin))
    rule = f"Rule: badness as in Linux {selection.rule}"
    if proof and selection.rule_why:
        rule += f", recognised by {selection.rule_why}"
    if selection.total_pages is not None:
        rule += f"; T = {selection.total_pages:,} pages" + in_brackets(selection.total_pages_from or "")
    elif any(task.oom_score_adj not in {None, 0, -1000} for task in selection.ranking):
        rule += "; points are without oom_score_adj: T, of which that is a share, is not in this text"
    blocks.append(Paragraph(rule + ".", "dim"))
    return blocks


def _passed_over(ranking: Sequence[RankedTask]) -> Iterable[Block]:
    """One sentence per reason: the biggest processes the kernel could not choose, those of one name together."""
    reasons: dict[str, dict[str, list[int]]] = {}
    for task in ranking:
        if task.rank is None:
            reasons.setdefault(task.skipped or "not eligible", {}).setdefault(task.comm, []).append(task.rss_kib)
    for reason, names in reasons.items():
        ordered = sorted(names.items(), key=lambda pair: -max(pair[1]))
        told = [
            f"{f'{len(sizes)} × ' if len(sizes) > 1 else ''}{mark(comm)} ({human_kib(max(sizes))})"
            for comm, sizes in ordered[:MAX_SKIPPED]
        ]
        rest = sum(len(sizes) for _, sizes in ordered[MAX_SKIPPED:])
        yield Paragraph(f"Passed over ({reason}): {', '.join(told)}{f' and {rest:,} more' if rest else ''}.")


def _request(incident: Incident, proof: bool) -> list[Block]:
    failed = incident.report.kind == "allocation_failure" or any(c.code in _REQUEST_CAUSES for c in incident.causes)
    if not (proof or failed) or not (incident.zone_checks or (incident.gfp and proof)):
        return []
    blocks: list[Block] = [Heading("The request that could not be served")]
    if incident.gfp is not None:
        flags = in_brackets("|".join(incident.gfp.flags))
        zone = f" The highest zone it may use is {incident.gfp.zone}." if incident.gfp.zone else ""
        blocks.append(Paragraph(sentence(incident.gfp.words + flags) + zone))
    lines = {(z.node, z.name): z.line for z in (incident.report.meminfo.zones if incident.report.meminfo else ())}
    items = []
    for check in incident.zone_checks:
        where = in_brackets(line_words(lines.get((check.node, check.name)))) if proof else ""
        tone: Tone = "dim" if not check.eligible else "bad" if check.passes is False else "plain"
        items.append(Item(sentence(check.words.rstrip(".") + where), tone))
    if items:
        blocks.append(Bullets(tuple(items)))
    return blocks


# --- causes, advice, notes -----------------------------------------------------------------------------------------


def _causes(causes: Sequence[Cause], proof: bool) -> list[Block]:
    if not causes:
        return []
    items = []
    for index, cause in enumerate(causes):
        below: list[Block] = []
        if cause.evidence and (proof or index == 0):
            lines = [line_words(e.first_line, e.last_line) if proof else "" for e in cause.evidence]
            pairs = zip(cause.evidence, lines, strict=True)
            below.append(Bullets(tuple(Item(e.text + in_brackets(where), "dim") for e, where in pairs)))
        if cause.settles:
            below.append(Paragraph(sentence(f"What would settle it: {cause.settles}"), "dim"))
        tone: Tone = "strong" if index == 0 else "plain"
        items.append(Item(f"{cause.title} ({cause.confidence}; {cause.code})", tone, tuple(below)))
    return [Heading("Causes"), Bullets(tuple(items))]


def _advice(causes: Sequence[Cause]) -> list[Block]:
    unique: dict[tuple[str, tuple[str, ...] | None, str | None], Advice] = {}
    for cause in causes:
        for advice in cause.advice:
            unique.setdefault((advice.text, advice.command, advice.snippet), advice)
    if not unique:
        return []
    return [Heading("What to change"), Bullets(tuple(_advice_item(a) for a in unique.values()), numbered=True)]


def _advice_item(advice: Advice) -> Item:
    below: list[Block] = []
    for what, text, language in (
        ("command", shlex.join(map(unmark, advice.command)) if advice.command else "", "sh"),
        ("text", unmark(advice.snippet).rstrip("\n") if advice.snippet else "", None),
    ):
        if not text:
            continue
        # What is copied is run: a name whose look deceives must not get there, however well it is quoted.
        clean = all(is_clean(line.replace("\t", " ")) for line in text.split("\n"))
        if clean and not (language == "sh" and "\n" in text):
            below.append(Code(text, "sh" if language else _language(text)))
        else:
            below.append(Paragraph(f"(No {what} to copy: a name in it holds control or invisible characters.)", "warn"))
    return Item(sentence(advice.text), "plain", tuple(below))


def _language(snippet: str) -> Literal["yaml", "ini", "text"]:
    first = snippet.lstrip().split("\n", 1)[0]
    return "ini" if first.startswith("[") else "yaml" if first.rstrip().endswith(":") else "text"


def _notes(report: OomReport) -> list[Block]:
    if not report.notes:
        return []
    items = (Item(sentence(note.text.rstrip(".") + in_brackets(line_words(note.line)))) for note in report.notes)
    return [Heading("Notes on the text"), Bullets(tuple(items))]
