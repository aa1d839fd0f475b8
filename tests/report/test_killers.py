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


def test_reports_of_a_kill_are_no_second_kill() -> None:
    text = (
        "[  200.000000] Out of memory: Killed process 16713 (stress) total-vm:9000kB, anon-rss:8000kB, file-rss:4kB\n"
        "kubelet[900]: System OOM encountered, victim process: stress, pid: 16713\n"
    )
    kernel, kubelet = parse_text(text)
    assert [v.pid for v in kernel.victims] == [16713]
    assert (kubelet.kind, kubelet.victims) == (EventKind.USERSPACE_KILLER, [])
    assert "reported_not_done" in {n.code for n in kubelet.notes}


def test_source_code_of_a_killer_is_no_kill() -> None:
    assert parse_text('warn("sending SIG%s to process %d uid %d \\"%s\\": oom_score %d\\n", name, pid, uid, comm, score);\n') == []
