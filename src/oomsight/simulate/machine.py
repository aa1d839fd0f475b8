"""
A machine on paper at one moment: who holds what, what reclaim drops or swaps out, and whether that is enough.

Demand is linear between events, so each cgroup keeps its subtree's demand as ``a + b * step``. :meth:`Machine.balance`
turns demand into state: nothing else is remembered, so the same demand always gives the same state, and every byte
asked for is resident, swapped out, dropped page cache, or missing (then somebody must die).

What is kept of Linux: limits from the leaf up, page cache before swap as vm.swappiness weighs them (get_scan_count()
in mm/vmscan.c), memory.min and memory.low against reclaim from above (mem_cgroup_protection), memory.high as a reclaim
target, memory.swap.max, no swap for a cgroup at swappiness 0, the min watermark that stays free at a global OOM.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import isqrt
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from oomsight.kernel.constraint import Total, memcg_era, t_global, t_memcg
from oomsight.simulate.workloads import Memory

if TYPE_CHECKING:
    from oomsight.kernel.release import Release

UNLIMITED: Final = 1 << 62
ZERO: Final = Memory()
_CALM: Final = 1 << 60


class Bend(NamedTuple):
    """A demand that was ``was`` at ``step``, growing by ``was_growth``, becomes ``now``, growing by ``growth``."""

    was: Memory
    was_growth: Memory
    now: Memory
    growth: Memory
    step: int


class Cgroup:
    """One cgroup: its limits in bytes and its subtree's demand. The first of a machine is the root."""

    __slots__ = (
        "a", "above", "alert_at", "b", "calm_until", "children", "high", "index", "low", "max", "min", "oom_group",
        "path", "pids_max", "processes", "soft", "swap_max",
    )  # fmt: skip

    def __init__(self, index: int, path: str, values: Mapping[str, Any]) -> None:
        self.index = index
        self.path = path
        self.max: int = _limit(values, "max")
        self.high: int = _limit(values, "high")
        self.swap_max: int = _limit(values, "swap_max")
        self.low: int = values.get("low") or 0
        self.min: int = values.get("min") or 0
        self.oom_group: bool = bool(values.get("oom_group"))
        self.pids_max: int = values.get("pids_max") or UNLIMITED
        self.above: tuple[Cgroup, ...] = (self,)  #: itself first, then everything above up to the root
        self.children: list[Cgroup] = []
        self.processes = 0  #: alive in the subtree
        self.a = [0, 0, 0, 0]  #: demand by kind of the subtree at step 0, extrapolated
        self.b = [0, 0, 0, 0]  #: growth of it for each step
        self.soft = UNLIMITED  #: need up to which nothing can happen here
        self.alert_at = UNLIMITED
        self.calm_until = _CALM  #: first step at which need is above ``soft``

    def demand(self, step: int) -> Memory:
        """Demand of the subtree."""
        a, b = self.a, self.b
        return Memory(a[0] + b[0] * step, a[1] + b[1] * step, a[2] + b[2] * step, a[3] + b[3] * step)

    def recompute_calm(self, step: int) -> None:
        """Set :attr:`calm_until` for the demand as it is from *step* on."""
        a, b = self.a, self.b
        growth = b[0] + b[1] + b[2]
        room = self.soft - (a[0] + a[1] + a[2] + growth * step)
        if room < 0:
            self.calm_until = step
        else:
            self.calm_until = step + room // growth + 1 if growth > 0 else _CALM


def _limit(values: Mapping[str, Any], key: str) -> int:
    found = values.get(key)
    return UNLIMITED if found is None else int(found)


@dataclass(slots=True)
class Balance:
    """The state at one step. Lists go by the index of the cgroup; sums of its subtree, in bytes."""

    demand: list[Memory]
    dropped: list[int]  #: page cache that was wanted and is not there
    swapped: list[int]
    own_swapped: list[int]  #: of the cgroup's own processes
    short: dict[int, int] = field(default_factory=dict)  #: cgroup that is out of memory -> bytes missing
    over_high: dict[int, int] = field(default_factory=dict)  #: cgroup above memory.high -> bytes above

    def resident(self, index: int) -> int:
        """Bytes in RAM of a subtree."""
        demand = self.demand[index]
        return demand.need + demand.cache - self.dropped[index] - self.swapped[index]

    def cache(self, index: int) -> int:
        """Bytes of page cache of a subtree."""
        return self.demand[index].cache - self.dropped[index]

    def pressure_pct(self, index: int) -> float:
        """Share of what is wanted that is not in RAM: a stand-in for PSI, which measures time."""
        demand = self.demand[index]
        wanted = demand.need + demand.cache
        return 100 * (self.dropped[index] + self.swapped[index]) / wanted if wanted else 0.0


class Machine:
    """RAM, swap and the cgroup tree."""

    def __init__(self, values: Mapping[str, Any], cgroups: Sequence[Mapping[str, Any]], paths: Sequence[str],
                 release: Release) -> None:  # fmt: skip
        self.ram: int = values["ram"]
        self.swap: int = values["swap"]
        self.swappiness: int = values["swappiness"]
        self.page_size: int = values["page_size"]
        self.release = release
        self.overcommit: int = values["overcommit"]
        # CommitLimit: RAM * ratio + swap, mm/util.c vm_commit_limit()
        limit = self.ram * values["overcommit_ratio"] // 100 + self.swap
        self.commit_limit = limit if self.overcommit == 2 else UNLIMITED
        self.kernel_bytes: int = self.ram * 3 // 100 if values["kernel"] is None else values["kernel"]
        self.free_floor = min_free_bytes(self.ram)
        self.watched = False  #: whether :meth:`stirred` is asked for
        self._stirred, self._stir_rate, self._stirred_at = 0, 0, 0
        self.cgroups: list[Cgroup] = []
        self.by_path: dict[str, Cgroup] = {}
        settings = {row["path"]: row for row in cgroups}
        # Parents first, siblings as their first processes are written: a limit tried later changes no order.
        wanted = dict.fromkeys(above for path in (*paths, *settings) for above in _with_parents(path))
        for path in sorted(wanted, key=lambda path: path.count("/") if path != "/" else 0):
            self._add(path, settings.get(path, {}))
        #: whether no cgroup is protected or bounded in swap, so that all page cache and swap are as good as any other
        self.plain = all(c.min == 0 == c.low and c.swap_max >= UNLIMITED for c in self.cgroups)
        root = self.cgroups[0]
        root.max = max(self.ram - self.free_floor, 0)
        root.swap_max = self.swap
        self.change(root, Bend(ZERO, ZERO, Memory(kernel=min(self.kernel_bytes, root.max)), ZERO, 0))

    def _add(self, path: str, values: Mapping[str, Any]) -> None:
        cgroup = Cgroup(len(self.cgroups), path, values)
        if path != "/":
            parent = self.by_path[path.rpartition("/")[0] or "/"]
            parent.children.append(cgroup)
            cgroup.above = (cgroup, *parent.above)
        self.cgroups.append(cgroup)
        self.by_path[path] = cgroup

    def reset_soft(self, alert_pct: int, alerted: Collection[int] = ()) -> None:
        """Fix up to which need each cgroup is calm; ``alerted`` are those whose alert has fired already."""
        for cgroup in self.cgroups:
            # Protected siblings may keep page cache that the rest would need: be careful by that much.
            kept = sum(min(child.min, child.max) for child in cgroup.children)
            cgroup.soft = max(min(cgroup.max, cgroup.high) - kept, 0)
            if cgroup.index == 0:
                if all(other.swap_max >= UNLIMITED for other in self.cgroups[1:]):
                    cgroup.soft += self.swap  # whoever is swapped out, all of it can be used
                cgroup.soft = min(cgroup.soft, self.commit_limit)
            if cgroup.max < UNLIMITED and cgroup.index not in alerted:
                cgroup.alert_at = (cgroup.max if cgroup.index else self.ram) * alert_pct // 100
                cgroup.soft = min(cgroup.soft, cgroup.alert_at)

    def change(self, cgroup: Cgroup, bend: Bend) -> None:
        """Bend the demand of a process or file of *cgroup*, and with it that of everything above."""
        (w0, w1, w2, w3), (v0, v1, v2, v3), (n0, n1, n2, n3), (g0, g1, g2, g3), step = bend
        change = (n0 - w0, n1 - w1, n2 - w2, n3 - w3)
        slope = (g0 - v0, g1 - v1, g2 - v2, g3 - v3)
        for above in cgroup.above:
            a, b = above.a, above.b
            for kind in (0, 1, 2, 3):
                if slope[kind]:
                    b[kind] += slope[kind]
                    a[kind] += change[kind] - slope[kind] * step
                elif change[kind]:
                    a[kind] += change[kind]
            above.recompute_calm(step)
        if self.watched:
            self._stirred += self._stir_rate * (step - self._stirred_at) + sum(map(abs, change))
            self._stirred_at = step
            self._stir_rate += abs(g0) + abs(g1) + abs(g2) + abs(g3) - abs(v0) - abs(v1) - abs(v2) - abs(v3)

    def stirred(self, step: int) -> int:
        """
        Bytes of demand that have come or gone up to *step*, of every kind and process, none set off against another.
        What is dropped and swapped out can have changed by no more than this.
        """
        return self._stirred + self._stir_rate * (step - self._stirred_at)

    # -- state --------------------------------------------------------------------------------------------------------

    def balance(self, step: int) -> Balance:
        """Who holds what at *step*: each cgroup over its limit reclaims inside itself, leaves first, the root last."""
        demand = [cgroup.demand(step) for cgroup in self.cgroups]
        count = len(demand)
        state = Balance(demand, [0] * count, [0] * count, [0] * count)
        if all(d.need + d.cache <= min(c.max, c.high) for c, d in zip(self.cgroups, demand, strict=True)):
            return state
        reclaim = _Reclaim(self, state)
        for cgroup in reversed(self.cgroups):
            over = state.resident(cgroup.index) - min(cgroup.max, cgroup.high)
            if over > 0:
                self._note_short(state, cgroup, reclaim.reclaim(cgroup, over))
        return state

    def outline(self, step: int) -> Balance:
        """
        As :meth:`balance`, quicker: how much is dropped and swapped is right for the root and for what is out of memory
        or above memory.high, but not who below gives how much of it. Only for a tree without memory.low, memory.min and
        memory.swap.max (:attr:`plain`).
        """
        demand = [cgroup.demand(step) for cgroup in self.cgroups]
        count = len(demand)
        dropped, swapped = [0] * count, [0] * count
        state = Balance(demand, dropped, swapped, [0] * count)
        for cgroup in reversed(self.cgroups):
            index, wanted = cgroup.index, demand[cgroup.index]
            limit = min(cgroup.max, cgroup.high)
            over = wanted.need + wanted.cache - dropped[index] - swapped[index] - limit
            if over <= 0:
                continue
            cache = wanted.cache - dropped[index]
            swap = min(wanted.anon + wanted.shmem - swapped[index], self.swap - swapped[0])
            out, drop = self.split(over, cache, swap if self.swappiness or not index else 0)
            for above in cgroup.above:
                dropped[above.index] += drop
                swapped[above.index] += out
            self._note_short(state, cgroup, over - out - drop)
        return state

    def split(self, amount: int, cache: int, swap: int) -> tuple[int, int]:
        """(to swap, to drop): get_scan_count() scans anon and file as swappiness : 200 - swappiness."""
        out = min(max(amount * self.swappiness // 200, amount - cache), swap)
        return out, min(amount - out, cache)

    def _note_short(self, state: Balance, cgroup: Cgroup, left: int) -> None:
        """Write down what reclaim could not free."""
        if not left:
            return
        if cgroup.high < cgroup.max:
            state.over_high[cgroup.index] = left
        short = state.resident(cgroup.index) - cgroup.max
        if short > 0:
            state.short[cgroup.index] = short

    def total(self, cgroup: Cgroup) -> Total:
        """T of an OOM of *cgroup* (the root: of the machine)."""
        if cgroup.index == 0:
            return t_global(self.ram // self.page_size, self.swap // self.page_size)
        return t_memcg(
            memcg_era(self.release, 2), cgroup.max // self.page_size, total_swap_pages=self.swap // self.page_size,
            swap_max_pages="unlimited" if cgroup.swap_max >= UNLIMITED else cgroup.swap_max // self.page_size,
            swappiness=self.swappiness, page_size=self.page_size,
        )  # fmt: skip


def _with_parents(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part]
    return ["/", *("/" + "/".join(parts[: n + 1]) for n in range(len(parts)))]


def min_free_bytes(ram_bytes: int) -> int:
    """
    What stays free when a global OOM comes: the min watermark. init_per_zone_wmark_min() in mm/page_alloc.c (5.10+):
    the square root of 16 x RAM in KiB, 128 KiB to 256 MiB.
    """
    return min(max(isqrt(16 * (ram_bytes >> 10)), 128), 262_144) << 10


class _Reclaim:
    """Takes page cache and swaps out inside a subtree; remembers per cgroup what its own processes gave."""

    def __init__(self, machine: Machine, state: Balance) -> None:
        self.machine = machine
        self.state = state
        self.own: list[Memory] = []
        for cgroup in machine.cgroups:
            below = [state.demand[c.index] for c in cgroup.children]
            whole = state.demand[cgroup.index]
            self.own.append(Memory(*(all_ - sum(part[kind] for part in below) for kind, all_ in enumerate(whole))))
        self.own_dropped = [0] * len(self.own)

    def reclaim(self, cgroup: Cgroup, amount: int) -> int:
        """Free *amount* bytes inside *cgroup*; what could not be freed is returned."""
        for spare_low in (True, False):
            cache, swap = self.room(cgroup, spare_low, top=True)
            if self.machine.swappiness == 0 and cgroup.index:
                swap = 0
            swap = min(swap, *(above.swap_max - self.state.swapped[above.index] for above in cgroup.above))
            out, drop = self.machine.split(amount, cache, swap)
            self.take(cgroup, drop, out, spare_low, top=True)
            amount -= drop + out
            if not amount:
                break
        return amount

    def room(self, cgroup: Cgroup, spare_low: bool, top: bool = False) -> tuple[int, int]:
        """(page cache, memory that can be swapped) of the subtree that reclaim from above may take."""
        own, index, state = self.own[cgroup.index], cgroup.index, self.state
        cache = own.cache - self.own_dropped[index]
        swap = own.anon + own.shmem - state.own_swapped[index]
        for child in cgroup.children:
            more_cache, more_swap = self.room(child, spare_low)
            cache, swap = cache + more_cache, swap + more_swap
        swap = max(min(swap, cgroup.swap_max - state.swapped[index]), 0)
        if not top:
            kept = max(cgroup.min, cgroup.low if spare_low else 0)
            if kept:
                most = max(state.resident(index) - kept, 0)
                cache = min(cache, most)
                swap = min(swap, most - cache)
        return cache, swap

    def take(self, cgroup: Cgroup, drop: int, out: int, spare_low: bool, top: bool = False) -> None:
        """Take *drop* bytes of cache and *out* bytes to swap, each part in proportion to what it has."""
        if not drop and not out:
            return
        own, index, state = self.own[cgroup.index], cgroup.index, self.state
        rooms = [self.room(child, spare_low) for child in cgroup.children]
        caches = [own.cache - self.own_dropped[index], *(cache for cache, _ in rooms)]
        swaps = [own.anon + own.shmem - state.own_swapped[index], *(swap for _, swap in rooms)]
        drops, outs = share(drop, caches), share(out, swaps)
        self.own_dropped[index] += drops[0]
        state.own_swapped[index] += outs[0]
        for child, some_drop, some_out in zip(cgroup.children, drops[1:], outs[1:], strict=True):
            self.take(child, some_drop, some_out, spare_low)
        state.dropped[index] += drop
        state.swapped[index] += out
        if top:
            for above in cgroup.above[1:]:
                state.dropped[above.index] += drop
                state.swapped[above.index] += out


def share(amount: int, weights: Sequence[int]) -> list[int]:
    """Split *amount* in proportion to *weights* (which sum to at least it) so that no part exceeds its weight."""
    total = sum(weights)
    if not total:
        return [0] * len(weights)
    parts, given, seen = [], 0, 0
    for weight in weights:
        seen += weight
        upto = amount * seen // total
        parts.append(upto - given)
        given = upto
    return parts
