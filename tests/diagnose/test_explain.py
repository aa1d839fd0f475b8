"""Explaining: never raises, says when a part failed, and gives one id to every copy of an event."""

from __future__ import annotations

import copy
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oomsight.diagnose import explain
from oomsight.diagnose.explain import explain_report, incident_id
from oomsight.naming.marked import map_names
from oomsight.report.model import (
    UNLIMITED,
    EventKind,
    HugePages,
    Killed,
    Memcg,
    MemcgLine,
    MemcgStats,
    MemInfo,
    NodeMem,
    OomReport,
    Selected,
    Span,
    Task,
    Trigger,
    Victim,
    When,
    Zone,
)

from .sample_reports import host, memcg

NAMES = st.text(st.sampled_from("ab1 /,=.-\x02\x03\x1f\x1b\n\udcff\ud800…é"), max_size=8)
COUNT = st.integers(0, 1 << 44)
MAYBE = st.none() | COUNT
KEYS = st.sampled_from(
    [
        "active_anon",
        "inactive_anon",
        "active_file",
        "inactive_file",
        "unevictable",
        "slab_reclaimable",
        "slab_unreclaimable",
        "shmem",
        "pagetables",
        "free",
        "free_pcp",
        "free_cma",
        "dirty",
        "writeback",
        "kernel_stack",
        "anon_thp",
        "Balloon",
        "min",
        "low",
        "high",
        "managed",
        "present",
        "mlocked",
        "anon",
        "file",
        "kernel",
        "sock",
        "slab",
        "rss",
        "cache",
        "file_dirty",
        "file_writeback",
        "percpu",
        "unknown",
    ]
)
COUNTERS = st.dictionaries(KEYS, COUNT, max_size=12)
LIMIT = st.none() | st.just(UNLIMITED) | COUNT
LINES = st.builds(MemcgLine, COUNT, LIMIT, MAYBE)
ADJ = st.none() | st.integers(-1000, 1000)
TASK = st.builds(
    Task, COUNT, COUNT, COUNT, COUNT, COUNT, MAYBE, MAYBE, MAYBE, MAYBE, MAYBE, MAYBE, MAYBE, ADJ,
    st.none() | st.integers(-17, 15), NAMES, st.integers(1, 999),
)  # fmt: skip
PATHS = st.none() | st.lists(NAMES, max_size=4).map(lambda parts: "/" + "/".join(parts)) | NAMES
VICTIM = st.builds(
    Victim, MAYBE, st.none() | NAMES, st.sampled_from(["selected", "child", "group"]), tgid=MAYBE, total_vm_kib=MAYBE,
    anon_rss_kib=MAYBE, file_rss_kib=MAYBE, shmem_rss_kib=MAYBE, oom_score_adj=ADJ, reaped=st.none() | st.booleans(),
    reaped_left_kib=MAYBE, prefix=st.none() | NAMES, task_memcg=PATHS,
)  # fmt: skip
ZONE = st.builds(
    Zone, st.none() | st.integers(0, 3), st.sampled_from(["DMA", "DMA32", "Normal", "HighMem", "Movable", "X"]), COUNTERS,
    lowmem_reserve_pages=st.none() | st.lists(COUNT, max_size=5).map(tuple),
    buddy=st.none() | st.lists(st.tuples(COUNT, st.sampled_from([4, 8, 16]), st.sampled_from(["", "UM", "H"])), max_size=4)
    .map(tuple), line=st.none() | st.integers(1, 99),
)  # fmt: skip
MEMINFO = st.builds(
    MemInfo, COUNTERS, st.dictionaries(st.sampled_from(["ram", "reserved", "swapcache", "pagecache"]), COUNT),
    st.lists(st.builds(NodeMem, st.integers(0, 3), COUNTERS), max_size=2), st.lists(ZONE, max_size=3),
    st.lists(st.builds(HugePages, st.none() | st.integers(0, 3), COUNT, COUNT, COUNT, COUNT), max_size=2), MAYBE, MAYBE,
    st.lists(st.tuples(NAMES, COUNT, COUNT), max_size=2), st.lists(st.tuples(COUNT, COUNT, NAMES), max_size=2),
)  # fmt: skip
REPORT = st.builds(
    OomReport,
    st.sampled_from(list(EventKind)),
    st.builds(Span, NAMES, st.integers(1, 9), st.integers(9, 99)),
    when=st.builds(When, host=st.none() | NAMES, uptime_s=st.none() | st.floats(0, 1e9), boot_id=st.none() | NAMES),
    constraint=st.none() | st.sampled_from(["CONSTRAINT_NONE", "CONSTRAINT_MEMCG", "CONSTRAINT_CPUSET", "CONSTRAINT_X"]),
    trigger=st.none() | st.builds(
        Trigger, st.none() | NAMES, MAYBE, gfp_mask=MAYBE, order=st.none() | st.integers(-1, 11),
        gfp_flags=st.none() | st.lists(st.sampled_from(["GFP_KERNEL", "__GFP_ZERO", "X"])).map(tuple),
        frames=st.lists(NAMES, max_size=2).map(tuple), nodemask=st.none() | NAMES, mems_allowed=st.none() | NAMES,
    ),
    selected=st.none() | st.builds(Selected, MAYBE, st.none() | NAMES, score=MAYBE),
    victims=st.lists(VICTIM, max_size=3), oom_memcg=PATHS, task_memcg=PATHS,
    memcg=st.none() | st.builds(
        Memcg, st.none() | LINES, st.none() | LINES, st.none() | LINES, st.none() | LINES,
        st.lists(st.builds(MemcgStats, PATHS, COUNTERS), max_size=2), min_protection_kib=MAYBE,
    ),
    meminfo=st.none() | MEMINFO, tasks=st.lists(TASK, max_size=6), page_size=st.none() | st.sampled_from([4096, 16384, 65536]),
    complete=st.booleans(), sysrq=st.booleans(), allocating_task_killed=st.booleans(), panic=st.none() | NAMES,
    skipped_exiting=st.lists(st.tuples(COUNT, NAMES), max_size=1), pinned_by=st.lists(NAMES, max_size=1),
    suppressed_callbacks=MAYBE, killer=st.none() | NAMES | st.just("earlyoom"), failure_mode=st.none() | NAMES,
    killed=st.lists(st.builds(Killed, MAYBE, st.none() | NAMES, PATHS, rss_kib=MAYBE, reason=st.none() | NAMES), max_size=3),
)  # fmt: skip


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(REPORT)
def test_anything_is_explained_without_a_failing_part(report: OomReport) -> None:
    incident = explain_report(report)
    assert [note.text for note in report.notes if note.code == "diagnosis_failed"] == []
    texts = [incident.headline, incident.summary]
    answers = incident.answers
    texts += answers.what_used_too_much + answers.why_it_grew + answers.why_nothing_stopped_it
    for cause in incident.causes:
        texts += [cause.title, *(e.text for e in cause.evidence), *(a.text for a in cause.advice), cause.settles or ""]
    assert incident.headline
    assert incident.summary
    for text in texts:
        outside = map_names(text, lambda _name, _kind: "")
        assert set(outside) <= set(string.printable) | set("…–−’“”"), outside  # nothing from the text outside of marks


def test_a_failing_part_leaves_a_note_and_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_report: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(explain, "zone_checks", fail)
    report = host()
    incident = explain_report(report)
    assert [note.code for note in report.notes] == ["diagnosis_failed"]
    assert "ZeroDivisionError" in report.notes[0].text
    assert incident.causes[0].code == "host_exhausted"


def test_id_is_the_same_for_every_copy() -> None:
    dmesg = memcg()
    dmesg.when = When(uptime_s=3.389638)
    journal = copy.deepcopy(dmesg)
    journal.when = When(time="2026-11-23T09:43:57+00:00", host="web-1", boot_id="b1")
    filtered = copy.deepcopy(journal)  # a log that keeps warnings only has no table, no statistics, no oom-kill line
    filtered.tasks, filtered.memcg, filtered.oom_memcg, filtered.constraint = [], None, None, None
    ids = {incident_id(report) for report in (dmesg, journal, filtered)}
    assert len(ids) == 1
    assert ids.pop().startswith("oom-")


@pytest.mark.parametrize(
    ("field", "value"), [("pid", 157), ("comm", "other"), ("anon_rss_kib", 1), ("total_vm_kib", 1)]
)
def test_id_differs_with_the_victim(field: str, value: object) -> None:
    one, other = memcg(), memcg()
    setattr(other.victims[0], field, value)
    assert incident_id(one) != incident_id(other)


def test_id_of_weak_facts_uses_the_clock() -> None:
    def old(uptime: float) -> OomReport:
        report = OomReport(EventKind.GLOBAL, Span("t", 1, 1), when=When(uptime_s=uptime))
        report.victims = [Victim(7346, "Xorg")]
        return report

    assert incident_id(old(5.001)) == incident_id(old(5.002))
    assert incident_id(old(5.0)) != incident_id(old(6.0))


def test_reading_twice_adds_nothing() -> None:
    report = host()
    assert explain_report(report) == explain_report(report)
    assert report.notes == []
