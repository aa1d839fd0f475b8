"""The corpus as the evaluation reads it: recorded traces and synthetic families, each with its label and its split."""

from __future__ import annotations

import gzip
import json
import math
import random
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from oomsight.trend.series import Series

HERE = Path(__file__).parent
START = 1_700_006_400.0  #: unix seconds at which every trace is said to begin
DAY = 86400.0
TRAIN_SEEDS = range(13)  #: of the synthetic families; the test split has the next ones
TEST_SEEDS = range(1000, 1013)


@dataclass(frozen=True)
class Trace:
    """One service's memory over some days, and the truth about it."""

    name: str
    family: str
    origin: str  #: "python", "node", "java" = a real program; "synthetic"
    split: str
    leaky: bool
    series: Series
    limit_bytes: float
    leak_start: float | None  #: unix seconds
    exhausted: float | None  #: unix seconds; ``None`` = the trace ends before
    planned_end: float | None  #: unix seconds at which the leak fills the limit, by its rate

    @property
    def end(self) -> float | None:
        """When the memory was, or would have been, used up."""
        return self.exhausted if self.exhausted is not None else self.planned_end

    @property
    def days(self) -> float:
        """How much of a service's life it shows."""
        return (self.series.times[-1] - self.series.times[0]) / DAY


def recorded(split: str) -> list[Trace]:
    """Return the traces of real programs of a split."""
    with gzip.open(HERE / "traces" / f"{split}.jsonl.gz", "rt") as file:
        return [from_json(json.loads(line)) for line in file]


def from_json(d: dict) -> Trace:
    """Turn a recorded trace into one of a service: a second of the run becomes ``scale`` seconds."""
    scale = d["scale"]
    moment = lambda t: None if t is None else START + t * scale  # noqa: E731
    series = Series(
        [START + ms / 1000 * scale for ms in accumulate(d["ms"])],
        [float(kib << 10) for kib in accumulate(d["kib"])],
        tuple(START + t * scale for t in d["restarts"]),
        step_seconds=0.2 * scale,
    )
    return Trace(
        d["name"],
        d["family"],
        d["program"],
        d["split"],
        d["leaky"],
        series,
        d["limit_kib"] * 1024.0,
        moment(d["leak_start"]),
        moment(d["exhausted"]),
        moment(d["planned_end"]),
    )


SYNTHETIC = {
    "level": False,
    "warm_up": False,
    "cache": False,
    "pool": False,
    "daily": False,
    "weekly": False,
    "batch": False,
    "sawtooth": False,
    "slow_sawtooth": False,
    "restarts": False,
    "step": False,
    "gap": False,
    "leak": True,
    "leak_slow": True,
    "leak_steps": True,
    "leak_sawtooth": True,
    "leak_daily": True,
    "leak_from_start": True,
    "leak_restarts": True,
    "leak_batch": True,
    "leak_gap": True,
    "leak_cache": True,
}


def synthetic(split: str) -> list[Trace]:
    """Return the synthetic traces of a split, made on the fly."""
    seeds = TRAIN_SEEDS if split == "train" else TEST_SEEDS
    return [make(family, seed, split) for family in SYNTHETIC for seed in seeds]


def make(family: str, seed: int, split: str) -> Trace:
    """Make one synthetic trace; every number from the seed."""
    rng = random.Random(f"synthetic/{family}/{seed}")
    u = rng.uniform
    leaky, kind = SYNTHETIC[family], family.removeprefix("leak_")
    limit = 2 ** u(27, 36)
    days = u(5, 16)
    step = rng.choice([300.0, 600.0, 1800.0])
    base, noise, wander = u(0.1, 0.35) * limit, u(0.001, 0.012) * limit, u(0, 0.01) * limit
    warm, warm_tau = u(0.01, 0.08) * limit, u(0.02, 0.3)
    if kind in {"warm_up", "from_start"}:
        warm, warm_tau = u(0.1, 0.3) * limit, u(0.1, 0.9)
    swing = u(0.05, 0.2) * limit if kind in {"daily", "weekly"} or rng.random() < 0.2 else 0.0
    cache, fill = (u(0.15, 0.45) * limit, u(0.2, 1.5)) if kind in {"cache", "slow_sawtooth"} else (0.0, 1.0)
    linear_fill = rng.random() < 0.3
    batch = u(0.1, 0.35) * limit if kind == "batch" else 0.0
    every = u(0.15, 1.5)
    duty, batch_phase, phase = u(0.08, 0.3), u(0, 1), u(0, 1)
    tooth, tooth_every = {
        "sawtooth": (u(0.05, 0.25) * limit, u(0.02, 0.3)),
        "slow_sawtooth": (u(0.1, 0.3) * limit, u(0.3, 1.5)),
    }.get(kind, (0.0, 1.0))
    if kind == "slow_sawtooth":
        cache = 0.0
    jump, jump_at = (u(0.1, 0.35) * limit, u(0.2, 0.7) * days) if kind == "step" else (0.0, 0.0)
    pool = u(0.1, 0.3) * limit if kind == "pool" else 0.0
    restarts = sorted(u(0.2, 0.9) * days for _ in range(rng.randint(1, 4))) if kind == "restarts" and not leaky else []
    gap = (u(0.2, 0.5) * days, u(0.1, 0.2) * days) if kind == "gap" else None
    start = lasts = rate = None
    if leaky:
        room = limit - base - warm - swing - batch - tooth - cache
        start = 0.0 if kind in {"from_start", "restarts"} or rng.random() < 0.15 else u(0.3, 0.45 * days)
        lasts = u(1.5, 3) * days if kind == "slow" else u(2.0, 5.0)
        rate = max(room, 0.2 * limit) / lasts
        if kind == "restarts":
            restarts = [u(0.4, 0.7) * lasts]
    steps_every = u(0.1, 0.4) if kind == "steps" else 0.0
    times, values, t, drift, exhausted, peak, begun = [], [], 0.0, 0.0, None, 0.0, 0.0
    while t <= days:
        life = max([0.0, *(moment for moment in restarts if moment <= t)])
        age = t - life
        if life != begun:
            begun, peak = life, 0.0
        day = math.sin(2 * math.pi * (t + phase))
        week = 0.6 if kind == "weekly" and (t + 7 * phase) % 7 >= 5 else 1.0
        load = (1 + 0.4 * day) * rng.gauss(1, 0.08)
        peak = max(peak, min(load, 1.4) / 1.4)
        drift = 0.98 * drift + 0.2 * rng.gauss(0, wander)
        v = base + warm * (1 - math.exp(-age / warm_tau)) + drift + abs(rng.gauss(0, noise))
        v += swing * (1 + day * week) / 2 + pool * peak
        v += cache * (min(1.0, age / fill) if linear_fill else 1 - math.exp(-3 * age / fill))
        v += tooth * ((age % tooth_every) / tooth_every)
        v += (
            batch * min(1.0, ((t + batch_phase) % every) / every / duty * 3)
            if ((t + batch_phase) % every) / every < duty
            else 0
        )
        v += jump if jump and t >= jump_at else 0
        if leaky and t >= start:
            leaked = rate * (age if kind == "restarts" else t - start)
            v += leaked if not steps_every else rate * steps_every * math.floor(leaked / (rate * steps_every))
        if not (gap and gap[0] <= t < gap[0] + gap[1]):
            times.append(START + t * DAY)
            values.append(min(v, limit))
        if v >= limit:
            exhausted = t
            break
        t += step / DAY
    moment = lambda when: None if when is None else START + when * DAY  # noqa: E731
    return Trace(
        f"{family}-synthetic-{seed}",
        family,
        "synthetic",
        split,
        leaky,
        Series(times, values, tuple(START + r * DAY for r in restarts if r <= t), step),
        limit,
        moment(start),
        moment(exhausted),
        moment(start + lasts) if leaky else None,
    )
