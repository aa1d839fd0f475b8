"""Worker processes, once there is enough for them to do."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from oomsight.pipeline.jobs import Done, Job, work, work_apart

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor

INLINE_BYTES: Final = 768 << 10
"""Of windows parsed in this process before others are started: that costs as much as parsing a quarter of it."""
AHEAD: Final = 2
"""Jobs handed out for each worker: one to do and one at hand. More would only hold memory."""
_DIE_WITH_PARENT: Final = 1  # PR_SET_PDEATHSIG, linux/prctl.h


class Workers:
    """Runs jobs here while there are few bytes, then in processes. Results come back in the order of the jobs."""

    def __init__(self, cores: int) -> None:
        """Start nothing yet; *cores* = worker processes at most, below 2 = none."""
        self._cores = cores
        self._seen_bytes = 0
        self._pool: ProcessPoolExecutor | None = None
        self._waiting: deque[tuple[Job, Future[Done]]] = deque()

    def submit(self, job: Job) -> Iterator[tuple[Job, Done]]:
        """Take *job*; yield what has been finished meanwhile."""
        self._seen_bytes += sum(len(data) for _, data in job.windows)
        if self._pool is None:
            if self._cores < 2 or self._seen_bytes <= INLINE_BYTES:
                yield job, work(job)
                return
            self._pool = _start(self._cores)
        self._waiting.append((job, self._pool.submit(work_apart, job)))
        while self._waiting and (self._waiting[0][1].done() or len(self._waiting) > AHEAD * self._cores):
            yield self._next()

    def finish(self) -> Iterator[tuple[Job, Done]]:
        """Yield the rest."""
        while self._waiting:
            yield self._next()

    def _next(self) -> tuple[Job, Done]:
        from concurrent.futures import BrokenExecutor

        job, future = self._waiting.popleft()
        try:
            return job, future.result()
        except BrokenExecutor:
            # Somebody killed a worker, the OOM killer perhaps: go on alone.
            self._cores = 1
            self.close()
            self._pool = None
            return job, work(job)

    def close(self) -> None:
        """Stop the workers."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


def _start(cores: int) -> ProcessPoolExecutor:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # fork: the workers need the modules this process has already imported; no threads run here yet.
    return ProcessPoolExecutor(cores, mp_context=get_context("fork"), initializer=_begin)


def _begin() -> None:
    """A worker's first steps: no traceback at Ctrl-C, no life after the parent's, no copies of pages for collection."""
    import ctypes
    import gc
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    gc.freeze()
