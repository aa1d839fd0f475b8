"""A drill told: one row per link with the time it took, as blocks and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from oomsight.drill.report import Outcome, seconds_words
from oomsight.naming.marked import unmark
from oomsight.sinks.blocks import Block, Bullets, Heading, Item, Paragraph
from oomsight.sinks.words import sentence

if TYPE_CHECKING:
    from oomsight.drill.report import DrillReport, Link
    from oomsight.sinks.blocks import Tone

SCHEMA_ID: Final = "oomsight.drill/1"

_TONES: Final[dict[Outcome, Tone]] = {Outcome.OK: "good", Outcome.FAILED: "bad", Outcome.SKIPPED: "dim"}


def drill_story(report: DrillReport) -> list[Block]:
    """Return the blocks that tell *report*."""
    blocks: list[Block] = [Heading(report.verdict, 1)]
    if report.refused:
        return [*blocks, Bullets(tuple(Item(sentence(words), "bad") for _, words in report.plan.refusals))]
    if report.dry_run:
        blocks.append(Bullets(tuple(Item(sentence(step)) for step in report.plan.steps()), numbered=True))
    else:
        who = "The agent that runs here stored and told it." if report.by_agent else (
            "No agent runs here: the drill stored and told it itself, as an agent with this configuration would."
        )  # fmt: skip
        blocks.append(Paragraph(who))
    rows = [Item(_row(link), _TONES.get(link.outcome, "plain")) for link in report.links]
    return [*blocks, Bullets(tuple(rows))]


def _row(link: Link) -> str:
    after = f", after {seconds_words(link.seconds)}" if link.seconds else ""
    return f"{link.name}: {link.outcome.value}{after}: {link.words}"


def drill_dict(report: DrillReport) -> dict[str, Any]:
    """Return *report* as plain values; ``seconds`` count from the kill."""
    plan = report.plan
    return {
        "schema": SCHEMA_ID, "verdict": unmark(report.verdict), "dry_run": report.dry_run, "by_agent": report.by_agent,
        "event_id": report.event_id, "pid": report.pid, "cgroup": plan.cgroup, "limit_bytes": plan.limit_bytes,
        "refusals": [{"code": code, "text": unmark(words)} for code, words in plan.refusals],
        "links": [
            {"name": link.name, "outcome": link.outcome.value, "seconds": link.seconds, "text": unmark(link.words)}
            for link in report.links
        ],
    }  # fmt: skip


def drill_json(report: DrillReport) -> str:
    """Return *report* as indented JSON ending in a newline. Pure ASCII."""
    import json

    return json.dumps(drill_dict(report), indent=2) + "\n"
