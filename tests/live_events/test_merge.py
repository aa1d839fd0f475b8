"""Records one by one -> events: told at the kill line, complete when quiet, updated by late lines; nothing twice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from kmsg_lines import BOOT, Log

from oomsight.diagnose.explain import explain_report
from oomsight.live.events import LogRecord, Registry, Stage, kill_id
from oomsight.live.merge import GROUP_SETTLE_SECONDS, LATE_SECONDS, OPEN_SECONDS, SETTLE_SECONDS, Merger
from oomsight.report import parse_text


def _feed(merger, records, now=1.0, **kwargs):
    return [event for record in records for event in merger.feed(record, now, **kwargs)]


def test_feed_kill_line_tells_at_once_with_trigger_and_cgroup() -> None:
    log, merger = Log(), Merger()
    assert _feed(merger, log.report(rows=3)) == []
    (event,) = merger.feed(log.kill(), 1.0)
    report = event.incident.report
    assert event.stage is Stage.PROVISIONAL
    assert [(v.pid, v.comm, v.anon_rss_kib) for v in report.victims] == [(7, "python3", 7936)]
    assert (report.task_memcg, report.trigger.comm, report.when.boot_id) == ("/app", "python3", BOOT)
    assert event.event_id == kill_id(BOOT, log.us, 7) == event.kills[0].kill_id


def test_tick_after_quiet_completes_under_the_same_id_as_explain() -> None:
    log, merger = Log(), Merger()
    records = [*log.report(), log.kill()]
    (told,) = _feed(merger, records)
    assert merger.tick(1.0 + SETTLE_SECONDS / 2) == []
    (event,) = merger.tick(1.0 + SETTLE_SECONDS)
    (report,) = parse_text(b"".join(r.raw for r in records))
    assert (event.stage, event.event_id) == (Stage.COMPLETE, told.event_id)
    assert event.incident.id == told.incident.id == explain_report(report).id
    assert event.incident.report.complete
    assert event.raw == b"".join(r.raw for r in records)


def test_feed_next_report_completes_the_one_before() -> None:
    log, merger = Log(), Merger()
    _feed(merger, [*log.report(7), log.kill(7), *log.report(8), log.kill(8)])
    events = merger.tick(1.0)
    assert [e.kills[0].pid for e in events] == [7]
    assert [e.kills[0].pid for e in merger.flush()] == [8]


def test_feed_rate_limited_kills_are_events_of_their_own() -> None:
    log, merger = Log(), Merger()
    told = _feed(merger, [*log.report(7), log.kill(7), log.kill(8), log.kill(9)])
    done = merger.flush()
    assert [e.kills[0].pid for e in told] == [e.kills[0].pid for e in done] == [7, 8, 9]
    assert [e.incident.report.task_memcg for e in done] == ["/app", None, None]


def test_feed_group_kill_is_one_event_of_all_victims() -> None:
    log, merger = Log(), Merger()
    told = _feed(merger, [*log.report(7), log.kill(7), log.group(), log.kill(8), log.kill(9)])
    assert [e.kills[0].pid for e in told] == [7]
    assert merger.tick(1.0 + SETTLE_SECONDS) == []
    (event,) = merger.tick(1.0 + GROUP_SETTLE_SECONDS)
    assert [(v.pid, v.role) for v in event.incident.report.victims] == [(7, "selected"), (8, "group"), (9, "group")]
    assert len({k.kill_id for k in event.kills}) == 3


def test_feed_selected_process_that_dies_with_its_group_once_more_is_one_victim_and_a_repeat() -> None:
    log, merger = Log(), Merger()  # as kernels print it: mm/oom_kill.c oom_kill_process(), then all tasks of the group
    _feed(merger, [*log.report(7), log.kill(7), log.group(), log.kill(7), log.kill(8)])
    (event,) = merger.flush()
    assert [(v.pid, v.role) for v in event.incident.report.victims] == [(7, "selected"), (8, "group")]
    assert event.repeats == 1


def test_feed_kill_long_after_a_group_is_not_of_the_group() -> None:
    log, merger = Log(), Merger()
    _feed(merger, [*log.report(7), log.kill(7), log.group(), log.kill(8), log.kill(9, gap_us=2_000_000)], fresh=False)
    assert [[v.pid for v in e.incident.report.victims] for e in merger.flush()] == [[7, 8], [9]]


def test_feed_late_reaper_updates_the_told_event() -> None:
    log, merger = Log(), Merger()
    _feed(merger, [*log.report(7), log.kill(7)])
    (first,) = merger.tick(2.0)
    assert merger.feed(log.reaper(7), 3.0) == []
    (again,) = merger.tick(3.0 + SETTLE_SECONDS)
    assert (again.stage, again.event_id) == (Stage.UPDATE, first.event_id)
    assert (first.incident.report.victims[0].reaped, again.incident.report.victims[0].reaped) == (None, True)
    assert again.weight > first.weight


def test_feed_backlog_makes_no_provisional_events_and_splits_by_the_logs_clock() -> None:
    log, merger = Log(), Merger()
    cut = log.report(7)[:5]  # a head whose kill line was overwritten
    later = log.line("usb 1-1: new device", gap_us=int(OPEN_SECONDS * 2e6))
    assert _feed(merger, [*cut, later, *log.report(8), log.kill(8)], fresh=False) == []
    events = merger.flush()
    assert [[v.pid for v in e.incident.report.victims] for e in events] == [[], [8]]


def test_feed_line_written_by_user_space_is_no_kill() -> None:
    log, merger = Log(), Merger()
    forged = log.line("Out of memory: Killed process 1 (init) total-vm:1kB, anon-rss:1kB, file-rss:0kB", facility=1)
    assert merger.feed(forged, 1.0) == []
    assert merger.flush() == []


def test_nohang_line_by_line_names_its_victim() -> None:
    merger = Merger()
    for number in (1, 2):
        said = (
            "Victim status (found in 0ms):", f"  PID:       {number}, name: hog{number}, state: S (sleeping), EUID: 0, SID: 0 ()",
            "Implementing a corrective action:", "  Sending SIGTERM to the victim", "OK; total response time: 36ms",
            f"  [ OK ] Sending SIGTERM to hog{number}: {number}",
        )  # fmt: skip
        for line, text in enumerate(said):
            us = number * 1_000_000 + line
            raw = f"2026-11-23T09:58:14+00:00 h nohang[7]: {text}\n".encode()
            merger.feed(LogRecord(raw, text, "journal", f"c{us}", us, BOOT, True, True), 1.0)
    events = merger.flush()
    assert [(k.pid, k.comm) for e in events for k in e.incident.report.killed] == [(1, "hog1"), (2, "hog2")]
    assert len({event.event_id for event in events}) == 2


def test_feed_oomd_line_is_a_userspace_kill() -> None:
    log, merger = Log(), Merger()
    text = "oomd kill: 97.70 95.70 89.79 system.slice/hog.service 1234567 ruleset:[r] detectorgroup:[d] killer:k v2"
    merger.feed(log.line(text, facility=1), 1.0)
    (event,) = merger.tick(1.0)
    assert (event.incident.report.killer, event.kills) == ("oomd", ())


def test_feed_cgroup_is_looked_up_where_the_report_was_not_printed() -> None:
    log, merger = Log(), Merger(cgroup_of={8: "/web"}.get)
    told = _feed(merger, [log.kill(8), log.kill(9)])
    assert [e.incident.report.task_memcg for e in told] == ["/web", None]
    done = merger.flush()
    assert [e.incident.report.task_memcg for e in done] == ["/web", None]
    assert done[0].event_id == told[0].event_id


def test_low_water_is_the_first_line_of_what_is_not_complete() -> None:
    log, merger = Log(seq=0), Merger()
    assert merger.low_water() is None
    _feed(merger, [*log.report(7), log.kill(7)])
    assert merger.low_water() == 1
    second = log.report(8)
    _feed(merger, second)
    merger.tick(1.0)
    assert merger.low_water() == second[0].position
    merger.feed(log.kill(8), 1.0)
    merger.tick(2.0)
    assert merger.low_water() is None
    merger.feed(log.reaper(7), 2.0)
    assert merger.low_water() == 1


def test_due_seconds_says_when_to_come_back() -> None:
    log, merger = Log(), Merger()
    assert merger.due_seconds() is None
    _feed(merger, log.report(7), now=10.0)
    assert merger.due_seconds() == 10.0 + OPEN_SECONDS
    merger.feed(log.kill(7), 11.0)
    assert merger.due_seconds() == 11.0 + SETTLE_SECONDS
    merger.tick(11.1)
    assert merger.due_seconds() == 11.0 + LATE_SECONDS
    merger.tick(11.0 + LATE_SECONDS)
    assert merger.due_seconds() is None


def test_feed_other_kernel_messages_open_nothing() -> None:
    log, merger = Log(), Merger()
    _feed(merger, [log.line("EXT4-fs (vda): mounted filesystem"), log.line("memory: usage 1kB, limit 2kB, failcnt 0")])
    assert (merger.busy, merger.low_water(), merger.flush()) == (False, None, [])


def _storm(log: Log, kinds: list[int]) -> tuple[list, list[int]]:
    records, pids = [], []
    for number, kind in enumerate(kinds, 100):
        if kind:
            records += log.report(number * 10)
        records.append(log.kill(number * 10))
        pids.append(number * 10)
        if kind == 2:
            records += [log.group(), log.kill(number * 10 + 1)]
            pids.append(number * 10 + 1)
        records.append(log.line("unrelated: message", gap_us=400_000))
    return records, pids


@settings(max_examples=40, deadline=None)
@given(kinds=st.lists(st.integers(0, 2), min_size=1, max_size=8), data=st.data())
def test_restart_anywhere_gives_the_same_kills_once(kinds, data) -> None:
    """Killed at any record and started again from the low water mark: every victim once, and no other."""
    records, pids = _storm(Log(seq=0), kinds)
    stop = data.draw(st.integers(0, len(records)))
    registry, events = Registry(), []
    first = Merger()
    for i, record in enumerate(records[:stop]):
        events += first.feed(record, i * 0.001) + first.tick(i * 0.001)
    low = first.low_water()
    second = Merger()
    for i, record in enumerate(records[stop if low is None else low - 1 :]):
        events += second.feed(record, i * 0.001) + second.tick(i * 0.001)
    events += second.flush()
    admitted = [e for e in map(registry.admit, events) if e is not None]
    complete = {e.event_id: e for e in admitted if e.stage is not Stage.PROVISIONAL}
    assert sorted(v.pid for e in complete.values() for v in e.incident.report.victims) == sorted(pids)
    assert {e.event_id for e in admitted} == set(complete)
    assert registry.kills[BOOT] == len(pids)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=12))
@pytest.mark.filterwarnings("ignore")
def test_feed_any_text_never_raises(texts) -> None:
    log, merger = Log(), Merger()
    needles = ("oom_reaper: ", "Out of memory: Killed process 1 (", "invoked oom-killer: gfp_mask=0x1", "")
    for i, text in enumerate(texts):
        merger.feed(log.line((needles[i % 4] + text).replace("\n", " ")), i * 0.01)
    for event in merger.flush():
        assert event.event_id.startswith("ev-")
