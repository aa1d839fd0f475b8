"""Worker processes, once there is enough for them to do."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from oomsight.pipeline.jobs import Done, Job, work, work_apart

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor

INLINE_BYTES: Final = 256 << 10
"""Of windows parsed in this process before others are started, which costs as much as parsing these."""
AHEAD: Final = 2
"""Jobs handed out for each worker: one to do and one at hand. More would only hold memory."""
BEHIND: Final = 8
"""Results for each worker that may wait for an older one, because results are taken in order."""
_DIE_WITH_PARENT: Final = 1  # PR_SET_PDEATHSIG, linux/prctl.h


class Workers:
    """
    Runs jobs here while there are few bytes, then also in processes. Results come back in the order of the jobs.

    This process is one of those that work: it does a job itself whenever the others have enough to do, so that as
    many processes as cores are busy and nobody waits.
    """

    def __init__(self, cores: int) -> None:
        """Start nothing yet; *cores* = processes at most, this one included."""
        self._others = cores - 1
        self._seen_bytes = 0
        self._pool: ProcessPoolExecutor | None = None
        self._waiting: deque[tuple[Job, Future[Done] | Done]] = deque()

    def submit(self, job: Job) -> Iterator[tuple[Job, Done]]:
        """Take *job*; yield what has been finished meanwhile."""
        self._seen_bytes += sum(len(data) for _, data in job.windows)
        if self._pool is None and self._others > 0 and self._seen_bytes > INLINE_BYTES:
            self._pool = start(self._others)
        busy = sum(not isinstance(done, Done) and not done.done() for _, done in self._waiting)
        future = self._hand_over(job) if busy < AHEAD * self._others else None
        self._waiting.append((job, work(job) if future is None else future))
        while self._waiting and (self._is_done() or len(self._waiting) > BEHIND * self._others):
            yield self._next()

    def finish(self) -> Iterator[tuple[Job, Done]]:
        """Yield the rest."""
        while self._waiting:
            yield self._next()

    def close(self) -> None:
        """Stop the workers."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _hand_over(self, job: Job) -> Future[Done] | None:
        """Give *job* to a worker; ``None`` = there is none."""
        if self._pool is None:
            return None
        from concurrent.futures import BrokenExecutor

        try:
            return self._pool.submit(work_apart, job)
        except BrokenExecutor:
            self._go_on_alone()
            return None

    def _go_on_alone(self) -> None:
        """Somebody killed a worker, the OOM killer perhaps."""
        self._others = 0
        self.close()

    def _is_done(self) -> bool:
        done = self._waiting[0][1]
        return isinstance(done, Done) or done.done()

    def _next(self) -> tuple[Job, Done]:
        job, done = self._waiting.popleft()
        if isinstance(done, Done):
            return job, done
        from concurrent.futures import BrokenExecutor

        try:
            return job, done.result()
        except BrokenExecutor:
            self._go_on_alone()
            return job, work(job)


def start(count: int) -> ProcessPoolExecutor:
    """Return a pool of *count* processes that share what this one has imported and end with it."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # fork: the workers need the modules this process has already imported; no threads run here yet.
    return ProcessPoolExecutor(count, mp_context=get_context("fork"), initializer=begin)


def begin() -> None:
    """A worker's first steps: no traceback at Ctrl-C, no life after the parent's, no copies of pages for collection."""
    import ctypes
    import gc
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    gc.freeze()
