"""
Where the RAM is now: every page of /proc/meminfo in exactly one item, the rest named.

Source: fs/proc/meminfo.c meminfo_proc_show(). Its lines overlap (``Cached`` holds ``Shmem``, ``Slab`` its two halves,
``VmallocUsed`` the stacks, ``Active`` and ``Inactive`` nearly everything); :data:`ITEMS` takes them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight.kernel.balance import balance

if TYPE_CHECKING:
    from oomsight.proc.machine import MemInfo

Fields = Mapping[str, int]


class Item(NamedTuple):
    """One addend: how it is made of the lines of meminfo (KiB); ``None`` = this kernel has no such line."""

    key: str  #: as in ``explain``'s accounting
    label: str
    kib: Callable[[Fields], int | None]
    lines: str  #: the formula, in the kernel's names


def _line(name: str) -> Callable[[Fields], int | None]:
    return lambda fields: fields.get(name)


def _file(fields: Fields) -> int | None:
    cached = fields.get("Cached")
    return None if cached is None else max(cached + fields.get("Buffers", 0) - fields.get("Shmem", 0), 0)


def _swap_cache(fields: Fields) -> int | None:
    """Pages on their way to or from swap that no process maps: those it maps are in AnonPages."""
    cached = fields.get("SwapCached")
    lists = [fields.get(name) for name in ("Active(anon)", "Inactive(anon)")]
    if cached is None or None in lists:
        return None
    lru = sum(part for part in lists if part is not None)
    return min(cached, max(lru - fields.get("AnonPages", 0) - fields.get("Shmem", 0), 0))


def _vmalloc(fields: Fields) -> int | None:
    """Since 5.3 the line is more than 0; stacks of kernels with VMAP_STACK are in it and have a line of their own."""
    used = fields.get("VmallocUsed")
    return None if used is None else max(used - fields.get("KernelStack", 0), 0)


def _huge(fields: Fields) -> int | None:
    if "Hugetlb" in fields:  # all sizes, 4.19+
        return fields["Hugetlb"]
    total, size = fields.get("HugePages_Total"), fields.get("Hugepagesize")
    return None if total is None or size is None else total * size


def _gpu(fields: Fields) -> int | None:
    parts = [fields[name] for name in ("GPUActive", "GPUReclaim") if name in fields]
    return sum(parts) if parts else None


def _reclaimable(fields: Fields) -> int | None:
    total, slab = fields.get("KReclaimable"), fields.get("SReclaimable")
    return None if total is None or slab is None else max(total - slab, 0)


ITEMS: Final = (
    Item("anon", "anonymous memory of processes", _line("AnonPages"), "AnonPages"),
    Item("swapcached", "on its way to or from swap", _swap_cache,
         "SwapCached, as far as Active(anon) + Inactive(anon) exceed AnonPages + Shmem"),
    Item("shmem", "shared memory and tmpfs", _line("Shmem"), "Shmem"),
    Item("file", "page cache of files", _file, "Cached + Buffers - Shmem"),
    Item("hugepages", "huge page pool", _huge, "Hugetlb; before 4.19 HugePages_Total × Hugepagesize"),
    Item("slab_reclaimable", "reclaimable kernel objects (slab)", _line("SReclaimable"), "SReclaimable"),
    Item("slab_unreclaimable", "unreclaimable kernel objects (slab)", _line("SUnreclaim"), "SUnreclaim"),
    Item("kernel_misc_reclaimable", "other reclaimable kernel memory", _reclaimable, "KReclaimable - SReclaimable"),
    Item("pagetables", "page tables", _line("PageTables"), "PageTables"),
    Item("sec_pagetables", "page tables of virtual machines", _line("SecPageTables"), "SecPageTables"),
    Item("zswap", "compressed swap (zswap)", _line("Zswap"), "Zswap"),
    Item("kernel_stack", "kernel stacks", _line("KernelStack"), "KernelStack"),
    Item("vmalloc", "modules and other vmalloc memory", _vmalloc, "VmallocUsed - KernelStack"),
    Item("percpu", "per-CPU allocations", _line("Percpu"), "Percpu"),
    Item("gpu", "graphics memory", _gpu, "GPUActive + GPUReclaim (6.18+)"),
    Item("bounce", "bounce buffers", _line("Bounce"), "Bounce"),
    Item("writeback_tmp", "FUSE writeback buffers", _line("WritebackTmp"), "WritebackTmp"),
    Item("hwpoison", "taken out for hardware errors", _line("HardwareCorrupted"), "HardwareCorrupted"),
    Item("free", "free", _line("MemFree"), "MemFree"),
)  # fmt: skip
"""What RAM is used for; the remainder is ``unaccounted``: drivers, network buffers, whatever has no line."""

ZRAM: Final = "zram"  #: key of what zram takes: no line of meminfo, but mem_used_total of /sys/block/zram*/mm_stat
UNACCOUNTED: Final = "unaccounted"


class Part(NamedTuple):
    """One item and its size."""

    key: str
    label: str
    kib: int


class Accounting(NamedTuple):
    """``sum(part.kib for part in parts) == total_kib`` always holds; the last part is the remainder."""

    total_kib: int
    parts: tuple[Part, ...]
    approximate: bool  #: the lines contradicted each other by a little (they are read one after the other)

    def kib(self, *keys: str) -> int:
        """The parts called *keys* together."""
        return sum(part.kib for part in self.parts if part.key in keys)


def account_meminfo(memory: MemInfo, zram_kib: int | None = None) -> Accounting | None:
    """The accounting of the host, *zram_kib* of it zram's; ``None`` = meminfo does not say how much RAM there is."""
    if memory.mem_total_kib is None:
        return None
    found = [Part(item.key, item.label, kib) for item in ITEMS if (kib := item.kib(memory.fields)) is not None]
    if zram_kib is not None:
        found.insert(-1, Part(ZRAM, "compressed swap and disks (zram)", zram_kib))
    done = balance([part.kib for part in found], memory.mem_total_kib)
    parts = [part._replace(kib=kib) for part, kib in zip(found, done.values, strict=True)]
    rest = Part(UNACCOUNTED, "in no line of /proc/meminfo", done.rest)
    return Accounting(done.total, (*parts, rest), done.excess > 0)
