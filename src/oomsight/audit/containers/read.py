"""
Running containers out of what runtimes say: an answer of the Engine API (Docker, podman) or an OCI ``config.json``
(containerd, CRI-O, podman without its socket). Sources: Docker Engine API v1.43, ContainerInspect; OCI runtime-spec
1.1, config.md and config-linux.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.proc.memcg import Memcg

UNLIMITED_BYTES: Final = 1 << 62  #: more is how runtimes write "no limit"
SHORT_ID: Final = 12

Bound = int | Literal["unlimited"] | None
"""Bytes or a number; ``None`` = not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container. ``None`` = not told."""

    id: str
    name: str
    runtime: str  #: docker, podman, containerd, cri-o
    image: str | None = None
    pid: int | None = None  #: of its first process, as the host counts
    limit_bytes: Bound = None
    total_bytes: Bound = None  #: memory and swap together
    reservation_bytes: int | None = None
    oom_score_adj: int | None = None
    oom_kill_disable: bool | None = None
    pids_limit: Bound = None
    shm_bytes: int | None = None
    restarts: int | None = None
    oom_killed: bool | None = None  #: its last end, or (podman, v2) something in it
    running: bool = True
    in_pod: bool = False  #: its pod's cgroup may bound it, and its manifest is where to change that
    memcg: Memcg | None = None  #: its cgroup
    bound_bytes: int | None = None  #: least limit of its cgroup and those above
    ram_bytes: int | None = None  #: of the host
    swap_bytes: int | None = None  #: of the host

    @property
    def key(self) -> str:
        """How people call it."""
        return self.name or self.id[:SHORT_ID]

    @property
    def subject(self) -> str:
        """Marked: ``container web``."""
        return f"container {mark(self.key, Kind.OWNER)}"

    @property
    def limited(self) -> bool:
        """Whether anything bounds its memory below RAM."""
        if self.bound_bytes is not None:
            return True
        return isinstance(self.limit_bytes, int)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _map(value: Any, *keys: str) -> Mapping[str, Any]:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _bound(value: Any) -> Bound:
    number = _whole(value)
    if number is None:
        return None
    return number if 0 < number < UNLIMITED_BYTES else "unlimited"


def of_inspect(found: Mapping[str, Any], runtime: str) -> Container | None:
    """Return the container an ``inspect`` answer of the Engine API describes; ``None`` = it is none."""
    container_id = _text(found.get("Id"))
    if not container_id:
        return None
    host, state = _map(found, "HostConfig"), _map(found, "State")
    labels = _map(found, "Config", "Labels")
    swap = _whole(host.get("MemorySwap"))
    limit = _bound(host.get("Memory"))
    flag, disabled = state.get("OOMKilled"), host.get("OomKillDisable")
    return Container(
        id=container_id, name=_text(found.get("Name")).lstrip("/"), runtime=runtime,
        image=_text(_map(found, "Config").get("Image")) or _text(found.get("ImageName")) or None,
        pid=_whole(state.get("Pid")) or None, limit_bytes="unlimited" if limit is None else limit,
        # 0 with a limit: as much swap again (Docker documentation, --memory-swap).
        total_bytes=(2 * limit if isinstance(limit, int) else None) if not swap else _bound(swap),
        reservation_bytes=_whole(host.get("MemoryReservation")) or None, oom_score_adj=_whole(host.get("OomScoreAdj")),
        oom_kill_disable=disabled if isinstance(disabled, bool) else None,
        pids_limit="unlimited" if not host.get("PidsLimit") else _bound(host.get("PidsLimit")),
        shm_bytes=_whole(host.get("ShmSize")) or None, restarts=_whole(found.get("RestartCount")),
        oom_killed=flag if isinstance(flag, bool) else None, running=bool(state.get("Running")),
        in_pod="io.kubernetes.pod.uid" in labels,
    )  # fmt: skip


_SANDBOX: Final = ("io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType")
_NAMES: Final = ("io.kubernetes.cri.container-name", "io.kubernetes.container.name", "nerdctl/name", "io.podman.name")
_IMAGES: Final = ("io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName", "org.opencontainers.image.ref.name")
_PODS: Final = ("io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid")


def of_bundle(container_id: str, config: Mapping[str, Any], runtime: str, pid: int | None) -> Container | None:
    """Return the container of an OCI bundle; ``None`` = a pod's sandbox, which holds a process that only waits."""
    notes = _map(config, "annotations")
    if any(notes.get(key) == "sandbox" for key in _SANDBOX):
        return None
    memory = _map(config, "linux", "resources", "memory")
    pids = _map(config, "linux", "resources", "pids")
    disabled = memory.get("disableOOMKiller")
    mounts = config.get("mounts")
    shm = [row for row in mounts if isinstance(row, Mapping) and row.get("destination") == "/dev/shm"] if isinstance(
        mounts, list) else []  # fmt: skip

    def note(keys: tuple[str, ...]) -> str:
        return next((text for key in keys if (text := _text(notes.get(key)))), "")

    return Container(
        id=container_id, name=note(_NAMES) or (_text(config.get("hostname")) if runtime == "podman" else container_id),
        runtime=runtime, image=note(_IMAGES) or None, pid=pid, limit_bytes=_bound(memory.get("limit")) or "unlimited",
        total_bytes=_bound(memory.get("swap")), reservation_bytes=_whole(memory.get("reservation")) or None,
        oom_score_adj=_whole(_map(config, "process").get("oomScoreAdj")),
        oom_kill_disable=disabled if isinstance(disabled, bool) else None,
        pids_limit=_bound(pids.get("limit")) or "unlimited", shm_bytes=_shm(shm[0]) if shm else None,
        in_pod=bool(note(_PODS)),
    )  # fmt: skip


def _shm(mount: Mapping[str, Any]) -> int | None:
    options = mount.get("options")
    for option in options if isinstance(options, list) else ():
        text = _text(option)
        digits, unit = text.removeprefix("size=").rstrip("kmgKMG"), text[-1:].lower()
        if text.startswith("size=") and digits.isascii() and digits.isdigit() and len(digits) < 19:
            return int(digits) << {"k": 10, "m": 20, "g": 30}.get(unit, 0)
    return None
