"""Records of /dev/kmsg, from a socket that keeps them apart and from this machine."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from oomsight.sources import kmsg
from oomsight.sources.errors import SourceError
from oomsight.sources.kmsg import KmsgSource, read_records

RECORDS = [b"4,1200,5000000,-;stress invoked oom-killer\n", b"6,1201,5000010,-;usb 1-1\n SUBSYSTEM=usb\n DEVICE=c189:1\n"]


def test_read_records_one_at_a_time_until_none_left():
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with reader, writer:
        reader.setblocking(False)
        for record in RECORDS:
            writer.send(record)
        assert list(read_records(reader.fileno(), lambda: pytest.fail("nothing was overwritten"))) == RECORDS


def test_read_records_overwritten_counted_and_reading_goes_on(monkeypatch):
    answers: list[bytes | OSError] = [
        RECORDS[0], OSError(errno.EPIPE, "Broken pipe"), OSError(errno.EPIPE, "Broken pipe"), RECORDS[1],
        BlockingIOError(errno.EAGAIN, "again"),
    ]  # fmt: skip

    def read(fd: int, size: int) -> bytes:
        assert size == 8192
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(os, "read", read)
    lost: list[int] = []
    assert list(read_records(3, lambda: lost.append(1))) == RECORDS
    assert len(lost) == 2


def test_source_overwritten_records_are_said(monkeypatch):
    def records(fd, overwritten):
        yield RECORDS[0]
        overwritten()
        yield RECORDS[1]

    monkeypatch.setattr(kmsg, "open_device", lambda _: os.open(os.devnull, os.O_RDONLY))
    monkeypatch.setattr(kmsg, "read_records", records)
    source, seen = KmsgSource(), []
    assert list(source.blocks(seen.append)) == RECORDS
    assert source.overruns == 1
    assert source.notes == ["/dev/kmsg: the kernel overwrote records once while they were read"]
    assert seen == [len(RECORDS[0]), len(RECORDS[0]) + len(RECORDS[1])]


@pytest.mark.parametrize(("path", "what"), [("/dev/null", "is not the kernel's log here (a container?)"), ("/nowhere/kmsg", "no such file or directory")])
def test_source_something_else_in_its_place_says_so(path, what):
    with pytest.raises(SourceError) as caught:
        list(KmsgSource(path).blocks())
    assert str(caught.value) == f"{path}: {what}"


@pytest.mark.live
def test_source_live_records_in_sequence():
    try:
        records = list(KmsgSource().blocks())
    except SourceError as error:
        pytest.skip(str(error))
    sequence = [int(record.split(b",", 2)[1]) for record in records]
    assert sequence == sorted(set(sequence))
    assert all(record.endswith(b"\n") and b";" in record for record in records)
