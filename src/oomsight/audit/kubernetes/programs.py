"""The programs of a pod, with the limit that applies to each: for the runtime rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from oomsight.audit.configs.kinds import config_kind
from oomsight.audit.configs.read import read_config_file
from oomsight.audit.program import Program, command_words
from oomsight.audit.quantity import KUBERNETES
from oomsight.audit.runtimes import recognise

if TYPE_CHECKING:
    from oomsight.audit.configs.read import ConfigFile
    from oomsight.audit.kubernetes.model import Container, PodCase
    from oomsight.audit.model import Where

HEAD_CHARS: Final = 4096


def pod_programs(case: PodCase) -> Iterator[Program]:
    """Yield what runs in each container of the pod, variables and configuration files of ConfigMaps included."""
    for container in case.pod.containers:
        effective = case.effective(container)
        limit = effective.limit_bytes
        if limit is None and case.pod.limit is not None:
            limit = case.pod.limit.value_bytes
        env, places = _environment(case, container)
        argv = command_words(list(container.words), env) if len(env) > len(container.env) else container.argv
        config = _mounted(case, container, recognise(argv, env, container.image))
        yield Program(
            container.where, container.subject, argv, env, container.image,
            limit, limit is None and container.limit is None, effective.request_bytes, None,
            cpus(container.cpu_limit), places, container.limit.where if container.limit else None,
            config.settings if config else {}, config.path if config else "configuration",
            replaces_entrypoint=container.has_command,
        )  # fmt: skip


def _environment(case: PodCase, container: Container) -> tuple[Mapping[str, str], Mapping[str, Where]]:
    if not case.cluster.config_maps or not (container.env_from or container.env_refs):
        return container.env, container.env_places
    env: dict[str, str] = {}
    places: dict[str, Where] = {}
    space, where = case.pod.namespace, case.pod.where
    for name in container.env_from:
        if (found := case.cluster.config_map(space, name, where)) is not None:
            env.update(found.data)
            places.update(found.places)
    for variable, name, key in container.env_refs:
        found = case.cluster.config_map(space, name, where)
        if found is not None and key in found.data:
            env[variable] = found.data[key]
            places[variable] = found.places[key]
    return {**env, **container.env}, {**places, **container.env_places}


def _mounted(case: PodCase, container: Container, runtime: str | None) -> ConfigFile | None:
    """Return the configuration of *runtime* among the files that ConfigMaps show in *container*."""
    if runtime is None or not case.cluster.config_maps:
        return None
    for mount in container.mounts:
        name = case.pod.config_maps.get(mount.volume)
        found = case.cluster.config_map(case.pod.namespace, name, case.pod.where) if name else None
        for key, text in found.data.items() if found else ():
            kind = config_kind(key, text[:HEAD_CHARS].encode("utf-8", "replace"))
            if kind is not None and kind.runtime == runtime:
                return read_config_file(kind, key, text)
    return None


def cpus(text: str | None) -> float | None:
    """Return the cores of a CPU quantity (``500m``, ``2``); ``None`` = not given or wrong."""
    if not text:
        return None
    number, suffix = (text[:-1], text[-1]) if text[-1] in "mun" else (text, "")
    try:
        return float(Fraction(number) * KUBERNETES[suffix])
    except (ValueError, ZeroDivisionError):
        return None
