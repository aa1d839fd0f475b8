"""
A real OOM kill that can hurt nobody: one process of ours, in a cgroup of ours, at a small limit.

Nothing is decided here: :mod:`oomsight.drill.plan` says where, and refuses. Whatever happens, process and cgroup go.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final

from oomsight.alerts.facts import DRILL_PREFIX
from oomsight.drill.plan import MOST_BYTES, PROCESS_NAME

if TYPE_CHECKING:
    from oomsight.drill.plan import Plan

TIMEOUT_SECONDS: Final = 15.0  #: to fill 32 MiB and be killed takes milliseconds, on a machine under load a second

_CHILD: Final = f"""
import mmap, os, sys
with open("/proc/self/oom_score_adj", "w") as f:
    f.write("1000")
with open("/proc/self/comm", "w") as f:
    f.write({PROCESS_NAME!r})
os.write(1, b"r")
if os.read(0, 1) != b"g":
    sys.exit(2)
held = []
for _ in range({MOST_BYTES >> 20}):
    area = mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, 1 << 20, 4096):
        area[at] = 1
    held.append(area)
    os.write(1, b".")
sys.exit(3)
"""
"""It says "r" when it is ready, waits for "g" (the end of input, should we die, ends it), says "." for each MiB."""

_ENDS: Final = {
    2: "it was never let go",
    3: f"it took {MOST_BYTES >> 20} MiB and was not killed: the limit does not hold",
}


@dataclass(frozen=True, slots=True)
class Kill:
    """What became of the process."""

    pid: int | None  #: as we number it; ``None`` of a dry run
    killed: bool
    at: float  #: CLOCK_MONOTONIC of its last sign of life, at most one MiB before the kill
    counted: int | None  #: ``oom_kill`` of the scratch cgroup; ``None`` = this kernel has no such counter
    words: str = ""  #: why it was not killed


class Scratch:
    """
    The cgroup, for as long as the ``with`` block lasts.

    Raises :class:`OSError` when it cannot be made; then nothing is left either.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Scratch:
        remove_leftovers(os.path.dirname(self.plan.directory))
        os.mkdir(self.plan.directory)
        try:
            self._limit()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._remove()

    def kill(self, *, dry_run: bool = False) -> Kill:
        """Start the process, let it take memory and wait for its end."""
        if dry_run:
            return Kill(None, False, time.monotonic(), None, "a dry run kills nobody")
        command = [sys.executable, "-I", "-S", "-c", _CHILD]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=True)
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        until = time.monotonic() + TIMEOUT_SECONDS
        last = time.monotonic()
        if self._hears(process, until) != b"r":
            return Kill(process.pid, False, last, None, "its process could not be started")
        self._write("cgroup.procs", str(process.pid))
        process.stdin.write(b"g")
        process.stdin.flush()
        while heard := self._hears(process, until):
            last = time.monotonic()
            del heard
        try:
            status = process.wait(max(until - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            hung = f"it did not end within {TIMEOUT_SECONDS:.0f} s: is the OOM killer disabled?"
            return Kill(process.pid, False, last, self.counted(), hung)
        counted = self.counted()
        if status == -signal.SIGKILL and counted != 0:
            return Kill(process.pid, True, last, counted)
        words = _ENDS.get(status) or ("somebody else killed it" if status == -signal.SIGKILL else f"status {status}")
        return Kill(process.pid, False, last, counted, words)

    def counted(self) -> int | None:
        """Return the kernel's count of kills in the scratch cgroup; ``None`` = not known."""
        name = "memory.events" if self.plan.version == 2 else "memory.oom_control"
        with suppress(OSError), open(f"{self.plan.directory}/{name}", encoding="ascii") as file:
            for line in file:
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    return int(value)
        return None

    # -----------------------------------------------------------------------------------------------------------------

    def _limit(self) -> None:
        limit = str(self.plan.limit_bytes)
        if self.plan.version == 2:
            self._write("memory.max", limit)
            self._write("memory.swap.max", "0", must=False)  # not there without swap accounting
            return
        self._write("memory.limit_in_bytes", limit)
        self._write("memory.swappiness", "0", must=False)
        self._write("memory.memsw.limit_in_bytes", limit, must=False)

    def _write(self, name: str, text: str, *, must: bool = True) -> None:
        try:
            with open(f"{self.plan.directory}/{name}", "w", encoding="ascii") as file:
                file.write(text)
        except OSError:
            if must:
                raise

    @staticmethod
    def _hears(process: subprocess.Popen[bytes], until: float) -> bytes:
        """The next sign of life; empty = the end, or no time is left."""
        assert process.stdout is not None
        fd = process.stdout.fileno()
        ready = select.select([fd], [], [], max(until - time.monotonic(), 0.0))[0]
        return os.read(fd, 1) if ready else b""

    def _remove(self) -> None:
        process = self._process
        if process is not None:
            if process.poll() is None:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
        for _ in range(100):  # a dying process still counts as one for a moment
            try:
                os.rmdir(self.plan.directory)
                return
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.02)


def remove_leftovers(directory: str) -> list[str]:
    """Remove empty scratch cgroups a drill left that was killed itself; return their names."""
    gone = []
    with suppress(OSError):
        for name in sorted(os.listdir(directory)):
            if name.startswith(DRILL_PREFIX) and name.removeprefix(DRILL_PREFIX).isdecimal():
                with suppress(OSError):  # not empty: it is at work
                    if not os.path.exists(f"/proc/{name.removeprefix(DRILL_PREFIX)}"):
                        os.rmdir(f"{directory}/{name}")
                        gone.append(name)
    return gone
