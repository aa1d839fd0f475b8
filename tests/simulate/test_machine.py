"""The balance of a machine: nothing is created or lost, limits hold, protection protects, swap is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomsight.simulate.machine import ZERO, Balance, Bend, Machine, min_free_bytes, share
from oomsight.simulate.workloads import Memory

from .samples import scenario

MIB = 1 << 20


def machine(*tables: str, ram: str = "1GiB", **settings_: str) -> Machine:
    """A machine with these cgroups and nothing in them."""
    text = "\n".join(f"{key} = {value}" for key, value in settings_.items())
    one = scenario("p x constant", *tables, ram=ram, machine=text)
    return Machine(one.machine, one.cgroups, ["/"], (6, 12))


def put(on: Machine, path: str, **mib: int) -> None:
    """Ask for memory in a cgroup."""
    on.change(on.by_path[path], Bend(ZERO, ZERO, Memory(**{k: v * MIB for k, v in mib.items()}), ZERO, 0))


def in_mib(state: Balance, on: Machine, path: str) -> tuple[int, int, int]:
    """(needed in RAM, page cache, swap) of a subtree, rounded down."""
    index = on.by_path[path].index
    cache = state.cache(index)
    return (state.resident(index) - cache) // MIB, cache // MIB, state.swapped[index] // MIB


def test_balance_without_pressure_gives_all() -> None:
    on = machine("c /a", kernel="0", swap='"1GiB"')
    put(on, "/a", anon=100, cache=50)
    state = on.balance(0)
    assert in_mib(state, on, "/a") == (100, 50, 0)
    assert in_mib(state, on, "/") == (100, 50, 0)
    assert state.short == {}


def test_balance_drops_cache_and_swaps_as_swappiness_says() -> None:
    on = machine("c /a max=100MiB", kernel="0", swap='"1GiB"', swappiness="60")
    put(on, "/a", anon=90, cache=50)
    # 40 MiB too much: 60 of 200 from anon, the rest from cache.
    assert in_mib(on.balance(0), on, "/a") == (78, 22, 12)


def test_balance_at_swappiness_0_never_swaps_a_cgroup() -> None:
    on = machine("c /a max=100MiB", kernel="0", swap='"1GiB"', swappiness="0")
    put(on, "/a", anon=110, cache=50)
    state = on.balance(0)
    assert in_mib(state, on, "/a") == (110, 0, 0)
    assert state.short == {on.by_path["/a"].index: 10 * MIB}


def test_balance_at_swappiness_0_swaps_the_machine_when_cache_is_gone() -> None:
    on = machine("c /a", ram="100MiB", kernel="0", swap='"50MiB"', swappiness="0")
    put(on, "/a", anon=120, cache=50)
    need, cache, swap = in_mib(on.balance(0), on, "/a")
    assert (cache, need + swap) == (0, 119)
    assert swap >= 20


def test_balance_respects_swap_max_of_every_ancestor() -> None:
    on = machine("c /a swap_max=10MiB", "c /a/b max=50MiB swap_max=30MiB", kernel="0", swap='"1GiB"')
    put(on, "/a/b", anon=90)
    state = on.balance(0)
    assert in_mib(state, on, "/a/b") == (80, 0, 10)
    assert state.short == {on.by_path["/a/b"].index: 30 * MIB}


def test_balance_shares_reclaim_by_size_and_spares_low_and_min() -> None:
    on = machine("c /a", "c /b low=100MiB", "c /c min=100MiB", ram="420MiB", kernel="0")
    for path in ("/a", "/b", "/c"):
        put(on, path, cache=150)
    limit = on.cgroups[0].max // MIB
    over = 450 - limit
    state = on.balance(0)
    cache = {path: in_mib(state, on, path)[1] for path in ("/a", "/b", "/c")}
    assert sum(150 - value for value in cache.values()) in range(over - 2, over + 4)
    assert cache["/a"] < cache["/b"]
    assert cache["/b"] == cache["/c"] >= 100


def test_balance_breaks_low_but_never_min() -> None:
    on = machine("c /a", "c /b low=100MiB", "c /c min=100MiB", ram="300MiB", kernel="0")
    put(on, "/a", anon=150)
    put(on, "/b", cache=100)
    put(on, "/c", cache=100)
    state = on.balance(0)
    assert state.short == {}
    assert in_mib(state, on, "/c")[1] == 100
    assert in_mib(state, on, "/b")[1] < 100


def test_balance_high_is_a_target_not_a_limit() -> None:
    on = machine("c /a high=50MiB max=200MiB", kernel="0")
    put(on, "/a", anon=80, cache=30)
    state = on.balance(0)
    index = on.by_path["/a"].index
    assert in_mib(state, on, "/a") == (80, 0, 0)
    assert state.over_high == {index: 30 * MIB}
    assert state.short == {}


def test_min_free_bytes_as_the_kernel_computes_it() -> None:
    # sqrt(16 * KiB): 4 GiB -> 8192 KiB; bounded by 128 KiB and 256 MiB.
    assert [min_free_bytes(ram << 30) >> 10 for ram in (1, 4, 16, 1 << 14)] == [4096, 8192, 16384, 262144]
    assert min_free_bytes(64 << 10) >> 10 == 128


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=9), st.integers(0, 10**13))
def test_share_gives_all_and_nobody_too_much(weights, amount) -> None:
    amount = min(amount, sum(weights))
    parts = share(amount, weights)
    assert sum(parts) == amount
    assert all(0 <= part <= weight for part, weight in zip(parts, weights, strict=True))


_MIB = st.integers(0, 300)
_LIMIT = st.none() | st.integers(0, 400)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.fixed_dictionaries({"anon": _MIB, "shmem": _MIB, "kernel": _MIB, "cache": _MIB}), min_size=5, max_size=5),
    st.lists(st.tuples(_LIMIT, _LIMIT, _LIMIT, st.integers(0, 100), st.integers(0, 100)), min_size=4, max_size=4),
    st.integers(0, 300), st.sampled_from([0, 1, 60, 100, 200]),
)  # fmt: skip
def test_balance_creates_and_loses_nothing(demands, limits, swap, swappiness) -> None:
    rows = []
    for path, (most, high, swap_max, low, least) in zip(("/a", "/a/x", "/a/y", "/b"), limits, strict=True):
        row = f"c {path} low={low}MiB min={least}MiB"
        for key, value in (("max", most), ("high", high), ("swap_max", swap_max)):
            row += "" if value is None else f" {key}={value}MiB"
        rows.append(row)
    on = machine(*rows, ram="512MiB", kernel="0", swap=f'"{swap}MiB"', swappiness=str(swappiness))
    for path, demand in zip(("/", "/a", "/a/x", "/a/y", "/b"), demands, strict=True):
        put(on, path, **demand)
    state = on.balance(0)
    assert state.swapped[0] <= swap * MIB
    assert sum(state.own_swapped) == state.swapped[0]
    for cgroup in on.cgroups:
        i, demand = cgroup.index, state.demand[cgroup.index]
        # Every byte wanted is in RAM, in swap, or page cache that was dropped.
        assert state.resident(i) + state.swapped[i] + state.dropped[i] == demand.need + demand.cache
        assert 0 <= state.swapped[i] <= min(demand.anon + demand.shmem, cgroup.swap_max)
        assert 0 <= state.dropped[i] <= demand.cache
        assert state.resident(i) <= cgroup.max + state.short.get(i, 0)
        # A parent is the sum of its own and its children.
        below = sum(state.swapped[child.index] for child in cgroup.children)
        assert state.swapped[i] == below + state.own_swapped[i]
        if i in state.short and not cgroup.children:  # short only when nothing is left to take
            assert state.cache(i) == 0


@settings(max_examples=100)
@given(
    st.lists(st.fixed_dictionaries({"anon": _MIB, "shmem": _MIB, "kernel": _MIB, "cache": _MIB}), min_size=5, max_size=5),
    st.lists(st.tuples(_LIMIT, _LIMIT), min_size=4, max_size=4), st.integers(0, 300), st.sampled_from([0, 1, 60, 200]),
)  # fmt: skip
def test_outline_finds_the_same_as_the_whole_balance(demands, limits, swap, swappiness) -> None:
    rows = []
    for path, (most, high) in zip(("/a", "/a/x", "/a/y", "/b"), limits, strict=True):
        rows.append(f"c {path}" + "".join(f" {k}={v}MiB" for k, v in (("max", most), ("high", high)) if v is not None))
    on = machine(*rows, ram="512MiB", kernel="0", swap=f'"{swap}MiB"', swappiness=str(swappiness))
    for path, demand in zip(("/", "/a", "/a/x", "/a/y", "/b"), demands, strict=True):
        put(on, path, **demand)
    assert on.plain
    whole, outline = on.balance(0), on.outline(0)
    assert (outline.short, outline.over_high) == (whole.short, whole.over_high)
    assert (outline.dropped[0], outline.swapped[0]) == (whole.dropped[0], whole.swapped[0])


@pytest.mark.parametrize(("cgroup_", "pages"), [("/", 262144 + 65536), ("/a", 25600 + 65536), ("/b", 25600 + 2560)])
def test_total_is_the_kernels(cgroup_, pages) -> None:
    on = machine("c /a max=100MiB", "c /b max=100MiB swap_max=10MiB", swap='"256MiB"')
    assert on.total(on.by_path[cgroup_]).pages == pages
