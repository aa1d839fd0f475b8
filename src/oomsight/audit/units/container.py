"""Containers that a unit runs: ``docker run`` and ``podman run`` in ExecStart=, and quadlets (podman-systemd.unit(5))."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from oomsight.audit.quantity import Size, docker_size

if TYPE_CHECKING:
    from oomsight.audit.model import Where
    from oomsight.audit.units.setting import Setting

QUADLETS: Final = (".container", ".pod")
_TOOLS: Final = frozenset({"docker", "podman"})
_SHORT: Final = {"m": "memory", "e": "env", "d": "", "i": "", "t": "", "P": "", "q": ""}
_SWITCHES: Final = frozenset(
    {"detach", "rm", "interactive", "tty", "init", "privileged", "publish-all", "read-only", "oom-kill-disable",
     "no-healthcheck", "quiet", "replace", "rmi", "no-hosts", "no-hostname", "env-host"}
)  # fmt: skip
"""Options of ``run`` that take no word behind them (``--rm``); ``--rm=false`` is possible all the same."""
_KEYS: Final = {
    "Memory": "memory", "ShmSize": "shm-size", "PidsLimit": "pids-limit", "CgroupsMode": "cgroups", "Tmpfs": "tmpfs",
    "Environment": "env", "EnvironmentFile": "env-file", "Entrypoint": "entrypoint",
}  # fmt: skip
"""Keys of [Container] that become an option (podman, pkg/systemd/quadlet/quadlet.go)."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option, as it is written."""

    name: str  #: ``--memory``; in a quadlet ``Memory``
    text: str
    where: Where

    @property
    def known(self) -> bool:
        """Whether it is all there: systemd fills in ``%i`` and ``${SIZE}``."""
        return "$" not in self.text and "%" not in self.text

    @property
    def size(self) -> Size:
        """As a size; what is not known has neither bytes nor a problem."""
        return docker_size(self.text) if self.known else Size(None)

    def bytes(self) -> int | None:
        """As bytes; ``None`` = wrong, not known, or without a bound."""
        return self.size.size_bytes or None


@dataclass(frozen=True, slots=True)
class ContainerRun:
    """A container as it will be started."""

    tool: Literal["docker", "podman"]
    where: Where
    options: Mapping[str, Sequence[Option]] = field(default_factory=dict)
    image: str | None = None
    command: tuple[str, ...] = ()
    quadlet: bool = False

    def option(self, name: str) -> Option | None:
        """Return the last value of an option; ``None`` = not given."""
        rows = self.options.get(name)
        return rows[-1] if rows else None

    def limit_bytes(self) -> int | None:
        """Return the container's own memory limit; ``None`` = none, wrong, or not known."""
        found = self.option("memory")
        return found.bytes() if found else None

    @property
    def in_unit(self) -> bool:
        """Whether the container stays below the unit's cgroup, so that MemoryMax= of the unit bounds it."""
        mode = self.option("cgroups")
        if self.tool == "docker":  # the daemon starts it
            return False
        return (mode.text if mode else "split" if self.quadlet else "enabled") in {"split", "disabled"}

    def environment(self) -> Iterator[tuple[str, str, Where]]:
        """Yield the variables that are given with a value."""
        for row in self.options.get("env", ()):
            name, sign, value = row.text.partition("=")
            if sign:
                yield name, value, row.where


def of_command(words: Sequence[str], where: Where) -> ContainerRun | None:
    """Return the container that the command *words* starts; ``None`` = it starts none."""
    tool = words[0].rpartition("/")[2] if words else ""
    at = next((i for i, word in enumerate(words[1:6], 1) if word == "run"), None)
    if tool not in _TOOLS or at is None:
        return None
    options, rest = _options(words[at + 1 :], where)
    return ContainerRun(
        "docker" if tool == "docker" else "podman", where, options, rest[0] if rest else None, tuple(rest[1:])
    )  # fmt: skip


def of_quadlet(settings: Sequence[Setting], where: Where, split: Callable[[str], Sequence[str]]) -> ContainerRun | None:
    """Return the container or pod that a quadlet describes; *split* takes a value apart into words."""
    options: dict[str, list[Option]] = {}
    image, seen = None, False
    command: tuple[str, ...] = ()
    for row in settings:
        if row.section not in {"Container", "Pod"}:
            continue
        seen = True
        if row.key == "Image":
            image = row.value
        elif row.key == "Exec":
            command = tuple(split(row.value))
        elif row.key == "PodmanArgs":
            for name, rows in _options(split(row.value), row.where)[0].items():
                options.setdefault(name, []).extend(rows)
        elif row.key in _KEYS:
            texts = split(row.value) if row.key == "Environment" else [row.value]
            options.setdefault(_KEYS[row.key], []).extend(Option(row.key, text, row.where) for text in texts)
    return ContainerRun("podman", where, options, image, command, quadlet=True) if seen else None


def _options(words: Sequence[str], where: Where) -> tuple[dict[str, list[Option]], Sequence[str]]:
    """Return the options at the beginning of *words* by their long name, and the rest."""
    found: dict[str, list[Option]] = {}
    at = 0
    while at < len(words) and words[at].startswith("-") and len(words[at]) > 1:
        word = words[at]
        at += 1
        if word.startswith("--"):
            name, sign, value = word[2:].partition("=")
            if not sign and name not in _SWITCHES and at < len(words):
                value = words[at]
                at += 1
            found.setdefault(name, []).append(Option(f"--{name}", value, where))
            continue
        letters = word[1:]
        while letters and _SHORT.get(letters[0]) == "":  # -dit, and -itm 512m
            letters = letters[1:]
        if letters:
            value = letters[1:].removeprefix("=")
            if not value and at < len(words):
                value = words[at]
                at += 1
            name = _SHORT.get(letters[0], letters[0])
            found.setdefault(name, []).append(Option(f"--{name}" if len(name) > 1 else f"-{name}", value, where))
    return found, words[at:]
