"""
The JSON document of ``explain``: written, and described by a JSON Schema, from the same field tables.

Contract: sizes end in their unit, ``null`` is not known, ``"unlimited"`` is a limit that does not limit, names are
the raw names (a byte that is not UTF-8 is a lone surrogate ``\\udcXX``), sentences carry their names as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from oomsight._record import replaced
from oomsight.sinks import schema
from oomsight.sinks.memory_bar import primary_accounting
from oomsight.sinks.records import (
    ACCOUNTING,
    ANSWERS,
    CAUSE,
    CONSUMER,
    KILLED,
    MEMCG,
    NOTE,
    OWNER,
    RANKED,
    REQUEST,
    SELECTION,
    SOURCE,
    SPAN,
    TASK,
    TRIGGER,
    VICTIM,
    ZONE,
    TaskTable,
    ZoneRow,
)
from oomsight.sinks.schema import BOOL, INT, NUMBER, SENTENCE, TEXT, Record, array, choice, constant, field, optional
from oomsight.sinks.words import page_kib

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from oomsight.diagnose.model import Accounting, Incident

SCHEMA_ID: Final = "oomsight.explain/1"


class SourceInfo(NamedTuple):
    """What was read: one row of ``sources``. Times are ISO 8601 (else the carrier's words); ``None`` = not known."""

    name: str
    lines: int
    bytes: int
    first_time: str | None = None
    last_time: str | None = None
    boots: int | None = None
    notes: tuple[str, ...] = ()


def _report(name: str) -> Any:
    return lambda incident: getattr(incident.report, name)


def _when(name: str) -> Any:
    return lambda incident: getattr(incident.report.when, name)


def _tasks(incident: Incident) -> TaskTable:
    tasks = incident.report.tasks
    ranked = {t.pid: t for t in incident.selection.ranking} if incident.selection else {}
    table = TaskTable(tasks, (), page_kib(incident.report))
    return table._replace(ranked=[ranked.get(pid) for pid in table.column("pid") if pid is not None])


def _zones(incident: Incident) -> list[ZoneRow]:
    info = incident.report.meminfo
    checks = {(check.node, check.name): check for check in incident.zone_checks}
    return [ZoneRow(zone, checks.get((zone.node, zone.name))) for zone in info.zones] if info else []


def _other_memory(incident: Incident) -> list[Accounting]:
    first = primary_accounting(incident)
    return [accounting for accounting in incident.accountings if accounting is not first]


KINDS: Final = (
    "global", "memcg", "cpuset", "mempolicy", "sysrq", "panic", "no_killable", "reaper_only", "userspace_killer",
    "allocation_failure",
)  # fmt: skip

INCIDENT: Final = Record(
    "incident",
    "One explained event.",
    field("id", TEXT, "Stable across re-reads of the same event."),
    field("time", optional(TEXT), "ISO 8601; without offset where the text has none.", _when("time")),
    field("time_text", optional(TEXT), "The time as printed.", _when("time_text")),
    field("uptime_s", optional(NUMBER), "Seconds since boot.", _when("uptime_s")),
    field("host", optional(TEXT), "Host name.", _when("host")),
    field("boot_id", optional(TEXT), "Boot id.", _when("boot_id")),
    field("source", SPAN.type, "Where it was read."),
    field("kind", choice(*KINDS), "What happened.", _report("kind")),
    field("constraint", optional(TEXT), "CONSTRAINT_… as printed, or derived with a note.", _report("constraint")),
    field("complete", BOOL, "Head, memory, tasks and kill were all in the text.", _report("complete")),
    field("notes", array(NOTE.type), "Oddities of the text.", _report("notes")),
    field("trigger", optional(TRIGGER.type), "The task whose allocation failed.", _report("trigger")),
    field("request", optional(REQUEST.type), "What it asked for.", lambda i: i.gfp),
    field("victims", array(VICTIM.type), "Processes the kernel killed.", _report("victims")),
    field("killed_unnamed", optional(INT), "Processes the log counts as killed besides, naming none (OpenVZ).",
          _report("killed_unnamed")),
    field("killer", optional(TEXT), "Userspace killer.", _report("killer")),
    field("killed", array(KILLED.type), "What it killed.", _report("killed")),
    field("oom_memcg", optional(TEXT), "Cgroup whose limit was hit.", _report("oom_memcg")),
    field("task_memcg", optional(TEXT), "Cgroup the victim was in.", _report("task_memcg")),
    field("oom_owner", optional(OWNER.type), "Who oom_memcg belongs to."),
    field("memcg", optional(MEMCG.type), "Counters of oom_memcg.", _report("memcg")),
    field("memory", optional(ACCOUNTING.type), "Where the memory of the limit that was hit was.", primary_accounting),
    field("memory_other", array(ACCOUNTING.type), "Other accountings: host, nodes.", _other_memory),
    field("zones", array(ZONE.type), "Zones of the report.", _zones),
    field("page_size_bytes", optional(INT), "Page size; null = not known, sizes assume 4096.", _report("page_size")),
    field("page_size_from", optional(SENTENCE), "How the page size is known.", _report("page_size_from")),
    field("tasks", TASK.type, "The task table.", _tasks),
    field("selection", optional(SELECTION.type), "Why this process."),
    field("consumers", array(CONSUMER.type), "Biggest holders of memory."),
    field("culprit", optional(CONSUMER.type), "Who really held the memory."),
    field("causes", array(CAUSE.type), "Causes, the verdict first."),
    field("answers", ANSWERS.type, "The three questions."),
    field("panic", optional(TEXT), "Panic message the report ended in.", _report("panic")),
    field("headline", SENTENCE, "One line."),
    field("summary", SENTENCE, "Plain sentences."),
    field("recurrence", optional(SENTENCE), "How often in this input."),
)  # fmt: skip

DOCUMENT: Final = Record(
    "document",
    "Every event found in the sources.",
    field("schema", constant(SCHEMA_ID), "Version of this contract.", lambda _: SCHEMA_ID),
    field("oomsight", TEXT, "Version that wrote it.", lambda d: d[0]),
    field("sources", array(SOURCE.type), "What was read.", lambda d: d[1]),
    field("incidents", array(INCIDENT.type), "Newest first.", lambda d: d[2]),
)


def incident_dict(incident: Incident) -> dict[str, Any]:
    """Return *incident* as the JSON object of the contract, every key present."""
    written = INCIDENT.write(incident)
    trigger, request = written["trigger"], written["request"]
    if trigger is not None and trigger["gfp_flags"] is None and request is not None:
        trigger["gfp_flags"] = list(request["flags"])  # kernels before 4.6 print the mask only
    return written


def document(version: str, sources: Iterable[SourceInfo], incidents: Sequence[Incident]) -> dict[str, Any]:
    """Return the whole document of one run."""
    written = DOCUMENT.write((version, sources, ()))
    written["incidents"] = [incident_dict(incident) for incident in incidents]
    return written


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of :func:`document`, generated from the tables above."""
    return schema.json_schema(DOCUMENT, SCHEMA_ID, "oomsight explain --format json")


def incident_json(incident: Incident) -> str:
    """Return *incident* as one line of NDJSON, without the newline. Pure ASCII: odd bytes are ``\\udcXX``."""
    import json

    # The two tables are most of it, and their text takes a tenth of the time that one of dictionaries does.
    selection = incident.selection
    bare = replaced(incident, report=replaced(incident.report, tasks=()))
    bare.selection = selection and replaced(selection, ranking=())
    text = json.dumps(incident_dict(bare), separators=(",", ":"))
    # Strings hold no bare quotes, so nothing but a key looks like one; each is there once.
    text = text.replace('"tasks":[]', f'"tasks":{TASK.text(_tasks(incident))}', 1)
    return text.replace('"ranking":[]', f'"ranking":{RANKED.text(selection.ranking)}', 1) if selection else text


def document_json(version: str, sources: Iterable[SourceInfo], incidents: Sequence[Incident]) -> str:
    """Return the document as indented JSON text ending in a newline. Pure ASCII."""
    import json

    return json.dumps(document(version, sources, incidents), indent=2) + "\n"
