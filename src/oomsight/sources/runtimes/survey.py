"""Everything this host can say about names, and what it cannot."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from oomsight.attribute.memory import Key, Observation
from oomsight.attribute.model import UNLIMITED, LimitBytes, Names
from oomsight.naming.cgroup_path import Owner, split
from oomsight.sources.errors import SourceError
from oomsight.sources.runtimes import cri, cri_socket, docker, machines, podman, pods, systemd
from oomsight.sources.runtimes.places import Places, read_text

Observe = Callable[[Places, float], Iterator[Observation]]

SOURCES: Final[tuple[tuple[str, Observe], ...]] = (
    ("docker", docker.observe_docker),
    ("docker files", docker.observe_docker_files),
    ("containers/storage", podman.observe_storage),
    ("CRI", cri_socket.observe_cri),
    ("bundles", cri.observe_bundles),
    ("pod logs", pods.observe_pods),
    ("sessions", systemd.observe_sessions),
    ("machines", machines.observe_machines),
)
"""Every source of names. Later ones complete what earlier ones said."""

_V1_UNLIMITED: Final = 1 << 62  # cgroup v1 prints PAGE_COUNTER_MAX pages in bytes, just below 2^63


@dataclass(slots=True)
class Survey:
    """What one round of asking brought."""

    observations: list[Observation] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)  #: names of the sources that had something
    missing: list[str] = field(default_factory=list)  #: one line for each that had not: what is wrong, what would help


def survey(places: Places, now: float) -> Survey:
    """Ask every source of names; *now* is unix seconds. Never raises."""
    result = Survey()
    for name, observe in SOURCES:
        count = len(result.observations)
        try:
            # Not extend(): what was read before a source failed counts.
            for observation in observe(places, now):
                result.observations.append(observation)
        except SourceError as error:
            result.missing.append(str(error))
        if len(result.observations) > count:
            result.answered.append(name)
    return result


def look_up(places: Places, owner: Owner, now: float) -> list[Observation]:
    """
    Return what can be said quickly about one owner: its container by the runtimes' API, its limit by its cgroup.

    For a kill that was just seen: the cheap questions first. Never raises.
    """
    found: list[Observation] = []
    if owner.container_id:
        for engine in docker.engines(places):
            try:
                answer = engine.inspect(owner.container_id)
            except SourceError:
                continue
            if answer is not None:
                found.append(docker.observation(answer, engine.runtime, now))
        if not found:
            found += cri_socket.look_up(places, owner.container_id, now)
    quick: list[Observe] = []
    if not found and (owner.container_id or owner.pod_uid):
        quick += [cri.observe_bundles, pods.observe_pods]
    if owner.session or owner.uid is not None:
        quick.append(systemd.observe_sessions)
    if owner.machine:
        quick.append(machines.observe_machines)
    for observe in quick:
        try:
            found += observe(places, now)
        except SourceError:
            continue
    limit = limit_bytes(places, owner.path)
    if limit is not None:
        path = "/" + "/".join(part for part in split(owner.path)[1] if part)
        found.append(Observation(Key("cgroup", path), Names(limit_bytes=limit), now))
    return found


def limit_bytes(places: Places, path: str) -> LimitBytes:
    """Return the memory limit of the cgroup *path* as the kernel has it now; ``None`` = it is gone, or not readable."""
    below = os.path.join(*[part for part in split(path)[1] if part], "") if any(split(path)[1]) else ""
    if ".." in below.split("/"):
        return None
    for mount, file in (("", "memory.max"), ("memory", "memory.limit_in_bytes"), ("unified", "memory.max")):
        text = (read_text(os.path.join(places.path(places.cgroup), mount, below, file)) or "").strip()
        if text == "max":
            return UNLIMITED
        if text.isascii() and text.isdigit():
            return UNLIMITED if int(text) >= _V1_UNLIMITED else int(text)
    return None
