"""POST of JSON with the standard library: a time limit, no redirects, and what is worth another try."""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from oomsight.sinks.notify.channel import SendError

if TYPE_CHECKING:
    import ssl

RETRY_STATUS: Final = frozenset({408, 425, 429})
"""Besides all 5xx: "not now". Any other 4xx will not get better."""

MAX_ANSWER_BYTES: Final = 4096
MAX_AFTER_SECONDS: Final = 3600.0


def tls(ca_file: str | None) -> ssl.SSLContext:
    """Return a context that verifies the server, with *ca_file* instead of the system's authorities if given."""
    import ssl

    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise SendError(f"{ca_file}: {error.strerror or 'no certificate in it'}") from None


def post(
    url: str, value: Any, *, headers: Mapping[str, str] | None = None, timeout_seconds: float = 10.0,
    ca_file: str | None = None, also_fine: frozenset[int] = frozenset(),
) -> None:  # fmt: skip
    """
    POST *value* as JSON. Raises :class:`SendError`, whose words hold the host but nothing else of *url*.

    A redirect is an answer like any other that is no 2xx: an alert must not wander to another host.
    """
    from urllib.error import HTTPError, URLError
    from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

    class NoRedirect(HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    host = urlsplit(url).netloc.rpartition("@")[2]
    data = json.dumps(value, separators=(",", ":")).encode("ascii")
    handlers: list[Any] = [NoRedirect]
    if url.startswith("https:"):
        handlers.append(HTTPSHandler(context=tls(ca_file)))
    try:
        request = Request(url, data, {"Content-Type": "application/json", "User-Agent": "oomsight", **(headers or {})})
        with build_opener(*handlers).open(request, timeout=timeout_seconds) as answer:
            answer.read(MAX_ANSWER_BYTES)
    except HTTPError as error:
        with error:
            if error.code in also_fine:
                return
            retry = error.code >= 500 or error.code in RETRY_STATUS
            words = f"{host} answers {error.code}"
            raise SendError(words, retry=retry, after_seconds=_after(error.headers.get("Retry-After"))) from None
    except URLError as error:
        reason = error.reason
        words = reason.strerror or str(reason) if isinstance(reason, OSError) else str(reason)
        raise SendError(f"{host}: {words.lower()}") from None
    except ValueError as error:  # no URL at all
        raise SendError(f"{host or 'the address'}: not an address ({type(error).__name__})", retry=False) from None
    except Exception as error:  # time-outs while reading, and servers that speak something else
        raise SendError(f"{host}: {str(error).lower() or type(error).__name__}") from None


def _after(text: str | None) -> float | None:
    """Return Retry-After in seconds; ``None`` = not said."""
    if text is None:
        return None
    if text.strip().isdigit():
        return min(float(text), MAX_AFTER_SECONDS)
    from datetime import UTC, datetime

    try:
        left = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(left, 0.0), MAX_AFTER_SECONDS)
