"""
Who lives on the simulated machine: processes start, go from one straight piece of their workload to the next, are
slowed down by memory.high, and end. What is due when is kept here; who *must* act is the engine's business.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from oomsight._sizes import size_words
from oomsight.simulate.choice import ZERO, Process
from oomsight.simulate.machine import Bend
from oomsight.simulate.outcome import Event
from oomsight.simulate.workloads import FOREVER, Memory, pieces

if TYPE_CHECKING:
    from oomsight.simulate.machine import Balance, Machine
    from oomsight.simulate.outcome import Run
    from oomsight.simulate.scenario import Values

THROTTLED_PAGES_PER_SECOND: Final = 32
"""
Growth of a process above memory.high: it may charge a batch of 64 pages, then sleeps up to 2 seconds on its way back to
user space (MEMCG_CHARGE_BATCH, MEMCG_MAX_HIGH_DELAY_JIFFIES in mm/memcontrol.c 5.10 … 6.18).
"""
FIRST_PID: Final = 100


class Population:
    """The living processes of one run on *machine*; what happens to them is told in *run*."""

    def __init__(self, machine: Machine, run: Run, step_seconds: float) -> None:
        self.machine = machine
        self.run = run
        self.step_seconds = step_seconds
        self.processes: dict[int, Process] = {}  #: in fork order
        self.due: list[tuple[int, int, str, Any]] = []  #: heap of (step, sequence, what, of whom)
        self.throttled: dict[int, int] = {}  #: cgroup above its memory.high -> step since when
        self._pids = count(FIRST_PID)
        self._sequence = count()

    def seconds(self, step: int) -> float:
        """*step* in seconds since the start."""
        return step * self.step_seconds

    def later(self, step: int, what: str, whom: Any) -> None:
        """Let *what* ("start", "bend", "fork", "stop") happen to *whom* at *step*."""
        heappush(self.due, (step, next(self._sequence), what, whom))

    def tell(self, step: int, kind: str, name: str, words: str) -> None:
        """Write an event down for the timeline."""
        self.run.events.append(Event(self.seconds(step), kind, name, words))

    def events(self, step: int) -> None:
        """Everything that is due at *step*."""
        due = self.due
        while due and due[0][0] <= step:
            _, _, what, whom = heappop(due)
            if what == "bend":
                if whom.until == step and self._alive(whom):
                    self._next_piece(whom, step)
            elif what == "start":
                self._start(whom, step)
            elif what == "fork":
                self._fork(whom, step)
            elif what == "stop" and self._alive(whom):
                self._remove(whom, step)
                self.tell(step, "stopped", whom.name, "ended by itself")

    def _alive(self, process: Process) -> bool:
        return self.processes.get(process.pid) is process

    def _start(self, values: Values, step: int, parent: Process | None = None) -> Process | None:
        cgroup = self.machine.by_path[values["cgroup"]]
        if any(above.processes >= above.pids_max for above in cgroup.above):
            if parent is None:
                self.tell(step, "refused", values["name"], "pids.max is reached")
            return None
        process = Process(next(self._pids), values, cgroup, pieces(values, self.step_seconds))
        if parent is not None:
            process.parent = parent.pid
            parent.children.append(process.pid)
        self.processes[process.pid] = process
        for above in cgroup.above:
            above.processes += 1
        self._next_piece(process, step)
        if values["stop"] is not None:
            self.later(step + max(round(values["stop"] / self.step_seconds), 1), "stop", process)
        if values["kind"] == "forkbomb" and parent is None:
            child = {**values, "kind": "constant", "size": values["child_size"], "stop": None, "restart": None}
            self.later(step + 1, "fork", (process, child, step, 0))
        return process

    def _fork(self, bomb: tuple[Process, Values, int, int], step: int) -> None:
        """A bomb goes on as long as one of its kind lives; each step brings as many children as are due."""
        first, child, since, made = bomb
        alive = [p for p in self.processes.values() if p.values is child or p is first]
        if not alive:
            return
        due = int(first.values["forks"] * (step - since) * self.step_seconds / 60)
        wanted = min(due, made + first.values["most"] - len(alive) + 1)
        while made < wanted and self._start(child, step, alive[0]):
            made += 1
        self.later(step + 1, "fork", (first, child, since, max(made, wanted)))

    def _next_piece(self, process: Process, step: int) -> None:
        """Go on to the next piece of the workload."""
        piece = next(process.plan, None)
        was, grew = process.demand(step), process.growth.need
        if piece is None or piece.exits:
            self._remove(process, step)
            self.tell(step, "exited", process.name, (piece and piece.exits) or "ended")
            self._restart(process, step)
            return
        machine = self.machine
        if machine.overcommit == 0 and piece.start.anon - was.anon > machine.ram + machine.swap:
            # __vm_enough_memory() of 5.2 and later: the guess refuses only what could never fit.
            self.refuse(process, step, "asks at once for more than RAM and swap: its allocation fails")
            return
        process.slowed = None
        self.bend(process, step, piece.start, piece.growth, min(step + piece.steps, FOREVER))
        process.jump = grew + piece.start.need - was.need
        if piece.growth.need > 0 and any(above.index in self.throttled for above in process.cgroup.above):
            self._slow(process, step)

    def bend(self, process: Process, step: int, now: Memory, growth: Memory, until: int) -> None:
        """Put *process* on a new straight piece."""
        was = process.demand(step)
        self.machine.change(process.cgroup, Bend(was, process.growth, now, growth, step))
        process.start, process.growth, process.since, process.until = now, growth, step, until
        process.jump = 0
        if until < FOREVER:
            self.later(until, "bend", process)

    def _remove(self, process: Process, step: int, kept_shmem: int | None = None) -> None:
        """End *process*: its tmpfs files stay. Page cache that nobody wants any more counts as free."""
        demand = process.demand(step)
        left = Memory(shmem=demand.shmem if kept_shmem is None else kept_shmem)
        self.machine.change(process.cgroup, Bend(demand, process.growth, left, ZERO, step))
        del self.processes[process.pid]
        for above in process.cgroup.above:
            above.processes -= 1

    def _restart(self, process: Process, step: int) -> None:
        wait = process.values["restart"]
        if wait is not None:
            self.later(step + max(round(wait / self.step_seconds), 1), "start", process.values)

    def throttle(self, step: int, state: Balance) -> None:
        """Slow down who is above memory.high, let go who no longer is."""
        for index in [i for i in self.throttled if i not in state.over_high]:
            self.throttled_until(index, self.throttled.pop(index), step)
            self.tell(step, "released", self.machine.cgroups[index].path, "below memory.high again")
            for process in list(self.processes.values()):
                if process.slowed and not any(above.index in self.throttled for above in process.cgroup.above):
                    self._unslow(process, step)
        for index in state.over_high:
            if index not in self.throttled:
                self.throttled[index] = step
                cgroup = self.machine.cgroups[index]
                self.tell(step, "throttled", cgroup.path, f"above memory.high of {size_words(cgroup.high)}")
                for process in list(self.processes.values()):
                    if cgroup in process.cgroup.above:
                        self._slow(process, step)

    def throttled_until(self, index: int, since: int, step: int) -> None:
        """Count the time from *since* to *step* for cgroup *index*."""
        path = self.machine.cgroups[index].path
        seconds = self.run.throttled_seconds
        seconds[path] = seconds.get(path, 0.0) + self.seconds(step - since)

    def _most_growth(self) -> int:
        return max(int(THROTTLED_PAGES_PER_SECOND * self.machine.page_size * self.step_seconds), 1)

    def _slow(self, process: Process, step: int) -> None:
        most, own = self._most_growth(), process.growth
        if process.slowed is None and own.need > most:
            slow = Memory(*(part * most // own.need for part in own))
            rest = process.until - step
            until = FOREVER if process.until >= FOREVER else step + rest * own.need // max(slow.need, 1)
            process.slowed = (own, rest)
            self.bend(process, step, process.demand(step), slow, until)

    def _unslow(self, process: Process, step: int) -> None:
        assert process.slowed is not None
        own, rest = process.slowed
        past = (step - process.since) * process.growth.need // max(own.need, 1)
        process.slowed = None
        until = FOREVER if rest >= FOREVER // 2 else step + max(rest - past, 1)
        self.bend(process, step, process.demand(step), own, until)

    def refuse(self, process: Process, step: int, words: str) -> None:
        """An allocation of *process* fails, and it ends of that."""
        self.tell(step, "refused", process.name, words)
        self._remove(process, step)
        self._restart(process, step)

    def end(self, step: int, pids: tuple[int, ...], short: int) -> int:
        """Remove the dead; the write that could not be had is not in tmpfs. Returns bytes freed."""
        freed = 0
        for pid in pids:
            process = self.processes[pid]
            demand = process.demand(step)
            missed = min(short, demand.shmem) if process.grew(step) and demand.shmem else 0
            self._remove(process, step, demand.shmem - missed)
            short -= missed
            freed += demand.anon + demand.kernel
            self._restart(process, step)
        return freed
