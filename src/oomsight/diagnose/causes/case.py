"""
One report digested for the cause rules: every number a rule reads, in KiB, computed once.

The rules are many and small; each reading the report itself would walk the task table thirty times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from oomsight._record import dataclass, field
from oomsight.diagnose.accounting import is_complete
from oomsight.diagnose.advice import cap_kib
from oomsight.diagnose.model import Accounting, Consumer, Evidence, Selection, ZoneCheck
from oomsight.diagnose.scope import allowed_nodes, limit_kib, managed_kib, swap_in_use_kib
from oomsight.diagnose.wording import percent, share, size
from oomsight.kernel.release import Release, parse_release
from oomsight.report.model import EventKind, LimitKib, OomReport, Task, Victim
from oomsight.report.task_rows import TaskRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.naming.cgroup_path import Owner

DEFAULT_PAGE_KIB = 4
"""Page size assumed where the report shows none: 4 KiB on x86-64 and on most arm64 kernels."""

FREE_ENOUGH = 0.3
"""A machine with this share of its RAM free was not out of memory, whatever the kernel could not serve."""
LIMIT_SLACK_KIB = 1024
"""Usage this far below the limit is still "at the limit": charges are taken in batches per CPU (64 pages each), so
the request that failed may have been for a batch. Further below, another limit stopped it (v1 memory+swap)."""
SWAP_WORTH = 64
"""A process's swap is told apart when it is more than this part of what it held."""
V2_MOUNTED_SINCE = (5, 9)
"""Kernels of distributions that mount cgroup v2 unless told otherwise are newer: Debian 11 (5.10), Ubuntu 21.10
(5.13), RHEL 9 (5.14); those of RHEL 8 (4.18) and Ubuntu 20.04 (5.4) are older."""
ELSEWHERE_KIB = 4096
"""Private memory this far beyond the cgroup's usage is not charged to it; less is the error of per-CPU counters."""

MEMCG_CONSTRAINT = "CONSTRAINT_MEMCG"
ORDERLESS = (None, 0, -1)  #: orders that ask for no contiguous block (-1 is SysRq)
_NOT_KERNEL_OOM = (EventKind.USERSPACE_KILLER, EventKind.ALLOCATION_FAILURE)


@dataclass(slots=True)
class Case:
    """The facts of one report. Sizes are KiB; ``None`` = the text does not say."""

    report: OomReport
    accountings: Sequence[Accounting] = ()
    consumers: Sequence[Consumer] = ()
    culprit: Consumer | None = None
    selection: Selection | None = None
    zone_checks: Sequence[ZoneCheck] = ()
    owner: Owner | None = None  #: of the victim's cgroup
    oom_owner: Owner | None = None  #: of the cgroup whose limit was hit
    owner_name: str | None = None  #: who the victim's cgroup belongs to, and what that runs in; ``None`` = not known
    oom_name: str | None = None  #: the same of the cgroup whose limit was hit
    around: Owner | None = None  #: the container or machine that *oom_owner* is inside of

    in_memcg: bool = False  #: a cgroup's limit was hit, not the machine's memory
    is_oom: bool = True  #: a kernel OOM event (not a userspace killer, not a failed allocation)
    manual: bool = False  #: SysRq-f
    page_kib: int = DEFAULT_PAGE_KIB
    items: dict[str, int] = field(default_factory=dict)  #: items and parts of the accounting that matters, by key
    counted: bool = True  #: the counters that matter are all in the text: ``unaccounted`` is memory, not missing lines
    approximate: bool = False  #: that accounting had to be clamped
    managed_kib: int | None = None  #: RAM the kernel manages
    limit_kib: LimitKib = None
    usage_kib: int | None = None
    base_kib: int | None = None  #: what shares are shares of: cgroup limit (or usage), or managed RAM
    anon_kib: int | None = None
    file_kib: int | None = None  #: page cache on the file lists: what reclaim could still take
    shmem_kib: int | None = None
    free_kib: int | None = None
    swap_used_kib: int = 0  #: in use by the cgroup or the machine; 0 also when not printed
    swap_total_kib: int | None = None
    swap_free_kib: int | None = None
    swap_leaving_kib: int = 0  #: still to come back into RAM from swap that is being turned off
    victim: Victim | None = None
    victim_kib: int | None = None  #: resident memory and swap of the victim
    victim_swap_kib: int = 0  #: what of it was in swap; 0 also when not printed
    victim_held: str | None = None  #: the same in words, its swap apart
    culprit_held: str | None = None  #: what the culprit held, in words
    where: str | None = None  #: where the machine ran out of memory, in words, once the narrative has said it
    elsewhere_kib: int = 0  #: private memory of the victim that the cgroup is certainly not charged for
    victim_row: Task | None = None
    biggest: Task | None = None  #: row with most resident memory and swap
    biggest_kib: int = 0
    mapped_shmem_kib: int | None = None  #: sum of the rows' shared pages: an upper bound, sharers count twice
    adj_rows: int = 0  #: rows with an oom_score_adj other than 0 and -1000
    main_codes: list[str] = field(default_factory=list)  #: causes that explain most by themselves, set by find_causes
    pool: Consumer | None = None  #: biggest group of several processes with one name

    def line(self, *landmarks: str) -> int | None:
        """Return the source line of the first of *landmarks* the report has."""
        lines = self.report.lines
        for name in landmarks:
            if name in lines:
                return lines[name]
        return None

    def at(self, text: str, *landmarks: str) -> Evidence:
        """Return *text* as evidence read at the first known of *landmarks* (Mem-Info by default)."""
        first = self.line(*(landmarks or (("memcg",) if self.in_memcg else ("meminfo",))))
        return Evidence(text, first, first)

    def row(self, text: str, task: Task) -> Evidence:
        """Return *text* as evidence read in *task*'s row of the table."""
        return Evidence(text, task.line, task.line)

    def held_by(self, text: str, consumer: Consumer) -> Evidence:
        """Return *text* as evidence read in the row of *consumer*, if that is one process, else in the whole table."""
        rows = TaskRows.of(self.report.tasks)
        index = rows.find(consumer.pids[0], "pid") if len(consumer.pids) == 1 else None
        line = self.line("table_first", "kill") if index is None else rows.lines[index]
        return Evidence(text, line, line)

    def exceeds(self, kib: int | None, share: float) -> TypeGuard[int]:
        """Return whether *kib* is at least *share* (0..1) of what there was to use; unknown is ``False``."""
        return kib is not None and self.base_kib is not None and self.base_kib > 0 and kib >= share * self.base_kib

    def of(self, kib: int) -> str:
        """Return *kib* with its share of what there was to use: ``1.2 GiB (31 % of RAM)``."""
        return f"{size(kib)} ({percent(kib, self.base_kib)} of {self.whole})" if self.base_kib else size(kib)

    def held(self, consumer: Consumer) -> str:
        """Return what *consumer* held with its share, which is of memory and swap together where swap was in use."""
        if consumer is self.culprit and self.culprit_held is not None:
            return self.culprit_held
        if consumer.share_pct is None or self.elsewhere_kib:
            return size(consumer.kib)
        whole = f"{self.whole} and the swap in use" if self.swap_used_kib else self.whole
        if self.report.kind in (EventKind.CPUSET, EventKind.MEMPOLICY):
            whole = "what the allowed nodes have"
        return f"{size(consumer.kib)} ({share(consumer.share_pct)} of {whole})"

    def room_kib(self, consumer: Consumer) -> int | None:
        """
        Return what *consumer* may take: on a machine the limit that would keep it from filling it again, in a cgroup
        the limit, and for a pool of processes no more than it held (others live there as well). ``None`` = not known.
        """
        if self.in_memcg:
            return min(self.base_kib, consumer.kib) if self.base_kib and consumer.kind == "name" else self.base_kib
        return cap_kib(consumer.kib, self.managed_kib) if self.managed_kib else None

    def most(self, kib: int) -> bool:
        """Return whether *kib* is more than any of the usual holders of memory: then it is the story."""
        return self.anon_kib is not None and kib >= max(
            self.anon_kib, self.shmem_kib or 0, self.file_kib or 0, self.items.get("slab_unreclaimable", 0)
        )

    @property
    def plenty_free(self) -> bool:
        """Whether much of RAM was free, and some zone far above its mark: then memory was not short."""
        if not self.exceeds(self.free_kib, FREE_ENOUGH):
            return False
        info = self.report.meminfo
        zones = info.zones if info is not None else []
        return not zones or any(z.kib.get("free", 0) > 2 * z.kib.get("high", z.kib.get("min", 0)) for z in zones)

    @property
    def only_part_short(self) -> bool:
        """Whether much was free and the request could not use it, for where or how it lies: its cause says why."""
        return self.plenty_free and self.main_codes[:1] in (["cma_reserved"], ["low_zone_exhausted"], ["fragmentation"])

    @property
    def bound_to_nodes(self) -> bool:
        """Whether the request could use some NUMA nodes only (cpuset, memory policy)."""
        return self.report.kind in (EventKind.CPUSET, EventKind.MEMPOLICY) or self.constraint in (
            "CONSTRAINT_CPUSET", "CONSTRAINT_MEMORY_POLICY",
        )  # fmt: skip

    @property
    def movable_nodes_only(self) -> bool:
        """Whether the allowed NUMA nodes have zone Movable only, and the request was for a page that cannot move."""
        return self.bound_to_nodes and {(z.name, z.eligible) for z in self.zone_checks} == {("Movable", False)}

    @property
    def nodes_unknown(self) -> bool:
        """Whether some NUMA nodes ran out of which the text has no numbers."""
        return allowed_nodes(self.report) is not None and limit_kib(self.report) is None

    @property
    def global_shown(self) -> bool:
        """Whether the text itself shows that the whole machine, not a limit, ran out."""
        report = self.report
        return (
            report.meminfo is not None
            or (not self.in_memcg and "oom_kill" in report.lines)
            or any((victim.prefix or "").startswith(("Out of memory", "Out of Memory")) for victim in report.victims)
            or (not self.in_memcg and self._pages_refused)
        )

    @property
    def _pages_refused(self) -> bool:
        """Whether the stack shows that the machine had no page to give, and that no cgroup refused the charge."""
        frames = self.report.trigger.frames if self.report.trigger is not None else ()
        return "out_of_memory" in frames and any(frame.startswith("__alloc_pages") for frame in frames)

    @property
    def is_v1(self) -> bool:
        """Whether the report shows a v1 hierarchy: its counters, its statistics, or a kernel older than v2's memory."""
        memcg = self.report.memcg
        if self.report.group_memcg is not None:
            return False  # memory.oom.group is of v2, whose statistics had the names of v1 up to 5.2
        if memcg is None:  # announcements are of kernels up to 5.0; v2 was rare then
            old = self.release is not None and self.release < V2_MOUNTED_SINCE
            trigger = self.report.trigger
            unnamed = trigger is not None and trigger.gfp_mask is not None and trigger.gfp_flags is None  # before 4.6
            return old or unnamed or "announce" in self.report.lines or self.is_beancounter
        own = memcg.stats[0].stats if memcg.stats else {}
        return memcg.memsw is not None or memcg.kmem is not None or "rss" in own

    @property
    def is_beancounter(self) -> bool:
        """Whether the limit is that of an OpenVZ container, which older ones count by user beancounter."""
        return (self.report.oom_memcg or "").startswith("UB ")

    @property
    def release(self) -> Release | None:
        """The kernel's release, if it is in the text."""
        return parse_release(self.report.trigger.kernel_release) if self.report.trigger else None

    @property
    def memsw_hit(self) -> bool:
        """Whether the v1 limit of memory and swap together was hit while the memory limit was not."""
        memcg = self.report.memcg
        if memcg is None or memcg.memsw is None or memcg.memory is None:
            return False
        memory, memsw = memcg.memory, memcg.memsw
        below = not isinstance(memory.limit_kib, int) or memory.usage_kib + LIMIT_SLACK_KIB < memory.limit_kib
        return below and isinstance(memsw.limit_kib, int) and memsw.usage_kib + LIMIT_SLACK_KIB >= memsw.limit_kib

    @property
    def whole(self) -> str:
        """What shares are shares of, in words."""
        if not self.in_memcg:
            return "RAM"
        known = self.report.memcg is None or self.report.memcg.memory is not None
        return "the limit" if known else "what was charged to the cgroup"

    @property
    def constraint(self) -> str | None:
        """The constraint as printed or derived."""
        return self.report.constraint

    @property
    def order(self) -> int | None:
        """Order of the failed request."""
        return self.report.trigger.order if self.report.trigger else None


def _read_items(case: Case, accounting: Accounting) -> None:
    """Flatten the accounting: its keys mean the same for a machine and for a cgroup."""
    items = case.items
    for item in accounting.items:
        items[item.key] = item.kib
        for part in item.parts:
            items[part.key] = part.kib
    case.approximate, case.counted = accounting.approximate, is_complete(accounting.scope, items)
    case.anon_kib, case.file_kib, case.shmem_kib = items.get("anon"), items.get("file"), items.get("shmem")
    case.free_kib = items.get("free")


def _read_memcg(case: Case, charged_kib: int | None) -> None:
    """Fill in limit and usage of the cgroup whose limit was hit; *charged_kib*: the sum of its statistics."""
    memcg = case.report.memcg
    if memcg and memcg.memory:
        case.usage_kib, case.limit_kib = memcg.memory.usage_kib, memcg.memory.limit_kib
        case.base_kib = case.limit_kib if isinstance(case.limit_kib, int) and case.limit_kib > 0 else case.usage_kib
    else:
        case.base_kib = charged_kib


def _read_tasks(case: Case) -> None:
    """Find the rows the rules ask for."""
    rows = TaskRows.of(case.report.tasks)
    if not rows:
        return
    pages = rows.resident_pages()
    biggest = max(pages)
    case.biggest, case.biggest_kib = rows[pages.index(biggest)], biggest * case.page_kib
    shmem = rows.column("rss_shmem_pages")
    case.mapped_shmem_kib = None if shmem is None else sum(shmem) * case.page_kib
    if not rows.is_zero("oom_score_adj"):
        adj = rows.numbers("oom_score_adj")
        case.adj_rows = len(adj) - adj.count(0) - adj.count(-1000)
    victim = case.victim
    if victim is not None:
        at = rows.find(victim.tgid if victim.tgid is not None else victim.pid, "pid", "tgid")
        case.victim_row = None if at is None else rows[at]


def _read_victim(case: Case) -> None:
    """Fill in what the victim held: resident by the kill line (else by its table row), and in swap by its row."""
    victim, row = case.victim, case.victim_row
    resident = None
    if victim is not None and victim.anon_rss_kib is not None:
        resident = victim.anon_rss_kib + (victim.file_rss_kib or 0) + (victim.shmem_rss_kib or 0)
    if row is not None:
        case.victim_swap_kib = (row.swapents_pages or 0) * case.page_kib
        resident = row.rss_pages * case.page_kib if resident is None else resident
    if resident is not None:
        case.victim_kib = resident + case.victim_swap_kib
        worth = case.victim_swap_kib * SWAP_WORTH > case.victim_kib
        swapped = f" and {size(case.victim_swap_kib)} in swap" if worth else ""
        case.victim_held = f"{size(resident)}{swapped}"
    if victim is not None and victim.anon_rss_kib is not None and case.in_memcg and case.usage_kib is not None:
        beyond = victim.anon_rss_kib - case.usage_kib
        case.elsewhere_kib = beyond if beyond > max(ELSEWHERE_KIB, case.usage_kib >> 3) else 0


def make_case(
    report: OomReport,
    *,
    accountings: Sequence[Accounting] = (),
    consumers: Sequence[Consumer] = (),
    culprit: Consumer | None = None,
    selection: Selection | None = None,
    zone_checks: Sequence[ZoneCheck] = (),
    owner: Owner | None = None,
    oom_owner: Owner | None = None,
) -> Case:
    """Digest *report* and what the other parts of the diagnosis found about it."""
    case = Case(
        report,
        accountings,
        consumers,
        culprit,
        selection,
        zone_checks,
        owner.leaf if owner else None,  # who a person inside would name: a pod in a kind node, not the node
        oom_owner.leaf if oom_owner else None,
    )
    if owner is not None and owner.leaf.kind not in ("root", "cgroup"):
        case.owner_name = owner.short
    if oom_owner is not None:
        plain_name = oom_owner.leaf.kind == "cgroup" and not oom_owner.short.startswith("cgroup ")
        case.oom_name = f"cgroup {oom_owner.short}" if plain_name else oom_owner.short
        case.around = oom_owner if oom_owner.nested is not None else None
    case.is_oom = report.kind not in _NOT_KERNEL_OOM
    case.in_memcg = case.is_oom and (report.kind is EventKind.MEMCG or report.constraint == MEMCG_CONSTRAINT)
    case.manual = report.sysrq or report.kind is EventKind.SYSRQ or case.order == -1
    if report.page_size:
        case.page_kib = max(1, report.page_size >> 10)
    main = None
    for accounting in accountings:  # kernels <= 3.8 print Mem-Info in cgroup reports too
        if accounting.scope == "host":
            known = managed_kib(report.meminfo, case.page_kib)  # else the total is the sum of what was left in the text
            case.managed_kib = accounting.total_kib or None if known is not None else None
        if accounting.scope == ("memcg" if case.in_memcg else "host"):
            main = accounting
    if main is not None:
        _read_items(case, main)
    if case.in_memcg:
        _read_memcg(case, main.total_kib if main is not None else None)
    else:
        case.base_kib = case.managed_kib
    case.swap_used_kib = swap_in_use_kib(report)
    if report.meminfo is not None:
        case.swap_total_kib, free = report.meminfo.total_swap_kib, report.meminfo.free_swap_kib
        case.swap_free_kib = None if free is None else max(0, free)
        case.swap_leaving_kib = max(0, -(free or 0))
    case.victim = report.victims[0] if report.victims else None
    _read_tasks(case)
    _read_victim(case)
    for consumer in consumers:
        if consumer.kind == "name":
            case.pool = consumer  # the first is the biggest
            break
    case.culprit_held = case.held(culprit) if culprit is not None else None
    return case
