"""
Many runs of one scenario: its variants, one value after the other, or chance (seeded: the caller hands it in).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from oomsight.simulate.engine import simulate
from oomsight.simulate.keys import KIND_KEYS, PROCESS_KEYS, Key
from oomsight.simulate.scenario import Problem, Scenario, Variant, changed

if TYPE_CHECKING:
    from oomsight.simulate.outcome import Run

BASE: Final = "base"
MAX_POINTS: Final = 1000
_FEW_SAMPLES: Final = 1  # of runs that are only counted


class Chance(Protocol):
    """What is needed of a :class:`random.Random`."""

    def uniform(self, a: float, b: float, /) -> float:
        """A number between *a* and *b*."""
        ...


@dataclass(frozen=True, slots=True)
class Played:
    """One variant and what came of it."""

    name: str  #: :data:`BASE` for the scenario as it is
    title: str
    cures: bool
    run: Run


def play_variants(scenario: Scenario, only: Sequence[str] | None = None) -> list[Played]:
    """The scenario as it is, then every variant of it (or those in *only*)."""
    played = [Played(BASE, "as it is", False, simulate(scenario))]
    played += [
        Played(variant.name, variant.title or _words(variant), variant.cures,
               simulate(_apply(scenario, variant.changes)))
        for variant in scenario.variants if only is None or variant.name in only
    ]  # fmt: skip
    return played


def _words(variant: Variant) -> str:
    return ", ".join(f"{path} = {value}" for path, value in variant.changes.items())


def _apply(scenario: Scenario, changes: Mapping[str, Any]) -> Scenario:
    """Apply *changes* that were checked when the file was read."""
    return changed(scenario, changes)[0]


# -- sweep ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a sweep."""

    value: str
    run: Run


@dataclass(frozen=True, slots=True)
class Sweep:
    """One key, many values. ``turns``: the values between which a crash becomes none, or none a crash."""

    path: str
    points: tuple[Point, ...]

    @property
    def turns(self) -> list[tuple[str, str]]:
        """Neighbouring values with different ends."""
        pairs = zip(self.points, self.points[1:], strict=False)
        return [(a.value, b.value) for a, b in pairs if a.run.survived != b.run.survived]


def sweep_values(first: str, last: str, step: str) -> list[str] | None:
    """
    The values from *first* to *last* (included, if hit) by *step*, written in the unit of *step*; ``None`` = these are
    no numbers, the step leads nowhere, or there would be more than :data:`MAX_POINTS`.
    """
    parts = [_split(text) for text in (first, last, step)]
    if any(part is None for part in parts):
        return None
    (low, _), (high, _), (by, unit) = (part for part in parts if part is not None)
    scale = [_scale(text) for text in (first, last, step)]
    low, high = low * scale[0] / scale[2], high * scale[1] / scale[2]
    if by <= 0 or low > high or (high - low) / by >= MAX_POINTS:
        return None
    return [f"{low + number * by:.10g}{unit}" for number in range(int((high - low) / by + 1e-9) + 1)]


def _split(text: str) -> tuple[float, str] | None:
    number = text.strip()
    end = len(number)
    while end and not (number[end - 1].isdigit() or number[end - 1] == "."):
        end -= 1
    # The unit of a rate holds a slash and may hold digits nowhere: what is left must be a plain number.
    try:
        return float(number[:end]), number[end:]
    except ValueError:
        return None


def _scale(text: str) -> float:
    """How many of the smallest unit one of *text*'s unit is; 1 without a unit."""
    from oomsight.simulate.units import parse_duration, parse_rate, parse_size

    split = _split(text)
    unit = split[1].strip() if split else ""
    if not unit:
        return 1.0
    for parse in (parse_size, parse_rate, parse_duration):
        # "m" is minutes in a duration and MiB in a size; a sweep compares units with themselves, so either will do.
        if value := parse("1" + unit):
            return float(value)
    return 1.0


def sweep(scenario: Scenario, path: str, values: Sequence[str]) -> tuple[Sweep | None, list[Problem]]:
    """Run *scenario* with ``path`` at each of *values*; any value it may not have is a problem."""
    variants = [(value, *changed(scenario, {path: value})) for value in values]
    problems = [problem for _, _, found in variants for problem in found]
    if problems:
        return None, problems[:1]
    points = tuple(Point(value, simulate(other, samples=_FEW_SAMPLES)) for value, other, _ in variants)
    return Sweep(path, points), []


# -- chance -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Curve:
    """How one variant did over all draws."""

    name: str
    title: str
    runs: int
    crash_seconds: list[float]  #: of the runs that crashed, ascending
    prevented: int = 0  #: of the crashes of the base, how many did not happen
    caused: int = 0  #: crashes in draws in which the base has none
    by_guard: int = 0  #: of the prevented, those in which the guard ended something that must live, controlled
    throttled: int = 0  #: of the prevented, those in which something ran above memory.high

    @property
    def crashes(self) -> int:
        """Runs that crashed."""
        return len(self.crash_seconds)

    def alive_at(self, seconds: float) -> float:
        """Share of runs that had not crashed by then (the survival curve)."""
        return 1 - sum(at <= seconds for at in self.crash_seconds) / self.runs if self.runs else 1.0


@dataclass(frozen=True, slots=True)
class MonteCarlo:
    """What of many draws crashed, and what would have prevented it."""

    scenario: Scenario
    draws: int
    curves: tuple[Curve, ...]  #: the base first
    alerted: int  #: crashes of the base with an alert early enough

    @property
    def crashes(self) -> int:
        """Crashes of the scenario as it is."""
        return self.curves[0].crashes


def vary(scenario: Scenario, chance: Chance) -> Scenario:
    """Each size, rate and time of each workload multiplied by a factor of its own, within the scenario's spread."""
    spread = scenario.run["spread"] / 100
    processes = []
    for row in scenario.processes:
        values = dict(row)
        for key in (*PROCESS_KEYS, *KIND_KEYS[row["kind"]]):
            if key.scales and values[key.name] is not None:
                # Drawn for each key whatever its value, so that one file always means one sequence of draws.
                factor = chance.uniform(1 - spread, 1 + spread)
                values[key.name] = _within(key, values[key.name] * factor)
        processes.append(values)
    return replace(scenario, processes=tuple(processes))


def _within(key: Key, value: float) -> float:
    low, high = key.low or 0, key.high if key.high is not None else value
    bounded = min(max(value, low), high)
    return round(bounded) if key.type in {"int", "size"} else bounded


def monte_carlo(scenario: Scenario, draws: int, chance: Chance) -> MonteCarlo:
    """Play *draws* variations of *scenario*, each with every variant, and count."""
    curves = [Curve(BASE, "as it is", draws, [])]
    curves += [Curve(v.name, v.title or _words(v), draws, []) for v in scenario.variants]
    alerted = 0
    for drawn in _draws(scenario, draws, chance):
        base = simulate(drawn, samples=_FEW_SAMPLES)
        crash = base.crash_seconds
        if crash is not None:
            curves[0].crash_seconds.append(crash)
            alerted += base.alert_in_time
        for curve, variant in zip(curves[1:], scenario.variants, strict=True):
            run = simulate(_apply(drawn, variant.changes), samples=_FEW_SAMPLES)
            at = run.crash_seconds
            if at is not None:
                curve.crash_seconds.append(at)
                curve.caused += crash is None
            elif crash is not None:
                curve.prevented += 1
                curve.by_guard += run.restarts_by_guard > 0
                curve.throttled += bool(run.throttled_seconds)
    for curve in curves:
        curve.crash_seconds.sort()
    return MonteCarlo(scenario, draws, tuple(curves), alerted)


def _draws(scenario: Scenario, draws: int, chance: Chance) -> Iterator[Scenario]:
    for _ in range(draws):
        yield vary(scenario, chance)
