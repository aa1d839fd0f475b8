"""Remarks beside a verdict: flags that mislead, kills that did not end it, runs that followed, what would settle it."""

from __future__ import annotations

from oomsight.diagnose.model import Confidence
from oomsight.naming.cgroup_path import relation
from oomsight.why.case import Case, span, victim
from oomsight.why.evidence import EndedBy, FactKind, Subject, Verdict

_SAID_THEMSELVES = frozenset(
    {EndedBy.SYSTEMD_OOMD, EndedBy.EARLYOOM, EndedBy.NOHANG, EndedBy.OOMD, EndedBy.LMKD, EndedBy.KUBELET_EVICTION}
)


def notes_for(case: Case, verdict: Verdict) -> list[str]:
    """Return marked sentences: what misleads or happened besides."""
    subject, notes = case.subject, []
    by_oom = verdict.ended_by is EndedBy.KERNEL_OOM
    flag = "OOMKilled" if subject.kind in {"container", "pod"} else "result oom-kill"
    flagged = subject.oom_flag or (subject.kind == "unit" and subject.result == "oom-kill")
    if flagged and not by_oom and verdict.ended_by is not EndedBy.SYSTEMD_OOMD:
        why = ""
        if case.earlier:
            kill = case.earlier[-1]
            when = f" {span(case.end - kill.at)} before the end" if case.end is not None and kill.at is not None else ""
            why = f": here {victim(kill)}{when}, and the main process survived that"
        notes.append(
            f"The flag {flag} is set, but it is not the reason: it says that some process in it was OOM-killed at some "
            f"time of its life{why}."
        )
    if by_oom and subject.oom_flag is False:
        notes.append(
            f"The flag {flag} is not set although the kernel killed it: runtimes see only kills at the container's own "
            "limit, not those for the whole node or a parent's limit."
        )
    if case.earlier and verdict.ended_by not in {EndedBy.ALIVE} and not (flagged and not by_oom):
        told = ", ".join(victim(kill) for kill in case.earlier[-3:])
        more = f" and {len(case.earlier) - 3:,} more" if len(case.earlier) > 3 else ""
        notes.append(f"Earlier the kernel OOM killer killed in it: {told}{more}; it survived that.")
    if verdict.ended_by is EndedBy.EXITED_ITSELF and case.kills:
        notes.append(
            f"The kernel OOM killer killed {victim(case.kills[-1])} in it right before: that the main process then "
            f"exited with {case.code} may well be the consequence."
        )
    if verdict.ended_by is EndedBy.KERNEL_OOM and case.kills and case.kills[-1].limit_cgroup is not None:
        kill = case.kills[-1]
        alone = subject.kind in {"process", "name"}  # then "its own" is the limit of the cgroup it was in
        if not (kill.cgroup == kill.limit_cgroup if alone else subject.holds(kill.limit_cgroup)):
            notes.append(relation(kill.limit_cgroup, kill.cgroup))
    if subject.alive and case.end is not None:
        again = "A process of that name runs" if subject.kind == "name" else f"It runs again{_restarts(subject)}"
        notes.append(f"{again}; this is about the one before.")
    elif subject.restarts:
        notes.append(f"It was restarted {subject.restarts:,} time{'s' if subject.restarts > 1 else ''} before.")
    above = (fact for fact in case.facts if fact.kind is FactKind.COUNTER and fact.limit_cgroup)
    notes += [f"{fact.text[:1].upper()}{fact.text[1:]}." for fact in above]
    return notes


def _restarts(subject: Subject) -> str:
    return f" (restarts: {subject.restarts:,})" if subject.restarts else ""


def settles_for(case: Case, verdict: Verdict) -> list[str]:
    """Return what would make an uncertain verdict certain; empty for a certain one, or the killer's own word."""
    if verdict.confidence is Confidence.CERTAIN or verdict.ended_by in _SAID_THEMSELVES:
        return []
    found = list(case.coverage.missing)
    if case.coverage.kernel_log and not case.coverage.kernel_log_at(case.end):
        found.append(
            "the kernel log that was read begins after the end; older logs (journal of all boots, /var/log) would tell"
        )
    if verdict.ended_by is EndedBy.PLAIN_SIGKILL:
        found.append(
            "who sends SIGKILL is in no log by default; an audit rule on kill(2), see the advice, records the next one"
        )
    return found
