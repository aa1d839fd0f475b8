"""One question in several processes: the answer is that of one, whatever becomes of the others."""

from __future__ import annotations

import os
import signal

import pytest

from oomsight.pipeline import shares
from oomsight.pipeline.shares import in_shares


@pytest.fixture(params=[1, 2, 3])
def cores(request, monkeypatch) -> int:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(request.param)))
    return request.param


def test_the_answer_is_that_of_one_process(cores) -> None:
    pids = in_shares(lambda number, count: [(item, os.getpid()) for item in range(100)[number::count]], 100, 10)
    assert [item for item, _ in pids] == list(range(100))
    assert len({pid for _, pid in pids}) == cores


def test_few_items_start_no_process(cores) -> None:
    assert cores
    assert in_shares(lambda _, count: [count], 19, 10) == [1]
    assert in_shares(lambda _, count: [count] * 0, 0, 10) == []


@pytest.mark.parametrize("end", ["killed", "raises", "says what cannot be sent"])
def test_a_share_whose_process_ends_is_done_here(end, cores) -> None:
    parent = os.getpid()

    def work(number: int, count: int) -> list[object]:
        if os.getpid() != parent:
            if end == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if end == "raises":
                raise SystemExit(7)
            return [lambda: None]
        return list(range(40)[number::count])

    assert in_shares(work, 40, 10) == list(range(40))
    with pytest.raises(ChildProcessError):  # nobody is left behind
        os.waitpid(-1, os.WNOHANG)


def test_never_more_processes_than_share_well(monkeypatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert in_shares(lambda _, count: [count], 10_000, 10) == [shares.MOST_SHARES] * shares.MOST_SHARES
