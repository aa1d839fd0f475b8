"""Containers of this host: the Engine API of Docker and podman, and the OCI bundles of all others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from oomsight.audit.containers.read import Container, of_bundle, of_inspect
from oomsight.sources.errors import SourceError
from oomsight.sources.runtimes.docker import INSPECT_MOST, engines
from oomsight.sources.runtimes.places import Places, listed, obj, read_json, read_text, text, whole
from oomsight.sources.runtimes.podman import storage_rows

KEPT: Final = (
    "run/containers/storage/*-containers", "var/lib/containers/storage/*-containers",
    "root/.local/share/containers/storage/*-containers", "home/*/.local/share/containers/storage/*-containers",
)  # fmt: skip
"""Where containers/storage (podman, CRI-O) keeps a container's ``userdata/config.json``: for ever with podman."""
RUNNING: Final = ("run/containers/storage/*-containers", "run/user/*/containers/*-containers")
"""Where ``userdata/pidfile`` is, while it runs."""
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
                bundle = os.path.join(folder, namespace, name)
                runtime = _RUNTIMES.get(namespace, "containerd")
                yield from _bundle(places, bundle, name, runtime, read_text(os.path.join(bundle, "init.pid")))
    pids = {
        name: pid
        for folder in places.found(RUNNING)
        for name in _names(folder)
        if (pid := read_text(os.path.join(folder, name, "userdata", "pidfile"))) is not None
    }
    for folder in places.found(KEPT):
        listing = storage_rows(os.path.join(folder, "containers.json"))
        called = {str(row.get("id")): (row, meta) for row, meta in listing}
        for name in _names(folder):
            row, meta = called.get(name, ({}, {}))
            for found in _bundle(places, os.path.join(folder, name, "userdata"), name, None, pids.get(name)):
                names = row.get("names")
                known = text(meta.get("name")) or (text(names[0]) if isinstance(names, list) and names else None)
                yield replace(found, name=known or found.name, image=text(meta.get("image-name")) or found.image)


def _names(folder: str) -> list[str]:
    try:
        return listed(folder)
    except SourceError:
        return []


def _bundle(places: Places, folder: str, name: str, runtime: str | None, pid_text: str | None) -> Iterator[Container]:
    config = read_json(os.path.join(folder, "config.json"))
    pid = whole((pid_text or "").strip())
    # A bundle may outlast its container: only one whose first process is there counts.
    if config is None or pid is None or not os.path.isdir(places.path(f"{places.proc}/{pid}")):
        return
    podman = obj(config, "annotations").get("io.container.manager") == "libpod"
    container = of_bundle(name, config, runtime or ("podman" if podman else "cri-o"), pid)
    if container is not None:
        yield container
