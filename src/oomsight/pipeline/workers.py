"""Parsing and searching in several processes, once there is enough for them to do."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from oomsight.pipeline.jobs import Done, Job, work, work_handed

if TYPE_CHECKING:
    from oomsight.pipeline.pool import Pending, Pool
    from oomsight.sources.areas import Area
    from oomsight.sources.file_stream import PlainFile

INLINE_BYTES: Final = 256 << 10
"""Of windows parsed in this process before others are started, which costs as much as parsing these."""
INLINE_FILE_BYTES: Final = 32 << 20
"""Of a file searched in this process alone: 30 ms of work."""
AREAS_AHEAD: Final = 3
"""Areas of a file handed out ahead for each worker: one to do and some at hand."""
AREAS_MOST: Final = 32
"""Areas searched ahead at most, while a worker that is not given a core keeps us waiting. They hold only hits."""
BEHIND: Final = 16
"""Results for each worker that may wait for an older one, because results are taken in order."""


class Workers:
    """
    Runs jobs here while there are few bytes, then also in processes. Results come back in the order of the jobs.

    This process is one of those that work: it does a job itself whenever the others have enough to do, so that as
    many processes as cores are busy and nobody waits.
    """

    def __init__(self, cores: Callable[[], int]) -> None:
        """Start nothing yet; *cores* says how many processes there may be at most, this one included."""
        self._cores = cores
        self._others = 0
        self._seen_bytes = 0
        self._pool: Pool | None = None
        self._waiting: deque[tuple[Job, Pending | Done]] = deque()
        self._told = 0

    def submit(self, job: Job) -> Iterator[tuple[Job, Done]]:
        """Take *job*; yield what has been finished meanwhile."""
        self._seen_bytes += sum(len(data) for _, data in job.windows)
        if self._seen_bytes > INLINE_BYTES:
            self._start()
        pending = None
        if self._pool is not None:
            empty = job._replace(windows=[(line, b"") for line, _ in job.windows])
            pending = self._pool.hand(work_handed, empty, [data for _, data in job.windows])
        self._waiting.append((job, work(job) if pending is None else pending))
        while self._waiting and (self._is_done() or len(self._waiting) > BEHIND * max(self._others, 1)):
            yield self._next()

    def finish(self) -> Iterator[tuple[Job, Done]]:
        """Yield the rest."""
        while self._waiting:
            yield self._next()

    def areas(self, file: PlainFile) -> Iterator[Area]:
        """The areas of *file* in order, searched here and, where it is large, in the other processes, too."""
        from oomsight.sources.areas import AreaSearch, Part, areas_of, search_part

        if file.size_bytes > INLINE_FILE_BYTES:
            self._start()
        here = AreaSearch(file.fd)
        spans = areas_of(file.size_bytes)
        ahead: deque[tuple[tuple[int, int], Pending | Area | None]] = deque()

        def one_more() -> bool:
            """Search the first area that nobody has; False = there is none, or enough was searched ahead."""
            for number, (span, found) in enumerate(ahead):
                if found is None:
                    ahead[number] = (span, here(*span))
                    return True
            following = next(spans, None) if len(ahead) < AREAS_MOST else None
            if following is not None:
                ahead.append((following, here(*following)))
            return following is not None

        while True:
            while len(ahead) <= AREAS_AHEAD * self._others and (span := next(spans, None)) is not None:
                part = Part(os.path.abspath(file.path), file.identity, *span)
                ahead.append((span, self._pool.hand(search_part, part) if self._pool is not None else None))
            if not ahead:
                return
            span, found = ahead.popleft()
            if isinstance(found, tuple):
                area = found
            elif found is None:
                area = here(*span)
            else:
                while not found.done() and one_more():
                    pass
                area = found.result_or(partial(here, *span))
            yield area
            if not area.whole:
                return

    def told(self) -> Iterator[str]:
        """Who died since this was asked last, in words."""
        if self._pool is None or self._told == len(self._pool.deaths):
            return
        import signal

        for status in self._pool.deaths[self._told :]:
            self._told += 1
            by = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
            hint = " (the OOM killer, perhaps: -j1 needs less memory)" if status == -signal.SIGKILL else ""
            yield f"a process that helped was ended {by}{hint}; what it had to do was done without it"

    def close(self) -> None:
        """Stop the workers."""
        if self._pool is not None:
            self._pool.close()
            self._pool, self._others = None, 0

    def _start(self) -> None:
        """Start the workers, unless that was done or there is but one core."""
        if self._pool is None and (others := self._cores() - 1) > 0:
            from oomsight.pipeline.pool import Pool

            self._pool = Pool(others)
            self._others = others

    def _is_done(self) -> bool:
        done = self._waiting[0][1]
        return isinstance(done, Done) or done.done()

    def _next(self) -> tuple[Job, Done]:
        job, done = self._waiting.popleft()
        return job, done if isinstance(done, Done) else done.result_or(partial(work, job))
