"""
Slack, Teams, mail, PagerDuty and a hundred more, through Apprise (extra ``notify``).

Apprise is some 30 MiB of modules once loaded, so it lives in a process of its own for as long as one message takes; the
agent stays small. Addresses are secrets: they go through a pipe, never over a command line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from oomsight._extras import how_to_get
from oomsight.sinks.notify.channel import Message, SendError, body, missing_secret, secret, shown

if TYPE_CHECKING:
    from oomsight.alerts.rules import ChannelSpec


def _not_installed() -> str:
    return f"Apprise is not installed; install it with: {how_to_get('notify')}"


CHILD: Final = """
import json, sys
import apprise
asked = json.load(sys.stdin)
box = apprise.Apprise()
for url in asked["urls"]:
    if not box.add(url):
        sys.exit(65)
if asked["title"] is None:
    sys.exit(0)
kind = {"critical": apprise.NotifyType.FAILURE, "warning": apprise.NotifyType.WARNING}.get(asked["severity"])
told = box.notify(
    title=asked["title"], body=asked["body"], body_format=apprise.NotifyFormat.TEXT,
    notify_type=kind or apprise.NotifyType.INFO, interpret_escapes=False,
)
sys.exit(0 if told else 75)
"""
"""
Without a title it only looks at the addresses. Exit status: 0 = told, 65 = an address nobody understands, 75 = the
service did not take it.
"""

_BAD_ADDRESS: Final = 65


class AppriseChannel:
    """Sends title and lines as plain text to the addresses in ``url`` (several: one per line or space)."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options

    def missing(self) -> str | None:
        """Whether Apprise is installed, and the address can be read."""
        return missing_secret(self.options, "url") if find_spec("apprise") is not None else _not_installed()

    def send(self, message: Message) -> bool:
        """Send *message*."""
        if find_spec("apprise") is None:
            raise SendError(_not_installed())
        urls = (secret(self.options, "url") or "").split()
        if not urls:
            raise SendError("its address is empty")
        asked = {"urls": urls, "title": shown(message["title"]), "body": body(message) or shown(message["title"]),
                 "severity": message["severity"]}  # fmt: skip
        _ask(asked, self.options["timeout_seconds"])
        return True


def unknown_address(spec: ChannelSpec) -> str | None:
    """Ask Apprise whether it understands the address of *spec*, which takes a second; ``None`` = it does."""
    try:
        urls = (secret(spec.options, "url") or "").split()
        _ask({"urls": urls, "title": None}, float(str(spec.options["timeout_seconds"])))
    except SendError as error:
        return str(error)
    return None


def _ask(asked: dict[str, Any], timeout_seconds: float) -> None:
    """Have the child do what is *asked*. Raises :class:`SendError`."""
    run = [sys.executable, "-P", "-c", CHILD]
    try:
        done = subprocess.run(
            run, input=json.dumps(asked).encode("ascii"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            timeout=timeout_seconds, env=_environ(), check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise SendError(f"Apprise: not done after {timeout_seconds:g} s, ended") from None
    except OSError as error:
        raise SendError(f"Apprise: {(error.strerror or str(error)).lower()}") from None
    if done.returncode == _BAD_ADDRESS:
        raise SendError("Apprise does not understand the address")
    if done.returncode:
        raise SendError("Apprise: the service did not take the message")


def _environ() -> dict[str, str]:
    """The environment in which the child finds the modules we find."""
    found = {key: value for key, value in os.environ.items() if key not in {"NOTIFY_SOCKET", "WATCHDOG_USEC"}}
    found["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path and os.path.isdir(path))
    return found
