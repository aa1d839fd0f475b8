"""The detector over sources that are played: one event per kill whoever says it, degraded modes, positions."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "live_events"))
from kmsg_lines import Log

from oomsight.daemons import detector as module
from oomsight.daemons.detector import Detector, Sources
from oomsight.live.counters import CgroupChange
from oomsight.live.events import Registry, Stage
from oomsight.live.silent import Mark
from oomsight.sources.errors import NotReadable, SourceError
from oomsight.sources.kmsg_follow import KmsgFollow

BOOT = "daabfa9ff3cc432fa7a9088aad548744"


class _Marks:
    """A tracepoint: a pipe to wake epoll, and the marks to give."""

    name = "oom:mark_victim"

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe2(os.O_NONBLOCK)
        self.marks: list[Mark] = []

    def fileno(self) -> int:
        return self.read_end

    def mark(self, mark: Mark) -> None:
        self.marks.append(mark)
        os.write(self.write_end, b"x")

    def read(self) -> list[Mark]:
        with contextlib.suppress(BlockingIOError):
            os.read(self.read_end, 100)
        found, self.marks = self.marks, []
        return found

    def close(self) -> None:
        os.close(self.read_end)
        os.close(self.write_end)


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A /proc, a kmsg device played by a socket, and no other source unless a test adds one."""
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("daabfa9f-f3cc-432f-a7a9-088aad548744\n")
    (tmp_path / "vmstat").write_text("a 1\noom_kill 0\n")
    (tmp_path / "mounts").write_text("")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)

    def follow(start, *, boot_id, seen_seq=0, path=""):
        first = start if isinstance(start, int) else None
        return KmsgFollow(os.dup(theirs.fileno()), boot_id=boot_id, start_seq=first, seen_seq=seen_seq)

    monkeypatch.setattr(module, "follow_kmsg", follow)
    monkeypatch.setattr(module, "follow_marks", _raise(SourceError("oom:mark_victim", "tracefs is not mounted")))
    with ours, theirs:
        yield tmp_path, ours


def _raise(error):
    def call(*_args, **_kwargs):
        raise error

    return call


class Run:
    """A detector with its events and notes."""

    def __init__(self, proc, **kwargs) -> None:
        self.events, self.notes = [], []
        self.detector = Detector(
            Sources(journal=False, proc=str(proc)), self.events.append, self.notes.append, **kwargs
        )
        self.detector.open()

    def poll(self, times: int = 1) -> None:
        for _ in range(times):
            self.detector.poll(0.1)

    def poll_until(self, done, seconds: float = 5.0) -> None:
        end = time.monotonic() + seconds
        while not done() and time.monotonic() < end:
            self.detector.poll(0.01)


def _send(sock, *records) -> None:
    for record in records:
        sock.send(record.raw)


def test_poll_tells_a_kill_and_then_its_whole_report(host) -> None:
    proc, sock = host
    run = Run(proc)
    log = Log()
    _send(sock, *log.report(), log.kill())
    run.poll()
    assert [(e.stage, e.kills[0].pid) for e in run.events[:1]] == [(Stage.PROVISIONAL, 7)]
    run.poll_until(lambda: len(run.events) == 2)  # on a busy machine it is complete before the first poll ends
    assert [e.stage for e in run.events] == [Stage.PROVISIONAL, Stage.COMPLETE]
    assert {e.event_id for e in run.events} == {run.events[0].event_id}
    assert not run.events[0].replayed
    assert run.detector.positions()["/dev/kmsg"] == (BOOT, str(log.seq + 1), str(log.seq + 1))
    run.detector.close()


def test_open_reads_what_the_log_holds_as_replay(host) -> None:
    proc, sock = host
    log = Log()
    _send(sock, *log.report(), log.kill())
    run = Run(proc)
    run.poll(3)
    assert [(e.stage, e.replayed) for e in run.events] == [(Stage.COMPLETE, True)]
    run.detector.close()


def test_open_after_a_restart_tells_what_was_missed_and_only_that(host) -> None:
    proc, sock = host
    log = Log(seq=0)
    known = [*log.report(7), log.kill(7)]
    missed = [*log.report(8), log.kill(8)]
    _send(sock, *known, *missed)
    run = Run(proc, resume={"/dev/kmsg": (BOOT, str(known[-1].position + 1), str(known[-1].position + 1))})
    run.poll(3)
    assert [(e.kills[0].pid, e.replayed) for e in run.events] == [(8, False)]
    run.detector.close()


def test_open_after_a_reboot_ignores_the_position_of_the_boot_before(host) -> None:
    proc, sock = host
    log = Log(seq=0)
    _send(sock, *log.report(7), log.kill(7))
    run = Run(proc, resume={"/dev/kmsg": ("ff" * 16, "500", "500")})
    run.poll(3)
    assert [e.kills[0].pid for e in run.events] == [7]
    run.detector.close()


def test_poll_lost_records_are_noted(host) -> None:
    proc, sock = host
    run = Run(proc)
    log = Log()
    _send(sock, log.line("one"))
    run.poll()
    log.seq += 30
    _send(sock, log.line("two"))
    run.poll()
    assert [(n.code, n.numbers["records"]) for n in run.notes] == [("records_lost", 30)]
    run.detector.close()


def test_poll_kill_the_kernel_counted_and_the_log_lacks_is_noted_with_the_name_the_tracepoint_has(
    host, monkeypatch
) -> None:
    proc, sock = host
    marks = _Marks()
    monkeypatch.setattr(module, "follow_marks", lambda: marks)
    monkeypatch.setattr(module, "CHECK_SECONDS", 2.0)
    monkeypatch.setattr(module, "RECHECK_SECONDS", 0.0)
    monkeypatch.setattr("oomsight.live.counters.CONFIRM_SECONDS", 0.0)
    run = Run(proc)
    run.poll()
    log = Log()
    marks.mark(Mark(7, 5_000_000, "python3"))
    marks.mark(Mark(8, 5_000_100, "lost", 0, 4, 2, 0, 0))
    _send(sock, *log.report(7), log.kill(7))
    (proc / "vmstat").write_text("a 1\noom_kill 2\n")
    run.poll_until(lambda: len(run.events) == 3)
    assert [(n.code, n.text) for n in run.notes] == [
        ("kills_not_in_log", "the kernel counted 2 kills, the log shows 1 (a line was lost, rate-limited or never printed)")
    ]
    assert [e.kills[0].comm for e in run.events if e.stage is Stage.COMPLETE] == ["python3", "lost"]
    run.detector.close()


def test_poll_group_kill_that_the_kernel_counts_twice_is_no_missing_kill(host, monkeypatch) -> None:
    proc, sock = host
    monkeypatch.setattr(module, "CHECK_SECONDS", 2.0)
    monkeypatch.setattr(module, "RECHECK_SECONDS", 0.0)
    monkeypatch.setattr("oomsight.live.counters.CONFIRM_SECONDS", 0.0)
    run = Run(proc)
    run.poll()
    log = Log()
    _send(sock, *log.report(7), log.kill(7), log.group(), log.kill(7), log.kill(8))
    (proc / "vmstat").write_text("a 1\noom_kill 3\n")
    run.poll_until(lambda: len(run.events) == 2)
    for _ in range(3):
        run.detector._check_counters()
    assert run.notes == []
    assert (run.detector.registry.kills[BOOT], run.detector.unseen_kills) == (2, 1)
    run.detector.close()
    again = Run(proc, known_kills=2, unseen=run.detector.unseen_kills)  # as the next agent starts, from the store
    for _ in range(3):
        again.detector._check_counters()
    assert again.notes == []
    (proc / "vmstat").write_text("a 1\noom_kill 4\n")
    for _ in range(3):
        again.detector._check_counters()
    assert [n.code for n in again.notes] == ["kills_not_in_log"]
    again.detector.close()


def test_poll_without_a_log_the_tracepoint_tells(host, monkeypatch) -> None:
    proc, _sock = host
    marks = _Marks()
    monkeypatch.setattr(module, "follow_marks", lambda: marks)
    monkeypatch.setattr(module, "follow_kmsg", _raise(NotReadable("/dev/kmsg", "operation not permitted", "be root")))
    (proc / "9").mkdir()
    (proc / "9/cgroup").write_text("0::/web.service\n")
    run = Run(proc)
    assert module.missing_words(run.detector.health)[0] == "/dev/kmsg: operation not permitted; to use it: be root"
    marks.mark(Mark(9, 5_000_000, "java", 0, 10, 5, 5, 0))
    run.poll()
    (event,) = run.events
    assert (event.stage, event.incident.report.task_memcg, event.kills[0].comm) == (Stage.COMPLETE, "/web.service", "java")
    run.detector.close()


def test_on_change_without_log_and_tracepoint_the_counter_tells(host, monkeypatch) -> None:
    proc, _sock = host
    monkeypatch.setattr(module, "follow_kmsg", _raise(SourceError("/dev/kmsg", "is not the kernel's log here")))
    run = Run(proc)
    run.detector._on_change(CgroupChange("/web", 2, {"oom": 1, "oom_kill": 1}, {"oom_kill": 4}, False))
    assert [n.code for n in run.notes] == ["counted_kill"]
    assert [(e.incident.report.task_memcg, len(e.kills)) for e in run.events] == [("/web", 1)]
    run.detector.close()


def test_take_kill_known_to_the_store_is_not_told_again(host) -> None:
    proc, sock = host
    log = Log()
    records = [*log.report(), log.kill()]
    _send(sock, *records)
    first = Run(proc)
    first.poll(3)
    (event,) = first.events
    first.detector.close()
    known = [(event.kills[0].kill_id, event.event_id, event.weight, BOOT, 7, event.time_us)]
    _send(sock, *records)
    again = Run(proc, registry=Registry(known))
    again.poll(3)
    assert again.events == []
    again.detector.close()
