"""
Where the memory was: every page of the report put into exactly one item, the rest named.

One table (:data:`ROWS`) says which printed counter feeds which item. Counters that overlap are separated here: shmem
sits on the anonymous LRU, mlocked pages inside ``unevictable``, ``file`` of a cgroup contains its shmem. Whatever no
counter explains is the item ``unaccounted``; counters that add up to more than the total are cut, and said so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from oomsight._lazy import remembered
from oomsight._named import NamedTuple
from oomsight.diagnose.model import Accounting, Item
from oomsight.diagnose.scope import managed_kib, page_kib_of
from oomsight.kernel.balance import balance
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from oomsight.report.model import MemcgStats, MemInfo, NodeMem, OomReport, Zone

UNACCOUNTED: Final = "unaccounted"
"""Key of the item for memory that is in no counter of the report."""


class Row(NamedTuple):
    """One item of a host or node accounting and the printed counters it is the sum of."""

    key: str
    label: str
    pages: tuple[str, ...]  #: names in the global counter block (pages); the best source, covers the whole machine
    node_kib: tuple[str, ...] = ()  #: names on ``Node N active_anon:`` lines (kB, 4.8+)
    zone_kib: tuple[str, ...] = ()  #: names on ``Node N ZONE free:`` lines (kB)
    note: str | None = None


_LRU_ANON: Final = ("active_anon", "inactive_anon", "isolated_anon")
_LRU_FILE: Final = ("active_file", "inactive_file", "isolated_file")
_LRU_ANON_KIB: Final = ("active_anon", "inactive_anon", "isolated(anon)")
_LRU_FILE_KIB: Final = ("active_file", "inactive_file", "isolated(file)")

# mm/page_alloc.c show_free_areas (<= 6.4), mm/show_mem.c (6.6+). Which release prints what where: the first source
# of a row that is present wins, so a counter that moved from zone to node line (5.9, 5.11) needs no version.
ROWS: Final[tuple[Row, ...]] = (
    Row("anon", "anonymous memory of processes", _LRU_ANON, _LRU_ANON_KIB, _LRU_ANON_KIB),
    Row("shmem", "shared memory and tmpfs", ("shmem",), ("shmem",), ("shmem",)),
    Row("file", "page cache of files", _LRU_FILE, _LRU_FILE_KIB, _LRU_FILE_KIB),
    # 2.6.11-2.6.24 know only two lists; the kernel writes the first with a capital letter.
    Row("lru", "anonymous memory and page cache", ("Active", "active", "inactive"), (), ("active", "inactive"),
        "this kernel does not tell anonymous memory and page cache apart"),
    Row("unevictable", "locked or otherwise unevictable memory", ("unevictable",), ("unevictable",), ("unevictable",)),
    Row("slab_reclaimable", "reclaimable kernel objects (slab)", ("slab_reclaimable",), (), ("slab_reclaimable",)),
    Row("slab_unreclaimable", "unreclaimable kernel objects (slab)", ("slab_unreclaimable",), (),
        ("slab_unreclaimable",)),
    Row("slab", "kernel objects (slab)", ("slab",)),
    Row("kernel_misc_reclaimable", "other reclaimable kernel memory", ("kernel_misc_reclaimable",)),
    Row("pagetables", "page tables", ("pagetables",), ("pagetables",), ("pagetables",)),
    Row("sec_pagetables", "page tables of virtual machines and IOMMUs", ("sec_pagetables",), ("sec_pagetables",)),
    Row("kernel_stack", "kernel stacks of threads", (), ("kernel_stack",), ("kernel_stack",)),
    Row("shadow_call_stack", "shadow call stacks of threads", (), ("shadow_call_stack",), ("shadow_call_stack",)),
    Row("bounce", "bounce buffers", ("bounce",), (), ("bounce",)),
    Row("writeback_tmp", "FUSE writeback buffers", (), ("writeback_tmp",), ("writeback_tmp",)),
    Row("gpu_active", "memory of GPU drivers", (), ("gpu_active",)),
    Row("gpu_reclaim", "pages that GPU drivers keep for later", (), ("gpu_reclaim",)),
    Row("zspages", "compressed swap (zsmalloc)", (), (), ("zspages",)),
    Row("hugepages", "huge pages pool (hugetlb)", ()),
    Row("free_pcp", "free, in per-CPU lists", ("free_pcp",), (), ("free_pcp",)),
    Row("free", "free", ("free",), (), ("free",)),
)

# memory.stat names whose sum is ``kernel`` (mm/memcontrol.c 5.18+; older releases print the addends only).
# sock is charged to the cgroup but is not kmem; zswap is charged as kmem.
_KERNEL_PARTS: Final = (
    ("kernel_stack", "kernel stacks"), ("pagetables", "page tables"), ("sec_pagetables", "secondary page tables"),
    ("percpu", "per-CPU allocations"), ("vmalloc", "vmalloc"), ("slab", "kernel objects (slab)"),
    ("zswap", "compressed swap (zswap)"),
)  # fmt: skip


def is_complete(scope: str, keys: Container[str]) -> bool:
    """
    Whether the counters that matter are all there, so that ``unaccounted`` means what it says. In an excerpt it also
    holds whatever was cut away. *scope* is that of the accounting, *keys* are those of its items.
    """
    if scope == "memcg":
        return "anon" in keys
    return "free" in keys and ("anon" in keys or "lru" in keys) and ("slab_unreclaimable" in keys or "slab" in keys)


def account(report: OomReport) -> list[Accounting]:
    """
    Accountings of *report*: the host, each NUMA node that is not the whole host, the cgroup whose limit was hit.

    A scope is left out when the text has no counter of it. ``sum(item.kib) == total_kib`` holds for each; ``parts``
    refine an item and are never added.
    """
    found = []
    info = report.meminfo
    if info is not None:
        page_kib = page_kib_of(report)
        assumed = "" if report.page_size else "; page size not known, 4 KiB assumed"
        host = _host(info, page_kib, assumed)
        if host is not None:
            found.append(host)
        found += _nodes(info, page_kib, host)
    cgroup = _cgroup(report)
    if cgroup is not None:
        found.append(cgroup)
    return found


def _host(info: MemInfo, page_kib: int, assumed: str) -> Accounting | None:
    total = managed_kib(info, page_kib)
    values = _values(info.pages, page_kib, [n.kib for n in info.nodes], [z.kib for z in info.zones])
    if not values:
        return None
    pool = sum(h.total * h.size_kib for h in info.hugepages)
    if pool > 0:
        values["hugepages"] = pool
    items, disjoint = _items(values)
    _refine_host(items, info, page_kib)
    if total is None:
        done = _closed("host", "host", None, "sum of the printed counters" + assumed, items)
    else:
        done = _closed("host", "host", total[0], total[1] + assumed, items)
    done.approximate |= not disjoint
    done.swap_total_kib = info.total_swap_kib
    done.swap_free_kib = None if info.free_swap_kib is None else max(0, info.free_swap_kib)
    if not is_complete("host", values):
        done.items[-1].note = "counters are missing in this text; what they counted is in here"
    elif "free_pcp" in values and "zspages" not in values and (info.total_swap_kib or 0) > (info.free_swap_kib or 0):
        done.items[-1].note = "if the swap is zram, its compressed pages are in here: this kernel does not count them"
    return done


def _nodes(info: MemInfo, page_kib: int, host: Accounting | None) -> list[Accounting]:
    """Accountings of the listed nodes; none where one node is the whole machine."""
    zones: dict[int, list[Zone]] = {}
    for zone in info.zones:
        if zone.node is not None:
            zones.setdefault(zone.node, []).append(zone)
    lines = {n.node: n.kib for n in info.nodes}
    numbers = sorted(zones.keys() | lines.keys())
    ram_kib = info.counts.get("ram", 0) * page_kib
    found = []
    for node in numbers:
        own = zones.get(node, [])
        managed, present = _total("managed", own), _total("present", own)
        node_kib = lines.get(node)
        if len(numbers) == 1 and (
            not own or (host and managed == host.total_kib) or present == ram_kib or _is_whole(node_kib, info, page_kib)
        ):
            return []
        values = _values({}, page_kib, [node_kib] if node_kib else [], [z.kib for z in own])
        pool = sum(h.total * h.size_kib for h in info.hugepages if h.node == node)
        if pool > 0:
            values["hugepages"] = pool
        if not values:
            continue
        items, disjoint = _items(values)
        basis = "managed memory of the node's zones listed" if managed else "present memory of the node's zones listed"
        done = _closed("node", f"node {node}", max(managed or present, 0) or None, basis, items)
        done.approximate |= not disjoint
        if "slab_unreclaimable" not in values:
            done.items[-1].note = "slab is not printed per node by this kernel and is in here"
        found.append(done)
    return found


def _is_whole(node_kib: Mapping[str, int] | None, info: MemInfo, page_kib: int) -> bool:
    """Whether the one node line covers the whole machine: its lists are the global ones (a few pages apart)."""
    if node_kib is None:
        return False
    names = ("active_anon", "inactive_anon", "active_file", "inactive_file", "unevictable")
    everywhere = sum(info.pages.get(n, 0) for n in names) * page_kib
    return abs(everywhere - sum(node_kib.get(n, 0) for n in names)) <= everywhere >> 6


def _values(
    pages: Mapping[str, int], page_kib: int, nodes: list[dict[str, int]], zones: list[dict[str, int]]
) -> dict[str, int]:
    """KiB by row key, from the best source present; keys of :data:`ROWS` in their order."""
    out = {}
    for key, names, node_kib, zone_kib in _sources(tuple(pages)):
        value: int | None
        if names:
            value = 0
            for name in names:
                value += pages[name]
            value *= page_kib
        else:
            value = _summed(node_kib, nodes)
            if value is None:
                value = _summed(zone_kib, zones)
        if value is not None:
            out[key] = value if value > 0 else 0
    return out


@remembered(64)  # the reports of one kernel have the same counters
def _sources(pages: tuple[str, ...]) -> list[tuple[str, list[str], tuple[str, ...], tuple[str, ...]]]:
    """What feeds each row: the names among *pages*, and where there are none, its names on node and on zone lines."""
    return [(row.key, [name for name in pages if name in row.pages], row.node_kib, row.zone_kib) for row in ROWS]


def _summed(names: tuple[str, ...], tables: list[dict[str, int]]) -> int | None:
    """Sum of the counters *names* over *tables*; ``None`` where none of them is printed."""
    total = None
    for name in names:
        for table in tables:
            if name in table:
                total = (total or 0) + table[name]
    return total


_BY_KEY: Final = {row.key: row for row in ROWS}


def _items(values: dict[str, int]) -> tuple[list[Item], bool]:
    """Items of *values* with shmem taken out of the lists it is on; False when it does not fit into them."""
    shmem = left = values.get("shmem", 0)
    hosts = [key for key in ("anon", "unevictable", "lru") if key in values]
    for host in hosts:
        taken = min(left, values[host])
        values[host] -= taken
        left -= taken
    # 4.8–4.10 print shmem_thp in the place of shmem on node lines; it is too small then, never too big.
    misfit = bool(left and hosts)
    if misfit:
        values["shmem"] = shmem - left
    items = []
    for key, kib in values.items():
        row = _BY_KEY[key]
        items.append(Item(key, row.label, kib, [], row.note))
    return items, not misfit


def _refine_host(items: list[Item], info: MemInfo, page_kib: int) -> None:
    """Add the parts of host items: what a reader asks next about anonymous, file, locked, free and huge memory."""
    pages, zones = info.pages, info.zones
    for item in items:
        key = item.key
        if key == "anon":
            _part(item, "swapcache", "also in swap (swap cache)", info.counts.get("swapcache", 0) * page_kib)
            _part(item, "anon_thp", "in transparent huge pages", _total("anon_thp", info.nodes))
        elif key == "file":
            _part(item, "dirty", "waiting to be written", pages.get("dirty", 0) * page_kib)
            _part(item, "writeback", "being written", pages.get("writeback", 0) * page_kib)
            _part(item, "unstable", "written to NFS, not committed", pages.get("unstable", 0) * page_kib)
        elif key == "unevictable":
            _part(item, "mlocked", "mlocked", _total("mlocked", zones))
        elif key == "hugepages":
            _part(item, "hugepages_free", "reserved but unused", sum(h.free * h.size_kib for h in info.hugepages))
            _part(item, "hugepages_surp", "surplus", sum(h.surp * h.size_kib for h in info.hugepages))
        elif key == "free":
            reserve = sum([min(zone.kib.get("free", 0), zone.kib.get("min", 0)) for zone in zones])
            _part(item, "free_reserve", "kept back below the min watermark", reserve)
            _part(item, "free_cma", "in CMA areas, for movable pages only", pages.get("free_cma", 0) * page_kib)
            _part(item, "highatomic", "reserved for atomic requests", _total("reserved_highatomic", zones))
        elif key == "slab_unreclaimable":
            for name, _used, kib in sorted(info.slabs, key=lambda s: -s[2])[:5] if info.slabs else ():
                _part(item, f"slab:{name}", f"cache {mark(name, Kind.OWNER)}", kib)


def _total(name: str, lines: Sequence[Zone] | Sequence[NodeMem]) -> int:
    """Sum of one counter in KiB over *lines*."""
    total = 0
    for line in lines:
        total += line.kib.get(name, 0)
    return total


def _cgroup(report: OomReport) -> Accounting | None:
    memcg = report.memcg
    if memcg is None:
        return None
    usage = max(0, memcg.memory.usage_kib) if memcg.memory else None
    kmem = max(0, memcg.kmem.usage_kib) if memcg.kmem else None
    merged, many = _subtree(memcg.stats)
    items = _cgroup_items(merged, kmem)
    if usage is None and not items:
        return None
    path = report.oom_memcg or (memcg.stats[0].path if memcg.stats else None)
    basis = "sum of the printed statistics" if usage is None else "memory usage of the cgroup"
    if many:
        basis += f"; statistics summed over {len(memcg.stats)} cgroups"
    done = _closed("memcg", mark(path, Kind.CGROUP) if path else "the cgroup", usage, basis, items)
    rest = done.items[-1]
    if not merged:
        rest.note = "the report has no statistics of this cgroup"
    elif rest.kib and memcg.stats_cut:
        rest.note = "the statistics are cut short"
    elif rest.kib:
        rest.note = "charged in advance to CPUs, or kernel memory this kernel does not list"
    swap, memsw = memcg.swap, memcg.memsw
    if swap is not None and isinstance(swap.limit_kib, int):
        done.swap_total_kib, done.swap_free_kib = swap.limit_kib, max(0, swap.limit_kib - swap.usage_kib)
    elif memcg.memory and memsw and isinstance(memsw.limit_kib, int) and isinstance(memcg.memory.limit_kib, int):
        # v1 limits memory and swap together; what the memory limit leaves of it is room for swap.
        done.swap_total_kib = max(0, memsw.limit_kib - memcg.memory.limit_kib)
        done.swap_free_kib = min(done.swap_total_kib, max(0, memsw.limit_kib - memsw.usage_kib))
    return done


def _subtree(stats: list[MemcgStats]) -> tuple[dict[str, int], bool]:
    """Statistics in bytes for the whole subtree: one hierarchical listing (5.3+), or the sum of one line a cgroup."""
    if len(stats) == 1:
        return stats[0].stats, False
    merged: dict[str, int] = {}
    for entry in stats:
        for name, value in entry.stats.items():
            merged[name] = merged.get(name, 0) + value
    return merged, bool(stats)


def _cgroup_items(stats: Mapping[str, int], kmem_kib: int | None) -> list[Item]:
    """Items of a cgroup from v2 names, or from v1 names (``total_*`` where the listing has hierarchical sums)."""

    def kib(*names: str) -> int | None:
        for name in names:
            value = stats.get(name)
            if value is not None:
                return max(0, value) >> 10
        return None

    items: list[Item] = []
    anon, cache = kib("anon", "total_rss", "rss"), kib("file", "total_cache", "cache")
    lists = [kib(f"total_{n}", n) for n in ("active_anon", "inactive_anon")]
    lru = None if None in lists else sum(n for n in lists if n is not None)
    swapcached = kib("swapcached", "total_swapcached")
    shmem, note = kib("shmem", "total_shmem"), None
    if shmem is None and cache is not None and anon is not None and lru is not None:
        # Before 4.12 nothing says shmem, but it is on the anonymous lists without being rss.
        shmem, note = min(cache, max(0, lru - anon)), "derived: anonymous lists minus rss"
    if anon is not None:
        items.append(Item("anon", "anonymous memory of processes", anon))
        _part(items[-1], "anon_thp", "in transparent huge pages", kib("anon_thp", "total_rss_huge", "rss_huge"))
    if shmem is not None:
        items.append(Item("shmem", "shared memory and tmpfs", shmem, [], note))
    if cache is not None:
        items.append(Item("file", "page cache of files", max(0, cache - (shmem or 0))))
        _part(items[-1], "dirty", "waiting to be written", kib("file_dirty", "total_dirty", "dirty"))
        _part(items[-1], "writeback", "being written", kib("file_writeback", "total_writeback", "writeback"))
    if swapcached and lru is not None:
        # ``anon`` counts mapped pages only; a page just being swapped is charged and on the lists, but unmapped.
        unmapped = min(swapcached, max(0, lru - (anon or 0) - (shmem or 0)))
        if unmapped:
            items.append(Item("swapcached", "on its way to or from swap (swap cache)", unmapped))
    parts = [Item(key, label, value) for key, label in _KERNEL_PARTS if (value := kib(key))]
    kernel = kib("kernel")
    if kernel is None:
        kernel = kmem_kib if kmem_kib is not None else (sum(p.kib for p in parts) if parts else None)
    if kernel is not None:
        items.append(Item("kernel", "kernel memory charged to the cgroup", kernel, parts))
    for key, label in (("sock", "network buffers"), ("hugetlb", "huge pages")):
        if value := kib(key):
            items.append(Item(key, label, value))
    return items


def _part(item: Item, key: str, label: str, kib: int | None) -> None:
    """Say that *kib* of *item* is of a kind; nothing where it is none or not known."""
    if kib and kib > 0:
        item.parts.append(Item(key, label, min(kib, item.kib)))


def _closed(
    scope: Literal["host", "node", "memcg"], name: str, total_kib: int | None, basis: str, items: list[Item]
) -> Accounting:
    """
    An accounting whose items add up: the remainder becomes ``unaccounted``; a small excess (counters are per CPU and
    lag) is cut from the biggest items; with a big one the total itself is not believed and the sum takes its place.
    The remainder is always the last item.
    """
    done = balance([item.kib for item in items], total_kib)
    if not done.believed:
        basis = f"sum of the printed counters ({basis} gives {total_kib} KiB, which they exceed)"
    for item, kib in zip(items, done.values, strict=True) if done.excess else ():
        if kib != item.kib:
            item.note = f"printed as {item.kib} KiB; {item.kib - kib} KiB more than fits into the total"
            item.kib = kib
            for part in item.parts:
                part.kib = min(part.kib, kib)
    items.append(Item(UNACCOUNTED, "not accounted for in this report", done.rest))
    return Accounting(scope, name, done.total, items, basis, done.excess > 0)
