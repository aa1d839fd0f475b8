"""The guard of a scenario: when it would act, on what state. It knows what a userspace guard can see, no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oomsight.simulate.machine import UNLIMITED

if TYPE_CHECKING:
    from oomsight.simulate.machine import Balance, Cgroup, Machine


@dataclass(frozen=True, slots=True)
class Guard:
    """A policy on one cgroup (or the whole machine), in steps."""

    cgroup: Cgroup
    kind: str
    available_pct: int
    swap_free_pct: int
    pressure_pct: int
    interval: int
    hold: int
    restarts: bool
    avoid: frozenset[str]

    @classmethod
    def of(cls, values: Mapping[str, Any], machine: Machine, step: float) -> Guard:
        """The guard of a scenario's ``[guard]``; a cgroup that is not there stands for the machine."""
        return cls(
            machine.by_path.get(values["cgroup"], machine.cgroups[0]), values["kind"], values["available"],
            values["swap_free"], values["pressure"], max(round(values["interval"] / step), 1),
            round(values["hold"] / step), values["action"] == "restart", frozenset(values["avoid"]),
        )  # fmt: skip

    @property
    def whole(self) -> int:
        """Bytes that are 100 % of its memory."""
        return self.cgroup.max

    def soft(self, swap: int) -> int:
        """Need below which :meth:`wants` is certainly false on a machine with so much swap."""
        if self.kind == "pressure":
            return 0
        if self.whole >= UNLIMITED:
            return UNLIMITED
        # It also wants swap to be used up; what is used of it is need that is not in RAM.
        used = swap * (100 - self.swap_free_pct) // 100 if self.cgroup.index == 0 else 0
        return self.whole * (100 - self.available_pct) // 100 + used

    def wants(self, state: Balance, machine: Machine) -> bool:
        """Whether the state calls for action."""
        index = self.cgroup.index
        if self.kind == "pressure":
            return state.pressure_pct(index) >= self.pressure_pct
        if self.whole >= UNLIMITED:
            return False
        need = state.resident(index) - state.cache(index)
        swap_free = machine.swap - state.swapped[0]
        return (self.whole - need) * 100 < self.whole * self.available_pct and (
            swap_free * 100 < machine.swap * self.swap_free_pct or not machine.swap
        )

    def slack(self, state: Balance) -> int:
        """Bytes of demand that must come or go before a guard by pressure that is content with *state* is not."""
        index = self.cgroup.index
        demand = state.demand[index]
        away = state.dropped[index] + state.swapped[index]
        return (self.pressure_pct * (demand.need + demand.cache) - 100 * away) // 100

    def due(self, step: int) -> int:
        """The first look at or after *step*, plus what it waits."""
        return -(-step // self.interval) * self.interval + self.hold
