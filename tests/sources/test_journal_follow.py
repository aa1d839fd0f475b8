"""The journal by cursor: the export format in pieces, who is believed, and a journalctl that ends."""

from __future__ import annotations

import os
import select
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.report import parse_text
from oomsight.sources.errors import SourceError
from oomsight.sources.journal_follow import ExportParser, JournalFollow, record_of

KILL = b"Out of memory: Killed process 9 (a\xffb) total-vm:4kB, anon-rss:2kB, file-rss:0kB, shmem-rss:0kB"
ENTRY = {
    "__CURSOR": b"s=1;i=2", "__REALTIME_TIMESTAMP": b"1795430000000000", "_BOOT_ID": b"c" * 32, "_TRANSPORT": b"kernel",
    "SYSLOG_FACILITY": b"0", "_SOURCE_MONOTONIC_TIMESTAMP": b"5000010", "_HOSTNAME": b"web-1", "MESSAGE": KILL,
}  # fmt: skip


def _export(entry) -> bytes:
    out = b""
    for name, value in entry.items():
        if b"\n" in value or b"\xff" in value:
            out += name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
        else:
            out += name.encode() + b"=" + value + b"\n"
    return out + b"\n"


@given(cuts=st.lists(st.integers(0, 600), max_size=6))
def test_feed_in_any_pieces_gives_the_same_entries(cuts) -> None:
    data = _export(ENTRY) + _export({**ENTRY, "MESSAGE": b"two\nlines", "__CURSOR": b"s=1;i=3"})
    parser, found = ExportParser(), []
    edges = [0, *sorted(min(c, len(data)) for c in cuts), len(data)]
    for a, b in pairwise(edges):
        found += parser.feed(data[a:b])
    assert found == [ENTRY, {**ENTRY, "MESSAGE": b"two\nlines", "__CURSOR": b"s=1;i=3"}]


def test_record_of_kernel_entry_has_printks_clock_and_can_be_parsed() -> None:
    record = record_of(ENTRY)
    assert record is not None
    assert (record.time_us, record.position, record.boot_id, record.trusted) == (5000010, "s=1;i=2", "c" * 32, True)
    (report,) = parse_text(record.raw)
    assert (report.victims[0].pid, report.when.uptime_s, report.when.host) == (9, 5.00001, "web-1")
    assert report.when.time == "2026-11-23T10:33:20.000000+00:00"


@pytest.mark.parametrize(("fields", "believed"), [
    ({"SYSLOG_IDENTIFIER": b"systemd-oomd", "_SYSTEMD_UNIT": b"systemd-oomd.service", "_UID": b"996"}, True),
    ({"SYSLOG_IDENTIFIER": b"earlyoom", "_SYSTEMD_UNIT": b"custom.service", "_UID": b"0"}, True),
    ({"SYSLOG_IDENTIFIER": b"earlyoom", "_SYSTEMD_UNIT": b"user@1000.service", "_UID": b"1000"}, False),
    ({"SYSLOG_IDENTIFIER": b"kernel", "_UID": b"0"}, False),
])  # fmt: skip
def test_record_of_userspace_line_is_checked_against_its_sender(fields, believed) -> None:
    entry = {**ENTRY, "_TRANSPORT": b"syslog", **fields}
    record = record_of(entry)
    assert (record is not None and record.killer) == believed


def test_record_of_kmsg_written_by_user_space_is_not_trusted() -> None:
    record = record_of({**ENTRY, "SYSLOG_FACILITY": b"1"})
    assert record is not None
    assert not record.trusted


@pytest.fixture
def journal(tmp_path):
    """A journalctl of our own that prints what a file holds, notes its arguments and ends when told."""
    (tmp_path / "log").mkdir()
    (tmp_path / "log/x.journal").write_text("")
    script = tmp_path / "journalctl"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/args\ncat {tmp_path}/data\n[ -e {tmp_path}/end ] || exec sleep 60\n')
    script.chmod(0o755)
    (tmp_path / "data").write_bytes(_export(ENTRY))
    return tmp_path, JournalFollow(directory=str(tmp_path / "log"), program=str(script))


def _wait(follow):
    ready, _, _ = select.select([follow.fileno()], [], [], 10)
    assert ready
    return follow.read()


def test_read_gives_records_and_goes_on_from_the_cursor_after_a_restart(journal) -> None:
    folder, follow = journal
    (folder / "end").write_text("")
    follow.start()
    assert [r.position for r in _wait(follow)] == ["s=1;i=2"]
    assert _wait(follow) is None
    assert 0 < follow.retry_seconds() - time.monotonic() <= 1.0
    follow.start()
    _wait(follow)
    follow.close()
    first, second = (folder / "args").read_text().splitlines()
    assert "--no-tail" in first
    assert "--after-cursor" not in first
    assert "--after-cursor=s=1;i=2" in second
    assert follow.restarts == 1


def test_open_without_a_journal_says_so(tmp_path) -> None:
    with pytest.raises(SourceError, match="keeps no journal"):
        JournalFollow(directory=str(tmp_path / "none"), program="/bin/true")
    with pytest.raises(SourceError, match="is not installed"):
        JournalFollow(program="no-such-journalctl")


def test_close_ends_the_program(journal) -> None:
    _, follow = journal
    follow.start()
    _wait(follow)
    pid = follow._process.pid
    follow.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
