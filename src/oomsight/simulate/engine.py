"""
The run of a scenario: from event to event, never from second to second.

Between two events (a workload bends, a process starts or ends, a sample is due) demand is straight, and the states in
which nobody has to act form a convex set. So if both ends of a straight stretch are calm, all of it is; and if the
far end is not, bisection finds the first step that is not. The result is that of looking at every single step; a test
does that, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from oomsight._sizes import size_words
from oomsight.kernel.badness import rule_by_name, rule_for_release
from oomsight.kernel.release import parse_release
from oomsight.kernel.selection import Outcome, Scene, select
from oomsight.simulate.choice import ZERO, Process, candidates, holdings, scan_order, table, victim
from oomsight.simulate.guard import Guard
from oomsight.simulate.machine import UNLIMITED, Balance, Cgroup, Machine, share
from oomsight.simulate.outcome import CgroupInfo, Kill, Run, Sample
from oomsight.simulate.population import Population
from oomsight.simulate.workloads import FOREVER

if TYPE_CHECKING:
    from oomsight.simulate.scenario import Scenario

MAX_KILLS: Final = 200
"""Kills after which a run ends: the machine does nothing else any more."""
SAMPLES: Final = 240
SHOWN_ROWS: Final = 10


def simulate(scenario: Scenario, *, leap: bool = True, samples: int = SAMPLES) -> Run:
    """
    Play *scenario* (its variants are the caller's business). ``leap=False`` looks at every step: slow, same result.
    ``samples``: about how many states to keep for the timeline.
    """
    return _Engine(scenario, leap, samples).play()


class _Engine:
    """One run: the machine, who lives on it, and who has to act when."""

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
        self.alerted: set[int] = set()
        self.stuck: set[int] = set()  # cgroups in which nobody could be killed when it was needed
        self.hopeless: set[int] = set()  # of these, where not even refusing every allocation helps
        self.over = False
        self.sample_every = max(self.end // max(samples, 1), 1)
        self.run = Run(scenario, [
            CgroupInfo(c.path, None if c.max >= UNLIMITED else c.max, None if c.high >= UNLIMITED else c.high)
            for c in self.machine.cgroups
        ])  # fmt: skip
        self.people = Population(self.machine, self.run, self.step_seconds)

    # -- time ---------------------------------------------------------------------------------------------------------

    def play(self) -> Run:
        self._harden(0)
        for values in self.scenario.processes:
            for number in range(values["count"]):
                at = round((values["start"] + number * values["stagger"]) / self.step_seconds)
                self.people.later(at, "start", values)
        now, next_sample = 0, 0
        self.people.events(now)
        self._settle(now)
        while not self.over:
            if now >= next_sample:
                self._sample(now)
                next_sample = now + self.sample_every
            if now >= self.end:
                break
            due = self.people.due
            upto = min(due[0][0] if due else self.end, next_sample, self.end)
            if not self.leap:
                upto = now + 1
            if self.guard_due is not None:
                upto = min(upto, max(self.guard_due, now + 1))
            last = upto - 1
            self.run.steps_looked_at += 1
            if last > now and (self.people.throttled or not self._calm(last)) and self._news(last):
                now = self._first_news(now, last)
            else:
                now = upto
                self.people.events(now)
            if not self._calm(now) or self.people.throttled or self.guard_due is not None:
                self._settle(now)
        self.run.end_seconds = self.people.seconds(now)
        for index, since in self.people.throttled.items():
            self.people.throttled_until(index, since, now)
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
        if any(index not in self.hopeless for index in state.short):
            return True
        if state.over_high.keys() != self.people.throttled.keys():
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
                self.people.tell(step, "alert", cgroup.path, f"needs {size_words(need)} of {size_words(limit)} {what}")
            if fired:
                self._harden(step)
            self.people.throttle(step, state)
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

    def _refuse_commit(self, step: int) -> None:
        """Overcommit mode 2: the request that would pass CommitLimit fails, and its program ends."""
        living = self.people.processes.values()
        process = max(living, key=lambda p: (p.grew(step), p.demand(step).need, p.pid), default=None)
        if process is None:
            self.over = True
            return
        self.people.refuse(process, step, "CommitLimit is reached: its allocation fails")

    def _thousandth(self, total_pages: int) -> float | None:
        return max(total_pages, 1) / 1000 if self.rule.unit == "pages" else None

    # -- choice -------------------------------------------------------------------------------------------------------

    def _oom(self, step: int, state: Balance, cgroup: Cgroup) -> None:
        """*cgroup* is out of memory: the kernel's rules say who dies."""
        machine, short = self.machine, state.short[cgroup.index]
        inside = scan_order(self.people.processes, cgroup)
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
        victims = tuple(victim(self.people.processes[pid], role, held[pid]) for pid, role in killed.items())
        freed = self.people.end(step, tuple(killed), short)
        if victims or cgroup.index not in self.stuck:
            self.run.kills.append(Kill(
                self.people.seconds(step), "kernel", constraint, cgroup.path, choice.outcome.value, choice.words,
                grower.name if grower else None, limit, total.pages, total.how, victims, freed,
                tuple(rows[:SHOWN_ROWS]), max(len(rows) - SHOWN_ROWS, 0),
            ))  # fmt: skip
        if choice.outcome is Outcome.PANIC or (not victims and cgroup.index == 0):
            self.people.tell(step, "panic", "/", choice.words)
            self.over, self.run.ended_by = True, "panic"
        elif not victims:
            self._stall(step, cgroup, short, inside)
        elif len(self.run.kills) >= MAX_KILLS:
            self.people.tell(step, "no_more_kills", cgroup.path, f"{MAX_KILLS} kills: the run ends here")
            self.over, self.run.ended_by = True, "kills"
        self._sample(step)

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
                self.people.bend(process, step, less, ZERO, FOREVER)
                words = f"gets no memory in {cgroup.path}; nobody there may be killed"
                self.people.tell(step, "stuck", process.name, words)
        if sum(cuts) < short:
            self.hopeless.add(cgroup.index)

    def _guard_acts(self, step: int, state: Balance, guard: Guard) -> None:
        """The guard ends the first of the kernel's own ranking that it may touch."""
        inside = [p for p in scan_order(self.people.processes, guard.cgroup) if p.name not in guard.avoid]
        held = holdings(self.machine, state, inside, step, 0)
        total = self.machine.total(guard.cgroup)
        page_size = self.machine.page_size
        scene = Scene(total_pages=total.pages, page_size=page_size, release=self.release)
        choice = select(candidates(inside, held, page_size), self.rule, scene)
        if choice.chosen is None:
            self.guard = self.content = None
            self.people.tell(step, "stuck", "guard", "the guard finds nobody it may kill and gives up")
            return
        rows = table(inside, held, choice, self._thousandth(total.pages))
        process = self.people.processes[choice.chosen]
        dead = victim(process, "guard", held[process.pid])
        self._sample(step)
        freed = self.people.end(step, (process.pid,), 0)
        if guard.restarts and process.values["restart"] is None:
            self.people.later(step + 1, "start", process.values)
        seen = f"a pressure of {guard.pressure_pct} %"
        if guard.kind == "available":
            seen = f"less than {guard.available_pct} % of memory left"
        self.run.kills.append(Kill(
            self.people.seconds(step), "guard", "", guard.cgroup.path, "restarted" if guard.restarts else "killed",
            f"the guard acts at {seen}", None, guard.whole, total.pages, total.how, (dead,), freed,
            tuple(rows[:SHOWN_ROWS]), max(len(rows) - SHOWN_ROWS, 0),
        ))  # fmt: skip
        if len(self.run.kills) >= MAX_KILLS:
            self.people.tell(step, "no_more_kills", guard.cgroup.path, f"{MAX_KILLS} kills: the run ends here")
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
            self.people.seconds(step), tuple(need), tuple(cache), tuple(state.swapped), state.pressure_pct(0),
            len(self.people.processes),
        ))  # fmt: skip
