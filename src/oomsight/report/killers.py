"""
Kills that user space did: systemd-oomd, earlyoom, nohang, oomd, lmkd, the kubelet, Slurm; and systemd's own words
about a kernel kill. They send signals; the kernel prints no OOM report, so these are events of their own kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from oomsight._lazy import lazy
from oomsight._named import NamedTuple
from oomsight.report.model import EventKind, Killed, Note, OomReport, Span
from oomsight.report.times import Clock, when

if TYPE_CHECKING:
    from oomsight.report.carriers import Lines


class KillerRule(NamedTuple):
    """One line a userspace killer writes when it has acted (or reports that something was killed)."""

    killer: str
    pattern: re.Pattern[str]
    sample: str
    source: str


def _rule(killer: str, pattern: str, sample: str, source: str) -> KillerRule:
    return KillerRule(killer, lazy(pattern, re.S), sample, source)


KILLER_RULES: tuple[KillerRule, ...] = (
    _rule(
        "systemd-oomd",
        r"(?:Killed|Marked) (?P<cgroup>(?:/|\.\.\.|…)\S*)(?: for killing)?"
        r"(?: due to|[ .…]*) (?P<reason>memory (?:pressure|used).*)",
        "Killed /user.slice/user-1001.slice/session-161.scope due to memory pressure for /user.slice being"
        " 90.60% > 80.00% for > 20s",
        "systemd src/oom/oomd-manager.c",
    ),
    _rule(
        "earlyoom",
        r"sending SIG(?P<signal>TERM|KILL) to process (?P<pid>\d{1,10})(?: uid (?P<uid>\d{1,10}))?"
        r" \"?(?P<comm>[^\"]*)\"?: "
        r"(?P<reason>(?:badness|oom_score) \d+.*?)(?:, VmRSS (?P<rss_mib>\d{1,12}) MiB.*)?$",
        'sending SIGTERM to process 9994 uid 1000 "termshark": badness 1181, VmRSS 4568 MiB',
        "earlyoom kill.c",
    ),
    _rule(
        "nohang",
        r"Sending SIG(?P<signal>TERM|KILL) to (?:the victim|(?P<comm>\S+) \[?(?P<pid>\d{1,10})\]?)(?P<reason>)",
        "Sending SIGTERM to the victim",
        "nohang",
    ),
    _rule(
        "oomd",
        r"oomd kill: (?P<reason>[\d.]+ [\d.]+ [\d.]+) (?P<cgroup>\S+) (?P<bytes>\d{1,18}) ",
        "oomd kill: 97.70 95.70 89.79 system.slice/hog.service 1234567 ruleset:[r] detectorgroup:[d]"
        " killer:kill_by_memory v2",
        "oomd Oomd.cpp",
    ),
    _rule(
        "lmkd",
        r"(?:lowmemorykiller: )?Kill(?:ing)? '(?P<comm>[^']*)' \((?P<pid>\d{1,10})\)(?:, uid (?P<uid>\d{1,10}))?,?"
        r" (?:oom_score_)?adj (?P<reason>-?\d+.*)",
        "lowmemorykiller: Killing 'chrome' (4242), adj 900,",
        "drivers/staging/android/lowmemorykiller.c, AOSP lmkd",
    ),
    _rule(
        "lmkd",
        r"(?:lowmem.*: )?send sigkill to (?P<pid>\d{1,10}) \((?P<comm>.*)\), adj (?P<reason>-?\d+), size \d+",
        "lowmemorykiller: send sigkill to 4242 (chrome), adj 9, size 12345",
        "drivers/staging/android/lowmemorykiller.c <= 4.4",
    ),
    _rule(
        "kubelet",
        r"(?P<reason>System OOM encountered), victim process: (?P<comm>.*?), pid: (?P<pid>\d{1,10})(?!\d)",
        "System OOM encountered, victim process: stress, pid: 16713",
        "kubelet oom_watcher_linux.go",
    ),
    _rule(
        "slurm",
        r"(?P<reason>Detected \d+ oom[-_]kill event\(?s?\)? in (?P<cgroup>[\w=.]+))",
        "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=10238881.0. Some of your processes may have been"
        " killed",
        "slurm cgroup plugin",
    ),
)

_HINTS = ("due to memory ", "ending SIG", "oomd kill: ", "Killing '", "Kill '", "System OOM", "Detected ",
          "end sigkill", "Killed /", "Killed ...", "Marked /", "Marked ...")
# Who wrote the line; without a telling tag only a full match of the rule's own words counts.
_CODE = lazy(r"%[sdu]|\\d|\.\*|r\"|printf|grep |\bdef |\breturn\b")


def _joined(lines: Lines, i: int) -> str:
    """The line with the one or two that continue it (wrapped by a ticket system): indented, no own carrier."""
    text = lines.texts[i]
    if i + 1 < len(lines.texts) and ("due to" not in text or text.rstrip().endswith(("service", "scope", "slice"))):
        for j in (i + 1, i + 2):
            if j >= len(lines.texts) or lines.nos[j] != lines.nos[j - 1] + 1 or not lines.raws[j][:1].isspace():
                break
            text = text.rstrip() + " " + lines.texts[j].strip()
    return text


def find_killers(lines: Lines, others: Iterable[int], name: str, clock: Clock) -> list[OomReport]:
    """Reports of kind ``userspace_killer`` from the lines no kernel shape matched."""
    out: list[OomReport] = []
    for i in others:
        text = lines.texts[i]
        if not any(h in text for h in _HINTS):
            continue
        joined = _joined(lines, i)
        if _CODE.search(joined):
            continue
        for rule in KILLER_RULES:
            m = rule.pattern.search(joined)
            if m is None:
                continue
            out.append(_report(rule, m, lines, i, name, clock))
            break
    return out


def _report(  # noqa: PLR0917
    rule: KillerRule, m: re.Match[str], lines: Lines, i: int, name: str, clock: Clock
) -> OomReport:
    g = m.groupdict()
    no = lines.nos[i]
    report = OomReport(EventKind.USERSPACE_KILLER, Span(name, no, no), when(lines.raws[i], clock))
    report.killer = rule.killer
    rss = int(g["rss_mib"]) * 1024 if g.get("rss_mib") else int(g["bytes"]) // 1024 if g.get("bytes") else None
    report.killed = [
        Killed(
            pid=int(g["pid"]) if g.get("pid") else None, comm=g.get("comm") or None, cgroup=g.get("cgroup"),
            signal=f"SIG{g['signal']}" if g.get("signal") else None, uid=int(g["uid"]) if g.get("uid") else None,
            rss_kib=rss, reason=(g.get("reason") or "").strip() or None, line=no,
        )
    ]
    report.lines["kill"] = no
    if rule.killer in {"kubelet", "slurm"}:
        report.notes.append(
            Note("reported_not_done", no,
                 f"{rule.killer} reports a kill that the kernel did; the kernel's own report is not this line")
        )
    report.complete = True
    return report
