"""Runs over sources: order, copies, filters, failures, the same answer however it is computed, bounded memory."""

from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from oomsight.pipeline import pool, workers
from oomsight.pipeline import run as runs
from oomsight.pipeline.query import Query
from oomsight.pipeline.run import Run, explain_sources, incident_of
from oomsight.report import Clock
from oomsight.sinks.document import incident_json
from oomsight.sources import areas
from oomsight.sources.files import FileRef, FileSource

from .events import NOW, Text, ago, dmesg, event, export, iso, syslog

SRC = Path(__file__).parents[2] / "src"
FILLER = "Nov 23 09:43:58 web nginx[77]: GET /rooms/12?zoom=3 200 from 203.0.113.7 in a while\n"
NAMES = ("java", "node", "postgres", "python3")


ALL = Query()


def explain(*sources: Text, query: Query = ALL, jobs: int = 1, **more) -> Run:
    """The run over *sources*."""
    clock = Clock(reference=NOW.replace(tzinfo=None))
    return explain_sources(list(sources), query, now=NOW, clock_of=lambda _source: clock, jobs=jobs, **more)


def pids(run: Run) -> list[int | None]:
    """Pids of the first victims, newest event first."""
    return [incident_of(entry, run).report.victims[0].pid for entry in run.entries]


def storm(count: int, filler: int = 40) -> str:
    """A syslog with *count* events, one a minute, ordinary lines between them."""
    rng = random.Random(5)
    parts = []
    for number in range(count):
        at = ago(minutes=count - number)
        messages = event(1000 + number, comm=rng.choice(NAMES), anon_kib=4 * rng.randrange(500, 20_000))
        parts.append(FILLER * filler + syslog(messages, at, 1000.0 + 60 * number))
    return "".join(parts) + FILLER


# -- order and copies -------------------------------------------------------------------------------------------------


def test_run_newest_first_across_sources():
    old = Text(iso(event(1), ago(days=3)) + iso(event(2), ago(days=1)), "kern.log.1")
    new = Text(iso(event(3), ago(days=2)) + iso(event(4), ago(hours=1)), "other.log")
    assert pids(explain(old, new)) == [4, 2, 3, 1]


def test_run_boots_without_dates_newest_last_boot_first():
    # The printk clock begins again: 7 and 8 are of a later boot although their clock says less.
    log = dmesg(event(5), 500.0) + dmesg(event(6), 900.0) + dmesg(event(7), 20.0) + dmesg(event(8), 450.0)
    run = explain(Text(log))
    assert pids(run) == [8, 7, 6, 5]
    assert [entry.order[2] & 0xFFFF for entry in run.entries] == [1, 1, 0, 0]


def test_run_copies_in_three_carriers_counted_once():
    at = ago(hours=2)
    both = [(event(1), at, 77.0), (event(2, comm="node"), ago(hours=1), 3677.0)]
    kern = Text("".join(syslog(m, t, u) for m, t, u in both), "kern.log")
    sys_ = Text("".join(FILLER + syslog(m, t, u) for m, t, u in both), "syslog")
    journal = Text("".join(export(m, t, u) for m, t, u in both), "journal", kind="journal")
    ring = Text("".join(dmesg(m, u) for m, _, u in both), "dmesg", kind="dmesg")
    run = explain(kern, sys_, journal, ring)
    assert pids(run) == [2, 1]
    assert [entry.copies for entry in run.entries] == [3, 3]
    assert all(entry.order[0] for entry in run.entries)


def test_run_two_boots_with_equal_pids_counted_twice():
    log = dmesg(event(1), 50.0) + dmesg(event(1), 20.0)
    assert [entry.uptime_s for entry in explain(Text(log)).entries] == [20.0, 50.0]


def test_run_lines_and_period_of_each_source():
    log = FILLER + iso(event(1), ago(hours=2)) + FILLER * 3 + iso(event(2), ago(hours=1))
    (result,) = explain(Text(log, "a.log")).sources
    assert (result.name, result.kind, result.lines, result.bytes) == ("a.log", "file", 28, len(log))
    assert (result.first_time, result.last_time) == ("2026-11-23T09:43:58", "2026-11-23T11:00:00+00:00")


# -- filters ----------------------------------------------------------------------------------------------------------


def test_run_filters_count_what_they_leave_out():
    log = Text("".join(iso(event(pid), ago(hours=pid)) for pid in (5, 4, 3, 2, 1)))
    run = explain(log, query=Query(since=ago(hours=4), until=ago(hours=2)))
    assert (pids(run), run.left_out, run.undated) == ([2, 3, 4], 2, 0)
    run = explain(log, query=Query(since=ago(hours=4), last=2))
    assert (pids(run), run.left_out) == ([1, 2], 3)
    run = explain(log, query=Query(pid=3))
    assert (pids(run), run.left_out) == ([3], 4)


def test_run_events_without_date_pass_time_filters_and_are_counted():
    run = explain(Text(dmesg(event(1), 5.0)), Text(iso(event(2), ago(days=9))), query=Query(since=ago(hours=1)))
    assert (pids(run), run.left_out, run.undated) == ([1], 1, 1)


@pytest.mark.parametrize("jobs", [1, 3])
def test_run_filters_by_name_in_any_process(monkeypatch, jobs):
    monkeypatch.setattr(workers, "INLINE_BYTES", 0)
    monkeypatch.setattr(runs, "BATCH_BYTES", 4096)
    whole = explain(Text(storm(60)))
    some = explain(Text(storm(60)), query=Query(comm="post*"), jobs=jobs)
    expected = [p for p, e in zip(pids(whole), whole.entries, strict=True) if "postgres" in e.names]
    assert pids(some) == expected
    assert (len(expected) > 5, some.left_out) == (True, 60 - len(expected))


# -- the same however it is computed ----------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1000, 65_536])
def test_run_same_answer_with_one_and_four_processes(monkeypatch, block):
    monkeypatch.setattr(workers, "INLINE_BYTES", 20_000)
    monkeypatch.setattr(runs, "BATCH_BYTES", 8192)
    log = storm(300, filler=120)  # above 1 MiB: many windows
    assert len(log) > 3 << 20
    started = []
    start = pool.Pool
    monkeypatch.setattr(pool, "Pool", lambda count: started.append(count) or start(count))
    answers = []
    for jobs in (1, 4):
        run = explain(Text(log, block=block), jobs=jobs)
        answers.append([incident_json(incident_of(entry, run)) for entry in run.entries])
    assert started == [3]
    assert len(answers[0]) == 300
    assert answers[0] == answers[1]


def test_run_incident_made_again_is_the_incident_made_first(monkeypatch):
    log = storm(200)
    kept = explain(Text(log))
    monkeypatch.setattr(runs, "KEEP_INCIDENTS", 1)
    again = explain(Text(log))
    assert sum(entry.incident is not None for entry in kept.entries) == 8  # 200 = 3 * 64 + 8
    assert sum(entry.incident is not None for entry in again.entries) == 1
    for a, b in zip(kept.entries, again.entries, strict=True):
        assert incident_of(a, kept) == incident_of(b, again)


def test_run_rendered_text_kept_for_each_incident():
    run = explain(Text(storm(5)), render=lambda incident: f"<{incident.report.victims[0].pid} ü>")
    texts = [run.spool.get(entry.place) for entry in run.entries]
    assert texts == [b"<%d \\xfc>" % pid for pid in (1004, 1003, 1002, 1001, 1000)]
    assert all(entry.incident is None for entry in run.entries)


def test_run_progress_counts_all_sources():
    seen: list[int] = []
    first, second = Text(FILLER * 5000), Text(FILLER * 5000)
    explain(first, second, progress=seen.append)
    assert seen == sorted(seen)
    assert len(first.data) < seen[-1] < 2 * len(first.data)


def test_run_leaves_the_collector_as_it_was():
    before = gc.get_threshold()
    explain(Text(storm(3)))
    assert gc.get_threshold() == before


# -- what goes wrong --------------------------------------------------------------------------------------------------


def test_run_unreadable_source_among_good_ones():
    good, absent, late = Text(iso(event(1), ago(hours=1))), Text("", "secret", absent=True), Text(iso(event(2), NOW), "b")
    run = explain(good, absent, late)
    assert pids(run) == [2, 1]
    assert [str(result.error) for result in run.sources] == ["None", "secret: permission denied; try: sudo", "None"]


def test_run_source_that_breaks_keeps_what_came_before():
    log = storm(100, filler=200)  # beyond the first MiB: windows come while reading
    run = explain(Text(log, breaks=True))
    (result,) = run.sources
    assert str(result.error) == "kern.log: input/output error"
    assert pids(run) == [1000 + number for number in reversed(range(100))]
    assert (result.lines, result.bytes) == (log.count("\n"), len(log))


def test_run_worker_killed_its_part_is_done_here_and_said(monkeypatch):
    monkeypatch.setattr(workers, "INLINE_BYTES", 0)
    monkeypatch.setattr(runs, "BATCH_BYTES", 8192)
    me = os.getpid()
    work_handed = workers.work_handed

    def fatal(job, pieces):
        if os.getpid() != me and b"java" in pieces[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return work_handed(job, pieces)

    fatal.__module__, fatal.__qualname__ = work_handed.__module__, "work_handed"
    monkeypatch.setattr(workers, "work_handed", fatal)
    monkeypatch.setattr("oomsight.pipeline.jobs.work_handed", fatal)  # where the name leads to, for pickle
    run = explain(Text(storm(300, filler=120)), jobs=2)
    assert pids(run) == [1000 + number for number in reversed(range(300))]
    assert run.sources[0].notes == [
        "a process that helped was ended by SIGKILL (the OOM killer, perhaps: -j1 needs less memory); what it had to do"
        " was done without it"
    ]


# -- large files ------------------------------------------------------------------------------------------------------


def large_file(path: Path) -> FileSource:
    """A file of some areas, with an event in each and one across the end of the first."""
    text = storm(120, filler=1200).encode()
    assert len(text) > 10 << 20
    path.write_bytes(text)
    return FileSource(FileRef(str(path), "file", (str(path),), len(text)))


def told(run: Run) -> list[object]:
    """Everything a run says."""
    incidents = [incident_json(incident_of(entry, run)) for entry in run.entries]
    return [*incidents, *((r.lines, r.bytes, r.first_time, r.last_time, r.notes) for r in run.sources)]


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_run_large_file_says_what_its_blocks_say(monkeypatch, tmp_path, jobs):
    monkeypatch.setattr(workers, "INLINE_FILE_BYTES", 1 << 20)
    source = large_file(tmp_path / "kern.log")
    done = []
    blocks = Text((tmp_path / "kern.log").read_bytes(), source.name)
    assert told(explain(source, jobs=jobs, progress=done.append)) == told(explain(blocks))
    assert done == sorted(done)
    assert done[-1] == source.size_bytes


def test_run_large_file_whose_searchers_die(monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "INLINE_FILE_BYTES", 1 << 20)
    me, search_part = os.getpid(), areas.search_part

    def fatal(part, _):
        if os.getpid() != me:
            os.kill(os.getpid(), signal.SIGTERM)
        return search_part(part)

    fatal.__module__, fatal.__qualname__ = search_part.__module__, "search_part"
    monkeypatch.setattr(areas, "search_part", fatal)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # as a program may have one that calls the library
    try:
        run = explain(large_file(tmp_path / "kern.log"), jobs=2)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(run.entries) == 120
    assert run.sources[0].notes == [
        "a process that helped was ended by SIGTERM; what it had to do was done without it"
    ]


def test_run_large_file_replaced_while_read(monkeypatch, tmp_path):
    """A worker that finds another file of that name leaves the searching to the one who has the right one open."""
    monkeypatch.setattr(workers, "INLINE_FILE_BYTES", 1 << 20)
    source = large_file(tmp_path / "kern.log")
    plain_file = source.plain_file

    def moved(least):
        file = plain_file(least)
        (tmp_path / "kern.log").rename(tmp_path / "kern.log.1")
        (tmp_path / "kern.log").write_text(FILLER)
        return file

    monkeypatch.setattr(FileSource, "plain_file", lambda _self, least: moved(least))
    run = explain(source, jobs=2)
    assert (len(run.entries), run.sources[0].notes) == (120, [])


def test_run_large_file_that_became_shorter_says_so(monkeypatch, tmp_path):
    source = large_file(tmp_path / "kern.log")
    half = source.size_bytes // 2
    plain_file = source.plain_file

    def cut(least):
        file = plain_file(least)
        os.truncate(tmp_path / "kern.log", half)
        return file

    monkeypatch.setattr(FileSource, "plain_file", lambda _self, least: cut(least))
    run = explain(source)
    assert 55 < len(run.entries) < 65
    assert run.sources[0].notes == [
        f"{source.name}: became shorter while it was read after {half} bytes; explained what was readable"
    ]


@pytest.mark.parametrize("times", [1, 3])
def test_run_line_without_end_noted_once(times):
    data = b"x" * (18 << 20)
    kill = event(9)[-1].encode()
    run = explain(Text((data + kill) * times + data, block=1 << 20))
    (result,) = run.sources
    assert result.notes == [
        "kern.log: from line 1 on: a line is longer than 1024 KiB: only a part of it was read",
        f"kern.log: {result.bytes:,} bytes without a line end: this is no log",
    ]
    assert pids(run) == [9]


# -- memory -----------------------------------------------------------------------------------------------------------

CHILD = """
    import resource, sys
    sys.path[:0] = [{src!r}, {tests!r}]
    from pipeline_events import event, syslog, ago, Text, NOW
    from oomsight.pipeline.run import explain_sources
    from oomsight.pipeline.query import Query
    from oomsight.report import Clock

    FILLER = {filler!r}.encode() * 3000
    class Stream(Text):
        def blocks(self, progress=None):
            for number in range({blocks}):
                yield FILLER
                yield syslog(event(1000 + number), ago(minutes=number % 9000), 1000.0 + 60 * number).encode()
    small = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run = explain_sources([Stream("")], Query(), now=NOW, clock_of=lambda s: Clock(), jobs={jobs})
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - small
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(run.sources[0].bytes >> 20, len(run.entries), grown >> 10, worker >> 10)
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_run_memory_bounded_for_a_long_stream(tmp_path, jobs):
    (tmp_path / "pipeline_events.py").write_text((Path(__file__).parent / "events.py").read_text())
    blocks = 800
    code = textwrap.dedent(CHILD).format(src=str(SRC), tests=str(tmp_path), filler=FILLER, blocks=blocks, jobs=jobs)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    size, events, grown_mib, worker_mib = map(int, done.stdout.split())
    assert size > 190
    assert events == blocks
    assert grown_mib < 50
    assert worker_mib < 90
