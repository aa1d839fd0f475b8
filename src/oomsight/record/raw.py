"""
The texts the sampler reads each second, parsed from bytes with as little work as possible.

The full parsers are in :mod:`oomsight.proc`; these take only what is recorded. Sizes are KiB. Sources: fs/proc/array.c,
fs/proc/task_mmu.c, fs/proc/meminfo.c, mm/memcontrol.c (2.6.36 … 7.x).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight._lazy import lazy
from oomsight.proc.machine import parse_meminfo, parse_vmstat
from oomsight.proc.pressure import parse_pressure
from oomsight.record.fields import FIELDS

if TYPE_CHECKING:
    from oomsight.record.model import Values


def statm_pages(raw: bytes) -> tuple[int, int]:
    """(resident, shared) pages of /proc/PID/statm; shared = mapped files and shared memory. (0, 0) if it is none."""
    try:
        _, resident, shared, _ = raw.split(None, 3)
        return int(resident), int(shared)
    except ValueError:
        return 0, 0


class Detail(NamedTuple):
    """What /proc/PID/status adds to statm; ``None`` = no such line (kernel thread, zombie, before 4.5)."""

    comm: str
    anon_kib: int | None
    file_kib: int | None
    shmem_kib: int | None
    swap_kib: int | None
    tables_kib: int | None


_ESCAPED: Final = lazy(r"\\(.)")
_LINES: Final = (b"\nRssAnon:", b"\nRssFile:", b"\nRssShmem:", b"\nVmSwap:", b"\nVmPTE:", b"\nVmPMD:")


def status_detail(raw: bytes) -> Detail:
    """The memory lines of /proc/PID/status."""
    end = raw.find(b"\n")
    comm = raw[6:end].decode("utf-8", "surrogateescape") if raw.startswith(b"Name:\t") else ""
    numbers: list[int | None] = []
    spot = raw.find(b"\nVm")
    for key in _LINES:
        at = raw.find(key, spot) if spot >= 0 else -1
        try:
            numbers.append(int(raw[at + len(key) : at + len(key) + 24].split(None, 1)[0]) if at >= 0 else None)
        except (ValueError, IndexError):
            numbers.append(None)
    anon, file, shmem, swap, pte, pmd = numbers
    tables = None if pte is None else pte + (pmd or 0)
    # /proc prints the name with backslashes and newlines escaped (fs/proc/array.c task_name).
    if "\\" in comm:
        comm = _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], comm)
    return Detail(comm, anon, file, shmem, swap, tables)


class Identity(NamedTuple):
    """Who a process is, from /proc/PID/stat."""

    comm: str
    start_ticks: int  #: since boot
    kernel_thread: bool


_PF_KTHREAD: Final = 0x00200000  # include/linux/sched.h, 2.6.27+


def stat_identity(raw: bytes) -> Identity | None:
    """Name, start and sort of a process; ``None`` = the text is none (it just ended)."""
    opening, closing = raw.find(b"("), raw.rfind(b")")
    rest = raw[closing + 1 :].split(None, 20)
    try:
        comm = raw[opening + 1 : closing].decode("utf-8", "surrogateescape")
        return Identity(comm, int(rest[19]), bool(int(rest[6]) & _PF_KTHREAD))
    except (ValueError, IndexError):
        return None


def rollup_private_kib(raw: bytes) -> int | None:
    """Private_Clean + Private_Dirty of /proc/PID/smaps_rollup; ``None`` = not readable or another text."""
    total, found = 0, False
    for key in (b"\nPrivate_Clean:", b"\nPrivate_Dirty:"):
        at = raw.find(key)
        if at >= 0:
            try:
                total += int(raw[at + len(key) : at + len(key) + 24].split(None, 1)[0])
            except (ValueError, IndexError):
                return None
            found = True
    return total if found else None


# -- the host ---------------------------------------------------------------------------------------------------------


def host_values(
    meminfo: str, vmstat: str, pressure: str | None, zram: tuple[int, int] | None, counted: Mapping[str, int | None]
) -> Values:
    """
    The figures of the host from the texts of its files. *zram*: (stored, taken) KiB of all devices; *counted*: fields
    that the sampler counts itself.
    """
    info = parse_meminfo(meminfo).fields
    events = parse_vmstat(vmstat)
    stalls = parse_pressure(pressure) if pressure is not None else {}
    get = info.get
    cached, shmem = get("Cached"), get("Shmem", 0)
    found: dict[str, int | None] = {
        "mem_total_bytes": get("MemTotal"), "mem_available_bytes": get("MemAvailable"),
        "mem_free_bytes": get("MemFree"), "anon_bytes": get("AnonPages"),
        "file_bytes": None if cached is None else max(cached + get("Buffers", 0) - shmem, 0),
        "shmem_bytes": get("Shmem"), "slab_reclaimable_bytes": get("SReclaimable"),
        "slab_unreclaimable_bytes": get("SUnreclaim"), "page_tables_bytes": get("PageTables"),
        "kernel_stack_bytes": get("KernelStack"), "percpu_bytes": get("Percpu"),
        "vmalloc_used_bytes": get("VmallocUsed"),
        "hugetlb_bytes": get("Hugetlb"), "unevictable_bytes": get("Unevictable"),
        "dirty_bytes": get("Dirty", 0) + get("Writeback", 0), "swap_total_bytes": get("SwapTotal"),
        "swap_free_bytes": get("SwapFree"), "swap_cached_bytes": get("SwapCached"),
        "committed_bytes": get("Committed_AS"), "commit_limit_bytes": get("CommitLimit"),
        "zswap_bytes": get("Zswap"), "zswapped_bytes": get("Zswapped"),
        "zram_stored_bytes": zram[0] if zram else None, "zram_bytes": zram[1] if zram else None,
        "pgmajfault": events.get("pgmajfault"), "pswpin": events.get("pswpin"), "pswpout": events.get("pswpout"),
        "allocstall": _sum_of(events, "allocstall"), "workingset_refault": _sum_of(events, "workingset_refault"),
        "oom_kill": events.get("oom_kill"),
    }  # fmt: skip
    for kind in ("some", "full"):
        if stall := stalls.get(kind):
            found[f"psi_{kind}_us"] = stall.total_us
    if "some" in stalls:
        found["psi_some_pct"] = int(stalls["some"].avg10_pct)  # not rounded up to what makes sampling dense
    found.update(counted)
    return tuple(found.get(field.name) for field in FIELDS["host"])


def _sum_of(events: Mapping[str, int], stem: str) -> int | None:
    """``allocstall`` (until 4.9), or the sum of its parts by zone or kind."""
    parts = [value for name, value in events.items() if name == stem or name.startswith(stem + "_")]
    return sum(parts) if parts else None


def swap_devices(text: str) -> list[tuple[str, Values]]:
    """The lines of /proc/swaps: (device or file, values)."""
    found: list[tuple[str, Values]] = []
    for line in text.split("\n")[1:]:
        words = line.split()
        if len(words) >= 5:
            try:
                found.append((words[0], (int(words[-2]), int(words[-3]), int(words[-1]))))
            except ValueError:
                continue
    return found
