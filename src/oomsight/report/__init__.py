"""
Kernel log text to OOM reports.

:func:`parse_text` takes any bytes or text and never raises: what it cannot read becomes a note.
"""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from oomsight._lazy import lazy
from oomsight._named import NamedTuple
from oomsight._sizes import size_words
from oomsight.naming.marked import Kind, mark
from oomsight.report.assemble import Assembler
from oomsight.report.build import build_report
from oomsight.report.carriers import Lines, strip_lines
from oomsight.report.grammar import classify
from oomsight.report.killers import REPORTERS, find_killers
from oomsight.report.model import EventKind, Note, OomReport
from oomsight.report.task_rows import TaskRows
from oomsight.report.times import NO_CLOCK, Clock
from oomsight.report.unwrap import decode_lines, plain_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.report.draft import Draft
    from oomsight.report.model import Killed, Victim

__all__ = ["Clock", "OomReport", "parse_text"]

_PASTE_BYTES = 512 * 1024  # larger texts are logs, not pastes: nobody wraps or reverses those by hand
_NEAR_LINES = 60
_DAMAGE_NOTES = frozenset({"table_rows_damaged", "table_unreadable", "table_no_header", "kill_line_repeated"})
_NAME_CHARS = 15  # TASK_COMM_LEN, include/linux/sched.h
_BEHIND_NAMES = "|│┃>\"'\\, "  # of frames, tags, strings
_JUST_BEFORE_S, _WORTH = 5.0, 10  # a kill that gave back less than a tenth of RAM explains nothing
_ECHO_S = 60.0  # the kubelet follows the kernel's log
_FEW_LOOSE = 4  # a report has a line or two that no shape matches; where more than each fourth is one, it is damaged
_CLOCK_SLACK_S = 0.01  # carriers keep at least two decimals of the printk clock
_ANY = lazy(r"oom|OOM|illed process|ill process|ut of memory|emory|Killing '|: base64")


def parse_text(
    data: bytes | str, name: str = "<text>", *, first_line: int = 1, clock: Clock = NO_CLOCK
) -> list[OomReport]:
    """
    Find every OOM event in *data* and return its report, in the order the events stand in the text.

    :param data: kernel log text in any carrier; bytes need not be UTF-8.
    :param name: source name put into each report.
    :param first_line: line number of the first line of *data* in its source.
    :param clock: what is known about time outside the text (see :class:`~oomsight.report.times.Clock`).
    :return: reports; empty when the text holds no OOM event. Never raises.
    """
    raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    texts, nos = decode_lines(raw, first_line)
    best = _parse(texts, nos, name, clock)
    if len(raw) > _PASTE_BYTES or not (best.torn or _open(best, texts)):
        return _without_copies(best.reports)
    best = _best(best, texts, nos, name, clock)
    if not _open(best, texts):
        return _without_copies(best.reports)

    from oomsight.report.peel import peel  # few texts need it

    inside = list(enumerate(plain_text(raw).split("\n"), first_line))
    while peeled := peel(inside):
        inside = peeled
        texts, at = decode_lines("\n".join([line for _, line in inside]).encode("utf-8", "surrogateescape"), 0)
        nos = [inside[i][0] for i in at]
        candidate = _best(_parse(texts, nos, name, clock), texts, nos, name, clock)
        if _is_better(candidate, best):
            best = candidate
            if not _open(best, texts):
                break
    return _without_copies(best.reports)


def _open(reading: _Reading, texts: list[str]) -> bool:
    """Whether another reading of the text could say more."""
    told = sum(r.source.last_line - r.source.first_line + 1 for r in reading.reports)
    return _FEW_LOOSE * reading.loose > told or _damaged(reading.reports, texts)


def _best(best: _Reading, texts: list[str], nos: Sequence[int], name: str, clock: Clock) -> _Reading:
    """That one of *best* and the readings that undo some damage which says most."""
    from oomsight.report.rejoin import variants  # no report that is whole needs it

    for variant in variants(list(zip(nos, texts, strict=True))):
        candidate = _parse([s for _, s in variant], [no for no, _ in variant], name, clock)
        if _is_better(candidate, best):
            best = candidate
    return best


def _is_better(one: _Reading, other: _Reading) -> bool:
    return bool(one.reports or not other.reports) and _score(one) > _score(other)


def _without_copies(reports: list[OomReport]) -> list[OomReport]:
    """A whole report pasted or logged again is one event: keep the copy that says more, where the first one stood."""
    if len(reports) < 2:
        return reports
    reports = _without_lone_lines(reports)
    kept: list[OomReport] = []
    seen: dict[tuple[object, ...], int] = {}
    for report in reports:
        key = tuple((v.pid, v.comm, v.total_vm_kib, v.anon_rss_kib, v.file_rss_kib) for v in report.victims)
        if not key or report.victims[0].total_vm_kib is None:
            kept.append(report)
            continue
        at = seen.setdefault(key, len(kept))
        if at == len(kept) or not _same_moment(kept[at], report):
            kept.append(report)
            continue
        first, more = kept[at], report
        if (more.complete, len(more.tasks)) > (first.complete, len(first.tasks)):
            first, more = more, first
        again = "the same report stands in the text again; counted once"
        first.notes.append(Note("report_repeated", more.source.first_line, again))
        kept[at] = first
    return _without_echoes(kept) if any(r.kind is EventKind.USERSPACE_KILLER for r in kept) else kept


def _without_lone_lines(reports: list[OomReport]) -> list[OomReport]:
    """A kill line that somebody quoted apart from the report it is of (an event of Kubernetes) is no second kill."""
    lone = {id(r): r for r in reports if len(r.victims) == 1 and not (r.trigger or r.tasks or r.memcg or r.meminfo)}
    if not lone or len(lone) == len(reports):
        return reports
    told = (r for r in reports if id(r) not in lone)
    victims = {(v.pid, v.comm, v.total_vm_kib, v.anon_rss_kib): r for r in told for v in r.victims}
    again = set()
    for report in lone.values():
        victim = report.victims[0]
        whole = victims.get((victim.pid, victim.comm, victim.total_vm_kib, victim.anon_rss_kib))
        if whole is None or victim.total_vm_kib is None or not _same_moment(whole, report):
            continue
        text = "the kill line stands in the text again, apart from its report; counted once"
        whole.notes.append(Note("report_repeated", report.source.first_line, text))
        again.add(id(report))
    return [r for r in reports if id(r) not in again]


def _without_echoes(reports: list[OomReport]) -> list[OomReport]:
    """A daemon's word of a kernel kill is no second event where the kernel's own line is in the text."""
    by_kernel = {v.pid: (r, v) for r in reports for v in r.victims if v.pid is not None}
    kept = []
    for report in reports:
        named = report.killed[0] if len(report.killed) == 1 and report.killer in REPORTERS else None
        found = by_kernel.get(named.pid) if named is not None and named.pid is not None else None
        if named is None or found is None or not _may_be_one(named, report, found[1], found[0]):
            kept.append(report)
            continue
        report_of = found[0]
        text = f"{report.killer} reports this kill, too; counted once"
        report_of.notes.append(Note("kill_reported_too", report.source.first_line, text))
    return kept


def _may_be_one(named: Killed, report: OomReport, victim: Victim, report_of: OomReport) -> bool:
    if named.comm and victim.comm and named.comm != victim.comm:
        return False
    x, y = victim.time or report_of.when, report.when
    if (x.host and y.host and x.host != y.host) or (x.boot_id and y.boot_id and x.boot_id != y.boot_id):
        return False
    if not (x.time and y.time):
        return True
    try:
        apart_s = abs((datetime.fromisoformat(x.time) - datetime.fromisoformat(y.time)).total_seconds())
    except (TypeError, ValueError):  # one of them without a zone
        return True
    return apart_s <= _ECHO_S


def _same_moment(a: OomReport, b: OomReport) -> bool:
    """No clock, host or boot contradicts that the two are one event."""
    x, y = a.victims[0].time or a.when, b.victims[0].time or b.when
    if (x.host and y.host and x.host != y.host) or (x.boot_id and y.boot_id and x.boot_id != y.boot_id):
        return False
    if x.uptime_s is not None and y.uptime_s is not None:
        return abs(x.uptime_s - y.uptime_s) <= _CLOCK_SLACK_S
    return x.time is None or y.time is None or x.time == y.time


class _Reading(NamedTuple):
    """What one reading of a text gave."""

    reports: list[OomReport]
    torn: bool  #: the line behind some head or kill line looks like the rest of it
    loose: int  #: lines inside reports that no shape matches


def _parse(texts: list[str], nos: Sequence[int], name: str, clock: Clock) -> _Reading:
    if isinstance(nos, range):
        lines = strip_lines(texts, nos.start)
    else:
        lines = strip_lines(texts, 0)
        lines.nos = [nos[i] for i in lines.nos]
    assembler = Assembler(lines)
    drafts = assembler.run()
    reports = [r for d in drafts if (r := build_report(d, lines, name, clock)) is not None]
    if len(reports) > 1:
        _from_earlier_table(reports)
        _after_a_kill(reports)
    killers = find_killers(lines, assembler.others, name, clock)
    if killers:
        reports = sorted([*reports, *killers], key=lambda r: r.source.first_line)
    loose = sum(any(d.start < i <= d.last + 1 for d in drafts) for i in assembler.others) if drafts else 0
    return _Reading(reports, any(_torn(d, lines) for d in drafts), loose)


def _torn(draft: Draft, lines: Lines) -> bool:
    """
    Whether a line that the kernel always prints in one piece goes on in the next: that one has no carrier although
    this one does, or no shape. The commonest pieces of hard-wrapped text, found at the price of three lines a report.
    """
    raws, texts = lines.raws, lines.texts
    for i in (draft.head, *draft.parts.get("oom_kill", ()), *draft.parts.get("kill", ())):
        if i is None or i + 1 >= len(raws) or i + 1 in lines.cont:
            continue  # an indented line continues a record: a name with a newline in it
        if raws[i].endswith(texts[i]) and len(raws[i]) > len(texts[i]) + 2:
            if raws[i + 1].lstrip() == texts[i + 1]:
                return True
        elif not (lines.kinds and lines.kinds[i + 1]) and classify(texts[i + 1]) is None:
            return True
    return False


def _after_a_kill(reports: list[OomReport]) -> None:
    """
    Note on a report of the whole machine that a process was killed just before it, where about as much as that held is
    free by now: it came back while the kernel was at it once more.
    """
    for before, report in pairwise(reports):
        if report.meminfo is None or not before.victims or before.memcg is not None or report.memcg is not None:
            continue
        victim = before.victims[0]
        killed, asked = (victim.time or before.when).uptime_s, report.when.uptime_s
        kib = (victim.anon_rss_kib or 0) + (victim.shmem_rss_kib or 0)
        page_size, info = report.page_size or 4096, report.meminfo
        free_kib, ram_kib = info.pages.get("free", 0) * page_size >> 10, info.counts.get("ram", 0) * page_size >> 10
        if killed is None or asked is None or not 0 <= asked - killed <= _JUST_BEFORE_S:
            continue
        if report.sysrq or not free_kib <= 2 * kib <= 4 * free_kib or _WORTH * kib < ram_kib:
            continue
        who = f"{mark(victim.comm or '?', Kind.COMM)} (pid {victim.pid}), which held {size_words(kib << 10)},"
        text = f"{who} had been killed {asked - killed:.2f} s before"
        report.notes.append(Note("kill_just_before", victim.line, text))


def _from_earlier_table(reports: list[OomReport]) -> None:
    """A rate-limited kill prints no table; uid and adj of its victim stand in the table of the report just before."""
    before: OomReport | None = None
    for report in reports:
        if report.tasks:
            before = report
            continue
        if before is None or report.source.first_line - before.source.last_line > _NEAR_LINES:
            continue
        for victim in report.victims:
            if victim.uid is not None and victim.oom_score_adj is not None:
                continue
            row = next((t for t in before.tasks if t.pid == victim.pid and t.comm == victim.comm), None)
            if row is not None:
                victim.uid = row.uid if victim.uid is None else victim.uid
                victim.oom_score_adj = row.oom_score_adj if victim.oom_score_adj is None else victim.oom_score_adj
                text = "uid and adj are from the table of the report before"
                report.notes.append(Note("from_earlier_table", row.line, text))


def _damaged(reports: list[OomReport], texts: list[str]) -> bool:
    """Whether another reading could say more: something is missing, or nothing was found in OOM-like text."""
    if any(not r.complete or any(n.code.startswith("table_") for n in r.notes) for r in reports):
        return True
    for names in [TaskRows.of(r.tasks).names for r in reports if r.tasks]:
        # What stands around lines is around the last row, too.
        if not (all(names) and is_fair(names[0]) and is_fair(names[-1])):
            return True
    victims = [v for r in reports for v in r.victims]
    if any(None in (v.total_vm_kib, v.anon_rss_kib, v.file_rss_kib) for v in victims):
        return True
    return not reports and any(map(_ANY.search, texts))


def is_fair(name: str) -> bool:
    """Whether a process can be called so, and nothing shows that more than its name was taken for it."""
    return 0 < len(name) <= _NAME_CHARS and name[-1] not in _BEHIND_NAMES


def _score(reading: _Reading) -> tuple[int, int, int]:
    """
    How much a reading explains: complete reports first, then facts. More victims alone never win: a reading may join
    what was torn, not split one event into two.
    """
    reports = reading.reports
    facts = -reading.loose
    seen: set[tuple[int | None, str | None]] = set()
    for r in reports:
        facts += 40 * r.complete + min(sum(map(is_fair, TaskRows.of(r.tasks).names)), 400)
        if (t := r.trigger) is not None:
            told = (t.pid, t.gfp_mask, t.order, t.oom_score_adj, t.kernel_release)
            facts += 10 + 2 * sum(x is not None for x in told)
        facts += 5 * (r.memcg is not None and bool(r.memcg.stats) and r.memcg.stats[0].path == r.oom_memcg)
        facts -= 10  # one event told in pieces is not more than one event
        printed = r.constraint is not None and not any(n.code == "constraint_derived" for n in r.notes)
        facts += 10 * printed + 5 * (r.oom_memcg is not None) + 5 * (r.task_memcg is not None)
        facts += 10 * (r.memcg is not None) + 10 * (r.meminfo is not None and bool(r.meminfo.zones or r.meminfo.pages))
        facts += sum(len(z.kib) + len(z.buddy or ()) for z in r.meminfo.zones) if r.meminfo else 0
        facts += len(r.meminfo.pages) + len(r.meminfo.counts) if r.meminfo else 0
        facts += sum(len(s.stats) for s in r.memcg.stats) if r.memcg else 0
        for v in r.victims:
            if (v.pid, v.comm) in seen:
                continue
            seen.add((v.pid, v.comm))
            sizes = (v.total_vm_kib, v.anon_rss_kib, v.file_rss_kib, v.shmem_rss_kib, v.pgtables_kib)
            facts += 20 + 3 * sum(x is not None for x in (*sizes, v.uid, v.oom_score_adj)) + (v.prefix is not None)
        facts += 8 * len(r.killed)
        facts -= 5 * sum(n.code in _DAMAGE_NOTES for n in r.notes)
    orphans = sum(1 for r in reports if not r.victims and r.kind not in {EventKind.USERSPACE_KILLER})
    return facts, -orphans, -len(reports)
