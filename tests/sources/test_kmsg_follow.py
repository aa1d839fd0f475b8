"""Following /dev/kmsg, played by a packet socket: one record per read, EPIPE where records were overwritten."""

from __future__ import annotations

import errno
import os
import socket
import time

import pytest

from oomsight.sources import kmsg, kmsg_early
from oomsight.sources.errors import SourceError
from oomsight.sources.kmsg_early import EarlyReader
from oomsight.sources.kmsg_follow import BATCH_RECORDS, KmsgFollow

BOOT = "b" * 32


@pytest.fixture
def device():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs.fileno()


def _send(sock, seq, text="x", prio=6):
    sock.send(f"{prio},{seq},{seq * 1000},-;{text}\n SUBSYSTEM=pci\n".encode())


def test_read_gives_each_record_once_with_its_place_and_clock(device) -> None:
    sock, fd = device
    follow = KmsgFollow(fd, boot_id=BOOT)
    _send(sock, 5, "hello; world")
    _send(sock, 6)
    first, second = follow.read()
    assert (first.text, first.position, first.time_us, first.boot_id) == ("hello; world", 5, 5000, BOOT)
    assert first.raw == b"6,5,5000,-;hello; world\n"  # the dictionary behind it is left out
    assert (second.position, follow.next_seq, follow.drained, follow.lost) == (6, 7, True, 0)
    assert follow.read() == []


@pytest.mark.parametrize(("prio", "text", "trusted", "killer"), [
    (3, "Out of memory: Killed process 1 (a)", True, False), (11, "Out of memory: Killed process 1 (a)", False, False),
    (14, "oomd kill: 1 2 3 a 4 ", False, True), (6, "oomd kill: 1 2 3 a 4 ", True, False),
])  # fmt: skip
def test_read_trusts_facility_kern_alone(device, prio, text, trusted, killer) -> None:
    sock, fd = device
    _send(sock, 1, text, prio)
    (record,) = KmsgFollow(fd, boot_id=BOOT).read()
    assert (record.trusted, record.killer) == (trusted, killer)


def test_what_was_read_before_anybody_followed_comes_first_and_nothing_twice(device) -> None:
    sock, fd = device
    for seq in (9, 10):
        _send(sock, seq)
    early = EarlyReader(os.dup(fd))
    _send(sock, 11)
    until(lambda: len(early.records) == 3)
    begun = early.take()
    _send(sock, 12)
    follow = KmsgFollow(begun.fd, boot_id=BOOT, start_seq=10, begun=begun)
    assert [r.position for r in follow.read()] == [10, 11, 12]
    assert (follow.fresh, follow.drained, follow.lost) == (False, True, 0)
    _send(sock, 13)
    assert [r.position for r in follow.read()] == [13]
    assert follow.fresh
    follow.close()


def test_early_reading_is_handed_over_once_or_dropped(monkeypatch) -> None:
    monkeypatch.setattr(kmsg_early, "open_device", lambda _: os.open(os.devnull, os.O_RDONLY | os.O_NONBLOCK))
    kmsg_early.begin()
    begun = kmsg_early.take()
    assert begun is not None
    os.close(begun.fd)
    assert kmsg_early.take() is None
    kmsg_early.begin()
    kmsg_early.drop()
    assert kmsg_early.take() is None
    monkeypatch.setattr(kmsg_early, "open_device", _refuse)
    kmsg_early.begin()  # said by whoever follows the log
    assert kmsg_early.take() is None


def _refuse(_: str) -> int:
    raise SourceError("/dev/kmsg", "operation not permitted")


def until(done, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def test_read_skips_what_was_read_and_counts_what_was_overwritten(device) -> None:
    sock, fd = device
    for seq in (9, 10, 20):
        _send(sock, seq)
    follow = KmsgFollow(fd, boot_id=BOOT, start_seq=10)
    assert [r.position for r in follow.read()] == [10, 20]
    assert follow.lost == 9


def test_read_hole_an_earlier_reader_has_seen_is_no_loss(device) -> None:
    sock, fd = device
    _send(sock, 20)
    follow = KmsgFollow(fd, boot_id=BOOT, start_seq=10, seen_seq=18)
    follow.read()
    assert follow.lost == 2


def test_read_goes_on_after_an_overrun(device, monkeypatch) -> None:
    sock, fd = device
    follow = KmsgFollow(fd, boot_id=BOOT)
    _send(sock, 1)
    follow.read()
    _send(sock, 7)
    real, fails = os.read, [OSError(errno.EPIPE, "overwritten")]
    monkeypatch.setattr(kmsg.os, "read", lambda *a: (_ for _ in ()).throw(fails.pop()) if fails else real(*a))
    assert [r.position for r in follow.read()] == [7]
    assert (follow.overruns, follow.lost) == (1, 5)


def test_read_stops_at_a_batch_and_says_that_there_is_more(device) -> None:
    sock, fd = device
    follow = KmsgFollow(fd, boot_id=BOOT)
    records = 0
    sock.setblocking(False)
    sent = 0
    while sent < BATCH_RECORDS + 10:
        try:
            while sent < BATCH_RECORDS + 10:
                _send(sock, sent)
                sent += 1
        except BlockingIOError:
            break
    records = len(follow.read())
    assert records == min(sent, BATCH_RECORDS)
    assert follow.drained == (sent < BATCH_RECORDS)


def test_read_broken_record_is_left_out(device) -> None:
    sock, fd = device
    sock.send(b"nonsense")
    _send(sock, 2)
    assert [r.position for r in KmsgFollow(fd, boot_id=BOOT).read()] == [2]


def test_read_clock_follows_a_jump_of_the_wall_clock(device, monkeypatch) -> None:
    sock, fd = device
    follow = KmsgFollow(fd, boot_id=BOOT)
    follow.read()
    monkeypatch.setattr("oomsight.sources.kmsg_follow.time.time_ns", lambda: 1_800_000_000_000_000_000)
    _send(sock, 3)
    follow.read()
    assert follow.boot_wall_us == 1_800_000_000_000_000 - 3000
