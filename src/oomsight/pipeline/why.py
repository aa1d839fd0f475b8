"""
``why``: find what is asked about, gather what every source says, and judge.

Reads only: runtimes' names and states, kernel log, journal or log files, /proc, the agent's store where there is one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from oomsight.attribute import Key, Memory, Names, Observation, Resolver
from oomsight.diagnose.explain import incident_id
from oomsight.naming.cgroup_path import describe
from oomsight.naming.marked import Kind, mark
from oomsight.pipeline.query import unix_seconds
from oomsight.report import Clock, parse_text
from oomsight.report.killers import REPORTERS
from oomsight.report.model import EventKind
from oomsight.sources.errors import SourceError
from oomsight.sources.host import best_host_sources
from oomsight.sources.runtimes import cri_socket, docker, process, spoken, systemd
from oomsight.sources.runtimes.places import Places  # noqa: TC001 - in a dataclass
from oomsight.sources.runtimes.survey import limit_bytes, survey
from oomsight.sources.scan import scan
from oomsight.why.case import concerns
from oomsight.why.evidence import Coverage, Fact, FactKind, Subject, Verdict
from oomsight.why.judge import judge
from oomsight.why.signals import signal_number

if TYPE_CHECKING:
    from oomsight.attribute import Attribution
    from oomsight.attribute.memory import Record
    from oomsight.report.model import OomReport
    from oomsight.sources.source import Source
    from oomsight.why.evidence import SubjectKind

_CLOCK_SLACK: Final = 60.0  # printk's clock starts a little after boot


@dataclass(slots=True)
class Inquest:
    """What was asked, found and concluded."""

    verdict: Verdict
    remarks: list[str] = field(default_factory=list)  #: for stderr: sources that are missing, what else has the name


@dataclass(slots=True)
class Asking:
    """Everything an inquest needs from outside, so that tests can give it."""

    places: Places
    now: float  #: unix seconds
    monotonic: float = 0.0  #: CLOCK_MONOTONIC at the same moment
    logs: Sequence[Source] = ()  #: instead of the host's own logs
    memory: Memory | None = None  #: names the agent remembers
    stored: Sequence[Fact] = ()  #: kills in the agent's store


def why(asked: str, asking: Asking, kind: SubjectKind | None = None) -> Inquest | None:
    """Return the inquest into *asked*; ``None`` when nothing of that name is known anywhere."""
    resolver = Resolver(asking.memory)
    seen = survey(asking.places, asking.now)
    resolver.observe(seen.observations)
    subject, remarks = find_subject(asked, asking, resolver, kind)
    sources, missing = _logs(asking)
    facts = [*asking.stored]
    read, begun = _kernel_facts(sources, asking, facts)
    facts += _told(subject, asking, sources, missing)
    if subject.alive is None and not any(concerns(fact, subject) for fact in facts) and subject.attribution is None:
        return None
    if subject.kind == "name" and subject.alive and _ended_without_a_time(subject, facts):
        subject = replace(subject, alive=None)
        remarks.append(f"a process called {subject.asked} runs now; this is about one that was ended")
    subject = _completed(subject, facts, resolver, asking)
    coverage = Coverage(read, begun, tuple(missing + (seen.missing if subject.alive is None else [])))
    return Inquest(judge(subject, _once(facts), coverage), remarks)


# -- what is asked about ----------------------------------------------------------------------------------------------


def find_subject(
    asked: str, asking: Asking, resolver: Resolver, kind: SubjectKind | None = None
) -> tuple[Subject, list[str]]:
    """Return what *asked* names, and remarks: what else has that name. A name nobody knows is a process name."""
    tries: list[tuple[SubjectKind, Callable[[], Subject | None]]] = [
        ("process", lambda: _process(asked, asking)),
        ("container", lambda: _container(asked, asking, resolver)),
        ("pod", lambda: _pod(asked, resolver)),
        ("unit", lambda: _unit(asked, asking)),
        ("name", lambda: _named(asked, asking)),
    ]
    found: list[Subject] = []
    for name, attempt in tries:
        if kind in {None, name}:
            subject = attempt()
            if subject is not None and not (found and name == "name"):
                found.append(subject)
    if not found:
        unit = systemd.unit_name(asked) if kind == "unit" else None
        found.append(Subject(kind or "name", asked, unit=unit))
    others = [f"there is also a {other.kind} of that name; --as {other.kind} asks about it" for other in found[1:]]
    return found[0], others


def _process(asked: str, asking: Asking) -> Subject | None:
    if not (asked.isascii() and asked.isdigit()) or len(asked) > 9:
        return None
    return process.subject_of(asking.places, int(asked), asked, asking.now)


def _container(asked: str, asking: Asking, resolver: Resolver) -> Subject | None:
    name = asked.removeprefix("docker://").removeprefix("containerd://").removeprefix("cri-o://")
    for engine in docker.engines(asking.places):
        try:
            found = engine.inspect(name)
        except SourceError:
            continue
        if found is not None:
            resolver.observe([docker.observation(found, engine.runtime, asking.now)])
            return docker.subject_of(found, engine.runtime, asked)
    known = [(key, record) for key, record in resolver.find(name) if key.kind in {"container", "cgroup"}]
    full = known[0][0].id if known and known[0][0].kind == "container" else name
    try:
        for found in docker.docker_files(asking.places):
            if found.get("Id") == full or str(found.get("Name")).lstrip("/") == name:
                return docker.subject_of(found, "docker", asked)
    except SourceError:
        pass
    if not known and not _looks_like_id(name):
        return None
    return cri_socket.subject_of(asking.places, full, asked) or _remembered(asked, known, resolver, name)


def _looks_like_id(text: str) -> bool:
    return 12 <= len(text) <= 64 and all(char in "0123456789abcdef" for char in text)


def _remembered(asked: str, known: list[tuple[Key, Record]], resolver: Resolver, name: str) -> Subject:
    """A container that only memory or bundles know; whether it lives is not known to them."""
    if not known:
        return Subject("container", asked, container_id=name)
    key, record = known[0]
    names = record.names
    path = key.id if key.kind == "cgroup" else None
    attribution = resolver.resolve(path) if path else resolver.resolve_id("container", key.id)
    return Subject(
        "container", asked, container_id=key.id if key.kind == "container" else None, cgroup=path,
        container=names.container, pod=names.pod, namespace=names.namespace, pod_uid=names.pod_uid,
        pid=names.main_pid, runtime=names.runtime, attribution=attribution,
    )  # fmt: skip


def _pod(asked: str, resolver: Resolver) -> Subject | None:
    name = asked.removeprefix("pod/")
    for key, record in resolver.find(name):
        names = record.names
        if names.pod_uid and (key.kind == "pod" or name in {names.pod, f"{names.namespace}/{names.pod}"}):
            attribution = resolver.resolve_id("pod", names.pod_uid)
            return Subject(
                "pod", asked, pod=names.pod, namespace=names.namespace, pod_uid=names.pod_uid, attribution=attribution
            )
    namespace, slash, pod = name.partition("/")
    if slash and pod and "/" not in pod and namespace:
        return Subject("pod", asked, pod=pod, namespace=namespace)
    return None


def _unit(asked: str, asking: Asking) -> Subject | None:
    if "/" in asked:
        return None
    unit = systemd.unit_name(asked)
    try:
        subject = systemd.subject_of(systemd.show_unit(asking.places, unit), asked, asking.now, asking.monotonic)
    except SourceError:
        subject = None
    # Logs may know a unit that systemd has forgotten; but only who writes the suffix surely means a unit.
    return subject or (Subject("unit", asked, unit=unit) if unit == asked else None)


def _named(asked: str, asking: Asking) -> Subject:
    try:
        pids = process.pids_of(asking.places, asked)
    except SourceError:
        pids = []
    return Subject("name", asked, alive=True if pids else None, comm=asked)


# -- what is known about it -------------------------------------------------------------------------------------------


def _logs(asking: Asking) -> tuple[list[Source], list[str]]:
    """The logs to read, and a line for each better one that cannot be."""
    if asking.logs:
        return list(asking.logs), []
    missing: list[str] = []
    for candidate in best_host_sources(asking.places.root):
        if candidate.usable:
            return list(candidate.sources), missing
        hint = f"; {candidate.hint}" if candidate.hint else ""
        missing.append(f"{candidate.name}: {candidate.reason}{hint}")
    return [], missing


def _kernel_facts(sources: Iterable[Source], asking: Asking, facts: list[Fact]) -> tuple[bool, float | None]:
    """Add the kills in the logs to *facts*; return whether a log was read and from when on it covers."""
    read, begun = False, None
    for source in sources:
        clock = _clock(source, asking)
        try:
            for window in scan(source.blocks()):
                for report in parse_text(window.data, source.name, first_line=window.first_line, clock=clock):
                    facts += kill_facts(report, source)
            read = True
        except SourceError:
            continue
        first = _first_moment(source, clock)
        begun = first if begun is None or (first is not None and first < begun) else begun
    return read, begun


def _first_moment(source: Source, clock: Clock) -> float | None:
    """When the log begins: of the kernel's own ring the time of its first record, else the date of its first line."""
    from oomsight.report.times import when

    head = b""
    try:
        for block in source.blocks():
            head = bytes(block[:4096])
            break
    except SourceError:
        return None
    if source.kind == "journal":
        import re

        stamp = re.search(rb"^__REALTIME_TIMESTAMP=(\d+)$", head, re.MULTILINE)
        return int(stamp[1]) / 1e6 if stamp else None
    for line in head.decode("utf-8", "surrogateescape").split("\n")[:20]:
        found = when(line[:200], clock)
        if found.time:
            # Records of boot time are all there are: the log covers everything since.
            return unix_seconds(found.time)
    return None


def kill_facts(report: OomReport, source: Source) -> Iterator[Fact]:
    """Yield the kills one report tells of."""
    name = "kernel log" if source.kind in {"kmsg", "dmesg"} else source.name
    at = unix_seconds(report.when.time)
    incident = incident_id(report)
    if report.kind is EventKind.USERSPACE_KILLER:
        for killed in report.killed:
            if report.killer in REPORTERS:
                continue  # the kernel's own report is the better one
            what = mark(killed.comm) if killed.comm else mark(killed.cgroup or "a process", Kind.CGROUP)
            pid = f" (pid {killed.pid})" if killed.pid is not None else ""
            signal = signal_number(killed.signal) if killed.signal else None
            yield Fact(
                FactKind.USERSPACE_KILL, name, f"{report.killer} ended {what}{pid}", at, pid=killed.pid,
                comm=killed.comm, cgroup=_absolute(killed.cgroup), signal=signal, killer=report.killer,
                incident=incident,
            )  # fmt: skip
        return
    for victim in report.victims:
        path = victim.task_memcg or report.task_memcg
        owner = describe(path)
        where = f" in {owner.short}" if owner is not None and owner.kind != "root" else ""
        what = mark(victim.comm) if victim.comm is not None else "a process"
        pid = f" (pid {victim.pid})" if victim.pid is not None else ""
        limit = report.oom_memcg if report.kind is EventKind.MEMCG else None
        scope = "for a memory limit" if report.kind is EventKind.MEMCG else "for the whole machine or a part of it"
        yield Fact(
            FactKind.KERNEL_KILL, name, f"the kernel OOM killer killed {what}{pid}{where}, {scope}",
            unix_seconds(victim.time.time) if victim.time and victim.time.time else at, pid=victim.tgid or victim.pid,
            comm=victim.comm, cgroup=path, limit_cgroup=limit, incident=incident,
        )  # fmt: skip


def _absolute(path: str | None) -> str | None:
    return path if path is None or path.startswith("/") else f"/{path}"


def _told(subject: Subject, asking: Asking, sources: list[Source], missing: list[str]) -> Iterator[Fact]:
    """Facts from daemons: the runtime's events, the journal or log files, the counters of the cgroup."""

    def keep(fact: Fact) -> bool:
        return concerns(fact, subject)

    if subject.container_id and subject.runtime in docker.RIGHTS:
        since = (subject.started or asking.now - 86400.0) - 5
        for engine in docker.engines(asking.places):
            try:
                yield from engine.events(subject.container_id, since, asking.now + 1)
            except SourceError as error:
                missing.append(str(error))
    if asking.logs:
        yield from spoken.log_facts(sources, lambda source: _clock(source, asking), keep)
    else:
        try:
            yield from spoken.journal_facts(asking.places, subject, keep)
        except SourceError as error:
            if not any(line.startswith("journal:") for line in missing):
                missing.append(str(error))
            files = [source for source in sources if source.kind == "file"]
            yield from spoken.log_facts(files, lambda source: _clock(source, asking), keep)
    cgroup = subject.cgroup
    if cgroup is None and subject.pid is not None and subject.alive:
        cgroup = process.cgroup_of(asking.places, subject.pid)
    if subject.kind in {"unit", "container", "pod"}:
        yield from process.counter_facts(asking.places, cgroup)


def _ended_without_a_time(subject: Subject, facts: Iterable[Fact]) -> bool:
    """Whether all that is known of ends under this name has no time: then no moment tells it from what runs now."""
    ends = [f for f in facts if f.kind in {FactKind.KERNEL_KILL, FactKind.USERSPACE_KILL} and concerns(f, subject)]
    return bool(ends) and all(fact.at is None for fact in ends)


def _completed(subject: Subject, facts: Sequence[Fact], resolver: Resolver, asking: Asking) -> Subject:
    """Add what the facts and the names tell: whose cgroup it was in, and how a runtime's end is known."""
    if subject.attribution is not None:
        return subject
    path = subject.cgroup or next((f.cgroup for f in reversed(facts) if f.cgroup and concerns(f, subject)), None)
    if path is None and subject.kind == "process" and subject.pid is not None:
        path = process.cgroup_of(asking.places, subject.pid)
    attribution: Attribution | None = None
    if path is not None:
        limit = limit_bytes(asking.places, path)  # while the cgroup is there
        if limit is not None:
            resolver.observe([Observation(Key("cgroup", path), Names(limit_bytes=limit), asking.now)])
        attribution = resolver.resolve(path, subject.ended)
    elif subject.container_id:
        attribution = resolver.resolve_id("container", subject.container_id, subject.ended)
    return replace(subject, attribution=attribution)


def _once(facts: Iterable[Fact]) -> list[Fact]:
    """*facts* without the copies that several logs (and the store) hold of one kill."""
    kept: list[Fact] = []
    for fact in facts:
        copy = any(
            other.kind is fact.kind and other.pid == fact.pid and other.incident == fact.incident
            and fact.incident is not None
            for other in kept
        )  # fmt: skip
        if not copy:
            kept.append(fact)
    return kept


def _clock(source: Source, asking: Asking) -> Clock:
    now = datetime.fromtimestamp(asking.now).astimezone()
    if source.kind in {"kmsg", "dmesg"}:
        return Clock(reference=now.replace(tzinfo=None), boot=now - timedelta(seconds=asking.monotonic))
    if source.kind == "file":
        try:
            return Clock(reference=datetime.fromtimestamp(os.stat(source.name).st_mtime))  # noqa: DTZ006 - as the log
        except OSError:
            pass
    return Clock(reference=now.replace(tzinfo=None))


def host_asking(places: Places, logs: Sequence[Source] = ()) -> Asking:
    """Return what asks this host, now."""
    return Asking(places, time.time(), time.clock_gettime(time.CLOCK_MONOTONIC), logs)
