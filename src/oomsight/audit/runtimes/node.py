"""
Node.js: V8's heap by flags or by the memory it sees, young generation, buffers, workers.

Sources: V8 heap/heap.cc (HeapSizeFromPhysicalMemory, YoungGenerationSizeFromOldGenerationSize) of 8.4 … 12,
node/src/api/environment.cc (SetIsolateCreateParamsForNode), libuv uv_get_constrained_memory() (version 1: 1.29,
version 2: 1.45). Sizes without a flag were measured with Node 20 (bench/runtimes).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from oomsight._sizes import GIB, KIB, MIB
from oomsight.audit.runtimes.flags import Flag, count, flags, words
from oomsight.audit.runtimes.model import Estimate, Inputs, Term

NODE_BYTES: Final = 3 * MIB  #: node's own data at start; measured
HEAP_LOW_BYTES: Final = 4 * MIB
OLD_LEAST_BYTES: Final = 256 * MIB  #: V8 gives the old generation no less by itself, whatever the machine
OLD_MOST_BYTES: Final = 2 * GIB  #: 4 GiB from 15 GiB of memory on
HUGE_RAM_BYTES: Final = 15 * GIB
LOW_OLD_BYTES: Final = 256 * MIB  #: up to here semi-spaces are 1/256 of it, above 1/128
SEMI_LEAST_BYTES: Final = MIB
SEMI_MOST_BYTES: Final = 16 * MIB
PAGE_TABLE_SHARE: Final = 0.045
"""V8 maps each 256 KiB page at a random address, so each needs page tables of its own: 12 KiB; measured."""
WORKER_BYTES: Final = 8 * MIB  #: an isolate and a loop of its own; measured

_OPTION: Final = re.compile(r"--(max[-_]old[-_]space[-_]size|max[-_]semi[-_]space[-_]size)=(\d{1,9})", re.ASCII)
_NODE: Final = re.compile(r"v?(\d{1,3})(?:\.(\d{1,3}))?", re.ASCII)
_OWN_VALUES: Final = ("-r", "--require", "--import", "--loader", "--env-file", "--conditions", "-C")


def command_options(argv: Sequence[str]) -> list[str]:
    """Node's own options of a command line that begins with node: those before the script."""
    own: list[str] = []
    value = False
    for word in argv[1:]:
        if not word.startswith("-") and not value:
            break
        own.append(word)
        value = word in _OWN_VALUES
    return own


def gather(inputs: Inputs) -> list[Flag]:
    """NODE_OPTIONS first, then the options before the script; the command line wins."""
    variable = words(inputs.env.get("NODE_OPTIONS", ""))
    return flags((("NODE_OPTIONS", variable), ("command line", command_options(inputs.argv))))


def _sizes(found: list[Flag]) -> dict[str, tuple[int, str]]:
    sizes: dict[str, tuple[int, str]] = {}
    for text, source in found:
        option = _OPTION.fullmatch(text)
        number = None if option is None else count(option[2])
        if option is not None and number is not None:
            sizes[option[1].replace("_", "-")] = (number * MIB, f"{text} ({source})")
    return sizes


def sees_limit(version: str | None, cgroup_version: int | None) -> tuple[bool, str]:
    """Whether this Node sizes its heap by its cgroup, and why."""
    found = _NODE.match(version or "")
    if found is None:
        return True, "release not known, taken as a current one"
    major, minor = int(found[1]), int(found[2] or 999)
    if major < 12:
        return False, f"Node {major} does not ask for its cgroup (12 does)"
    if cgroup_version == 2 and (major, minor) < (20, 3) and not (major == 18 and minor >= 17):
        return False, f"Node {major} knows cgroups of version 1 only (18.17 and 20.3 know both)"
    return True, f"Node {major} knows cgroups"


def old_space(seen_bytes: int | None) -> tuple[int | None, str]:
    """What V8 gives the old generation by itself on a machine of ``seen_bytes``; ``None`` = not known."""
    if seen_bytes is None:
        return None, "half of the memory it sees, 256 MiB to 4 GiB; not known here"
    most = 2 * OLD_MOST_BYTES if seen_bytes >= HUGE_RAM_BYTES else OLD_MOST_BYTES
    size = max(min(seen_bytes // 2, most), OLD_LEAST_BYTES)
    return size, f"half of the {seen_bytes // MIB:,} MiB it sees, from 256 MiB to {most // GIB} GiB (V8's default)"


def semi_space(old_bytes: int) -> int:
    """Size of one semi-space for an old generation of ``old_bytes``."""
    size = old_bytes // (256 if old_bytes <= LOW_OLD_BYTES else 128)
    return max(min(size, SEMI_MOST_BYTES), SEMI_LEAST_BYTES) // (256 * KIB) * (256 * KIB)


def estimate(inputs: Inputs) -> Estimate:
    """The sum for one Node process."""
    sizes = _sizes(gather(inputs))
    sees, why = sees_limit(inputs.version, inputs.cgroup_version)
    seen = inputs.limit_bytes if sees and inputs.limit_bytes is not None else inputs.ram_bytes
    if seen is not None and inputs.ram_bytes is not None:
        seen = min(seen, inputs.ram_bytes)
    notes = []
    default, default_source = old_space(seen)
    old, old_source = sizes.get("max-old-space-size") or (default, default_source)
    if "max-old-space-size" not in sizes:
        if not sees and inputs.limit_bytes is not None:
            notes.append(f"Node does not see its limit: {why}; it sizes its heap by the host")
        if inputs.limit_bytes is not None and old is not None and old >= inputs.limit_bytes:
            notes.append("V8 never makes its default heap smaller than 256 MiB, also under a smaller limit")
    semi, semi_source = sizes.get("max-semi-space-size") or (
        semi_space(default) if default is not None else SEMI_MOST_BYTES,
        "by the memory it sees, not by --max-old-space-size (V8's default)",
    )
    workers = inputs.counts.get("workers", 0)
    buffers = inputs.counts.get("buffers_bytes")
    terms = [
        Term("old generation", HEAP_LOW_BYTES, None if old is None else max(old, HEAP_LOW_BYTES), old_source,
             None if old is None else max(old, HEAP_LOW_BYTES)),
        Term("young generation", 0, 3 * semi, f"3 semi-spaces: {semi_source}", min(2 * semi, 3 * semi)),
        Term("page tables", 600 * KIB, None if old is None else int(old * PAGE_TABLE_SHARE) + 600 * KIB,
             "12 KiB for each page of 256 KiB that V8 maps at random addresses (measured; kernel memory)", None,
             "old generation", PAGE_TABLE_SHARE),
        Term("code and metadata", 0, 32 * MIB, "compiled functions and maps, outside of that limit", 8 * MIB),
        Term("buffers", 0, buffers, "Buffer and ArrayBuffer live outside the heap: no bound"
             if buffers is None else "buffers, as given", 16 * MIB if buffers is None else buffers),
        Term("Node itself", NODE_BYTES, 16 * MIB, "libuv's threads, OpenSSL, inspector (measured)", 8 * MIB),
    ]  # fmt: skip
    if workers:
        each = None if old is None else old + 3 * semi + WORKER_BYTES
        terms.append(
            Term("worker threads", workers * WORKER_BYTES, None if each is None else workers * each,
                 f"{workers} workers, each with a heap of its own", workers * 2 * WORKER_BYTES)
        )  # fmt: skip
    return Estimate("node", tuple(terms), inputs.limit_bytes, tuple(notes), sees)
