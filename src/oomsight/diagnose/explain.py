"""
From a parsed report to an explained incident: the parts of the diagnosis, wired together.

Explaining never fails: a part that does leaves a note and an empty place, the rest goes on. The parts themselves are
free to raise, and their tests call them directly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from oomsight.diagnose import narrative, questions, userspace
from oomsight.diagnose.accounting import account
from oomsight.diagnose.causes import find_causes, make_case
from oomsight.diagnose.causes.case import Case
from oomsight.diagnose.consumers import consumers, culprit
from oomsight.diagnose.model import Accounting, Answers, Cause, Consumer, Incident, ZoneCheck
from oomsight.diagnose.request import gfp_words, zone_checks
from oomsight.diagnose.select_view import selection
from oomsight.naming.cgroup_path import describe
from oomsight.report.model import Note

try:
    from _blake2 import blake2b  # hashlib's own; importing hashlib itself loads all of OpenSSL
except ImportError:  # another Python
    from hashlib import blake2b

if TYPE_CHECKING:
    from collections.abc import Callable

    from oomsight.report.model import OomReport, Victim

ID_CHARS: Final = 12
"""Base-32 digits of an id: 60 bits, so that a million incidents collide with a chance of one in two million."""
_BASE32: Final = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648; importing base64 takes longer than everything it does

_T = TypeVar("_T")


def incident_id(report: OomReport) -> str:
    """
    Return the id of the event, the same for every copy of it: dmesg, /dev/kmsg, journal, rsyslog, console.

    Copies differ in what surrounds the kernel's words (wall or printk clock, boot id, host, sequence number) and in
    how much was kept, so the id is made of what every copy of a kill has: the kill line's own facts of the first
    victim. Only without sizes (kernels before 2.6.33, userspace killers, no kill at all) do other facts and the
    clock come in. :mod:`oomsight.pipeline.entries` tells apart what shares an id by chance.
    """
    victim = report.victims[0] if report.victims else None
    if victim is not None and victim.total_vm_kib is not None and victim.anon_rss_kib is not None:
        facts: list[object] = ["kill", victim.pid, _name(victim.comm), victim.total_vm_kib, victim.anon_rss_kib,
                               victim.file_rss_kib, victim.shmem_rss_kib]  # fmt: skip
    else:
        facts = _weak_facts(report, victim)
    text = "\x1f".join(["" if fact is None else str(fact) for fact in facts])
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    bits = int.from_bytes(digest, "big")
    return "oom-" + "".join([_BASE32[bits >> shift & 31] for shift in range(59, 59 - 5 * ID_CHARS, -5)])


def _name(comm: str | None) -> str | None:
    """Return *comm* where every carrier spells it alike; odd bytes are escaped in different ways, so only letters."""
    return comm if comm is None or (comm.isascii() and comm.isprintable() and "\\" not in comm) else "?"


def _weak_facts(report: OomReport, victim: Victim | None) -> list[object]:
    when, trigger, memory = report.when, report.trigger, report.memcg.memory if report.memcg else None
    facts: list[object] = [report.kind.value, report.killer]
    if victim is not None:
        facts += [victim.pid, _name(victim.comm), victim.score]
    if trigger is not None:
        facts += [_name(trigger.comm), trigger.gfp_mask, trigger.order, trigger.pid]
    if memory is not None:
        facts += [memory.usage_kib, memory.failcnt]
    if report.meminfo is not None:
        facts += sorted(report.meminfo.pages.items())
    for killed in report.killed:
        facts += [killed.pid, killed.comm, killed.cgroup]
    facts.append(f"{when.uptime_s:.2f}" if when.uptime_s is not None else when.time or when.time_text)
    return facts


def explain_report(report: OomReport) -> Incident:
    """Return *report* explained. Never raises: a part that fails becomes a note of code ``diagnosis_failed``."""

    def attempt(part: str, otherwise: _T, work: Callable[..., _T], *facts: object) -> _T:
        try:
            return work(*facts)
        except Exception as error:  # the log is hostile input; one bad number must not hide the rest
            text = f"internal: {part} could not be worked out ({type(error).__name__}); please report this"
            report.notes.append(Note("diagnosis_failed", None, text))
            return otherwise

    no_accountings: list[Accounting] = []
    no_consumers: list[Consumer] = []
    no_causes: list[Cause] = []
    no_zones: list[ZoneCheck] = []
    report_id = attempt("the id", "oom-unknown", incident_id, report)
    owner = attempt("the victim's cgroup", None, describe, report.task_memcg)
    oom_owner = attempt("the cgroup", None, describe, report.oom_memcg)
    gfp = attempt("the request", None, gfp_words, report)
    if userspace.is_userspace(report):
        return Incident(
            id=report_id,
            report=report,
            source=report.source,
            headline=attempt("the headline", "An event that is no kernel kill", userspace.headline, report),
            summary=attempt("the summary", "", userspace.summary, report, gfp),
            answers=attempt("the answers", Answers(), userspace.answers, report, gfp),
            causes=attempt("the cause", no_causes, userspace.causes, report, gfp),
            accountings=attempt("the accounting", no_accountings, account, report),
            gfp=gfp,
            owner=owner,
            oom_owner=oom_owner,
        )
    accountings = attempt("the accounting", no_accountings, account, report)
    held = attempt("the consumers", no_consumers, consumers, report, accountings)
    worst = attempt("the culprit", None, culprit, report, accountings, held)
    chosen = attempt("the selection", None, selection, report)
    zones = attempt("the zones", no_zones, zone_checks, report)
    case = attempt(
        "the facts",
        None,
        lambda: make_case(
            report, accountings=accountings, consumers=held, culprit=worst, selection=chosen, zone_checks=zones,
            owner=owner, oom_owner=oom_owner,
        ),
    ) or Case(report)  # fmt: skip
    causes = attempt("the causes", no_causes, find_causes, case)
    return Incident(
        id=report_id,
        report=report,
        source=report.source,
        headline=attempt("the headline", "The OOM killer ran", narrative.headline, case),
        summary=attempt("the summary", "", narrative.summary, case, causes),
        answers=attempt("the answers", Answers(), questions.answers, case, causes, gfp),
        causes=causes,
        accountings=accountings,
        consumers=held,
        culprit=worst,
        selection=chosen,
        gfp=gfp,
        zone_checks=zones,
        owner=owner,
        oom_owner=oom_owner,
    )
