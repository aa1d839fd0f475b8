"""Userspace killers."""

from __future__ import annotations

import pytest

from oomsight.report import parse_text
from oomsight.report.killers import KILLER_RULES
from oomsight.report.model import EventKind


@pytest.mark.parametrize("rule", KILLER_RULES, ids=lambda r: f"{r.killer}-{r.sample[:12]}")
@pytest.mark.parametrize("carrier", ["", "Nov 23 09:58:14 db1 x[611]: ", "2026-11-23T09:58:14Z ", "[  200.000000] "])
def test_rule_matches_its_own_sample_and_makes_an_incident(rule: object, carrier: str) -> None:
    assert rule.pattern.search(rule.sample)  # type: ignore[attr-defined]
    (report,) = parse_text(f"{carrier}{rule.sample}\n")  # type: ignore[attr-defined]
    assert (report.kind, report.killer, report.victims) == (EventKind.USERSPACE_KILLER, rule.killer, [])  # type: ignore[attr-defined]
    assert len(report.killed) == 1
    assert report.when.host == ("db1" if "db1" in carrier else None)


def test_systemd_oomd_names_the_cgroup_and_why() -> None:
    (report,) = parse_text(
        "Nov 23 09:58:14 db1 systemd-oomd[611]: Killed /user.slice/app.scope due to memory pressure for /user.slice being"
        " 90.60% > 80.00% for > 20s with reclaim activity\n"
    )
    (killed,) = report.killed
    assert (killed.cgroup, killed.pid) == ("/user.slice/app.scope", None)
    assert killed.reason is not None
    assert killed.reason.startswith("memory pressure for /user.slice being 90.60% > 80.00%")


def test_earlyoom_gives_all_it_knows() -> None:
    (report,) = parse_text(
        'earlyoom[611]: sending SIGTERM to process 9994 uid 1000 "termshark": oom_score 1181, oom_score_adj 0, VmRSS 4568 MiB,'
        ' cmdline "termshark -i"\n'
    )
    (killed,) = report.killed
    assert (killed.pid, killed.comm, killed.uid, killed.signal, killed.rss_kib) == (9994, "termshark", 1000, "SIGTERM", 4568 * 1024)


NOHANG = """\
TOP printed in 0ms; process with highest badness:
  PID: 3, name: python3, badness: 668
Recheck memory levels...
Victim status (found in 0ms):
  PID:       3, name: python3, state: S (sleeping), EUID: 33, SID: 0 (), lifetime: 3.8s
  badness:   668, oom_score:  668, oom_score_adj:  0
  Vm, MiB:   Size: 96, RSS: 93 (Anon: 87, File: 6, Shmem: 0), Swap: 0
  cgroup_v1: /
  cgroup_v2: /system.slice/app.service
  ancestry:  PID 1 (sh)
  exe realpath: /usr/bin/python3.11
  cwd realpath: /srv
Memory info, MiB:
  total=24106, used=1756, free=5437, available=195, shared=9, buffers=954, cache=15958,
  swap_total=0, swap_used=0, swap_free=0
Memory pressure (system-wide):
  some avg10=0.00 avg60=0.00 avg300=0.11
  full avg10=0.00 avg60=0.00 avg300=0.00
Implementing a corrective action:
  Sending SIGKILL to the victim
OK; total response time: 36ms
What happened in the last 0.1s:
  [ OK ] Sending SIGKILL to python3: 1
The victim died in 0.08s
"""
"""What nohang 0.2.0 (Debian 12) prints, asked to kill by a false /proc/meminfo; uid, cgroup and directory are made up."""


@pytest.mark.parametrize("carrier", ["", "Nov 23 09:58:14 db1 nohang[611]: "])
def test_nohang_names_its_victim_in_the_lines_before_and_counts_are_no_kill(carrier: str) -> None:
    text = "".join(f"{carrier}{line}\n" for line in NOHANG.splitlines())
    (report,) = parse_text(text)
    (killed,) = report.killed
    assert (report.killer, killed.comm, killed.pid, killed.uid) == ("nohang", "python3", 3, 33)
    assert (killed.signal, killed.rss_kib, killed.cgroup) == ("SIGKILL", 93 << 10, "/system.slice/app.service")


def test_reports_of_a_kill_are_no_second_kill() -> None:
    text = (
        "[  200.000000] Out of memory: Killed process 16713 (stress) total-vm:9000kB, anon-rss:8000kB, file-rss:4kB\n"
        "kubelet[900]: System OOM encountered, victim process: stress, pid: 16713\n"
    )
    (kernel,) = parse_text(text)
    assert [v.pid for v in kernel.victims] == [16713]
    assert ("kill_reported_too", 2) in {(n.code, n.line) for n in kernel.notes}


@pytest.mark.parametrize("other", ["stress, pid: 16714", "stress-ng, pid: 16713", "tar, pid: 16713"])
def test_a_report_of_another_kill_stays(other: str) -> None:
    text = (
        "[  200.000000] Out of memory: Killed process 16713 (stress) total-vm:9000kB, anon-rss:8000kB, file-rss:4kB\n"
        f"kubelet[900]: System OOM encountered, victim process: {other}\n"
    )
    _kernel, kubelet = parse_text(text)
    assert (kubelet.kind, kubelet.victims) == (EventKind.USERSPACE_KILLER, [])
    assert "reported_not_done" in {n.code for n in kubelet.notes}


def test_a_report_hours_later_is_of_another_kill() -> None:
    text = (
        "2026-11-23T09:58:14+00:00 n kernel: Out of memory: Killed process 7 (a) total-vm:90kB, anon-rss:80kB, file-rss:4kB\n"
        "2026-11-23T12:58:14+00:00 n kubelet[900]: System OOM encountered, victim process: a, pid: 7\n"
    )
    assert len(parse_text(text)) == 2


def test_source_code_of_a_killer_is_no_kill() -> None:
    assert parse_text('warn("sending SIG%s to process %d uid %d \\"%s\\": oom_score %d\\n", name, pid, uid, comm, score);\n') == []
