"""
The runs of the corpus: which program, which behaviour, which seed; every number drawn from the seed.

One second of a run stands for 2.4 hours of a service: a day takes ten seconds, the
whole run stands for a week. The split is made here, by
seed, before anything is run: odd seeds are the test split.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

SCALE = 8640  #: seconds of a service's life per second of a run
SECONDS = 72.0  #: of a run
DAY = 10.0  #: seconds of a run that stand for a day

LIMITS = {"python": 88, "node": 160, "java": 208}  #: MiB, of the cgroup
FOOTPRINT = {"python": 9, "node": 42, "java": 42}  #: MiB of the bare runtime, measured

HEALTHY = ("level", "warm_up", "cache", "cache_skewed", "pool", "daily", "batch", "sawtooth", "restart", "step")
LEAKY = (
    "leak",
    "leak_slow",
    "leak_steps",
    "leak_sawtooth",
    "leak_daily",
    "leak_from_start",
    "leak_restart",
    "leak_batch",
)
HARD = ("cache", "cache_skewed", "warm_up", "step", "pool",
        "leak_from_start", "leak_batch", "leak_daily", "leak_sawtooth")  # fmt: skip
PLAIN = ("leak", "leak_slow", "leak_steps", "leak_restart")
MORE = {
    12: ("cache", "cache_skewed", "warm_up", "step", "pool"),
    14: PLAIN,
    7: ("cache", "warm_up", "step", "daily", "leak_from_start", *PLAIN),
}
AGAIN = (16, 18, 20, 22, 24)  #: seeds of which every family has one
PYTHON_ONLY = {"workers": False, "leak_workers": True}
JAVA_ONLY = {"leak_native": True}


@dataclass(frozen=True)
class Run:
    """One run; what the trace is labelled with."""

    family: str
    program: str
    seed: int
    leaky: bool
    limit_mib: int
    arguments: dict[str, float | int]
    leak_start: float | None = None  #: seconds into the run
    planned_end: float | None = None  #: when the leak alone fills the limit, by its rate
    restarts: tuple[float, ...] = ()
    runtime: tuple[str, ...] = field(default=())  #: options of the JVM or of node
    gives_back: bool = True  #: Python: freed objects go back to the kernel; otherwise malloc keeps its high-water mark

    @property
    def name(self) -> str:
        return f"{self.family}-{self.program}-{self.seed}"

    @property
    def split(self) -> str:
        return "test" if self.seed % 2 else "train"


def runs() -> list[Run]:
    """Return every run of the corpus, interleaved: what is made first is a small corpus of its own."""
    found = []
    for seed in range(6):
        for program, seeds in (("python", 3), ("node", 2), ("java", 2)):
            families = [(name, False) for name in HEALTHY] + [(name, True) for name in LEAKY]
            if program == "python":
                families += PYTHON_ONLY.items()
            if program == "java":
                families += JAVA_ONLY.items()
            found += [draw(family, program, seed, leaky) for family, leaky in families if seed < seeds]
    # A third and fourth seed of the kinds that are hardest to tell apart.
    for seed in (3, 4, 5):
        found += [
            draw(family, "python", seed, family.startswith("leak"))
            for family in ("cache", "cache_skewed", "warm_up", "leak_from_start", "leak_sawtooth", "leak_workers")
        ]
    for seed in (2, 3):
        found += [draw(family, "java", seed, True) for family in ("leak", "leak_sawtooth")]
        found += [
            draw(family, "node", seed, family.startswith("leak")) for family in ("sawtooth", "cache", "leak_daily")
        ]
    # More of what is told apart with most trouble, to learn from: even seeds are the training split.
    for seed in (6, 8, 10):
        found += [
            draw(family, program, seed, family.startswith("leak"))
            for family in HARD
            for program in ("python", "node", "java")
        ]
    # Healthy growth once more, and the plain leaks of which there was one each; then the same for the test split.
    for seed, families in MORE.items():
        found += [
            draw(family, program, seed, family.startswith("leak"))
            for family in families
            for program in ("python", "node", "java")
        ]
    found += [draw("leak_native", "java", seed, True) for seed in (2, 3)]
    # Every family again, to learn from.
    for seed in AGAIN:
        found += [
            draw(family, program, seed, family.startswith("leak"))
            for family in (*HEALTHY, *LEAKY, *PYTHON_ONLY, *JAVA_ONLY)
            for program in ("python", "node", "java")
            if (family not in PYTHON_ONLY or program == "python") and (family not in JAVA_ONLY or program == "java")
        ]
    return found


def draw(family: str, program: str, seed: int, leaky: bool) -> Run:
    """Draw the numbers of one run from its seed."""
    rng = random.Random(f"{family}/{program}/{seed}")
    u = rng.uniform
    limit = LIMITS[program]
    room = (limit - FOOTPRINT[program]) * 1024.0  # KiB the behaviours may use
    a: dict[str, float] = {
        "base": u(0.08, 0.2) * room,
        "warm": u(0.02, 0.08) * room,
        "warm_tau": u(0.3, 1.5),
        "hold": u(0.03, 0.10) * room,
        "noise": u(0.05, 0.2),
        "phase": u(0, 1),
        "garbage": u(0.1, 0.5) * 1024,
        "gc_every": u(256, 1024),
        "period": DAY,
    }
    kind = family.removeprefix("leak_")
    if kind in {"warm_up", "from_start"}:
        a |= {"warm": u(0.15, 0.35) * room, "warm_tau": u(1.5, 5)}
    if kind in {"daily", "cache_skewed"} or rng.random() < 0.15:
        a |= {"hold": u(0.10, 0.2) * room, "day": u(0.4, 0.9)}
    if kind in {"cache", "cache_skewed"}:
        size = u(0.2, 0.5) * room
        a |= {"cache": size, "cache_rate": size / u(3, 12), "cache_keys": size * u(1.1, 2.5)}
    if kind == "cache_skewed":
        a |= {"skew": u(2, 4), "cache_keys": a["cache"] * u(2, 5)}
    if kind == "pool":
        a |= {"pool": u(0.2, 0.4) * room, "day": u(0.2, 0.6)}
    if kind == "batch":
        every = u(2.5, 12)
        a |= {
            "batch": u(0.15, 0.35) * room,
            "batch_every": every,
            "batch_len": every * u(0.1, 0.35),
            "batch_phase": u(0, 1),
        }
    if kind == "sawtooth":
        a |= {"garbage": u(2, 6) * 1024, "gc_every": u(0.10, 0.25) * room}
    if kind == "step":
        a |= {"step": u(0.12, 0.35) * room, "step_at": u(15, 50)}
    _fit(a, 0.55 * room)
    restarts: tuple[float, ...] = ()
    if kind == "restart":
        first = u(14, 26)
        restarts = (first,) if leaky else (first, first + u(12, 26))
        a |= {"warm": u(0.10, 0.25) * room, "warm_tau": u(0.5, 2)}
    if kind == "workers":
        a |= {"workers": rng.randint(2, 4), "worker_life": u(4, 12)}
        if not leaky:  # each worker grows and is replaced, as with max_requests
            a |= {"leak": u(0.2, 0.4) * room / a["worker_life"], "leak_at": 0.0}
    start = end = None
    if leaky:
        used = (
            a["base"]
            + a["warm"]
            + a["hold"] * (1 + a.get("day", 0.0))
            + a.get("batch", 0.0)
            + (a["gc_every"] if program == "python" else 0.03 * room)
        )
        needs = max(0.25 * room, room - used)
        start = 0.0 if kind in {"from_start", "restart", "workers"} or rng.random() < 0.2 else u(4, 24)
        if kind == "slow":
            start, lasts = u(0, 8), u(72, 130)
        elif kind == "restart":
            lasts = u(26, 40)
        else:
            lasts = u(24, 44)
        a |= {"leak": needs / lasts, "leak_at": start}
        if kind == "workers":
            del a["worker_life"]
        if kind == "steps":
            a |= {"leak_every": u(1, 3.5)}
        if kind == "daily":
            a |= {"leak_traffic": 1}
        if kind == "native":
            a |= {"native": 1}
        end = start + lasts
    arguments = {key: int(v) if float(v).is_integer() else round(v, 4) for key, v in sorted(a.items())}
    return Run(
        family,
        program,
        seed,
        leaky,
        limit,
        arguments,
        start,
        end,
        restarts,
        runtime_of(program, leaky, kind, room),
        rng.random() < 0.7 or kind in {"sawtooth", "workers"},
    )


SIZES = ("base", "warm", "cache", "pool", "batch", "step")


def _fit(a: dict[str, float], room: float) -> None:
    """Make the sizes smaller, all alike, until what is used at the same time stays within *room*."""
    share = room / (sum(a.get(key, 0.0) for key in SIZES) + a["hold"] * (1 + a.get("day", 0.0) + 3 * a["noise"]))
    if share < 1:
        for key in (*SIZES, "hold", "cache_rate", "cache_keys"):
            if key in a:
                a[key] *= share


def runtime_of(program: str, leaky: bool, kind: str, room: float) -> tuple[str, ...]:
    """Return the options of the runtime: a heap that fits for the healthy, one larger than the limit for the leaky."""
    heap = int(room / 1024 * (0.75 if not leaky else 2.0 if kind != "native" else 0.4))
    if program == "java":
        shrinks = (
            ("-XX:MinHeapFreeRatio=5", "-XX:MaxHeapFreeRatio=20") if kind in {"sawtooth", "batch", "daily"} else ()
        )
        return (
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Xss256k",
            "-Xms16m",
            "-Xmn12m",
            f"-Xmx{heap}m",
            *(("-XX:MaxDirectMemorySize=1g",) if kind == "native" else ()),
            *shrinks,
        )
    if program == "node":
        return (f"--max-old-space-size={heap}", "--max-semi-space-size=2", "--single-threaded-gc")
    return ()
