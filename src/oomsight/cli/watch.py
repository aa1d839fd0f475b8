"""``oomsight watch``: OOM kills as they happen, in this terminal or as NDJSON."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from oomsight.cli import declare
from oomsight.cli.exits import CommandError, Exit
from oomsight.cli.options import (
    answer,
    color_option,
    exit_code_option,
    format_option,
    remark,
    stdout_surface,
    width_option,
)

if TYPE_CHECKING:
    from oomsight.live.counters import Finding
    from oomsight.live.events import LiveEvent
    from oomsight.live.health import Health

EXAMPLES: Final = (
    ("oomsight watch", "every OOM kill from now on, within milliseconds"),
    ("oomsight watch --replay", "also those the logs still hold"),
    ("oomsight watch --format ndjson | jq -r .incident.headline", "for programs: one event per line"),
    ("oomsight watch --count 1 && notify-send 'an OOM kill'", "wait for the next one"),
)


@declare.command("watch", examples=EXAMPLES)
@format_option("text", "ndjson")
@declare.option("--replay", is_flag=True, help="Begin with the oldest events the logs hold.")
@declare.option("--full", is_flag=True, help="Tell each event in full, not in a few lines.")
@declare.option("--count", type=declare.IntRange(1), metavar="N", help="End after N events.")
@declare.option("--seconds", type=declare.FloatRange(0), metavar="S", help="End after this time.")
@declare.option("--no-journal", is_flag=True, help="Do not follow the systemd journal.")
@declare.option("--no-memory", is_flag=True, help="Only kills: do not look for memory alerts.")
@width_option
@color_option
@exit_code_option
def command(
    *, output_format: str, replay: bool, full: bool, count: int | None, seconds: float | None, no_journal: bool,
    no_memory: bool, width: int | None, color: str, exit_code: bool,
) -> int:  # fmt: skip
    """
    Tell every OOM kill of this host as it happens: kernel kills, and those of systemd-oomd, earlyoom and others.

    Memory alerts are told, too, before there is a kill: RAM, swap, growth, cgroups near their limits.

    A kill is told at once (stage "provisional") and again when its report is complete, under the same event id. Works
    without root as far as the system lets it, and says what is missing.
    """
    from oomsight.daemons.detector import Sources
    from oomsight.daemons.watch import watch

    show = _Ndjson() if output_format == "ndjson" else _Text(full, width, color)

    def begin(health: Health, missing: list[str]) -> None:
        for line in missing:
            remark(f"not watched: {line}")
        usable = [s.name for s in health.sources.values() if s.usable]
        if not usable:
            hint = "use sudo, or run it on the host itself"
            raise CommandError("nothing here can be watched", Exit.UNSUPPORTED, hint)
        if output_format == "text":
            remark(f"watching {', '.join(usable)}; Ctrl-C ends")

    try:
        sources = Sources(journal=not no_journal, history=replay)
        memory = None if no_memory else show.memory
        told = watch(sources, show.event, show.note, begin, count=count, seconds=seconds, memory=memory)
    except KeyboardInterrupt:
        return Exit.OK
    return Exit.FOUND if exit_code and told else Exit.OK


class _Ndjson:
    """One JSON object per line, flushed: the reader is a program that waits for it."""

    def event(self, event: LiveEvent, seen: str) -> None:
        from oomsight.sinks.live_event import event_dict, event_json

        self._line(event_json(event_dict(event, seen)))

    def note(self, finding: Finding, seen: str, boot_id: str | None) -> None:
        from oomsight.sinks.live_event import event_json, note_dict

        self._line(event_json(note_dict(finding, seen, boot_id)))

    def memory(self, document: dict[str, Any]) -> None:
        from oomsight.sinks.live_event import event_json

        self._line(event_json(document))

    @staticmethod
    def _line(text: str) -> None:
        answer(text + "\n")
        sys.stdout.flush()


class _Text:
    """For people: one line at once, a few more when the report is complete."""

    def __init__(self, full: bool, width: int | None, color: str) -> None:
        self.full = full
        self.surface = stdout_surface(width, color)

    def event(self, event: LiveEvent, seen: str) -> None:
        from oomsight.live.events import Stage
        from oomsight.sinks.blocks import Paragraph
        from oomsight.sinks.story import story

        incident = event.incident
        if event.stage is Stage.PROVISIONAL:
            if not event.replayed:
                self._show([Paragraph(f"{_clock(seen)}  {incident.headline}", "bad")])
        elif event.stage is Stage.COMPLETE:
            self._show([*story(incident, level="normal" if self.full else "brief"), Paragraph("")])
        elif reaped := [v for v in incident.report.victims if v.reaped is False]:
            names = f"{len(reaped)} victim(s) could not be reaped: their memory is not free yet"
            self._show([Paragraph(f"{_clock(seen)}  {incident.id}: {names}", "warn")])

    def note(self, finding: Finding, seen: str, boot_id: str | None) -> None:  # noqa: ARG002 - one shape for both
        from oomsight.sinks.blocks import Paragraph

        self._show([Paragraph(f"{_clock(seen)}  Note: {finding.text}", "warn")])

    def memory(self, document: dict[str, Any]) -> None:
        from oomsight.alerts.facts import facts_of
        from oomsight.sinks.blocks import Paragraph

        facts = facts_of(document)
        if facts is not None:
            word = "Over" if document["moment"] == "cleared" else facts.severity.word.capitalize()
            text = f"{_clock(document['seen'])}  {word}: {facts.headline}"
            self._show([Paragraph(text, "good" if document["moment"] == "cleared" else "warn")])

    def _show(self, blocks: list[object]) -> None:
        from oomsight.sinks.text import render_text

        text = render_text(blocks, width=self.surface.width, colour=self.surface.colour, unicode=self.surface.unicode)  # type: ignore[arg-type]
        answer(text)
        sys.stdout.flush()


def _clock(seen: str) -> str:
    """Return the time of day of an ISO 8601 moment, to the millisecond."""
    return seen[11:23]
