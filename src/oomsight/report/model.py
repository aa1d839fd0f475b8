"""
The parsed report: what one kernel log says about one OOM event, as typed values.

Conventions: ``None`` = the text does not say; ``0`` = it says zero; :data:`UNLIMITED` = it says there is no limit.
Every number's unit is in its name. ``line`` values are 1-based line numbers in the source the text came from.
Names (comm, cgroup paths) hold raw bytes as UTF-8 with ``surrogateescape``; sinks decide how to show them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from oomsight._enums import StrEnum
from oomsight._record import Record, dataclass, field

UNLIMITED: Final = "unlimited"
"""Value of a limit the kernel prints as "no limit" (PAGE_COUNTER_MAX or RES_COUNTER_MAX)."""

LimitKib = int | Literal["unlimited"] | None
"""A limit in KiB, :data:`UNLIMITED`, or ``None`` when not printed."""


class EventKind(StrEnum):
    """What happened; the ``kind`` of the JSON contract."""

    GLOBAL = "global"
    MEMCG = "memcg"
    CPUSET = "cpuset"
    MEMPOLICY = "mempolicy"
    SYSRQ = "sysrq"
    PANIC = "panic"
    NO_KILLABLE = "no_killable"
    REAPER_ONLY = "reaper_only"
    USERSPACE_KILLER = "userspace_killer"
    ALLOCATION_FAILURE = "allocation_failure"


@dataclass(slots=True, eq=False, repr=False)
class Note(Record):
    """Something odd about the text that did not stop the parser."""

    code: str  #: stable identifier, e.g. ``table_cut``
    line: int | None
    text: str  #: plain words (marked text, see naming.marked)


@dataclass(slots=True, eq=False, repr=False)
class Span(Record):
    """Where in the input the event was read."""

    name: str  #: source name (file name, ``<stdin>``, ``journal``, …)
    first_line: int
    last_line: int


@dataclass(slots=True, eq=False, repr=False)
class When(Record):
    """Times of the event as far as the text tells."""

    time: str | None = None  #: ISO 8601 with offset where the carrier has one; naive where it has none
    time_text: str | None = None  #: the carrier's own words (``Nov 23 09:58:29``, ``[   17.316920]``)
    uptime_s: float | None = None  #: seconds since boot (printk clock)
    host: str | None = None
    boot_id: str | None = None
    seq: int | None = None  #: /dev/kmsg sequence number
    year_derived: bool = False  #: the carrier prints no year; that of ``time`` is the latest that fits


@dataclass(slots=True, eq=False, repr=False)
class Trigger(Record):
    """The task whose allocation failed. It is neither necessarily the victim nor the culprit."""

    comm: str | None
    pid: int | None = None
    uid: int | None = None
    cpu: int | None = None
    gfp_mask: int | None = None
    gfp_flags: tuple[str, ...] | None = None  #: names as printed (>= 4.6); ``None`` when the kernel printed none
    order: int | None = None  #: -1 = SysRq-f (>= 4.3)
    oom_score_adj: int | None = None
    oom_adj: int | None = None  #: legacy -17..15 (2.6)
    nodemask: str | None = None  #: text of the list, ``None`` for ``(null)`` or not printed
    cpuset: str | None = None
    mems_allowed: str | None = None
    kernel_release: str | None = None
    tainted: str | None = None
    hardware: str | None = None
    workqueue: str | None = None
    frames: tuple[str, ...] = ()  #: reliable stack frames, innermost first, names only
    line: int | None = None


@dataclass(slots=True, eq=False, repr=False)
class Task(Record):
    """One row of the task table. Page counts are the kernel's own approximate counters."""

    pid: int  #: first column: the thread that holds the mm (TID), usually the tgid
    uid: int
    tgid: int
    total_vm_pages: int
    rss_pages: int
    rss_anon_pages: int | None  #: >= 6.8
    rss_file_pages: int | None
    rss_shmem_pages: int | None
    pgtables_bytes: int | None  #: >= 4.15
    nr_ptes: int | None  #: 3.6–4.14, page-table pages
    nr_pmds: int | None  #: 4.0–4.14
    swapents_pages: int | None  #: 3.6+
    oom_score_adj: int | None  #: 2.6.36+
    oom_adj: int | None  #: <= 3.5
    comm: str
    line: int
    cpu: int | None = None  #: <= 3.5


@dataclass(slots=True, eq=False, repr=False)
class Zone(Record):
    """One ``Node N ZONE free:…`` line with its lowmem_reserve and buddy lines."""

    node: int | None  #: ``None`` on kernels built without NUMA, which print no node
    name: str
    kib: dict[str, int]  #: every ``name:<n>kB`` field by its printed name (free, min, low, high, managed, …)
    pages_scanned: int | None = None
    all_unreclaimable: bool | None = None
    lowmem_reserve_pages: tuple[int, ...] | None = None
    buddy: tuple[tuple[int, int, str], ...] | None = None  #: (count, block KiB, migrate-type letters) per order
    buddy_total_kib: int | None = None
    line: int | None = None


@dataclass(slots=True, eq=False, repr=False)
class NodeMem(Record):
    """One ``Node N active_anon:…`` line (>= 4.8), KiB by printed name."""

    node: int
    kib: dict[str, int]
    all_unreclaimable: bool | None = None
    line: int | None = None


@dataclass(slots=True, eq=False, repr=False)
class HugePages(Record):
    """One ``hugepages_total=`` line."""

    node: int | None
    total: int
    free: int
    surp: int
    size_kib: int
    line: int | None = None


@dataclass(slots=True, eq=False, repr=False)
class MemInfo(Record):
    """The ``Mem-Info:`` block of a global report (whole machine)."""

    pages: dict[str, int] = field(default_factory=dict)
    """Global counters in pages by printed name (active_anon, free, slab_unreclaimable, …)."""
    counts: dict[str, int] = field(default_factory=dict)
    """``<n> pages …`` lines in pages: ram, reserved, highmem, cma_reserved, hwpoisoned, pagecache, swapcache, …"""
    nodes: list[NodeMem] = field(default_factory=list)
    zones: list[Zone] = field(default_factory=list)
    hugepages: list[HugePages] = field(default_factory=list)
    free_swap_kib: int | None = None  #: below zero: as much has still to come back from swap that is turned off
    total_swap_kib: int | None = None
    slabs: list[tuple[str, int, int]] = field(default_factory=list)  #: (cache, used KiB, total KiB)
    alloc_sites: list[tuple[int, int, str]] = field(default_factory=list)  #: (bytes, calls, site), >= 6.10
    first_line: int | None = None
    last_line: int | None = None


@dataclass(slots=True, eq=False, repr=False)
class MemcgLine(Record):
    """One ``memory: usage …, limit …, failcnt …`` line."""

    usage_kib: int
    limit_kib: LimitKib
    failcnt: int | None


@dataclass(slots=True, eq=False, repr=False)
class MemcgStats(Record):
    """Memory statistics of one cgroup, always in **bytes**, by printed name (old kernels print KB; converted)."""

    path: str | None
    stats: dict[str, int]
    line: int | None = None


@dataclass(slots=True, eq=False, repr=False)
class Memcg(Record):
    """The memcg block of a report."""

    memory: MemcgLine | None = None
    memsw: MemcgLine | None = None  #: v1 memory+swap
    kmem: MemcgLine | None = None  #: v1
    swap: MemcgLine | None = None  #: v2
    stats: list[MemcgStats] = field(default_factory=list)  #: one on >= 5.3, one per cgroup of the subtree before
    stats_cut: bool = False  #: the kernel's 1 KiB record limit cut the list (5.3–6.4)
    min_protection_kib: int | None = None  #: 6.19+
    low_protection_kib: int | None = None
    first_line: int | None = None
    last_line: int | None = None


@dataclass(slots=True, eq=False, repr=False)
class Victim(Record):
    """A process the kernel killed."""

    pid: int | None  #: as printed on the kill line; a TID when the leader had exited
    comm: str | None
    role: Literal["selected", "child", "group"] = "selected"
    tgid: int | None = None
    uid: int | None = None
    total_vm_kib: int | None = None
    anon_rss_kib: int | None = None
    file_rss_kib: int | None = None
    shmem_rss_kib: int | None = None
    pgtables_kib: int | None = None
    oom_score_adj: int | None = None
    score: int | None = None  #: printed by kernels <= 5.0 (of the chosen task, before child sacrifice)
    task_memcg: str | None = None
    reaped: bool | None = None  #: True reaped, False "unable to reap", None no reaper line (normal on >= 5.18)
    reaped_left_kib: int | None = None  #: rss left after reaping (shmem that could not be freed)
    prefix: str | None = None  #: message before "Killed process" (``Memory cgroup out of memory``)
    line: int | None = None
    time: When | None = None


@dataclass(slots=True, eq=False, repr=False)
class Selected(Record):
    """The task the kernel chose, before child sacrifice, as named by ``oom-kill:`` or ``Kill process … score``."""

    pid: int | None
    comm: str | None
    uid: int | None = None
    score: int | None = None
    line: int | None = None


@dataclass(slots=True, eq=False, repr=False)
class Killed(Record):
    """What a userspace killer ended."""

    pid: int | None = None
    comm: str | None = None
    cgroup: str | None = None
    signal: str | None = None
    uid: int | None = None
    rss_kib: int | None = None
    reason: str | None = None
    line: int | None = None


@dataclass(slots=True, eq=False, repr=False)
class OomReport(Record):
    """One event. ``kind`` says which; fields that do not apply stay ``None`` or empty."""

    kind: EventKind
    source: Span
    when: When = field(default_factory=When)
    constraint: str | None = None  #: ``CONSTRAINT_…`` as printed, else derived (then a note says so)
    trigger: Trigger | None = None
    selected: Selected | None = None
    victims: list[Victim] = field(default_factory=list)
    oom_memcg: str | None = None
    task_memcg: str | None = None
    group_memcg: str | None = None  #: cgroup killed as a whole (memory.oom.group)
    memcg: Memcg | None = None
    meminfo: MemInfo | None = None
    tasks: Sequence[Task] = field(default_factory=list)  #: rows are made when asked for
    table_columns: tuple[str, ...] | None = None  #: header words of the task table; ``None`` when no header was seen
    page_size: int | None = None  #: bytes, inferred from the report; ``None`` = could not be inferred
    page_size_from: str | None = None  #: evidence of the inference
    complete: bool = False  #: head, memory block, table and kill line all present
    notes: list[Note] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)
    """Line number of each landmark: head, cpu, meminfo, memcg, table_first, table_last, oom_kill, kill, reaper, …"""
    sysrq: bool = False
    allocating_task_killed: bool = False  #: ``oom_kill_allocating_task`` in the kill message
    panic: str | None = None  #: panic message when the report ended in one
    skipped_exiting: list[tuple[int, str]] = field(default_factory=list)  #: "already exiting. Skip killing"
    reaped_only: list[tuple[int, str]] = field(default_factory=list)  #: the reaper names them, no kill line does
    sharing_killed: list[tuple[int, str]] = field(default_factory=list)  #: "sharing same memory" (2.6.37–4.3)
    pinned_by: list[str] = field(default_factory=list)  #: "has mm pinned by" lines, as text
    suppressed_callbacks: int | None = None  #: "<N> callbacks suppressed" before this report
    killed_unnamed: int | None = None  #: processes the log counts as killed besides *victims*, naming none (OpenVZ)
    killer: str | None = None  #: userspace killer: systemd-oomd, earlyoom, nohang, oomd, lmkd, kubelet, slurm
    killed: list[Killed] = field(default_factory=list)
    container_lost: bool = False  #: headless: reaper or kill line without its report (rate limit, cut text)
    failure_mode: str | None = None  #: allocation_failure: what failed (``page allocation``, ``vmalloc``)
    failure_bytes: int | None = None  #: size of the area of vmalloc that failed
    failure_why: str | None = None  #: what the line of vmalloc gives as the reason, in the kernel's words
