"""A verdict told: who ended it, what that rests on, what misleads, what to do; as blocks and as JSON."""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from oomsight.naming.marked import Kind, mark, unmark
from oomsight.sinks.attribution import ATTRIBUTION, attribution_facts
from oomsight.sinks.blocks import Block, Bullets, Code, Heading, Item, KeyValues, Paragraph
from oomsight.sinks.records import ADVICE
from oomsight.sinks.safe import is_clean
from oomsight.sinks.schema import (
    BOOL,
    INT,
    SENTENCE,
    TEXT,
    Record,
    array,
    choice,
    constant,
    field,
    json_schema,
    optional,
)
from oomsight.sinks.words import sentence
from oomsight.why.evidence import EndedBy, Fact
from oomsight.why.signals import signal_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oomsight.sinks.blocks import Tone
    from oomsight.why.evidence import Verdict

SCHEMA_ID: Final = "oomsight.why/1"
MAX_FACTS: Final = 30  #: of the timeline, the newest; the rest is counted

_TONES: Final[dict[EndedBy, Tone]] = {EndedBy.ALIVE: "good", EndedBy.UNKNOWN: "dim"}


def verdict_story(verdict: Verdict) -> list[Block]:
    """Return the blocks that tell *verdict*."""
    subject = verdict.subject
    blocks: list[Block] = [
        Heading(verdict.headline, 1),
        Paragraph(sentence(f"{verdict.reason} Confidence: {verdict.confidence}")),
        KeyValues(tuple(_facts(verdict))),
    ]
    if verdict.notes:
        blocks += [Heading("Do not be misled"), Bullets(tuple(Item(sentence(note), "warn") for note in verdict.notes))]
    if verdict.timeline:
        blocks += [Heading("Evidence, in order"), _timeline(verdict)]
    if subject.exit_code is not None and subject.ended_by_signal is not None and not subject.alive:
        number = subject.ended_by_signal
        blocks.append(Paragraph(f"Exit code {subject.exit_code} is 128 + {number}: {signal_name(number)}.", "dim"))
    if verdict.settles:
        blocks += [Heading("What would settle it"), Bullets(tuple(Item(sentence(line)) for line in verdict.settles))]
    if verdict.advice:
        blocks += [Heading("Next"), Bullets(tuple(_advice(verdict)), numbered=True)]
    return blocks


_ENDED_BY: Final = {
    EndedBy.KERNEL_OOM: "the kernel's OOM killer", EndedBy.SYSTEMD_OOMD: "systemd-oomd",
    EndedBy.KUBELET_EVICTION: "the kubelet: evicted", EndedBy.STOP_TIMEOUT: "a stop that timed out",
    EndedBy.PLAIN_SIGKILL: "a plain SIGKILL", EndedBy.STOPPED: "a request to stop",
    EndedBy.OTHER_SIGNAL: "another signal", EndedBy.EXITED_ITSELF: "itself",
}  # fmt: skip


def _facts(verdict: Verdict) -> Iterator[tuple[str, str]]:
    subject = verdict.subject
    if verdict.ended_by is EndedBy.ALIVE:
        yield "State", "alive"
    else:
        yield "Ended by", _ENDED_BY.get(verdict.ended_by, verdict.ended_by.value)
    if verdict.at is not None:
        yield "When", time_words(verdict.at)
    if subject.started is not None:
        yield "Runs since" if subject.alive else "Started", time_words(subject.started)
    if subject.exit_code is not None and not subject.alive:
        yield "Exit code", str(subject.exit_code)
    elif subject.signal is not None and not subject.alive:
        yield "Ended on", signal_name(subject.signal)
    if subject.result is not None and subject.result != "success":
        yield "systemd's result", subject.result
    if subject.oom_flag is not None:
        yield "Flag OOMKilled", "set" if subject.oom_flag else "not set"
    if subject.attribution is not None:
        yield from attribution_facts(subject.attribution)


def _timeline(verdict: Verdict) -> Bullets:
    shown = verdict.timeline[-MAX_FACTS:]
    items = [
        Item(
            f"{time_words(fact.at) if fact.at is not None else 'No time'}: {fact.text}; {mark(fact.source, Kind.FILE)}",
            "strong" if fact in verdict.decisive else "plain",
        )
        for fact in shown
    ]
    more = len(verdict.timeline) - len(shown)
    return Bullets((*([Item(f"{more:,} older ones are left out.", "dim")] if more else []), *items))


def _advice(verdict: Verdict) -> Iterator[Item]:
    for advice in verdict.advice:
        line = shlex.join(map(unmark, advice.command)) if advice.command else ""
        # What is copied is run: a name whose look deceives must not get there.
        yield Item(sentence(advice.text), "plain", (Code(line),) if line and is_clean(line) else ())


def time_words(at: float) -> str:
    """Return a moment in local time, to the tenth of a second."""
    stamp = datetime.fromtimestamp(at).astimezone()
    return f"{stamp:%Y-%m-%d %H:%M:%S}.{stamp.microsecond // 100000}"


# -- JSON -------------------------------------------------------------------------------------------------------------


class _FactRow(NamedTuple):
    fact: Fact
    decisive: bool


def _iso(at: float | None) -> str | None:
    return datetime.fromtimestamp(at).astimezone().isoformat(timespec="milliseconds") if at is not None else None


def _fact(name: str) -> Any:
    return lambda row: getattr(row.fact, name)


def _subject(name: str) -> Any:
    return lambda verdict: getattr(verdict.subject, name)


_FACT: Final = Record(
    "fact",
    "One thing a source said.",
    field("kind", TEXT, "kernel_kill, userspace_kill, stop_timeout, signal_sent, exit, …", _fact("kind")),
    field("decisive", BOOL, "Whether the verdict rests on it."),
    field("time", optional(TEXT), "ISO 8601.", lambda row: _iso(row.fact.at)),
    field("source", TEXT, "Where it was read.", _fact("source")),
    field("text", SENTENCE, "In words.", _fact("text")),
    field("pid", optional(INT), "Process it is about.", _fact("pid")),
    field("comm", optional(TEXT), "Name of that process.", _fact("comm")),
    field("cgroup", optional(TEXT), "Cgroup of that process.", _fact("cgroup")),
    field("signal", optional(INT), "Signal number.", _fact("signal")),
    field("incident", optional(TEXT), "Id of the incident that explain tells.", _fact("incident")),
)

VERDICT: Final = Record(
    "verdict",
    "Who or what ended the thing asked about.",
    field("schema", constant(SCHEMA_ID), "Version of this contract.", lambda _: SCHEMA_ID),
    field("oomsight", TEXT, "Version that wrote it.", lambda _: _version()),
    field("asked", TEXT, "What was asked.", _subject("asked")),
    field("kind", choice("process", "name", "unit", "container", "pod"), "What that is.", _subject("kind")),
    field("ended_by", choice(*(by.value for by in EndedBy)), "The verdict."),
    field("confidence", choice("certain", "likely", "possible"), "How sure it is."),
    field("headline", SENTENCE, "One line."),
    field("reason", SENTENCE, "What it rests on."),
    field("time", optional(TEXT), "When it ended, ISO 8601.", lambda verdict: _iso(verdict.at)),
    field("alive", optional(BOOL), "Whether it runs now.", _subject("alive")),
    field("started", optional(TEXT), "ISO 8601, of the current or last run.", lambda v: _iso(v.subject.started)),
    field("exit_code", optional(INT), "0-255, 128 + signal for a signal.", _subject("exit_code")),
    field("signal", optional(INT), "Signal its main process died of.", _subject("ended_by_signal")),
    field("oom_flag", optional(BOOL), "The runtime's OOMKilled flag, which may mislead.", _subject("oom_flag")),
    field("result", optional(TEXT), "systemd's Result.", _subject("result")),
    field("owner", optional(ATTRIBUTION.type), "Whose its cgroup is.", _subject("attribution")),
    field("evidence", array(_FACT.type), "In order of time.",
          lambda verdict: [_FactRow(fact, fact in verdict.decisive) for fact in verdict.timeline]),
    field("notes", array(SENTENCE), "Flags that mislead, and what else happened."),
    field("settles", array(SENTENCE), "What would make it certain."),
    field("advice", array(ADVICE.type), "What to do."),
)  # fmt: skip


def _version() -> str:
    from oomsight._version import __version__

    return __version__


def verdict_json(verdict: Verdict) -> str:
    """Return *verdict* as indented JSON ending in a newline. Pure ASCII: odd bytes are ``\\udcXX``."""
    import json

    return json.dumps(VERDICT.write(verdict), indent=2) + "\n"


def verdict_schema() -> dict[str, Any]:
    """Return the JSON Schema of :func:`verdict_json`."""
    return json_schema(VERDICT, SCHEMA_ID, "oomsight why --format json")
