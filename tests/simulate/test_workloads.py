"""Workloads as straight pieces: their values at chosen moments, and that pieces join."""

from __future__ import annotations

from itertools import islice, pairwise

import pytest

from oomsight.simulate.workloads import FOREVER, KERNEL_STACK_BYTES, TASK_BYTES, Memory, pieces

from .samples import scenario

MIB = 1 << 20


def values_at(row: str, *steps: int, step: float = 1.0) -> list[Memory]:
    """Demand of a process row at *steps* after its start."""
    found = []
    plan = list(islice(pieces(scenario(row).processes[0], step), 4000))
    for wanted in steps:
        at = 0
        for piece in plan:
            if wanted < at + piece.steps:
                past = wanted - at
                found.append(Memory(*(s + g * past for s, g in zip(piece.start, piece.growth, strict=True))))
                break
            at += piece.steps
    return found


def test_constant_holds_its_size_and_what_it_costs_the_kernel() -> None:
    (memory,) = values_at("p a constant size=64MiB threads=3", 12345)
    assert memory == Memory(64 * MIB, 0, TASK_BYTES + 3 * KERNEL_STACK_BYTES + 64 * MIB // 512, 0)


def test_leak_linear_is_exact_over_days() -> None:
    day, week = values_at("p a leak size=10MiB rate=1MiB/h", 86400, 7 * 86400)
    assert day.anon == (10 + 24) * MIB
    assert abs(week.anon - (10 + 168) * MIB) < 1024


def test_leak_stops_at_the_ceiling() -> None:
    before, at, after = values_at("p a leak size=10MiB rate=1MiB/s ceiling=20MiB", 9, 10, 1000)
    assert (before.anon, at.anon, after.anon) == (19 * MIB, 20 * MIB, 20 * MIB)


def test_leak_step_grows_all_at_once() -> None:
    values = values_at("p a leak size=10MiB rate=1MiB/s shape=step step_every=30", 0, 29, 30, 60)
    assert [m.anon // MIB for m in values] == [10, 10, 40, 70]


def test_leak_in_steps_of_ten_seconds_is_the_same_leak() -> None:
    assert values_at("p a leak size=10MiB rate=1MiB/s", 6, step=10.0)[0].anon == 70 * MIB


def test_traffic_rises_holds_and_falls_again() -> None:
    row = "p a traffic size=10MiB idle_connections=10 peak_connections=110 per_connection=1MiB socket_buffer=4KiB"
    row += " spike_at=60 ramp=10 hold=20 every=200 cache=5MiB"
    idle, half, peak, falling, again = values_at(row, 0, 65, 85, 95, 275)
    assert [m.anon // MIB for m in (idle, half, peak, falling, again)] == [20, 70, 120, 70, 120]
    assert peak.kernel - idle.kernel == 100 * 4096 + 100 * MIB // 512
    assert {m.cache for m in (idle, peak)} == {5 * MIB}


def test_traffic_threads_cost_stacks_of_both_kinds() -> None:
    row = "p a traffic size=0 peak_connections=100 per_connection=0 socket_buffer=0 connections_per_thread=10"
    (peak,) = values_at(row + " thread_stack=1MiB spike_at=0 ramp=1 hold=60", 30)
    assert peak.anon == 10 * MIB
    assert peak.kernel == TASK_BYTES + KERNEL_STACK_BYTES * 11 + 10 * MIB // 512


def test_heap_jvm_climbs_to_its_most_and_stays() -> None:
    row = "p a heap heap_max=100MiB live=40MiB garbage=1MiB overhead=10MiB"
    start, middle, later = values_at(row, 0, 30, 5000)
    assert [m.anon // MIB for m in (start, middle, later)] == [50, 80, 110]


def test_heap_node_falls_at_each_collection_and_rises_again() -> None:
    row = "p a heap runtime=node heap_max=100MiB live=40MiB garbage=1MiB overhead=10MiB returned=100"
    values = values_at(row, 0, 59, 60, 119, 120)
    assert [m.anon // MIB for m in values] == [50, 109, 50, 109, 50]


def test_heap_python_gives_back_a_part() -> None:
    values = values_at("p a heap runtime=python heap_max=100MiB live=40MiB garbage=1MiB overhead=0MiB", 59, 60)
    # 30 % of 60 MiB of garbage go back.
    assert [m.anon // MIB for m in values] == [99, 82]


def test_heap_full_of_live_objects_ends_itself() -> None:
    row = "p a heap heap_max=100MiB live=40MiB live_growth=1MiB garbage=1MiB overhead=10MiB"
    plan = list(pieces(scenario(row).processes[0], 1.0))
    assert plan[-1].exits is not None
    assert "heap is full" in plan[-1].exits
    assert plan[-1].steps == FOREVER


@pytest.mark.parametrize(("kind", "field"), [("cache", "cache"), ("tmpfs", "shmem")])
def test_fillers_grow_to_the_size_of_the_files(kind, field) -> None:
    values = values_at(f"p a {kind} size=0 files=10MiB rate=1MiB", 5, 10, 99)
    assert [getattr(m, field) // MIB for m in values] == [5, 10, 10]


@pytest.mark.parametrize("row", [
    "p a leak size=10MiB rate=777KiB/min", "p a traffic peak_connections=333 per_connection=70KiB every=1h",
    "p a heap heap_max=333MiB garbage=123KiB live_growth=1KiB", "p a cache files=99MiB rate=77KiB",
])  # fmt: skip
def test_pieces_join_where_nothing_jumps(row) -> None:
    plan = list(islice(pieces(scenario(row).processes[0], 1.0), 200))
    for piece, after in pairwise(plan):
        if after.exits or after.start.anon < piece.start.anon:
            continue
        end = piece.start.anon + piece.growth.anon * piece.steps
        assert abs(after.start.anon - end) <= max(piece.steps, abs(piece.growth.anon) + 1)
