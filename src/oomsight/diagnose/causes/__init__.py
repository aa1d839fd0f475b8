"""
The cause table: which codes exist, in order of importance, and who finds them.

One row per code. A rule reads a :class:`~oomsight.diagnose.causes.case.Case` and answers with a finding or ``None``.
Findings that explain most of the shortage by themselves (``main``) come first, then certain, likely and possible ones
in table order: the first cause is the verdict.
"""

from __future__ import annotations

from typing import Final

from oomsight.diagnose.causes import events, holders, limits, machine, placement, processes, reserved
from oomsight.diagnose.causes.case import Case, make_case
from oomsight.diagnose.causes.rule import Finding, Rule
from oomsight.diagnose.model import Cause, Confidence

__all__ = ["BY_CODE", "CAUSES", "Case", "Finding", "Rule", "find_causes", "make_case"]

_OOM_KILL = "mm/oom_kill.c"
_MEM = "mm/page_alloc.c show_free_areas (<= 6.4), mm/show_mem.c (6.6+)"
_MEMCG = "mm/memcontrol.c"

# fmt: off
CAUSES: Final[tuple[Rule, ...]] = (
    Rule("manual_sysrq", "The kill was asked for by hand (SysRq-f)", "oom", events.manual_sysrq,
         "drivers/tty/sysrq.c; order -1 from 4.3"),
    Rule("panic_on_oom", "The machine is set to panic on OOM", "oom", events.panic_on_oom,
         f"{_OOM_KILL} check_panic_on_oom, 2.6.36+"),
    Rule("no_killable_process", "No process could be killed", "oom", events.no_killable_process,
         f"{_OOM_KILL} out_of_memory; a warning from 4.19, a panic before"),
    Rule("memcg_limit", "A cgroup's memory limit was reached", "memcg", limits.memcg_limit,
         f"{_MEMCG} mem_cgroup_print_oom_meminfo; {_OOM_KILL} dump_oom_summary, 5.0+"),
    Rule("numa_or_cpuset_constraint", "The allowed NUMA nodes ran out, not the machine", "host",
         placement.numa_or_cpuset_constraint, f"{_OOM_KILL} constrained_alloc"),
    Rule("cma_reserved", "What is free is set aside for CMA", "host", placement.cma_reserved,
         "mm/page_alloc.c __zone_watermark_unusable_free, 3.5+"),
    Rule("low_zone_exhausted", "Only a low memory zone ran out", "host", placement.low_zone_exhausted,
         "mm/page_alloc.c __zone_watermark_ok, lowmem_reserve"),
    Rule("fragmentation", "Free memory lies in pieces too small for the request", "host", placement.fragmentation,
         "mm/page_alloc.c __zone_watermark_ok (order > 0)"),
    Rule("hugepages_reserved", "Huge pages are set aside", "host", reserved.hugepages_reserved,
         "mm/hugetlb.c hugetlb_show_meminfo, 3.10+"),
    Rule("memory_balloon", "The hypervisor took memory (balloon)", "host", reserved.memory_balloon, f"{_MEM}, 6.17+"),
    Rule("gpu_memory", "GPU drivers hold the memory", "host", reserved.gpu_memory, f"{_MEM} (gpu_active), 7.x"),
    Rule("kernel_slab", "Kernel objects hold the memory", "oom", holders.kernel_slab,
         f"{_MEM}; mm/slab_common.c dump_unreclaimable_slab, 4.15+"),
    Rule("page_tables", "Page tables hold the memory", "oom", holders.page_tables, _MEM),
    Rule("unaccounted_kernel_memory", "Memory is in no counter: drivers, or the kernel itself", "host",
         holders.unaccounted_kernel_memory, "the difference of all counters to RAM"),
    Rule("shmem_tmpfs", "Shared memory or files in tmpfs hold the memory", "oom", holders.shmem_tmpfs,
         f"{_MEM} (shmem); {_MEMCG} memory.stat shmem, 4.12+"),
    Rule("locked_memory", "Locked memory cannot be reclaimed", "oom", reserved.locked_memory,
         f"{_MEM} (unevictable, mlocked)"),
    Rule("socket_memory", "Network buffers fill the cgroup", "memcg", holders.socket_memory,
         f"{_MEMCG} memory.stat sock, 4.5+"),
    Rule("page_fault_failed", "A page fault failed; memory was not short", "host", machine.page_fault,
         f"{_OOM_KILL} pagefault_out_of_memory, up to 5.15"),
    Rule("host_exhausted", "The machine ran out of memory", "host", machine.host_exhausted,
         f"{_OOM_KILL} out_of_memory"),
    Rule("protection_misused", "oom_score_adj protects the process that holds the memory", "oom",
         processes.protection_misused, f"{_OOM_KILL} oom_badness"),
    Rule("noisy_neighbour", "Somebody else than the victim held the memory", "oom", processes.noisy_neighbour,
         f"{_OOM_KILL} dump_tasks"),
    Rule("thread_or_fork_bomb", "Threads or processes multiplied", "oom", processes.thread_or_fork_bomb,
         f"{_MEM} (kernel_stack); {_OOM_KILL} dump_tasks"),
    Rule("many_processes", "Many processes of one kind fill the memory together", "oom", processes.many_processes,
         f"{_OOM_KILL} dump_tasks"),
    Rule("swap_exhausted", "Swap is full as well", "oom", machine.swap_exhausted, "mm/swap_state.c "
                                                                                  "show_swap_cache_info"),
    Rule("swap_turned_off", "Swap was being turned off", "host", machine.swap_turned_off,
         "mm/swapfile.c swapoff, which takes the size off first"),
    Rule("no_swap", "There is no swap", "host", machine.no_swap, "mm/swap_state.c show_swap_cache_info"),
    Rule("swap_unusable", "Swap was free and did not help", "oom", machine.swap_unusable,
         f"mm/vmscan.c get_swappiness; {_MEMCG} memory.swap.max"),
    Rule("dirty_writeback", "Page cache waits to be written", "oom", machine.dirty_writeback,
         f"{_MEM} (dirty, writeback)"),
    Rule("page_cache_stuck", "Page cache was left and not given back", "oom", machine.page_cache_stuck,
         f"{_MEM} (active_file, inactive_file)"),
    Rule("unkillable_victim", "The victim could not give its memory back", "oom", events.unkillable_victim,
         f"{_OOM_KILL} oom_reap_task, 4.6+"),
    Rule("allocating_task_killed", "The allocating task was killed, "
                                   "whoever it was", "oom", events.allocating_task_killed,
         f"{_OOM_KILL} out_of_memory (sysctl vm.oom_kill_allocating_task)"),
    Rule("adj_ignored", "oom_score_adj had no effect in so small a cgroup", "memcg", limits.adj_ignored,
         f"{_OOM_KILL} oom_badness, 3.5+"),
    Rule("heap_exceeds_limit", "The program's own heap or cache setting may not fit into the limit", "memcg",
         limits.heap_exceeds_limit, f"{_MEMCG} (limit); the name of the process"),
    Rule("thp_bloat", "Huge pages may inflate resident memory", "oom", holders.thp_bloat,
         f"{_MEM} (anon_thp, 4.8+); {_MEMCG} memory.stat anon_thp"),
    Rule("leak_suspected", "A leak?", "oom", processes.leak_suspected, f"{_OOM_KILL} dump_tasks"),
    Rule("traffic_spike", "A burst of work?", "oom", processes.traffic_spike, f"{_OOM_KILL} dump_tasks"),
    Rule("partial_report", "The text holds only a part of the report", "oom", events.partial_report,
         f"{_OOM_KILL} oom_kill_process (rate limit: 10 reports in 5 s)"),
)
"""The codes of kernel OOM events; those of other events are in :mod:`oomsight.diagnose.userspace`."""
# fmt: on

BY_CODE: Final = {rule.code: rule for rule in CAUSES}
_HOST: Final = tuple(rule for rule in CAUSES if rule.scope in ("host", "oom"))
_IN_MEMCG: Final = tuple(rule for rule in CAUSES if rule.scope in ("memcg", "oom"))
_RANK: Final = {Confidence.CERTAIN: 0, Confidence.LIKELY: 0, Confidence.POSSIBLE: 1}
"""Certain and likely causes keep table order among themselves: importance beats sureness, questions come last."""


def find_causes(case: Case) -> list[Cause]:
    """Return the causes of *case*, most important first; none for events that are no kernel OOM."""
    if not case.is_oom:
        return []
    found = []
    for rule in _IN_MEMCG if case.in_memcg else _HOST:
        finding = rule.find(case)
        if finding is not None:
            found.append((not finding.main, _RANK[finding.confidence], rule, finding))
    case.main_codes = [rule.code for not_main, _, rule, _ in found if not not_main]
    found.sort(key=lambda entry: entry[:2])  # stable: table order within
    return [
        Cause(rule.code, f.title or rule.title, f.confidence, f.evidence, f.advice, f.settles)
        for _, _, rule, f in found
    ]
