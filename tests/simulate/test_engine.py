"""Runs of scenarios: who dies when, and that leaping from event to event is the same as looking at every second."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomsight.simulate.engine import MAX_KILLS, simulate
from oomsight.simulate.machine import min_free_bytes
from oomsight.simulate.population import THROTTLED_PAGES_PER_SECOND
from oomsight.simulate.scenario import changed, read_scenario

from .samples import scenario

if TYPE_CHECKING:
    from oomsight.simulate.outcome import Run
    from oomsight.simulate.scenario import Scenario

MIB = 1 << 20


def deaths(run: Run) -> list[tuple[float, str, str]]:
    """(time, cgroup, name) of everybody who died."""
    return [(kill.time_seconds, kill.cgroup, v.name) for kill in run.kills for v in kill.victims]


def told(run: Run, kind: str) -> list[tuple[float, str]]:
    """(time, name) of the events of a kind."""
    return [(event.time_seconds, event.name) for event in run.events if event.kind == kind]


# -- who dies, when ---------------------------------------------------------------------------------------------------


def test_leak_dies_when_its_cgroup_is_full() -> None:
    run = simulate(scenario("c /a max=100MiB", "p leak leak cgroup=/a size=10MiB rate=1MiB/s"))
    (kill,) = run.kills
    # 100 MiB less the 84 KiB of a process, its 16 KiB stack and page tables (1/512): just under 90 s.
    assert kill.time_seconds == 90
    assert (kill.constraint, kill.cgroup, kill.outcome) == ("CONSTRAINT_MEMCG", "/a", "killed")
    assert kill.total_pages == 100 * 256
    assert [row.name for row in kill.rows if row.killed] == ["leak"]


def test_leak_on_the_machine_dies_at_the_min_watermark() -> None:
    run = simulate(scenario("p leak leak size=0 rate=1MiB/s", ram="1GiB", machine='kernel = "24MiB"'))
    usable = (1024 - 24) * MIB - min_free_bytes(1 << 30)
    kill = run.kills[0]
    assert kill.constraint == "CONSTRAINT_NONE"
    assert abs(kill.time_seconds - usable / MIB * 512 / 513) < 2
    assert kill.total_pages == 262144


def test_swap_buys_exactly_the_time_it_takes_to_fill() -> None:
    times = []
    for swap in ("0", '"100MiB"'):
        run = simulate(scenario("p leak leak size=0 rate=1MiB/s", machine=f"swap = {swap}"))
        times.append(run.kills[0].time_seconds)
    assert 99 <= times[1] - times[0] <= 101


def test_biggest_process_dies_not_the_one_that_asks() -> None:
    run = simulate(scenario("p big constant size=600MiB", "p leak leak size=0 rate=1MiB/s"))
    assert deaths(run)[0][2] == "big"
    assert run.kills[0].trigger == "leak"


def test_a_jump_gets_only_what_is_left_before_the_choice() -> None:
    # Asks for 500 MiB at once in 100 MiB where another holds 60: at the kill it has 40, so the other dies first.
    row = "p hog leak cgroup=/a size=0 rate=500MiB/s shape=step step_every=1s ceiling=500MiB start=10"
    run = simulate(scenario("c /a max=100MiB", "p sitter constant cgroup=/a size=60MiB", row))
    assert [(at, name) for at, _, name in deaths(run)] == [(11, "sitter"), (11, "hog")]


def test_adj_decides_in_thousandths_of_t() -> None:
    tables = ["p big constant size=600MiB", "p leak leak size=0 rate=1MiB/s adj={}"]
    assert deaths(simulate(scenario(tables[0], tables[1].format(200))))[0][2] == "big"
    assert deaths(simulate(scenario(tables[0], tables[1].format(300))))[0][2] == "leak"


def test_oom_group_takes_the_whole_cgroup() -> None:
    run = simulate(scenario(
        "c /a max=100MiB oom_group=true", "p leak leak cgroup=/a size=0 rate=1MiB/s",
        "p mate constant cgroup=/a size=5MiB", "p kept constant cgroup=/a size=5MiB adj=-1000", "p out constant size=9MiB",
    ))  # fmt: skip
    assert {v.name: v.role for v in run.kills[0].victims} == {"leak": "selected", "mate": "group"}


def test_parents_limit_reaches_every_child() -> None:
    run = simulate(scenario(
        "c /pod max=100MiB", "p side constant cgroup=/pod/side size=60MiB",
        "p main leak cgroup=/pod/main size=0 rate=1MiB/s",
    ))  # fmt: skip
    assert run.kills[0].cgroup == "/pod"
    assert deaths(run)[0][2] == "side"


def test_restart_begins_again_and_dies_again() -> None:
    run = simulate(scenario("c /a max=100MiB", "p leak leak cgroup=/a size=10MiB rate=1MiB/s restart=10s",
                            duration="5min"))  # fmt: skip
    assert [at for at, _, _ in deaths(run)] == [90, 190, 290]


def test_nobody_killable_in_a_cgroup_leaves_it_stuck() -> None:
    run = simulate(scenario("c /a max=100MiB", "p leak leak cgroup=/a size=0 rate=1MiB/s adj=-1000", "p x constant"))
    assert deaths(run) == []
    assert run.kills[0].outcome == "no_killable"
    assert [name for _, name in told(run, "stuck")] == ["leak"]
    assert run.samples[-1].need_bytes[run.cgroups.index(next(c for c in run.cgroups if c.path == "/a"))] <= 100 * MIB


def test_nobody_killable_on_the_machine_is_a_panic() -> None:
    run = simulate(scenario("p leak leak size=0 rate=10MiB/s adj=-1000"))
    assert run.ended_by == "panic"
    assert not run.survived


def test_panic_on_oom_ends_the_machine() -> None:
    run = simulate(scenario("p leak leak size=0 rate=10MiB/s", machine="panic_on_oom = 1"))
    assert (run.ended_by, deaths(run)) == ("panic", [])
    run = simulate(scenario("c /a max=9MiB", "p leak leak cgroup=/a rate=10MiB/s", machine="panic_on_oom = 1"))
    assert run.ended_by is None  # 1 means global OOM only


def test_tmpfs_is_not_freed_by_killing_its_writer() -> None:
    run = simulate(scenario(
        "c /a max=100MiB", "p cp tmpfs cgroup=/a size=1MiB files=500MiB rate=1MiB", "p app constant cgroup=/a size=20MiB",
    ))  # fmt: skip
    # Both die one after the other, the files stay.
    assert [name for _, _, name in deaths(run)] == ["app", "cp"]
    index = [c.path for c in run.cgroups].index("/a")
    assert run.samples[-1].need_bytes[index] > 90 * MIB


def test_cache_is_dropped_and_kills_nobody() -> None:
    run = simulate(scenario("c /a max=100MiB", "p reader cache cgroup=/a files=9GiB rate=100MiB"))
    assert run.kills == []
    index = [c.path for c in run.cgroups].index("/a")
    assert run.samples[-1].cache_bytes[index] > 80 * MIB


def test_forkbomb_is_stopped_by_pids_max_or_by_kills() -> None:
    bomb = "p bomb forkbomb cgroup=/a child_size=2MiB forks=600"
    bounded = simulate(scenario("c /a max=100MiB pids_max=20", bomb, duration="5min"))
    assert (bounded.kills, bounded.samples[-1].processes) == ([], 20)
    run = simulate(scenario("c /a max=100MiB", bomb, duration="5min"))
    assert len(run.kills) == MAX_KILLS
    assert run.ended_by == "kills"
    assert {kill.victims[0].name for kill in run.kills} == {"bomb"}


def test_high_slows_growth_to_a_batch_each_two_seconds() -> None:
    run = simulate(scenario("c /a high=100MiB", "p leak leak cgroup=/a size=0 rate=1MiB/s", duration="10min"))
    assert run.kills == []
    (at, path), = told(run, "throttled")
    assert (path, 95 < at < 105) == ("/a", True)
    index = [c.path for c in run.cgroups].index("/a")
    last = run.samples[-1]
    slow = THROTTLED_PAGES_PER_SECOND * 4096 * (600 - at)
    assert abs(last.need_bytes[index] - 100 * MIB - slow) < 2 * MIB
    assert run.throttled_seconds == {"/a": 600 - at}


def test_overcommit_2_refuses_instead_of_killing() -> None:
    run = simulate(scenario("p leak leak size=0 rate=1MiB/s", machine="overcommit = 2\novercommit_ratio = 50"))
    assert run.kills == []
    assert told(run, "refused") == [(513, "leak")]


def test_overcommit_0_refuses_only_what_could_never_fit() -> None:
    row = "p hog leak size=0 shape=step step_every=1s ceiling=9GiB rate={}MiB/s"
    for size, mode, kind in ((1100, 0, "refused"), (1000, 0, "killed"), (1100, 1, "killed")):
        run = simulate(scenario(row.format(size), duration="3s", machine=f"overcommit = {mode}"))
        assert ("refused" if told(run, "refused") else run.kills[0].outcome) == kind


@pytest.mark.parametrize(("kernel", "name"), [("6.12", "big"), ("4.4", "child"), ("3.10", "child")])
def test_kernel_release_decides_about_children(kernel, name) -> None:
    # Up to 5.0 a child is sacrificed for its parent.
    tables = ["p child forkbomb cgroup=/a size=90MiB child_size=2MiB forks=60 most=1",
              "p leak leak cgroup=/a size=0 rate=100KiB/s", "c /a max=100MiB"]  # fmt: skip
    run = simulate(_with_kernel(tables, kernel))
    size = run.kills[0].victims[0].rss_bytes
    assert (size > 50 * MIB) == (name == "big")


def _with_kernel(tables: list[str], kernel: str) -> Scenario:
    return changed(scenario(*tables, duration="10min"), {"run.kernel": kernel})[0]


# -- guard and alerts -------------------------------------------------------------------------------------------------


def test_guard_acts_before_the_kernel() -> None:
    run = simulate(scenario("p big constant size=400MiB", "p leak leak size=0 rate=1MiB/s restart=1h",
                            '[guard]\navailable = 10\navoid = ["big"]'))  # fmt: skip
    assert [(kill.by, kill.victims[0].name) for kill in run.kills] == [("guard", "leak")]
    assert run.oom_kills == []


def test_guard_that_looks_too_seldom_is_late() -> None:
    run = simulate(scenario("p leak leak size=0 rate=20MiB/s", '[guard]\navailable = 10\ninterval = "1min"'))
    assert run.kills[0].by == "kernel"


def test_guard_waits_for_swap_to_be_used() -> None:
    rows = ("p leak leak size=0 rate=1MiB/s", "[guard]\navailable = 10\nswap_free = 50")
    with_swap = simulate(scenario(*rows, machine='swap = "200MiB"')).kills[0].time_seconds
    without = simulate(scenario(*rows)).kills[0].time_seconds
    assert with_swap - without > 150


def test_guard_by_pressure_acts_while_swapping() -> None:
    run = simulate(scenario("p leak leak size=0 rate=1MiB/s", '[guard]\nkind = "pressure"\npressure = 20',
                            machine='swap = "1GiB"'))  # fmt: skip
    kill = run.kills[0]
    assert kill.by == "guard"
    assert run.samples[[s.time_seconds for s in run.samples].index(kill.time_seconds)].pressure_pct >= 20


def test_guard_that_restarts_counts_as_controlled() -> None:
    run = simulate(scenario("p leak leak size=0 rate=1MiB/s", '[guard]\naction = "restart"'))
    assert run.survived
    assert run.restarts_by_guard == 4


def test_alert_comes_at_its_share_once_per_cgroup() -> None:
    run = simulate(scenario("c /a max=100MiB", "p leak leak cgroup=/a size=0 rate=1MiB/s restart=1s", "[alert]\nat = 50"))
    assert told(run, "alert") == [(50, "/a")]
    assert run.alert_seconds == 50
    assert run.crash_seconds == 100
    assert not run.alert_in_time


# -- properties -------------------------------------------------------------------------------------------------------


def random_file(chance: random.Random) -> str:
    """A small machine with anything on it."""
    one = chance.choice
    text = (
        f'title = "x"\n[run]\nduration = "{one([3, 6])}min"\n[machine]\nram = "{one([256, 512, 1024])}MiB"\n'
        f'swap = "{one([0, 64, 256])}MiB"\nswappiness = {one([0, 60, 200])}\novercommit = {one([0, 0, 0, 2])}\n'
    )
    paths = ["/"]
    for path in ("/a", "/b", "/a/x", "/a/y"):
        if chance.random() < 0.7:
            paths.append(path)
            text += f'[[cgroup]]\npath = "{path}"\n'
            for key, likely, sizes in (("max", 0.5, (60, 100, 200)), ("high", 0.25, (50, 90)), ("min", 0.2, (50,)),
                                       ("low", 0.2, (50, 90)), ("swap_max", 0.2, (0, 30))):  # fmt: skip
                if chance.random() < likely:
                    text += f'{key} = "{one(sizes)}MiB"\n'
            text += f"oom_group = {one(['true', 'false', 'false'])}\n"
    rand = chance.randint
    for number in range(rand(1, 6)):
        kind = one((
            f'"constant"\nsize = "{rand(5, 200)}MiB"', f'"leak"\nrate = "{rand(1, 60)}MiB/min"',
            f'"leak"\nshape = "step"\nrate = "{rand(1, 60)}MiB/min"\nstep_every = {rand(1, 90)}',
            f'"heap"\nheap_max = "{rand(30, 200)}MiB"\nlive = "10MiB"\ngarbage = "{rand(100, 4000)}KiB"\n'
            f'runtime = "{one(["jvm", "node", "python"])}"\nlive_growth = "{one([0, 0, 900])}KiB"',
            f'"traffic"\npeak_connections = {rand(10, 500)}\nspike_at = {rand(0, 60)}\nramp = {rand(1, 30)}\n'
            f'hold = {rand(0, 40)}\nevery = "2min"\ncache = "{rand(0, 100)}MiB"',
            f'"cache"\nfiles = "{rand(10, 900)}MiB"\nrate = "{rand(1, 9)}MiB"',
            f'"tmpfs"\nfiles = "{rand(10, 300)}MiB"\nrate = "{rand(1, 9)}MiB"',
            f'"forkbomb"\nchild_size = "3MiB"\nforks = {rand(10, 200)}\nmost = {rand(5, 60)}',
        ))  # fmt: skip
        text += (
            f'[[process]]\nname = "p{number}"\ncgroup = "{one(paths)}"\nkind = {kind}\nstart = {rand(0, 60)}\n'
            f"adj = {one([0, 0, 0, 500, -500, -1000])}\n"
        )
        text += one(["", "", f"restart = {rand(1, 60)}\n", "stop = 100\n", "count = 3\n"])
    if chance.random() < 0.3:
        text += f'[guard]\nkind = "{one(["available", "pressure"])}"\ninterval = {one([1, 5])}\nhold = {one([0, 3])}\n'
    return text


@pytest.mark.parametrize("seed", range(25))
def test_leaping_finds_the_same_as_looking_at_every_step(seed) -> None:
    one, problems = read_scenario(random_file(random.Random(seed)))
    assert problems == []
    leap, steps = simulate(one), simulate(one, leap=False)
    assert leap.kills == steps.kills
    assert leap.events == steps.events
    assert leap.throttled_seconds == steps.throttled_seconds
    assert (leap.ended_by, leap.end_seconds) == (steps.ended_by, steps.end_seconds)


@pytest.mark.parametrize("seed", range(40, 52))
def test_leaping_over_what_a_guard_by_pressure_may_skip_finds_the_same(seed) -> None:
    rows = [row for row in random_file(random.Random(seed)).split("[guard]")[0].split("\n")
            if not row.startswith(("low", "min", "swap_max"))]  # fmt: skip
    guard = f'[guard]\nkind = "pressure"\npressure = {(1, 5, 20, 40)[seed % 4]}\n'
    one, problems = read_scenario("\n".join([*rows, guard]))
    assert problems == []
    leap, steps = simulate(one), simulate(one, leap=False)
    assert (leap.kills, leap.events) == (steps.kills, steps.events)


@pytest.mark.parametrize("seed", range(100, 120))
def test_no_sample_holds_more_than_there_is(seed) -> None:
    one, _ = read_scenario(random_file(random.Random(seed)))
    run = simulate(one)
    again = simulate(one)
    assert (run.kills, run.events, run.samples) == (again.kills, again.events, again.samples)
    limits = [info.limit_bytes for info in run.cgroups]
    for sample in run.samples:
        assert sample.swap_bytes[0] <= one.machine["swap"]
        for need, cache, limit in zip(sample.need_bytes, sample.cache_bytes, limits, strict=True):
            assert need >= 0
            assert cache >= 0
            assert limit is None or need + cache <= limit


@settings(max_examples=40, deadline=None)
@given(st.integers(64, 4096), st.integers(1, 2048), st.integers(0, 2048), st.integers(1, 2048), st.integers(1, 300))
def test_more_ram_or_swap_never_kills_a_leak_earlier(ram, more_ram, swap, more_swap, rate) -> None:
    def crash(ram_mib: int, swap_mib: int) -> float:
        run = simulate(scenario(f"p leak leak size=1MiB rate={rate}MiB/min", ram=f"{ram_mib}MiB", duration="1d",
                                machine=f'swap = "{swap_mib}MiB"'), samples=1)  # fmt: skip
        return run.crash_seconds if run.crash_seconds is not None else float("inf")

    base = crash(ram, swap)
    assert crash(ram + more_ram, swap) >= base
    assert crash(ram, swap + more_swap) >= base


@settings(max_examples=25, deadline=None)
@given(st.integers(20, 500), st.integers(1, 500))
def test_higher_limit_never_kills_a_leak_earlier(limit, more) -> None:
    times = []
    for size in (limit, limit + more):
        run = simulate(scenario(f"c /a max={size}MiB", "p leak leak cgroup=/a size=1MiB rate=20MiB/min"), samples=1)
        times.append(run.crash_seconds if run.crash_seconds is not None else float("inf"))
    assert times[0] <= times[1]


def test_a_day_of_200_processes_takes_few_looks() -> None:
    kinds = ("leak rate=100KiB/min", "heap heap_max=200MiB garbage=700KiB runtime=node", "constant size=100MiB",
             "traffic peak_connections=200 spike_at=300 every=20min")  # fmt: skip
    rows = [f"p p{i} {kinds[i % 4]} cgroup=/c{i % 10} start={i}" for i in range(200)]
    for guard in ((), ('[guard]\nkind = "pressure"\npressure = 40',)):
        one = scenario(*rows, *(f"c /c{i} max=8GiB" for i in range(10)), *guard, ram="64GiB", duration="1d")
        run = simulate(one)
        assert run.kills == []
        assert one.steps == 86400
        # Far fewer looks than 86,400 steps times 200 processes: the bound that keeps it fast.
        assert run.steps_looked_at < 60_000
