"""OTLP over HTTP, by urllib: one request at a time, redirects not followed (headers may hold a key)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from oomsight.sinks.export import ExportError
from oomsight.sinks.otlp import Json, log_record, logs_payload, metrics_payload

if TYPE_CHECKING:
    from oomsight.metrics.family import Family

TIMEOUT_SECONDS: Final = 10.0
LONGEST_WAIT_SECONDS: Final = 300.0
RETRYABLE: Final = frozenset({429, 502, 503, 504})  #: "Retryable response codes" of the OTLP specification
_GZIP_FROM_BYTES: Final = 1024
_MOST_ANSWER_BYTES: Final = 64 << 10


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_args: object) -> None:
        """Answer ``None``: the redirect is an error."""


class OtlpHttp:
    """A receiver at *endpoint* (``http://host:4318``); metrics go to /v1/metrics, incidents to /v1/logs."""

    name = "otlp"

    def __init__(
        self, endpoint: str, resource: Mapping[str, object], version: str, *, headers: Mapping[str, str] | None = None,
        metrics: bool = True, logs: bool = True, timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:  # fmt: skip
        self._endpoint = endpoint.rstrip("/")
        self._resource, self._version = resource, version
        self._headers = {
            "Content-Type": "application/json", "User-Agent": f"oomsight/{version}", **(headers or {})
        }  # fmt: skip
        self._metrics, self._logs = metrics, logs
        self._timeout_seconds = timeout_seconds
        self._opener = build_opener(_NoRedirect)

    def item(self, document: Mapping[str, Any], now: float) -> Json | None:
        """A log record."""
        return log_record(document, now) if self._logs else None

    def send_items(self, items: Sequence[Json]) -> int:
        """Send log records; return how many were refused."""
        answer = self._post("/v1/logs", logs_payload(items, self._resource, self._version))
        return _refused(answer, "rejectedLogRecords")

    def send_metrics(self, families: Sequence[Family], since: float, now: float) -> None:
        """Send all metrics as of *now*."""
        if self._metrics:
            payload = metrics_payload(families, self._resource, self._version, since, now)
            refused = _refused(self._post("/v1/metrics", payload), "rejectedDataPoints")
            if refused:
                raise ExportError(f"{refused} data points were refused", permanent=True)

    def _post(self, path: str, payload: Json) -> Json:
        body = json.dumps(payload, separators=(",", ":")).encode("ascii")
        headers = self._headers
        if len(body) >= _GZIP_FROM_BYTES:
            packer = zlib.compressobj(1, wbits=31)  # gzip
            body = packer.compress(body) + packer.flush()
            headers = {**headers, "Content-Encoding": "gzip"}
        request = Request(self._endpoint + path, body, headers, method="POST")
        try:
            with self._opener.open(request, timeout=self._timeout_seconds) as response:
                answer = json.loads(response.read(_MOST_ANSWER_BYTES) or b"{}")
        except HTTPError as error:
            with error:
                wait = _retry_seconds(error.headers.get("Retry-After"))
            permanent = error.code not in RETRYABLE
            raise ExportError(f"HTTP {error.code} {error.reason}", permanent=permanent, retry_seconds=wait) from None
        except URLError as error:
            raise ExportError(str(getattr(error.reason, "strerror", None) or error.reason)) from None
        except (OSError, HTTPException) as error:
            raise ExportError(str(error) or type(error).__name__) from None
        except ValueError:  # accepted, and answered with something else than JSON
            return {}
        return answer if isinstance(answer, dict) else {}


def _retry_seconds(text: str | None) -> float | None:
    """Seconds of a Retry-After header; its date form is not used by receivers of telemetry."""
    return min(float(text), LONGEST_WAIT_SECONDS) if text and text.strip().isdecimal() else None


def _refused(answer: Json, key: str) -> int:
    partial = answer.get("partialSuccess")
    try:
        return int(partial.get(key, 0)) if isinstance(partial, dict) else 0
    except (TypeError, ValueError):
        return 0
