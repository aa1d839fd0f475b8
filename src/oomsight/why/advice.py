"""What to do next, by who ended it: one row per verdict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from oomsight.diagnose.model import Advice
from oomsight.diagnose.userspace import KILLERS
from oomsight.naming.marked import Kind, mark
from oomsight.why.evidence import EndedBy, FactKind, Subject, Verdict

_TEXTS: Final[dict[EndedBy, str]] = {
    EndedBy.KUBELET_EVICTION: "give the pod requests near what it really uses, or a higher priority; the kubelet "
    "evicts first what is above its requests",
    EndedBy.PLAIN_SIGKILL: "to learn who sends the next SIGKILL, let the audit system record it, then look with "
    "`ausearch -k sigkill`",
    EndedBy.OTHER_SIGNAL: "look for its core dump and its own last output",
    EndedBy.EXITED_ITSELF: "read its own last output: the reason is there",
}
"""Verdict -> advice that does not depend on what was asked about."""

_AUDIT: Final = ("auditctl", "-a", "always,exit", "-F", "arch=b64", "-S", "kill", "-F", "a1=9", "-k", "sigkill")

_STOP: Final[dict[str, str]] = {
    "unit": "let the program end on SIGTERM, or give it longer: TimeoutStopSec= of the unit",
    "pod": "let the program end on SIGTERM (a shell as PID 1 does not pass it on: use exec or an init), or raise "
    "terminationGracePeriodSeconds",
    "container": "let PID 1 of the container end on SIGTERM (a shell does not pass it on: use exec or --init), or stop "
    "with a longer --time / stop_grace_period",
}

_OWN_SOURCES: Final = frozenset({"kernel log", "journal", "incident store", "/dev/kmsg", "dmesg"})
"""Sources that ``explain`` reads without being told."""

_DAEMONS: Final = {
    EndedBy.SYSTEMD_OOMD: "systemd-oomd", EndedBy.EARLYOOM: "earlyoom", EndedBy.NOHANG: "nohang", EndedBy.OOMD: "oomd",
    EndedBy.LMKD: "lmkd",
}  # fmt: skip


def advice_for(verdict: Verdict) -> Iterator[Advice]:
    """Yield what to do after *verdict*, most useful first."""
    by, subject = verdict.ended_by, verdict.subject
    oom = by is EndedBy.KERNEL_OOM or (by is EndedBy.ALIVE and verdict.decisive)
    if oom:
        yield Advice("read who used the memory and what to change", _explain(verdict))
    if by in _DAEMONS:
        known = KILLERS[_DAEMONS[by]]
        yield Advice(f"what it acts on is set in {known.setting}", known.command)
    if by is EndedBy.STOP_TIMEOUT:
        yield Advice(_STOP["pod" if subject.pod else "unit" if subject.unit else "container"])
    asked = next((fact for fact in verdict.decisive if fact.kind is FactKind.SIGNAL_SENT), None)
    if by is EndedBy.PLAIN_SIGKILL and asked is not None:
        yield Advice("see who talked to it then: cron, CI, an orchestrator, a shell; no log keeps who asked")
    elif by is EndedBy.KUBELET_EVICTION and subject.pod and subject.namespace:
        yield Advice(_TEXTS[by], ("kubectl", "describe", "pod", "-n", subject.namespace, subject.pod))
    elif by in _TEXTS:
        yield Advice(_TEXTS[by], _AUDIT if by is EndedBy.PLAIN_SIGKILL else _output(subject))


def _explain(verdict: Verdict) -> tuple[str, ...]:
    kill = next((fact for fact in reversed(verdict.decisive) if fact.pid is not None), None)
    if kill is not None:
        files = () if kill.source in _OWN_SOURCES else (mark(kill.source, Kind.FILE),)
        return ("oomsight", "explain", "--pid", str(kill.pid), *files)
    subject = verdict.subject
    where = subject.container_id or subject.pod_uid or subject.unit
    return ("oomsight", "explain", "--cgroup", where) if where else ("oomsight", "explain")


def _output(subject: Subject) -> tuple[str, ...] | None:
    match subject:
        case Subject(kind="unit", unit=str(unit)):
            return ("journalctl", "-u", unit, "-n", "50")
        case Subject(pod=str(pod), namespace=str(namespace)):
            return ("kubectl", "logs", "--previous", "-n", namespace, pod)
        case Subject(runtime="docker" | "podman" as runtime, container_id=str(container_id)):
            return (runtime, "logs", "--tail", "50", container_id[:12])
    return None
