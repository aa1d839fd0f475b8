"""
What a process does with memory, as straight pieces: so many bytes now, growing by so many each step, for so long.

Everything is integer arithmetic in bytes and steps, so that a run is exact and the same everywhere. A piece is no
longer than :data:`LONGEST_PIECE` steps where its growth had to be rounded: the next one starts from the exact value.
Workloads know nothing of limits; what happens when they cannot have it is the machine's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

KERNEL_STACK_BYTES: Final = 16 << 10  #: of a thread, x86-64 and arm64 (THREAD_SIZE)
TASK_BYTES: Final = 84 << 10  #: page tables, task and mm of a small process
PAGE_TABLE_SHARE: Final = 512  #: one page of tables maps 512 pages
LONGEST_PIECE: Final = 900
FOREVER: Final = 1 << 60
RETURNED_PCT: Final = {"jvm": 0, "node": 80, "python": 30}
"""How much of the garbage a collection gives back to the system; heaps that stay committed do not shrink."""


class Memory(NamedTuple):
    """Bytes by kind; also growth in bytes for each step."""

    anon: int = 0  #: heap and stacks: gone with the process
    shmem: int = 0  #: written to tmpfs: stays when its writer dies
    kernel: int = 0  #: page tables, stacks, socket buffers: gone with the process
    cache: int = 0  #: page cache: dropped before anybody is killed

    @property
    def need(self) -> int:
        """What cannot be dropped."""
        return self.anon + self.shmem + self.kernel


class Piece(NamedTuple):
    """A straight piece of demand."""

    steps: int  #: :data:`FOREVER` = to the end
    start: Memory
    growth: Memory = Memory()
    exits: str | None = None  #: the process ends itself at the start of the piece, and why


Values = Mapping[str, Any]
Workload = Callable[[Values, float], Iterator[Piece]]


def _memory(anon: float, threads: int = 1, shmem: float = 0, kernel: float = 0, cache: float = 0) -> Memory:
    """Demand of a process: what its memory costs the kernel is added."""
    own = int(anon)
    return Memory(
        own, int(shmem), int(kernel) + TASK_BYTES + threads * KERNEL_STACK_BYTES + own // PAGE_TABLE_SHARE, int(cache)
    )


def _line(at: Callable[[float], Memory], first: int, last: int) -> Iterator[Piece]:
    """Straight pieces from step *first* to *last* along ``at``, which is linear in between."""
    if first >= last:
        return
    start, end = at(first), at(last)
    whole = _growth(start, end, last - first)
    if whole is not None:
        yield Piece(last - first, start, whole)
        return
    while first < last:
        steps = min(last - first, LONGEST_PIECE)
        end = at(first + steps)
        yield Piece(steps, start, Memory(*[(b - a) // steps for a, b in zip(start, end, strict=True)]))
        start = end
        first += steps


def _growth(start: Memory, end: Memory, steps: int) -> Memory | None:
    """Bytes for each step, ``None`` where that is not a whole number."""
    whole = [b - a for a, b in zip(start, end, strict=True)]
    for part in whole:
        if part % steps:
            return None
    return Memory(*[part // steps for part in whole])


def _constant(values: Values, _step: float) -> Iterator[Piece]:
    yield Piece(FOREVER, _memory(values["size"], values["threads"]))


def _leak(values: Values, step: float) -> Iterator[Piece]:
    size, rate, threads = values["size"], values["rate"] * step, values["threads"]
    ceiling = values["ceiling"]
    if values["shape"] == "step":
        every = max(round(values["step_every"] / step), 1)
        held = size
        while rate and (ceiling is None or held < ceiling):
            yield Piece(every, _memory(held, threads))
            held += rate * every
        yield Piece(FOREVER, _memory(held if ceiling is None else min(held, max(ceiling, size)), threads))
        return
    at = 0
    while rate:
        last = at + 4 * LONGEST_PIECE
        if ceiling is not None:
            last = min(last, max(int((ceiling - size) / rate), 0))
        if last <= at:
            break
        yield from _line(lambda t: _memory(size + rate * t, threads), at, last)
        at = last
    yield Piece(FOREVER, _memory(size if ceiling is None or not rate else max(ceiling, size), threads))


def _traffic(values: Values, step: float) -> Iterator[Piece]:
    each, stack, per_thread = values["per_connection"], values["thread_stack"], values["connections_per_thread"]

    def load(connections: float) -> Memory:
        threads = connections / per_thread if per_thread else 0
        return _memory(
            values["size"] + connections * each + threads * stack, values["threads"],
            kernel=connections * values["socket_buffer"] + threads * KERNEL_STACK_BYTES, cache=values["cache"],
        )  # fmt: skip

    idle, peak = values["idle_connections"], values["peak_connections"]
    spike_at, ramp, hold = (max(round(values[key] / step), least) for key, least in
                            (("spike_at", 0), ("ramp", 1), ("hold", 0)))  # fmt: skip
    every = None if values["every"] is None else max(round(values["every"] / step), 2 * ramp + hold + 1)
    wait = spike_at
    while True:
        if wait:
            yield Piece(wait, load(idle))
        yield from _line(lambda t: load(idle + (peak - idle) * t / ramp), 0, ramp)
        if hold:
            yield Piece(hold, load(peak))
        yield from _line(lambda t: load(peak - (peak - idle) * t / ramp), 0, ramp)
        if every is None:
            yield Piece(FOREVER, load(idle))
            return
        wait = every - 2 * ramp - hold


def _tooth(low: float, high: float, threads: int, steps: int) -> Iterator[Piece]:
    """A climb from *low* to *high* bytes."""
    return _line(lambda t: _memory(low + (high - low) * t / steps, threads), 0, steps)


def _heap(values: Values, step: float) -> Iterator[Piece]:
    """
    Garbage piles up on what is in use until the heap is full, then a collection leaves what is in use. The process
    holds the most the heap ever needed, less what the runtime gives back.
    """
    most, overhead, threads = values["heap_max"], values["overhead"], values["threads"]
    garbage, growth = values["garbage"] * step, values["live_growth"] * step
    returned = RETURNED_PCT[values["runtime"]] if values["returned"] is None else values["returned"]
    live, held = min(values["live"], most), 0.0
    if not garbage and not growth:
        yield Piece(FOREVER, _memory(overhead + live, threads))
        return
    while True:
        room = most - live
        # A collection that frees next to nothing: the runtime gives up by itself (GC overhead limit, heap OOM).
        if room < most / 100:
            yield Piece(FOREVER, Memory(), exits="its heap is full: the runtime ends it with an error of its own")
            return
        steps = max(int(room / max(garbage + growth, 1)), 1)
        first, last = live, min(live + (garbage + growth) * steps, most)
        low = max(held, first)
        if last <= low:  # the whole tooth is inside what is held already
            yield Piece(steps, _memory(overhead + low, threads))
        else:
            # Flat while the tooth is below what is held, then along it.
            flat = min(int((low - first) / ((last - first) / steps)), steps - 1) if low > first else 0
            if flat:
                yield Piece(flat, _memory(overhead + low, threads))
            yield from _tooth(overhead + low, overhead + last, threads, steps - flat)
        live = min(live + growth * steps, most)
        top = max(held, last)
        held = top - (top - live) * returned / 100
        if not growth and not returned:
            yield Piece(FOREVER, _memory(overhead + top, threads))
            return


def _filler(kind: str) -> Workload:
    """Cache reader and tmpfs writer: files grow at a rate up to their size."""

    def workload(values: Values, step: float) -> Iterator[Piece]:
        rate, size, files, threads = values["rate"] * step, values["size"], values["files"], values["threads"]
        steps = int(files / rate)
        yield from _line(lambda t: _memory(size, threads, **{kind: rate * t}), 0, steps)
        yield Piece(FOREVER, _memory(size, threads, **{kind: files}))

    return workload


WORKLOADS: Final[dict[str, Workload]] = {
    "constant": _constant,
    "leak": _leak,
    "traffic": _traffic,
    "heap": _heap,
    "cache": _filler("cache"),
    "tmpfs": _filler("shmem"),
    "forkbomb": _constant,  # the children are processes of their own: see oomsight.simulate.engine
}
"""One row per ``kind``: (values of the process, seconds of a step) -> pieces, endless or ending in a FOREVER piece."""


def pieces(values: Values, step: float) -> Iterator[Piece]:
    """The demand of one process from its start."""
    return WORKLOADS[values["kind"]](values, step)
