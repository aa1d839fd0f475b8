"""The service manager's side of a daemon: sd_notify(3) by hand, ready, reloading, stopping, watchdog."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping


class Notifier:
    """Sends states to ``$NOTIFY_SOCKET``; without one, nowhere."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        usec = environ.get("WATCHDOG_USEC", "")
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.interval_seconds = int(usec) / 2e6 if usec.isdigit() and int(usec) and mine else None
        """How often :meth:`send` of ``WATCHDOG=1`` is due: half of what the unit allows; ``None`` = no watchdog."""

    def send(self, *lines: str) -> None:
        """Send the states *lines* (``READY=1``, ``STATUS=…``). Never fails: the manager may be gone."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sock:
                sock.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except OSError:
            pass

    def reloading(self) -> None:
        """Say that the configuration is read again; ``READY=1`` ends it."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
