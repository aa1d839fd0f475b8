"""
Incidents built by hand for the sink tests: numbers of real kernels (Debian 6.12.107 in QEMU, scenarios memcg_pod and
global_noswap), sentences as the diagnosis words them. No parser and no diagnosis is needed to test a sink.
"""

from __future__ import annotations

from oomsight.diagnose.model import (
    Accounting,
    Advice,
    Answers,
    Cause,
    Confidence,
    Consumer,
    Evidence,
    GfpWords,
    Incident,
    Item,
    RankedTask,
    Selection,
    ZoneCheck,
)
from oomsight.naming.cgroup_path import describe
from oomsight.naming.marked import Kind, mark
from oomsight.report.model import (
    EventKind,
    Memcg,
    MemcgLine,
    MemcgStats,
    MemInfo,
    Note,
    OomReport,
    Span,
    Task,
    Trigger,
    Victim,
    When,
    Zone,
)

POD = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod3f7d0a52_9f1c_4c1e_a0cb_5f1f7e0e9c11.slice"
CONTAINER = POD + "/cri-containerd-5b0b1c4f2d8e6a7f9c3b2a1d0e9f8c7b6a5d4e3f2c1b0a9d8e7f6c5b4a3d2e1f.scope"

# Name, pid, uid, rss, anon, shmem pages, page-table bytes, adj: the task table of 6.12.107 global_noswap.
HOST_TASKS = (
    ("systemd-journal", 139, 0, 1062, 834, 768, 66, 45056, 0),
    ("sshd", 141, 0, 550, 322, 256, 66, 36864, -1000),
    ("postgres", 143, 113, 9510, 9282, 5120, 4162, 110592, 0),
    ("nginx: worker", 145, 33, 2854, 2626, 2560, 66, 61440, 0),
    ("java", 147, 1000, 527858, 15537, 15392, 145, 167936, 0),
    ("python3", 161, 1001, 32550, 32162, 32064, 98, 299008, 0),
)
HOST_T = 70324  # pages RAM 81790 - reserved 11466, no swap


def host_incident(victim: str = "python3", path: str = "dmesg.txt") -> Incident:
    """A whole machine out of memory, no swap. *victim* and *path* take the place of the real names."""
    tasks = [
        Task(pid, uid, pid, vm, rss, anon, 0, shmem, pgt, None, None, 0, adj, None, victim if comm == "python3" else comm, 84 + i)
        for i, (comm, pid, uid, vm, rss, anon, shmem, pgt, adj) in enumerate(HOST_TASKS)
    ]  # fmt: skip
    order = sorted(
        (t for t in tasks if t.oom_score_adj != -1000), key=lambda t: -(t.rss_pages + (t.pgtables_bytes or 0) // 4096)
    )
    ranking = []
    for rank, task in enumerate(order, 1):
        points = task.rss_pages + (task.pgtables_bytes or 0) // 4096
        ranking.append(
            RankedTask(
                rank,
                task.pid,
                task.tgid,
                task.comm,
                points,
                0,
                task.rss_pages * 4,
                0,
                (task.pgtables_bytes or 0) // 1024,
                0,
                points * 1000 // HOST_T,
            )
        )
    ranking.append(RankedTask(None, 141, 141, "sshd", None, -1000, 1288, 0, 36, None, None, "oom_score_adj -1000"))
    source = Span(path, 2, 104)
    report = OomReport(
        EventKind.GLOBAL,
        source,
        When(time_text="[    3.593966]", uptime_s=3.593966),
        "CONSTRAINT_NONE",
        Trigger(victim, 161, 1001, 0, 0x140DCA, ("GFP_HIGHUSER_MOVABLE", "__GFP_COMP", "__GFP_ZERO"), 0, 0, kernel_release="6.12.107+deb13-cloud-amd64", line=2),
        victims=[Victim(161, victim, "selected", 161, 1001, 130200, 128256, 0, 392, 292, 0, task_memcg="/", line=104)],
        task_memcg="/",
        meminfo=MemInfo(
            {"active_anon": 61757, "free": 672, "shmem": 5650, "unevictable": 2380, "slab_unreclaimable": 1921},
            {"ram": 81790, "reserved": 11466},
            zones=[
                Zone(0, "DMA", {"free": 1036, "min": 116, "low": 144, "high": 172, "managed": 15360}, lowmem_reserve_pages=(0, 259), buddy=((1, 4, "M"), (0, 8, "")), buddy_total_kib=1028, line=54),
                Zone(0, "DMA32", {"free": 1652, "min": 6044, "low": 6528, "high": 7012, "managed": 265936}, lowmem_reserve_pages=(0, 0), line=56),
            ],
            free_swap_kib=0,
            total_swap_kib=0,
            first_line=44,
            last_line=80,
        ),
        tasks=tasks,
        page_size=4096,
        page_size_from="pgtables_bytes and kB on the kill line",
        complete=True,
        notes=[Note("table_interleaved", 90, "another message was printed in the middle of the task table")],
        lines={"head": 2, "kill": 104, "table_first": 84, "table_last": 91},
    )  # fmt: skip
    items = [
        Item("anon", "anonymous memory of processes", 224428),
        Item("shmem", "shared memory and tmpfs", 22600),
        Item("unevictable", "locked or otherwise unevictable memory", 9520, [Item("mlocked", "mlocked", 9520)]),
        Item("slab_reclaimable", "reclaimable kernel objects (slab)", 780),
        Item("slab_unreclaimable", "unreclaimable kernel objects (slab)", 7684),
        Item("pagetables", "page tables", 1120),
        Item("kernel_stack", "kernel stacks of threads", 1136),
        Item("free_pcp", "free, in per-CPU lists", 2640),
        Item("free", "free", 2688, [Item("free_reserve", "kept back below the min watermark", 1768)]),
        Item("unaccounted", "not accounted for in this report", 8700),
    ]
    consumers = [
        Consumer("process", t.comm, t.rss_pages * 4, t.rss_pages * 100 / HOST_T, 1, (t.pid,), t.pid == 161)
        for t in tasks
    ]
    consumers.append(Consumer("kernel", "slab (kernel objects)", 8464, 3.0))
    name = mark(victim)
    return Incident(
        "oom-q2x7k4",
        report,
        source,
        f"{name} (pid 161) was killed: the whole machine ran out of memory",
        f"The kernel killed {name} because RAM (274.7 MiB) was full and there is no swap. It was the biggest process: "
        "125.6 MiB, 46 % of RAM.",
        Answers(
            [f"{name} held 125.6 MiB, 46 % of RAM; the six processes of the table together 237.2 MiB."],
            ["One report cannot tell whether it grew slowly or at once; `oomsight history` would."],
            ["Nothing limits this process: it ran in the root cgroup.", "There is no swap that could have slowed it down."],
        ),
        [
            Cause(
                "host_exhausted",
                "RAM was exhausted by processes",
                Confidence.CERTAIN,
                [Evidence("free 2688 KiB, page cache 0 KiB", 44, 80), Evidence("anonymous memory is 82 % of RAM", 44)],
                [
                    Advice(f"Give {name} a limit of its own, so that it cannot take the machine down.", ("systemctl", "set-property", f"{victim}.service", "MemoryMax=96M")),
                    Advice("Or the same in its unit.", snippet="[Service]\nMemoryHigh=80M\nMemoryMax=96M\n"),
                ],
            ),
            Cause("no_swap", "There is no swap", Confidence.CERTAIN, [Evidence("Total swap = 0 KiB", 79)]),
            Cause("leak_suspected", f"{name} may leak memory", Confidence.POSSIBLE, [], [], "Its size over time."),
        ],
        [Accounting("host", "host", 281296, items, "pages RAM − pages reserved", False, 0, 0)],
        consumers,
        consumers[5],
        Selection("5.9+", "the columns of the task table", HOST_T, "pages RAM − reserved, no swap", ranking, 16658, True, None, f"{name} was the biggest process and nothing protected it."),
        GfpWords(4, "one page (4 KiB) of movable user memory", ("GFP_HIGHUSER_MOVABLE", "__GFP_COMP", "__GFP_ZERO"), "Movable"),
        [
            ZoneCheck(0, "DMA", True, 1036, 1036, 116, 1036, False, 4, "Zone DMA: 1.0 MiB free, 1.1 MiB must stay"),
            ZoneCheck(0, "DMA32", True, 1652, 1652, 6044, 0, False, 12, "Zone DMA32: 1.6 MiB free, below min 5.9 MiB"),
        ],
        describe("/"),
    )  # fmt: skip


def pod_incident(cgroup: str = CONTAINER) -> Incident:
    """A container of a Kubernetes pod at its own limit."""
    source = Span("kern.log", 12, 113)
    victim = Victim(165, "node", "selected", 165, 1000, 50736, 48896, 0, 580, 140, 968, task_memcg=cgroup, line=113)
    stats = {"anon": 50085888, "file": 0, "kernel": 245760, "kernel_stack": 98304, "pagetables": 102400, "slab": 44408}
    report = OomReport(
        EventKind.MEMCG,
        source,
        When("2026-11-23T09:58:29+01:00", "Nov 23 09:58:29", 3.680258, "node7"),
        "CONSTRAINT_MEMCG",
        Trigger("node", 165, 1000, 0, 0xCC0, ("GFP_KERNEL",), 0, 968, line=12),
        victims=[victim],
        oom_memcg=cgroup,
        task_memcg=cgroup,
        memcg=Memcg(MemcgLine(49152, 49152, 33), swap=MemcgLine(0, "unlimited", 0), stats=[MemcgStats(cgroup, stats, 43)], first_line=41, last_line=104),
        tasks=[Task(165, 1000, 165, 12684, 12369, 12224, 0, 145, 143360, None, None, 0, 968, None, "node", 108)],
        page_size=4096,
        complete=True,
    )  # fmt: skip
    items = [
        Item("anon", "anonymous memory of processes", 48912),
        Item("kernel", "kernel memory charged to the cgroup", 240, [Item("kernel_stack", "kernel stacks", 96), Item("pagetables", "page tables", 100), Item("slab", "kernel objects (slab)", 43)]),
        Item("unaccounted", "not accounted for in this report", 0),
    ]  # fmt: skip
    node = Consumer(
        "process", "node", 49616, 100.9, 1, (165,), True, "shared pages are counted in every process that maps them"
    )
    owner = describe(cgroup)
    return Incident(
        "oom-m3n8p1",
        report,
        source,
        f"{mark('node')} (pid 165) was killed: its container reached its limit of 48.0 MiB",
        f"The kernel killed {mark('node')} because its container reached its memory limit. More memory on the host will not help.",
        Answers([f"{mark('node')} held 48.3 MiB of 48.0 MiB."], [], ["The limit is the container's own; nothing acts before it."]),
        [
            Cause(
                "memcg_limit",
                "The container's own limit was reached",
                Confidence.CERTAIN,
                [Evidence("memory: usage 49152kB, limit 49152kB, failcnt 33", 41)],
                [Advice("Raise the limit of the container to 64 MiB.", snippet="resources:\n  limits:\n    memory: 64Mi\n")],
            )
        ],
        [Accounting("memcg", mark(cgroup, Kind.CGROUP), 49152, items, "memory usage of the cgroup")],
        [node],
        node,
        Selection("5.9+", "the columns of the task table", 12288, "limit of the cgroup", [RankedTask(1, 165, 165, "node", 24019, 968, 49476, 0, 140, 11616, 1954)], None, True, None, f"{mark('node')} was the only process in the cgroup."),
        GfpWords(4, "one page (4 KiB) for the kernel", ("GFP_KERNEL",), "Normal"),
        [],
        owner,
        owner,
        f"3rd kill of {mark('node')} in this input",
    )  # fmt: skip


def empty_incident() -> Incident:
    """The least a headless text can give: a kind and where it was read."""
    source = Span("<stdin>", 1, 1)
    report = OomReport(EventKind.REAPER_ONLY, source)
    return Incident(
        "oom-aaaaaa", report, source, "The OOM reaper freed a process", "Only its line is in the text.", Answers()
    )


def killer_incident(comm: str = "postgres") -> Incident:
    """A userspace killer at work; the kernel killed nothing."""
    from oomsight.report.model import Killed

    source = Span("journal", 7, 7)
    killed = Killed(4242, comm, "/system.slice/db.service", "SIGTERM", 113, 204800, "mem avail: 3.1 %", 7)
    report = OomReport(
        EventKind.USERSPACE_KILLER, source, When("2026-11-23T10:00:00+01:00"), killer="earlyoom", killed=[killed]
    )
    return Incident(
        "oom-bbbbbb", report, source, f"earlyoom ended {mark(comm)}", "The kernel killed nothing.", Answers()
    )
