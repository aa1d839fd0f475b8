"""
Reports built by hand for the diagnosis tests.

Numbers are those of real reports (Debian kernel 6.12.107 in QEMU with 275 MiB of RAM: an ordinary host-wide kill without
swap, and a unit with a limit of 64 MiB), changed only where a case needs another value.
"""

from __future__ import annotations

from oomsight.report.model import (
    EventKind,
    HugePages,
    LimitKib,
    Memcg,
    MemcgLine,
    MemcgStats,
    MemInfo,
    NodeMem,
    OomReport,
    Span,
    Task,
    Trigger,
    Victim,
    Zone,
)

PAGES = {
    "active_anon": 61757, "inactive_anon": 0, "isolated_anon": 0, "active_file": 0, "inactive_file": 0,
    "isolated_file": 0, "unevictable": 2380, "dirty": 0, "writeback": 0, "slab_reclaimable": 195,
    "slab_unreclaimable": 1921, "mapped": 4839, "shmem": 5650, "pagetables": 280, "sec_pagetables": 0, "bounce": 0,
    "kernel_misc_reclaimable": 0, "free": 672, "free_pcp": 660, "free_cma": 0,
}  # fmt: skip
USER_PAGE = ("GFP_HIGHUSER_MOVABLE", "__GFP_COMP", "__GFP_ZERO")


def task(pid: int, comm: str, rss: int, *, adj: int = 0, shmem: int = 66, pgtables: int = 61440, swap: int = 0) -> Task:
    return Task(
        pid=pid, uid=0, tgid=pid, total_vm_pages=rss + 400, rss_pages=rss, rss_anon_pages=rss - shmem, rss_file_pages=0,
        rss_shmem_pages=shmem, pgtables_bytes=pgtables, nr_ptes=None, nr_pmds=None, swapents_pages=swap,
        oom_score_adj=adj, oom_adj=None, comm=comm, line=60 + pid % 20,
    )  # fmt: skip


TASKS = (
    task(139, "systemd-journal", 834),
    task(141, "sshd", 322, adj=-1000),
    task(143, "postgres", 9282, shmem=4162),
    task(145, "nginx: worker", 2626),
    task(147, "java", 15537, shmem=145),
    task(161, "python3", 32162, shmem=98, pgtables=299008),
)


def zones(**changes: int) -> list[Zone]:
    dma = {"free": 1036, "boost": 0, "min": 116, "low": 144, "high": 172, "present": 15992, "managed": 15360}
    dma32 = {"free": 1652, "boost": 4096, "min": 6044, "low": 6528, "high": 7012, "present": 311168, "managed": 265936}
    dma32 |= changes
    buddy32 = tuple((n, 4 << i, "UM") for i, n in enumerate((2, 1, 2, 0, 5, 2, 2, 1, 0, 0, 0)))
    return [
        Zone(0, "DMA", dma, lowmem_reserve_pages=(0, 259, 259, 259, 259), buddy=((1, 4, "M"),), line=40),
        Zone(0, "DMA32", dma32, lowmem_reserve_pages=(0, 0, 0, 0, 0), buddy=buddy32, line=42),
    ]


def host(
    pages: dict[str, int] | None = None,
    *,
    tasks: tuple[Task, ...] = TASKS,
    victim: int = 161,
    swap: tuple[int, int] = (0, 0),
    order: int = 0,
    kind: EventKind = EventKind.GLOBAL,
    constraint: str | None = "CONSTRAINT_NONE",
    zone_list: list[Zone] | None = None,
    node_kib: dict[str, int] | None = None,
    hugepages: list[HugePages] | None = None,
    gfp: tuple[str, ...] = USER_PAGE,
) -> OomReport:
    row = next((t for t in tasks if t.pid == victim), None)
    meminfo = MemInfo(
        pages=PAGES | (pages or {}),
        counts={"ram": 81790, "reserved": 11466},
        nodes=[NodeMem(0, {"kernel_stack": 2000} | (node_kib or {}), line=36)],
        zones=zones() if zone_list is None else zone_list,
        hugepages=hugepages or [],
        total_swap_kib=swap[0],
        free_swap_kib=swap[1],
        first_line=35,
        last_line=50,
    )
    report = OomReport(
        kind, Span("t", 1, 80), constraint=constraint, meminfo=meminfo, tasks=list(tasks), page_size=4096
    )
    report.trigger = Trigger("python3", 161, gfp_mask=0x140DCA, gfp_flags=gfp, order=order, oom_score_adj=0, line=2)
    report.lines = {"head": 2, "meminfo": 35, "table_first": 60, "oom_kill": 79, "kill": 80}
    report.complete = True
    if row is not None:
        report.victims = [
            Victim(row.pid, row.comm, tgid=row.tgid, uid=0, total_vm_kib=4 * row.total_vm_pages,
                   anon_rss_kib=4 * (row.rss_anon_pages or 0), file_rss_kib=0, shmem_rss_kib=4 * (row.rss_shmem_pages or 0),
                   oom_score_adj=row.oom_score_adj, prefix="Out of memory", line=80)
        ]  # fmt: skip
    return report


def memcg(
    usage: int = 65536,
    limit: LimitKib = 65536,
    *,
    stats: dict[str, int] | None = None,
    tasks: tuple[Task, ...] | None = None,
    victim: int = 156,
    oom: str = "/system.slice/app.service",
    path: str = "/system.slice/app.service",
    swap: MemcgLine | None = None,
    memsw: MemcgLine | None = None,
) -> OomReport:
    """The report of a 64 MiB unit (6.12.107): 55.9 MiB anon, 8 MiB shmem."""
    found = {
        "anon": 58564608,
        "file": 8388608,
        "kernel": 155648,
        "kernel_stack": 0,
        "pagetables": 131072,
        "sock": 0,
        "shmem": 8388608,
        "file_dirty": 0,
        "file_writeback": 0,
        "inactive_anon": 0,
        "active_anon": 66953216,
        "inactive_file": 0,
        "active_file": 0,
        "slab_reclaimable": 19736,
        "slab_unreclaimable": 3584,
        "slab": 23320,
    }
    rows = tasks or (
        task(152, "app-master", 1617),
        task(154, "app-worker", 7249, shmem=2129),
        task(156, "app-worker", 7761),
    )
    report = host(tasks=rows, victim=victim, kind=EventKind.MEMCG, constraint="CONSTRAINT_MEMCG")
    report.meminfo = None
    report.memcg = Memcg(
        memory=MemcgLine(usage, limit, 65),
        memsw=memsw,
        swap=swap,
        stats=[MemcgStats(oom, found | (stats or {}), 33)],
        first_line=31,
        last_line=90,
    )
    report.oom_memcg, report.task_memcg = oom, path
    report.lines = {"head": 2, "memcg": 31, "table_first": 91, "oom_kill": 98, "kill": 99}
    return report  # fmt: skip
