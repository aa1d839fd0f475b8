"""
What the shape of a memory curve says: a leak, or one of the many things that look like one.

The question "is it a leak?" is answered by boosted decision trees over the numbers of :mod:`oomsight.trend.features`
(fitted on the training split of the labelled corpus; they stand in a table). What it is otherwise is named by the first
rule that fits. docs/explanation/leaks.md tells it in words.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from math import exp
from typing import TYPE_CHECKING, Final

from oomsight._enums import StrEnum
from oomsight._record import dataclass
from oomsight._sizes import rate_words, size_words
from oomsight.trend.features import features
from oomsight.trend.growth import Growth, growth_of
from oomsight.trend.lately import least_of
from oomsight.trend.manner import Manner, manner
from oomsight.trend.periods import Rhythm, daily, rhythm
from oomsight.trend.robust import median
from oomsight.trend.shape import DAY, LEAST_TAU, Shape, falls, shape
from oomsight.trend.weights import BIAS, TREES
from oomsight.trend.words import share, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.trend.series import Series
    from oomsight.trend.weights import Node

SURE: Final = 0.965
"""Confidence from which growth is called a leak: that of a precision of 0.95 with a margin of half a percent,
cross-validated on the training split."""

SUSPECT: Final = 0.94
"""Confidence from which it is suspected: found alike, that of a precision of 0.88 at a delay of 0.22."""

LEAST_SWING: Final = 0.08  #: of its peak; what swings by less is level, whatever its rhythm
SMALL: Final = 0.1  #: of the free memory; what took less is seldom told by more than how fast it grows
NOT_LEVEL: Final = 0.25  #: confidence from which what is small yet is not called level
DIP: Final = 0.1  #: share of the growth by which low points may fall and nothing was given back
SUREST: Final = 0.99  #: a corpus of some hundreds of traces cannot make anybody surer


class Verdict(StrEnum):
    """What a curve is."""

    LEAK = "leak"  #: grows without an end in sight
    SUSPECTED = "suspected"  #: grows as a leak does, but not for long enough to be sure
    STEP = "step"  #: jumped once and stays
    WARM_UP = "warm_up"  #: grows since its start, ever slower
    LEVEL = "level"  #: goes nowhere
    SAWTOOTH = "sawtooth"  #: a collected heap: up, down, low points level
    DAILY = "daily"  #: follows the day
    RESTART = "restart"  #: started anew a moment ago; nothing to say yet
    BATCH = "batch"  #: comes and goes with jobs
    CACHE = "cache"  #: grew, and levels off
    UNKNOWN = "unknown"  #: too few samples, or too early to say


MORE_MEMORY_HELPS: Final[dict[Verdict, bool | None]] = {
    Verdict.LEAK: False,  # it only comes later
    Verdict.SUSPECTED: None,
    Verdict.STEP: True,
    Verdict.WARM_UP: True,
    Verdict.CACHE: True,
    Verdict.SAWTOOTH: True,
    Verdict.DAILY: True,
    Verdict.BATCH: True,
    Verdict.LEVEL: None,  # it needs none
    Verdict.RESTART: None,
    Verdict.UNKNOWN: None,
}
"""Whether a higher limit would end the trouble, by verdict."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict on one series at one moment, with what it rests on."""

    verdict: Verdict
    confidence: float  #: 0 … 1
    growth: Growth | None  #: the rate that counts for the verdict; ``None`` = not measured
    more_memory_helps: bool | None  #: ``None`` = it needs none, or cannot be said
    evidence: tuple[str, ...] = ()  #: one sentence each, numbers in them
    line: tuple[tuple[float, float], ...] = ()  #: (time, value): the low points the rate was measured on, for plots

    @property
    def is_leak(self) -> bool:
        """Whether somebody should be told."""
        return self.verdict is Verdict.LEAK

    @property
    def may_leak(self) -> bool:
        """Whether it is a leak or a suspicion."""
        return self.verdict in {Verdict.LEAK, Verdict.SUSPECTED}


def judge(series: Series, limit_bytes: float | None, now: float) -> Finding:
    """Say what the curve of *series* is at *now*; *limit_bytes*, where known, tells what growth matters."""
    found = shape(series, limit_bytes, now)
    if found is None:
        started = [moment for moment in series.restarts if moment <= now]
        if started:
            words = f"started anew {span(now - started[-1])} ago; too few samples since then"
            return Finding(Verdict.RESTART, 1.0, None, None, (words,))
        return Finding(Verdict.UNKNOWN, 1.0, None, None, ("too few samples",))
    # What does not stand above its own past needs no trees (RESIN's first stage); all others are weighed once.
    how = manner(found) if found.grows or found.rises else None
    leaking = probability(log_odds(found, how)) if how is not None else 0.0
    growth = growth_of(found)
    line = tuple(zip(found.times[found.bend :], found.lows[found.bend :], strict=True))
    verdict = _leaning(found, leaking)
    if how is not None and verdict is not None:
        return Finding(verdict, leaking, growth, MORE_MEMORY_HELPS[verdict], _why_leak(found, how), line)
    beat = rhythm(found.parts)
    verdict = _otherwise(found, beat)
    if verdict is Verdict.LEVEL and found.rises and leaking >= NOT_LEVEL:
        verdict = Verdict.UNKNOWN  # too small yet, but no curve without a trend
    return Finding(
        verdict,
        1 - leaking,
        growth,
        MORE_MEMORY_HELPS[verdict],
        (_why_not(found, beat, verdict),),
        line,
    )


def leaning(series: Series, limit_bytes: float | None, now: float) -> Verdict | None:
    """Return :attr:`Verdict.LEAK` or ``SUSPECTED`` where :func:`judge` would, and ``None`` for all else."""
    life = series.life(now)
    if falls(life, now):
        return None
    found = shape(life, limit_bytes, now)
    if found is None or not found.grows:
        return None
    return _leaning(found, probability(log_odds(found, manner(found))))


def _leaning(found: Shape, leaking: float) -> Verdict | None:
    if not found.grows or leaking < SUSPECT:
        return None
    return Verdict.LEAK if leaking >= SURE else Verdict.SUSPECTED


def log_odds(found: Shape, how: Manner) -> float:
    """Return what the corpus says for such a curve, that grew so, being a leak: the logarithm of its odds."""
    numbers = features(found, how)
    return BIAS + sum([_leaf(tree, numbers) for tree in TREES])


def probability(odds: float) -> float:
    """Return how likely something of such log odds is; 0 … 1, and never quite either."""
    return max(1 - SUREST, min(SUREST, 1 / (1 + exp(-max(-30.0, min(30.0, odds))))))


def _leaf(node: Node, numbers: Sequence[float]) -> float:
    while isinstance(node, tuple):
        node = node[2] if numbers[node[0]] <= node[1] else node[3]
    return node


def _otherwise(found: Shape, beat: Rhythm) -> Verdict:
    swings = beat.swing >= LEAST_SWING
    if swings and found.life_days > 1.4 and beat.teeth >= 1 and daily(found.parts) >= 0.5:
        return Verdict.DAILY
    if swings and beat.teeth >= 2:
        return Verdict.BATCH if beat.idle >= 0.5 else Verdict.SAWTOOTH
    lows = found.lows
    now = median(lows[-max(3, len(lows) // 6) :])
    risen = now - lows[0]
    if risen < 0.1 * now:
        return Verdict.LEVEL
    # A jump has a "before": what comes in the first stretches is a start.
    if max(b - a for a, b in pairwise(lows[3:])) >= 0.6 * risen:
        return Verdict.STEP
    there = next(i for i, low in enumerate(lows) if low >= lows[0] + 0.8 * risen)
    reached = (found.times[there] - found.times[0]) / DAY
    if reached <= 0.35 * found.life_days:
        return Verdict.WARM_UP if reached < 0.5 else Verdict.CACHE
    return Verdict.UNKNOWN if found.rises else Verdict.CACHE if found.slowing >= 0.5 else Verdict.LEVEL


def _why_leak(found: Shape, how: Manner) -> tuple[str, ...]:
    lows = found.lows[found.bend :]
    fell = max(peak - low for peak, low in zip(accumulate(lows, max), lows, strict=True))
    kept = "none of it was given back" if fell <= DIP * found.grown else "what was given back came again"
    words = [
        f"the low points rose by {size_words(found.grown)} in {span(found.days * DAY)}, {rate_words(found.line.slope)},"
        f" and {kept} (Kendall's tau {found.tau:.2f})"
    ]
    quarters = least_of(found.parts, 4)
    if found.tau < LEAST_TAU and quarters[-1] > quarters[0]:
        kept = size_words(quarters[-1] - quarters[0])
        words.append(f"what comes and goes hides it: the least of its life's last quarter is {kept} above the first's")
    if found.slowing < 0.3:
        words.append("it does not slow down, as a warm-up or a cache that fills would")
    if how.earlier_days > 0.02:
        words.append(f"earlier rises came back: the longest took {span(how.earlier_days * DAY)}")
    if how.since_yesterday is not None and how.since_yesterday > 0.3:
        words.append("it is above the same time of yesterday, so the day does not explain it")
    if how.above_before > 0:
        words.append("its low points are now above every earlier peak")
    return tuple(words)


def _why_not(found: Shape, beat: Rhythm, verdict: Verdict) -> str:
    level = f"low points at {size_words(found.level)}"
    match verdict:
        case Verdict.DAILY:
            return f"the same curve every day: correlation with the day before {daily(found.parts):.2f}"
        case Verdict.STEP:
            return f"most of the growth came in one jump; {level} since then"
        case Verdict.SAWTOOTH:
            return f"goes up and down {beat.teeth} times; {level}"
        case Verdict.BATCH:
            return f"{beat.teeth} peaks; between them at {share(beat.idle)} of the time near its lowest"
        case Verdict.WARM_UP:
            return f"rose at its start and stays; {level}"
        case Verdict.CACHE:
            return f"rose ever more slowly and levels off; {level}"
        case Verdict.LEVEL:
            return f"no trend; {level}"
    if found.size >= SMALL:
        return "it grows, but not for long enough to tell a leak from a cache that fills"
    grown = f"{rate_words(found.line.slope)}: {size_words(found.grown)} so far"
    return f"it grows by {grown}, too little of what is free to judge"
