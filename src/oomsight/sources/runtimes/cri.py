"""
containerd and CRI-O by the bundles their runtimes run from: files, no socket, no daemon.

A bundle's ``config.json`` is the OCI runtime configuration: annotations with pod and container names, the cgroup path
and the memory limit. Bundles exist while the container does; ``ctr`` and Docker containers have them, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final

from oomsight.attribute.memory import Key, Observation
from oomsight.attribute.model import UNLIMITED, LimitBytes, Names
from oomsight.naming.cgroup_path import describe
from oomsight.sources.errors import SourceError
from oomsight.sources.runtimes.places import (
    Places,
    json_object,
    labels_of,
    listed,
    obj,
    read_json,
    read_text,
    text,
    whole,
)

# Annotation of each name: containerd's CRI plugin, then what kubelet and CRI-O write.
ANNOTATIONS: Final[dict[str, tuple[str, ...]]] = {
    "container": ("io.kubernetes.cri.container-name", "io.kubernetes.container.name", "nerdctl/name"),
    "image": ("io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName", "io.kubernetes.cri-o.Image"),
    "pod": ("io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name", "io.kubernetes.cri-o.KubeName"),
    "namespace": (
        "io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace", "io.kubernetes.cri-o.Namespace",
    ),
    "pod_uid": ("io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"),
}  # fmt: skip
"""Field -> annotation keys, best first (containerd pkg/cri/annotations; cri-o pkg/annotations; kubelet labels)."""

_TYPES: Final = ("io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType")
_LABELS: Final = "io.kubernetes.cri-o.Labels"  # JSON text
_NAMESPACES: Final = {"moby": "docker", "k8s.io": "containerd"}  # of containerd -> who is asked to run its containers
_RIGHT: Final = "sudo; a container needs --root and the host's /run mounted"


def observe_bundles(places: Places, now: float) -> Iterator[Observation]:
    """Yield what bundles say; raises :class:`SourceError` when there are none or they are shut."""
    folders = places.found(places.bundles)
    storages = places.found(places.storages)
    if not folders and not storages:
        raise SourceError("containerd, CRI-O", "no bundles here; run where they run, or --root with the host's /run")
    shut: SourceError | None = None
    for folder in folders:
        try:
            namespaces = listed(folder)
        except SourceError as error:
            shut = SourceError(error.name, error.what, _RIGHT)
            continue
        for namespace in namespaces:
            try:
                names = listed(os.path.join(folder, namespace))
            except SourceError:
                continue
            for name in names:
                yield from _bundle(os.path.join(folder, namespace, name), name, now, namespace)
    for storage in storages:
        try:
            names = listed(storage)
        except SourceError as error:
            shut = SourceError(error.name, error.what, _RIGHT)
            continue
        for name in names:
            yield from _bundle(os.path.join(storage, name, "userdata"), name, now, None)
    if shut is not None:
        raise shut


def _bundle(folder: str, name: str, now: float, namespace: str | None) -> Iterator[Observation]:
    config = read_json(os.path.join(folder, "config.json"))
    if config is None:
        return
    annotations = obj(config, "annotations")
    values: dict[str, Any] = {
        field: next((value for key in keys if (value := text(annotations.get(key)))), None)
        for field, keys in ANNOTATIONS.items()
    }
    sandbox = any(annotations.get(key) == "sandbox" for key in _TYPES)
    podman = annotations.get("io.container.manager") == "libpod"
    if sandbox:
        values["container"] = None
    elif namespace is not None and namespace not in _NAMESPACES:
        values["container"] = values["container"] or name  # ctr and nerdctl: the id is what the user chose, or a hash
    runtime = _NAMESPACES.get(namespace, "containerd") if namespace is not None else "podman" if podman else "cri-o"
    pid = read_text(os.path.join(folder, "init.pid")) or read_text(os.path.join(folder, "pidfile")) or ""
    names = Names(
        **values, runtime=runtime, labels=labels_of(json_object(text(annotations.get(_LABELS)))),
        limit_bytes=_limit(config), main_pid=whole(pid.strip()),
    )  # fmt: skip
    path = cgroup_path(text(obj(config, "linux").get("cgroupsPath")))
    since = _written(os.path.join(folder, "config.json"))
    yield Observation(Key("container", name), names, now, since)
    if path is not None:
        yield Observation(Key("cgroup", path), names, now, since)
    if values["pod_uid"]:
        owner = describe(path)
        pod = Names(pod=values["pod"], namespace=values["namespace"], pod_uid=values["pod_uid"],
                    qos=owner.qos if owner else None)  # fmt: skip
        yield Observation(Key("pod", values["pod_uid"]), pod, now, since)


def cgroup_path(written: str | None) -> str | None:
    """
    Return the cgroup path a bundle's ``cgroupsPath`` stands for.

    The systemd driver writes ``slice:prefix:name``: the scope ``prefix-name.scope`` below the slice, whose own parents
    are in its name (``a-b.slice`` is below ``a.slice``).
    """
    if written is None or written.count(":") != 2:
        return ("/" + written.strip("/") if written.strip("/") else None) if written is not None else None
    parent, prefix, name = written.split(":")
    parts = parent.removesuffix(".slice").split("-") if parent not in {"", "-.slice"} else ["system"]
    slices = ["-".join(parts[: depth + 1]) + ".slice" for depth in range(len(parts))]
    return "/" + "/".join([*slices, f"{prefix}-{name}.scope" if prefix else f"{name}.scope"])


def _limit(config: dict[str, Any]) -> LimitBytes:
    limit = whole(obj(config, "linux", "resources", "memory").get("limit"))
    return UNLIMITED if limit is None or limit <= 0 else limit


def _written(path: str) -> float | None:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None
