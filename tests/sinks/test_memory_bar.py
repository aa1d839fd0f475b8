"""The memory bar says the same as the accounting it is made of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oomsight.diagnose.accounting import ROWS
from oomsight.diagnose.model import Accounting, Item
from oomsight.sinks.memory_bar import MEMORY_KINDS, memory_bar, primary_accounting
from oomsight.sinks.text import _FILLS

from .incident_samples import host_incident, pod_incident


def test_memory_kinds_have_a_fill_each_and_distinct_letters() -> None:
    assert len(_FILLS) == len(MEMORY_KINDS)
    assert len({kind.letter for kind in MEMORY_KINDS}) == len(MEMORY_KINDS)


def test_memory_bar_folds_items_into_kinds() -> None:
    bar = memory_bar(host_incident().accountings[0])
    assert [(s.letter, s.kib) for s in bar.segments] == [
        ("A", 224428), ("S", 22600), ("L", 9520), ("B", 8464), ("P", 1120), ("K", 1136), ("?", 8700), ("F", 5328),
    ]  # fmt: skip
    assert bar.title == "The host's memory: 274.7 MiB"
    assert bar.segments[3].detail == (
        "unreclaimable kernel objects (slab) 7.5 MiB; reclaimable kernel objects (slab) 780 KiB"
    )


def test_memory_bar_without_details_tells_only_big_segments() -> None:
    assert [s.detail for s in memory_bar(host_incident().accountings[0], details=False).segments] == [None] * 8


keys = st.sampled_from([*(row.key for row in ROWS), "unaccounted", "kernel", "sock", "something_new"])


@given(st.lists(st.tuples(keys, st.integers(0, 10**9)), max_size=20))
def test_memory_bar_sums_to_the_accounting(pairs: list[tuple[str, int]]) -> None:
    items = [Item(key, key, kib) for key, kib in pairs]
    total = sum(item.kib for item in items)
    bar = memory_bar(Accounting("host", "host", total, items))
    assert sum(segment.kib for segment in bar.segments) == bar.total_kib == total
    assert all(segment.kib > 0 for segment in bar.segments)


def test_primary_accounting_is_the_limit_that_was_hit() -> None:
    host, cgroup = host_incident().accountings[0], pod_incident().accountings[0]
    incident = pod_incident()
    incident.accountings = [host, cgroup]
    assert primary_accounting(incident) is cgroup
    incident = host_incident()
    incident.accountings = [cgroup, host]
    assert primary_accounting(incident) is host
    incident.accountings = []
    assert primary_accounting(incident) is None
