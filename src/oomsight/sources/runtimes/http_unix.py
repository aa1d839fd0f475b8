"""GET over a unix socket: what Docker and podman need of HTTP, with the standard library."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection, HTTPException
from typing import Any, Final

from oomsight.sources.errors import SourceError, from_os_error

TIMEOUT_SECONDS: Final = 3.0  #: a runtime that hangs must not hang whoever asks for a name
MAX_BYTES: Final = 64 << 20


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def get(path: str, target: str, hint: str | None = None) -> bytes | None:
    """
    Return the body of ``GET target`` from the socket *path*, ``None`` for 404.

    Raises :class:`SourceError` for anything else; *hint* is the right that would help.
    """
    connection = _UnixConnection(path)
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        body = answer.read(MAX_BYTES)
    except OSError as error:
        raise from_os_error(path, error, hint) from None
    except (HTTPException, ValueError) as error:
        raise SourceError(path, f"does not speak HTTP ({type(error).__name__})") from None
    finally:
        connection.close()
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise SourceError(path, f"answers {answer.status} to {target.partition('?')[0]}")
    return body


def get_json(path: str, target: str, hint: str | None = None) -> Any:
    """Return the JSON value of ``GET target``, ``None`` for 404; raises :class:`SourceError`."""
    body = get(path, target, hint)
    if body is None:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise SourceError(path, f"answers {target.partition('?')[0]} with something that is no JSON") from None
