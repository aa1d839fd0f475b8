"""Windows of a stream: whole reports, right line numbers, nothing twice, bounded memory."""

from __future__ import annotations

import re
import tempfile
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomsight.sources.areas import AREA_BYTES, AreaSearch, areas_of
from oomsight.sources.decode import is_binary
from oomsight.sources.file_stream import open_plain
from oomsight.sources.lines import REPORT
from oomsight.sources.needles import NEEDLES, Role
from oomsight.sources.scan import Limits, Window, scan, scan_file
from oomsight.sources.search import native_in, searcher
from oomsight.sources.stream import newlines

PREFIX = b"Nov 23 09:43:57 node1 kernel: [ 1916.749471] "
HEAD = PREFIX + b"stress invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0, oom_score_adj=0\n"
KILL = PREFIX + (
    b"Out of memory: Killed process 1234 (stress) total-vm:65536kB, anon-rss:60000kB, file-rss:0kB, shmem-rss:0kB,"
    b" UID:0 pgtables:160kB oom_score_adj:0\n"
)
REAPED = PREFIX + b"oom_reaper: reaped process 1234 (stress), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB\n"
CONSTRAINT = PREFIX + b"oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom\n"
ORDINARY = b"Nov 23 09:43:58 node1 nginx[77]: GET /index.html 200 from 10.0.0.7 in a while\n"
MIB = 1 << 20


def rows(count: int) -> bytes:
    """Task-table rows."""
    return b"".join(PREFIX + b"[%7d]     0 %7d    16384    15000   163840        0             0 worker\n" % (n, n) for n in range(count))


def ordinary(size: int) -> bytes:
    """At least *size* bytes of lines that say nothing about memory."""
    return ORDINARY * (size // len(ORDINARY) + 1)


def report(table: int = 20) -> bytes:
    """A report from head to kill line."""
    body = PREFIX + b"CPU: 0 PID: 99 Comm: stress Not tainted 6.12.107\n" + PREFIX + b"Call Trace:\n" + PREFIX + b"Mem-Info:\n"
    return HEAD + body + rows(table) + CONSTRAINT + KILL


def windows(data: bytes, block: int = 100_000, limits: Limits | None = None) -> list[Window]:
    """The windows of *data*, given in blocks."""
    blocks = (data[at : at + block] for at in range(0, len(data), block))
    return list(scan(blocks, limits or Limits()))


def check(data: bytes, found: list[Window]) -> None:
    """What holds for the windows of any stream."""
    end = 0
    for window in found:
        assert window.offset >= end
        end = window.offset + len(window.data)
        assert data[window.offset : end] == window.data
        assert window.first_line == data.count(b"\n", 0, window.offset) + 1
        if window.cut is None:
            assert window.offset == 0 or data[window.offset - 1 : window.offset] == b"\n"
            assert end == len(data) or data[end - 1 : end] == b"\n"


def test_scan_empty_no_window():
    s = scan([b"", b""])
    assert list(s) == []
    assert (s.lines, s.bytes) == (0, 0)


def test_scan_small_input_is_one_window_even_without_needle():
    s = scan([b"stress invoked oom-\n", b"killer: gfp"])
    assert list(s) == [Window(1, b"stress invoked oom-\nkiller: gfp", 0)]
    assert (s.lines, s.bytes) == (2, 31)


def test_scan_small_input_exactly_whole_bytes_is_one_window():
    data = KILL + (ORDINARY * MIB)[: MIB - 1 - len(KILL)] + b"\n"
    assert windows(data) == [Window(1, data, 0)]


def test_scan_small_input_without_any_trace_no_window_but_totals():
    s = scan([ORDINARY * 10])
    assert (list(s), s.lines, s.bytes) == ([], 10, 10 * len(ORDINARY))


def test_scan_large_input_without_needle_no_window_but_totals():
    data = ordinary(2 * MIB) + b"no newline"
    s = scan([data])
    assert list(s) == []
    assert (s.lines, s.bytes) == (data.count(b"\n") + 1, len(data))


def test_scan_one_report_whole_with_context():
    before, after = ordinary(MIB), ordinary(MIB)
    text = report(200)
    found = windows(before + text + REAPED + after)
    assert [w.data for w in found] == [ORDINARY * 10 + text + REAPED + ORDINARY * 8]
    assert found[0].first_line == before.count(b"\n") - 10 + 1
    assert found[0].cut is None


@pytest.mark.parametrize("table", [600, 20_000])
def test_scan_long_table_whole(table):
    text = report(table)  # 600 rows: just longer than the bridge between two hits
    assert len(text) > 64 << 10
    found = windows(ordinary(MIB) + text + ordinary(MIB))
    assert len(found) == 1
    assert text in found[0].data


def test_scan_report_with_foreign_lines_whole():
    text = HEAD + rows(50) + ORDINARY * 30 + rows(900) + ORDINARY * 150 + rows(900) + CONSTRAINT + KILL
    found = windows(ordinary(MIB) + text + ordinary(MIB))
    assert len(found) == 1
    assert text in found[0].data


def test_scan_headless_report_reaches_back_through_its_rows():
    text = rows(3000) + ORDINARY * 30 + rows(20) + CONSTRAINT + KILL
    found = windows(ordinary(MIB) + text + ordinary(MIB))
    assert [w.data for w in found] == [ORDINARY * 10 + text + ORDINARY * 8]


def test_scan_rows_alone_whole_although_few_of_them_are_looked_for():
    text = rows(200) + ORDINARY * 30 + rows(3).replace(b"]     0 ", b"]  1000 ")
    found = windows(ordinary(MIB) + text + ordinary(MIB))
    assert [w.data for w in found] == [ORDINARY * 10 + text + ORDINARY * 8]


def test_scan_block_of_a_cgroup_alone_whole():
    text = (
        PREFIX + b"Task in /a/b killed as a result of limit of /a\n" + ORDINARY * 3
        + PREFIX + b"memory: usage 1024kB, limit 1024kB, failcnt 3\n" + PREFIX + b"Memory cgroup stats for /a: cache:0KB rss:1020KB\n"
    )  # fmt: skip
    found = windows(ordinary(MIB) + text + ordinary(MIB))
    assert [w.data for w in found] == [ORDINARY * 10 + text + ORDINARY * 8]


@pytest.mark.parametrize("line", [b"app: over the limit of 30 requests", b"sql: column total_vms", b"grep dump_headers"])
def test_scan_line_that_only_sounds_like_a_part_gives_no_window(line):
    assert windows(ordinary(MIB) + (line + b"\n") * 5 + ordinary(MIB)) == []


def test_scan_reaper_line_far_below_is_in_the_window_of_its_kill():
    text = report() + ORDINARY * 300 + REAPED
    found = windows(ordinary(MIB) + text + ordinary(MIB))
    assert len(found) == 1
    assert text in found[0].data


def test_scan_out_of_memory_of_a_program_gives_a_small_window():
    said = b"Nov 23 09:43:58 node1 postgres[7]: ERROR: out of memory, detail 123kB\n"
    others = rows(500).replace(b"]     0 ", b"]  1000 ")  # which nobody looks for
    found = windows(ordinary(MIB) + others + said + ordinary(MIB))
    assert len(found) == 1
    assert found[0].data.count(b"\n") == 60 + 1 + 8


def test_scan_userspace_killer_keeps_what_it_said_before():
    said = b"Nov 23 09:43:58 node1 earlyoom[7]: sending SIGTERM to process 77 uid 0 \"x\": oom_score 900, VmRSS 30 MiB\n"
    found = windows(ordinary(MIB) + said + ordinary(MIB))
    assert [w.data for w in found] == [ORDINARY * 60 + said + ORDINARY * 8]


def test_scan_journal_export_window_begins_and_ends_with_entries():
    def entry(message: bytes) -> bytes:
        return b"__CURSOR=s=1\n__REALTIME_TIMESTAMP=1795438509141003\n_BOOT_ID=da\nPRIORITY=4\nMESSAGE=" + message + b"\n_HOSTNAME=vm\n\n"

    other = entry(b"usb 1-1: new device") * 20_000
    text = b"".join(entry(line.removeprefix(PREFIX)) for line in report().splitlines())
    found = windows(other + text + other)
    assert len(found) == 1
    assert text in found[0].data
    assert found[0].data.startswith(b"__CURSOR=")
    assert found[0].data.count(b"usb 1-1") == 10 + 8


def test_scan_many_adjacent_reports_divided_between_reports():
    text = report(100)
    data = text * 1000  # 12.6 MB without anything between
    found = windows(data)
    check(data, found)
    assert b"".join(w.data for w in found) == data
    assert len(found) == 25
    for window in found:
        assert window.cut is None
        assert window.data.startswith(HEAD)
        assert window.data.endswith(KILL)
        assert 512 << 10 < len(window.data) + len(text) < 540 << 10 or window is found[-1]


def test_scan_reports_without_end_cut_and_said():
    data = ordinary(MIB) + HEAD + (rows(400) + CONSTRAINT) * 400 + ordinary(MIB)  # 15 MB, no kill line
    found = windows(data)
    check(data, found)
    assert [w.cut is None for w in found] == [False, True]
    assert max(len(w.data) for w in found) <= 12 * MIB + (64 << 10)
    assert sum(w.data.count(b"oom-kill:") for w in found) == 400


def test_scan_kill_in_a_line_without_end_part_kept_and_said():
    data = b"x" * (3 * MIB) + b"Killed process 12 (a) " + b"y" * (3 * MIB) + b"\n"
    s = scan([data])
    found = list(s)
    assert [w.cut for w in found] == ["a line is longer than 1024 KiB: only a part of it was read"]
    assert b"Killed process 12 (a) " in found[0].data
    assert (found[0].first_line, s.lines) == (1, 1)
    assert len(found[0].data) <= 6 * MIB


def test_scan_memory_bounded_for_one_endless_line():
    def endless() -> Iterator[bytes]:
        block = b"z" * (256 << 10)
        for n in range(400):  # 100 MiB
            yield block if n % 7 else block[:-20] + b" Killed process 123 "

    tracemalloc.start()
    try:
        s = scan(endless())
        sizes = [len(w.data) for w in s]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert s.bytes == 100 * MIB
    assert sum(sizes) > MIB
    assert peak < 40 * MIB


SMALL = Limits(
    whole_bytes=400, line_bytes=400, back_bytes=3000, forward_bytes=4000, bridge_bytes=900, window_bytes=2000,
    window_long_bytes=3000, window_max_bytes=7000, block_bytes=128, head_lines=2, tail_lines=2, user_lines=3, back_credit=3, forward_credit=4,
)  # fmt: skip
PART = st.sampled_from(
    [ORDINARY, ORDINARY * 7, ORDINARY * 60, HEAD, KILL, REAPED, CONSTRAINT, rows(3), rows(40), report(2), report(9), b"\n",
     b"x" * 150 + b"\n", b"q" * 900 + b"Killed process 5 (q) " + b"q" * 700 + b"\n", b"unit: Failed with result 'oom-kill'.\n"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(parts=st.lists(PART, max_size=40), block=st.integers(1, 500))
def test_scan_any_stream_every_hit_in_exactly_one_window(parts, block):
    data = b"".join(parts)
    s = scan((data[at : at + block] for at in range(0, len(data), block)), SMALL)
    found = list(s)
    check(data, found)
    assert s.bytes == len(data)
    assert s.lines == data.count(b"\n") + bool(data and not data.endswith(b"\n"))
    spans = [(w.offset, w.offset + len(w.data)) for w in found]
    for needle in NEEDLES:
        if needle.role is Role.PART:
            continue  # looked for further apart, and only taken where the line is one of a report
        at = data.find(needle.text)
        while at >= 0:
            assert sum(start <= at and at + len(needle.text) <= end for start, end in spans) == 1, (needle.text, at)
            at = data.find(needle.text, at + 1)
    for window in found:
        assert len(window.data) <= SMALL.window_max_bytes + SMALL.bridge_bytes


@settings(max_examples=150, deadline=None)
@given(parts=st.lists(PART, min_size=1, max_size=40), blocks=st.integers(1, 5), ends=st.sampled_from([b"", b"no line end", b"\0" * 300]))
def test_scan_file_has_the_windows_of_its_stream(parts, blocks, ends):
    data = b"".join(parts) * 2 + b"." * SMALL.whole_bytes + ends
    stream = scan([data], SMALL)
    windows = [(w.first_line, w.data, w.offset, w.cut) for w in stream]
    with tempfile.NamedTemporaryFile() as named:
        named.write(data)
        named.flush()
        file = open_plain(named.name, SMALL.whole_bytes)
        if file is None:
            assert is_binary(data)
            return
        with file:
            search = AreaSearch(file.fd, SMALL.block_bytes)
            spans = areas_of(len(data), blocks * SMALL.block_bytes)
            found = scan_file(file, [search(*span) for span in spans], SMALL)
            assert [(w.first_line, w.data, w.offset, w.cut) for w in found] == windows
            assert (found.lines, found.bytes, found.problem) == (stream.lines, stream.bytes, None)


def test_search_of_a_hole_up_to_the_end(tmp_path):
    path = tmp_path / "sparse.log"
    with path.open("wb") as out:
        out.truncate(2 * AREA_BYTES + 5)
    with open_plain(str(path), 1) as file:
        found = scan_file(file, [AreaSearch(file.fd)(*span) for span in areas_of(file.size_bytes)])
        assert (list(found), found.lines, found.bytes) == ([], 1, file.size_bytes)


def test_search_of_a_hole_finds_nothing_at_once(tmp_path):
    path = tmp_path / "sparse.log"
    with path.open("wb") as out:
        out.write(HEAD)
        out.truncate(3 * AREA_BYTES)
        out.seek(0, 2)
        out.write(KILL)
    with open_plain(str(path), 1) as file:
        found = [AreaSearch(file.fd)(*span) for span in areas_of(file.size_bytes)]
    assert [(a.start, a.lines, bool(a.hits), a.whole) for a in found] == [
        (0, 1, True, True), (AREA_BYTES, 0, False, True), (2 * AREA_BYTES, 0, False, True), (3 * AREA_BYTES, 1, True, True)
    ]  # fmt: skip


TEXTS = [n.text for n in NEEDLES]
APART = [n for n in NEEDLES if n.apart_bytes]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([*TEXTS, *(t[2:] for t in TEXTS), b"oom", b"kill", b"\n", b" ", b"\0"]), max_size=30),
    st.integers(1, 60),
    st.integers(0, 1),
)
def test_searcher_finds_what_is_there_with_libc_and_without(parts, middle, room):
    text = b"".join(parts)
    if not text:
        return
    middle = min(middle, len(text))
    found = {(m.start(), n.role) for n in NEEDLES if n not in APART for m in re.finditer(re.escape(n.text), text)}
    apart = {m.start() for n in APART for m in re.finditer(re.escape(n.text), text)}
    for native in (True, False):
        buffer = bytearray(text + b"x" * room)
        search = searcher(buffer, native=native)
        # A needle that ends in the second part is found there, wherever it begins.
        hits = search(0, middle) + search(middle, len(text))
        assert sorted(hit for hit in hits if hit[0] not in apart) == sorted(found)
        assert bool(apart) == any(hit[0] in apart for hit in hits)
        assert buffer == text + b"x" * room


@pytest.mark.parametrize("room", [b"", b"."])
@pytest.mark.parametrize("needle", NEEDLES, ids=lambda n: n.text.decode().strip())
def test_searcher_finds_every_needle_at_both_edges_and_no_further(needle, room):
    text, size = needle.text, len(needle.text)
    assert searcher(bytearray(text + room))(0, size) == [(0, needle.role)]
    assert searcher(bytearray(text + room))(0, size - 1) == []
    assert searcher(bytearray(b".." + text + room))(size + 1, size + 2) == [(2, needle.role)]
    assert searcher(bytearray(b"\0." + text + room))(size + 1, size + 2) == [(2, needle.role)]
    assert searcher(bytearray(text + b"." + room))(size, size + 1) == []
    assert searcher(bytearray(text[1:] + room))(0, size - 1) == []


def test_native_searches_find_within_bounds_only():
    native = native_in(bytearray(b"..oom-kill..\0"))
    if native is None:
        pytest.skip("this C library has no strstr and memmem")
    for find in native:
        assert find(b"oom-kill", 0, 12) == 2
        assert find(b"oom-kill", 3, 12) == -1
        assert find(b"oom-kill", 12, 12) == -1
    assert native.memmem(b"oom-kill", 0, 9) == -1


@pytest.mark.parametrize("line", [b"", b"a", b"a" * 30, b"a" * 100, b"a" * 5000])
def test_newlines_are_counted_in_lines_of_any_length(line):
    data = b"x" + (line + b"\n") * 300 + b"end"
    assert newlines(data) == 300
    assert newlines(b"\n" + data[:200] + b"\n" * 5000) == 5001 + data.count(b"\n", 0, 200)


@pytest.mark.parametrize(
    "line",
    [  # memory.stat and table lines in their carriers, kernels 5.10 to 7.3
        b"pgsteal_kswapd 0",
        b"[    2.379979] anon 52428800",
        b"               pgsteal_kswapd 0",
        b"6,432,5042709,-;pglazyfree 0",
        b"Nov 23 09:43:57 node1 kernel: pglazyfree 0",
        b"MESSAGE=anon 52428800",
        b'{"MESSAGE":"anon 52428800","PRIORITY":"6"}',
        b"6,333,3031252,-;[    118]  1000   118    16384    15000   163840        0             0 a b",
        b"Node 0 DMA: 1*4kB (U) 0*8kB 0*16kB = 4kB",
        b"lowmem_reserve[]: 0 1945 1945 1945",
        b"[    2.910148]  out_of_memory+0x1bd/0x4e0",
        b" [<ffffffff8112d4b2>] ? dump_header",
        b"4,333,3031252,-;CPU: 0 UID: 1000 PID: 192 Comm: :(){ :|:& };: Not tainted 6.12.107",
        b"97 total pagecache pages",
        b"524158 pages RAM",
        b"active_anon:1205 inactive_anon:97 isolated_anon:0",
        b"RSP: 002b:00007ffdb4a13978 EFLAGS: 00000286",
    ],
)
def test_report_line_is_recognised(line):
    assert REPORT.search(line)


@pytest.mark.parametrize("line", [ORDINARY, b"usb 1-1: new high-speed USB device number 2 using xhci_hcd", b"Started Session 12 of user root."])
def test_report_line_ordinary_is_not(line):
    assert not REPORT.search(line)
