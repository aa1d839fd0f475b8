"""
Metrics of the agent: the subscriber that counts, the endpoint that is asked, the exporters that push.

Everything here may be slow or fail and detection goes on: events come through a queue of their own, the host is read
when somebody asks, and every receiver has its own thread.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from oomsight._version import __version__
from oomsight.daemons.exporter import Exporter
from oomsight.daemons.http import Answer, Asked, Endpoint, json_answer
from oomsight.metrics.agent import Own, agent_families
from oomsight.metrics.alerts import alert_families
from oomsight.metrics.host import Locate, host_families, place_by_path
from oomsight.metrics.tally import MAX_SERIES, restored
from oomsight.naming.marked import unmark
from oomsight.sinks import prometheus, tally_file
from oomsight.sinks.store import Reader, StoreError
from oomsight.sources.samples import HostSamples, own_usage

if TYPE_CHECKING:
    from oomsight.daemons.agent import Agent
    from oomsight.daemons.telemetry_config import TelemetrySettings
    from oomsight.metrics.family import Family
    from oomsight.sinks.export import Transport

SAVE_SECONDS: Final = 1.0  #: at least between two writings of the counters in a storm
STUCK_SECONDS: Final = 60.0  #: the loop of the agent goes round every 10 s at least
MOST_INCIDENTS: Final = 1000  #: in one answer
DEFAULT_INCIDENTS: Final = 50

Say = Callable[[str], None]


class Telemetry:
    """
    A subscriber of the agent's hub (:class:`oomsight.daemons.hub.Subscriber`).

    *store* is the path of the incident store, beside which the counters are kept; ``None`` = there is none. *locate*
    names cgroups, *settle* completes the names of an event and may take a moment. Raises
    :class:`~oomsight.daemons.config.ConfigError` when a token or header file cannot be used.
    """

    name = "metrics"

    def __init__(
        self, settings: TelemetrySettings, say: Say, *, store: str | None = None, locate: Locate = place_by_path,
        settle: Callable[[dict[str, Any]], None] = lambda _: None, samples: HostSamples | None = None,
    ) -> None:  # fmt: skip
        wanted = settings.metrics
        self.agent: Agent | None = None  #: set before its run; tells health and queues
        self.alerts: Callable[[], Sequence[Mapping[str, Any]]] = list  #: the memory alerts held; set like the agent
        self._say, self._locate, self._settle, self._store = say, locate, settle, store
        self._most_cgroups = wanted.cgroups if wanted is not None else 100
        self._samples = samples or HostSamples(victim_seconds=wanted.predict_seconds if wanted is not None else 60)
        self._path = os.path.join(os.path.dirname(os.path.abspath(store)), tally_file.FILE_NAME) if store else None
        self._lock = threading.Lock()
        state = tally_file.load(self._path) if self._path else None
        self._tally = restored(state, time.time(), wanted.series if wanted is not None else MAX_SERIES)
        self._dirty, self._saved, self._save_failed = False, 0.0, False
        self.exporters = [
            Exporter(transport, self.collect, lambda: self._tally.since, seconds, say)
            for transport, seconds in _transports(settings)
        ]
        self.endpoint = self._endpoint(settings)

    def start(self) -> None:
        """Serve and push; the store is read for what a killed agent did not count."""
        threading.Thread(target=self._catch_up, name="metrics restore", daemon=True).start()
        for exporter in self.exporters:
            exporter.start()
        if self.endpoint is not None:
            self.endpoint.start()

    def close(self) -> None:
        """Stop, sending once what is queued, and keep the counters."""
        if self.endpoint is not None:
            self.endpoint.close()
        for exporter in self.exporters:
            exporter.close()
        with self._lock:
            self._save(force=True)

    def __call__(self, event: dict[str, Any]) -> None:
        """Count *event* and hand it to the exporters when it is final."""
        if event["type"] == "memory":
            if event["moment"] != "still":
                self._offer(event)
            return
        if event["type"] == "incident":
            self._settle(event)
        self._take(event, told=True)

    def collect(self) -> list[Family]:
        """Every metric as it stands."""
        health = self._health()
        with self._lock:
            for settled in self._tally.settle(time.time()):
                self._dirty = True
                self._offer(settled.document)
            self._save()
            counted = list(self._tally.families())
        cpu, resident = own_usage()
        agent = self.agent
        hub = getattr(agent, "hub", None)
        queues = hub.queued() if hub is not None else {}
        own = Own(__version__, cpu, resident, queues, {x.name: x.state() for x in self.exporters})
        host = host_families(self._samples.sample(), self._locate, most_cgroups=self._most_cgroups)
        held = alert_families(self.alerts(), self._locate, most=self._most_cgroups)
        return [*counted, *host, *held, *agent_families(health, own)]

    # -- counting -----------------------------------------------------------------------------------------------------

    def _take(self, event: Mapping[str, Any], *, told: bool) -> None:
        with self._lock:
            settled = self._tally.observe(event, time.time())
            self._dirty = True
            self._save()
        if told and (settled is not None or event["type"] == "note"):
            self._offer(event)

    def _offer(self, event: Mapping[str, Any]) -> None:
        for exporter in self.exporters:
            exporter.offer(event, time.time())

    def _catch_up(self) -> None:
        if self._store is None:
            return
        through = self._tally.through
        try:
            for document in tally_file.stored_after(self._store, through):
                self._take(document, told=through is not None)
        except Exception as error:  # a store that is damaged is the store's to tell
            self._say(f"metrics: counters could not be completed from the store: {type(error).__name__}: {error}")

    def _save(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if self._path is None or not self._dirty or not (force or now >= self._saved + SAVE_SECONDS):
            return
        self._dirty, self._saved = False, now
        try:
            tally_file.save(self._path, self._tally.state())
            self._save_failed = False
        except OSError as error:
            if not self._save_failed:
                self._say(f"metrics: {self._path}: {(error.strerror or str(error)).lower()}; counters are not kept")
            self._save_failed = True

    # -- the endpoint -------------------------------------------------------------------------------------------------

    def _endpoint(self, settings: TelemetrySettings) -> Endpoint | None:
        wanted = settings.metrics
        if wanted is None or wanted.listen is None:
            return None
        routes = {"/metrics": self._metrics(), "/healthz": self._healthz, "/incidents.json": self._incidents}
        return Endpoint(wanted.listen, routes, self._say, token=wanted.token(), public=frozenset({"/healthz"}))

    def _metrics(self) -> Callable[[Asked], Answer]:
        if not prometheus.available():
            self._say(prometheus.missing_words())
            return lambda _: Answer(f"{prometheus.missing_words()}\n".encode(), status=503)
        exposition = prometheus.Exposition(self.collect)
        return lambda asked: Answer(*exposition.render(asked.accept))

    def _health(self) -> dict[str, Any] | None:
        detector = getattr(self.agent, "detector", None)
        return detector.health.as_dict() if detector is not None else None

    def _healthz(self, asked: Asked) -> Answer:
        """200 = it detects, perhaps in degraded form; 503 = it does not. Reasons only for whom we trust."""
        health = self._health()
        turned = self.agent.detector.health.turned if self.agent is not None and health is not None else None
        if health is None or turned is None:
            status, reasons = "starting", ["detection has not begun"]
        elif time.monotonic() - turned > STUCK_SECONDS:
            status, reasons = "failed", [f"nothing was read for {time.monotonic() - turned:.0f} s"]
        elif not any(source["usable"] for source in health["sources"]):
            status, reasons = "failed", ["no source of events can be read"]
        else:
            status, reasons = "degraded" if health["degraded"] else "ok", []
        if health is not None:
            reasons += [f"{s['name']}: {unmark(s['words'])}" for s in health["sources"] if not s["usable"]]
            reasons += [f"store: {health['store']}"] if health["store"] not in {"ok", "off"} else []
        code = 200 if status in {"ok", "degraded"} else 503
        return json_answer({"status": status, "reasons": reasons} if asked.trusted else {"status": status}, code)

    def _incidents(self, asked: Asked) -> Answer:
        """The newest incidents in short, newest first."""
        text = asked.query.get("limit", [str(DEFAULT_INCIDENTS)])[0]
        if not text.isdecimal() or not 1 <= int(text[:9]) <= MOST_INCIDENTS:
            return Answer(f"limit must be a number from 1 to {MOST_INCIDENTS}\n".encode(), status=400)
        if self._store is None:
            return Answer(b"incidents are not stored\n", status=404)
        try:
            reader = Reader(self._store)
        except StoreError as error:
            return Answer(f"{error}\n".encode("utf-8", "replace"), status=503)
        try:
            rows = reader.latest(int(text))
        finally:
            reader.close()
        fields = type(rows[0]).__dataclass_fields__ if rows else ()
        found = [{name: getattr(row, name) for name in fields} for row in rows]
        for row in found:
            row["place"] = unmark(row["place"]) if row["place"] else None
        return json_answer({"incidents": found})


def _transports(settings: TelemetrySettings) -> list[tuple[Transport, float]]:
    found: list[tuple[Transport, float]] = []
    if (otlp := settings.otlp) is not None:
        from oomsight.sinks.otlp_http import OtlpHttp

        transport = OtlpHttp(
            otlp.endpoint, resource(), __version__, headers=otlp.all_headers(), metrics=otlp.metrics, logs=otlp.logs
        )
        found.append((transport, otlp.interval_seconds))
    if (zabbix := settings.zabbix) is not None:
        from oomsight.sinks.zabbix import ZabbixSender

        found.append((ZabbixSender(zabbix.server, zabbix.host), zabbix.interval_seconds))
    return found


def resource() -> dict[str, object]:
    """Who sends, by OpenTelemetry's names."""
    return {
        "service.name": "oomsight", "service.version": __version__, "host.name": os.uname().nodename,
        "os.type": "linux", "k8s.node.name": os.environ.get("NODE_NAME"),
    }  # fmt: skip
