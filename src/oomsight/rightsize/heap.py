"""
The heap flag that makes a runtime fit its limit: the largest one whose estimate stays within it.

The estimates of :mod:`oomsight.audit.runtimes` are asked again and again with another heap until the largest is found,
so whatever they know (direct buffers that follow the heap, page tables, stacks) is in the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from oomsight._sizes import MIB, size_words
from oomsight.audit.runtimes.jvm import estimate as jvm_estimate
from oomsight.audit.runtimes.node import estimate as node_estimate
from oomsight.rightsize.model import Setting

if TYPE_CHECKING:
    from oomsight.audit.runtimes.model import Inputs

SMALLEST_MIB: Final = 16
GO_SHARE: Final = 0.9  #: of the limit; Go's guide to its collector: leave 5-10 % headroom for what it does not know


def heap_setting(runtime: str, inputs: Inputs, limit_bytes: int) -> Setting | None:
    """
    Return the heap flag for *runtime* (a key of the table of runtimes) below *limit_bytes*; ``None`` = it has none, or
    nothing fits.
    """
    if runtime == "go":
        size = int(limit_bytes * GO_SHARE) // MIB
        words = f"{GO_SHARE:.0%} of the limit: the collector works harder near it instead of being killed"
        return Setting(key="heap", value=f"GOMEMLIMIT={size}MiB", bytes=size * MIB, why=words)
    if runtime == "jvm":
        return _largest(
            "-Xmx{}m", lambda mib: jvm_estimate(_with(inputs, f"-Xmx{mib}m", "-Xmx", limit_bytes)).likely_bytes,
            limit_bytes, "metaspace, code cache, stacks and direct buffers",
        )  # fmt: skip
    if runtime == "node":
        flag = "--max-old-space-size="
        return _largest(
            flag + "{}", lambda mib: node_estimate(_with(inputs, f"{flag}{mib}", flag, limit_bytes)).likely_bytes,
            limit_bytes, "young generation, page tables, buffers and Node itself",
        )  # fmt: skip
    return None


def _with(inputs: Inputs, flag: str, prefix: str, limit_bytes: int) -> Inputs:
    """The same program with another heap: flags that say it otherwise are left out."""
    others = ("-XX:MaxRAMPercentage", "-XX:MaxHeapSize", "-XX:InitialRAMPercentage", "-Xms", prefix)
    plain = [word for word in inputs.argv[1:] if not word.startswith(others)]
    return replace(inputs, argv=(*inputs.argv[:1], flag, *plain), limit_bytes=limit_bytes)


def _largest(flag: str, size_of: Callable[[int], int], limit_bytes: int, rest: str) -> Setting | None:
    low, high = SMALLEST_MIB, max(limit_bytes // MIB, SMALLEST_MIB)
    if size_of(low) > limit_bytes:
        return None
    while low < high:
        middle = (low + high + 1) // 2
        if size_of(middle) <= limit_bytes:
            low = middle
        else:
            high = middle - 1
    why = f"the largest whose whole stays within the limit: {size_words(limit_bytes - low * MIB)} is left for {rest}"
    return Setting(key="heap", value=flag.format(low), bytes=low * MIB, why=why)
