"""
Facts to verdict: who ended the subject, how sure that is, and which flags mislead.

The rules are tried in order, the first that applies decides. A kill counts only near the end of the subject: an OOM
kill of a child an hour before is a note, whatever flag it left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from oomsight.diagnose.model import Confidence
from oomsight.naming.marked import Kind, mark
from oomsight.why.advice import advice_for
from oomsight.why.evidence import Coverage, EndedBy, Fact, FactKind, Subject, Verdict
from oomsight.why.signals import CRASHES, SIGKILL, SIGTERM, signal_name

NEAR_SECONDS: Final = 10.0
"""How long before the end a kill may be to have caused it: a dying process frees its memory, runtimes notice late."""

EXACT_SECONDS: Final = 2.5
"""Difference that clocks (printk against wall clock) and a runtime's own delay explain."""

KILLERS: Final[dict[str, EndedBy]] = {
    "systemd-oomd": EndedBy.SYSTEMD_OOMD, "earlyoom": EndedBy.EARLYOOM, "nohang": EndedBy.NOHANG,
    "oomd": EndedBy.OOMD, "lmkd": EndedBy.LMKD,
}  # fmt: skip
"""Killer as the log parser names it -> verdict. Kubelet and Slurm only report what the kernel did."""

_WHO: Final = {
    EndedBy.KERNEL_OOM: "the kernel OOM killer", EndedBy.SYSTEMD_OOMD: "systemd-oomd", EndedBy.EARLYOOM: "earlyoom",
    EndedBy.NOHANG: "nohang", EndedBy.OOMD: "oomd", EndedBy.LMKD: "Android's lmkd",
}  # fmt: skip


@dataclass(slots=True)
class Case:
    """The subject, its facts sorted out once for all rules."""

    subject: Subject
    coverage: Coverage
    name: str  #: marked
    facts: list[Fact]  #: about the subject, oldest first
    end: float | None  #: the end that is judged
    kills: list[Fact] = field(default_factory=list)  #: kernel kills near that end
    earlier: list[Fact] = field(default_factory=list)  #: kernel kills in its life that did not end it
    exit: Fact | None = None
    signal: int | None = None
    code: int | None = None

    def near(self, *kinds: FactKind) -> list[Fact]:
        """Facts of *kinds* near the end, oldest first."""
        return [fact for fact in self.facts if fact.kind in kinds and self.is_near(fact)]

    def is_near(self, fact: Fact) -> bool:
        """Whether *fact* was so close before the end that it may have caused it."""
        return fact.at is None or self.end is None or -EXACT_SECONDS <= self.end - fact.at <= NEAR_SECONDS


def judge(subject: Subject, facts: Sequence[Fact], coverage: Coverage) -> Verdict:
    """
    Return who ended *subject*.

    *facts* may be about anything; those about the subject are picked. Silence of the kernel log counts as evidence
    only where *coverage* says that the log covers the end.
    """
    case = _case(subject, facts, coverage)
    for rule in RULES:
        verdict = rule(case)
        if verdict is not None:
            break
    else:
        verdict = _unknown(case)
    return replace(
        verdict,
        notes=(*verdict.notes, *_notes(case, verdict)),
        settles=(*verdict.settles, *_settles(case, verdict)),
        advice=tuple(advice_for(verdict)),
    )


# -- sorting out ------------------------------------------------------------------------------------------------------


def _case(subject: Subject, facts: Sequence[Fact], coverage: Coverage) -> Case:
    mine = sorted((fact for fact in facts if concerns(fact, subject)), key=lambda fact: (fact.at is not None, fact.at or 0.0))
    end = subject.ended
    if end is None and not subject.alive:
        # Nobody keeps the moment: the last thing said about an end is it.
        ends = [f.at for f in mine if f.at is not None and f.kind is not FactKind.COUNTER]
        end = ends[-1] if ends else None
    if subject.alive and subject.started is not None and (end is None or end > subject.started):
        # It runs: what ended is the run before, if a log knows of one.
        before = [
            f.at for f in mine
            if f.at is not None and f.at < subject.started and f.kind in _ENDS and (subject.kind != "process")
        ]  # fmt: skip
        end = before[-1] if before else None
    case = Case(subject, coverage, _name(subject), mine, end)
    judged = end is not None or not subject.alive
    for kill in (f for f in mine if f.kind is FactKind.KERNEL_KILL):
        if judged and case.is_near(kill):
            case.kills.append(kill)
        elif subject.started is None or kill.at is None or kill.at >= subject.started - EXACT_SECONDS or not subject.alive:
            case.earlier.append(kill)
    exits = case.near(FactKind.EXIT) if judged else []
    case.exit = exits[-1] if exits else None
    case.signal = subject.ended_by_signal if not subject.alive else None
    case.code = subject.exit_code if not subject.alive else None
    if case.exit is not None and case.signal is None and case.code is None:
        case.signal, case.code = case.exit.signal, case.exit.status
    return case


_ENDS: Final = frozenset(
    {FactKind.KERNEL_KILL, FactKind.EXIT, FactKind.RESULT, FactKind.UNIT_OOM, FactKind.UNIT_OOMD, FactKind.USERSPACE_KILL}
)


def concerns(fact: Fact, subject: Subject) -> bool:
    """Whether *fact* is about *subject*: by pid, name, unit, container id, pod, or the cgroup the process was in."""
    if fact.cgroup is not None and subject.holds(fact.cgroup):
        return True
    if subject.kind == "process" and fact.pid is not None:
        return fact.pid == subject.pid and _in_life(fact, subject)
    if subject.kind == "name" and fact.comm is not None:
        return fact.comm[:15] == subject.asked[:15]
    if subject.pid is not None and fact.pid == subject.pid and fact.kind is not FactKind.SIGNAL_SENT:
        return _in_life(fact, subject)
    if subject.unit is not None and fact.unit == subject.unit:
        return True
    if subject.container_id and fact.container_id:
        return subject.container_id.startswith(fact.container_id)
    if subject.pod and fact.pod:
        return fact.pod in {f"{subject.namespace}/{subject.pod}", subject.pod_uid}
    # The kubelet says once for all pods why it evicts.
    return fact.kind is FactKind.RECLAIM and subject.kind in {"pod", "container"}


def _in_life(fact: Fact, subject: Subject) -> bool:
    """Pids are given again: a fact from before the process began is about another one."""
    return fact.at is None or subject.started is None or fact.at >= subject.started - EXACT_SECONDS


def _name(subject: Subject) -> str:
    match subject.kind:
        case "process":
            comm = f"{mark(subject.comm)} " if subject.comm else ""
            return f"process {comm}(pid {subject.pid})" if comm else f"process {subject.pid}"
        case "name":
            return f"{mark(subject.asked)}"
        case "unit":
            return mark(subject.unit or subject.asked, Kind.OWNER)
        case "pod":
            where = f"{mark(subject.namespace, Kind.OWNER)}/" if subject.namespace else ""
            return f"pod {where}{mark(subject.pod or subject.asked, Kind.OWNER)}"
        case _:
            name = mark(subject.container or subject.asked, Kind.OWNER)
            where = f" of pod {mark(f'{subject.namespace}/{subject.pod}', Kind.OWNER)}" if subject.pod else ""
            return f"container {name}{where}"


def _victim(kill: Fact) -> str:
    name = mark(kill.comm) if kill.comm is not None else "a process"
    return f"{name} (pid {kill.pid})" if kill.pid is not None else name


def _cap(text: str) -> str:
    return text[:1].upper() + text[1:]


def _verdict(
    case: Case, by: EndedBy, confidence: Confidence, headline: str, reason: str, decisive: Sequence[Fact] = (),
    *, at: float | None = None, notes: Sequence[str] = (),
) -> Verdict:  # fmt: skip
    ended = at if at is not None else case.end
    return Verdict(
        by, confidence, _cap(headline), reason, case.subject, ended, tuple(decisive), tuple(case.facts), tuple(notes)
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
    whole = "" if main else f": it killed {_victim(kill)} in it"
    reason = f"The kernel log has the kill of {_victim(kill)}"
    if gap is not None and not main:
        reason += f", {_span(gap)} before the end"
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
    first = next((f for f in sent if f.signal != SIGKILL), None)
    asked = first is not None and bool(kills) and kills[-1].at is not None and first.at is not None
    if not timeouts and not (asked and case.code is not None):
        if case.subject.result != "timeout":
            return None
    waited = ""
    if first is not None and first.at is not None and (last := (timeouts or kills)[-1:]) and last[0].at is not None:
        waited = f" {_span(last[0].at - first.at)} lay between the two."
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
            "The kubelet kills a container whose liveness or startup probe fails; no OOM kill is near.", [*probe[-1:], *told],
        )  # fmt: skip
    if sent:
        who = _who_asked(sent[-1])
        return _verdict(
            case, EndedBy.PLAIN_SIGKILL, Confidence.CERTAIN, f"{case.name} was killed with SIGKILL by request, not for memory",
            f"{_cap(who)} was asked to send SIGKILL, by a person or a program; no OOM kill is near.", told,
        )  # fmt: skip
    covered = case.coverage.kernel_log_at(case.end)
    # With a kill earlier in its life the flag is explained, and it says nothing about the end.
    flagged = bool(subject.oom_flag or subject.result == "oom-kill") and not case.earlier
    oom = case.near(FactKind.RUNTIME_OOM, FactKind.UNIT_OOM)
    if flagged or oom:
        why = (
            "The kernel log that was read shows no kill there; it limits how many reports it prints"
            if covered
            else "No kernel log of that time could be read"
        )
        return _verdict(
            case, EndedBy.KERNEL_OOM, Confidence.POSSIBLE if covered and not oom else Confidence.LIKELY,
            f"{case.name} was most likely ended by the kernel OOM killer",
            f"It ended by SIGKILL and {'systemd' if subject.kind == 'unit' else 'its runtime'} says OOM. {why}.",
            [*oom[-1:], *told],
        )  # fmt: skip
    silent = "and the kernel log of that time shows no OOM kill of it" if covered else "but no kernel log of that time was read"
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
            "SIGTERM (exit code 143) is how service managers, runtimes and people ask a program to stop.", [*asked[-1:], *told],
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
    if case.earlier:
        kill = case.earlier[-1]
        more = f" and {len(case.earlier) - 1:,} more" if len(case.earlier) > 1 else ""
        headline += f"; the kernel OOM killer killed {_victim(kill)}{more} in it"
    reason = "It runs now" + ("; its main process survived the kill of another process in it." if decisive else ".")
    return _verdict(case, EndedBy.ALIVE, Confidence.CERTAIN, headline, reason, decisive)


def _unknown(case: Case) -> Verdict:
    found = case.subject.alive is not None or bool(case.facts)
    covered = case.coverage.kernel_log_at(case.end)
    reason = "No source that could be read says how it ended."
    if covered:
        reason += " The kernel log has no OOM kill of it."
    headline = f"what ended {case.name} is not known" if found else f"nothing is known about {case.name}"
    return _verdict(case, EndedBy.UNKNOWN, Confidence.POSSIBLE, headline, reason)


RULES: Final[tuple[Callable[[Case], Verdict | None], ...]] = (
    _evicted, _killed_by_daemon, _killed_by_kernel, _stopped_too_slowly, _sigkill, _ended, _alive,
)  # fmt: skip
"""Tried in order. Eviction first: the kubelet's SIGKILL of an evicted pod is how, not why."""


# -- notes ------------------------------------------------------------------------------------------------------------


def _notes(case: Case, verdict: Verdict) -> list[str]:
    subject, notes = case.subject, []
    by_oom = verdict.ended_by is EndedBy.KERNEL_OOM
    flag = "OOMKilled" if subject.kind in {"container", "pod"} else "result oom-kill"
    flagged = subject.oom_flag or (subject.kind == "unit" and subject.result == "oom-kill")
    if flagged and not by_oom and verdict.ended_by is not EndedBy.SYSTEMD_OOMD:
        why = ""
        if case.earlier:
            kill = case.earlier[-1]
            when = f" {_span(case.end - kill.at)} before the end" if case.end is not None and kill.at is not None else ""
            why = f": here {_victim(kill)}{when}, and the main process survived that"
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
        told = ", ".join(_victim(kill) for kill in case.earlier[-3:])
        more = f" and {len(case.earlier) - 3:,} more" if len(case.earlier) > 3 else ""
        notes.append(f"Earlier the kernel OOM killer killed in it: {told}{more}; it survived that.")
    if verdict.ended_by is EndedBy.EXITED_ITSELF and case.kills:
        notes.append(
            f"The kernel OOM killer killed {_victim(case.kills[-1])} in it right before: that the main process then "
            f"exited with {case.code} may well be the consequence."
        )
    if verdict.ended_by is EndedBy.KERNEL_OOM and case.kills and case.kills[-1].limit_cgroup is not None:
        limit = case.kills[-1].limit_cgroup
        if not subject.holds(limit):
            notes.append(f"The limit that was hit is not its own but that of {mark(limit, Kind.CGROUP)}.")
    if subject.alive and case.end is not None:
        notes.append(f"It runs again{_restarts(subject)}; this is about the run before.")
    elif subject.restarts:
        notes.append(f"It was restarted {subject.restarts:,} time{'s' if subject.restarts > 1 else ''} before.")
    notes += [f"{fact.text}." for fact in case.facts if fact.kind is FactKind.COUNTER]
    return notes


def _restarts(subject: Subject) -> str:
    return f" (restarts: {subject.restarts:,})" if subject.restarts else ""


def _settles(case: Case, verdict: Verdict) -> list[str]:
    """What would make an uncertain verdict certain."""
    if verdict.confidence is Confidence.CERTAIN:
        return []
    found = list(case.coverage.missing)
    if case.coverage.kernel_log and not case.coverage.kernel_log_at(case.end):
        found.append("the kernel log that was read begins after the end; older logs (journal of all boots, /var/log) would tell")
    if verdict.ended_by is EndedBy.PLAIN_SIGKILL:
        found.append("who sends SIGKILL is in no log by default; an audit rule on kill(2), see the advice, records the next one")
    return found


def _span(seconds: float) -> str:
    seconds = abs(seconds)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
