"""
Docker and podman: names, limits and last states of their containers.

The Engine API over the unix socket (podman serves the same), else dockerd's own files: they also answer when dockerd
itself was killed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from oomsight.attribute.memory import Key, Observation
from oomsight.attribute.model import UNLIMITED, LimitBytes, Names
from oomsight.sources.errors import NotReadable, SourceError
from oomsight.sources.runtimes.http_unix import get, get_json
from oomsight.sources.runtimes.places import (
    Places,
    json_object,
    labels_of,
    listed,
    moment,
    obj,
    read_json,
    text,
    whole,
)
from oomsight.why.evidence import Fact, FactKind, Subject
from oomsight.why.signals import SIGKILL, signal_name, signal_number

INSPECT_MOST: Final = 1000  #: containers asked one by one for limit and main pid; 0.3 ms each
RIGHTS: Final = {
    "docker": "sudo, or add yourself to group docker",
    "podman": "sudo for the containers of root; systemctl --user start podman.socket for your own",
}


@dataclass(frozen=True, slots=True)
class Engine:
    """One daemon that speaks the Docker Engine API."""

    socket: str
    runtime: str = "docker"

    def _get(self, target: str) -> Any:
        return get_json(self.socket, target, RIGHTS.get(self.runtime))

    def containers(self, *, ended: bool = True) -> list[dict[str, Any]]:
        """Return the list of containers; raises :class:`SourceError`."""
        rows = self._get(f"/containers/json?all={int(ended)}")
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    def inspect(self, name: str) -> dict[str, Any] | None:
        """Return everything about the container *name* (name, id or its beginning), ``None`` = no such container."""
        found = self._get(f"/containers/{quote(name, safe='')}/json")
        return found if isinstance(found, dict) else None

    def events(self, container_id: str, since: float, until: float) -> list[Fact]:
        """Return what the daemon still remembers of signals sent, OOM events and the end of a container."""
        filters = quote(json.dumps({"container": [container_id]}))
        body = get(
            self.socket, f"/events?since={since:.0f}&until={until:.0f}&filters={filters}", RIGHTS.get(self.runtime)
        )
        rows = (json_object(line) for line in (body or b"").split(b"\n") if line.strip())
        return list(event_facts([row for row in rows if row is not None], container_id, self.runtime))


def engines(places: Places) -> list[Engine]:
    """Return the daemons whose sockets are there, podman's after Docker's."""
    podman = {os.path.realpath(path) for path in places.found(places.podman_sockets)}
    found = [Engine(path) for path in places.found(places.docker_sockets) if os.path.realpath(path) not in podman]
    return found + [Engine(path, "podman") for path in places.found(places.podman_sockets)]


def observe_docker(places: Places, now: float) -> Iterator[Observation]:
    """Yield the names Docker and podman know through their sockets; raises :class:`SourceError` if none answers."""
    found = engines(places)
    errors: list[SourceError] = []
    for engine in found:
        try:
            yield from _observe(engine, now)
        except SourceError as error:
            errors.append(error)
    if errors and len(errors) == len(found):
        raise errors[0]
    if not found:
        raise SourceError("docker, podman", "no socket here; run as root where they run, or set DOCKER_HOST")


def _observe(engine: Engine, now: float) -> Iterator[Observation]:
    for count, row in enumerate(engine.containers()):
        container_id = text(row.get("Id"))
        if container_id is None:
            continue
        if row.get("State") == "running" and count < INSPECT_MOST:
            found = engine.inspect(container_id)
            if found is not None:
                yield observation(found, engine.runtime, now)
                continue
        names = row.get("Names")
        name = text(names[0]) if isinstance(names, list) and names else None
        created = whole(row.get("Created"))
        yield Observation(
            Key("container", container_id),
            _kubernetes(
                Names(
                    container=name.lstrip("/") if name else None, image=text(row.get("Image")), runtime=engine.runtime,
                    labels=labels_of(row.get("Labels")),
                )
            ),
            now, since=float(created) if created else None,
        )  # fmt: skip


def observation(found: dict[str, Any], runtime: str, now: float) -> Observation:
    """Return what an ``inspect`` answer tells."""
    state = obj(found, "State")
    limit = whole(obj(found, "HostConfig").get("Memory"))
    pid = whole(state.get("Pid"))
    names = Names(
        container=(text(found.get("Name")) or "").lstrip("/") or None,
        image=text(obj(found, "Config").get("Image")) or text(found.get("ImageName")),
        runtime=runtime,
        labels=labels_of(obj(found, "Config").get("Labels")),
        limit_bytes=_limit(limit),
        main_pid=pid or None,
    )
    ended = None if state.get("Running") else moment(state.get("FinishedAt"))
    return Observation(
        Key("container", text(found.get("Id")) or ""), _kubernetes(names), now, moment(found.get("Created")), ended
    )


def _limit(limit: int | None) -> LimitBytes:
    return None if limit is None else limit or UNLIMITED


def _kubernetes(names: Names) -> Names:
    """Docker as a kubelet's runtime (cri-dockerd): the labels hold the pod."""
    labels = dict(names.labels or ())
    if "io.kubernetes.pod.uid" not in labels:
        return names
    pod = Names(
        container=labels.get("io.kubernetes.container.name"), pod=labels.get("io.kubernetes.pod.name"),
        namespace=labels.get("io.kubernetes.pod.namespace"), pod_uid=labels["io.kubernetes.pod.uid"],
    )  # fmt: skip
    return pod.filled(names)


# -- files of dockerd -------------------------------------------------------------------------------------------------


def docker_files(places: Places) -> Iterator[dict[str, Any]]:
    """Yield ``inspect``-like objects from dockerd's own files; raises :class:`SourceError` when there are none."""
    roots = list(places.found(places.docker_data))
    configured = text((read_json(places.path("etc/docker/daemon.json")) or {}).get("data-root"))
    if configured:
        roots.insert(0, places.path(configured.lstrip("/")))
    error: SourceError | None = None
    if not roots:
        raise SourceError("docker files", "no /var/lib/docker here")
    for root in roots:
        folder = os.path.join(root, "containers")
        try:
            names = listed(folder)
        except SourceError as shut:
            error = error or shut
            continue
        for name in names:
            found = read_json(os.path.join(folder, name, "config.v2.json"))
            if found is not None:
                host = read_json(os.path.join(folder, name, "hostconfig.json"))
                yield {**found, "Id": found.get("ID"), "HostConfig": host or {}}
    if error is not None:
        raise error if isinstance(error, NotReadable) else SourceError("docker", "keeps no containers here")


def observe_docker_files(places: Places, now: float) -> Iterator[Observation]:
    """Yield the names dockerd has on disk."""
    for found in docker_files(places):
        if text(found.get("Id")):
            yield observation(found, "docker", now)


# -- how it ended -----------------------------------------------------------------------------------------------------


def subject_of(found: dict[str, Any], runtime: str, asked: str) -> Subject:
    """Return the last known state of the container an ``inspect`` answer describes."""
    state = obj(found, "State")
    running = bool(state.get("Running"))
    names = observation(found, runtime, 0.0).names
    flag = state.get("OOMKilled")
    return Subject(
        "container", asked, alive=running, pid=(whole(state.get("Pid")) or None) if running else None,
        container_id=text(found.get("Id")), container=names.container, pod=names.pod, namespace=names.namespace,
        pod_uid=names.pod_uid, cgroup=text(state.get("CgroupPath")),
        started=moment(state.get("StartedAt")), ended=moment(state.get("FinishedAt")),
        exit_code=None if running else whole(state.get("ExitCode")),
        oom_flag=flag if isinstance(flag, bool) and not running else None,
        restarts=whole(found.get("RestartCount")), runtime=runtime,
    )  # fmt: skip


def event_facts(rows: list[dict[str, Any]], container_id: str, runtime: str) -> Iterator[Fact]:
    """
    Yield facts from the daemon's events, oldest first.

    ``docker stop`` shows as a kill with the stop signal, then, if that was not enough, one with SIGKILL, ``die`` and
    ``stop``; ``docker kill`` as one kill and ``die``.
    """
    kills: list[tuple[int, float | None]] = []
    for row in rows:
        attributes = obj(row, "Actor", "Attributes")
        at = moment(row.get("timeNano")) or _seconds(row.get("time"))
        match row.get("Action") or row.get("status"):
            case "kill":
                signal = signal_number(str(attributes.get("signal", "")))
                if signal is None:
                    continue
                kills.append((signal, at))
                words = f"{runtime} was asked to send {signal_name(signal)} to the container"
                yield Fact(FactKind.SIGNAL_SENT, runtime, words, at, container_id=container_id, signal=signal)
            case "oom":
                words = f"{runtime} was told of an OOM in the container"
                yield Fact(FactKind.RUNTIME_OOM, runtime, words, at, container_id=container_id)
            case "die" | "died":
                code = whole(attributes.get("exitCode") or attributes.get("containerExitCode"))
                words = f"{runtime}: the main process ended" + (f" with exit code {code}" if code is not None else "")
                signal = code - 128 if code is not None and 128 < code <= 192 else None
                yield Fact(
                    FactKind.EXIT, runtime, words, at, container_id=container_id, signal=signal,
                    status=code if signal is None else None,
                )  # fmt: skip
            case "stop" | "restart":
                if len(kills) > 1 and kills[-1][0] == SIGKILL != kills[-2][0]:
                    words = f"{runtime} stop: the container did not end on {signal_name(kills[-2][0])} in time"
                    yield Fact(
                        FactKind.STOP_TIMEOUT, runtime, words, kills[-1][1], container_id=container_id, signal=SIGKILL
                    )
                kills.clear()
            case "start":
                kills.clear()
            case _:
                continue


def _seconds(value: Any) -> float | None:
    number = whole(value)
    return float(number) if number else None
