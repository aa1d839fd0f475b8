"""How many processes can run at once here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from math import ceil
from typing import Final

_ROOT: Final = "/sys/fs/cgroup"


def usable_cores() -> int:
    """The cores this process may run on, or fewer where its cgroup, or one above, has a quota."""
    cores = len(os.sched_getaffinity(0))
    with suppress(OSError):
        cores = min([cores, *(max(ceil(quota), 1) for quota in quotas(_text("/proc/self/cgroup"), _text))])
    return cores


def quotas(cgroups: str, read: Callable[[str], str]) -> Iterator[float]:
    """
    Yield the cores that each cgroup with a quota leaves. *cgroups*: text of ``/proc/PID/cgroup``; *read* gives the text
    of a file, or raises ``OSError`` or ``ValueError`` (Documentation/admin-guide/cgroup-v2.rst, cpu.max;
    Documentation/scheduler/sched-bwc.rst).
    """
    for line in cgroups.splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts = [f"{_ROOT}/{controllers}", f"{_ROOT}/cpu"] if controllers else [_ROOT, f"{_ROOT}/unified"]
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if controllers else ("cpu.max",)
        for mount in mounts:
            at = path
            while True:
                # In a container without a cgroup namespace the path is the host's, and only the mount's root is there.
                with suppress(OSError, ValueError, IndexError):
                    quota, period = " ".join(read(f"{mount}{at.rstrip('/')}/{name}") for name in names).split()[:2]
                    if float(quota) > 0:
                        yield float(quota) / float(period)
                if at in {"", "/"}:
                    break
                at = os.path.dirname(at)


def _text(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read(4096)
