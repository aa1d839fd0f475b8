"""The numbers that the verdict on a memory curve weighs, each without a unit and with its meaning."""

from __future__ import annotations

from math import log2
from typing import TYPE_CHECKING, Final

from oomsight.trend.lately import LATELY, lately
from oomsight.trend.robust import clip
from oomsight.trend.series import lows_between
from oomsight.trend.shape import DAY
from oomsight.trend.texture import CURVATURE, STAIRS, curvature, stairs
from oomsight.trend.yesterday import YESTERDAY, beyond

if TYPE_CHECKING:
    from oomsight.trend.manner import Manner
    from oomsight.trend.shape import Shape

FINE: Final = 40  #: stretches into which what grew is cut once more

FEATURES: Final[tuple[tuple[str, str], ...]] = (
    ("duration", "how long it has grown: log2 of days"),
    ("duration_over_earlier", "how much longer than any earlier rise that was given back: log2"),
    ("height_over_earlier", "how much higher than any earlier rise that was given back: log2"),
    ("tau", "how steadily: Kendall's tau of the low points"),
    ("signal", "growth over scatter: log2"),
    ("slowing", "whether the last third grew less than the one before"),
    ("jump", "share of the biggest single jump"),
    ("without_jump", "share of the free memory that it took without its biggest jump: log2"),
    ("even", "whether it grew as much late as early"),
    ("recent", "rate of the last third over the whole's"),
    ("from_start", "whether it has grown from its start"),
    ("young", "grown from its start, and that was less than a day ago"),
    ("slowing_from_start", "both: what warms up and what fills does so"),
    ("above_before", "whether today's low points are above all earlier peaks"),
    ("size", "share of the free memory that it took: log2"),
    ("dropped", "how far below its highest point it is now"),
    ("since_yesterday", "whether it is above the same time of yesterday"),
    ("no_yesterday", "there is no yesterday to compare with"),
    ("short", "a rise shorter than 14 hours without a yesterday: may be the day itself"),
    ("life", "how long the curve is: log2 of days"),
    ("pace", "share of the free memory that it takes in a day: log2"),
    *STAIRS,
    *CURVATURE,
    *((f"life_{name}", f"{words}; of the whole curve") for name, words in CURVATURE),
    *((f"fine_{name}", f"{words}; in finer stretches") for name, words in (*STAIRS, *CURVATURE)),
    *((f"yesterday_{name}", f"{words}; of today's low points less yesterday's") for name, words in YESTERDAY),
    *LATELY,
)
"""Names and meanings of what :func:`features` returns, in its order."""


def features(s: Shape, how: Manner) -> list[float]:
    """Return the numbers that the verdict weighs, in the order of :data:`FEATURES`; *how*: it grew."""
    lows = s.lows[s.bend :]
    limit, peak = s.limit_bytes, max(s.highs)
    free, free_once = (max(limit - min(least), 1.0) if limit else peak for least in (lows, s.lows))
    fine = lows_between(s.life, s.since, s.life.times[-1], FINE)
    return [
        *_plain(s, how),
        log2(max(s.life_days, 0.02)),
        log2(max(0.01, min(s.line.slope * DAY / free, 20.0))),
        *stairs(lows, free),
        *curvature(lows),
        *curvature(s.lows),
        *stairs(fine, free),
        *curvature(fine),
        *beyond(s.times, s.lows, free),
        *lately(s.parts, free_once),
    ]


def _plain(s: Shape, how: Manner) -> tuple[float, ...]:
    days = max(s.days, 0.02)
    young = max(0.0, 1 - s.life_days) * how.from_start
    slowing = max(0.0, min(1.5, s.slowing))
    return (
        clip(log2(days), -3, 3),
        clip(log2(days / how.earlier_days), -3, 3) if how.earlier_days > 0.02 else 1.5,
        clip(-log2(max(how.earlier_height, 0.03)), -2, 5),
        s.tau,
        clip(-log2(max(how.noise, 0.01)), 0, 6),
        slowing,
        min(how.jump, 1.0),
        clip(log2(max(s.size * (1 - min(how.jump, 1.0)), 0.01)), -6, 0),
        how.even,
        min(how.recent, 1.5),
        how.from_start,
        young,
        slowing * how.from_start,
        how.above_before,
        clip(log2(max(s.size, 0.01)), -6, 0),
        how.dropped,
        0.0 if how.since_yesterday is None else how.since_yesterday,
        1.0 if how.since_yesterday is None else 0.0,
        max(0.0, 1 - s.days / 0.6) if how.since_yesterday is None else 0.0,
    )
