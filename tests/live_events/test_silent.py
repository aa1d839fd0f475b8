"""Events without a log line."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from kmsg_lines import BOOT, SIZES

from oomsight.diagnose.explain import explain_report
from oomsight.live.counters import CgroupChange
from oomsight.live.silent import Mark, event_of_count, event_of_mark
from oomsight.report import parse_text


def test_event_of_mark_has_the_id_of_its_log_line() -> None:
    mark = Mark(9, 5_000_000, "java", 0, 49336, 7936, 6556, 0, 80, 0)
    event = event_of_mark(mark, BOOT, "2026-11-23T12:00:00+00:00", "/web")
    (report,) = parse_text(f"Out of memory: Killed process 9 (java) {SIZES}")
    assert event.incident.id == explain_report(report).id
    assert event.incident.report.task_memcg == "/web"
    assert [(k.pid, k.comm) for k in event.kills] == [(9, "java")]


def test_event_of_mark_of_old_kernels_knows_the_pid_alone() -> None:
    event = event_of_mark(Mark(9, 5_000_000), BOOT, None)
    victim = event.incident.report.victims[0]
    assert (victim.pid, victim.comm, victim.anon_rss_kib) == (9, None, None)
    assert event.incident.headline


def test_event_of_count_has_as_many_victims_as_were_counted_and_no_names() -> None:
    change = CgroupChange("/web", 2, {"oom": 1, "oom_kill": 2}, {"oom": 1, "oom_kill": 5}, False)
    event = event_of_count(change, BOOT, "2026-11-23T12:00:00+00:00", 7)
    report = event.incident.report
    assert (report.kind, report.oom_memcg, [v.pid for v in report.victims]) == ("memcg", "/web", [None, None])
    assert len({k.kill_id for k in event.kills}) == 2
    assert event_of_count(change, BOOT, "2026-11-23T12:00:00+00:00", 7).event_id == event.event_id
