"""What would have prevented a kill: as blocks for people and as plain values for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from oomsight.naming.marked import unmark
from oomsight.sinks.blocks import Block, Bullets, Code, Heading, Item, Paragraph
from oomsight.sinks.words import sentence

if TYPE_CHECKING:
    from oomsight.rightsize.prevention import Prevention

SCHEMA_ID: Final = "oomsight.prevention/1"

_OUTCOMES: Final = {
    "prevented": ("Would have prevented it", "good"),
    "delayed": ("Would have put it off", "warn"),
    "other_victim": ("Somebody else would have died", "plain"),
    "no_difference": ("Would have changed nothing", "dim"),
}  # fmt: skip


def prevention_blocks(headline: str, found: tuple[Prevention, ...], missing: str | None) -> Iterator[Block]:
    """Yield what each rule would have changed, grouped by how much it would have helped. *headline* is marked."""
    yield Heading(headline, 1)
    if missing is not None:
        yield Paragraph(sentence(f"It cannot be played again: {missing}"))
        return
    if not found:
        yield Paragraph("No rule of the audit would have changed anything about this kill.")
        return
    for outcome, (title, tone) in _OUTCOMES.items():
        rows = [one for one in found if one.outcome == outcome]
        if not rows:
            continue
        yield Heading(title)
        yield Bullets(tuple(
            Item(
                f"{one.rule}, {one.title}: with {one.setting}. {sentence(one.words)}", tone,  # type: ignore[arg-type]
                (Code(one.command),) if one.command and outcome != "no_difference" else (),
            )
            for one in rows
        ))  # fmt: skip
    yield Paragraph(
        "Played again with the kernel's own rules on the moment of the kill. A report is one moment: whether memory"
        " would have gone on growing is for the recorded history to say (oomsight history --around).", "dim",
    )  # fmt: skip


def prevention_document(
    version: str, incident_id: str, headline: str, found: tuple[Prevention, ...], missing: str | None
) -> dict[str, Any]:
    """Return the same as plain values, every key present."""
    return {
        "schema": SCHEMA_ID, "oomsight": version, "incident": incident_id, "headline": unmark(headline),
        "missing": unmark(missing) if missing is not None else None,
        "rules": [
            {"rule": one.rule, "title": one.title, "setting": unmark(one.setting), "outcome": one.outcome,
             "words": unmark(one.words), "command": one.command}
            for one in found
        ],
    }  # fmt: skip
