"""
Kernel logs that come with oomsight, to try it on a host where nothing was ever killed: ``python3 -m oomsight.data``.

Nothing in them is invented: each holds what a real Linux 6.12.107 (Debian's build, in QEMU) printed when the OOM killer
ran in a scripted scenario. Names of programs, units and pods are the scenario's.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from oomsight._named import NamedTuple


class Capture(NamedTuple):
    """One bundled log."""

    name: str
    words: str  #: what happened
    origin: str  #: kernel, scenario and how the text was taken


CAPTURES: Final[tuple[Capture, ...]] = (
    Capture(
        "tmpfs", "a host without swap; cp fills a tmpfs, postgres is killed",
        "Linux 6.12.107+deb13-cloud-amd64 in QEMU, 320 MiB; dmesg; the first of four kills of the same run",
    ),
    Capture(
        "service", "a systemd unit of three processes reaches MemoryMax",
        "Linux 6.12.107+deb13-cloud-amd64 in QEMU; dmesg -T",
    ),
    Capture(
        "pod", "a container of a Kubernetes pod reaches its memory limit",
        "Linux 6.12.107+deb13-cloud-amd64 in QEMU, the cgroup tree made as kubelet and containerd make it; dmesg",
    ),
)  # fmt: skip
"""Every bundled log; the first is the one to start with."""


def read_capture(name: str = CAPTURES[0].name) -> str:
    """
    Return the text of the bundled log *name*, a name of :data:`CAPTURES`.

    :raises KeyError: for any other name.
    """
    if all(capture.name != name for capture in CAPTURES):
        raise KeyError(name)
    return (files(__name__) / "captures" / f"{name}.log").read_text(encoding="utf-8")
