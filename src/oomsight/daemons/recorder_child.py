"""The memory recorder as the agent's child: a process of its own, so that neither slows the other or takes it along."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import oomsight
from oomsight.daemons.recorder import BUSY_STATUS

AGAIN_SECONDS: Final = 10.0  #: after it ended by itself
BUSY_SECONDS: Final = 300.0  #: while another recorder writes the same history, or it cannot be written
END_SECONDS: Final = 10.0  #: for it to pack what it has
UNWRITABLE_STATUS: Final = 4  #: of ``oomsight record`` whose store cannot be opened
WHY: Final = {BUSY_STATUS: "another records into it", UNWRITABLE_STATUS: "it cannot be written, see the line above"}
_START: Final = "from oomsight.cli.entry import main; main()"


class RecorderChild:
    """Keeps one recorder running from :meth:`start` to :meth:`close`. It also ends by itself when this process does."""

    def __init__(
        self, directory: str, say: Callable[[str], None], *, max_mib: int, interval_seconds: int | None = None
    ) -> None:
        """*directory*: its history; *interval_seconds*: ``None`` = as the pace says."""
        self.directory = directory
        self._say = say
        self._options = ["--store", directory, "--max-mib", str(max_mib)]
        if interval_seconds:
            self._options += ["--interval", str(interval_seconds)]
        self._ending = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        """Of the recorder; ``None`` = none runs now."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def start(self) -> None:
        """Begin recording."""
        self._spawn()
        self._thread = threading.Thread(target=self._keep, name="recorder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it; what it has is packed first."""
        self._ending.set()
        child = self._child
        if child is not None and child.poll() is None:
            child.terminate()
            try:
                child.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
        if self._thread is not None:
            self._thread.join(END_SECONDS)

    def _spawn(self) -> None:
        # Where this package was loaded from: a directory, or the one file that holds everything.
        home = os.path.dirname(os.path.dirname(os.path.abspath(oomsight.__file__)))
        env = {name: value for name, value in os.environ.items() if name not in {"NOTIFY_SOCKET", "WATCHDOG_USEC"}}
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (home, env.get("PYTHONPATH"))))
        command = [sys.executable, "-P", "-c", _START, "record", *self._options, "--child-of", str(os.getpid())]
        try:
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=env)
        except OSError as error:
            self._child = None
            self._say(f"the recorder could not be started: {(error.strerror or str(error)).lower()}")

    def _keep(self) -> None:
        told = False
        while True:
            child = self._child
            status = child.wait() if child is not None else None
            if self._ending.is_set():
                return
            lasting = status in WHY
            if not (lasting and told):
                why = WHY.get(status or 0, f"it ended with status {status}")
                self._say(f"{self.directory} is not recorded by this agent now: {why}")
            told = lasting
            if self._ending.wait(BUSY_SECONDS if lasting else AGAIN_SECONDS):
                return
            with suppress(OSError):
                self._spawn()
