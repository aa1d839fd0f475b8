"""The sections ``[metrics]``, ``[otlp]`` and ``[zabbix]`` of the agent's configuration; one that is missing is off."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from oomsight.daemons.config import Config, ConfigError
from oomsight.daemons.http import is_loopback, parse_address
from oomsight.sinks.prometheus import available, missing_words
from oomsight.sinks.zabbix import PORT as ZABBIX_PORT

DEFAULT_LISTEN: Final = "127.0.0.1:9873"
SHORTEST_TOKEN: Final = 16
_WORDS: Final = {bool: "true or false", int: "a whole number", str: "text in quotes", dict: "a table of texts"}


class Row(NamedTuple):
    """One key of a section."""

    name: str
    kind: type
    default: Any
    help: str
    least: int = 0
    most: int = 1 << 31


SECTIONS: Final[dict[str, tuple[Row, ...]]] = {
    "metrics": (
        Row("listen", str, DEFAULT_LISTEN,
            "address and port of /metrics, /healthz and /incidents.json; empty = none"),
        Row("token_file", str, "", "file with the token requests must bring; needed to listen beyond this machine"),
        Row("series", int, 500, "most label sets of a kill counter; more share `other`", 10, 100_000),
        Row("cgroups", int, 100, "most cgroups shown by name, the fullest first", 0, 10_000),
        Row("predict_seconds", int, 60, "at least between two predictions of victims; 0 = none", 0, 86_400),
    ),
    "otlp": (
        Row("endpoint", str, "", "base URL of the receiver, such as `http://127.0.0.1:4318`"),
        Row("headers", dict, {}, "headers to send"),
        Row("headers_file", str, "", "file with more headers, one `Name: value` a line, for keys"),
        Row("interval_seconds", int, 60, "between two pushes of metrics", 5, 86_400),
        Row("metrics", bool, True, "send metrics"),
        Row("logs", bool, True, "send incidents as log records"),
    ),
    "zabbix": (
        Row("server", str, "", "server or proxy, with port where it is not 10051"),
        Row("host", str, "", "name of this host there; empty = its host name"),
        Row("interval_seconds", int, 60, "between two pushes of all items", 5, 86_400),
    ),
}
"""Every key; the reference is printed from here."""


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """``[metrics]``."""

    listen: tuple[str, int] | None  #: ``None`` = no endpoint
    token_file: str
    series: int
    cgroups: int
    predict_seconds: int

    def token(self) -> str | None:
        """The token; ``None`` = none is wanted. Raises :class:`ConfigError`."""
        if not self.token_file:
            return None
        token = _read(self.token_file, "token_file").strip()
        if len(token) < SHORTEST_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
            raise ConfigError(
                f"token_file: {self.token_file} must hold one word of at least {SHORTEST_TOKEN} ASCII characters"
            )
        return token


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    """``[otlp]``."""

    endpoint: str
    headers_file: str
    interval_seconds: int
    metrics: bool
    logs: bool
    headers: Mapping[str, str] = field(default_factory=dict)

    def all_headers(self) -> dict[str, str]:
        """Headers of both places. Raises :class:`ConfigError`."""
        found = dict(self.headers)
        for line in _read(self.headers_file, "headers_file").splitlines() if self.headers_file else ():
            name, colon, value = line.partition(":")
            if line.strip() and not line.startswith("#"):
                if not colon:
                    raise ConfigError(f"headers_file: {self.headers_file}: every line must be 'Name: value'")
                found[name.strip()] = value.strip()
        return _checked_headers(found)


@dataclass(frozen=True, slots=True)
class ZabbixSettings:
    """``[zabbix]``."""

    server: tuple[str, int]
    host: str
    interval_seconds: int


def metrics_settings(section: Mapping[str, Any]) -> MetricsSettings:
    """Check ``[metrics]``. Raises :class:`ConfigError`."""
    values = _values("metrics", section)
    listen = values.pop("listen")
    try:
        address = parse_address(listen) if listen else None
    except ValueError:
        raise ConfigError(f"listen: {listen!r} is no IP address with a port, such as {DEFAULT_LISTEN!r}") from None
    if address is not None and not is_loopback(address[0]) and not values["token_file"]:
        raise ConfigError(
            f"listen: {listen} can be reached from other machines: set token_file, or listen on {DEFAULT_LISTEN}"
        )
    return MetricsSettings(listen=address, **values)


def otlp_settings(section: Mapping[str, Any]) -> OtlpSettings:
    """Check ``[otlp]``. Raises :class:`ConfigError`."""
    values = _values("otlp", section)
    url = urlsplit(values["endpoint"])
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise ConfigError(f"endpoint: {values['endpoint']!r} is no URL such as 'http://127.0.0.1:4318'")
    if url.username is not None or url.query or url.fragment:
        raise ConfigError("endpoint: only host, port and path belong there; keys belong into headers_file")
    _checked_headers(values["headers"])
    return OtlpSettings(**values)


def zabbix_settings(section: Mapping[str, Any]) -> ZabbixSettings:
    """Check ``[zabbix]``. Raises :class:`ConfigError`."""
    values = _values("zabbix", section)
    url = urlsplit(f"//{values['server']}")
    try:
        port = url.port
    except ValueError:
        port = 0
    if not url.hostname or port == 0 or url.path:
        raise ConfigError(f"server: {values['server']!r} is no host or host:port")
    host = values["host"] or socket.gethostname()
    if not host.isprintable():
        raise ConfigError(f"host: {host!r} is no name of a host")
    return ZabbixSettings((url.hostname, port or ZABBIX_PORT), host, values["interval_seconds"])


def metrics_sentences(section: Mapping[str, Any]) -> Iterator[str]:
    """``[metrics]`` in words. Raises :class:`ConfigError`."""
    settings = metrics_settings(section)
    if settings.listen is None:
        yield "Serve no HTTP endpoint."
    else:
        host, port = settings.listen
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        who = f"to who brings the token in {settings.token_file}" if settings.token_file else "to this machine only"
        yield f"Serve /metrics, /healthz and /incidents.json at http://{shown} {who}."
    yield f"Keep at most {settings.series:,} series of a kill counter; show the {settings.cgroups:,} fullest cgroups."
    seconds = settings.predict_seconds
    yield f"Predict who would be killed, at most every {seconds:,} s." if seconds else "Predict no victims."


def metrics_troubles(section: Mapping[str, Any]) -> Iterator[str]:
    """Return what of ``[metrics]`` cannot work on this host."""
    settings = metrics_settings(section)
    try:
        settings.token()
    except ConfigError as error:
        yield f"[metrics] cannot be used here: {error}"
    if settings.listen is not None and not available():
        yield f"[metrics] cannot be used here: {missing_words()}"


def otlp_troubles(section: Mapping[str, Any]) -> Iterator[str]:
    """Return what of ``[otlp]`` cannot work on this host."""
    try:
        otlp_settings(section).all_headers()
    except ConfigError as error:
        yield f"[otlp] cannot be used here: {error}"


def otlp_sentences(section: Mapping[str, Any]) -> Iterator[str]:
    """``[otlp]`` in words. Raises :class:`ConfigError`."""
    settings = otlp_settings(section)
    what = [f"metrics every {settings.interval_seconds} s"] * settings.metrics
    what += ["incidents as log records"] * settings.logs
    yield f"Send {' and '.join(what) or 'nothing'} to {settings.endpoint} (OTLP/HTTP)."
    url = urlsplit(settings.endpoint)
    if (settings.headers or settings.headers_file) and url.scheme == "http" and not _stays_here(url.hostname or ""):
        yield "Its headers travel unencrypted: use https if one of them is a key."


def zabbix_sentences(section: Mapping[str, Any]) -> Iterator[str]:
    """``[zabbix]`` in words. Raises :class:`ConfigError`."""
    settings = zabbix_settings(section)
    host, port = settings.server
    yield f"Send all items of host {settings.host} to Zabbix at {host}:{port} every {settings.interval_seconds} s."


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """The sections the file has."""

    metrics: MetricsSettings | None
    otlp: OtlpSettings | None
    zabbix: ZabbixSettings | None

    def __bool__(self) -> bool:
        """Whether anything is wanted."""
        return any((self.metrics, self.otlp, self.zabbix))


def telemetry_settings(config: Config) -> TelemetrySettings:
    """What *config* says. Raises :class:`ConfigError`."""
    found = config.sections.get
    return TelemetrySettings(
        metrics_settings(found("metrics", {})) if "metrics" in config.sections else None,
        otlp_settings(found("otlp", {})) if "otlp" in config.sections else None,
        zabbix_settings(found("zabbix", {})) if "zabbix" in config.sections else None,
    )


def _values(name: str, section: Mapping[str, Any]) -> dict[str, Any]:
    rows = {row.name: row for row in SECTIONS[name]}
    for key, value in section.items():
        row = rows.get(key)
        if row is None:
            near = get_close_matches(key, rows, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(rows)}"
            raise ConfigError(f"there is no setting '{key}'; {hint}")
        if type(value) is not row.kind:
            raise ConfigError(f"{key} must be {_WORDS[row.kind]}, not {value!r}")
        if isinstance(value, int) and not isinstance(value, bool) and not row.least <= value <= row.most:
            raise ConfigError(f"{key} must be between {row.least:,} and {row.most:,}, not {value:,}")
    return {row.name: section.get(row.name, row.default) for row in rows.values()}


def _checked_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    for name, value in headers.items():
        if not isinstance(value, str) or not (name + value).isprintable() or not (name + value).isascii():
            raise ConfigError(f"headers: {name!r} and its value must be printable ASCII text")
        if not name or not all(c.isalnum() or c in "-_." for c in name):
            raise ConfigError(f"headers: {name!r} is no name of a header")
    return dict(headers)


def _stays_here(host: str) -> bool:
    try:
        return host == "localhost" or is_loopback(host)
    except ValueError:
        return False


def _read(path: str, key: str) -> str:
    """A small file; a relative path is one of systemd's credentials (``LoadCredential=``)."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials and not os.path.isabs(path):
        path = os.path.join(credentials, path)
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(64 << 10)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}: {path}: {(getattr(error, 'strerror', None) or str(error)).lower()}") from None
