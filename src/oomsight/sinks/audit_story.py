"""An audit told: findings worst first, each with place, evidence and what to write instead."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from oomsight.audit.model import Severity
from oomsight.audit.registry import rule
from oomsight.audit.report import counted
from oomsight.naming.marked import Kind, mark, unmark
from oomsight.sinks.blocks import Block, Bullets, Code, Heading, Item, Paragraph
from oomsight.sinks.words import sentence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oomsight.audit.model import Finding, Where
    from oomsight.audit.report import AuditReport
    from oomsight.sinks.blocks import Tone

TONES: Final[dict[Severity, Tone]] = {
    Severity.HIGH: "bad", Severity.MEDIUM: "warn", Severity.LOW: "plain", Severity.INFO: "dim",
}  # fmt: skip
SAME_SHOWN: Final = 20  #: findings of one rule shown in full; the rest is counted
SHOW_MORE: Final = "--all shows them"


def audit_story(report: AuditReport, *, everything: bool = False) -> list[Block]:
    """Return the blocks that tell *report*. Without *everything* a rule's findings end after some."""
    found = report.open()
    blocks: list[Block] = [Heading(headline(report), 1), Paragraph(sentence(_looked_at(report)))]
    shown: Counter[str] = Counter()
    told: set[tuple[str, str]] = set()
    for severity in reversed(Severity):
        here = [finding for finding in found if finding.severity is severity]
        if not here:
            continue
        blocks.append(Heading(f"{severity.word.capitalize()}: {len(here)}"))
        items, left = [], Counter[str]()
        for finding in here:
            shown[finding.rule] += 1
            if shown[finding.rule] > SAME_SHOWN and not everything:
                left[finding.rule] += 1
            else:
                items.append(_item(finding, told))
        blocks.append(Bullets(tuple(items)))
        for rule_id, count in left.items():
            blocks.append(Paragraph(f"… {count} more of {rule_id} ({rule(rule_id).title}); {SHOW_MORE}", "dim"))
    hidden = len(report.findings) - len(found)
    if hidden:
        blocks.append(Paragraph(f"{hidden} suppressed with a reason (--format json lists them).", "dim"))
    if report.remarks:
        lines = [sentence(line.removeprefix("not seen: ")) for line in report.remarks]
        blocks += [Heading("Not seen"), Bullets(tuple(Item(line, "dim") for line in lines))]
    if found:
        blocks.append(Paragraph("What a rule means and where it comes from: oomsight audit --explain OS…", "dim"))
    return blocks


def headline(report: AuditReport) -> str:
    """Return the one line that says how it went."""
    counts = report.counts()
    what = report.title or ("this host" if report.of == "host" else "these files")
    if not counts:
        return f"{what}: nothing found that leads to an OOM kill"
    words = ", ".join(f"{count} {severity.word}" for severity, count in counts.items())
    return f"{what}: {words}"


def _looked_at(report: AuditReport) -> str:
    seen = counted(report.seen)
    if report.of == "host":
        return f"Looked at {seen}" if report.seen else "Looked at the settings of this host"
    files = f"{report.files} file{'' if report.files == 1 else 's'}"
    return f"Looked at {seen} in {files}"


def _item(finding: Finding, told: set[tuple[str, str]]) -> Item:
    """
    Return *finding* as an item; advice that its rule has *told* before, word for word, is not said again: a repository
    has the same mistake in many files. Evidence of several lines is a sum, and stays whole.
    """

    def is_news(text: str) -> bool:
        before = len(told)
        told.add((finding.rule, text))
        return len(told) > before

    below: list[Block] = []
    if len(finding.evidence) != 1 or finding.where.path is None or is_news(finding.evidence[0]):
        below += [Paragraph(_sentence(line), "dim") for line in finding.evidence]
    below += [Paragraph(_sentence(line)) for line in finding.advice if is_news(line)]
    if finding.fix is not None and is_news(finding.fix.text):
        below.append(Code(finding.fix.text.rstrip("\n"), finding.fix.language))
    place = place_words(finding.where)
    text = f"{finding.rule} {finding.subject}: {finding.message}"
    if place and unmark(place) != unmark(finding.subject):
        below.insert(0, Paragraph(place, "dim"))
    return Item(text, TONES[finding.severity], tuple(below))


def _sentence(text: str) -> str:
    """Return *text* as a sentence; a setting at its start (``sizeLimit``, ``oom_score_adj``) stays as it is written."""
    first = text.split(" ", 1)[0]
    is_name = "_" in first or "." in first[:-1] or first[1:] != first[1:].lower()
    return first[:1] + sentence(text)[1:] if is_name else sentence(text)


def place_words(where: Where) -> str:
    """Return ``deploy/api.yaml:12:9`` or the key of a host, marked."""
    if where.path is None:
        pid = (where.key or "").removeprefix("pid ")
        return f"pid {pid}" if pid.isdecimal() else mark(where.key, Kind.OWNER) if where.key else ""
    tail = "".join(f":{part}" for part in (where.line, where.column) if part is not None)
    return mark(where.path, Kind.FILE) + tail


def rule_story(rule_id: str) -> Iterator[Block]:
    """Yield what a rule means, as its page in the documentation does."""
    row = rule(rule_id)
    yield Heading(f"{row.id} {row.title} ({row.severity.word})", 1)
    for title, text in (
        ("What", row.what), ("Why", row.why), ("How it leads to an OOM kill", row.leads), ("How to fix it", row.how),
    ):  # fmt: skip
        yield Heading(title)
        yield Paragraph(sentence(text))
    yield Heading("Found in")
    yield Code(row.failing.rstrip("\n"), "text")
    yield Heading("Not found in")
    yield Code(row.passing.rstrip("\n"), "text")
    yield Paragraph(f"Source: {row.source}", "dim")
