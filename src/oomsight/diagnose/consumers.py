"""
Who held the memory: processes, pools of processes, users, cgroups, and what no process shows.

The victim is whom the kernel killed, the trigger whose request failed; the *culprit* found here is neither by
definition: it is whatever held the biggest part of the memory that ran out.
"""

from __future__ import annotations

from collections import defaultdict
from operator import add, itemgetter
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from oomsight._named import NamedTuple
from oomsight.diagnose.accounting import UNACCOUNTED, account, is_complete
from oomsight.diagnose.model import Accounting, Consumer
from oomsight.diagnose.scope import allowed_nodes, in_memcg, limit_kib, page_kib_of, swap_in_use_kib
from oomsight.diagnose.wording import size
from oomsight.naming.marked import Kind, mark
from oomsight.report.task_rows import TaskRows

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from oomsight.diagnose.model import Item
    from oomsight.report.model import OomReport

_TOP_PROCESSES: Final = 10
_TOP_GROUPS: Final = 5
_TOP_ITEMS: Final = 3
_MIN_ITEM_SHARE: Final = 0.01  #: a non-process item below this share of the total is not worth a row
_MIN_CULPRIT_PCT: Final = 10.0  #: below this share nobody held the memory: many small ones did
_POOL_OVER_PROCESS: Final = 1.5  #: a pool is the culprit when it holds this many times its biggest rival process
_USER_OVER_POOL: Final = 2.0  #: a user is the culprit when all pools are small and this far behind
_SMALL_PCT: Final = 25.0
_FILES_PART: Final = 20

_SHARED_ONCE: Final = "shared memory counted once"
_RSS_SHARED: Final = "rss of this kernel includes shared pages, counted in every process that maps them"
_CAPPED: Final = "processes share pages; cut to what all processes together can hold"

_KILL_LINE: Final = "known from the kill line only: the text has no task table to compare it with"

_NO_FILES: Final = "pages of files that a process maps are not counted: they can be given back"

_Key = TypeVar("_Key")
_Kind = Literal["process", "name", "user", "cgroup", "kernel", "shared"]


def consumers(report: OomReport, accountings: Sequence[Accounting] | None = None) -> list[Consumer]:
    """
    The biggest consumers of *report*: processes, pools of one name, users, cgroups, non-process items; each group
    biggest first. *accountings* saves recomputing :func:`oomsight.diagnose.accounting.account`.

    ``kib`` of a process is anonymous + swapped + shared memory + page tables where the table has those columns
    (6.8+), else rss + swap + page tables. ``share_pct`` is of the limit or managed RAM plus the swap in use, so the
    shares of disjoint consumers never add up to more than 100.
    """
    if accountings is None:
        accountings = account(report)
    scope = _scope(report, accountings)
    limit = limit_kib(report) or (scope.total_kib if scope is not None and scope.scope == "memcg" else None)
    base = limit + swap_in_use_kib(report) if limit else None
    known = {item.key: item.kib for item in scope.items} if scope is not None else {}
    out = _by_process(report, base, _held_by_processes_kib(report, known)) if report.tasks else _killed(report, base)
    out += _by_cgroup(report, base)
    if scope is not None:
        out += _items(report, scope.items, base, complete=is_complete(scope.scope, known))
    return out


def culprit(report: OomReport, accountings: Sequence[Accounting], consumers: Sequence[Consumer]) -> Consumer | None:
    """
    Who really held the memory; ``None`` when nobody held a tenth of it, or nothing is known.

    A pool is named when it clearly outweighs every single process, a user when no pool stands out, the kernel or
    shared memory when it holds more than any of them (without a table: more than all anonymous memory).
    """
    if allowed_nodes(report) is not None and limit_kib(report) is None:
        return None  # what is known is of the whole machine, and what ran out is a part of it
    first: dict[str, Consumer] = {}
    item: Consumer | None = None
    for c in consumers:
        if c.kind in {"kernel", "shared"}:
            item = c if item is None or c.kib > item.kib else item
        else:
            first.setdefault(c.kind, c)
    best = first.get("process")
    if best is not None and not best.is_victim:  # the victim is no less of one (both may even share the memory)
        best = next((c for c in consumers if c.kind == "process" and c.is_victim and c.kib == best.kib), best)
    pool, user, cgroup = first.get("name"), first.get("user"), first.get("cgroup")
    if best and pool and pool.kib >= _POOL_OVER_PROCESS * best.kib:
        best = pool
    if best and best.share_pct is not None and best.share_pct < _SMALL_PCT:
        for wider in (cgroup, user):
            # Half of everything runs as root; that says nothing.
            if wider and wider.name != "0" and wider.kib >= _USER_OVER_POOL * best.kib:
                best = wider
                break
    scope = _scope(report, accountings)
    if best is not None and _rows_missing(report, scope):
        best = None  # the biggest of a few rows says nothing
    rival_kib = best.kib if best else 0
    if scope is not None and not report.tasks:
        rival_kib = max(rival_kib, sum(i.kib for i in scope.items if i.key in {"anon", "lru"}))
    if item and item.kib > rival_kib:
        best = item
    if best is None or (best.share_pct is not None and best.share_pct < _MIN_CULPRIT_PCT):
        return None
    if best.share_pct is None and _victim_outside_kib(report) >= best.kib:
        return None  # the few rows that are left of the table do not even have the victim
    if best.share_pct is None and (best.note or "").startswith(_KILL_LINE):
        return None  # nothing to compare it with
    return best


def _victim_outside_kib(report: OomReport) -> int:
    """What a victim that has no row in the table held, by its kill line; 0 = it has one, or nothing is known."""
    if not report.tasks or not report.victims or not _victim_ids(report):
        return 0
    table, victim = TaskRows.of(report.tasks), report.victims[0]
    if table.find(victim.pid, "pid", "tgid") is not None:
        return 0
    return (victim.anon_rss_kib or 0) + (victim.file_rss_kib or 0) + (victim.shmem_rss_kib or 0)


def _rows_missing(report: OomReport, scope: Accounting | None) -> bool:
    """Whether the table cannot be whole: its rows hold less than half of the private memory there is."""
    if scope is None or report.complete or not report.tasks:
        return False
    anon = next((item.kib for item in scope.items if item.key == "anon"), 0)
    if not anon:
        return False
    held = sum(TaskRows.of(report.tasks).resident_pages())
    return 2 * held * page_kib_of(report) < anon


def _scope(report: OomReport, accountings: Sequence[Accounting]) -> Accounting | None:
    """The accounting of the domain that ran out."""
    wanted = "memcg" if in_memcg(report) else "host"
    nodes = allowed_nodes(report)
    if nodes is not None and len(nodes) == 1:
        name = f"node {min(nodes)}"
        for accounting in accountings:
            if accounting.scope == "node" and accounting.name == name:
                return accounting
    for accounting in accountings:
        if accounting.scope == wanted:
            return accounting
    return None


def _pct(kib: int, base: int | None) -> float | None:
    # A process may map pages that are charged elsewhere, so more than all is possible.
    # Rounded as whole numbers: round() to one decimal is three times as dear.
    return (100.0 if kib >= base else (2000 * kib + base) // (2 * base) / 10) if base else None


def _held_by_processes_kib(report: OomReport, known: Mapping[str, int]) -> int | None:
    """Upper bound in KiB of what processes can hold together, by the *known* items in KiB; ``None`` = not known."""
    if "anon" not in known:
        return None
    held = sum([known.get(key, 0) for key in ("anon", "unevictable", "swapcached", "pagetables", "kernel")])
    return held + mapped_kib(report) + swap_in_use_kib(report)


def mapped_kib(report: OomReport) -> int:
    """File and shared memory pages mapped by at least one process, each counted once, in KiB."""
    if in_memcg(report):
        total = 0
        for entry in report.memcg.stats if report.memcg else ():
            stats = entry.stats
            total += stats.get("file_mapped", stats.get("total_mapped_file", stats.get("mapped_file", 0)))
        return total >> 10
    return report.meminfo.pages.get("mapped", 0) * page_kib_of(report) if report.meminfo else 0


def _victim_ids(report: OomReport) -> set[int]:
    return {i for v in report.victims for i in (v.pid, v.tgid) if i is not None}


def _stem(comm: str) -> str:
    """Name of the pool *comm* belongs to: ``worker-12`` and ``worker-3`` are ``worker-*``, ``python3`` is itself."""
    stem = comm.rstrip("0123456789")
    return f"{stem}*" if stem != comm and len(stem) > 1 and stem[-1] in "-_/:#. " else comm


class _Bounds(NamedTuple):
    """What every group of one report is measured against."""

    base_kib: int | None  #: the memory that ran out plus the swap in use
    held_kib: int | None  #: what all processes together can hold


class _Held(NamedTuple):
    """What every process of the table holds, by row."""

    unit_kib: int  #: what the two columns of memory count
    own: Sequence[int]  #: anonymous memory, swap and page tables
    shared: Sequence[int] | None  #: shared memory; ``None`` = in the memory of its own, as the table has no column
    tgids: Sequence[int]


def _held(table: TaskRows, page_kib: int) -> _Held:
    """What the processes hold: in pages, if page tables are whole pages as they should be."""
    tgids = table.numbers("tgid")
    anon, tables = table.column("rss_anon_pages"), table.column("pgtables_bytes")
    if anon is None:
        pages = table.held_pages(page_kib << 10)
        resident = table.resident_pages()
        if tables is None or sum(tables) == (sum(pages) - sum(resident)) * (page_kib << 10):
            return _Held(page_kib, pages, None, tgids)
    else:
        resident = table.plus(anon, "swapents_pages")
    sizes = table.numbers("pgtables_bytes")
    own = [pages * page_kib + (size >> 10) for pages, size in zip(resident, sizes, strict=True)]
    shared = None if anon is None else [pages * page_kib for pages in table.numbers("rss_shmem_pages")]
    return _Held(1, own, shared, tgids)


def _by_process(report: OomReport, base: int | None, held: int | None) -> list[Consumer]:
    """Consumers of kinds process, name and user. Whole columns at a time: tables have hundreds of rows."""
    page_kib = page_kib_of(report)
    table = TaskRows.of(report.tasks)
    victims = _victim_ids(report)
    everything = _held(table, page_kib)
    tgids, names, shared, unit_kib = everything.tgids, table.names, everything.shared, everything.unit_kib
    leaders_only = table.same("pid", "tgid")
    if not leaders_only:
        for pid, tgid in zip(table.numbers("pid"), tgids, strict=True):
            if pid in victims:
                victims.add(tgid)
    rows: Sequence[int] = range(len(table))
    if table.distinct("pid" if leaders_only else "tgid") != len(table):  # another thread that holds the same mm
        first = {tgid: row for row, tgid in reversed(list(enumerate(tgids)))}
        rows = sorted(first.values())
    bounds = _Bounds(base, held)
    total = everything.own if shared is None else list(map(add, everything.own, shared))
    note = _RSS_SHARED if shared is None else None
    if unit_kib == page_kib and len(rows) == len(table):
        top = _first(table.by_held(page_kib << 10), total, _TOP_PROCESSES)
    else:
        top = sorted(rows, key=total.__getitem__, reverse=True)[:_TOP_PROCESSES]
    files = table.column("rss_file_pages") if shared is not None else None
    out = []
    for row in top:
        kib, tgid = total[row] * unit_kib, tgids[row]
        if kib > 0:
            share = _pct(kib, base)
            if files is not None and tgid in victims:
                note = _NO_FILES if _files_matter(files[row] * page_kib, kib) else None
            out.append(Consumer("process", names[row], kib, share, 1, (tgid,), tgid in victims, note))
            note = _RSS_SHARED if shared is None else None
    killed = [found for victim in victims if (found := table.find(victim, "tgid")) is not None]
    pools = _grouped(names, rows)
    if stem_of := _stems(pools):
        names = [stem_of.get(name, name) for name in names]
        pools = _grouped(names, rows)
    out += _groups("name", pools, {names[row] for row in killed}, everything, bounds)
    uids = table.numbers("uid")
    users = _grouped(uids, rows)
    if len(users) > 1:
        out += _groups("user", users, {uids[row] for row in killed}, everything, bounds)
    return out


def _files_matter(file_kib: int, kib: int) -> bool:
    """Whether a size without *file_kib* looks wrong beside one with them."""
    return _FILES_PART * file_kib > kib


def _first(order: Sequence[int], total: Sequence[int], count: int) -> list[int]:
    """The first *count* rows of *order*, biggest first, in which of rows with equal totals the last comes first."""
    end = count
    while end < len(order) and total[order[end]] == total[order[end - 1]]:
        end += 1
    if len({total[row] for row in order[:end]}) == end:
        return list(order[:end])
    return sorted(sorted(order[:end]), key=total.__getitem__, reverse=True)[:count]


def _stems(names: Collection[str]) -> dict[str, str]:
    """The common name of those of the distinct *names* that differ in the number at their end only."""
    alike: dict[str, list[str]] = {}
    for name in names:
        if name[-1:].isdigit() and (stem := _stem(name)) != name:
            alike.setdefault(stem, []).append(name)
    return {name: stem for stem, some in alike.items() if len(some) > 1 or stem in names for name in some}


def _grouped(keys: Sequence[_Key], rows: Sequence[int]) -> dict[_Key, list[int]]:
    """Those of *rows* that have the same key, together, by key; *keys* has one for each row of the table."""
    used = keys if len(rows) == len(keys) else list(map(keys.__getitem__, rows))
    groups: defaultdict[_Key, list[int]] = defaultdict(list)
    any(map(list.append, map(groups.__getitem__, used), rows))  # all of them: append returns nothing
    return groups


def _groups(
    kind: Literal["name", "user"], groups: Mapping[_Key, list[int]], killed: set[_Key], held: _Held, bounds: _Bounds
) -> list[Consumer]:
    """
    Consumers of *groups* of rows, biggest first; those *killed* had a victim. Shared memory of a group is that of its
    biggest member. One process is no pool of a name.
    """
    own, all_shared = held.own, held.shared
    least = 2 if kind == "name" else 1
    sums = []
    for key, rows in groups.items():
        if len(rows) >= least:
            amount = shared = 0
            for row in rows:  # a loop: to call sum() is dearer than to add up so few
                amount += own[row]
            if all_shared is not None:
                shared = max([all_shared[row] for row in rows])
            sums.append((amount + shared, shared, key, rows))
    sums.sort(key=itemgetter(0), reverse=True)
    out = []
    for amount, shared, key, rows in sums[:_TOP_GROUPS]:
        note = _RSS_SHARED if all_shared is None else None
        kib, tgids = amount * held.unit_kib, held.tgids
        if len(rows) > 1:
            note = note or (_SHARED_ONCE if shared else None)
            if bounds.held_kib is not None and kib > bounds.held_kib:
                kib, note = bounds.held_kib, _CAPPED  # no group holds more
            tgids = itemgetter(*rows)(tgids)
        else:
            tgids = (tgids[rows[0]],)
        if kib > 0:
            share = _pct(kib, bounds.base_kib)
            out.append(Consumer(kind, str(key), kib, share, len(rows), tgids, key in killed, note))
    return out


def _killed(report: OomReport, base: int | None) -> list[Consumer]:
    """The victims as their kill lines tell them, where there is no table."""
    out = []
    for victim in report.victims:
        sizes = (victim.anon_rss_kib, victim.shmem_rss_kib, victim.pgtables_kib)
        kib = sum(size or 0 for size in sizes)
        if kib and victim.comm is not None:
            pids = () if victim.pid is None else (victim.pid,)
            files = _files_matter(victim.file_rss_kib or 0, kib)
            note = f"{_KILL_LINE}; {_NO_FILES}" if files else _KILL_LINE
            out.append(Consumer("process", victim.comm, kib, _pct(kib, base), 1, pids, True, note))
    out.sort(key=lambda c: -c.kib)
    return out[:_TOP_PROCESSES]


def _by_cgroup(report: OomReport, base: int | None) -> list[Consumer]:
    """Cgroups of the subtree, where the kernel prints one line for each (3.9–5.2)."""
    memcg = report.memcg
    if memcg is None or len(memcg.stats) < 2:
        return []
    rows = []
    for entry in memcg.stats:
        stats = entry.stats
        held = stats.get("rss", stats.get("anon", 0)) + stats.get("cache", stats.get("file", 0)) + stats.get("swap", 0)
        if held > 0 and entry.path:
            rows.append((held >> 10, entry.path))
    rows.sort(key=lambda r: -r[0])
    return [
        Consumer("cgroup", path, kib, _pct(kib, base), 1, (), bool(report.victims) and path == report.task_memcg)
        for kib, path in rows[:_TOP_GROUPS]
    ]


# Accounting items no process shows, with the kind of consumer they are. Free memory and what processes own are not.
_ITEM_KINDS: Final[dict[str, _Kind]] = {
    "shmem": "shared", "file": "kernel", "slab": "kernel", "slab_reclaimable": "kernel",
    "slab_unreclaimable": "kernel", "kernel": "kernel", "kernel_misc_reclaimable": "kernel", "kernel_stack": "kernel",
    "pagetables": "kernel", "sec_pagetables": "kernel", "hugepages": "kernel", "hugetlb": "kernel",
    "gpu_active": "kernel", "gpu_reclaim": "kernel", "zspages": "kernel", "sock": "kernel", "bounce": "kernel",
    "writeback_tmp": "kernel", "unaccounted": "kernel",
}  # fmt: skip


_UNMAPPED_CACHE: Final = (
    "page cache of files that no process maps: given back when memory is short, unless it is dirty or in use"
)


def _items(report: OomReport, items: Sequence[Item], base: int | None, *, complete: bool) -> list[Consumer]:
    """The biggest *items* no process shows, by their labels; what is unaccounted if the rest is *complete*."""
    mapped = None
    least = max(1, base * _MIN_ITEM_SHARE) if base else 1
    out = []
    for item in items:
        kind = _ITEM_KINDS.get(item.key) if item.kib > 0 else None
        if kind is None or (item.key == UNACCOUNTED and not complete):
            continue
        kib, note = item.kib, item.note
        if item.key == "shmem":
            mapped = mapped_kib(report)
            if report.tasks:
                kib = max(0, kib - mapped)
                note = "tmpfs and shared memory no process maps; deleting the files or segments frees it"
            else:  # nobody else can be told to hold it
                kib = max(0, kib - max((victim.shmem_rss_kib or 0 for victim in report.victims), default=0))
                note = "tmpfs and shared memory; which processes map it is not in this text"
        elif item.key == "file":
            mapped = mapped_kib(report) if mapped is None else mapped
            kib, note = max(0, kib - mapped), _UNMAPPED_CACHE
        elif item.key == "slab_unreclaimable" and report.meminfo and report.meminfo.slabs:
            note = _slab_note(report.meminfo.slabs, kib)
        if kib >= least:
            out.append(Consumer(kind, item.label, kib, _pct(kib, base), 0, (), False, note))
    out.sort(key=lambda c: -c.kib)
    return out[:_TOP_ITEMS]


def _slab_note(slabs: Sequence[tuple[str, int, int]], kib: int) -> str:
    """Which cache fills the slab, or that none of the list does: kmalloc blocks above two pages are in no cache."""
    name, _used, most = max(slabs, key=itemgetter(2))
    listed = sum(total for _name, _used, total in slabs)
    if 2 * listed < kib:
        rest = "the rest are big kmalloc blocks, which are in no cache"
        return f"the caches listed hold only {size(listed)} of it; {rest}"
    return f"biggest cache: {mark(name, Kind.OWNER)}, {size(most)}"
