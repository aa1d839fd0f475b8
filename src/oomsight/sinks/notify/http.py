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

REFUSED: Final = frozenset({400, 413, 422})
"""The message itself is blamed and will never be taken. Anything else (no right, not found, moved) can be mended."""

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
    ca_file: str | None = None, fine: frozenset[int] = frozenset(), refused: frozenset[int] = REFUSED,
) -> None:  # fmt: skip
    """
    POST *value* as JSON. Raises :class:`SendError`, whose words hold the host but nothing else of *url*.

    Status 2xx and *fine* are success, *refused* not worth another try. A redirect is an answer like any other that is
    no 2xx: an alert must not wander to another host.
    """
    from urllib.error import HTTPError, URLError
    from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

    class NoRedirect(HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    try:
        url, login = _without_login(url)
        host = urlsplit(url).netloc
    except ValueError:
        raise SendError("its address is none") from None
    data = json.dumps(value, separators=(",", ":")).encode("ascii")
    handlers: list[Any] = [NoRedirect]
    if url.startswith("https:"):
        handlers.append(HTTPSHandler(context=tls(ca_file)))
    sent = {"Content-Type": "application/json", "User-Agent": "oomsight", **login, **(headers or {})}
    try:
        request = Request(url, data, sent)
        with build_opener(*handlers).open(request, timeout=timeout_seconds) as answer:
            answer.read(MAX_ANSWER_BYTES)
    except HTTPError as error:
        with error:
            if error.code in fine:
                return
            words, after = f"{host} answers {error.code}", _after(error.headers.get("Retry-After"))
            raise SendError(words, retry=error.code not in refused, after_seconds=after) from None
    except URLError as error:
        reason = error.reason
        words = reason.strerror or str(reason) if isinstance(reason, OSError) else str(reason)
        raise SendError(f"{host}: {words.lower()}") from None
    except ValueError as error:  # no URL at all
        raise SendError(f"{host or 'the address'}: not an address ({type(error).__name__})") from None
    except Exception as error:  # time-outs while reading, and servers that speak something else
        raise SendError(f"{host}: {str(error).lower() or type(error).__name__}") from None


def _without_login(url: str) -> tuple[str, dict[str, str]]:
    """Take ``user:password@`` out of *url*; return the rest and the header that says the same."""
    from base64 import b64encode
    from urllib.parse import unquote_to_bytes

    parts = urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    basic = b64encode(unquote_to_bytes(login)).decode("ascii")
    return parts._replace(netloc=host).geturl(), {"Authorization": f"Basic {basic}"}


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
