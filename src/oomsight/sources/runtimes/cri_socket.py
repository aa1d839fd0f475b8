"""
containerd, CRI-O and cri-dockerd by their socket: pods, containers, labels, images, and how a container ended.

The Container Runtime Interface is gRPC; kubelet asks the same questions. What ran on and what ended is known until
kubelet removes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from oomsight.attribute.cri_messages import CONTAINERS, SANDBOXES, STATUS, VERSION, MessageError, Table, decode, encode
from oomsight.attribute.memory import Key, Observation
from oomsight.attribute.model import Names
from oomsight.sources.errors import SourceError
from oomsight.sources.runtimes.cri import cgroup_path
from oomsight.sources.runtimes.grpc_unix import RefusedError, call
from oomsight.sources.runtimes.places import Places, json_object, labels_of, moment, obj, text, whole
from oomsight.why.evidence import Subject

APIS: Final = ("runtime.v1", "runtime.v1alpha2")  #: the second one until containerd 1.5 and CRI-O 1.19

POD_NAME, POD_NAMESPACE, POD_UID = (f"io.kubernetes.pod.{what}" for what in ("name", "namespace", "uid"))
"""Labels that kubelet gives every container (pkg/kubelet/types/labels.go)."""


class Runtime:
    """One CRI socket. Raises :class:`SourceError` when nobody answers, or one who speaks no CRI."""

    def __init__(self, path: str) -> None:
        self.path = path
        for api in APIS:
            self._api = api
            try:
                found = self.ask("Version", VERSION)
            except RefusedError:
                continue
            self.name: str = found["runtimeName"] or "cri"
            return
        raise SourceError(path, "is no CRI socket (containerd without its CRI plugin, as beside Docker, is none)")

    def ask(self, method: str, table: Table, *fields: tuple[int, str | bytes | int]) -> dict[str, Any]:
        """Return the answer to *method*; raises :class:`SourceError`."""
        answer = call(self.path, f"/{self._api}.RuntimeService/{method}", encode(*fields))
        try:
            return decode(answer, table)
        except MessageError as error:
            raise SourceError(self.path, f"answers {method} with something that is no message: {error}") from None

    def status(self, container_id: str) -> dict[str, Any] | None:
        """Return what is known of one container, process and cgroup included; ``None`` = it is not known."""
        try:
            found = self.ask("ContainerStatus", STATUS, (1, container_id), (2, 1))
        except RefusedError:
            return None
        return {**found, "info": json_object(found["info"].get("info")) or {}}


def runtimes(places: Places) -> list[Runtime]:
    """Return the runtimes that answer; raises :class:`SourceError` when none does."""
    found, errors = [], []
    for path in places.found(places.cri_sockets):
        try:
            found.append(Runtime(path))
        except SourceError as error:
            errors.append(error)
    if not found:
        raise errors[0] if errors else SourceError("CRI", "no socket of containerd or CRI-O here")
    return found


def observe_cri(places: Places, now: float) -> Iterator[Observation]:
    """Yield the containers and pods the runtimes know, ended ones included; raises :class:`SourceError`."""
    for runtime in runtimes(places):
        yield from _observe(runtime, now)


def _observe(runtime: Runtime, now: float) -> Iterator[Observation]:
    pods: dict[str, Names] = {}
    for row in runtime.ask("ListPodSandbox", SANDBOXES)["items"]:
        meta = obj(row, "metadata")
        uid = text(meta.get("uid"))
        names = Names(pod=text(meta.get("name")), namespace=text(meta.get("namespace")), pod_uid=uid,
                      labels=labels_of(row.get("labels")) or None)  # fmt: skip
        pods[str(row["id"])] = names
        since = moment(row["createdAt"])
        # A sandbox has a cgroup of its own; it is the pod's.
        yield Observation(Key("container", str(row["id"])), names.filled(Names(runtime=runtime.name)), now, since)
        if uid:
            yield Observation(Key("pod", uid), names, now, since)
    for row in runtime.ask("ListContainers", CONTAINERS)["containers"]:
        container_id = text(row["id"])
        if container_id is None:
            continue
        labels = obj(row, "labels")
        image = obj(row, "image")
        pod = pods.get(str(row["podSandboxId"]), Names())
        own = Names(
            container=text(obj(row, "metadata").get("name")), runtime=runtime.name,
            image=text(image.get("userSpecifiedImage")) or text(image.get("image")),
            labels=labels_of({**dict(pod.labels or ()), **labels}),  # kubelet gives the pod's own to the sandbox only
            pod=text(labels.get(POD_NAME)), namespace=text(labels.get(POD_NAMESPACE)),
            pod_uid=text(labels.get(POD_UID)),
        )  # fmt: skip
        yield Observation(Key("container", container_id), own.filled(pod), now, moment(row["createdAt"]))


def look_up(places: Places, container_id: str, now: float) -> list[Observation]:
    """Return what the runtimes say about one container, asked for alone; empty = nothing. Never raises."""
    try:
        found = runtimes(places)
    except SourceError:
        return []
    for runtime in found:
        try:
            answer = runtime.status(container_id)
        except SourceError:
            continue
        status = obj(answer or {}, "status")
        if not text(status.get("id")):
            continue
        labels, image, spec = obj(status, "labels"), obj(status, "image"), obj(answer, "info", "runtimeSpec", "linux")
        limit = whole(obj(spec, "resources", "memory").get("limit"))
        names = Names(
            container=text(obj(status, "metadata").get("name")), runtime=runtime.name, labels=labels_of(labels),
            image=text(image.get("userSpecifiedImage")) or text(image.get("image")),
            pod=text(labels.get(POD_NAME)), namespace=text(labels.get(POD_NAMESPACE)),
            pod_uid=text(labels.get(POD_UID)), limit_bytes=limit if limit is not None and limit > 0 else None,
            main_pid=whole(obj(answer, "info").get("pid")) or None,
        )  # fmt: skip
        since = moment(status.get("createdAt"))
        seen = [Observation(Key("container", container_id), names, now, since)]
        path = cgroup_path(text(spec.get("cgroupsPath")))
        return [*seen, Observation(Key("cgroup", path), names, now, since)] if path is not None else seen
    return []


def subject_of(places: Places, container_id: str, asked: str) -> Subject | None:
    """Return the last state of a container by its runtime; ``None`` = it is not known there."""
    try:
        found = runtimes(places)
    except SourceError:
        return None
    for runtime in found:
        try:
            status = runtime.status(container_id)
        except SourceError:
            continue
        if status is not None:
            return subject_of_status(status, asked, runtime.name)
    return None


def subject_of_status(found: dict[str, Any], asked: str, runtime: str) -> Subject | None:
    """Return the last state that an answer to ``ContainerStatus`` describes."""
    status = obj(found, "status")
    container_id = text(status.get("id"))
    if container_id is None:
        return None
    running = status.get("state") == "CONTAINER_RUNNING"
    labels = obj(status, "labels")
    reason = text(status.get("reason"))
    return Subject(
        "container", asked, alive=running, pid=whole(obj(found, "info").get("pid")) if running else None,
        container_id=container_id, container=text(obj(status, "metadata").get("name")),
        pod=text(labels.get(POD_NAME)), namespace=text(labels.get(POD_NAMESPACE)),
        pod_uid=text(labels.get(POD_UID)), started=moment(status.get("startedAt")),
        cgroup=cgroup_path(text(obj(found, "info", "runtimeSpec", "linux").get("cgroupsPath"))),
        ended=None if running else moment(status.get("finishedAt")),
        exit_code=None if running else whole(status.get("exitCode")),
        oom_flag=None if running or reason is None else reason == "OOMKilled",
        restarts=whole(obj(status, "metadata").get("attempt")), runtime=runtime,
    )  # fmt: skip
