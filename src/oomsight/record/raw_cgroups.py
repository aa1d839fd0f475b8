"""
The files of a memory cgroup as figures in KiB: which are read when, and what each says.

Sources: mm/memcontrol.c, mm/memcontrol-v1.c (6.12+), kernel/sched/psi.c.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from oomsight.proc.memcg import parse_v1_limit, parse_v2_limit
from oomsight.proc.pressure import parse_pressure
from oomsight.record.fields import INDEX, UNLIMITED

if TYPE_CHECKING:
    from oomsight.proc.memcg import Limit
    from oomsight.record.model import Values

Figures = dict[str, int | None]
"""What files said, by field; ``None`` = this kernel does not say."""

When = Literal["always", "moved", "swapped", "near", "turn"]
"""
``always``: every sample. ``moved``: when usage moved by much, and a few seconds after it moved at all. ``swapped``:
when it moved and the host swaps. ``near``: when usage is near a limit. ``turn``: in turn only, as all others
also are.
"""


class CgroupFile(NamedTuple):
    """One file of a cgroup and when it is worth reading."""

    name: str
    when: When
    kept_open: bool
    fields: tuple[str, ...]  #: what it tells; not known where there is no such file
    read: Callable[[bytes], Figures]


def number(raw: bytes) -> int | None:
    """A file of one number; ``None`` = it is none."""
    try:
        return int(raw)
    except ValueError:
        return None


def line_of(raw: bytes, key: bytes) -> int | None:
    """The number of the line *key* (ends in a space); ``None`` = there is no such line."""
    at = 0 if raw.startswith(key) else raw.find(b"\n" + key) + 1
    if at == 0 and not raw.startswith(key):
        return None
    end = raw.find(b"\n", at)
    return number(raw[at + len(key) : end if end >= 0 else len(raw)])


def _kib(value: int | None) -> int | None:
    return None if value is None else value >> 10


def _size(field: str, raw: bytes) -> Figures:
    return {field: _kib(number(raw))}


def _count(field: str, raw: bytes) -> Figures:
    return {field: number(raw)}


def _limit(field: str, parse: Callable[[str], Limit], raw: bytes) -> Figures:
    limit = parse(raw.decode("ascii", "replace"))
    return {field: UNLIMITED if limit == "unlimited" else None if limit is None else int(limit) >> 10}


def _stat_v2(raw: bytes) -> Figures:
    kernel = line_of(raw, b"kernel ")  # 5.18+
    return {
        "anon_bytes": _kib(line_of(raw, b"anon ")), "file_bytes": _kib(line_of(raw, b"file ")),
        "shmem_bytes": _kib(line_of(raw, b"shmem ")), "inactive_file_bytes": _kib(line_of(raw, b"inactive_file ")),
        "kernel_bytes": _kib(line_of(raw, b"slab ") if kernel is None else kernel),
        "zswap_bytes": _kib(line_of(raw, b"zswap ")), "zswapped_bytes": _kib(line_of(raw, b"zswapped ")),
    }  # fmt: skip


def _stat_v1(raw: bytes) -> Figures:
    # Without use_hierarchy there are no totals.
    of = b"total_" if b"\ntotal_rss " in raw else b""
    return {
        "anon_bytes": _kib(line_of(raw, of + b"rss ")), "file_bytes": _kib(line_of(raw, of + b"cache ")),
        "shmem_bytes": _kib(line_of(raw, of + b"shmem ")),
        "inactive_file_bytes": _kib(line_of(raw, of + b"inactive_file ")),
        "swap_bytes": _kib(line_of(raw, of + b"swap ")),
    }  # fmt: skip


def _events_v2(raw: bytes) -> Figures:
    return {
        "events_high": line_of(raw, b"high "), "events_max": line_of(raw, b"max "),
        "events_oom_kill": line_of(raw, b"oom_kill "),
    }  # fmt: skip


def _pressure(raw: bytes) -> Figures:
    stalls = parse_pressure(raw.decode("ascii", "replace"))
    return {f"psi_{kind}_us": stalls[kind].total_us if kind in stalls else None for kind in ("some", "full")}


def _oom_control(raw: bytes) -> Figures:
    return {"events_oom_kill": line_of(raw, b"oom_kill ")}  # 4.13+


def _file(name: str, when: When, read: Callable[[bytes], Figures], *, kept_open: bool = False) -> CgroupFile:
    return CgroupFile(name, when, kept_open, tuple(read(b"")), read)


CGROUP_FILES: Final[dict[int, tuple[CgroupFile, ...]]] = {
    2: (
        _file("memory.current", "always", partial(_size, "usage_bytes"), kept_open=True),
        _file("memory.stat", "moved", _stat_v2, kept_open=True),
        _file("memory.events", "near", _events_v2),
        _file("memory.pressure", "near", _pressure),
        _file("memory.swap.current", "swapped", partial(_size, "swap_bytes")),
        _file("memory.max", "turn", partial(_limit, "limit_bytes", parse_v2_limit)),
        _file("memory.high", "turn", partial(_limit, "high_bytes", parse_v2_limit)),
        _file("memory.peak", "turn", partial(_size, "peak_bytes")),
        _file("memory.swap.max", "turn", partial(_limit, "swap_limit_bytes", parse_v2_limit)),
    ),
    1: (
        _file("memory.usage_in_bytes", "always", partial(_size, "usage_bytes"), kept_open=True),
        _file("memory.stat", "moved", _stat_v1, kept_open=True),
        _file("memory.failcnt", "near", partial(_count, "events_max")),
        _file("memory.oom_control", "near", _oom_control),
        _file("memory.limit_in_bytes", "turn", partial(_limit, "limit_bytes", parse_v1_limit)),
        _file("memory.max_usage_in_bytes", "turn", partial(_size, "peak_bytes")),
        _file("memory.kmem.usage_in_bytes", "turn", partial(_size, "kernel_bytes")),
        _file("memory.memsw.limit_in_bytes", "turn", partial(_limit, "swap_limit_bytes", parse_v1_limit)),
    ),
}
"""By version. The first is what tells whether anything happened."""

_ORDER: Final = tuple(INDEX["cgroup"])


def cgroup_values(found: Mapping[str, int | None]) -> Values:
    """The figures of a cgroup, those that follow from others included."""
    usage, inactive = found.get("usage_bytes"), found.get("inactive_file_bytes")
    working = None if usage is None or inactive is None else usage - inactive if usage > inactive else 0
    whole = {**found, "working_set_bytes": working, "floor_working_set_bytes": working}
    peak = found.get("peak_bytes")
    if peak is not None and usage is not None and usage > peak:  # read in turn only, and outgrown since
        whole["peak_bytes"] = usage
    return tuple(map(whole.get, _ORDER))
