"""An OTLP/HTTP receiver for tests: keeps what it gets; the official protobuf messages read it."""

from __future__ import annotations

import gzip
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


def request_parser():
    """(path of a request, its JSON) -> its message, strictly: an unknown field is an error. Skips without the package."""
    pytest.importorskip("opentelemetry.proto", reason="opentelemetry-proto is not installed (extra test)")
    from google.protobuf.json_format import Parse
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    kinds = {"/v1/metrics": ExportMetricsServiceRequest, "/v1/logs": ExportLogsServiceRequest}
    return lambda path, text: Parse(text, kinds[path]())


def plain(pairs) -> dict[str, object]:
    """Attributes by key."""
    return {p.key: getattr(p.value, p.value.WhichOneof("value")) for p in pairs}


@contextmanager
def receiver(*answers):
    """A server that keeps what it gets and answers (status, headers, body) in turn, the last one for ever."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            got.append((self.path, dict(self.headers), body))
            status, headers, answer = answers[min(len(got), len(answers)) - 1]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_args) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


OK = (200, {"Content-Type": "application/json"}, b"{}")
