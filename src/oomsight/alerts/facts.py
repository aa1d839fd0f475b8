"""
What a rule can ask of an event: a flat view of the event document (:mod:`oomsight.sinks.live_event`).

A message is made from plain JSON, where names stand unmarked inside sentences. :func:`marked_again` finds the names the
document itself gives and marks them, so that each channel can escape them its own way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from oomsight._sizes import steady_size_words
from oomsight.naming.marked import Kind, mark

DRILL_PREFIX: Final = "oomsight-drill-"
"""Cgroups of ``oomsight drill`` begin so: their kills are meant, go to every channel and are never grouped."""

MEMORY: Final = "memory"  #: :attr:`Facts.kind` of a memory alert (:mod:`oomsight.alarms.event`)
NOTE: Final = "note"  #: :attr:`Facts.kind` of a remark of the agent (a count that differs, records lost)

Event = Mapping[str, Any]


class Severity(IntEnum):
    """How bad; a rule asks for *at least* one of these."""

    INFO = 1  #: nobody was killed, or a person asked for it
    WARNING = 2  #: a container, unit or limit lost a process
    CRITICAL = 3  #: the machine itself ran out of memory

    @property
    def word(self) -> str:
        """The name as it stands in rules and messages."""
        return self.name.lower()


SEVERITY_OF: Final[Mapping[str, Severity]] = {
    "global": Severity.CRITICAL, "cpuset": Severity.CRITICAL, "mempolicy": Severity.CRITICAL,
    "panic": Severity.CRITICAL, "no_killable": Severity.CRITICAL, "memcg": Severity.WARNING,
    "userspace_killer": Severity.WARNING, "reaper_only": Severity.WARNING, "sysrq": Severity.INFO,
    "allocation_failure": Severity.INFO,
}  # fmt: skip
"""By kind of the incident."""

NOTE_SEVERITY: Final[Mapping[str, Severity]] = {
    "kills_not_in_log": Severity.WARNING, "counted_kill": Severity.WARNING, "killer_disabled": Severity.CRITICAL,
    "records_lost": Severity.WARNING, "source_lost": Severity.WARNING, "before_us": Severity.INFO,
}  # fmt: skip
"""By code of the remark: each a :class:`oomsight.live.counters.Finding`."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One event, flat. ``None`` = not known; names are raw, ``headline``, ``where`` and ``lines`` are marked text."""

    event_id: str
    kind: str  #: kind of the incident, or :data:`NOTE`
    cause: str  #: code of the first cause, or of the remark; "unknown"
    severity: Severity
    headline: str
    kills: int = 0
    time: str | None = None  #: ISO 8601
    incident_id: str | None = None
    comm: str | None = None
    pid: int | None = None
    cgroup: str | None = None  #: of the victim, else the one whose limit was hit
    unit: str | None = None
    container: str | None = None
    pod: str | None = None
    namespace: str | None = None
    pod_uid: str | None = None
    image: str | None = None
    user: str | None = None
    machine: str | None = None
    node: str | None = None
    where: str | None = None  #: shortest words for the place, when names are known; marked
    drill: bool = False
    lines: tuple[str, ...] = ()  #: what a message says below its headline
    alert_id: str | None = None  #: of a memory alert: the same from ``raised`` to ``cleared``
    moment: str | None = None  #: of a memory alert: raised, changed, still, cleared

    @property
    def place(self) -> str:
        """The name of where it happened, raw, for grouping; empty when nothing is known."""
        if self.pod is not None:
            return f"{self.namespace or ''}/{self.pod}:{self.container or ''}"
        return self.container or self.machine or self.unit or self.cgroup or ""


def facts_of(event: Event, node: str | None = None) -> Facts | None:
    """
    Return the facts of *event*; ``None`` = nothing to tell: history, or not complete yet.

    Only complete events are told: the report follows the kill line within milliseconds, and names the cause.
    """
    if event.get("type") == "note":
        code = str(event.get("code"))
        severity = NOTE_SEVERITY.get(code, Severity.INFO)
        text = str(event.get("text", ""))
        numbers = event.get("numbers") or {}
        cgroup = numbers.get("cgroup") if isinstance(numbers.get("cgroup"), str) else None
        headline = marked_again(text[:1].upper() + text[1:], [(cgroup, Kind.CGROUP)])
        return Facts(
            f"{code} {event.get('seen')}", NOTE, code, severity, headline, time=event.get("seen"), cgroup=cgroup,
            node=node,
        )  # fmt: skip
    if event.get("type") == MEMORY:
        return _memory_facts(event, node)
    if event.get("stage") == "provisional" or event.get("replayed"):
        return None
    incident: Mapping[str, Any] = event["incident"]
    names = (event.get("enrichment") or {}).get("attribution") or {}
    victim: Mapping[str, Any] = next(iter([*incident["victims"], *incident["killed"]]), {})
    owner = victim.get("owner") or incident.get("oom_owner") or {}
    cgroup = incident["task_memcg"] or victim.get("cgroup") or incident["oom_memcg"]
    causes = incident["causes"]
    known = list(_names(incident, names, owner))
    drill = (cgroup or "").rpartition("/")[2].startswith(DRILL_PREFIX)
    return Facts(
        event_id=event["event_id"], kind=incident["kind"], cause=causes[0]["code"] if causes else "unknown",
        severity=SEVERITY_OF.get(incident["kind"], Severity.WARNING), kills=len(event["kills"]),
        headline=marked_again(incident["headline"], known), time=incident["time"] or event["seen"],
        incident_id=incident["id"], comm=victim.get("comm"), pid=victim.get("pid"), cgroup=cgroup,
        unit=names.get("unit") or owner.get("unit"), container=names.get("container") or names.get("container_id"),
        pod=names.get("pod"), namespace=names.get("namespace"), pod_uid=names.get("pod_uid") or owner.get("pod_uid"),
        image=names.get("image"), user=names.get("user"), machine=names.get("machine") or owner.get("machine"),
        node=names.get("node") or incident["host"] or node, where=_where(names),
        drill=drill, lines=tuple(_lines(event, names, known, drill)),
    )  # fmt: skip


def _memory_facts(event: Event, node: str | None) -> Facts:
    names = (event.get("enrichment") or {}).get("attribution") or {}
    who = event["grower"] or event["biggest"] or {}
    process = who if who.get("kind") in {"process", "name"} else {}
    known: list[tuple[str | None, Kind]] = [(w["name"], Kind.COMM) for w in (event["grower"], event["biggest"]) if w]
    known += [(event["victim"], Kind.COMM), (event["cgroup"], Kind.CGROUP)]
    known.append(((event["cgroup"] or "").rpartition("/")[2], Kind.CGROUP))
    known += [(names.get(key), Kind.OWNER) for key in ("name", *_OWNER_KEYS)]
    return Facts(
        event_id=event["event_id"], kind=MEMORY, cause=event["reasons"][0]["code"] if event["reasons"] else "unknown",
        severity=Severity[str(event["severity"]).upper()], headline=marked_again(event["headline"], known),
        time=event["seen"], comm=process.get("name"), pid=process.get("pid"), cgroup=event["cgroup"],
        unit=names.get("unit"), container=names.get("container") or names.get("container_id"), pod=names.get("pod"),
        namespace=names.get("namespace"), pod_uid=names.get("pod_uid"), image=names.get("image"),
        user=names.get("user"), machine=names.get("machine"), node=names.get("node") or node,
        lines=tuple(marked_again(line, known) for line in event["lines"]), alert_id=event["alert_id"],
        moment=event["moment"],
    )  # fmt: skip


_OWNER_KEYS: Final = (
    "unit", "slice", "machine", "container", "pod", "namespace", "user", "image", "runtime", "session",
)  # fmt: skip


def _where(names: Mapping[str, Any]) -> str | None:
    """The place in few words, where the path alone would not have told them."""
    if names.get("pod") is not None or names.get("container") is not None:
        return mark(str(names["name"]), Kind.OWNER)
    return None


def _lines(
    event: Event, names: Mapping[str, Any], known: list[tuple[str | None, Kind]], drill: bool
) -> Iterator[str]:
    incident = event["incident"]
    if names.get("words") and names.get("path") is not None:
        yield f"Where: {marked_again(names['words'], known)}"
    survived = (event.get("enrichment") or {}).get("main_process_survived")
    if survived and not (len(event["kills"]) > 1):
        yield "The main process of the container was not the one that died: the container itself did not end by this."
    for cause in incident["causes"][:1]:
        yield f"Cause: {cause['title']} ({cause['confidence']})"
    culprit = incident["culprit"]
    if culprit is not None:
        ours = culprit["kind"] in {"kernel", "shared"}  # our words for what is no process
        who, held = culprit["name"] if ours else mark(culprit["name"]), steady_size_words(culprit["kib"] << 10)
        share = f", {culprit['share_pct']:.0f} %" if culprit["share_pct"] is not None else ""
        role = f"itself ({held})" if culprit["is_victim"] else f"({held}{share}), not the one that died"
        yield f"Who held the memory: {who} {role}"
    if drill:
        yield "Nothing to do: oomsight drill made this kill, to see whether it is told."
    for advice in incident["causes"][0]["advice"][:1] if incident["causes"] and not drill else ():
        yield f"Do first: {marked_again(advice['text'], known)}"
    if event.get("source"):
        yield f"Incident {incident['id']}; seen in {event['source']}; `oomsight incidents show {incident['id']}`"


def _names(
    incident: Mapping[str, Any], names: Mapping[str, Any], owner: Mapping[str, Any]
) -> Iterator[tuple[str | None, Kind]]:
    """Every name of the document that may stand in its sentences."""
    for row in [*incident["victims"], *incident["killed"], incident["trigger"] or {}]:
        yield row.get("comm"), Kind.COMM
    if incident["culprit"] is not None:
        yield incident["culprit"]["name"], Kind.COMM
    for path in (incident["task_memcg"], incident["oom_memcg"]):
        yield path, Kind.CGROUP
        yield (path or "").rpartition("/")[2], Kind.CGROUP
    for one in (owner, incident.get("oom_owner") or {}, names):
        for key in _OWNER_KEYS:
            yield one.get(key), Kind.OWNER
        yield one.get("container_id"), Kind.ID


_MARKS: Final = {2: "\\x02", 3: "\\x03", 31: "\\x1f"}


def marked_again(text: str, names: Iterable[tuple[str | None, Kind]]) -> str:
    """
    Return *text*, an unmarked sentence, with every occurrence of *names* marked; the longest name wins.

    A name counts only where it is not part of a longer word. Nothing in *text* can forge a mark.
    """
    text = text.translate(_MARKS)
    table = {name.translate(_MARKS): kind for name, kind in names if name}
    if not table:
        return text
    parts = sorted(table, key=len, reverse=True)
    pattern = "|".join(
        (r"(?<!\w)" if part[0].isalnum() else "") + re.escape(part) + (r"(?!\w)" if part[-1].isalnum() else "")
        for part in parts
    )
    return re.sub(pattern, lambda m: mark(m[0], table[m[0]]), text)
