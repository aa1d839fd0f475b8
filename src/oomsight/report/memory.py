"""
Memory blocks of a report: ``Mem-Info:`` (zones, nodes, counters) and the memory cgroup block.

Units as printed: global counters, ``pages …`` lines and lowmem_reserve in pages; node, zone and cgroup usage lines in
KiB; statistics of >= 5.3 in bytes, of older kernels in KiB (converted to bytes here). Open-ended: names that no table
knows are kept, as every release adds some.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from oomsight._lazy import lazy, remembered
from oomsight.report.model import UNLIMITED, HugePages, LimitKib, Memcg, MemcgLine, MemcgStats, MemInfo, NodeMem, Zone
from oomsight.report.numbers import by_name, integers
from oomsight.report.unwrap import unescape_name

_A = re.ASCII  # digits and letters of all scripts are several times slower, and no kernel prints them
Numbered = tuple[int, str]
_BLOCK = ("counters", "node", "zone", "buddy", "pages", "swap", "hugepages", "slab", "meminfo")

# Names are bounded and begin at a letter: megabytes without a blank must not take quadratic time.
_PAGES = lazy(r"\b([A-Za-z]\w{0,40}):(\d{1,18})(?=[ \t]|$)", _A)
_KIB = lazy(r"\b([a-zA-Z][a-z_A-Z]{0,40}(?:\([a-z]{1,8}\))?):[ ]?(\d{1,18})[kK]B", _A)
_COUNTER_NAME = lazy(r"([A-Za-z][A-Za-z_]{0,40}):", _A)
_KIB_NAME = lazy(r"([a-zA-Z][a-z_A-Z]{0,40}(?:\([a-z]{1,8}\))?):", _A)
_NUMBER = lazy(r"(?<!\d)\d{1,18}(?!\d)", _A)
_MAX_DIGITS = 18
_TOO_MUCH = 10**_MAX_DIGITS
_PLAIN = lazy(r"(pages_scanned):(\d{1,18})(?!\d)", _A)
_MAX_BUDDY = 1024  # characters of a line that is read as a whole: the kernel's are a fifth of it
_BLOCKS = bytes(byte if byte in b"0123456789" else ord("," if byte in b"*k" else " ") for byte in range(256))
# What stands between two blocks: whose they are, by the letters of mm/show_mem.c show_migration_types(), in its order.
_LETTERS = {" ": "", **{
    f" ({letters}) ": letters for n in range(1, 64)
    if (letters := "".join(letter for i, letter in enumerate("UMEHCI") if n >> i & 1))
}}
_BUDDY = lazy(r"(\d{1,18})\*(\d{1,18})kB(?: \(([A-Z]*)\))?", _A)
_HUGE = lazy(
    r"(?:Node (\d{1,6}) )?hugepages_total=(\d{1,18}) hugepages_free=(\d{1,18}) hugepages_surp=(\d{1,18})"
    r" hugepages_size=(\d{1,18})kB",
    _A,
)
_SWAP = lazy(r"(Free|Total) swap[ \t]*[=:][ \t]*(-?\d{1,18})[ \t]*kB", _A)
_EQUALS = lazy(r"= (\d{1,18})kB", _A)
_STATS_OLD = lazy(r"Memory cgroup stats(?: for (?P<path>.*?))?:(?P<rest>(?:[ \t]*\w+:\d+KB)*[ \t]*)$", _A)
_STATS_ANY = lazy(r"Memory cgroup stats(?: for (?P<path>\S*?))?:(?P<rest>.*)$", _A)
_PROTECTION = lazy(r"Memory cgroup min protection (\d{1,18})kB -- low protection (\d{1,18})kB", _A)
_NODE_ZONE = lazy(r"(?:Node (\d{1,6}) )?(\w+)(?: free:|: )", _A)
_USAGE = lazy(
    r"(memory\+swap|memory|kmem|swap): usage (\d{1,18})kB, limit (\d{1,18})kB(?:, failcnt (\d{1,18})(?!\d))?", _A
)
_OLD_STATS = lazy(r"\b([a-z]\w{0,40}):(\d{1,18})KB", _A)
_SLAB = lazy(r"(\S+)[ \t]+(\d{1,18})KB[ \t]+(\d{1,18})KB", _A)
_ALLOC = lazy(r"(\d{1,18}(?:\.\d{1,3})?) ?([KMGTk]?)(i?B?)[ \t]+(\d{1,18})[ \t]+(\S+:\d+ .*)", _A)
_POWERS = {"": 1, "K": 1 << 10, "k": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

# Words of the "<n> pages …" lines (lib/show_mem.c, mm/show_mem.c; arch code before 2.6.32) and our key for each.
PAGE_COUNTS: tuple[tuple[str, str], ...] = (
    ("total pagecache pages", "pagecache"), ("pages in swap cache", "swapcache"), ("pages swap cached", "swapcache"),
    ("pages RAM", "ram"), ("pages of RAM", "ram"), ("pages HighMem/MovableOnly", "highmem"),
    ("pages HighMem", "highmem"),
    ("pages of HIGHMEM", "highmem"), ("pages reserved", "reserved"), ("reserved pages", "reserved"),
    ("pages cma reserved", "cma_reserved"), ("pages hwpoisoned", "hwpoisoned"), ("pages non-shared", "non_shared"),
    ("pages shared", "shared"), ("pages in pagetable cache", "pagetable_cache"), ("pages dirty", "dirty"),
    ("pages writeback", "writeback"), ("pages mapped", "mapped"), ("pages slab", "slab"),
    ("pages pagetables", "pagetables"),
)
_COUNT_KEYS = dict(PAGE_COUNTS)

# "No limit" as printed: PAGE_COUNTER_MAX in KiB for any page size, RES_COUNTER_MAX in KiB (<= 3.18).
_UNLIMITED_FROM_KIB = 9_007_199_254_700_000


def limit_kib(value: int) -> LimitKib:
    """A printed limit, or :data:`UNLIMITED` for the kernel's "no limit" numbers."""
    return UNLIMITED if value >= _UNLIMITED_FROM_KIB else value


def parse_meminfo(parts: dict[str, list[Numbered]]) -> MemInfo | None:
    """Build the block from its lines by shape; ``None`` when there are none. First occurrence of a counter wins."""
    if not any(parts.get(k) for k in _BLOCK):
        return None
    info = MemInfo()
    info.pages = _counters(" ".join([text for _no, text in parts.get("counters", ())]))
    if "Active_anon" in info.pages:  # 2.6.28 to 2.6.31 began the line with a capital
        info.pages = {"active_anon": info.pages.pop("Active_anon"), **info.pages}
    for no, text in parts.get("node", ()):
        node = int(text[5 : text.index(" ", 5)])
        info.nodes.append(NodeMem(node, _kib_fields(text), _unreclaimable(text), no))
    zones: dict[tuple[int | None, str], Zone] = {}
    pending = sorted(
        [(no, "zone", t) for no, t in parts.get("zone", ())]
        + [(no, "reserve", t) for no, t in parts.get("reserve", ())]
    )
    last: Zone | None = None
    for no, kind, text in pending:
        if kind == "zone":
            m = _NODE_ZONE.match(text)
            if m is None:
                continue
            last = Zone(int(m[1]) if m[1] else None, m[2], _kib_fields(text), line=no)
            if "pages_scanned" in text:
                scanned = _PLAIN.search(text)
                last.pages_scanned = int(scanned[2]) if scanned else None
            last.all_unreclaimable = _unreclaimable(text)
            zones.setdefault((last.node, last.name), last)
        elif last is not None and last.lowmem_reserve_pages is None:
            last.lowmem_reserve_pages = _numbers(text)
    for no, text in parts.get("buddy", ()):
        m = _NODE_ZONE.match(text)
        if m is None:
            continue
        key = (int(m[1]) if m[1] else None, m[2])
        zone = zones.get(key)
        if zone is None:
            zone = zones[key] = Zone(key[0], key[1], {}, line=no)
        if zone.buddy is None:
            zone.buddy, zone.buddy_total_kib = _blocks(text)
    info.zones = list(zones.values())
    for no, text in parts.get("hugepages", ()):
        m = _HUGE.match(text)
        if m:
            on = int(m[1]) if m[1] else None
            info.hugepages.append(HugePages(on, int(m[2]), int(m[3]), int(m[4]), int(m[5]), no))
    for _no, text in parts.get("pages", ()):
        number, _, words = text.partition(" ")
        key_name = _COUNT_KEYS.get(words.strip())
        if key_name:
            info.counts.setdefault(key_name, int(number))
    glued = [(no, text[at:]) for no, text in parts.get("swapcache", ()) if (at := text.find("Free swap")) > 0]
    for _no, text in [*parts.get("swap", ()), *glued]:
        m = _SWAP.match(text)
        if m and m[1] == "Free" and info.free_swap_kib is None:
            info.free_swap_kib = int(m[2])
        elif m and m[1] == "Total" and info.total_swap_kib is None:
            info.total_swap_kib = int(m[2])
    for _no, text in parts.get("slab", ()):
        m = _SLAB.match(text)
        if m:
            info.slabs.append((m[1], int(m[2]), int(m[3])))
    for _no, text in parts.get("allocs", ()):
        m = _ALLOC.match(text)
        if m:
            info.alloc_sites.append((round(float(m[1]) * _POWERS[m[2]]), int(m[4]), m[5]))
    used = [no for key in ("meminfo", "counters", "node", "zone", "pages", "swap") for no, _ in parts.get(key, ())]
    if used:
        info.first_line, info.last_line = min(used), max(used)
    return info


def _blocks(text: str) -> tuple[tuple[tuple[int, int, str], ...], int | None]:
    """
    Free blocks of a buddy line and their sum in KiB. As the kernel prints it, the line without its digits is the same
    word between the letters of each block, and with commas for stars and the k of each unit it is an array.
    """
    rest = text[text.index(": ") + 1 :]
    if rest.isascii() and len(rest) <= _MAX_BUDDY:
        raw = rest.encode()
        form, total_mark, behind = raw.translate(None, b"0123456789").decode().partition("= kB")
        first, *between = form.split("*kB")
        try:
            letters = [_LETTERS[piece] for piece in between]
            numbers = integers(f"[{raw.translate(_BLOCKS).decode().rstrip(' ,')}]")
        except (KeyError, ValueError, StopIteration):
            letters, numbers = [], []
        as_printed = first == " " and total_mark and not behind and len(numbers) == 2 * len(letters) + 1
        if as_printed and max(numbers) < _TOO_MUCH:
            return tuple(zip(numbers[:-1:2], numbers[1::2], letters, strict=True)), numbers[-1]
    total = _EQUALS.search(text)
    found = _BUDDY.findall(text)
    return tuple((int(n), int(size), of) for n, size, of in found), int(total[1]) if total else None


@remembered(64)
def _counter_names(form: bytes) -> tuple[str, ...]:
    """The names of a text of counters without its numbers, if it is one as the kernel prints it."""
    names = tuple(_COUNTER_NAME.findall(form.decode()))
    return names if len({*names}) == len(names) and form == f"{': '.join(names)}:".encode() else ()


def _counters(text: str) -> dict[str, int]:
    """The counters in *text*, the first of a name."""
    found = by_name(text, _counter_names)
    if found and max(found.values()) < _TOO_MUCH:
        return found
    found = {}
    for name, value in _PAGES.findall(text):
        found.setdefault(name, int(value))
    return found


@remembered(64)
def _kib_names(form: bytes) -> tuple[str, ...]:
    """The names of pairs in kB without their numbers, if they are printed as the kernel does."""
    names = tuple(_KIB_NAME.findall(form.decode()))
    bare = form.replace(b"KB", b"kB").decode()
    return names if bare == f"{':kB '.join(names)}:kB" else ()


def _kib_fields(text: str) -> dict[str, int]:
    # As the kernel prints it: pairs of a name and a number of kB, up to the end. Anything else is read one by one.
    members, _, rest = text[text.rfind(" ", 0, text.find(":")) + 1 :].partition(" all_unreclaimable?")
    if ":" not in rest:
        found = by_name(members, _kib_names)
        if found and max(found.values()) < _TOO_MUCH:
            return found
    return {name: int(value) for name, value in _KIB.findall(text)}


def _numbers(text: str) -> tuple[int, ...]:
    """The numbers behind the colon of a ``lowmem_reserve[]:`` line."""
    words = text.partition(":")[2].split()
    joined = "".join(words)
    if joined.isdigit() and joined.isascii() and (len(joined) <= _MAX_DIGITS or max(map(len, words)) <= _MAX_DIGITS):
        return tuple(map(int, words))
    return tuple(map(int, _NUMBER.findall(text)))


def _unreclaimable(text: str) -> bool | None:
    at = text.find("all_unreclaimable? ")
    return None if at < 0 else text.startswith("yes", at + 19)


def parse_memcg(parts: dict[str, list[Numbered]], stat_owner: Sequence[Numbered]) -> Memcg | None:
    """
    Build the memory cgroup block. *stat_owner* are the ``name value`` lines that followed ``Memory cgroup stats``.
    """
    usage, stats, protection = parts.get("usage", ()), parts.get("memcg_stats", ()), parts.get("protection", ())
    if not usage and not stats:
        return None
    memcg = Memcg()
    for _no, text in usage:
        for name, used, limit, failcnt in _USAGE.findall(text):
            line = MemcgLine(int(used), limit_kib(int(limit)), int(failcnt) if failcnt else None)
            field = {"memory": "memory", "memory+swap": "memsw", "kmem": "kmem", "swap": "swap"}[name]
            if getattr(memcg, field) is None:
                setattr(memcg, field, line)
    for no, text in stats:
        m = _STATS_OLD.match(text) or _STATS_ANY.match(text)
        if m is None:
            continue
        path = unescape_name(m["path"]) if m["path"] else None
        memcg.stats.append(MemcgStats(path, {n: int(v) * 1024 for n, v in _OLD_STATS.findall(m["rest"])}, no))
    if stat_owner:
        values: dict[str, int] = {}
        for _no, text in stat_owner:
            name, _, value = text.partition(" ")
            values[name] = int(value)
        if memcg.stats:
            memcg.stats[-1].stats.update(values)
        else:
            memcg.stats.append(MemcgStats(None, values, stat_owner[0][0]))
        # pgfault stands in the middle of every complete list; the 1 KiB record limit of 5.3-6.4 cuts before it.
        memcg.stats_cut = "pgfault" not in values and len(values) > 5
    for _no, text in protection:
        m = _PROTECTION.match(text)
        if m:
            memcg.min_protection_kib, memcg.low_protection_kib = int(m[1]), int(m[2])
    used_lines = [no for no, _ in (*usage, *stats, *stat_owner)]
    memcg.first_line, memcg.last_line = min(used_lines), max(used_lines)
    return memcg
