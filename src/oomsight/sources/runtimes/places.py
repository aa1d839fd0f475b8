"""Where runtimes keep their sockets and files, below a movable root; small readers that never raise."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from oomsight.sources.errors import from_os_error

MAX_FILE_BYTES: Final = 4 << 20  #: of one configuration file; an OCI config.json is some 10 KiB
MAX_ENTRIES: Final = 20_000  #: of one directory

_FRACTION: Final = re.compile(r"(\.\d{6})\d+")


@dataclass(frozen=True, slots=True)
class Places:
    """
    Where to look. Relative paths are below *root*.

    ``programs`` says whether programs of this host (systemctl) may be asked; they know nothing of another
    root. ``*_sockets`` that are absolute were given by the user (DOCKER_HOST) and stay as they are.
    """

    root: str = "/"
    docker_sockets: tuple[str, ...] = ("run/docker.sock", "var/run/docker.sock")
    docker_data: tuple[str, ...] = ("var/lib/docker", "var/snap/docker/common/var-lib-docker")
    podman_sockets: tuple[str, ...] = ("run/podman/podman.sock", "run/user/*/podman/podman.sock")
    cri_sockets: tuple[str, ...] = (
        "run/containerd/containerd.sock", "run/crio/crio.sock", "run/k3s/containerd/containerd.sock",
        "run/cri-dockerd.sock",
    )  # fmt: skip
    bundles: tuple[str, ...] = (
        "run/containerd/io.containerd.runtime.v2.task", "run/k3s/containerd/io.containerd.runtime.v2.task",
        "run/docker/containerd/daemon/io.containerd.runtime.v2.task",
    )  # fmt: skip
    storages: tuple[str, ...] = ("run/containers/storage/overlay-containers",)
    storage_lists: tuple[str, ...] = (
        "var/lib/containers/storage/overlay-containers/containers.json",
        "home/*/.local/share/containers/storage/overlay-containers/containers.json",
        "root/.local/share/containers/storage/overlay-containers/containers.json",
    )  # fmt: skip
    proc: str = "proc"
    cgroup: str = "sys/fs/cgroup"
    programs: bool = field(default=True)

    def path(self, relative: str) -> str:
        """Return *relative* below the root; an absolute path as it is."""
        return relative if os.path.isabs(relative) else os.path.join(self.root, relative)

    def found(self, patterns: tuple[str, ...]) -> list[str]:
        """Return the paths of *patterns* (shell patterns allowed) that exist, each file once."""
        from glob import glob

        seen: dict[str, str] = {}
        for pattern in patterns:
            for path in sorted(glob(self.path(pattern))):
                seen.setdefault(os.path.realpath(path), path)
        return list(seen.values())


def read_text(path: str) -> str | None:
    """Return the text of a small file (UTF-8, odd bytes kept); ``None`` = not there, not readable, or too big."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError):
        return None
    return data.decode("utf-8", "surrogateescape") if len(data) <= MAX_FILE_BYTES else None


def read_json(path: str) -> dict[str, Any] | None:
    """Return the JSON object of a small file; ``None`` = none there."""
    return json_object(read_text(path))


def json_object(text: str | bytes | None) -> dict[str, Any] | None:
    """Return the JSON object *text* holds; ``None`` for anything else."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def listed(path: str) -> list[str]:
    """Return the sorted names in a directory; raises a source error when it cannot be read."""
    try:
        with os.scandir(path) as entries:
            names = [entry.name for entry, _ in zip(entries, range(MAX_ENTRIES), strict=False)]
    except OSError as error:
        raise from_os_error(path, error, "sudo") from None
    return sorted(names)


def key_values(path: str) -> dict[str, str]:
    """Return the ``KEY=value`` lines of a file (systemd's state files); empty when it cannot be read."""
    lines = (read_text(path) or "").split("\n")
    return {key: value.strip('"') for line in lines if "=" in line for key, _, value in [line.partition("=")]}


def obj(value: Any, *keys: str) -> dict[str, Any]:
    """Return the object below *keys* of a JSON value; empty when there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str | None:
    """Return *value* if it is a string that is not empty."""
    return value if isinstance(value, str) and value else None


def whole(value: Any) -> int | None:
    """Return *value* as an integer (JSON writes 64-bit numbers as strings); ``None`` = it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.lstrip("-").isdigit() else None


def moment(value: Any) -> float | None:
    """Return an RFC 3339 time, or nanoseconds since 1970, as unix seconds; ``None`` for Go's zero time and nonsense."""
    number = whole(value)
    if number is not None:
        return number / 1e9 if number > 0 else None
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(_FRACTION.sub(r"\1", value))
    except ValueError:
        return None
    if found.year < 1971:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def labels_of(value: Any) -> tuple[tuple[str, str], ...] | None:
    """Return a JSON object of labels, sorted; ``None`` = no object."""
    if not isinstance(value, dict):
        return None
    return tuple(sorted((k, v) for k, v in value.items() if isinstance(v, str)))
