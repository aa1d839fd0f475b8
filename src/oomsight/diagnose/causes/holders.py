"""Causes where the memory is not in the heaps of processes: shared memory and kernel memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight.diagnose.advice import round_down
from oomsight.diagnose.causes.rule import Finding
from oomsight.diagnose.consumers import mapped_kib
from oomsight.diagnose.model import Advice, Confidence, Evidence
from oomsight.diagnose.wording import listing, process, size
from oomsight.naming.marked import Kind, mark
from oomsight.report.task_rows import TaskRows

if TYPE_CHECKING:
    from oomsight.diagnose.causes.case import Case

MOST: Final = 0.50
"""Half of everything is the story, whatever the rest is."""
SHMEM_LARGE: Final = 0.20
"""tmpfs and shared memory above this share is not the few MiB of /run and desktop buffers any more."""
SLAB_LARGE: Final = 0.10
"""Unreclaimable slab is 1-3 % of a healthy machine."""
SLAB_RECLAIMABLE_LARGE: Final = 0.20
"""Dentries and inodes may be many, but reclaim should have taken them before the kill."""
PAGETABLES_LARGE: Final = 0.05
"""Page tables are 0.2 % of what they map with 4 KiB pages; 5 % means sparse or widely shared mappings."""
MEMCG_PAGETABLES_LARGE: Final = 0.15
"""In a small cgroup the tables of every process (40 KiB at least) weigh more."""
PAGETABLES_ROW_KIB: Final = 64 << 10
PAGETABLES_ROW_SHARE: Final = 0.10
"""One process with this much page table, and this much of its resident size, maps far more than it uses."""
UNACCOUNTED_LARGE: Final = 0.10
"""Memory in no counter: 1-3 % are normal (boot allocations, per-CPU data, drivers)."""
SOCK_LARGE: Final = 0.10
THP_OF_ANON: Final = 0.50
THP_LARGE: Final = 0.40
REAPED_LEFT_KIB: Final = 16 << 10
"""Shared memory left behind by a reaped victim that is worth naming."""
_COMPLETE: Final = ("anon", "file", "free", "slab_unreclaimable")
_COMPLETE_OLD: Final = ("anon", "file", "free", "slab", "pagetables")  # 2.6.28 to 2.6.30
"""Counters that must be in the text before a remainder may be called unaccounted."""


ALL_IN_USE: Final = 0.9
"""Share of the shared memory that processes map, from which it is memory of theirs and not files in a tmpfs."""
_WHO_MAPS: Final = Advice(
    "see which processes map it (RssShmem): the RAM of a virtual machine (QEMU, Kata) and a database's buffers are "
    "such memory; their own settings bound it",
    ("sh", "-c", "grep RssShmem /proc/[0-9]*/status | sort -nrk2 | head"),
)


def shmem_tmpfs(case: Case) -> Finding | None:
    """Files in tmpfs, System V segments or memfds hold the memory; killing processes may not free it."""
    shmem = case.shmem_kib
    if not case.exceeds(shmem, SHMEM_LARGE):
        return None
    evidence = [case.at(f"shared memory and tmpfs: {case.of(shmem)}")]
    mapped = case.mapped_shmem_kib
    if mapped is not None and mapped < shmem:
        evidence.append(
            case.at(
                f"the listed processes map at most {size(mapped)} of it: the rest is files nobody maps (tmpfs) or "
                "segments without a process",
                "table_first",
            )
        )
    left = next((v for v in case.report.victims if (v.reaped_left_kib or 0) >= REAPED_LEFT_KIB), None)
    if left is not None:
        evidence.append(case.at(f"{size(left.reaped_left_kib)} stayed after the victim was reaped", "reaper", "kill"))
    in_use = mapped_kib(case.report) - (case.file_kib or 0)  # at least: page cache is mapped, too
    if in_use >= ALL_IN_USE * shmem:
        evidence.append(case.at(f"processes map at least {size(in_use)} of it: no files that somebody left behind"))
        return Finding(Confidence.CERTAIN, evidence, [_WHO_MAPS], main=case.exceeds(shmem, MOST))
    limit = round_down(shmem // 2)
    return Finding(
        Confidence.CERTAIN,
        evidence,
        [
            Advice(
                f"see{_inside(case)} which mount holds it (/dev/shm, /tmp, /run); files there stay in memory until "
                "they are deleted",
                ("df", "-h", "-t", "tmpfs"),
            ),
            Advice("see the System V segments; those with no process attached can go (ipcrm)", ("ipcs", "-m", "-p")),
            *_bound_tmpfs(case, limit),
        ],
        main=case.exceeds(shmem, MOST),
    )


def _inside(case: Case) -> str:
    """Where mounts are looked at that a container has for itself."""
    owner = case.oom_owner if case.in_memcg else None
    return f" inside the {owner.level}" if owner is not None and owner.level in ("container", "pod") else ""


def _bound_tmpfs(case: Case, limit_kib: int) -> list[Advice]:
    mib = max(1, limit_kib >> 10)
    owner = case.owner or case.oom_owner
    if owner is not None and owner.orchestrator == "kubernetes":
        return [
            Advice(
                f"an emptyDir with medium Memory counts towards the container's limit: bound it ({size(limit_kib)} is "
                "half of what was in use, choose what your files need)",
                snippet=f"emptyDir:\n  medium: Memory\n  sizeLimit: {mib}Mi\n",
            )
        ]
    return [
        Advice(
            f"bound the mount (a tmpfs may grow to half of RAM by default); {size(limit_kib)} is half of what "
            "was in use, choose what your files need",
            ("mount", "-o", f"remount,size={mib}m", "/dev/shm"),
        )
    ]


def kernel_slab(case: Case) -> Finding | None:
    """Kernel objects hold the memory."""
    items = case.items
    hard, soft = items.get("slab_unreclaimable"), items.get("slab_reclaimable")
    slab = items.get("slab") if case.in_memcg else None
    if case.in_memcg and hard is None:
        hard = slab if slab is not None else items.get("kernel")
    if case.exceeds(hard, SLAB_LARGE):
        kib, what = hard, "unreclaimable kernel objects" if not case.in_memcg else "kernel memory charged to the cgroup"
    elif case.exceeds(soft, SLAB_RECLAIMABLE_LARGE):
        kib, what = soft, "reclaimable kernel objects (dentries, inodes)"
    else:
        return None
    evidence = [case.at(f"{what}: {case.of(kib)}")]
    info = case.report.meminfo
    biggest = sorted(info.slabs, key=lambda slab: -slab[2])[:3] if info is not None else []
    for name, _used, total in biggest:
        evidence.append(case.at(f"slab cache {mark(name, Kind.OWNER)}: {size(total)}"))
    if info is not None:
        evidence += _alloc_sites(case)
    advice = [
        Advice(
            "see which cache grows: a cache that never shrinks is a leak in a driver or in the kernel, or a program "
            "that holds many sockets, files, cgroups or mounts",
            ("slabtop", "-o", "-s", "c"),
        ),
    ]
    if info is not None and info.slabs and 2 * sum(total for _, _, total in info.slabs) < kib:
        advice[0] = Advice(
            "most of it is in no cache that slabtop shows: blocks of more than two pages, as drivers and network "
            "buffers use them"
        )
    if any(name.startswith("skbuff") for name, _, _ in biggest):
        advice.insert(0, Advice(
            "buffers of sockets are among the biggest caches: look for sockets whose data nobody reads (Recv-Q, skmem)",
            ("ss", "-a", "-m"),
        ))  # fmt: skip
    if kib is soft:
        advice.append(
            Advice(
                "walking huge directory trees fills dentries and inodes; make reclaim prefer them",
                ("sysctl", "-w", "vm.vfs_cache_pressure=200"),
            )
        )
    else:
        advice.append(
            Advice(
                "to find the leaking code: boot with CONFIG_MEM_ALLOC_PROFILING (6.10+, /proc/allocinfo) "
                "or kmemleak, and check for fixes of your kernel"
            )
        )
    return Finding(Confidence.CERTAIN, evidence, advice, main=case.exceeds(kib, MOST) or case.most(kib))


def _alloc_sites(case: Case) -> list[Evidence]:
    info = case.report.meminfo
    sites = sorted(info.alloc_sites, reverse=True)[:3] if info else []
    return [
        case.at(f"{size(used >> 10)} in {calls:,} allocations made by {mark(site, Kind.OWNER)}")
        for used, calls, site in sites
    ]


def page_tables(case: Case) -> Finding | None:
    """Page tables are large: sparse mappings, or many processes mapping the same big segment."""
    kib = case.items.get("pagetables")
    large = case.exceeds(kib, MEMCG_PAGETABLES_LARGE if case.in_memcg else PAGETABLES_LARGE)
    rows = TaskRows.of(case.report.tasks)
    tables = rows.column("pgtables_bytes") or [0]
    row, row_kib = None, 0
    if large or sum(tables) >> 10 >= PAGETABLES_ROW_KIB:  # else no row can have as much
        row_kib = max(tables) >> 10
        row = rows[tables.index(max(tables))] if row_kib else None
    if kib is not None and large:
        evidence = [case.at(f"page tables: {case.of(kib)}")]
        confidence, main = Confidence.CERTAIN, case.most(kib)
    elif (
        row is not None
        and row_kib >= PAGETABLES_ROW_KIB
        and row_kib >= PAGETABLES_ROW_SHARE * row.rss_pages * case.page_kib
    ):
        evidence, confidence, main = [], Confidence.LIKELY, False
    else:
        return None
    if row is not None:
        evidence.append(
            case.row(
                f"{process(row.comm, row.pid)} alone has {size(row_kib)} of page tables for "
                f"{size(row.rss_pages * case.page_kib)} of resident memory",
                row,
            )
        )
    return Finding(
        confidence,
        evidence,
        [
            Advice(
                "huge pages need 512 times fewer page tables: use them for big shared segments (databases: "
                "huge_pages = on, large_pages), and fewer connections or processes that map them"
            ),
            Advice(
                "a mapping that is much larger than what is used in it (sanitizers, sparse files, leaks of mmap) "
                "costs tables too: look at the process's /proc/PID/smaps_rollup and the number of its maps"
            ),
        ],
        main=main,
    )


def unaccounted_kernel_memory(case: Case) -> Finding | None:
    """A large part of RAM is in no counter of the report."""
    kib = case.items.get("unaccounted")
    if case.in_memcg or case.approximate or not case.exceeds(kib, UNACCOUNTED_LARGE):
        return None
    if any(key not in case.items for key in _COMPLETE) and any(key not in case.items for key in _COMPLETE_OLD):
        return None  # the Mem-Info block is cut: the remainder is what was not pasted
    evidence = [case.at(f"{case.of(kib)} is in no counter of the report")]
    tainted = case.report.trigger.tainted if case.report.trigger else None
    if foreign := [flag for flag in "PO" if flag in (tainted or "").split(":")[-1]]:
        flags = listing(foreign)
        evidence.append(
            case.at(f"modules from outside the kernel are loaded (taint {flags}): ZFS, GPU drivers or others", "cpu")
        )
    if "slab" in case.items:
        evidence.append(
            case.at(
                "a kernel of this age does not count kernel stacks (8 KiB a thread), nor pages reclaim took off lists"
            )
        )
    evidence += _alloc_sites(case)
    return Finding(
        Confidence.CERTAIN,
        evidence,
        [
            Advice(
                "who takes pages past the counters: GPU and other drivers, vmalloc, network buffers, ZFS ARC, XFS "
                "buffers, a hypervisor balloon (before 6.17), compressed swap (zram before 6.18); begin with the big "
                "areas of vmalloc",
                ("sort", "-k2", "-n", "-r", "/proc/vmallocinfo"),
            ),
            Advice(
                "with ZFS bound the ARC (zfs_arc_max); with a GPU see the driver's debugfs; from 6.10 on a kernel with "
                "CONFIG_MEM_ALLOC_PROFILING names the code in /proc/allocinfo"
            ),
        ],
        settles="/proc/vmallocinfo, /proc/allocinfo (6.10+), the drivers' own statistics, while it is high",
        main=case.most(kib),
    )


def socket_memory(case: Case) -> Finding | None:
    """Network buffers fill the cgroup."""
    kib = case.items.get("sock")
    if not case.in_memcg or not case.exceeds(kib, SOCK_LARGE):
        return None
    return Finding(
        Confidence.CERTAIN,
        [case.at(f"network buffers: {case.of(kib)}")],
        [
            Advice(
                "many connections with unread or unsent data: bound connections, read faster, lower the buffers "
                "(net.ipv4.tcp_rmem, tcp_wmem)"
            ),
            Advice("see them", ("ss", "-tmpn")),
        ],
    )


def thp_bloat(case: Case) -> Finding | None:
    """Most anonymous memory is in transparent huge pages: resident size may be more than what is used."""
    kib, anon = case.items.get("anon_thp"), case.anon_kib
    info = case.report.meminfo
    if info is not None and any("pages_scanned" in node.kib for node in info.nodes):
        return None  # 4.8-4.10 print another counter under this name (arguments shifted)
    if kib is None or not anon or kib < THP_OF_ANON * anon or not case.exceeds(kib, THP_LARGE):
        return None
    return Finding(
        Confidence.POSSIBLE,
        [case.at(f"{size(kib)} of {size(anon)} anonymous memory is in huge pages of 2 MiB")],
        [
            Advice(
                "let only programs that ask for huge pages have them; sparse heaps then take what they touch",
                ("sh", "-c", 'echo "$1" > "$2"', "sh", "madvise", "/sys/kernel/mm/transparent_hugepage/enabled"),
            )
        ],
        settles="resident memory of the same work with transparent huge pages set to madvise",
    )
