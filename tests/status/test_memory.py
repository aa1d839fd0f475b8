"""Where the RAM is: every page once, against what real kernels said."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.kernel.balance import balance
from oomsight.proc.machine import parse_meminfo
from oomsight.status.memory import ITEMS, UNACCOUNTED, account_meminfo

RECORDED = json.loads(lzma.decompress((Path(__file__).parents[1] / "score/data/recordings.json.xz").read_bytes()))
KERNELS = sorted({name.partition("/")[0] for name in RECORDED})


def _meminfos(kernel: str):
    seen = set()

    def walk(value):
        if isinstance(value, dict):
            for key, inner in value.items():
                if key == "/proc/meminfo" and inner not in seen:
                    seen.add(inner)
                    yield inner
                else:
                    yield from walk(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from walk(inner)

    return list(walk([recording for name, recording in RECORDED.items() if name.startswith(f"{kernel}/")]))


@pytest.mark.parametrize("kernel", KERNELS)
def test_accounting_of_real_kernels_sums_and_leaves_little_unexplained(kernel) -> None:
    meminfos = _meminfos(kernel)
    assert meminfos
    for text in meminfos:
        found = account_meminfo(parse_meminfo(text))
        assert sum(part.kib for part in found.parts) == found.total_kib
        assert not found.approximate, "counted twice: the lines are more than the total"
        assert found.parts[-1].key == UNACCOUNTED
        # What has no line: per-CPU page lists (more with several nodes), memory taken at boot, drivers, the network.
        assert found.parts[-1].kib < 48 << 10


def test_accounting_takes_overlapping_lines_apart() -> None:
    memory = parse_meminfo(
        "MemTotal: 1000000 kB\nMemFree: 100000 kB\nBuffers: 10000 kB\nCached: 300000 kB\nSwapCached: 5000 kB\n"
        "Active(anon): 300000 kB\nInactive(anon): 202000 kB\nAnonPages: 400000 kB\nShmem: 100000 kB\n"
        "Slab: 60000 kB\nSReclaimable: 40000 kB\nSUnreclaim: 20000 kB\nKReclaimable: 41000 kB\nKernelStack: 8000 kB\n"
        "VmallocUsed: 20000 kB\nHugePages_Total: 10\nHugepagesize: 2048 kB\nActive: 700000 kB\n"
    )
    found = account_meminfo(memory)
    assert {part.key: part.kib for part in found.parts} == {
        "anon": 400000, "swapcached": 2000, "shmem": 100000, "file": 210000, "hugepages": 20480,
        "slab_reclaimable": 40000, "slab_unreclaimable": 20000, "kernel_misc_reclaimable": 1000, "kernel_stack": 8000,
        "vmalloc": 12000, "free": 100000, "unaccounted": 86520,
    }  # fmt: skip
    assert account_meminfo(parse_meminfo("MemFree: 5 kB\n")) is None
    with_zram = {part.key: part.kib for part in account_meminfo(memory, 30000).parts}
    assert (with_zram["zram"], with_zram["unaccounted"]) == (30000, 56520)  # meminfo has no line for it


@given(st.lists(st.integers(0, 1 << 34), max_size=12), st.one_of(st.none(), st.integers(0, 1 << 36)))
def test_balance_always_sums(values, total) -> None:
    done = balance(values, total)
    assert sum(done.values) + done.rest == done.total
    assert all(0 <= fitted <= value for fitted, value in zip(done.values, values, strict=True))
    if total is not None and done.believed:
        assert done.total == total
    if done.excess == 0:
        assert done.values == tuple(values)


@given(st.fixed_dictionaries({}, optional={
    name: st.integers(0, 1 << 30)
    for name in ("MemTotal", "MemFree", "AnonPages", "Shmem", "Cached", "Buffers", "SwapCached", "Active(anon)",
                 "Inactive(anon)", "SReclaimable", "SUnreclaim", "KReclaimable", "KernelStack", "VmallocUsed",
                 "HugePages_Total", "Hugepagesize", "Hugetlb", "PageTables", "Zswap")
}))  # fmt: skip
def test_accounting_of_any_numbers_sums(fields) -> None:
    found = account_meminfo(parse_meminfo("".join(f"{key}: {value} kB\n" for key, value in fields.items())))
    if found is None:
        assert "MemTotal" not in fields
        return
    assert sum(part.kib for part in found.parts) == found.total_kib
    assert all(part.kib >= 0 for part in found.parts)
    assert len({item.key for item in ITEMS}) == len(ITEMS)
