"""Processes that do pieces of work: right answers, no waiting for each other, deaths that are told, nothing left behind."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from oomsight.pipeline import pool
from oomsight.pipeline.pool import AHEAD, SLOT_BYTES, LostError, Pool


def turned(number: int, pieces: list[bytes]) -> tuple[int, list[bytes]]:
    """Something to do."""
    return -number, [piece[::-1] for piece in pieces]


def large(size: int, _: list[bytes]) -> bytes:
    """An answer larger than any pipe."""
    return b"x" * size


def dies(number: int, _: list[bytes]) -> None:
    """End as the OOM killer would have it."""
    os.kill(os.getpid(), number)


def fails(_number: int, _: list[bytes]) -> None:
    """Raise something."""
    raise ValueError


@pytest.fixture
def two():
    """Two workers, gone afterwards."""
    made = Pool(2)
    pids = [worker.pid for worker in made._workers]
    yield made
    made.close()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_answers_are_those_of_their_pieces(two):
    handed = []
    for number in range(60):
        pieces = [b"%d" % n * 1000 for n in range(number % 3)]
        while (pending := two.hand(turned, number, pieces)) is None:
            two.look(None)
        handed.append((number, pieces, pending))
    for number, pieces, pending in reversed(handed):
        assert pending.result() == turned(number, pieces)


def test_a_worker_gets_no_more_than_it_can_have_at_hand(two):
    os.kill(two._workers[0].pid, signal.SIGSTOP)
    os.kill(two._workers[1].pid, signal.SIGSTOP)
    handed = [two.hand(turned, number) for number in range(2 * AHEAD + 1)]
    assert [pending is None for pending in handed] == [False] * 2 * AHEAD + [True]
    for worker in two._workers:
        os.kill(worker.pid, signal.SIGCONT)
    assert [p.result()[0] for p in handed[:-1] if p] == [-n for n in range(2 * AHEAD)]


def test_answers_larger_than_a_pipe_come_whole(two):
    handed = [two.hand(large, 3 << 20) for _ in range(4)]
    assert [len(pending.result()) for pending in handed if pending] == [3 << 20] * 4


def test_what_is_too_large_is_not_taken(two):
    assert two.hand(turned, 0, [b"x" * (SLOT_BYTES + 1)]) is None
    assert two.hand(turned, "x" * (64 << 10)) is None
    whole = two.hand(turned, 1, [b"a" * SLOT_BYTES])
    assert whole is not None
    assert whole.result() == (-1, [b"a" * SLOT_BYTES])


def test_what_a_dead_worker_had_is_lost_and_nothing_else(two):
    one = two.hand(dies, signal.SIGKILL)
    others = [two.hand(turned, number) for number in range(3)]
    lost = 0
    for number, pending in enumerate(others):
        try:
            assert pending is None or pending.result()[0] == -number
        except LostError:  # the same worker had it
            lost += 1
        lost += pending is None  # or would have had it, and was dead by then
    with pytest.raises(LostError):
        one.result()
    assert lost < 3
    assert two.deaths == [-signal.SIGKILL]
    assert two.hand(turned, 7).result()[0] == -7


def test_nobody_left_nothing_is_taken(two):
    for _ in range(2):
        two.hand(dies, signal.SIGTERM)
    while len(two.deaths) < 2:
        two.look(None)
    assert two.hand(turned, 1) is None


def test_a_failure_is_no_death(two):
    with pytest.raises(LostError):
        two.hand(fails, 1).result()
    assert two.deaths == []
    assert two.hand(turned, 2).result()[0] == -2


def test_no_process_may_be_started(monkeypatch):
    def refuse():
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(pool.os, "fork", refuse)
    none = Pool(2)
    assert none.hand(turned, 1) is None
    none.close()
    assert len(os.listdir("/proc/self/fd")) == before
