"""Heap flags: the largest that fits, and no other."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomsight._sizes import MIB
from oomsight.audit.runtimes.jvm import estimate as jvm_estimate
from oomsight.audit.runtimes.model import Inputs
from oomsight.audit.runtimes.node import estimate as node_estimate
from oomsight.rightsize.heap import heap_setting

ESTIMATES = {"jvm": (jvm_estimate, "-Xmx{}m"), "node": (node_estimate, "--max-old-space-size={}")}


@pytest.mark.parametrize("runtime", ESTIMATES)
@settings(max_examples=25)
@given(limit=st.integers(64, 16384))
def test_the_heap_fits_and_one_mebibyte_more_does_not(runtime, limit) -> None:
    estimate, flag = ESTIMATES[runtime]
    found = heap_setting(runtime, Inputs(argv=("program",)), limit * MIB)
    if found is None:
        assert estimate(Inputs(argv=("program", flag.format(16)), limit_bytes=limit * MIB)).likely_bytes > limit * MIB
        return

    def size(mib):
        return estimate(Inputs(argv=("program", flag.format(mib)), limit_bytes=limit * MIB)).likely_bytes

    heap = found.bytes // MIB
    assert found.value == flag.format(heap)
    assert size(heap) <= limit * MIB < size(heap + 1)


def test_flags_that_say_it_otherwise_do_not_count() -> None:
    argv = ("java", "-Xmx8g", "-Xms8g", "-XX:MaxRAMPercentage=80", "-XX:MaxMetaspaceSize=64m", "-jar", "a.jar")
    heap = heap_setting("jvm", Inputs(argv=argv), 512 * MIB)
    assert 100 * MIB < heap.bytes < 450 * MIB


def test_go_gets_a_soft_limit_and_others_nothing() -> None:
    assert heap_setting("go", Inputs(), 1000 * MIB).value == "GOMEMLIMIT=900MiB"
    assert heap_setting("redis", Inputs(), 1000 * MIB) is None
