"""The machine, its limited cgroups and the next victims, as families."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight.metrics.family import Family, family, present
from oomsight.metrics.labels import Place, place_of
from oomsight.metrics.table import OTHER
from oomsight.naming.cgroup_path import describe

if TYPE_CHECKING:
    from oomsight.proc.machine import MemInfo
    from oomsight.proc.memcg import Memcg
    from oomsight.proc.pressure import Stall
    from oomsight.score.model import Ranking

Locate = Callable[[str], Place]
"""Cgroup path -> whose it is."""

_MEMINFO: Final = {
    "oomsight_memory_total_bytes": "MemTotal", "oomsight_memory_available_bytes": "MemAvailable",
    "oomsight_memory_free_bytes": "MemFree", "oomsight_memory_anon_bytes": "AnonPages",
    "oomsight_memory_shmem_bytes": "Shmem", "oomsight_memory_slab_unreclaimable_bytes": "SUnreclaim",
    "oomsight_memory_page_tables_bytes": "PageTables", "oomsight_memory_committed_bytes": "Committed_AS",
    "oomsight_swap_total_bytes": "SwapTotal", "oomsight_swap_free_bytes": "SwapFree",
}  # fmt: skip
_THE_OTHERS: Final = (OTHER, *Place())
_WINDOWS: Final = (("10s", "avg10_pct"), ("60s", "avg60_pct"), ("300s", "avg300_pct"))


class Victim(NamedTuple):
    """Who would die first in one place."""

    at: str  #: ``host``, or the path of the cgroup whose limit is hit
    comm: str
    pid: int
    cgroup: str | None
    memory_bytes: int
    margin_bytes: int | None  #: ahead of the next; ``None`` = there is no next


class Cost(NamedTuple):
    """When a sample was taken and what it took."""

    age_seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Sample:
    """What was read of the host. ``None`` or empty = could not be read."""

    memory: MemInfo | None = None
    pressure: Mapping[str, Mapping[str, Stall]] = field(default_factory=dict)  #: by resource, then ``some``, ``full``
    oom_kills: int | None = None  #: /proc/vmstat
    cgroups: Sequence[Memcg] | None = None  #: those with a limit
    victims: Sequence[Victim] = ()
    costs: Mapping[str, Cost] = field(default_factory=dict)


def place_by_path(path: str) -> Place:
    """What the path alone tells."""
    owner = describe(path)
    if owner is None:
        return Place()
    leaf = owner.leaf
    names = ("unit", "container_id", "machine", "pod_uid", "level")
    return place_of({name: getattr(leaf, name) for name in names})


def victim_of(ranking: Ranking, page_size: int) -> Victim | None:
    """The first of *ranking*; ``None`` = nobody can be killed there."""
    first = ranking.victim
    if first is None:
        return None
    pages, margin = first.rss_pages + first.swap_pages + first.pgtables_pages, ranking.margin_pages
    process = first.process
    return Victim(
        "host" if ranking.scope == "host" else ranking.path, process.comm, process.pid, process.cgroup,
        pages * page_size, None if margin is None else margin * page_size,
    )  # fmt: skip


def host_families(sample: Sample, locate: Locate = place_by_path, *, most_cgroups: int = 100) -> list[Family]:
    """Everything known of the host."""
    return present(
        [
            *_memory(sample), *_pressure(sample.pressure), *_cgroups(sample.cgroups, locate, most_cgroups),
            *_victims(sample.victims, locate), *_costs(sample.costs),
        ]
    )  # fmt: skip


def _memory(sample: Sample) -> Iterator[Family]:
    yield family("oomsight_kernel_oom_kills_total", sample.oom_kills)
    fields = sample.memory.fields if sample.memory is not None else {}
    for name, key in _MEMINFO.items():
        kib = fields.get(key)
        yield family(name, None if kib is None else kib << 10)


def _pressure(pressure: Mapping[str, Mapping[str, Stall]]) -> Iterator[Family]:
    seconds, share = family("oomsight_pressure_stall_seconds_total"), family("oomsight_pressure_ratio")
    for resource, lines in pressure.items():
        for kind, stall in lines.items():
            seconds.add(stall.total_us / 1e6, resource, kind)
            for window, attribute in _WINDOWS:
                share.add(round(getattr(stall, attribute) / 100, 6), resource, kind, window)
    return iter((seconds, share))


def _full(memcg: Memcg) -> float | None:
    need, limit = memcg.need_bytes, memcg.limit_bytes
    return need / limit if need is not None and isinstance(limit, int) and limit else None


def _cgroups(cgroups: Sequence[Memcg] | None, locate: Locate, most: int) -> Iterator[Family]:
    """The fullest *most* by name; the others share a bucket that shows how near the nearest of them is."""
    if cgroups is None:
        return
    yield family("oomsight_cgroups_limited", len(cgroups))
    names = ("limit_bytes", "usage_bytes", "headroom_bytes", "full_ratio")
    limit, usage, headroom, full = (family(f"oomsight_cgroup_memory_{name}") for name in names)
    ordered = sorted(cgroups, key=lambda memcg: (-(_full(memcg) or 0.0), memcg.path))
    for number, memcg in enumerate(ordered):
        shown = number < most
        labels = (memcg.path, *locate(memcg.path)) if shown else _THE_OTHERS
        if shown:
            limit.add(memcg.limit_bytes if isinstance(memcg.limit_bytes, int) else None, *labels)
            usage.add(memcg.usage_bytes, *labels)
        headroom.add(memcg.headroom_bytes, *labels)
        full.add(_full(memcg), *labels)
    yield from (limit, usage, headroom, full)


def _victims(victims: Iterable[Victim], locate: Locate) -> Iterator[Family]:
    info, pid = family("oomsight_predicted_victim_info"), family("oomsight_predicted_victim_pid")
    memory = family("oomsight_predicted_victim_memory_bytes")
    margin = family("oomsight_predicted_victim_margin_bytes")
    for victim in victims:
        place = locate(victim.cgroup) if victim.cgroup else Place()
        info.add(1, victim.at, victim.comm, *place)
        pid.add(victim.pid, victim.at)
        memory.add(victim.memory_bytes, victim.at)
        margin.add(victim.margin_bytes, victim.at)
    return iter((info, pid, memory, margin))


def _costs(costs: Mapping[str, Cost]) -> Iterator[Family]:
    age, cpu = family("oomsight_agent_sample_age_seconds"), family("oomsight_agent_sample_cost_seconds")
    for name, cost in costs.items():
        age.add(cost.age_seconds, name)
        cpu.add(cost.cpu_seconds, name)
    return iter((age, cpu))
