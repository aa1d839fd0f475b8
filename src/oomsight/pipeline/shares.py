"""One question in several processes at once, where the machine has the cores: each answers for its share."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import zip_longest
from typing import Any, Final, TypeVar

from oomsight.pipeline.workers import begin

MOST_SHARES: Final = 4  #: each reads the same indexes: more of them would mostly do that

_NOTHING: Final[Any] = object()

T = TypeVar("T")


def in_shares(work: Callable[[int, int], list[T]], items: int, least: int) -> list[T]:
    """
    The answers of ``work(0, n)`` … ``work(n - 1, n)`` by turns, as ``work(0, 1)`` would give them. *n*: one for each
    core, and so few that each has *least* of all *items* to do. A share whose process ends is done here again.
    """
    count = max(min(len(os.sched_getaffinity(0)), MOST_SHARES, items // least), 1)
    sys.stdout.flush()
    sys.stderr.flush()
    children = [(number, *_child(work, number, count)) for number in range(1, count)]
    shares = {0: work(0, count)}
    for number, pid, end in children:
        with os.fdopen(end, "rb") as pipe:
            try:
                shares[number] = pickle.load(pipe)
            except (EOFError, OSError, pickle.UnpicklingError):
                shares[number] = work(number, count)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)
    turns = zip_longest(*[shares[number] for number in range(count)], fillvalue=_NOTHING)
    return [one for turn in turns for one in turn if one is not _NOTHING]


def _child(work: Callable[[int, int], list[T]], number: int, count: int) -> tuple[int, int]:
    """Start the process for a share: its pid, and the end of a pipe at which its answer comes."""
    here, there = os.pipe()
    pid = os.fork()
    if pid:
        os.close(there)
        return pid, here
    try:
        begin()
        answer = pickle.dumps(work(number, count), pickle.HIGHEST_PROTOCOL)
        with os.fdopen(there, "wb") as pipe:
            pipe.write(answer)
    finally:
        os._exit(0)  # whatever it was, this process must not go on as if it were its parent
