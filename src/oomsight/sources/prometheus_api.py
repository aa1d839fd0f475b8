"""
A Prometheus server, asked through its HTTP API.

Reads only, with the standard library: GET ``/api/v1/query`` and ``/api/v1/query_range``
(https://prometheus.io/docs/prometheus/latest/querying/api/). A server answers at most 11,000 points a series.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from oomsight.rightsize.prometheus import QUERIES, AnswerError, Query, Row, expression, parse_matrix
from oomsight.sources.errors import SourceError

MOST_POINTS: Final = 3_000  #: a series and question; enough for 10 days at 5 minutes
MOST_BYTES: Final = 512 << 20  #: of one answer
TIMEOUT_SECONDS: Final = 60.0
STEPS_SECONDS: Final = (60, 300, 900, 3600)


def step_for(span_seconds: float) -> int:
    """Return the distance of points, in seconds, that keeps *span_seconds* within :data:`MOST_POINTS`."""
    return next((step for step in STEPS_SECONDS if span_seconds / step <= MOST_POINTS), STEPS_SECONDS[-1] * 6)


class PrometheusServer:
    """A server at *url*; *headers* are sent with each question (``Authorization``)."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        """Raises :class:`SourceError` when *url* is no http address."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise SourceError(url, "is no address of a Prometheus server", "http://prometheus:9090")
        self.url = url.rstrip("/")
        self.shown = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"  # no password
        self._headers = dict(headers or {})

    def ask(self, path: str, parameters: Mapping[str, str]) -> Any:
        """Return the JSON document of one question. Raises :class:`SourceError`."""
        import urllib.error
        import urllib.request

        request = urllib.request.Request(f"{self.url}{path}?{urlencode(parameters)}", headers=self._headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
                body = answer.read(MOST_BYTES + 1)
        except urllib.error.HTTPError as error:
            words = _reason(error.read(4096)) or f"answered with status {error.code}"
            hint = "--token-file FILE" if error.code in {401, 403} else ""
            raise SourceError(self.shown, words, hint) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            words = getattr(reason, "strerror", None) or str(reason)
            raise SourceError(self.shown, f"cannot be asked: {words.lower()}") from None
        if len(body) > MOST_BYTES:
            raise SourceError(self.shown, "answers with more than 512 MiB", "narrow it with --match or --since")
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise SourceError(self.shown, "did not answer with JSON: is it Prometheus?") from None

    def read(
        self, since: float, until: float, matchers: Sequence[str] = (),
        progress: Callable[[int, int], None] = lambda _done, _all: None,
    ) -> list[tuple[Query, list[Row]]]:
        """
        Return the answers to every question of :data:`QUERIES` for a time (unix seconds). *progress* gets questions
        answered and all. Raises :class:`SourceError` when the server cannot be asked or refuses all of them.
        """
        span = max(until - since, 60.0)
        step = step_for(span)
        found: list[tuple[Query, list[Row]]] = []
        refused: AnswerError | SourceError | None = None
        for number, query in enumerate(QUERIES):
            progress(number, len(QUERIES))
            promql = expression(query, matchers, step, int(span))
            when = {"start": f"{since:.3f}", "end": f"{until:.3f}", "step": str(step)} if query.range else {
                "time": f"{until:.3f}"}  # fmt: skip
            try:
                document = self.ask(f"/api/v1/query{'_range' if query.range else ''}", {"query": promql, **when})
                found.append((query, parse_matrix(document)))
            except AnswerError as error:
                refused = error
        progress(len(QUERIES), len(QUERIES))
        if refused is not None and not found:
            raise SourceError(self.shown, str(refused))
        return found


def read_token(path: str) -> dict[str, str]:
    """Return the header for the token in the file *path*. Raises :class:`OSError`."""
    with open(path, encoding="utf-8", errors="replace") as file:
        token = file.read(1 << 16).strip()
    return {"Authorization": f"Bearer {token}"}


def _reason(body: bytes) -> str | None:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return None
