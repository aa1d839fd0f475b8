"""
Names for a cgroup: what one source knows (:class:`Names`), and everything known at a moment (:class:`Attribution`).

``None`` = not known; in text that is the word "unknown", never "/". Names are raw; sentences are marked text.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal

UNKNOWN: Final = "unknown"
"""What stands in text and in labels for a name that is not known."""

UNLIMITED: Final = "unlimited"

LimitBytes = int | Literal["unlimited"] | None
"""A memory limit in bytes, ``"unlimited"``, or ``None`` when not known."""

Labels = tuple[tuple[str, str], ...]

MAX_TEXT_CHARS: Final = 512  #: of one name; longer ones are cut, whoever starts containers chooses them
MAX_LABELS: Final = 64  #: of one container


@dataclass(frozen=True, slots=True)
class Names:
    """What a source knows about one container, pod, session or machine; ``None`` = it does not say."""

    container: str | None = None  #: name as the user gave it: Docker's, or the container's in its pod
    image: str | None = None
    runtime: str | None = None  #: docker, podman, containerd, cri-o, lxc, nspawn, qemu, …
    labels: Labels | None = None  #: sorted by key
    pod: str | None = None
    namespace: str | None = None  #: of Kubernetes
    pod_uid: str | None = None  #: with dashes
    qos: str | None = None  #: guaranteed, burstable, besteffort
    unit: str | None = None
    user: str | None = None  #: login name
    uid: int | None = None
    machine: str | None = None  #: host name of a system container or virtual machine
    limit_bytes: LimitBytes = None  #: of the subject itself, not of what is around it
    main_pid: int | None = None  #: of the container's first process, as the host numbers it

    def contradicts(self, other: Names) -> bool:
        """
        Whether both know one of :data:`TELLING` and say different things: the id was reused, or something changed.

        Sources spell images and runtimes differently; that is no change.
        """
        pairs = ((getattr(self, name), getattr(other, name)) for name in TELLING)
        return any(mine is not None and theirs is not None and mine != theirs for mine, theirs in pairs)

    def filled(self, other: Names, only: frozenset[str] | None = None) -> Names:
        """Return these names, with what they lack (of the fields *only*) taken from *other*."""
        missing = {
            name: getattr(other, name)
            for name in FIELDS
            if getattr(self, name) is None and (only is None or name in only)
        }
        return replace(self, **missing)

    def bounded(self) -> Names:
        """Return these names, each at most :data:`MAX_TEXT_CHARS` long and at most :data:`MAX_LABELS` labels."""
        cut: dict[str, Any] = {
            name: value[:MAX_TEXT_CHARS]
            for name in FIELDS
            if isinstance(value := getattr(self, name), str) and len(value) > MAX_TEXT_CHARS
        }
        labels = self.labels
        if labels:
            labels = tuple((k[:MAX_TEXT_CHARS], v[:MAX_TEXT_CHARS]) for k, v in sorted(labels)[:MAX_LABELS])
        return replace(self, labels=labels, **cut)


FIELDS: Final = tuple(f.name for f in fields(Names))

TELLING: Final = ("container", "pod", "namespace", "pod_uid", "user", "uid", "machine", "limit_bytes", "main_pid")
"""Fields whose change means another subject, or another time of it."""

POD_FIELDS: Final = frozenset({"pod", "namespace", "pod_uid", "qos"})
"""What a pod's names tell about each of its containers; labels and limit of the pod are not the container's."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """
    Whose a cgroup was at a moment.

    The fields describe the innermost owner: what a person inside would name. ``host`` is the owner around it that the
    node itself knows (a kind node around a pod). ``path`` is ``None`` when the event names no cgroup.
    """

    path: str | None
    level: str  #: container, pod, qos class, all pods, unit, slice, user, session, machine, root, cgroup
    words: str  #: marked text for sentences
    short: str  #: marked text for tables and headlines
    orchestrator: str | None = None
    runtime: str | None = None
    container_id: str | None = None
    container: str | None = None
    image: str | None = None
    labels: Labels | None = None
    pod: str | None = None
    namespace: str | None = None
    pod_uid: str | None = None
    qos: str | None = None
    unit: str | None = None
    slice: str | None = None
    uid: int | None = None
    user: str | None = None
    session: str | None = None
    machine: str | None = None
    limit_bytes: LimitBytes = None
    node: str | None = None  #: host the event was on
    main_pid: int | None = None
    first_seen: float | None = None  #: unix seconds the names were first and last seen; ``None`` = never, path only
    last_seen: float | None = None
    host: Attribution | None = None

    @property
    def name(self) -> str:
        """
        The shortest name people use: ``namespace/pod:container``, container, unit, machine, user; else "unknown".

        Raw, not marked; for labels and grouping.
        """
        if self.pod is not None:
            where = f"{self.namespace or UNKNOWN}/{self.pod}"
            return f"{where}:{self.container}" if self.container else where
        if self.level in {"container", "pod"}:
            return self.container or UNKNOWN
        user = self.user or (f"uid {self.uid}" if self.uid is not None else None)
        if self.level in {"session", "user"}:
            return user or UNKNOWN
        return self.container or self.machine or self.unit or user or self.slice or UNKNOWN

    def text(self, field: str) -> str:
        """Return *field* for people and labels: "unknown" for what is not known."""
        value = getattr(self, field)
        return UNKNOWN if value is None else str(value)

    def survived_by_main(self, pid: int | None) -> bool | None:
        """
        Whether the container's main process is another one than the killed *pid*, and so lives on for now.

        ``None`` = one of the two is not known.
        """
        return None if pid is None or self.main_pid is None else pid != self.main_pid
