"""
A service with tunable memory, in Python. Arguments: key=value, sizes in KiB, times in seconds; see ../plan.py.

It does what services do, only faster: requests come and go with the day, a cache fills, a pool grows to its largest
demand, batches run, garbage is made and collected, and, where asked, something is forgotten in a list.
"""

import gc
import math
import os
import random
import signal
import sys
import time
from collections import OrderedDict

TICK = 0.05
UNIT = 16  # KiB of one object


def chunk():
    """Return one object whose pages are really used."""
    return b"x" * (UNIT * 1024 - 64)


class Cycle:
    """Garbage that only the cycle collector can free, as exceptions and ORMs leave it."""

    def __init__(self):
        self.payload, self.me = chunk(), self


def resize(held, units, rng):
    """Grow or shrink a list of objects; what goes is not what came last."""
    while len(held) < units:
        held.append(chunk())
    while len(held) > units:
        at = rng.randrange(len(held))
        held[at] = held[-1]
        held.pop()


def serve(p, seed, share):
    """Run for ever. *share*: of the sizes, for one of several workers."""
    rng, start, last = random.Random(seed), time.monotonic(), 0.0
    value = lambda key, default=0.0: float(p.get(key, default))  # noqa: E731
    size = lambda key: value(key) * share / UNIT  # noqa: E731
    base, warm, held, pool, batch, step, leaked = [], [], [], [], [], [], []
    cache, noise, pending, garbage, debt, leak_debt = OrderedDict(), 0.0, 0.0, 0.0, 0.0, 0.0
    phase = value("phase")
    gc.disable()
    resize(base, size("base"), rng)
    while True:
        time.sleep(TICK)
        t = time.monotonic() - start + value("offset")
        dt, last = t - (last or t), t
        noise = 0.9 * noise + 0.1 * rng.gauss(0, 1)
        load = max(
            0.05, 1 + value("day") * math.sin(2 * math.pi * (t / value("period", 24) + phase)) + value("noise") * noise
        )
        resize(warm, size("warm") * (1 - math.exp(-(t - value("offset")) / value("warm_tau", 1))), rng)
        resize(held, size("hold") * load, rng)
        resize(pool, max(len(pool), int(size("pool") * min(load, 1.6) / 1.6)), rng)
        pending += size("cache_rate") * load * dt
        while pending >= 1:
            pending -= 1
            key = int(size("cache_keys") * rng.random() ** value("skew", 1))
            if key in cache:
                cache.move_to_end(key)
            else:
                cache[key] = chunk()
                if len(cache) > size("cache"):
                    cache.popitem(last=False)
        every = value("batch_every")
        running = every and (t + every * value("batch_phase")) % every < value("batch_len")
        resize(
            batch,
            min(size("batch"), len(batch) + size("batch") * dt * 3 / value("batch_len", 1)) if running else 0,
            rng,
        )
        if value("step_at") and t >= value("step_at"):
            resize(step, size("step"), rng)
        garbage += size("garbage") * load * dt
        while garbage >= 1:
            garbage -= 1
            debt += 1
            Cycle()
        if debt >= size("gc_every") and debt:
            debt = 0
            gc.collect()
        if value("leak") and t >= value("leak_at"):
            leak_debt += size("leak") * dt * (load if value("leak_traffic") else 1)
            if leak_debt >= max(1, value("leak_every") * size("leak")):
                resize(leaked, len(leaked) + int(leak_debt), rng)
                leak_debt -= int(leak_debt)


def main():
    """Serve, alone or as the parent of workers that are replaced when they are old."""
    p = dict(word.split("=", 1) for word in sys.argv[1:])
    workers, life = int(p.get("workers", 0)), float(p.get("worker_life", 0))
    if not workers:
        serve(p, int(p["seed"]), 1.0)
    start, born, number = time.monotonic(), {}, 0
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
    while True:
        while len(born) < workers:
            number += 1
            now = time.monotonic()
            if not (pid := os.fork()):
                serve(p | {"offset": str(now - start)}, int(p["seed"]) * 1000 + number, 1 / workers)
            early = life * (number % workers) / workers if number <= workers else 0  # not all at once
            born[pid] = now - early
        time.sleep(TICK)
        for pid in [pid for pid, when in born.items() if life and time.monotonic() - when > life]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            del born[pid]


main()
