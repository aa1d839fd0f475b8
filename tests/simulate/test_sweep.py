"""Sweeps and chance: where a value turns, the same seed the same result, and honest counts."""

from __future__ import annotations

import random

import pytest

from oomsight.simulate.sweep import monte_carlo, sweep, sweep_values, vary

from .samples import scenario

CURED = (
    '[[variant]]\nname = "limit"\nset = { "cgroup./a.max" = "100MiB" }\n'
    '[[variant]]\nname = "ram"\nset = { "machine.ram" = "64GiB" }\n'
    '[[variant]]\nname = "guard"\nset = { "guard.available" = 10, "guard.action" = "restart" }'
)


def leaky(**more: str):
    """A leak that needs about 720 MiB in an hour, with three changes."""
    return scenario("c /a", "p leak leak cgroup=/a size=120MiB rate=10MiB/min", CURED, **more)


@pytest.mark.parametrize(
    ("first", "last", "step", "values"),
    [("1", "3", "1", ["1", "2", "3"]), ("1MiB", "2MiB", "512KiB", ["1024KiB", "1536KiB", "2048KiB"]),
     ("1MiB/min", "3MiB/min", "1MiB/min", ["1MiB/min", "2MiB/min", "3MiB/min"]), ("0.5s", "1s", "0.25s",
     ["0.5s", "0.75s", "1s"]), ("1GiB", "2GiB", "512MiB", ["1024MiB", "1536MiB", "2048MiB"]), ("5", "4", "1", None),
     ("1", "2", "0", None), ("a", "2", "1", None), ("0", "1e9", "1", None), ("0", "100000", "1", None)],
)  # fmt: skip
def test_sweep_values(first, last, step, values) -> None:
    assert sweep_values(first, last, step) == values


def test_sweep_finds_where_it_turns() -> None:
    one = scenario("p leak leak size=0 rate=10MiB/min")
    found, problems = sweep(one, "machine.ram", ["512MiB", "576MiB", "640MiB", "704MiB"])
    assert problems == []
    # An hour of 10 MiB a minute, 3 % for the kernel: 600 / 0.97 and the reserve are needed.
    assert found.turns == [("576MiB", "640MiB")]
    assert [p.run.survived for p in found.points] == [False, False, True, True]


def test_sweep_of_a_bad_value_says_so() -> None:
    found, problems = sweep(leaky(), "machine.ram", ["1", "2"])
    assert found is None
    assert problems[0].words == "'1' is not a size such as 512MiB, 4 MiB to 64 TiB"


def test_vary_keeps_within_the_spread_and_leaves_the_machine_alone() -> None:
    one, chance = leaky(), random.Random(1)
    rates = []
    for _ in range(200):
        other = vary(one, chance)
        assert (other.machine, other.cgroups, other.run) == (one.machine, one.cgroups, one.run)
        rates.append(other.processes[0]["rate"] / one.processes[0]["rate"])
    assert 0.7 <= min(rates) < 0.75
    assert 1.25 < max(rates) <= 1.3


def test_monte_carlo_is_the_same_for_the_same_seed() -> None:
    one = leaky(ram="640MiB")
    first, again, other = (monte_carlo(one, 30, random.Random(seed)) for seed in (5, 5, 6))
    assert first.curves == again.curves
    assert first.curves[0].crash_seconds != other.curves[0].crash_seconds


def test_monte_carlo_counts_add_up() -> None:
    found = monte_carlo(leaky(ram="640MiB", top='alert = { lead = "10min" }'), 60, random.Random(7))
    base, limit, ram, guard = found.curves
    assert 10 < base.crashes < 60
    # A limit of its own kills the leak all the same, more often.
    assert (limit.crashes, limit.prevented) == (60, 0)
    assert limit.caused == 60 - base.crashes
    assert (ram.crashes, ram.prevented) == (0, base.crashes)
    assert (guard.prevented, guard.by_guard) == (base.crashes, base.crashes)
    # The last 128 MiB take 10 to 18 minutes: some alerts are early enough, some are not.
    assert 0 < found.alerted <= base.crashes
    for curve in found.curves:
        assert curve.alive_at(-1) == 1.0
        assert curve.alive_at(3600) == 1 - curve.crashes / 60
        shares = [curve.alive_at(t) for t in range(0, 3601, 60)]
        assert shares == sorted(shares, reverse=True)
