"""One question in several processes at once, where the machine has the cores: each answers for its share."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import zip_longest
from typing import Any, Final, TypeVar

MOST_SHARES: Final = 4  #: each reads the same indexes: more of them would mostly do that

_NOTHING: Final[Any] = object()

T = TypeVar("T")


def in_shares(work: Callable[[int, int], list[T]], items: int, least: int) -> list[T]:
    """
    The answers of ``work(0, n)`` … ``work(n - 1, n)`` by turns, as ``work(0, 1)`` would give them. *n*: one for each
    core, and so few that each has *least* of all *items* to do. A share whose process ends is done here again.
    """
    count = max(min(len(os.sched_getaffinity(0)), MOST_SHARES, items // least), 1)
    others = [aside(partial(work, number, count)) for number in range(1, count)]
    with nothing_collected():
        shares = [work(0, count), *(other() for other in others)]
    turns = zip_longest(*shares, fillvalue=_NOTHING)
    return [one for turn in turns for one in turn if one is not _NOTHING]


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Columns of numbers have no circles: looking for such garbage again and again is a tenth of the work on them."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def aside(work: Callable[[], T]) -> Callable[[], T]:
    """
    Begin *work* in a process of its own; what is returned waits for its answer, and does the work here if the process
    ended without one.
    """
    pid, end = _child(work)

    def answer() -> T:
        with os.fdopen(end, "rb") as pipe:
            try:
                found: T = pickle.load(pipe)
            except (EOFError, OSError, pickle.UnpicklingError):
                found = work()
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)
        return found

    return answer


def _child(work: Callable[[], object]) -> tuple[int, int]:
    """Start the process for a piece of work: its pid, and the end of a pipe at which its answer comes."""
    sys.stdout.flush()
    sys.stderr.flush()
    here, there = os.pipe()
    pid = os.fork()
    if pid:
        os.close(there)
        return pid, here
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback at Ctrl-C
        gc.disable()  # no copies of pages for collection
        answer = pickle.dumps(work(), pickle.HIGHEST_PROTOCOL)
        with os.fdopen(there, "wb") as pipe:
            pipe.write(answer)
    finally:
        os._exit(0)  # whatever it was, this process must not go on as if it were its parent
