"""What every channel is: one call that sends one message or says why not; and names made safe for chats and mails."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

from oomsight.naming.marked import Kind, map_names
from oomsight.sinks.safe import is_clean, quoted, scrub

Message = Mapping[str, Any]
"""A message as plain values (:meth:`oomsight.alerts.message.Message.as_dict`); ``title`` and ``lines`` are marked."""

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9/][A-Za-z0-9_./:+=-]*")
_ACTIVE: Final = "<>&@#*_~`|[](){}!$^\\"
"""Begins markup, a mention or a template in one of Slack, Teams, Discord, Telegram, Matrix, Markdown or HTML."""
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PROSE: Final = str.maketrans({"<": "‹", ">": "›", "@": "(at)", "`": "'", "\x1e": "\\x1e"})


class SendError(Exception):
    """
    The message did not arrive; ``str()`` is one line without secrets.

    *retry*: later it may. *after_seconds*: not before, as the receiver asked (Retry-After).
    """

    def __init__(self, what: str, *, retry: bool = True, after_seconds: float | None = None) -> None:
        super().__init__(what)
        self.retry = retry
        self.after_seconds = after_seconds


class Channel(Protocol):
    """Sends messages. Called on a thread of its own, one message at a time; must end by itself within its time."""

    def missing(self) -> str | None:
        """Return what it lacks on this host, in one line; ``None`` = nothing that can be seen without sending."""

    def send(self, message: Message) -> bool:
        """Send *message*; ``False`` = not for this channel. Raises :class:`SendError`."""


def shown(text: str) -> str:
    """
    Return marked *text* for receivers whose markup we do not know: nothing in it can be a mention, link or template.

    Names that are plain words stay; others are quoted, and what could be markup is a visible escape.
    """

    def show(name: str, _kind: Kind) -> str:
        if _PLAIN_NAME.fullmatch(name) and "//" not in name and is_clean(name):
            return name
        return quoted(name, _ACTIVE + ":" if "//" in name else _ACTIVE)

    # What is still in our own sentences without being marked cannot address anybody either.
    parts = re.split("(\x02[^\x03]*\x03)", text)
    return scrub("".join(map_names(p, show) if p.startswith("\x02") else p.translate(_PROSE) for p in parts))


def body(message: Message) -> str:
    """Return the lines of *message* as text."""
    return "\n".join(shown(line) for line in message["lines"])


def public(message: Message) -> dict[str, Any]:
    """Return *message* for programs: sentences without marks and safe to print, names raw in their own fields."""
    return {**message, "title": shown(message["title"]), "lines": [shown(line) for line in message["lines"]]}


def secret(options: Mapping[str, Any], name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """
    Return the option *name*: from the file ``NAME_file``, or with each ``${VARIABLE}`` from the environment.

    Read anew for each message, so that a changed secret needs no restart. ``None`` = not given. Raises
    :class:`SendError` (to be tried again) when it cannot be had now.
    """
    if (path := options.get(f"{name}_file")) is not None:
        try:
            with open(path, encoding="utf-8") as file:
                return file.read(65536).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SendError(f"{path}: {(getattr(error, 'strerror', None) or 'not text').lower()}") from None
    value = options.get(name)
    if value is None:
        return None
    missing = [variable for variable in _VARIABLE.findall(value) if variable not in environ]
    if missing:
        raise SendError(f"the environment variable {missing[0]} is not set")
    return _VARIABLE.sub(lambda m: environ[m[1]], value)


def missing_secret(options: Mapping[str, Any], *names: str) -> str | None:
    """Return why one of the secrets *names*, or the certificates in ``ca_file``, cannot be read now; else ``None``."""
    try:
        for name in names:
            secret(options, name)
        if options.get("ca_file") is not None:
            readable(options["ca_file"])
    except SendError as error:
        return str(error)
    return None


def readable(path: str) -> None:
    """Raise :class:`SendError` unless the file *path* can be read."""
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise SendError(f"{path}: {(error.strerror or str(error)).lower()}") from None
