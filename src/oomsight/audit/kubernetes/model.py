"""What Kubernetes objects say about memory, places kept."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.audit.model import Where
    from oomsight.audit.quantity import Size
    from oomsight.audit.tree import Node

ContainerKind = Literal["app", "init", "sidecar"]

KIND_WORDS: Final[dict[ContainerKind, str]] = {
    "app": "container", "init": "init container", "sidecar": "sidecar",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quantity:
    """A memory quantity as it is written."""

    text: str
    size: Size
    where: Where

    @property
    def value_bytes(self) -> int | None:
        """Bytes; ``None`` = wrong, or not known."""
        return self.size.size_bytes

    @property
    def is_placeholder(self) -> bool:
        """Whether something that is not here fills it in."""
        return self.size.size_bytes is None and self.size.problem is None


@dataclass(frozen=True, slots=True)
class Hook:
    """Something run inside a container besides its program: a probe or a lifecycle hook with ``exec``."""

    name: str  #: ``livenessProbe``, ``preStop``
    command: tuple[str, ...]
    where: Where
    period_seconds: int | None  #: of a probe


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume mounted into a container."""

    volume: str
    path: str


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a pod, with what it says itself; see :class:`Pod` for what applies in the end."""

    name: str
    kind: ContainerKind
    where: Where
    subject: str  #: marked
    image: str | None
    request: Quantity | None
    limit: Quantity | None
    has_cpu: bool  #: a CPU request or limit is written
    cpu_request: str | None
    cpu_limit: str | None
    argv: tuple[str, ...]
    env: Mapping[str, str]
    env_places: Mapping[str, Where]
    mounts: tuple[Mount, ...]
    hooks: tuple[Hook, ...]
    resources_where: Where  #: of ``resources``, else of the container
    words: tuple[str, ...] = ()  #: command and arguments as they are written
    has_command: bool = False  #: the entry point of the image is replaced
    env_from: tuple[str, ...] = ()  #: ConfigMaps all of whose keys are variables
    env_refs: tuple[tuple[str, str, str], ...] = ()  #: variable, ConfigMap, key


@dataclass(frozen=True, slots=True)
class MemoryVolume:
    """An ``emptyDir`` with ``medium: Memory``."""

    name: str
    limit: Quantity | None
    where: Where


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod, or the template of one."""

    subject: str  #: marked: ``Deployment/api``
    kind: str
    name: str
    namespace: str | None
    where: Where
    containers: tuple[Container, ...]
    volumes: tuple[MemoryVolume, ...]
    priority_class: str | None
    request: Quantity | None  #: of the pod as a whole (pod-level resources, 1.32 and later)
    limit: Quantity | None
    replicas: int | None
    windows: bool = False
    config_maps: Mapping[str, str] = field(default_factory=dict)  #: ConfigMap by the volume that shows it

    def quantities(self) -> Iterator[tuple[str, str, Quantity]]:
        """Yield every quantity of the pod: subject and name in words (marked), and the quantity."""
        rows: list[tuple[str, str, Quantity | None]] = [
            (self.subject, "request of the pod", self.request), (self.subject, "limit of the pod", self.limit)
        ]  # fmt: skip
        for container in self.containers:
            rows += [
                (container.subject, "memory request", container.request),
                (container.subject, "memory limit", container.limit),
            ]
        rows += [
            (self.subject, f"sizeLimit of volume {mark(volume.name, Kind.OWNER)}", volume.limit) for volume in self.volumes
        ]  # fmt: skip
        yield from ((subject, words, quantity) for subject, words, quantity in rows if quantity is not None)

    def running(self) -> tuple[Container, ...]:
        """Containers that run beside each other: apps and sidecars."""
        return tuple(container for container in self.containers if container.kind != "init")


@dataclass(frozen=True, slots=True)
class LimitRange:
    """The memory part of a LimitRange, for containers unless said otherwise."""

    subject: str
    namespace: str | None
    where: Where
    kind: str  #: ``Container``, ``Pod``
    default: Quantity | None = None  #: limit of containers that give none
    default_request: Quantity | None = None
    maximum: Quantity | None = None
    minimum: Quantity | None = None
    ratio: Quantity | None = None  #: maxLimitRequestRatio


@dataclass(frozen=True, slots=True)
class Quota:
    """The memory part of a ResourceQuota."""

    subject: str
    namespace: str | None
    where: Where
    limits: Quantity | None
    requests: Quantity | None


@dataclass(frozen=True, slots=True)
class PriorityClass:
    """A PriorityClass."""

    subject: str
    name: str
    value: int | None
    is_default: bool
    where: Where


@dataclass(frozen=True, slots=True)
class KubeletConfig:
    """A KubeletConfiguration."""

    subject: str
    where: Where
    node: Node


@dataclass(frozen=True, slots=True)
class ConfigMap:
    """A ConfigMap that holds what a runtime reads."""

    name: str
    namespace: str | None
    data: Mapping[str, str]
    places: Mapping[str, Where]  #: by key
    where: Where


@dataclass(slots=True)
class Cluster:
    """What the audited set says about the namespaces its pods are for."""

    ranges: list[LimitRange] = field(default_factory=list)
    quotas: list[Quota] = field(default_factory=list)
    classes: dict[str, PriorityClass] = field(default_factory=dict)
    config_maps: dict[tuple[str | None, str], list[ConfigMap]] = field(default_factory=dict)
    """By namespace and name; several where several directories have one of that name."""

    def range_of(self, pod: Pod) -> list[LimitRange]:
        """Return the limit ranges for containers that apply to *pod*."""
        return [row for row in self.ranges if row.kind == "Container" and same_namespace(row, pod.namespace, pod.where)]

    def config_map(self, namespace: str | None, name: str, where: Where) -> ConfigMap | None:
        """Return the ConfigMap called *name* for an object at *where*: of several the one in the nearest directory."""
        rows = self.config_maps.get((namespace, name), ())
        if len(rows) < 2:
            return rows[0] if rows else None
        near = [row for row in rows if _is_below(where, row.where)]
        return max(near, key=lambda row: (row.where.path == where.path, len(_folder(row.where))), default=None)


def same_namespace(bound: LimitRange | Quota, namespace: str | None, where: Where) -> bool:
    """
    Whether *bound* counts for an object of *namespace* at *where*. Where neither names one the files have to say it:
    both are applied together if the object's lies in the directory of the bound or below.
    """
    return bound.namespace == namespace and (namespace is not None or _is_below(where, bound.where))


def _folder(where: Where) -> str:
    return posixpath.dirname((where.path or "").removeprefix("./")).rstrip("/")


def _is_below(where: Where, bound: Where) -> bool:
    folder = _folder(bound)
    return f"{_folder(where)}/".startswith(f"{folder}/") or folder in {"", "."}


@dataclass(frozen=True, slots=True)
class Effective:
    """What applies to a container once defaults are filled in, as the API server does."""

    request_bytes: int | None
    limit_bytes: int | None
    request_from: str | None  #: ``its limit``, ``LimitRange/defaults``; ``None`` = written in the container
    limit_from: str | None


@dataclass(frozen=True, slots=True)
class PodCase:
    """A pod and the cluster it is for: subject of the rules of scope ``pod``."""

    pod: Pod
    cluster: Cluster
    _known: dict[int, Effective] = field(init=False, default_factory=dict)  # by id() of the container

    def effective(self, container: Container) -> Effective:
        """Return request and limit of *container* with defaults (a LimitRange's, then request = limit)."""
        found = self._known.get(id(container))
        if found is None:
            found = self._known[id(container)] = self._effective(container)
        return found

    def _effective(self, container: Container) -> Effective:
        limit = container.limit.value_bytes if container.limit else None
        request = container.request.value_bytes if container.request else None
        limit_from = request_from = None
        for row in self.cluster.range_of(self.pod):
            if container.limit is None and limit is None and row.default and row.default.value_bytes is not None:
                limit, limit_from = row.default.value_bytes, row.subject
            if container.request is None and container.limit is None and request is None:
                chosen = row.default_request or row.default
                if chosen and chosen.value_bytes is not None:
                    request, request_from = chosen.value_bytes, row.subject
        if request is None and container.request is None and limit is not None:
            request, request_from = limit, "its limit"
        return Effective(request, limit, request_from, limit_from)
