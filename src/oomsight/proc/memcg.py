"""
One memory cgroup, version 1 or 2, from the texts of its files.

:data:`MEMCG_FILES` says which files matter and what they mean; a reader reads those, :func:`parse_memcg` makes one
:class:`Memcg` of them. Sizes are bytes, as in the files.

Sources: mm/memcontrol.c, mm/memcontrol-v1.c (6.12+), Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
"""

from __future__ import annotations

from oomsight._named import NamedTuple
from oomsight.proc.machine import parse_vmstat
from oomsight.proc.process import parse_int

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Final, Literal

    Limit = int | Literal["unlimited"] | None
    """Bytes, ``"unlimited"``, or ``None`` = not known."""


# PAGE_COUNTER_MAX in bytes with pages of 64 KiB, the smallest of the values that mean "no limit".
_V1_UNLIMITED: Final = 0x7FFF_FFFF_FFFF_0000
_V1_UNLIMITED_32_BIT: Final = 0x7FFF_FFFF << 12  # the same where a long has 32 bits
_NO_STAT: Final[Mapping[str, int]] = {}


class Memcg(NamedTuple):
    """State of one memory cgroup, its descendants included. ``None`` = no such file, or no right to read it."""

    path: str  #: within its hierarchy, ``/`` = root
    version: Literal[1, 2]
    limit_bytes: Limit = None  #: memory.max, memory.limit_in_bytes
    high_bytes: Limit = None  #: memory.high (v2): throttled above, never killed
    usage_bytes: int | None = None  #: memory.current, memory.usage_in_bytes; v2's root has none
    swap_limit_bytes: Limit = None  #: memory.swap.max (v2)
    swap_usage_bytes: int | None = None  #: memory.swap.current (v2)
    memsw_limit_bytes: Limit = None  #: memory.memsw.limit_in_bytes (v1): memory and swap together
    memsw_usage_bytes: int | None = None  #: memory.memsw.usage_in_bytes (v1)
    swappiness: int | None = None  #: v1 only; v2 uses vm.swappiness
    oom_group: bool | None = None  #: memory.oom.group (v2, 4.19+): all die together
    oom_kill_disable: bool | None = None  #: v1: tasks wait instead of one dying
    under_oom: bool | None = None  #: v1: tasks are waiting now
    oom_kills: int | None = None  #: processes killed in it so far
    high_events: int | None = None  #: memory.events high (v2): times it was throttled above memory.high
    max_events: int | None = None  #: memory.events max, v1 memory.failcnt: times it ran into its limit, cache included
    stat: Mapping[str, int] = _NO_STAT  #: memory.stat, names as in v2
    pids: tuple[int, ...] | None = None  #: its own processes in the kernel's order (v2), ``None`` = order not known

    @property
    def page_cache_bytes(self) -> int | None:
        """File pages on the LRU lists: what reclaim can drop before anybody is killed. Without shmem and tmpfs."""
        parts = (self.stat.get("inactive_file"), self.stat.get("active_file"))
        return None if None in parts else sum(part for part in parts if part is not None)

    @property
    def working_set_bytes(self) -> int | None:
        """Usage without inactive file pages: what cAdvisor and the kubelet call the working set."""
        return self._less(self.stat.get("inactive_file"))

    @property
    def need_bytes(self) -> int | None:
        """Usage without page cache: what cannot be dropped, only swapped out."""
        return self._less(self.page_cache_bytes)

    def _less(self, part: int | None) -> int | None:
        return None if self.usage_bytes is None or part is None else max(self.usage_bytes - part, 0)

    @property
    def headroom_bytes(self) -> int | None:
        """How much may still be needed before the limit kills; ``None`` = not known or no limit."""
        need = self.need_bytes
        return max(self.limit_bytes - need, 0) if isinstance(self.limit_bytes, int) and need is not None else None


def parse_v2_limit(text: str) -> Limit:
    """A limit of version 2: bytes or ``max``."""
    return "unlimited" if text.strip() == "max" else parse_int(text)


def parse_v1_limit(text: str) -> Limit:
    """A limit of version 1: a number so big that it can only mean none is unlimited."""
    value = parse_int(text)
    return "unlimited" if value is not None and (value >= _V1_UNLIMITED or value == _V1_UNLIMITED_32_BIT) else value


def _switch(value: int | None) -> bool | None:
    return None if value is None else value != 0


def _flag(text: str) -> bool | None:
    return _switch(parse_int(text))


def _pids(text: str) -> tuple[int, ...]:
    return tuple(int(line) for line in text.split() if line.isdecimal() and len(line) <= 10)


def _v1_stat(text: str) -> dict[str, int]:
    """Sums with children under the names of version 2, which counts no tmpfs in ``anon`` either."""
    counts = parse_vmstat(text)
    sums = {key.removeprefix("total_"): value for key, value in counts.items() if key.startswith("total_")}
    sums = sums or counts  # kernels before 2.6.3x have no totals
    for theirs, ours in (("rss", "anon"), ("cache", "file")):
        if theirs in sums:
            sums[ours] = sums[theirs]
    return sums


class MemcgFile(NamedTuple):
    """One file of a cgroup directory: name, field of :class:`Memcg`, parser."""

    name: str
    field: str | None  #: ``None`` = several fields, see :func:`parse_memcg`
    parse: Callable[[str], Any]


MEMCG_FILES: Final[dict[Literal[1, 2], tuple[MemcgFile, ...]]] = {
    2: (
        MemcgFile("memory.max", "limit_bytes", parse_v2_limit),
        MemcgFile("memory.high", "high_bytes", parse_v2_limit),
        MemcgFile("memory.current", "usage_bytes", parse_int),
        MemcgFile("memory.swap.max", "swap_limit_bytes", parse_v2_limit),
        MemcgFile("memory.swap.current", "swap_usage_bytes", parse_int),
        MemcgFile("memory.oom.group", "oom_group", _flag),
        MemcgFile("memory.events", None, parse_vmstat),
        MemcgFile("memory.stat", "stat", parse_vmstat),
        MemcgFile("cgroup.procs", "pids", _pids),
    ),
    1: (
        MemcgFile("memory.limit_in_bytes", "limit_bytes", parse_v1_limit),
        MemcgFile("memory.usage_in_bytes", "usage_bytes", parse_int),
        MemcgFile("memory.memsw.limit_in_bytes", "memsw_limit_bytes", parse_v1_limit),
        MemcgFile("memory.memsw.usage_in_bytes", "memsw_usage_bytes", parse_int),
        MemcgFile("memory.swappiness", "swappiness", parse_int),
        MemcgFile("memory.oom_control", None, parse_vmstat),
        MemcgFile("memory.failcnt", "max_events", parse_int),
        MemcgFile("memory.stat", "stat", _v1_stat),
    ),  # cgroup.procs is sorted by pid in version 1 and so tells no order
}
"""The files of a memory cgroup by version."""

MARKER_FILES: Final[dict[Literal[1, 2], str]] = {1: "memory.limit_in_bytes", 2: "cgroup.controllers"}
"""A file that the root of a hierarchy of each version has, and only it."""


def parse_memcg(path: str, version: Literal[1, 2], files: Mapping[str, str | None]) -> Memcg:
    """
    The cgroup ``path`` from the texts of its ``files`` (by name; missing or ``None`` = could not be read). Files that
    the table of its version does not name are ignored.
    """
    values: dict[str, Any] = {}
    for row in MEMCG_FILES[version]:
        text = files.get(row.name)
        if text is None:
            continue
        value = row.parse(text)
        if row.field is not None:
            values[row.field] = value
        elif row.name == "memory.events":
            values["oom_kills"] = value.get("oom_kill")
            values["high_events"], values["max_events"] = value.get("high"), value.get("max")
        else:  # memory.oom_control
            values["oom_kills"] = value.get("oom_kill")
            values["oom_kill_disable"] = _switch(value.get("oom_kill_disable"))
            values["under_oom"] = _switch(value.get("under_oom"))
    return Memcg(path=path, version=version, **values)


def ancestors(path: str) -> list[str]:
    """``/a/b`` -> ``["/a/b", "/a", "/"]``: the cgroup itself, then everything above it."""
    found = [path]
    while path not in {"/", ""}:
        path = path.rpartition("/")[0] or "/"
        found.append(path)
    return found
