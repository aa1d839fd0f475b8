"""
A few processes that do pieces of work, without threads: to each a pipe for what to do and one back for what came of it.

What is large goes to a worker through memory shared with it, so that a pipe never fills while nobody reads and the one
who hands out work never waits. A worker that dies takes only its own pieces with it, and those are known.
"""

from __future__ import annotations

import os
import select
import signal
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from mmap import mmap
from pickle import HIGHEST_PROTOCOL, dumps, loads
from typing import Any, Final, NoReturn, TypeVar

T = TypeVar("T")

AHEAD: Final = 4  #: pieces of a worker not yet answered: one to do and some at hand
SLOTS: Final = 2  #: of them with bytes of their own
SLOT_BYTES: Final = 1 << 20
_MESSAGE_BYTES: Final = 12 << 10  #: so that as many as a worker may have fit into its pipe
_RESULTS_BYTES: Final = 1 << 20  #: of a pipe back, where the kernel lets us
_SIZE_BYTES: Final = 8  #: of a message's length
_SET_PIPE_SIZE: Final = 1031  # F_SETPIPE_SZ, linux/fcntl.h
_DIE_WITH_PARENT: Final = 1  # PR_SET_PDEATHSIG, linux/prctl.h

Call = Callable[[Any, list[bytes]], Any]
"""What a worker does: a function of a module, given what can be pickled and some bytes."""


class LostError(Exception):
    """A piece of work that was not done: its worker died, or it failed there. Whoever wants it done does it."""


class Pending:
    """A piece of work handed out."""

    def __init__(self, pool: Pool, slot: int | None) -> None:
        self.slot = slot
        self.ready = False
        self._pool = pool
        self._answer: tuple[bool, Any] = (False, None)

    def done(self) -> bool:
        """Whether the answer is there, or will never be."""
        if not self.ready:
            self._pool.look(0)
        return self.ready

    def result(self) -> Any:
        """The answer, waited for. Raises :class:`LostError`."""
        while not self.ready:
            self._pool.look(None)
        good, answer = self._answer
        if not good:
            raise LostError
        return answer

    def result_or(self, do: Callable[[], T]) -> T:
        """The answer, waited for; where it is lost (the OOM killer, perhaps), what *do* gives, done here."""
        try:
            answer: T = self.result()
        except LostError:
            answer = do()
        return answer

    def settle(self, answer: tuple[bool, Any]) -> None:
        """Take the answer."""
        self._answer, self.ready = answer, True


class Worker:
    """One process, seen from the one that started it."""

    def __init__(self) -> None:
        """Start it. Raises ``OSError``."""
        self.pending: deque[Pending] = deque()
        self.slots = list(range(SLOTS))
        self.shared = mmap(-1, SLOTS * SLOT_BYTES)
        self._came = bytearray()
        there_jobs, self._jobs = os.pipe()
        self.results, there_results = os.pipe()
        try:
            self.pid = os.fork()
        except OSError:
            for end in (there_jobs, self._jobs, self.results, there_results):
                os.close(end)
            raise
        if not self.pid:
            os.close(self._jobs)
            os.close(self.results)
            _serve(there_jobs, there_results, self.shared)
        os.close(there_jobs)
        os.close(there_results)

    def send(self, message: bytes) -> bool:
        """Hand over *message*; False = nobody is there any more."""
        try:
            _write(self._jobs, len(message).to_bytes(_SIZE_BYTES, "little") + message)
        except OSError:
            return False
        return True

    def receive(self) -> bool:
        """Take what came back; False = nothing will any more."""
        piece = os.read(self.results, _RESULTS_BYTES)
        self._came += piece
        while len(self._came) >= _SIZE_BYTES:
            end = _SIZE_BYTES + int.from_bytes(self._came[:_SIZE_BYTES], "little")
            if len(self._came) < end:
                break
            done = self.pending.popleft()
            done.settle(loads(self._came[_SIZE_BYTES:end]))
            if done.slot is not None:
                self.slots.append(done.slot)
            del self._came[:end]
        return bool(piece)

    def end(self) -> int:
        """End the process and return how it ended, as ``Popen.returncode`` has it; what it had is lost."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        status = -signal.SIGKILL
        with suppress(ChildProcessError):
            status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self._jobs)
        os.close(self.results)
        self.shared.close()
        for pending in self.pending:
            pending.settle((False, None))
        self.pending.clear()
        return status


class Pool:
    """Some workers, forked from this process: they have what it has imported, and end with it."""

    def __init__(self, count: int) -> None:
        """Start *count* workers, or as many as the system lets us."""
        self.deaths: list[int] = []  #: how workers ended that nobody had told to
        self._workers: list[Worker] = []
        with suppress(OSError):
            for _ in range(count):
                self._workers.append(Worker())

    def hand(self, call: Call, argument: Any, pieces: Sequence[bytes] = ()) -> Pending | None:
        """Give a piece of work to whoever has least to do; ``None`` = all have enough, or it is too large."""
        size = sum(map(len, pieces))
        able = [w for w in self._workers if len(w.pending) < AHEAD and (w.slots or not pieces)]
        if not able or size > SLOT_BYTES:
            return None
        worker = min(able, key=lambda one: len(one.pending))
        slot = worker.slots[-1] if pieces else None
        ends = [(slot or 0) * SLOT_BYTES]
        for piece in pieces:
            ends.append(ends[-1] + len(piece))
            worker.shared[ends[-2] : ends[-1]] = piece
        message = dumps((call, argument, ends), HIGHEST_PROTOCOL)
        if len(message) > _MESSAGE_BYTES:
            return None
        if not worker.send(message):
            self._bury(worker)
            return None
        if slot is not None:
            worker.slots.remove(slot)
        pending = Pending(self, slot)
        worker.pending.append(pending)
        return pending

    def look(self, seconds: float | None) -> None:
        """Take the answers that are there; wait so long for one (``None`` = until one comes)."""
        of = {worker.results: worker for worker in self._workers}
        for end in select.select(list(of), [], [], seconds)[0]:
            if not of[end].receive():
                self._bury(of[end])

    def close(self) -> None:
        """End the workers; what they had is lost."""
        for worker in self._workers:
            worker.end()
        self._workers.clear()

    def _bury(self, worker: Worker) -> None:
        self._workers.remove(worker)
        self.deaths.append(worker.end())


def _write(to: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(to, view) :]


def _serve(jobs: int, results: int, shared: mmap) -> NoReturn:
    """The life of a worker."""
    try:
        _begin()
        with suppress(OSError):
            import fcntl

            fcntl.fcntl(results, _SET_PIPE_SIZE, _RESULTS_BYTES)
        with os.fdopen(jobs, "rb") as come:
            while size := come.read(_SIZE_BYTES):
                call, argument, ends = loads(come.read(int.from_bytes(size, "little")))
                pieces = [shared[a:b] for a, b in pairwise(ends)]
                try:
                    answer = dumps((True, call(argument, pieces)), HIGHEST_PROTOCOL)
                except Exception:
                    answer = dumps((False, None))  # fails again where it is done next, and is told there
                _write(results, len(answer).to_bytes(_SIZE_BYTES, "little") + answer)
    finally:
        os._exit(0)  # whatever it was, this process must not go on as if it were its parent


def _begin() -> None:
    """A worker's first steps: no traceback at Ctrl-C, no life after the parent's, no copies of pages for collection."""
    import ctypes
    import gc

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a handler of the parent's is about the parent
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    gc.freeze()
