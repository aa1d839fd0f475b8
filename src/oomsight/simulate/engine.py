"""
The run of a scenario: from event to event, never from second to second.

Between two events (a workload bends, a process starts or ends, a sample is due) demand is straight, and the states in
which nobody has to act form a convex set. So if both ends of a straight stretch are calm, all of it is; and if the
far end is not, bisection finds the first step that is not. The result is that of looking at every single step; a test
does that, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from oomsight._sizes import size_words
from oomsight.kernel.badness import rule_by_name, rule_for_release
from oomsight.kernel.release import parse_release
from oomsight.kernel.selection import Outcome, Scene, select
from oomsight.simulate.choice import ZERO, Process, candidates, holdings, scan_order, table, victim
from oomsight.simulate.guard import Guard
from oomsight.simulate.machine import UNLIMITED, Balance, Bend, Cgroup, Machine, share
from oomsight.simulate.outcome import CgroupInfo, Event, Kill, Run, Sample
from oomsight.simulate.workloads import FOREVER, Memory, pieces

if TYPE_CHECKING:
    from oomsight.simulate.scenario import Scenario, Values

MAX_KILLS: Final = 200
"""Kills after which a run ends: the machine does nothing else any more."""
SAMPLES: Final = 240
SHOWN_ROWS: Final = 10
THROTTLED_PAGES_PER_SECOND: Final = 32
"""
Growth of a process above memory.high: it may charge a batch of 64 pages, then sleeps up to 2 seconds on its way back to
user space (MEMCG_CHARGE_BATCH, MEMCG_MAX_HIGH_DELAY_JIFFIES in mm/memcontrol.c 5.10 … 6.18).
"""
FIRST_PID: Final = 100


def simulate(scenario: Scenario, *, leap: bool = True, samples: int = SAMPLES) -> Run:
    """
    Play *scenario* (its variants are the caller's business). ``leap=False`` looks at every step: slow, same result.
    ``samples``: about how many states to keep for the timeline.
    """
    return _Engine(scenario, leap, samples).play()


class _Engine:
    """One run: the machine, who lives on it, and what is due when."""

    def __init__(self, scenario: Scenario, leap: bool, samples: int) -> None:
        self.scenario = scenario
        self.leap = leap
        self.step_seconds: float = scenario.run["step"]
        self.end = scenario.steps
        kernel = scenario.run["kernel"]
        release = parse_release(kernel) or (6, 12)
        self.rule = rule_by_name(kernel) or rule_for_release(release)
        paths = [row["cgroup"] for row in scenario.processes]
        self.machine = Machine(scenario.machine, scenario.cgroups, paths, release)
        self.release = release
        self.guard = Guard.of(scenario.guard, self.machine, self.step_seconds) if scenario.guard else None
        self.guard_due: int | None = None
        whole = self.guard is None or self.guard.cgroup.index == 0
        #: what is looked at between acts; choices are made from the whole balance
        self.look = self.machine.outline if self.machine.plain and whole else self.machine.balance
        #: a guard by pressure is content until so much has been stirred; ``None`` = calm by need says it all
        self.content: int | None = None
        if self.guard and self.guard.kind == "pressure" and self.look == self.machine.outline:
            self.machine.watched, self.content = True, -1
        self.processes: dict[int, Process] = {}  # in fork order
        self.pids = count(FIRST_PID)
        self.sequence = count()
        self.due: list[tuple[int, int, str, Any]] = []  # (step, sequence, what, of whom)
        self.alerted: set[int] = set()
        self.throttled: dict[int, int] = {}  # cgroup -> step since when
        self.stuck: set[int] = set()  # cgroups in which nobody could be killed when it was needed
        self.hopeless: set[int] = set()  # of these, where not even refusing every allocation helps
        self.over = False
        self.sample_every = max(self.end // max(samples, 1), 1)
        self.run = Run(scenario, [
            CgroupInfo(c.path, None if c.max >= UNLIMITED else c.max, None if c.high >= UNLIMITED else c.high)
            for c in self.machine.cgroups
        ])  # fmt: skip

    # -- time ---------------------------------------------------------------------------------------------------------

    def play(self) -> Run:
        self._harden(0)
        for values in self.scenario.processes:
            for number in range(values["count"]):
                at = round((values["start"] + number * values["stagger"]) / self.step_seconds)
                self._later(at, "start", values)
        now, next_sample = 0, 0
        self._events(now)
        self._settle(now)
        while not self.over:
            if now >= next_sample:
                self._sample(now)
                next_sample = now + self.sample_every
            if now >= self.end:
                break
            upto = min(self.due[0][0] if self.due else self.end, next_sample, self.end)
            if not self.leap:
                upto = now + 1
            if self.guard_due is not None:
                upto = min(upto, max(self.guard_due, now + 1))
            last = upto - 1
            self.run.steps_looked_at += 1
            if last > now and (self.throttled or not self._calm(last)) and self._news(last):
                now = self._first_news(now, last)
            else:
                now = upto
                self._events(now)
            if not self._calm(now) or self.throttled or self.guard_due is not None:
                self._settle(now)
        self.run.end_seconds = self._seconds(now)
        for index, since in self.throttled.items():
            self._throttled_until(index, since, now)
        return self.run

    def _harden(self, step: int) -> None:
        """Fix up to which need nothing can happen, now that alerts and guard are known."""
        self.machine.reset_soft(self.scenario.alert["at"], self.alerted)
        if self.guard and self.content is None:
            self.guard.cgroup.soft = min(self.guard.cgroup.soft, self.guard.soft(self.machine.swap))
        for cgroup in self.machine.cgroups:
            cgroup.recompute_calm(step)

    def _calm(self, step: int) -> bool:
        """Whether nothing can need attention up to *step*, by need alone; False = look closely."""
        machine = self.machine
        if self.content is not None and machine.stirred(step) >= self.content:
            return False
        return all(step < cgroup.calm_until for cgroup in machine.cgroups)

    def _first_news(self, calm: int, news: int) -> int:
        """The first step with news between a step without and one with."""
        while news - calm > 1:
            middle = (calm + news) // 2
            if self._news(middle):
                news = middle
            else:
                calm = middle
        return news

    def _news(self, step: int) -> bool:
        """Whether somebody has to act at *step*."""
        self.run.steps_looked_at += 1
        machine = self.machine
        if self._committed(step) > machine.commit_limit:
            return True
        state = self.look(step)
        if any(index not in self.hopeless for index in state.short) or state.over_high.keys() != self.throttled.keys():
            return True
        if any(self._alerts(state)):
            return True
        return self.guard is not None and self.guard.wants(state, machine) == (self.guard_due is None)

    def _committed(self, step: int) -> int:
        """Committed_AS as far as the model goes: anonymous memory and tmpfs that were asked for."""
        demand = self.machine.cgroups[0].demand(step)
        return demand.anon + demand.shmem

    def _alerts(self, state: Balance) -> Iterator[Cgroup]:
        for cgroup in self.machine.cgroups:
            index = cgroup.index
            if index not in self.alerted and state.demand[index].need >= cgroup.alert_at:
                yield cgroup

    def _seconds(self, step: int) -> float:
        return step * self.step_seconds

    def _later(self, step: int, what: str, whom: Any) -> None:
        heappush(self.due, (step, next(self.sequence), what, whom))

    def _tell(self, step: int, kind: str, name: str, words: str) -> None:
        self.run.events.append(Event(self._seconds(step), kind, name, words))

    # -- events -------------------------------------------------------------------------------------------------------

    def _events(self, step: int) -> None:
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
                self._tell(step, "stopped", whom.name, "ended by itself")

    def _alive(self, process: Process) -> bool:
        return self.processes.get(process.pid) is process

    def _start(self, values: Values, step: int, parent: Process | None = None) -> Process | None:
        cgroup = self.machine.by_path[values["cgroup"]]
        if any(above.processes >= above.pids_max for above in cgroup.above):
            if parent is None:
                self._tell(step, "refused", values["name"], "pids.max is reached")
            return None
        process = Process(next(self.pids), values, cgroup, pieces(values, self.step_seconds))
        if parent is not None:
            process.parent = parent.pid
            parent.children.append(process.pid)
        self.processes[process.pid] = process
        for above in cgroup.above:
            above.processes += 1
        self._next_piece(process, step)
        if values["stop"] is not None:
            self._later(step + max(round(values["stop"] / self.step_seconds), 1), "stop", process)
        if values["kind"] == "forkbomb" and parent is None:
            child = {**values, "kind": "constant", "size": values["child_size"], "stop": None, "restart": None}
            self._later(step + 1, "fork", (process, child, step, 0))
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
        self._later(step + 1, "fork", (first, child, since, max(made, wanted)))

    def _next_piece(self, process: Process, step: int) -> None:
        """Go on to the next piece of the workload."""
        piece = next(process.plan, None)
        was, grew = process.demand(step), process.growth.need
        if piece is None or piece.exits:
            self._remove(process, step)
            self._tell(step, "exited", process.name, (piece and piece.exits) or "ended")
            self._restart(process, step)
            return
        machine = self.machine
        if machine.overcommit == 0 and piece.start.anon - was.anon > machine.ram + machine.swap:
            # __vm_enough_memory() of 5.2 and later: the guess refuses only what could never fit.
            self._refuse(process, step, "asks at once for more than RAM and swap: its allocation fails")
            return
        process.slowed = None
        self._bend(process, step, piece.start, piece.growth, min(step + piece.steps, FOREVER))
        process.jump = grew + piece.start.need - was.need
        if piece.growth.need > 0 and any(above.index in self.throttled for above in process.cgroup.above):
            self._slow(process, step)

    def _bend(self, process: Process, step: int, now: Memory, growth: Memory, until: int) -> None:
        """Put *process* on a new straight piece."""
        was = process.demand(step)
        self.machine.change(process.cgroup, Bend(was, process.growth, now, growth, step))
        process.start, process.growth, process.since, process.until = now, growth, step, until
        process.jump = 0
        if until < FOREVER:
            self._later(until, "bend", process)

    def _remove(self, process: Process, step: int, kept_shmem: int | None = None) -> Memory:
        """End *process*: its tmpfs files stay. Page cache that nobody wants any more counts as free."""
        demand = process.demand(step)
        left = Memory(shmem=demand.shmem if kept_shmem is None else kept_shmem)
        self.machine.change(process.cgroup, Bend(demand, process.growth, left, ZERO, step))
        del self.processes[process.pid]
        for above in process.cgroup.above:
            above.processes -= 1
        return demand

    def _restart(self, process: Process, step: int) -> None:
        wait = process.values["restart"]
        if wait is not None:
            self._later(step + max(round(wait / self.step_seconds), 1), "start", process.values)

    # -- pressure -----------------------------------------------------------------------------------------------------

    def _settle(self, step: int) -> None:
        """Let kernel and guard act at *step* until nobody has to any more."""
        while not self.over:
            machine = self.machine
            if self._committed(step) > machine.commit_limit:
                self._refuse_commit(step)
                continue
            state = self.look(step)
            fired = list(self._alerts(state))
            for cgroup in fired:
                self.alerted.add(cgroup.index)
                limit = machine.ram if cgroup.index == 0 else cgroup.max
                what = "RAM" if cgroup.index == 0 else "memory.max"
                need = state.demand[cgroup.index].need
                self._tell(step, "alert", cgroup.path, f"needs {size_words(need)} of {size_words(limit)} {what}")
            if fired:
                self._harden(step)
            self._throttle(step, state)
            short = [index for index in state.short if index not in self.hopeless]
            if short:
                # The leaf's limit fails first; list order is parents first.
                self._oom(step, machine.balance(step), machine.cgroups[max(short)])
                continue
            if self.guard is not None and not self._guarded(step, state):
                continue
            return

    def _guarded(self, step: int, state: Balance) -> bool:
        """Let the guard look; False = it acted."""
        guard = self.guard
        assert guard is not None
        if not guard.wants(state, self.machine):
            self.guard_due = None
            if self.content is not None:
                self.content = self.machine.stirred(step) + guard.slack(state)
            return True
        if self.content is not None:
            self.content = -1
        if self.guard_due is None:
            self.guard_due = guard.due(step)
        if self.guard_due > step:
            return True
        self.guard_due = None
        self._guard_acts(step, self.machine.balance(step), guard)
        return False

    def _throttle(self, step: int, state: Balance) -> None:
        """Slow down who is above memory.high, let go who no longer is."""
        for index in [i for i in self.throttled if i not in state.over_high]:
            self._throttled_until(index, self.throttled.pop(index), step)
            self._tell(step, "released", self.machine.cgroups[index].path, "below memory.high again")
            for process in list(self.processes.values()):
                if process.slowed and not any(above.index in self.throttled for above in process.cgroup.above):
                    self._unslow(process, step)
        for index in state.over_high:
            if index not in self.throttled:
                self.throttled[index] = step
                cgroup = self.machine.cgroups[index]
                self._tell(step, "throttled", cgroup.path, f"above memory.high of {size_words(cgroup.high)}")
                for process in list(self.processes.values()):
                    if cgroup in process.cgroup.above:
                        self._slow(process, step)

    def _throttled_until(self, index: int, since: int, step: int) -> None:
        path = self.machine.cgroups[index].path
        seconds = self.run.throttled_seconds
        seconds[path] = seconds.get(path, 0.0) + self._seconds(step - since)

    def _most_growth(self) -> int:
        return max(int(THROTTLED_PAGES_PER_SECOND * self.machine.page_size * self.step_seconds), 1)

    def _slow(self, process: Process, step: int) -> None:
        most, own = self._most_growth(), process.growth
        if process.slowed is None and own.need > most:
            slow = Memory(*(part * most // own.need for part in own))
            rest = process.until - step
            until = FOREVER if process.until >= FOREVER else step + rest * own.need // max(slow.need, 1)
            process.slowed = (own, rest)
            self._bend(process, step, process.demand(step), slow, until)

    def _unslow(self, process: Process, step: int) -> None:
        assert process.slowed is not None
        own, rest = process.slowed
        past = (step - process.since) * process.growth.need // max(own.need, 1)
        process.slowed = None
        until = FOREVER if rest >= FOREVER // 2 else step + max(rest - past, 1)
        self._bend(process, step, process.demand(step), own, until)

    def _refuse_commit(self, step: int) -> None:
        """Overcommit mode 2: the request that would pass CommitLimit fails, and its program ends."""
        process = max(self.processes.values(), key=lambda p: (p.grew(step), p.demand(step).need, p.pid), default=None)
        if process is None:
            self.over = True
            return
        self._refuse(process, step, "CommitLimit is reached: its allocation fails")

    def _refuse(self, process: Process, step: int, words: str) -> None:
        self._tell(step, "refused", process.name, words)
        self._remove(process, step)
        self._restart(process, step)

    def _thousandth(self, total_pages: int) -> float | None:
        return max(total_pages, 1) / 1000 if self.rule.unit == "pages" else None

    # -- choice -------------------------------------------------------------------------------------------------------

    def _oom(self, step: int, state: Balance, cgroup: Cgroup) -> None:
        """*cgroup* is out of memory: the kernel's rules say who dies."""
        machine, short = self.machine, state.short[cgroup.index]
        inside = scan_order(self.processes, cgroup)
        held = holdings(machine, state, inside, step, short)
        grower = max(inside, key=lambda p: (p.grew(step), p.pid), default=None)
        total = machine.total(cgroup)
        constraint = "CONSTRAINT_MEMCG" if cgroup.index else "CONSTRAINT_NONE"
        choice = select(candidates(inside, held, machine.page_size), self.rule, Scene(
            total_pages=total.pages, page_size=machine.page_size, constraint=constraint, oom_memcg=cgroup.path,
            release=self.release, current_pid=grower.pid if grower else None,
            panic_on_oom=self.scenario.machine["panic_on_oom"],
            oom_kill_allocating_task=self.scenario.machine["oom_kill_allocating_task"],
            oom_group=frozenset(c.path for c in machine.cgroups if c.oom_group),
        ))  # fmt: skip
        killed = {kill.pid: kill.role for kill in choice.kills}
        rows = table(inside, held, choice, self._thousandth(total.pages))
        limit = machine.ram if cgroup.index == 0 else cgroup.max
        self._sample(step)
        victims = tuple(victim(self.processes[pid], role, held[pid]) for pid, role in killed.items())
        freed = self._end(step, tuple(killed), short)
        if victims or cgroup.index not in self.stuck:
            self.run.kills.append(Kill(
                self._seconds(step), "kernel", constraint, cgroup.path, choice.outcome.value, choice.words,
                grower.name if grower else None, limit, total.pages, total.how, victims, freed,
                tuple(rows[:SHOWN_ROWS]), max(len(rows) - SHOWN_ROWS, 0),
            ))  # fmt: skip
        if choice.outcome is Outcome.PANIC or (not victims and cgroup.index == 0):
            self._tell(step, "panic", "/", choice.words)
            self.over, self.run.ended_by = True, "panic"
        elif not victims:
            self._stall(step, cgroup, short, inside)
        elif len(self.run.kills) >= MAX_KILLS:
            self._tell(step, "no_more_kills", cgroup.path, f"{MAX_KILLS} kills: the run ends here")
            self.over, self.run.ended_by = True, "kills"
        self._sample(step)

    def _end(self, step: int, pids: tuple[int, ...], short: int) -> int:
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

    def _stall(self, step: int, cgroup: Cgroup, short: int, inside: list[Process]) -> None:
        """Nobody may be killed in a cgroup: allocations fail, who grew grows no more."""
        self.stuck.add(cgroup.index)
        grew = [min(p.grew(step), p.demand(step).anon + p.demand(step).shmem) for p in inside]
        cuts = share(min(short, sum(grew)), grew)
        for process, cut in zip(inside, cuts, strict=True):
            if process.growth.need > 0 or cut:
                demand = process.demand(step)
                anon = min(cut, demand.anon)
                less = demand._replace(anon=demand.anon - anon, shmem=demand.shmem - (cut - anon))
                self._bend(process, step, less, ZERO, FOREVER)
                words = f"gets no memory in {cgroup.path}; nobody there may be killed"
                self._tell(step, "stuck", process.name, words)
        if sum(cuts) < short:
            self.hopeless.add(cgroup.index)

    def _guard_acts(self, step: int, state: Balance, guard: Guard) -> None:
        """The guard ends the first of the kernel's own ranking that it may touch."""
        inside = [p for p in scan_order(self.processes, guard.cgroup) if p.name not in guard.avoid]
        held = holdings(self.machine, state, inside, step, 0)
        total = self.machine.total(guard.cgroup)
        page_size = self.machine.page_size
        scene = Scene(total_pages=total.pages, page_size=page_size, release=self.release)
        choice = select(candidates(inside, held, page_size), self.rule, scene)
        if choice.chosen is None:
            self.guard = self.content = None
            self._tell(step, "stuck", "guard", "the guard finds nobody it may kill and gives up")
            return
        rows = table(inside, held, choice, self._thousandth(total.pages))
        process = self.processes[choice.chosen]
        dead = victim(process, "guard", held[process.pid])
        self._sample(step)
        freed = self._end(step, (process.pid,), 0)
        if guard.restarts and process.values["restart"] is None:
            self._later(step + 1, "start", process.values)
        seen = f"a pressure of {guard.pressure_pct} %"
        if guard.kind == "available":
            seen = f"less than {guard.available_pct} % of memory left"
        self.run.kills.append(Kill(
            self._seconds(step), "guard", "", guard.cgroup.path, "restarted" if guard.restarts else "killed",
            f"the guard acts at {seen}", None, guard.whole, total.pages, total.how, (dead,), freed,
            tuple(rows[:SHOWN_ROWS]), max(len(rows) - SHOWN_ROWS, 0),
        ))  # fmt: skip
        if len(self.run.kills) >= MAX_KILLS:
            self._tell(step, "no_more_kills", guard.cgroup.path, f"{MAX_KILLS} kills: the run ends here")
            self.over, self.run.ended_by = True, "kills"
        self._sample(step)

    # -- record -------------------------------------------------------------------------------------------------------

    def _sample(self, step: int) -> None:
        """Keep the state; what was asked for and never had is left out."""
        state = self.machine.balance(step)
        need, cache = [], []
        for index, cgroup in enumerate(self.machine.cgroups):
            cache.append(state.cache(index))
            held = state.resident(index) - cache[-1]
            need.append(min(held, cgroup.max) if index in state.short else held)
        self.run.samples.append(Sample(
            self._seconds(step), tuple(need), tuple(cache), tuple(state.swapped), state.pressure_pct(0),
            len(self.processes),
        ))  # fmt: skip
