"""
Facts to verdict: who ended the subject, how sure that is, and which flags mislead.

The rules are tried in order, the first that applies decides. A kill counts only near the end of the subject: an OOM
kill of a child an hour before is a note, whatever flag it left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from oomsight.diagnose.model import Confidence
from oomsight.why.advice import advice_for
from oomsight.why.case import EXACT_SECONDS, Case, make_case, span, victim, when
from oomsight.why.evidence import Coverage, EndedBy, Fact, FactKind, Subject, Verdict
from oomsight.why.notes import notes_for, settles_for
from oomsight.why.signals import CRASHES, SIGKILL, SIGTERM, signal_name

KILLERS: Final[dict[str, EndedBy]] = {
    "systemd-oomd": EndedBy.SYSTEMD_OOMD, "earlyoom": EndedBy.EARLYOOM, "nohang": EndedBy.NOHANG,
    "oomd": EndedBy.OOMD, "lmkd": EndedBy.LMKD, "lowmemorykiller": EndedBy.LMKD,
}  # fmt: skip
"""Killer as the log parser names it -> verdict. Kubelet and Slurm only report what the kernel did."""

_WHO: Final = {
    EndedBy.KERNEL_OOM: "the kernel OOM killer", EndedBy.SYSTEMD_OOMD: "systemd-oomd", EndedBy.EARLYOOM: "earlyoom",
    EndedBy.NOHANG: "nohang", EndedBy.OOMD: "oomd", EndedBy.LMKD: "Android's lmkd",
}  # fmt: skip


def judge(subject: Subject, facts: Sequence[Fact], coverage: Coverage) -> Verdict:
    """
    Return who ended *subject*.

    *facts* may be about anything; those about the subject are picked. Silence of the kernel log counts as evidence
    only where *coverage* says that the log covers the end.
    """
    case = make_case(subject, facts, coverage)
    for rule in RULES:
        verdict = rule(case)
        if verdict is not None:
            break
    else:
        verdict = _unknown(case)
    return replace(
        verdict,
        notes=(*verdict.notes, *notes_for(case, verdict)),
        settles=(*verdict.settles, *settles_for(case, verdict)),
        advice=tuple(advice_for(verdict)),
    )


def _cap(text: str) -> str:
    return text[:1].upper() + text[1:]


def _verdict(  # noqa: PLR0917 - the parts of a verdict in the order they are read
    case: Case, by: EndedBy, confidence: Confidence, headline: str, reason: str, decisive: Sequence[Fact] = (),
    *, at: float | None = None, notes: Sequence[str] = (),
) -> Verdict:  # fmt: skip
    ended = at if at is not None else case.end
    timeline = case.facts
    if others := [fact for fact in decisive if fact not in timeline]:
        timeline = sorted([*timeline, *others], key=when)
    return Verdict(
        by, confidence, _cap(headline), reason, case.subject, ended, tuple(decisive), tuple(timeline), tuple(notes)
    )


# -- the rules --------------------------------------------------------------------------------------------------------


def _killed_by_daemon(case: Case) -> Verdict | None:
    """An OOM daemon says it killed the subject, near its end, and no kernel kill is nearer."""
    if case.subject.alive and case.end is None:
        return None
    kills = [f for f in case.near(FactKind.USERSPACE_KILL) if f.killer in KILLERS]
    noticed = case.near(FactKind.UNIT_OOMD)
    if not kills and not noticed:
        return None
    last = kills[-1] if kills else noticed[-1]
    if case.kills and _nearer(case, case.kills[-1], last):
        return None
    by = KILLERS[last.killer or ""] if kills else EndedBy.SYSTEMD_OOMD
    exact = last.pid is not None or last.cgroup is not None or last.unit is not None
    sent = f" It sent {signal_name(last.signal)}." if last.signal is not None else ""
    return _verdict(
        case, by, Confidence.CERTAIN if exact and last.at is not None else Confidence.LIKELY,
        f"{case.name} was ended by {_WHO[by]}, not by the kernel",
        f"{_WHO[by][:1].upper()}{_WHO[by][1:]} logged the kill itself.{sent}",
        [*kills[-1:], *noticed[-1:], *([case.exit] if case.exit else [])],
    )  # fmt: skip


def _nearer(case: Case, a: Fact, b: Fact) -> bool:
    if a.at is None or b.at is None or case.end is None:
        return a.at is not None and b.at is None
    return abs(case.end - a.at) <= abs(case.end - b.at)


def _killed_by_kernel(case: Case) -> Verdict | None:
    """The kernel OOM killer killed the subject's process, or one inside it, right before its end."""
    if not case.kills:
        return None
    kill = case.kills[-1]
    subject = case.subject
    main = subject.kind in {"process", "name"} or (subject.pid is not None and kill.pid == subject.pid)
    gap = abs(case.end - kill.at) if case.end is not None and kill.at is not None else None
    by_kill = case.signal == SIGKILL or case.code is None
    oom_result = subject.result == "oom-kill" or bool(case.near(FactKind.UNIT_OOM))
    if not (main or by_kill or oom_result):
        return None  # a child died and the main process then ended on its own terms
    exact = gap is None or gap <= EXACT_SECONDS
    confidence = Confidence.CERTAIN if main or (exact and (by_kill or oom_result)) else Confidence.LIKELY
    whole = "" if main else f": it killed {victim(kill)} in it"
    reason = f"The kernel log has the kill of {victim(kill)}"
    if gap is not None and not main:
        reason += f", {span(gap)} before the end"
    reason += "."
    if not main and oom_result:
        reason += " systemd then stopped the rest of the unit (OOMPolicy=)."
    supporting = case.near(FactKind.UNIT_OOM, FactKind.RUNTIME_OOM, FactKind.RESULT)
    return _verdict(
        case, EndedBy.KERNEL_OOM, confidence, f"{case.name} was ended by the kernel OOM killer{whole}", reason,
        [*case.kills[-3:], *([case.exit] if case.exit else []), *supporting[-2:]],
    )  # fmt: skip


def _evicted(case: Case) -> Verdict | None:
    """The kubelet gave the pod up to get memory (or disk) back."""
    lines = case.near(FactKind.EVICTION)
    if not lines and not case.subject.evicted:
        return None
    resource = next((f for f in reversed(case.facts) if f.kind is FactKind.RECLAIM and case.is_near(f)), None)
    reason = "The kubelet logged the eviction." if lines else "The state of the pod says Evicted."
    return _verdict(
        case, EndedBy.KUBELET_EVICTION, Confidence.CERTAIN, f"{case.name} was evicted by the kubelet", reason,
        [*([resource] if resource else []), *lines[-1:]],
    )  # fmt: skip


def _stopped_too_slowly(case: Case) -> Verdict | None:
    """A stop request, then SIGKILL because the time was over."""
    if case.signal not in {SIGKILL, None} or (case.subject.alive and case.end is None):
        return None
    timeouts = case.near(FactKind.STOP_TIMEOUT)
    sent = [f for f in case.facts if f.kind is FactKind.SIGNAL_SENT and f.signal is not None and _before(case, f)]
    kills = [f for f in sent if f.signal == SIGKILL and case.is_near(f)]
    # Other signals are no stop requests (SIGHUP reloads); runtimes with another stop signal say STOP_TIMEOUT.
    stops = [f for f in sent if f.signal == SIGTERM or (timeouts and f.signal != SIGKILL)]
    first = stops[-1] if stops else None
    asked = bool(kills) and kills[-1].at is not None and first is not None and first.at is not None
    if not timeouts and not asked and case.subject.result != "timeout":
        return None
    waited = ""
    if first is not None and first.at is not None and (last := (timeouts or kills)[-1:]) and last[0].at is not None:
        waited = f" {span(last[0].at - first.at)} lay between the two."
    return _verdict(
        case, EndedBy.STOP_TIMEOUT, Confidence.CERTAIN if timeouts or kills else Confidence.LIKELY,
        f"{case.name} was asked to stop, did not in time, and was killed with SIGKILL",
        f"First came the request to stop, then SIGKILL; no OOM killer was involved.{waited}",
        [*([first] if first else []), *timeouts[-1:], *kills[-1:], *([case.exit] if case.exit else [])],
    )  # fmt: skip


def _before(case: Case, fact: Fact) -> bool:
    """In the last run and before its end; stop requests may come long before."""
    started, end = case.subject.started, case.end
    if case.subject.alive:
        started = None
    late = fact.at is not None and end is not None and fact.at > end + EXACT_SECONDS
    early = fact.at is not None and started is not None and fact.at < started - EXACT_SECONDS
    return not late and not early


def _sigkill(case: Case) -> Verdict | None:
    """SIGKILL (exit code 137) without an OOM kill that explains it."""
    subject = case.subject
    if case.signal != SIGKILL or (subject.alive and case.end is None):
        return None
    sent = [f for f in case.near(FactKind.SIGNAL_SENT) if f.signal == SIGKILL]
    told = [*sent[-1:], *([case.exit] if case.exit else [])]
    probe = case.near(FactKind.PROBE)
    if probe:
        return _verdict(
            case, EndedBy.PLAIN_SIGKILL, Confidence.LIKELY, f"{case.name} was restarted by the kubelet: a probe failed",
            "The kubelet kills a container whose liveness or startup probe fails; no OOM kill is near.",
            [*probe[-1:], *told],
        )  # fmt: skip
    if sent:
        who = _who_asked(sent[-1])
        return _verdict(
            case, EndedBy.PLAIN_SIGKILL, Confidence.CERTAIN,
            f"{case.name} was killed with SIGKILL by request, not for memory",
            f"{_cap(who)} was asked to send SIGKILL, by a person or a program; no OOM kill is near.", told,
        )  # fmt: skip
    covered = case.coverage.kernel_log_at(case.end)
    # With a kill earlier in its life the flag is explained, and it says nothing about the end.
    flagged = bool(subject.oom_flag or subject.result == "oom-kill") and not case.earlier
    oom = case.near(FactKind.RUNTIME_OOM, FactKind.UNIT_OOM)
    if flagged or oom:
        why = "No kernel log of that time could be read"
        if case.unplaced:
            why = (
                f"At that moment the kernel OOM killer killed {victim(case.unplaced[-1])}; the kernel limits its "
                "reports, and this one does not say in which cgroup"
            )
        elif covered:
            why = "The kernel log that was read shows no kill there"
        sure = bool(case.unplaced or oom) or not covered
        return _verdict(
            case, EndedBy.KERNEL_OOM, Confidence.LIKELY if sure else Confidence.POSSIBLE,
            f"{case.name} was most likely ended by the kernel OOM killer",
            f"It ended by SIGKILL and {'systemd' if subject.kind == 'unit' else 'its runtime'} says OOM. {why}.",
            [*case.unplaced[-1:], *oom[-1:], *told],
        )  # fmt: skip
    silent = "but no kernel log of that time was read"
    if covered:
        silent = "and the kernel log of that time shows no OOM kill of it"
    return _verdict(
        case, EndedBy.PLAIN_SIGKILL, Confidence.LIKELY if covered else Confidence.POSSIBLE,
        f"{case.name} was killed with SIGKILL; {'no OOM killer did it' if covered else 'by whom is not known'}",
        f"Exit code 137 is 128 + 9: SIGKILL, whoever sent it, {silent}.", told,
    )  # fmt: skip


def _who_asked(fact: Fact) -> str:
    return "systemd" if fact.unit is not None else fact.source


def _ended(case: Case) -> Verdict | None:
    """Another signal, or an exit of its own."""
    subject = case.subject
    if subject.alive and case.end is None:
        return None
    told = [case.exit] if case.exit else []
    if case.signal == SIGTERM:
        asked = [f for f in case.near(FactKind.SIGNAL_SENT) if f.signal == SIGTERM]
        return _verdict(
            case, EndedBy.STOPPED, Confidence.CERTAIN if asked else Confidence.LIKELY,
            f"{case.name} ended on SIGTERM: it was asked to stop",
            "SIGTERM (exit code 143) is how service managers, runtimes and people ask a program to stop.",
            [*asked[-1:], *told],
        )  # fmt: skip
    if case.signal is not None:
        crashed = case.signal in CRASHES
        return _verdict(
            case, EndedBy.OTHER_SIGNAL, Confidence.CERTAIN,
            f"{case.name} {'crashed with' if crashed else 'was ended by'} {signal_name(case.signal)}",
            "No OOM killer uses this signal"
            + ("; a program that cannot get memory may abort itself." if crashed else "."), told,
        )  # fmt: skip
    if case.code is None:
        return None
    asked = [f for f in case.near(FactKind.SIGNAL_SENT) if f.signal not in {SIGKILL, None}]
    if case.code == 0 and asked:
        return _verdict(
            case, EndedBy.STOPPED, Confidence.CERTAIN, f"{case.name} was asked to stop and exited with 0",
            "The stop request came right before the end.", [*asked[-1:], *told],
        )  # fmt: skip
    return _verdict(
        case, EndedBy.EXITED_ITSELF, Confidence.CERTAIN, f"{case.name} exited by itself with code {case.code}",
        "A process that an OOM killer kills has no exit code of its own; this one returned.", told,
    )  # fmt: skip


def _alive(case: Case) -> Verdict | None:
    """It runs."""
    if not case.subject.alive or case.end is not None:
        return None
    headline, decisive = f"{case.name} is still alive", case.earlier[-3:]
    if case.earlier and case.subject.kind == "process":
        return _verdict(
            case, EndedBy.ALIVE, Confidence.CERTAIN,
            f"{case.name} was chosen by the kernel OOM killer and is not gone yet",
            "It was sent SIGKILL; a process that waits in the kernel ends only when that wait does.", decisive,
        )  # fmt: skip
    if case.earlier:
        kill = case.earlier[-1]
        more = f" and {len(case.earlier) - 1:,} more" if len(case.earlier) > 1 else ""
        headline += f"; the kernel OOM killer killed {victim(kill)}{more} in it"
    elif told := [fact for fact in case.facts if fact.kind is FactKind.RUNTIME_OOM]:
        headline += "; some process in it was OOM-killed"
        decisive = [*_at_that_time(case, told[-1]), *told[-1:]]
    reason = "It runs now" + ("; its main process survived the kill of another process in it." if decisive else ".")
    return _verdict(case, EndedBy.ALIVE, Confidence.CERTAIN, headline, reason, decisive)


def _at_that_time(case: Case, told: Fact) -> list[Fact]:
    """The one kill without a cgroup that the kernel logged when a runtime was told of an OOM; none when unclear."""
    at = told.at
    found = [fact for fact in case.nowhere if at is not None and fact.at is not None and abs(at - fact.at) < 0.5]
    return found if len(found) == 1 else []


def _unknown(case: Case) -> Verdict:
    found = case.subject.alive is not None or bool(case.facts)
    reason = "No source that could be read says how it ended."
    if case.end is not None and case.coverage.kernel_log_at(case.end):
        reason += " The kernel log of that time has no OOM kill of it."
    elif case.end is None and case.coverage.kernel_log:
        reason += " The kernel log, as far back as it goes, has no OOM kill of it."
    headline = f"what ended {case.name} is not known" if found else f"nothing is known about {case.name}"
    return _verdict(case, EndedBy.UNKNOWN, Confidence.POSSIBLE, headline, reason)


RULES: Final[tuple[Callable[[Case], Verdict | None], ...]] = (
    _evicted, _killed_by_daemon, _killed_by_kernel, _stopped_too_slowly, _sigkill, _ended, _alive,
)  # fmt: skip
"""Tried in order. Eviction first: the kubelet's SIGKILL of an evicted pod is how, not why."""
