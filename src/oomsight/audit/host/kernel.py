"""Rules about the kernel's settings, swap, huge pages and tmpfs. Sources: Documentation/admin-guide of 6.1 … 6.18."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from oomsight._sizes import size_words
from oomsight.audit.host.facts import GIB_KIB, HostFacts
from oomsight.audit.host.row import host_rule, sysctl_fix
from oomsight.audit.model import Find, Fix, Hit, Rule, Settings, Severity, Where
from oomsight.naming.marked import Kind, mark

_VM: Final = "Documentation/admin-guide/sysctl/vm.rst (6.1 … 6.18)"
GUARD_KIB: Final = 4 * GIB_KIB


def _size(kib: int) -> str:
    return size_words(kib << 10)


def _hit(key: str, message: str, evidence: str, fix: Fix | None = None, severity: Severity | None = None) -> Hit:
    return Hit(Where(key=key), key, message, (evidence,), (), fix, severity)


def _no_swap(host: HostFacts, _: Settings) -> Iterator[Hit]:
    ram = host.ram_kib
    if host.memory.swap_total_kib == 0 and ram:
        size = min(max(ram // 4, GIB_KIB), GUARD_KIB)
        fix = Fix(
            f"fallocate -l {size // GIB_KIB or 1}G /swapfile && chmod 600 /swapfile\n"
            "mkswap /swapfile && swapon /swapfile\necho '/swapfile none swap sw 0 0' >> /etc/fstab", "sh",
        )  # fmt: skip
        yield _hit("swap", "there is no swap: memory nobody uses cannot leave RAM", "SwapTotal: 0 kB", fix)


def _odd_swap(host: HostFacts, _: Settings) -> Iterator[Hit]:
    ram, swap = host.ram_kib, host.memory.swap_total_kib
    if not ram or not swap:
        return
    evidence = f"SwapTotal {_size(swap)}, MemTotal {_size(ram)}"
    if swap < ram // 50 and swap < GIB_KIB // 2:
        yield _hit("swap", "swap is too small to matter: it fills in seconds and hides the trend", evidence)
    elif swap > 2 * ram and swap > 16 * GIB_KIB:
        words = "swap is more than twice RAM: a leak makes the host crawl for long before it is ended"
        yield _hit("swap", words, evidence)


def _two_compressors(host: HostFacts, _: Settings) -> Iterator[Hit]:
    if host.texts.get("/sys/module/zswap/parameters/enabled", "N").strip() != "Y":
        return
    if "/dev/zram" in host.texts.get("/proc/swaps", ""):
        fix = Fix("echo N > /sys/module/zswap/parameters/enabled", "sh")
        words = "zswap is on in front of zram: pages are compressed twice"
        yield _hit("zswap", words, "zswap enabled = Y; zram swap", fix)


def _swappiness(host: HostFacts, _: Settings) -> Iterator[Hit]:
    if host.number("vm.swappiness") == 0 and host.memory.swap_total_kib:
        words = "swap is not used before the page cache is nearly gone: kills come with swap free"
        yield _hit("vm.swappiness", words, "vm.swappiness = 0", sysctl_fix("vm.swappiness", 10))


def _strict(host: HostFacts, _: Settings) -> Iterator[Hit]:
    limit, used = host.memory.fields.get("CommitLimit"), host.memory.fields.get("Committed_AS")
    if host.number("vm.overcommit_memory") == 2 and limit and used is not None and used * 10 > limit * 8:
        words = "strict overcommit is nearly used up: allocations fail (ENOMEM) although memory is free"
        evidence = f"Committed_AS {_size(used)} of CommitLimit {_size(limit)}"
        severity = Severity.HIGH if used * 100 > limit * 95 else None
        yield _hit("vm.overcommit_memory", words, evidence, sysctl_fix("vm.overcommit_ratio", 80), severity)


def _always(host: HostFacts, _: Settings) -> Iterator[Hit]:
    if host.number("vm.overcommit_memory") == 1:
        words = "every allocation is granted, even one no machine could hold"
        yield _hit("vm.overcommit_memory", words, "vm.overcommit_memory = 1", sysctl_fix("vm.overcommit_memory", 0))


def _min_free(host: HostFacts, _: Settings) -> Iterator[Hit]:
    value, ram = host.number("vm.min_free_kbytes"), host.ram_kib
    if value is None or not ram:
        return
    evidence = f"vm.min_free_kbytes = {value} of {ram} KiB"
    if value * 20 > ram:
        words = f"{value * 100 // ram} % of RAM are kept from programs: kills come with that much free"
        severity = Severity.HIGH if value * 5 > ram else None
        yield _hit("vm.min_free_kbytes", words, evidence, sysctl_fix("vm.min_free_kbytes", ram // 100), severity)
    elif value < 4096 and ram > 4 * GIB_KIB:
        words = "hardly anything is kept free: bursts from interrupts fail and reclaim begins late"
        yield _hit("vm.min_free_kbytes", words, evidence, sysctl_fix("vm.min_free_kbytes", 67584), Severity.LOW)


def _scale(host: HostFacts, _: Settings) -> Iterator[Hit]:
    value = host.number("vm.watermark_scale_factor")
    if value is not None and value > 300:
        words = f"kswapd keeps {value / 100:g} % of RAM free between its marks: memory that is paid for and not used"
        fix = sysctl_fix("vm.watermark_scale_factor", 50)
        yield _hit("vm.watermark_scale_factor", words, f"vm.watermark_scale_factor = {value}", fix)


def _panic(host: HostFacts, _: Settings) -> Iterator[Hit]:
    value, reboot = host.number("vm.panic_on_oom"), host.number("kernel.panic")
    if value:
        words = "an OOM panics the host instead of ending one process"
        words += ", also when only a cpuset or mempolicy is short" if value == 2 else ""
        words += ", and it stays down: kernel.panic is 0" if reboot == 0 else ""
        severity = Severity.HIGH if value == 2 or reboot == 0 else None
        yield _hit("vm.panic_on_oom", words, f"vm.panic_on_oom = {value}", sysctl_fix("vm.panic_on_oom", 0), severity)


def _allocating(host: HostFacts, _: Settings) -> Iterator[Hit]:
    if host.number("vm.oom_kill_allocating_task"):
        words = "whoever happens to ask for memory dies, however small, and oom_score_adj only exempts"
        evidence = "vm.oom_kill_allocating_task = 1"
        yield _hit("vm.oom_kill_allocating_task", words, evidence, sysctl_fix("vm.oom_kill_allocating_task", 0))


def _no_table(host: HostFacts, _: Settings) -> Iterator[Hit]:
    if host.number("vm.oom_dump_tasks") == 0:
        words = "OOM reports have no table of processes: nobody can say afterwards who used the memory"
        yield _hit("vm.oom_dump_tasks", words, "vm.oom_dump_tasks = 0", sysctl_fix("vm.oom_dump_tasks", 1))


def _thp(host: HostFacts, _: Settings) -> Iterator[Hit]:
    ram, available = host.ram_kib, host.memory.mem_available_kib
    text = host.texts.get("/sys/kernel/mm/transparent_hugepage/enabled", "")
    if "[always]" in text and ram and available is not None and available * 10 < ram:
        words = "huge pages for everybody, with little memory left: sparse heaps cost up to 512 times what they touch"
        fix = Fix("echo madvise > /sys/kernel/mm/transparent_hugepage/enabled", "sh")
        yield _hit("transparent_hugepage", words, f"enabled = always; MemAvailable {_size(available)}", fix)


def _hugetlb(host: HostFacts, _: Settings) -> Iterator[Hit]:
    fields, ram = host.memory.fields, host.ram_kib
    free = (fields.get("HugePages_Free", 0) - fields.get("HugePages_Rsvd", 0)) * fields.get("Hugepagesize", 2048)
    if ram and free * 20 > ram:
        words = f"{_size(free)} sit in huge pages nobody uses; nothing else can have them"
        severity = Severity.HIGH if free * 4 > ram else None
        used = max(fields.get("HugePages_Total", 0) - free // max(fields.get("Hugepagesize", 2048), 1), 0)
        evidence = f"HugePages_Free {fields.get('HugePages_Free', 0)}, HugePages_Rsvd {fields.get('HugePages_Rsvd', 0)}"
        yield _hit("vm.nr_hugepages", words, evidence, sysctl_fix("vm.nr_hugepages", used), severity)


def _zone_reclaim(host: HostFacts, _: Settings) -> Iterator[Hit]:
    if value := host.number("vm.zone_reclaim_mode"):
        words = "a full NUMA node is reclaimed and swapped although others have memory"
        evidence = f"vm.zone_reclaim_mode = {value}"
        yield _hit("vm.zone_reclaim_mode", words, evidence, sysctl_fix("vm.zone_reclaim_mode", 0))


def _tmpfs(host: HostFacts, _: Settings) -> Iterator[Hit]:
    ram = host.ram_kib
    sizes = {}
    for mount in host.mounts:
        size = next((option[5:] for option in mount.super_options if option.startswith("size=")), None)
        if mount.fs_type == "tmpfs" and size is not None and size.endswith("k") and size[:-1].isdecimal():
            sizes[mount.mount_point] = int(size[:-1])
    total = sum(sizes.values())
    if ram and total * 10 > 11 * (ram + (host.memory.swap_total_kib or 0)):
        biggest = sorted(sizes, key=lambda point: -sizes[point])[:3]
        words = f"tmpfs mounts may grow to {_size(total)} together, more than RAM and swap; no kill empties them"
        evidence = ", ".join(f"{mark(point, Kind.FILE)} {_size(sizes[point])}" for point in biggest)
        yield _hit("tmpfs", words, evidence, Fix("mount -o remount,size=512M /dev/shm", "sh"))


def _maps(host: HostFacts, _: Settings) -> Iterator[Hit]:
    value = host.number("vm.max_map_count")
    if value is not None and value < 65530:
        words = "fewer mappings than the default: mmap() and free() fail with memory left"
        yield _hit("vm.max_map_count", words, f"vm.max_map_count = {value}", sysctl_fix("vm.max_map_count", 65530))


def _sample(name: str, value: int | str) -> str:
    return f"# /proc/sys/{name.replace('.', '/')}\n{value}\n"


def _rule(  # noqa: PLR0917 - one column of the table each
    number: int, title: str, severity: Severity, find: Find, why: str, leads: str, how: str, failing: str, passing: str,
    source: str = _VM,
) -> Rule:  # fmt: skip
    return host_rule(number, title, severity, find, why, leads, how, source, failing, passing)


_TMPFS: Final = (
    "# /proc/self/mountinfo\n1 0 0:1 / /a rw - tmpfs t rw,size={0}k\n2 0 0:2 / /b rw - tmpfs t rw,size={1}k\n"
)
_MEMINFO: Final = "# /proc/meminfo\nMemTotal: 8000000 kB\nMemAvailable: {0} kB\nSwapTotal: {1} kB\n{2}"

RULES: Final[tuple[Rule, ...]] = (
    _rule(101, "no swap", Severity.MEDIUM, _no_swap,
          "Pages that are never used again stay in RAM, and pressure has nowhere to go.",
          "Without swap the step from full to killed takes seconds; reclaim can only drop page cache, then thrashes.",
          "Add 1 to 4 GiB of swap, or zram; set MemorySwapMax=0 for what must never swap.",
          _MEMINFO.format(6000000, 0, ""), _MEMINFO.format(6000000, 2000000, "")),
    _rule(102, "swap of an odd size", Severity.LOW, _odd_swap,
          "A few MiB of swap help nobody; swap far beyond RAM turns a leak into hours of thrashing.",
          "Tiny swap is full at once and the kill follows; huge swap delays the kill until nobody can log in.",
          "1 to 4 GiB, or a quarter of RAM; more only where hibernation needs it.",
          _MEMINFO.format(6000000, 64000, ""), _MEMINFO.format(6000000, 2000000, "")),
    _rule(103, "zswap and zram together", Severity.LOW, _two_compressors,
          "Both compress; the first one's work is wasted and its pool takes RAM.",
          "The pool of zswap is memory that only exists while memory is short.",
          "Keep zram and turn zswap off, or use zswap with a disk behind it.",
          "# /sys/module/zswap/parameters/enabled\nY\n# /proc/swaps\n/dev/zram0 partition 1000 0 100\n",
          "# /sys/module/zswap/parameters/enabled\nN\n# /proc/swaps\n/dev/zram0 partition 1000 0 100\n",
          "Documentation/admin-guide/mm/zswap.rst, blockdev/zram.rst"),
    _rule(104, "vm.swappiness is 0", Severity.MEDIUM, _swappiness,
          "0 does not mean rarely: anonymous memory is left alone until a zone is nearly out of file pages.",
          "Cgroups of version 1 with 0 are killed at their limit without swapping at all.",
          "Use 1 to 10 to swap rarely.", _sample("vm.swappiness", 0), _sample("vm.swappiness", 60)),
    _rule(105, "strict overcommit nearly used up", Severity.MEDIUM, _strict,
          "With vm.overcommit_memory = 2 promises are counted, not pages.",
          "Programs that cannot handle ENOMEM die or hang although memory is free; it looks like an OOM kill.",
          "Raise vm.overcommit_ratio, add swap, or go back to 0.",
          _sample("vm.overcommit_memory", 2) + _MEMINFO.format(1, 2000000, "CommitLimit: 9 kB\nCommitted_AS: 8 kB\n"),
          _sample("vm.overcommit_memory", 2) + _MEMINFO.format(1, 2000000, "CommitLimit: 9 kB\nCommitted_AS: 3 kB\n"),
          "Documentation/mm/overcommit-accounting.rst"),
    _rule(106, "vm.overcommit_memory is 1", Severity.LOW, _always,
          "A request that can never be met is granted; the program learns of it by being killed.",
          "What malloc() would have refused becomes an OOM kill, perhaps of somebody else.",
          "Leave it at 0. Redis asks for 1 so that fork() never fails: then limit its cgroup.",
          _sample("vm.overcommit_memory", 1), _sample("vm.overcommit_memory", 0),
          "Documentation/mm/overcommit-accounting.rst"),
    _rule(107, "vm.min_free_kbytes does not suit the RAM", Severity.MEDIUM, _min_free,
          "The watermarks follow from it; memory below the lowest is for the kernel alone.",
          "Set too high, programs are killed with gigabytes free; too low, network bursts fail to allocate.",
          "Leave it to the kernel, or 1 % of RAM.",
          _sample("vm.min_free_kbytes", 1000000), _sample("vm.min_free_kbytes", 67584)),
    _rule(108, "vm.watermark_scale_factor keeps much memory free", Severity.LOW, _scale,
          "The distance between the watermarks in 1/10000 of a zone.",
          "kswapd throws out page cache and swaps early; the host has less memory than it seems.",
          "10 is the default; 50 to 200 help where allocations come in bursts.",
          _sample("vm.watermark_scale_factor", 1000), _sample("vm.watermark_scale_factor", 10)),
    _rule(109, "an OOM panics the host", Severity.MEDIUM, _panic,
          "One process too big takes down all others.", "The OOM killer is never asked: the kernel panics.",
          "Set 0; where a panic is wanted (clusters with fencing) set kernel.panic so that it restarts.",
          _sample("vm.panic_on_oom", 2), _sample("vm.panic_on_oom", 0)),
    _rule(110, "the allocating task is killed", Severity.MEDIUM, _allocating,
          "It spares a scan of the processes, which costs milliseconds.",
          "The victim is whoever comes along: sshd, a health check; the one that leaks lives on.",
          "Set 0.", _sample("vm.oom_kill_allocating_task", 1), _sample("vm.oom_kill_allocating_task", 0)),
    _rule(111, "OOM reports without processes", Severity.MEDIUM, _no_table,
          "The table of processes is the evidence.",
          "The kill happens all the same; without the table the cause stays unknown and it happens again.",
          "Set 1.", _sample("vm.oom_dump_tasks", 0), _sample("vm.oom_dump_tasks", 1)),
    _rule(112, "transparent huge pages always, with little memory left", Severity.LOW, _thp,
          "The first byte touched takes 2 MiB.", "Memory in use grows without any program asking for more.",
          "Use madvise: programs that gain from huge pages ask for them.",
          "# /sys/kernel/mm/transparent_hugepage/enabled\n[always] madvise never\n" + _MEMINFO.format(500000, 1, ""),
          "# /sys/kernel/mm/transparent_hugepage/enabled\n[always] madvise never\n" + _MEMINFO.format(5000000, 1, ""),
          "Documentation/admin-guide/mm/transhuge.rst"),
    _rule(113, "huge pages reserved and not used", Severity.MEDIUM, _hugetlb,
          "The pool is taken from everybody at boot.",
          "The rest of the host runs out of memory beside gigabytes that are idle; no kill frees them.",
          "Lower vm.nr_hugepages to what is used, or find out why the database does not use its pages.",
          _MEMINFO.format(1, 1, "HugePages_Total: 1000\nHugePages_Free: 1000\nHugepagesize: 2048 kB\n"),
          _MEMINFO.format(1, 1, "HugePages_Total: 1000\nHugePages_Free: 10\nHugepagesize: 2048 kB\n"),
          "Documentation/admin-guide/mm/hugetlbpage.rst"),
    _rule(114, "vm.zone_reclaim_mode is on", Severity.LOW, _zone_reclaim,
          "It is meant for programs that each fit into one node.",
          "Reclaim and swapping begin with much memory free on another node; with a mempolicy the node's OOM follows.",
          "Set 0.", _sample("vm.zone_reclaim_mode", 1), _sample("vm.zone_reclaim_mode", 0)),
    _rule(115, "tmpfs sizes sum past RAM and swap", Severity.LOW, _tmpfs,
          "Files in tmpfs are memory. Each mount's default is half of RAM.",
          "Files stay when their writer is killed, so one kill follows another and nothing is freed.",
          "Give each tmpfs a size that fits: size=512M in /etc/fstab.",
          _TMPFS.format(8_000_000, 8_000_000),
          _TMPFS.format(4_000_000, 1_000_000),
          "Documentation/filesystems/tmpfs.rst"),
    _rule(116, "vm.max_map_count below the default", Severity.LOW, _maps,
          "JVMs, databases and allocators with guard pages need tens of thousands of mappings.",
          "Allocations fail and threads cannot start; the program dies with OutOfMemoryError, not by the killer.",
          "At least 65530; 262144 for Elasticsearch and the like.",
          _sample("vm.max_map_count", 1000), _sample("vm.max_map_count", 65530)),
)  # fmt: skip
"""Rules OS101 to OS116."""
