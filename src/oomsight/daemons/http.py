"""
The agent's HTTP endpoint: /metrics, /healthz and /incidents.json, read only.

It is reached from this machine only, unless a token protects it. Without a token the Host header must name this
machine, so that a web page cannot make a browser here read it (DNS rebinding). Few connections at a time, each short.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import os
import selectors
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

MOST_CONNECTIONS: Final = 8
REQUEST_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 30.0  #: between two tries to bind a busy port

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"


class Answer(NamedTuple):
    """What a route answers."""

    body: bytes
    content_type: str = TEXT
    status: int = 200


class Asked(NamedTuple):
    """What a route may know of a request."""

    query: Mapping[str, list[str]]
    accept: str
    trusted: bool  #: the token was there, or none is needed


Route = Callable[[Asked], Answer]


def parse_address(text: str) -> tuple[str, int]:
    """``127.0.0.1:9873`` or ``[::1]:9873``; raises :class:`ValueError` for anything but an IP address and a port."""
    host, _, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    ipaddress.ip_address(host)
    if not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise ValueError(f"{port!r} is no port")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address *host*."""
    return ipaddress.ip_address(host).is_loopback


def json_answer(value: object, status: int = 200) -> Answer:
    """*value* as JSON."""
    return Answer(json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n", JSON, status)


class Endpoint:
    """
    Serves *routes* (path to function) at *address* in a thread; *public* paths are answered without the token, too.

    Raises :class:`ValueError` for an address others can reach when there is no *token*.
    """

    def __init__(
        self, address: tuple[str, int], routes: Mapping[str, Route], say: Callable[[str], None], *,
        token: str | None = None, public: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        if token is None and not is_loopback(address[0]):
            raise ValueError(f"{address[0]} can be reached from other machines, and there is no token")
        self.routes, self.token, self.public = routes, token, public
        self.say = say
        self._address = address
        self._server: _Server | None = None
        self._stopped = threading.Event()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    @property
    def port(self) -> int | None:
        """The port it serves; ``None`` = it could not be bound yet."""
        return self._server.server_address[1] if self._server is not None else None

    def start(self) -> None:
        """Bind and serve; a port that is in use is said, and tried again."""
        self._bind(first=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving; requests that are being answered end on their own."""
        self._stopped.set()
        if self._wake < 0:
            return
        os.eventfd_write(self._wake, 1)
        if self._thread.is_alive():
            self._thread.join()
        if self._server is not None:
            self._server.server_close()
        os.close(self._wake)
        self._wake = -1

    def _bind(self, *, first: bool) -> None:
        host, port = self._address
        try:
            self._server = _Server(self._address, self)
        except OSError as error:
            if first:
                shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                self.say(f"metrics: {shown}: {(error.strerror or str(error)).lower()}; it is tried again")

    def _run(self) -> None:
        while self._server is None:
            if self._stopped.wait(RETRY_SECONDS):
                return
            self._bind(first=False)
        # As serve_forever(), which would look every half second whether it shall stop.
        with selectors.DefaultSelector() as selector:
            selector.register(self._server, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while not self._stopped.is_set():
                if any(key.fileobj is self._server for key, _ in selector.select()):
                    self._server.handle_request()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = MOST_CONNECTIONS
    timeout = 0.0  #: handle_request() is called when there is one

    def __init__(self, address: tuple[str, int], endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._slots = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """As TCPServer does it: HTTPServer would ask a name server for our name."""
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._slots.acquire(blocking=False):
            with suppress(OSError):
                request.sendall(b"HTTP/1.0 503 Too many connections\r\nRetry-After: 1\r\n\r\n")
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "oomsight"
    sys_version = ""
    timeout = REQUEST_SECONDS

    def do_GET(self) -> None:
        self._reply(self._answer())

    do_HEAD = do_GET  # noqa: N815 - the base class looks for these names

    def _answer(self) -> Answer:
        endpoint = self.server.endpoint
        url = urlsplit(self.path)
        trusted = self._has_token() if endpoint.token is not None else self._is_local()
        if not trusted and url.path not in endpoint.public:
            if endpoint.token is not None:
                return Answer(b"a token is needed: Authorization: Bearer TOKEN\n", status=401)
            return Answer(b"the Host header does not name this machine\n", status=403)
        route = endpoint.routes.get(url.path)
        if route is None:
            paths = "".join(f"{path}\n" for path in endpoint.routes)
            return Answer(f"there is no such path; there are:\n{paths}".encode(), status=404)
        try:
            return route(Asked(parse_qs(url.query), self.headers.get("Accept", ""), trusted))
        except Exception as error:  # one failing answer must not end the thread without one
            endpoint.say(f"metrics: {url.path} failed: {type(error).__name__}: {error}")
            return Answer(b"it failed; the agent's log says why\n", status=500)

    def _has_token(self) -> bool:
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        wanted = (self.server.endpoint.token or "").encode("utf-8", "surrogateescape")
        same = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), wanted)
        return same and scheme.lower() == "bearer"

    def _is_local(self) -> bool:
        host = self.headers.get("Host")
        if host is None:  # HTTP/1.0; browsers always send one
            return True
        name = urlsplit(f"//{host}").hostname or ""
        try:
            return name == "localhost" or is_loopback(name)
        except ValueError:
            return False

    def _reply(self, answer: Answer) -> None:
        with suppress(OSError):
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            if answer.status == 401:
                self.send_header("WWW-Authenticate", "Bearer")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

    def log_message(self, *_args: object) -> None:
        """Requests are not logged."""
