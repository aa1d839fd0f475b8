"""A program of the administrator's: JSON on its standard input, a time limit, no shell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from typing import Any, Final

from oomsight.sinks.notify.channel import Message, SendError, public, shown

MAX_COMPLAINT_CHARS: Final = 200
_OURS: Final = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})
"""A child must not speak to the service manager for the agent."""


class ExecHook:
    """
    Runs a command for each message.

    Nothing of the message is on its command line or in its environment: names in it are chosen by others.
    Exit status 0 = told; anything else, and a command that cannot be started, is tried again: it may be being replaced.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options

    def missing(self) -> str | None:
        """Whether there is such a program."""
        program = self.options["command"][0]
        if not os.path.isfile(program):
            return f"there is no program {program}"
        return None if os.access(program, os.X_OK) else f"{program} may not be executed"

    def send(self, message: Message) -> bool:
        """Run the command for *message*."""
        environ = {key: value for key, value in os.environ.items() if key not in _OURS}
        command = self.options["command"]
        data = json.dumps(public(message), separators=(",", ":")).encode("ascii") + b"\n"
        try:
            # A session of its own: what it starts ends with it.
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environ,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise SendError(f"{command[0]}: {(error.strerror or str(error)).lower()}") from None
        try:
            _, complaint = process.communicate(data, timeout=self.options["timeout_seconds"])
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise SendError(f"{command[0]}: not done after {self.options['timeout_seconds']:g} s, ended") from None
        if process.returncode:
            words = complaint.decode("utf-8", "replace").strip().rpartition("\n")[2][:MAX_COMPLAINT_CHARS]
            status = f"signal {-process.returncode}" if process.returncode < 0 else f"status {process.returncode}"
            raise SendError(f"{command[0]}: {status}{f': {shown(words)}' if words else ''}")
        return True
