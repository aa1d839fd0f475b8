"""Containers of this host: the Engine API of Docker and podman, and the OCI bundles of all others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from oomsight.audit.containers.read import Container, of_bundle, of_inspect
from oomsight.sources.errors import SourceError
from oomsight.sources.runtimes.docker import INSPECT_MOST, engines
from oomsight.sources.runtimes.places import Places, listed, obj, read_json, read_text, whole

PODMAN_BUNDLES: Final = (
    "run/containers/storage/overlay-containers", "var/lib/containers/storage/overlay-containers",
    "run/user/*/containers/overlay-containers", "home/*/.local/share/containers/storage/overlay-containers",
)  # fmt: skip
_RUNTIMES: Final = {"moby": "docker"}


def live_containers(places: Places) -> tuple[list[Container], list[str]]:
    """Return the containers found, each once, and what could not be asked. Never raises."""
    found: dict[str, Container] = {}
    unseen: list[str] = []
    for engine in engines(places):
        try:
            rows = engine.containers()
            for row in rows[:INSPECT_MOST]:
                inspected = engine.inspect(str(row.get("Id")))
                container = of_inspect(inspected, engine.runtime) if inspected else None
                if container is not None:
                    found.setdefault(container.id, container)
            if len(rows) > INSPECT_MOST:
                unseen.append(f"{len(rows) - INSPECT_MOST:,} more containers of {engine.runtime}")
        except SourceError as error:
            unseen.append(str(error))
    for container in _bundles(places):
        found.setdefault(container.id, container)
    return list(found.values()), unseen


def _bundles(places: Places) -> Iterator[Container]:
    for folder in places.found(places.bundles):
        for namespace in _names(folder):
            for name in _names(os.path.join(folder, namespace)):
                yield from _bundle(places, os.path.join(folder, namespace, name), name, namespace)
    for folder in places.found(PODMAN_BUNDLES):
        for name in _names(folder):
            yield from _bundle(places, os.path.join(folder, name, "userdata"), name, None)


def _names(folder: str) -> list[str]:
    try:
        return listed(folder)
    except SourceError:
        return []


def _bundle(places: Places, folder: str, name: str, namespace: str | None) -> Iterator[Container]:
    config = read_json(os.path.join(folder, "config.json"))
    pid = whole(
        (read_text(os.path.join(folder, "init.pid")) or read_text(os.path.join(folder, "pidfile")) or "").strip()
    )
    # A bundle may outlast its container: only one whose first process is there counts.
    if config is None or pid is None or not os.path.isdir(places.path(f"{places.proc}/{pid}")):
        return
    podman = obj(config, "annotations").get("io.container.manager") == "libpod"
    runtime = _RUNTIMES.get(namespace, "containerd") if namespace is not None else "podman" if podman else "cri-o"
    container = of_bundle(name, config, runtime, pid)
    if container is not None:
        yield container
