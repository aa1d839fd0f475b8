"""
containers/storage: what podman and CRI-O write on disk about their containers, with no daemon to ask.

``containers.json`` lists every container with a JSON text of the tool that made it: podman's has the name and image,
CRI-O's also pod, namespace and uid (its sandboxes are marked as pods).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from oomsight.attribute.memory import Key, Observation
from oomsight.attribute.model import Names
from oomsight.sources.errors import SourceError
from oomsight.sources.runtimes.places import Places, json_object, moment, read_text, text, whole


def observe_storage(places: Places, now: float) -> Iterator[Observation]:
    """Yield the containers of every containers/storage found; raises :class:`SourceError` when there is none."""
    paths = places.found(places.storage_lists)
    if not paths:
        raise SourceError("podman, CRI-O", "no containers/storage here; run as root, or as the user whose they are")
    for path in paths:
        rows = storage_rows(path)
        pods = {meta["pod-id"]: meta for _, meta in rows if meta.get("pod") and isinstance(meta.get("pod-id"), str)}
        for row, meta in rows:
            container_id = text(row.get("id"))
            if container_id is None:
                continue
            created = whole(meta.get("created-at"))
            since = float(created) if created else moment(row.get("created"))
            names = _names(meta, pods)
            yield Observation(Key("container", container_id), names, now, since)
            if names.pod_uid and meta.get("pod"):
                pod = Names(pod=names.pod, namespace=names.namespace, pod_uid=names.pod_uid)
                yield Observation(Key("pod", names.pod_uid), pod, now, since)


def storage_rows(path: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the rows of a ``containers.json``, each with its metadata; none where it cannot be read."""
    try:
        rows = json.loads(read_text(path) or "[]")
    except (ValueError, RecursionError):
        return []
    sound = (row for row in rows if isinstance(row, dict)) if isinstance(rows, list) else ()
    return [(row, json_object(row.get("metadata")) or {}) for row in sound]


def _names(meta: dict[str, Any], pods: dict[str, dict[str, Any]]) -> Names:
    pod_name = text(meta.get("pod-name"))
    if pod_name is None:
        return Names(container=text(meta.get("name")), image=text(meta.get("image-name")), runtime="podman")
    sandbox = pods.get(str(meta.get("pod-id")), meta)
    return Names(
        # The infrastructure container has no name of its own in the pod.
        container=None if meta.get("pod") else text(meta.get("metadata-name")),
        image=None if meta.get("pod") else text(meta.get("image-name")), runtime="cri-o",
        pod=text(sandbox.get("metadata-name")) if sandbox.get("pod") else pod_name,
        namespace=text(sandbox.get("namespace")), pod_uid=text(sandbox.get("uid")),
    )  # fmt: skip
