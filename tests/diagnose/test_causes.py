"""Cause rules: for each code one report that must show it and one near miss."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from oomsight.diagnose.accounting import account
from oomsight.diagnose.causes import BY_CODE, CAUSES, find_causes, make_case
from oomsight.diagnose.consumers import consumers, culprit
from oomsight.diagnose.model import Cause, Confidence
from oomsight.diagnose.request import zone_checks
from oomsight.diagnose.select_view import selection
from oomsight.diagnose.userspace import CODES
from oomsight.naming.cgroup_path import describe
from oomsight.report.model import UNLIMITED, EventKind, HugePages, MemcgLine, OomReport

from .sample_reports import TASKS, host, memcg, task, zones


def causes(report: OomReport) -> dict[str, Cause]:
    accountings = account(report)
    held = consumers(report, accountings)
    case = make_case(
        report,
        accountings=accountings,
        consumers=held,
        culprit=culprit(report, accountings, held),
        selection=selection(report),
        zone_checks=zone_checks(report),
        owner=describe(report.task_memcg),
        oom_owner=describe(report.oom_memcg),
    )
    return {cause.code: cause for cause in find_causes(case)}


def first(report: OomReport) -> str:
    return next(iter(causes(report)))


# --- the limits of a cgroup


def test_memcg_limit_own() -> None:
    cause = causes(memcg())["memcg_limit"]
    assert cause.confidence is Confidence.CERTAIN
    assert cause.title == "The cgroup reached its own memory limit"
    assert "memory usage 64.0 MiB, limit 64.0 MiB; 65 charges" in cause.evidence[0].text
    assert cause.evidence[0].first_line == 31
    assert cause.advice[0].command == ("systemctl", "set-property", "--", "app.service", "MemoryMax=80M")
    assert any("more memory on the host will not help" in advice.text for advice in cause.advice)


def test_memcg_limit_of_a_parent() -> None:
    cause = causes(memcg(oom="/app.slice", path="/app.slice/a.service"))["memcg_limit"]
    assert cause.title == "The memory limit of a parent cgroup was reached"
    assert cause.advice[0].command == ("systemctl", "set-property", "--", "app.slice", "MemoryMax=80M")


def test_memcg_limit_of_memory_and_swap() -> None:
    both = MemcgLine(131072, 131072, 9)
    cause = causes(memcg(usage=60000, limit=131072, memsw=both))["memcg_limit"]
    assert cause.title == "The memory+swap limit of the cgroup was reached"
    # one page short of the memory limit: the memory limit it is
    near = causes(memcg(usage=131068, limit=131072, memsw=both))["memcg_limit"]
    assert near.title == "The cgroup reached its own memory limit"


def test_memcg_limit_is_the_verdict_and_needs_a_cgroup() -> None:
    assert first(memcg()) == "memcg_limit"
    assert "memcg_limit" not in causes(host())


def test_memcg_limit_without_numbers_says_where_to_look() -> None:
    report = memcg()
    report.memcg = None
    cause = causes(report)["memcg_limit"]
    assert cause.advice[0].command == ("systemctl", "show", "-p", "MemoryMax", "-p", "MemoryPeak", "--", "app.service")


def test_swap_of_a_cgroup() -> None:
    closed = causes(memcg(swap=MemcgLine(0, 0, 0)))
    assert closed["swap_unusable"].title == "The cgroup is not allowed to use swap"
    full = causes(memcg(swap=MemcgLine(32768, 32768, 12)))
    assert "32.0 MiB of 32.0 MiB" in full["swap_exhausted"].evidence[0].text
    free = causes(memcg(swap=MemcgLine(16384, 32768, 0)))
    assert not {"swap_unusable", "swap_exhausted"} & free.keys()
    assert not {"swap_unusable", "swap_exhausted"} & causes(memcg(swap=MemcgLine(0, UNLIMITED, 0))).keys()


def test_heap_exceeds_limit_is_only_possible() -> None:
    node = (task(165, "node", 12369, adj=968, shmem=145, pgtables=143360),)
    cause = causes(memcg(49152, 49152, stats={"anon": 50085888, "shmem": 0}, tasks=node, victim=165))[
        "heap_exceeds_limit"
    ]
    assert cause.confidence is Confidence.POSSIBLE
    assert cause.settles is not None
    assert "--max-old-space-size=36" in cause.advice[0].text
    unknown = (task(165, "frobnicate", 12369),)
    assert "heap_exceeds_limit" not in causes(memcg(49152, 49152, tasks=unknown, victim=165))


def test_adj_ignored_below_a_thousand_pages() -> None:
    rows = (task(1, "keep", 297, adj=900), task(2, "big", 745))
    small = causes(memcg(3072, 3072, tasks=rows, victim=2))
    assert "768 pages" in small["adj_ignored"].evidence[0].text
    assert "adj_ignored" not in causes(memcg(4000, 4000, tasks=rows, victim=2))


def test_socket_memory() -> None:
    assert "12.0 MiB" in causes(memcg(stats={"sock": 12 << 20}))["socket_memory"].evidence[0].text
    assert "socket_memory" not in causes(memcg(stats={"sock": 6 << 20}))


# --- the machine


def test_host_exhausted() -> None:
    cause = causes(host())["host_exhausted"]
    assert cause.confidence is Confidence.CERTAIN
    assert cause.evidence[0].text == "2.6 MiB of 274.7 MiB RAM free"
    assert first(host()) == "host_exhausted"


@pytest.mark.parametrize(
    "pages", [{"free": 20000, "active_anon": 42000}, {"active_file": 9000, "active_anon": 52000}], ids=["free", "cache"]
)
def test_host_exhausted_not_while_memory_is_left(pages: dict[str, int]) -> None:
    assert "host_exhausted" not in causes(host(pages))


def test_no_swap() -> None:
    cause = causes(host())["no_swap"]
    assert [advice.command[0] for advice in cause.advice if advice.command] == [
        "fallocate",
        "chmod",
        "mkswap",
        "swapon",
    ]
    assert "no_swap" not in causes(host(swap=(98300, 0)))
    assert "no_swap" not in causes(host({"active_anon": 15000, "slab_unreclaimable": 48000}))


def test_swap_exhausted_and_unusable() -> None:
    assert causes(host(swap=(98300, 12)))["swap_exhausted"].confidence is Confidence.CERTAIN
    assert causes(host(swap=(98300, 4000)))["swap_exhausted"].confidence is Confidence.LIKELY
    middle = causes(host(swap=(98300, 7000)))
    assert not {"swap_exhausted", "swap_unusable", "no_swap"} & middle.keys()
    free = causes(host(swap=(98300, 60000)))["swap_unusable"]
    assert free.confidence is Confidence.LIKELY
    assert free.settles is not None


def test_dirty_writeback() -> None:
    pages = {"active_anon": 30000, "inactive_file": 32000, "dirty": 9000, "writeback": 12000}
    assert causes(host(pages))["dirty_writeback"].confidence is Confidence.LIKELY
    assert "dirty_writeback" not in causes(host(pages | {"dirty": 2000, "writeback": 3000}))
    cgroup = causes(memcg(stats={"anon": 20 << 20, "file": 44 << 20, "shmem": 0, "file_dirty": 20 << 20}))
    assert "20.0 MiB dirty" in cgroup["dirty_writeback"].evidence[0].text


def test_page_cache_stuck() -> None:
    clean = causes(host({"active_anon": 50000, "active_file": 12000}))
    assert "46.9 MiB (17 % of RAM) of page cache" in clean["page_cache_stuck"].evidence[0].text
    assert "page_cache_stuck" not in causes(host({"active_anon": 56000, "active_file": 6000}))


# --- placement


def test_numa_or_cpuset_constraint() -> None:
    report = host(kind=EventKind.CPUSET, constraint="CONSTRAINT_CPUSET")
    assert report.trigger is not None
    report.trigger.mems_allowed = "1"
    report.task_memcg = "/system.slice/job.service"
    found = causes(report)
    assert next(iter(found)) == "numa_or_cpuset_constraint"
    commands = [advice.command for advice in found["numa_or_cpuset_constraint"].advice]
    assert ("systemctl", "set-property", "--", "job.service", "AllowedMemoryNodes=") in commands
    assert "host_exhausted" not in found
    assert "numa_or_cpuset_constraint" not in causes(host())


def test_low_zone_exhausted() -> None:
    # A Movable zone with most of the free memory is not listed for a kernel request (6.1+).
    kernel = {"gfp": ("GFP_KERNEL",)}
    report = host({"free": 30000, "active_anon": 32000}, **kernel)
    assert first(report) == "low_zone_exhausted"
    assert "low_zone_exhausted" not in causes(host({"free": 2500}, **kernel))
    full = zones(free=90000)
    assert "low_zone_exhausted" not in causes(host({"free": 30000}, zone_list=full, **kernel))
    # 2.6.11 did not print how much was asked for.
    assert first(host({"free": 30000, "active_anon": 32000}, order=None, **kernel)) == "low_zone_exhausted"


def test_fragmentation() -> None:
    pieces = zones(free=90000)
    pieces[1].buddy = tuple((n, 4 << i, "UM") for i, n in enumerate((20000, 1250, 0, 0, 0, 0, 0, 0, 0, 0, 0)))
    report = host({"free": 22759}, order=3, zone_list=pieces, gfp=("GFP_KERNEL", "__GFP_COMP"))
    found = causes(report)
    assert next(iter(found)) == "fragmentation"
    assert "32 KiB (order 3)" in found["fragmentation"].evidence[0].text
    assert found["fragmentation"].evidence[1].first_line == 42
    whole = zones(free=90000)  # one block of 512 KiB is there
    assert "fragmentation" not in causes(host(order=3, zone_list=whole, gfp=("GFP_KERNEL", "__GFP_COMP")))
    assert "fragmentation" not in causes(host(order=0, zone_list=pieces))


# --- who else holds memory


def test_shmem_tmpfs() -> None:
    found = causes(host({"active_anon": 64655, "shmem": 49445, "unevictable": 0}, tasks=TASKS[:4], victim=143))
    assert next(iter(found)) == "shmem_tmpfs"
    assert "193.1 MiB (70 % of RAM)" in found["shmem_tmpfs"].evidence[0].text
    assert "map at most" in found["shmem_tmpfs"].evidence[1].text
    assert "shmem_tmpfs" not in causes(host({"shmem": 13000}))
    assert "shmem_tmpfs" in causes(memcg(stats={"anon": 30 << 20, "file": 34 << 20, "shmem": 34 << 20}))


def test_kernel_slab() -> None:
    report = host({"active_anon": 9400, "slab_unreclaimable": 55000, "shmem": 1500})
    assert report.meminfo is not None
    report.meminfo.slabs = [("skbuff_small_head", 1000, 2000), ("kmalloc-4k", 180000, 200000)]
    found = causes(report)
    assert next(iter(found)) == "kernel_slab"
    assert "kmalloc-4k" in found["kernel_slab"].evidence[1].text
    assert "kernel_slab" not in causes(host({"slab_unreclaimable": 6900}))
    dentries = causes(host({"active_anon": 45000, "slab_reclaimable": 15000}))["kernel_slab"]
    assert "dentries" in dentries.evidence[0].text
    assert "kernel_slab" in causes(memcg(stats={"anon": 40 << 20, "slab": 14 << 20, "slab_unreclaimable": 13 << 20}))


def test_page_tables() -> None:
    assert "page_tables" in causes(host({"pagetables": 3600, "active_anon": 58000}))
    assert "page_tables" not in causes(host({"pagetables": 3400, "active_anon": 58000}))
    sparse = (*TASKS, task(170, "sparse", 20000, pgtables=70 << 20))
    row = causes(host(tasks=sparse))["page_tables"]
    assert row.confidence is Confidence.LIKELY
    assert row.evidence[0].first_line == 60 + 170 % 20


def test_thread_or_fork_bomb() -> None:
    bomb = tuple(task(200 + i, ":(){ :|:& };:", 500) for i in range(40))
    found = causes(memcg(24576, 24576, tasks=bomb, victim=205, stats={"anon": 21688320, "shmem": 0}))
    assert found["thread_or_fork_bomb"].confidence is Confidence.POSSIBLE
    assert "40 of 40" in found["thread_or_fork_bomb"].evidence[0].text
    few = bomb[:29]
    assert "thread_or_fork_bomb" not in causes(memcg(24576, 24576, tasks=few, victim=205))
    stacks = causes(host({"active_anon": 58000}, node_kib={"kernel_stack": 9600}))["thread_or_fork_bomb"]
    assert "about 600 threads" in stacks.evidence[0].text
    assert "thread_or_fork_bomb" not in causes(host(node_kib={"kernel_stack": 8000}))


def test_hugepages_reserved() -> None:
    idle = [HugePages(0, 80, 80, 0, 2048, line=51)]
    found = causes(host({"active_anon": 21000}, hugepages=idle))
    assert next(iter(found)) == "hugepages_reserved"
    cause = found["hugepages_reserved"]
    assert "160.0 MiB (58 % of RAM) set aside, 160.0 MiB of it unused" in cause.evidence[0].text
    assert cause.advice[1].command is not None
    assert cause.advice[1].command[-2:] == (
        "0", "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages",
    )  # fmt: skip
    used = [HugePages(0, 80, 30, 0, 2048, line=51)]
    assert "hugepages_reserved" not in causes(host({"active_anon": 21000}, hugepages=used))


def test_locked_memory() -> None:
    assert "locked_memory" in causes(host({"unevictable": 21000, "active_anon": 43000}))
    assert "locked_memory" not in causes(host({"unevictable": 13000, "active_anon": 51000}))


def test_unaccounted_kernel_memory() -> None:
    hidden = {"active_anon": 30000, "shmem": 1500}
    assert "unaccounted_kernel_memory" in causes(host(hidden))
    assert "unaccounted_kernel_memory" not in causes(host())
    cut = host(hidden)
    assert cut.meminfo is not None
    del cut.meminfo.pages["slab_unreclaimable"]  # a cut block proves nothing
    assert "unaccounted_kernel_memory" not in causes(cut)


def test_memory_balloon() -> None:
    assert "memory_balloon" in causes(host({"active_anon": 40000}, node_kib={"Balloon": 90000}))
    assert "memory_balloon" not in causes(host(node_kib={"Balloon": 20000}))


def test_gpu_memory() -> None:
    cause = causes(host({"active_anon": 30000}, node_kib={"gpu_active": 100000, "gpu_reclaim": 8000}))["gpu_memory"]
    assert "105.5 MiB" in cause.evidence[0].text
    assert "7.8 MiB of it kept for later" in cause.evidence[0].text
    assert "gpu_memory" not in causes(host(node_kib={"gpu_active": 20000, "gpu_reclaim": 0}))


def test_thp_bloat_is_a_question() -> None:
    cause = causes(host(node_kib={"anon_thp": 180000}))["thp_bloat"]
    assert cause.confidence is Confidence.POSSIBLE
    assert "thp_bloat" not in causes(host(node_kib={"anon_thp": 80000}))
    # 4.8-4.10 shift the arguments: the value is another counter's.
    assert "thp_bloat" not in causes(host(node_kib={"anon_thp": 180000, "pages_scanned": 0}))


# --- processes


def test_many_processes() -> None:
    pool = (*TASKS[:2], *(task(300 + i, "php-fpm7.4", 4600) for i in range(12)))
    cause = causes(host(tasks=pool, victim=305))["many_processes"]
    assert "pm.max_children" in cause.advice[0].text
    assert cause.advice[0].snippet is not None
    few = (*TASKS[:2], *(task(300 + i, "php-fpm7.4", 8000) for i in range(7)))
    assert "many_processes" not in causes(host(tasks=few, victim=305))


def test_noisy_neighbour_and_protection() -> None:
    rows = (*TASKS[:5], task(161, "python3", 32162, adj=-1000))
    found = causes(host(tasks=rows, victim=143))
    assert found["protection_misused"].confidence is Confidence.CERTAIN
    assert "it may not be killed at all" in found["protection_misused"].evidence[0].text
    assert found["protection_misused"].advice[1].command == ("choom", "-p", "161", "-n", "0")
    assert found["noisy_neighbour"].confidence is Confidence.LIKELY
    own = causes(host())
    assert not {"protection_misused", "noisy_neighbour"} & own.keys()


def test_protection_misused_by_a_positive_value() -> None:
    rows = (*TASKS[:4], task(147, "batch", 9000, adj=500), TASKS[5])
    found = causes(host(tasks=rows, victim=147))
    assert found["protection_misused"].title == "oom_score_adj sent the kill to a smaller process"
    near = (*TASKS[:4], task(147, "batch", 20000, adj=500), TASKS[5])
    assert "protection_misused" not in causes(host(tasks=near, victim=147))


def test_leak_and_spike_are_questions() -> None:
    big = (*TASKS[:4], task(147, "java", 45000))
    found = causes(host(tasks=big, victim=147))
    for code in ("leak_suspected", "traffic_spike"):
        assert found[code].confidence is Confidence.POSSIBLE
        assert found[code].settles
    small = (*TASKS[:4], task(147, "batch-job", 30000))
    assert not {"leak_suspected", "traffic_spike"} & causes(host(tasks=small, victim=147)).keys()


# --- the event itself


def test_manual_sysrq_silences_the_rest() -> None:
    report = host({"free": 37628, "active_anon": 24474}, kind=EventKind.SYSRQ, order=-1)
    report.sysrq = True
    assert list(causes(report)) == ["manual_sysrq"]
    assert "manual_sysrq" not in causes(host())


def test_panic_and_no_killable() -> None:
    panic = host(victim=0, kind=EventKind.PANIC)
    panic.panic = "Out of memory: system-wide panic_on_oom is enabled"
    found = causes(panic)
    assert next(iter(found)) == "panic_on_oom"
    assert found["panic_on_oom"].advice[0].command == ("sysctl", "-w", "vm.panic_on_oom=0")
    panic.panic = "System is deadlocked on memory"
    assert next(iter(causes(panic))) == "no_killable_process"
    nobody = host(victim=0, kind=EventKind.NO_KILLABLE)
    assert "protected (-1000): 1 of 6 listed processes" in causes(nobody)["no_killable_process"].evidence[1].text


def test_allocating_task_killed() -> None:
    report = host(victim=145)
    assert "allocating_task_killed" not in causes(report)
    report.allocating_task_killed = True
    assert causes(report)["allocating_task_killed"].advice[0].command == (
        "sysctl",
        "-w",
        "vm.oom_kill_allocating_task=0",
    )


@pytest.mark.parametrize(("reaped", "there"), [(False, True), (True, False), (None, False)])
def test_unkillable_victim(reaped: bool | None, there: bool) -> None:
    report = host()
    report.victims[0].reaped = reaped
    assert ("unkillable_victim" in causes(report)) is there


def test_partial_report() -> None:
    report = host()
    assert "partial_report" not in causes(report)
    report.complete, report.tasks, report.trigger = False, [], None
    text = causes(report)["partial_report"].evidence[0].text
    assert text == "not in this text: the first line (who asked for memory) and the task table"


# --- the table itself


def test_every_possible_cause_says_what_would_settle_it() -> None:
    everything = host(node_kib={"anon_thp": 200000}, tasks=(*TASKS[:4], task(147, "java", 45000)), victim=147)
    for cause in causes(everything).values():
        assert cause.evidence
        assert cause.confidence is not Confidence.POSSIBLE or cause.settles


def test_codes_are_unique_and_documented() -> None:
    assert len(BY_CODE) == len(CAUSES)
    page = Path(__file__).parents[2] / "docs" / "explanation" / "causes.md"
    sections = re.findall(r"^### `(\w+)`$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert sections == [rule.code for rule in CAUSES] + list(CODES)
