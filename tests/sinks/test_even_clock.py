"""A wall clock that jumped is believed again an hour later."""

from __future__ import annotations

from oomsight.sinks.even_clock import EVEN_SECONDS, ClockSteps, EvenClock, boot_seconds


class _Clocks:
    def __init__(self) -> None:
        self.wall, self.steady = 1.8e9, 50.0
        self.clock = EvenClock(lambda: self.wall, lambda: self.steady)

    def after(self, seconds: float, jump: float = 0.0) -> bool:
        self.wall += seconds + jump
        self.steady += seconds
        return self.clock.even()


def test_even_only_after_an_hour() -> None:
    clocks = _Clocks()
    assert not clocks.after(0)
    assert not clocks.after(EVEN_SECONDS - 1)
    assert clocks.after(1)
    assert clocks.after(10 * EVEN_SECONDS, jump=5)  # slewed


def test_jump_either_way_costs_an_hour() -> None:
    for jump in (10 * 365 * 86400.0, -10 * 365 * 86400.0):
        clocks = _Clocks()
        assert clocks.after(EVEN_SECONDS)
        assert not clocks.after(1, jump)
        assert not clocks.after(EVEN_SECONDS - 1)
        assert clocks.after(1)


def test_boot_seconds_goes_on() -> None:
    assert 0 < boot_seconds() <= boot_seconds()


def test_steps_of_the_wall_clock_are_told_once_and_running_is_none() -> None:
    wall, steady = 1000.0, 5.0
    steps = ClockSteps(lambda: wall, lambda: steady)
    wall, steady = wall + 7200, steady + 7200
    assert steps.since_last() == 0
    wall += 3600
    assert steps.since_last() == 3600
    wall, steady = wall + 60, steady + 60
    assert steps.since_last() == 0
    wall -= 86_400
    assert steps.since_last() == -86_400
