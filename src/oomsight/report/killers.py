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
from oomsight.report.times import Clock, when_at

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
        "systemd-oomd",
        r"Marked (?P<cgroup>(?:/|\.\.\.|…)\S*) for killing\.?$",
        "Marked /user.slice/user-1000.slice/app-1.scope for killing",
        "systemd src/oom/oomd-manager.c, the end cut off",
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
        "earlyoom",
        r"[Kk]illing process (?P<pid>\d{1,10}) \"(?P<comm>[^\"]*)\" with signal (?P<signo>\d{1,2}): "
        r"(?P<reason>badness \d+)(?:, VmRSS (?P<rss_mib>\d{1,12}) MiB)?",
        'killing process 27541 "bash" with signal 15: badness 550, VmRSS 7609 MiB',
        "earlyoom kill.c 1.2",
    ),
    _rule(
        "earlyoom",
        r"[Kk]illing process '(?P<comm>[^']*)' with signal (?P<signo>\d{1,2}), pid: (?P<pid>\d{1,10})(?!\d), "
        r"(?P<reason>badness: \d+)(?:, VmRSS: (?P<rss_mib>\d{1,12}) MiB)?",
        "Killing process 'bash' with signal 15, pid: 5874, badness: 538, VmRSS: 3160 MiB",
        "earlyoom kill.c 1.1",
    ),
    _rule(
        "earlyoom",
        r"Out of memory! (?P<reason>avail: \d+ MiB < min: \d+ MiB) Killing process (?P<pid>\d{1,10}) "
        r"\(?(?P<comm>[^)]*)",
        "Out of memory! avail: 138 MiB < min: 786 MiB Killing process 4084 chrome",
        "earlyoom kill.c 0.x, two lines",
    ),
    _rule(
        "nohang",
        # "[ OK ] Sending SIGTERM to NAME: 3" is its statistics, how often it has done so
        r"(?<!OK \] )Sending SIG(?P<signal>TERM|KILL) to "
        r"(?:the victim|(?P<comm>\S+) \[?(?P<pid>\d{1,10})\]?)(?P<reason>)",
        "Sending SIGTERM to the victim",
        "nohang",
    ),
    _rule(
        "nohang",
        r"Send SIG(?P<signal>TERM|KILL) to the victim(?P<reason>)",
        "Send SIGTERM to the victim; total response time: 13246 ms",
        "nohang 0.1 before its release",
    ),
    _rule(
        "oomd",
        r"oomd kill: (?P<reason>[\d.]+ [\d.]+ [\d.]+) (?P<cgroup>\S+) (?P<bytes>\d{1,18}) ",
        "oomd kill: 97.70 95.70 89.79 system.slice/hog.service 1234567 ruleset:[r] detectorgroup:[d]"
        " killer:kill_by_memory v2",
        "oomd Oomd.cpp",
    ),
    _rule(
        "lowmemorykiller",
        r"(?:lowmemorykiller: )?Killing '(?P<comm>[^']*)' \((?P<pid>\d{1,10})\), adj (?P<adj>-?\d+),"
        r"(?: .*? ?to free (?P<rss_kib>\d{1,18})kB)?(?:.*?because\W*(?P<reason>cache \d+kB is below limit \d+kB))?",
        "lowmemorykiller: Killing 'syz-fuzzer' (24327), adj 0,",
        "drivers/staging/android/lowmemorykiller.c 3.10-4.11, whose line has no uid as lmkd's has",
    ),
    _rule(
        "lmkd",
        r"(?:lowmemorykiller: )?(?:Kill(?:ing)?|Reclaim) '(?P<comm>[^']*)' \((?P<pid>\d{1,10})\)"
        r"(?:, uid (?P<uid>\d{1,10}))?,?"
        r" (?:oom_score_)?adj (?P<adj>-?\d+),?(?: .*? ?to free (?P<rss_kib>\d{1,18})kB)?(?:.*?reason: (?P<reason>.*))?",
        "lowmemorykiller: Kill 'com.example.app' (17933), uid 10446, oom_score_adj 905 to free 140528kB rss, 37404kB"
        " swap; reason: low watermark is breached and swap is low",
        "drivers/staging/android/lowmemorykiller.c, AOSP lmkd; Samsung's says Reclaim",
    ),
    _rule(
        "lowmemorykiller",
        r"(?:lowmem.*: )?send sigkill to (?P<pid>\d{1,10}) \((?P<comm>.*)\), adj (?P<adj>-?\d+), "
        r"size (?P<rss_pages>\d{1,12})",
        "lowmemorykiller: send sigkill to 4242 (chrome), adj 9, size 12345",
        "drivers/staging/android/lowmemorykiller.c before 3.10, pages of 4 KiB",
    ),
    _rule(
        "talos",
        r"Sending SIG(?P<signal>KILL) to cgroup (?P<reason>)\{.*\"cgroup\": \"(?:/sys/fs/cgroup)?(?P<cgroup>/[^\"]*)\"",
        '[talos] Sending SIGKILL to cgroup {"component": "controller-runtime", "controller": "runtime.OOMController",'
        ' "cgroup": "/sys/fs/cgroup/kubepods/burstable/pod77f06c5c-4593-43e9-b970-987f6ecb825b"}',
        "Talos Linux runtime.OOMController 1.12",
    ),
    _rule(
        "kubelet",
        r"(?P<reason>System OOM encountered), victim process: (?P<comm>.*?), pid: (?P<pid>\d{1,10})(?!\d)",
        "System OOM encountered, victim process: stress, pid: 16713",
        "kubelet oom_watcher_linux.go",
    ),
    _rule(
        "docker",
        r"container (?P<reason>oom) (?P<docker_id>[0-9a-f]{64}) \(",
        "container oom 29d72966e0beb17d9b0b9fbcbfc734e2df2eb5428690115f9b24430357de08e5"
        " (image=web:1, name=web)",
        "docker events",
    ),
    _rule(
        "slurm",
        r"(?P<reason>Detected \d+ oom[-_]kill event\(?s?\)? in (?P<cgroup>[\w=.]*\w))",
        "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=10238881.0. Some of your processes may have been"
        " killed",
        "slurm cgroup plugin",
    ),
    _rule(
        "lsf",
        r"(?P<reason>TERM_MEMLIMIT: job killed after reaching LSF memory usage limit)",
        "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit.",
        "IBM Spectrum LSF, bjobs and the job's output",
    ),
    _rule(
        "flux",
        r"(?P<reason>Memory cgroup out of memory: killed \d+ tasks? on \S+?)\.(?:\s|$)",
        "flux-shell[0]: ERROR: oom: Memory cgroup out of memory: killed 1 task on corona189.",
        "flux-core src/shell/oom.c",
    ),
    _rule(
        "htcondor",
        r"(?P<reason>Job has gone over (?:cgroup )?memory limit of \d+ megabytes\."
        r"(?: +(?:Last measured|Peak) usage: \d+ megabytes)?)",
        "Error from slot1_1@gpu-7.example.org: Job has gone over cgroup memory limit of 10624 megabytes. Last measured"
        " usage: 404 megabytes.  Consider resubmitting with a higher request_memory.",
        "HTCondor src/condor_starter.V6.1/vanilla_proc.cpp",
    ),
    _rule(
        "simple_lmk",
        r"simple_lmk: Kill(?:ing|ed) (?P<comm>.{1,15}) with adj (?P<adj>-?\d+) to free (?P<rss_kib>\d{1,18}) [kK]iB",
        "simple_lmk: Killing com.example.app with adj 905 to free 140528 KiB",
        "drivers/android/simple_lmk.c (out of tree)",
    ),
)

REPORTERS = frozenset({"docker", "kubelet", "slurm", "flux", "htcondor"})
"""Those that say what the kernel did."""

_HINTS = ("due to memory ", "ending SIG", "Send SIG", "illing process ", "oomd kill: ", "Killing '", "Kill '",
          "Reclaim '", "System OOM", "Detected ", "container oom ", "end sigkill", "memory: killed ",
          "memory limit of ", "TERM_MEMLIMIT", "Out of memory! avail", "simple_lmk: ",
          "Killed /", "Killed ...", "Marked /", "Marked ...")
# Who wrote the line; without a telling tag only a full match of the rule's own words counts.
_CODE = lazy(r"%[sdu]|\\d|\.\*|\br\"|printf|grep |\bdef |\breturn\b")


def is_killer_line(text: str) -> bool:
    """Whether *text* alone is a line of a userspace killer."""
    return any(hint in text for hint in _HINTS) and any(rule.pattern.search(text) for rule in KILLER_RULES)


def _joined(lines: Lines, i: int) -> str:
    """The line with the one or two that continue it (wrapped by a ticket system): indented, no own carrier."""
    text = lines.texts[i]
    if text.rstrip().endswith(",") and i + 1 < len(lines.texts) and lines.texts[i + 1].startswith("to free "):
        more = lines.texts[i + 1 : i + 3]  # Android's driver up to 4.11 prints four lines in one record
        return " ".join([text.rstrip(), *(more if more[-1].startswith("cache ") else more[:1])])
    if text.startswith("Out of memory! avail") and i + 1 < len(lines.texts):
        return f"{text.rstrip()} {lines.texts[i + 1].strip()}"  # earlyoom 0.x says why first
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


_SIGNALS = {"9": "KILL", "15": "TERM"}
_BLOCK_LINES = 24  # of nohang's description of the victim
_BLOCK = lazy(r"(Name|PID|UID|VmRSS): +(.+)")
_BLOCK_2 = lazy(  # since 0.2: three of its lines
    r"PID: +(?P<pid>\d{1,10}), name: (?P<comm>.*), state: .*?EUID: (?P<uid>\d{1,10})"
    r"|Vm, MiB: +Size: \d+, RSS: (?P<rss_mib>\d{1,12})"
    r"|Victim VmRSS: (?P<rss_kib>\d{1,12}) KiB"
    r"|cgroup_v[12]: (?P<cgroup>/\S.*)"
)


_NOHANG_LIMIT = lazy(r"\S.* [<>]=? *\w*sig(?:term|kill)\w* \(")  # "avg (62.99) > sigterm_psi (60.0)"


def _from_nohang_block(killed: Killed, lines: Lines, i: int) -> None:
    """Fill *killed* from the lines above line *i*, where nohang describes the victim before it acts."""
    for text in lines.texts[max(0, i - _BLOCK_LINES) : i]:
        if killed.reason is None and _NOHANG_LIMIT.search(text):
            killed.reason = text.strip()
        if (new := _BLOCK_2.match(text.strip())) is not None:
            g = new.groupdict()
            if g["pid"] is not None:
                killed.pid, killed.comm, killed.uid = int(g["pid"]), g["comm"], int(g["uid"])
            elif g["rss_mib"] is not None:
                killed.rss_kib = int(g["rss_mib"]) * 1024
            elif g["rss_kib"] is not None:
                killed.rss_kib = int(g["rss_kib"])
            else:
                killed.cgroup = g["cgroup"]
            continue
        m = _BLOCK.match(text)
        if m is None:
            continue
        number = re.match(r"(\d{1,12})", m[2])
        if m[1] == "Name":
            killed.comm = m[2].strip()
        elif number is not None and m[1] == "PID":
            killed.pid = int(number[1])
        elif number is not None and m[1] == "UID":
            killed.uid = int(number[1])
        elif number is not None:
            killed.rss_kib = int(number[1]) * 1024


def _report(  # noqa: PLR0917
    rule: KillerRule, m: re.Match[str], lines: Lines, i: int, name: str, clock: Clock
) -> OomReport:
    g = m.groupdict()
    no = lines.nos[i]
    report = OomReport(EventKind.USERSPACE_KILLER, Span(name, no, no), when_at(lines.raws, i, clock))
    report.killer = rule.killer
    rss = int(g["rss_mib"]) * 1024 if g.get("rss_mib") else int(g["bytes"]) // 1024 if g.get("bytes") else None
    rss = int(g["rss_kib"]) if g.get("rss_kib") else int(g["rss_pages"]) * 4 if g.get("rss_pages") else rss
    signal = g.get("signal") or _SIGNALS.get(g.get("signo") or "")
    killed = Killed(
        pid=int(g["pid"]) if g.get("pid") else None, comm=g.get("comm") or None,
        cgroup=f"/docker/{g['docker_id']}" if g.get("docker_id") else g.get("cgroup"),
        signal=f"SIG{signal}" if signal else None, uid=int(g["uid"]) if g.get("uid") else None,
        rss_kib=rss, reason=(g.get("reason") or (f"adj {g['adj']}" if g.get("adj") else "")).strip() or None, line=no,
    )
    if rule.killer == "nohang" and killed.pid is None:
        _from_nohang_block(killed, lines, i)
    report.killed = [killed]
    report.lines["kill"] = no
    if rule.killer in REPORTERS:
        report.notes.append(
            Note("reported_not_done", no,
                 f"{rule.killer} reports a kill that the kernel did; the kernel's own report is not this line")
        )
    report.complete = True
    return report
