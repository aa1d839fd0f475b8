"""
Metrics and incidents for Zabbix: items by the table of metrics, sent as ``zabbix_sender`` does.

Protocol: ``ZBXD``, flags 0x01, two little-endian 32-bit numbers (length, 0), JSON. The receiver is a server or proxy
whose trapper items have the keys of :func:`items`; deploy/zabbix holds the template.
"""

from __future__ import annotations

import json
import re
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from oomsight.metrics.labels import event_seconds
from oomsight.metrics.table import BY_NAME, LABELS
from oomsight.sinks.export import ExportError

if TYPE_CHECKING:
    from oomsight.metrics.family import Family
    from oomsight.metrics.table import Metric

PORT: Final = 10051
TIMEOUT_SECONDS: Final = 5.0
MOST_ITEMS: Final = 250  #: in one request, as zabbix_sender
INCIDENT_KEY: Final = "oomsight.incident"
DISCOVERY: Final = {
    # key of the rule -> metric whose label sets are the entities
    "oomsight.cgroups.discovery": "oomsight_cgroup_memory_headroom_bytes",
    "oomsight.sources.discovery": "oomsight_agent_source_up",
    "oomsight.victims.discovery": "oomsight_predicted_victim_pid",
}

_HEADER: Final = struct.Struct("<4sBII")
_MAGIC: Final = b"ZBXD"
_MOST_ANSWER_BYTES: Final = 64 << 10
_FAILED: Final = re.compile(r"failed: (\d+)")
_BY_KILL: Final = {"oomsight_oom_kills_total", "oomsight_last_oom_kill_timestamp_seconds", "oomsight_alert_active"}


class Item(NamedTuple):
    """One value."""

    key: str
    value: str
    clock: float  #: seconds since 1970


def quoted(text: str) -> str:
    """A parameter of an item key, quoted where the server would quote it, too."""
    if text.startswith(('"', " ")) or "," in text or "]" in text:
        return '"' + text.replace('"', '\\"') + '"'
    return text


def item_labels(metric: Metric) -> tuple[str, ...]:
    """Labels that are parameters of the metric's key: those that tell its series apart."""
    return tuple(name for name in metric.labels if name not in {"unit", "container", "namespace", "pod", "comm"})


def item_key(metric: Metric, values: Sequence[str] = ()) -> str:
    """Key of an item."""
    return metric.otel_name + (f"[{','.join(map(quoted, values))}]" if values else "")


def has_items(metric: Metric) -> bool:
    """Whether the metric is one of items: kills by container are told as incidents, facts as texts."""
    killers = metric.name == "oomsight_userspace_kills_total"
    return metric.name not in _BY_KILL and metric.kind != "info" and not killers


def items(families: Iterable[Family], now: float) -> Iterator[Item]:
    """Every family as items, and what discovery finds."""
    for family in families:
        metric = family.metric
        for rule, name in DISCOVERY.items():
            if name == metric.name:
                yield Item(rule, _discovered(family), now)
        if metric.name == "oomsight_predicted_victim_info":
            for labels in family.samples:
                found = dict(zip(metric.labels, labels, strict=True))
                yield Item(item_key(metric, [found["at"]]), found["comm"], now)
        elif has_items(metric):
            wanted = [metric.labels.index(name) for name in item_labels(metric)]
            for labels, value in family.samples.items():
                yield Item(item_key(metric, [labels[at] for at in wanted]), f"{value:.17g}", now)


def _discovered(family: Family) -> str:
    names = [f"{{#{name.upper()}}}" for name in family.metric.labels]
    return json.dumps([dict(zip(names, labels, strict=True)) for labels in family.samples])


def packet(payload: Mapping[str, Any]) -> bytes:
    """*payload* as the protocol carries it."""
    body = json.dumps(payload, separators=(",", ":")).encode("ascii")
    return _HEADER.pack(_MAGIC, 1, len(body), 0) + body


def request(found: Sequence[Item], host: str, now: float) -> dict[str, Any]:
    """``sender data`` for *host* as the server knows it."""
    data = [
        {"host": host, "key": x.key, "value": x.value, "clock": int(x.clock), "ns": int(x.clock % 1 * 1e9)}
        for x in found
    ]
    return {"request": "sender data", "data": data, "clock": int(now), "ns": int(now % 1 * 1e9)}


class ZabbixSender:
    """A server or proxy at *address* (host, port), which knows us as *host*."""

    name = "zabbix"

    def __init__(self, address: tuple[str, int], host: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._address, self._host, self._timeout_seconds = address, host, timeout_seconds

    def item(self, document: Mapping[str, Any], now: float) -> Item | None:
        """The incident or memory alert in one line; notes are in the metrics."""
        if document["type"] == "memory":
            return Item(INCIDENT_KEY, str(document["headline"]).encode("utf-8", "backslashreplace").decode(), now)
        if document["type"] != "incident":
            return None
        incident = document["incident"]
        text = str(incident["headline"]).encode("utf-8", "backslashreplace").decode()
        return Item(INCIDENT_KEY, text, event_seconds(document, now))

    def send_items(self, found: Sequence[Item]) -> int:
        """Send them; return how many the server has no item for."""
        refused = 0
        for at in range(0, len(found), MOST_ITEMS):
            part = found[at : at + MOST_ITEMS]
            refused += self._send(request(part, self._host, part[0].clock))
        return refused

    def send_metrics(self, families: Sequence[Family], since: float, now: float) -> None:  # noqa: ARG002 - counters
        """Send all items; keys the template does not have are no error."""
        self.send_items(list(items(families, now)))

    def _send(self, payload: Mapping[str, Any]) -> int:
        try:
            with socket.create_connection(self._address, self._timeout_seconds) as connection:
                connection.sendall(packet(payload))
                header = _exactly(connection, _HEADER.size)
                magic, flags, length, _ = _HEADER.unpack(header)
                if magic != _MAGIC or flags != 1 or length > _MOST_ANSWER_BYTES:
                    raise ExportError("the answer is not Zabbix's")
                answer = json.loads(_exactly(connection, length))
        except OSError as error:
            raise ExportError(error.strerror or str(error)) from None
        except ValueError:
            raise ExportError("the answer is not JSON") from None
        if not isinstance(answer, dict) or answer.get("response") != "success":
            raise ExportError(f"refused: {answer!r:.200}")
        failed = _FAILED.search(str(answer.get("info")))
        return int(failed[1]) if failed else 0


def _exactly(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = connection.recv(count - len(found))
        if not part:
            raise ExportError("the connection was closed before the answer; is our address allowed there?")
        found += part
    return found


def known_keys() -> Iterator[tuple[Metric, str]]:
    """Every metric with items and its key, labels as ``{#NAME}``: what a template may name."""
    for metric in BY_NAME.values():
        if has_items(metric) or metric.name == "oomsight_predicted_victim_info":
            names = ("at",) if metric.kind == "info" and "at" in metric.labels else item_labels(metric)
            yield metric, item_key(metric, [f"{{#{LABELS[name].name.upper()}}}" for name in names])
