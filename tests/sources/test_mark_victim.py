"""The tracepoint's lines, read as its own format file says."""

from __future__ import annotations

import pytest

from oomsight.live.silent import Mark
from oomsight.sources.errors import SourceError
from oomsight.sources.mark_victim import follow_marks, line_pattern, parse_mark

OLD = 'name: mark_victim\nformat:\n\tfield:int pid;\toffset:8;\n\nprint fmt: "pid=%d", REC->pid'
NEW = (
    'print fmt: "pid=%d comm=%s total-vm=%lukB anon-rss=%lukB file-rss:%lukB shmem-rss:%lukB uid=%u pgtables=%lukB'
    ' oom_score_adj=%hd", REC->pid, __get_str(comm), REC->total_vm, REC->anon_rss, REC->file_rss, REC->shmem_rss,'
    " REC->uid, REC->pgtables, REC->oom_score_adj"
)
STAMP = "         python3-21624   [001] d..1.  3300.392156: mark_victim: "


def test_parse_mark_of_old_kernels() -> None:
    pattern = line_pattern(OLD)
    assert pattern is not None
    assert parse_mark(STAMP + "pid=21624", pattern) == Mark(21624, 3_300_392_156)


@pytest.mark.parametrize("comm", ["python3", "a b=c", "x total-vm=1kB", ""])
def test_parse_mark_of_new_kernels_whatever_the_name(comm) -> None:
    pattern = line_pattern(NEW)
    assert pattern is not None
    tail = "total-vm=49336kB anon-rss=7936kB file-rss:6556kB shmem-rss:0kB uid=0 pgtables=80kB oom_score_adj=-5"
    mark = parse_mark(f"{STAMP}pid=9 comm={comm} {tail}", pattern)
    assert mark == Mark(9, 3_300_392_156, comm, 0, 49336, 7936, 6556, 0, 80, -5)


@pytest.mark.parametrize("text", ["", 'print fmt: "x=%d", REC->x', 'print fmt: "pid=%d %d", REC->pid', "print fmt: pid"])
def test_line_pattern_not_understood_is_none(text) -> None:
    assert line_pattern(text) is None


def test_parse_mark_other_lines_are_none() -> None:
    pattern = line_pattern(OLD)
    assert pattern is not None
    assert parse_mark("CPU:1 [LOST 3 EVENTS]", pattern) is None
    assert parse_mark(STAMP + "pid=x", pattern) is None


def test_follow_marks_without_tracefs_says_what_would_give_it(tmp_path) -> None:
    with pytest.raises(SourceError, match="tracefs is not mounted") as caught:
        follow_marks((str(tmp_path),))
    assert "mount -t tracefs" in str(caught.value)


def test_follow_marks_format_not_known_is_said(tmp_path) -> None:
    folder = tmp_path / "events/oom/mark_victim"
    folder.mkdir(parents=True)
    (folder / "format").write_text('print fmt: "victim %d", REC->x')
    with pytest.raises(SourceError, match="not known"):
        follow_marks((str(tmp_path),))
