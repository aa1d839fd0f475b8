"""What the alarms look at: one sample of the host and of its limited cgroups, from whoever takes samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oomsight.proc.machine import MemInfo
    from oomsight.proc.memcg import Memcg
    from oomsight.proc.pressure import Stall


@dataclass(frozen=True, slots=True)
class Reading:
    """
    One sample. ``None`` or empty = not looked at, or not there: nothing is concluded from it, and nothing cleared.

    A sampler may give a part only (the host now, these three cgroups now): what it leaves out stays as it was.
    """

    memory: MemInfo | None = None
    pressure: Mapping[str, Stall] = field(default_factory=dict)  #: /proc/pressure/memory
    cgroups: Sequence[Memcg] = ()  #: with a limit, or with memory.high
    cgroup_pressure: Mapping[str, Mapping[str, Stall]] = field(default_factory=dict)  #: by path (v2)
    gone: Sequence[str] = ()  #: cgroups that are not there any more


def need_kib(memory: MemInfo) -> int | None:
    """RAM that cannot be had without swapping: MemTotal - MemAvailable. ``None`` = the kernel does not say (< 3.14)."""
    if memory.mem_total_kib is None or memory.mem_available_kib is None:
        return None
    return max(memory.mem_total_kib - memory.mem_available_kib, 0)


def headroom_kib(memory: MemInfo) -> int | None:
    """What may still be needed until nothing is left: available RAM and free swap."""
    if memory.mem_available_kib is None:
        return None
    return memory.mem_available_kib + (memory.swap_free_kib or 0)
