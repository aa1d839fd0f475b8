"""
Kubernetes names without any API: the kubelet's log directories hold them, for every user to list.

``/var/log/pods/<namespace>_<pod>_<uid>/<container>/`` and the links
``/var/log/containers/<pod>_<namespace>_<container>-<container id>.log``; both outlive the container for a while.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final

from oomsight.attribute.memory import Key, Observation
from oomsight.attribute.model import Names
from oomsight.sources.errors import SourceError
from oomsight.sources.runtimes.places import Places, listed

# Names of Kubernetes objects are DNS labels: they hold no underscore.
_POD: Final = re.compile(r"(?P<namespace>[a-z0-9.-]+)_(?P<pod>[a-z0-9.-]+)_(?P<uid>[0-9a-f-]{32,36})")
_LINK: Final = re.compile(
    r"(?P<pod>[a-z0-9.-]+)_(?P<namespace>[a-z0-9.-]+)_(?P<container>[a-z0-9.-]+)-(?P<id>[0-9a-f]{64})\.log"
)


def observe_pods(places: Places, now: float) -> Iterator[Observation]:
    """Yield pods and containers by their log files; raises :class:`SourceError` when there are none."""
    folder, links = places.path("var/log/pods"), places.path("var/log/containers")
    pods: dict[tuple[str, str], str] = {}
    names: list[str] = []
    try:
        names = listed(folder)
    except SourceError as error:
        if not os.path.isdir(links):
            raise SourceError(folder, error.what, "run on the node, or --root with the host's /var/log") from None
    for name in names:
        if m := _POD.fullmatch(name):
            pods[m["namespace"], m["pod"]] = m["uid"]
            since = _created(os.path.join(folder, name))
            pod = Names(pod=m["pod"], namespace=m["namespace"], pod_uid=m["uid"])
            yield Observation(Key("pod", m["uid"]), pod, now, since)
    try:
        names = listed(links)
    except SourceError:
        return
    for name in names:
        if m := _LINK.fullmatch(name):
            found = Names(
                container=m["container"], pod=m["pod"], namespace=m["namespace"],
                pod_uid=pods.get((m["namespace"], m["pod"])),
            )  # fmt: skip
            yield Observation(Key("container", m["id"]), found, now, _created(os.path.join(links, name)))


def _created(path: str) -> float | None:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return None
