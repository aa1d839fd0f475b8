"""What the kernel itself counts and knows by name: kills of this boot, boot id, zram, the cgroup of a dying process."""

from __future__ import annotations

import os

from oomsight.live.counters import parse_vmstat_oom_kill
from oomsight.proc.machine import zram_kib
from oomsight.sources.procread import read_if_there


def read_oom_kill(proc: str = "/proc") -> int | None:
    """Return how many processes the OOM killer has ended in this boot; ``None`` = the kernel does not say (< 4.13)."""
    text = read_if_there(f"{proc}/vmstat")
    return parse_vmstat_oom_kill(text) if text is not None else None


def read_boot_id(proc: str = "/proc") -> str | None:
    """Return the id of this boot as the journal writes it (no dashes); ``None`` = not readable."""
    text = read_if_there(f"{proc}/sys/kernel/random/boot_id")
    return text.strip().replace("-", "") or None if text is not None else None


def read_zram_kib(sys: str = "/sys") -> tuple[int, int] | None:
    """Return what all zram devices hold and the RAM it takes; ``None`` = there is none."""
    try:
        names = [name for name in os.listdir(f"{sys}/block") if name.startswith("zram")]
    except OSError:
        return None
    return zram_kib([text for name in names if (text := read_if_there(f"{sys}/block/{name}/mm_stat"))])


def read_cgroup(pid: int, proc: str = "/proc") -> str | None:
    """
    Return the memory cgroup of *pid*, v1 or v2; ``None`` = it is gone, or only its main cgroup (``/``) is left.

    The path is relative to our cgroup namespace: inside a container it may begin with ``/..``.
    """
    text = read_if_there(f"{proc}/{pid}/cgroup")
    unified = None
    for line in (text or "").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if "memory" in controllers.split(","):
            unified = path
            break
        if not controllers:
            unified = path
    if unified is not None:
        unified = unified.removesuffix(" (deleted)")
    return unified if unified not in {None, "", "/"} else None


def read_parent(pid: int, proc: str = "/proc") -> int | None:
    """Return the parent of *pid*, also of one that has ended and waits for its parent; ``None`` = gone, or nobody's."""
    text = read_if_there(f"{proc}/{pid}/stat") or ""
    fields = text.rpartition(")")[2].split(None, 2)
    return int(fields[1]) if len(fields) > 2 and fields[1].isdigit() and int(fields[1]) > 1 else None
