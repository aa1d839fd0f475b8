"""
One gRPC call over a unix socket, for CRI runtimes: the few frames of HTTP/2 (RFC 9113) that one question takes.

Headers are sent as literals and those of the answer are not read (that would take HPACK with its Huffman code): an
answer without a message is a refusal, whatever its words.
"""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress
from typing import Final

from oomsight.sources.errors import SourceError, from_os_error

TIMEOUT_SECONDS: Final = 3.0  #: for the whole answer
MAX_BYTES: Final = 64 << 20

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS, _PADDED = 1, 1, 4, 8
_TABLE_SIZE, _PUSH, _INITIAL_WINDOW = 1, 2, 4
_DEFAULT_WINDOW: Final = 65_535
_MAX_FRAME: Final = 16_384  #: what a peer may send as long as we allow no more


class RefusedError(SourceError):
    """The other side speaks gRPC, and does not answer this call."""


def call(path: str, method: str, message: bytes = b"", timeout_seconds: float = TIMEOUT_SECONDS) -> bytes:
    """
    Return what the runtime behind the socket *path* answers to *method* (``/package.Service/Method``).

    Raises :class:`RefusedError` when it refuses, :class:`~oomsight.sources.errors.SourceError` when it cannot be asked.
    """
    end = time.monotonic() + timeout_seconds
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.settimeout(timeout_seconds)
            connection.connect(path)
            connection.sendall(_question(method, message))
            body = _answer(connection, end)
        except OSError as error:
            raise from_os_error(path, error, "sudo") from None
        except _NoHttp2Error:
            raise SourceError(path, "does not speak gRPC") from None
    if len(body) < 5:
        raise RefusedError(path, f"does not answer {method.rpartition('/')[2]}")
    flag, size = struct.unpack_from(">BI", body)
    if flag or size != len(body) - 5:
        raise SourceError(path, f"answers {method.rpartition('/')[2]} with something that is no message")
    return body[5:]


class _NoHttp2Error(Exception):
    pass


def _question(method: str, message: bytes) -> bytes:
    settings = b"".join(
        struct.pack(">HI", key, value) for key, value in ((_TABLE_SIZE, 0), (_PUSH, 0), (_INITIAL_WINDOW, MAX_BYTES))
    )
    headers = b"\x83\x86" + b"".join(  # static table: :method POST, :scheme http; then literals with new names
        b"\x00" + _string(name) + _string(value)
        for name, value in (
            (":path", method), (":authority", "localhost"), ("content-type", "application/grpc"), ("te", "trailers"),
        )
    )  # fmt: skip
    return (
        _PREFACE
        + _frame(_SETTINGS, 0, 0, settings)
        + _frame(_WINDOW, 0, 0, struct.pack(">I", MAX_BYTES - _DEFAULT_WINDOW))
        + _frame(_HEADERS, _END_HEADERS, 1, headers)
        + _frame(_DATA, _END_STREAM, 1, struct.pack(">BI", 0, len(message)) + message)
    )


def _answer(connection: socket.socket, end: float) -> bytes:
    body = bytearray()
    while True:
        size, kind, flags, stream = struct.unpack(">IBBI", b"\0" + _exactly(connection, 9, end))
        if size > _MAX_FRAME:
            raise _NoHttp2Error
        payload = _exactly(connection, size, end)
        if kind == _SETTINGS and not flags & _ACK:
            connection.sendall(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            connection.sendall(_frame(_PING, _ACK, 0, payload))
        elif kind in {_GOAWAY, _RESET}:
            return b""
        elif kind == _DATA and stream & 0x7FFF_FFFF == 1:
            pad = payload[0] if flags & _PADDED and payload else None
            body += payload if pad is None else payload[1 : len(payload) - pad]
            if len(body) > MAX_BYTES:
                raise _NoHttp2Error
        if kind in {_DATA, _HEADERS} and flags & _END_STREAM:
            with suppress(OSError):
                connection.sendall(_frame(_GOAWAY, 0, 0, bytes(8)))
            return bytes(body)


def _exactly(connection: socket.socket, size: int, end: float) -> bytes:
    data = bytearray()
    while len(data) < size:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError(110, "no answer in time")
        connection.settimeout(left)
        part = connection.recv(size - len(data))
        if not part:
            raise _NoHttp2Error
        data += part
    return bytes(data)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">IBBI", len(payload), kind, flags, stream)[1:] + payload


def _string(text: str) -> bytes:
    data = text.encode("ascii")
    if len(data) > 126:  # a longer length takes a second byte
        raise ValueError(f"{text!r} is too long")
    return bytes([len(data)]) + data
