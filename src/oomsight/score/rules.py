"""
A live process by the kernel's rules: what badness counts of it, how many points it has, which era's rules apply.

Thousands of processes are scored at once, so :func:`score_points` walks plain numbers; :func:`facts` gives the same
process to the full engine (:func:`oomsight.kernel.badness.badness`, :func:`oomsight.kernel.selection.select`), and the
tests hold both against each other for every rule.
"""

from __future__ import annotations

from oomsight._named import NamedTuple
from oomsight.kernel.badness import (
    BADNESS_RULES,
    OOM_SCORE_ADJ_MIN,
    TaskFacts,
    badness,
    badness_modern,
    oom_score,
    rule_for_release,
    rule_for_text,
)
from oomsight.kernel.counters import counter_era, counter_error_pages
from oomsight.kernel.release import NEWEST, parse_release
from oomsight.naming.marked import Kind, mark
from oomsight.score.model import Rules

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Final

    from oomsight.kernel.badness import Rule
    from oomsight.kernel.counters import CounterEra
    from oomsight.proc.process import Process
    from oomsight.score.model import Machine

_CAP_SYS_ADMIN: Final = 1 << 21
_MODERN: Final = ("swap_pages", "pgtables_bytes")  # what rules of 4.15 and later count besides rss


class Memory(NamedTuple):
    """What badness counts of one process."""

    rss_pages: int
    swap_pages: int
    pgtables_bytes: int


def memory_reader(machine: Machine, era: CounterEra) -> Callable[[Process], Memory]:
    """A function that gives a process's :class:`Memory` by the counters of ``era``."""
    page_kib = max(machine.page_size >> 10, 1)
    from_stat = era.rss_from == "stat"

    def read(process: Process) -> Memory:
        stat, status = process.stat, process.status
        rss = stat.rss_pages if from_stat or status.vm_rss_kib is None else status.vm_rss_kib // page_kib
        return Memory(rss, (status.vm_swap_kib or 0) // page_kib, (status.vm_pte_kib or 0) << 10)

    return read


def error_reader(machine: Machine, era: CounterEra) -> Callable[[Process], int]:
    """A function that bounds the error of a process's rss and swap counters together, in pages, either way."""
    one = counter_error_pages(era, cpus=machine.cpus or 1, threads=1) or 0
    by_thread = era.kind == "split_rss"

    def error(process: Process) -> int:
        status = process.status
        # A counter that never counted anything has no error; before 4.5 there were two for rss, not shown.
        rss = (status.rss_anon_kib, status.rss_file_kib, status.rss_shmem_kib)
        counters = 2 if rss[0] is None else (rss[0] != 0) + (rss[1] != 0) + (rss[2] != 0)
        return one * (counters + bool(status.vm_swap_kib)) * (process.stat.num_threads if by_thread else 1)

    return error


def facts(process: Process, memory: Memory, machine: Machine) -> TaskFacts:
    """The process as the kernel's formulas see it. What 2.6.35 and older counted is not all in /proc and stays out."""
    status = process.status
    return TaskFacts(
        rss_pages=memory.rss_pages,
        swap_pages=memory.swap_pages,
        pgtables_bytes=memory.pgtables_bytes,
        nr_ptes=memory.pgtables_bytes // machine.page_size,  # one page each on 64-bit machines
        nr_pmds=((status.vm_pmd_kib or 0) << 10) // machine.page_size,
        oom_score_adj=process.oom_score_adj,
        cap_sys_admin=None if status.cap_eff is None else bool(status.cap_eff & _CAP_SYS_ADMIN),
        total_vm_pages=process.stat.vsize_bytes // machine.page_size,
        cpu_time_jiffies=process.stat.utime_ticks + process.stat.stime_ticks,
        nice=process.stat.nice,
        no_mm=process.stat.vsize_bytes == 0,
        is_init=is_init(process),
    )


def is_init(process: Process) -> bool:
    """Whether it is the global init. A container's pid 1 is none: the kernel gives it a score."""
    return process.stat.pid == 1 and not process.oom_score


def exemption(process: Process) -> str | None:
    """Why the kernel would never choose this process, in the words of :data:`oomsight.kernel.selection.SKIPS`."""
    stat = process.stat
    if stat.is_kthread:
        return "kernel thread"
    if stat.vsize_bytes == 0:
        return "no memory of its own"
    if is_init(process):
        return "global init"
    if process.oom_score_adj == OOM_SCORE_ADJ_MIN:
        return "oom_score_adj -1000"
    return "inside vfork" if process.in_vfork else None


def score_points(rule: Rule, process: Process, memory: Memory, total_pages: int, machine: Machine) -> int:
    """Badness of a process that is not exempt."""
    if rule.root == "none" and rule.memory == _MODERN:
        return badness_modern(
            memory.rss_pages, memory.swap_pages, memory.pgtables_bytes, process.oom_score_adj or 0, total_pages,
            machine.page_size, rule.floor,
        )  # fmt: skip
    points = badness(rule, facts(process, memory, machine), total_pages, machine.page_size, machine.long_bits)
    return 0 if points is None else points.total


def recognise(machine: Machine, processes: Sequence[Process]) -> Rules:
    """
    The rules this kernel follows. Its release proposes; /proc/PID/oom_score, which the kernel computes by the same
    rule, decides: distributions back-port, and if another formula reproduces it clearly better, that one is taken.
    """
    release = parse_release(machine.release)
    proposed = rule_for_text(machine.release or "") or rule_for_release(NEWEST)
    era = counter_era(release or NEWEST)
    scored = [p for p in processes if p.oom_score is not None and p.oom_score_adj is not None]
    matched = _matches(proposed, era, machine, scored)
    rule, words = proposed, f"release {mark(machine.release or '', Kind.OWNER)}" if release else "the newest rule"
    if matched * 10 < len(scored) * 9:
        # RssAnon is of 4.5; what came before 2.6.36 cannot be computed from /proc.
        oldest = (4, 5) if any(p.status.rss_anon_kib is not None for p in scored) else (2, 6, 36)
        others = [other for other in BADNESS_RULES if other.until is None or other.until >= oldest]
        best, index = max((_matches(other, era, machine, scored), -index) for index, other in enumerate(others))
        if best > matched + len(scored) // 10:
            rule, matched = others[-index], best
            words += f", but the formula of {rule.name} reproduces /proc/PID/oom_score better"
    return Rules(rule, era, release, words, len(scored), matched)


def _matches(rule: Rule, era: CounterEra, machine: Machine, processes: Iterable[Process]) -> int:
    """How many of /proc's oom_score the rule reproduces, within the error of the counters."""
    read, error = memory_reader(machine, era), error_reader(machine, era)
    total_pages, bits, count = machine.total.pages, machine.long_bits, 0
    for process in processes:
        if exemption(process):
            count += process.oom_score == 0
            continue
        points, shown = score_points(rule, process, read(process), total_pages, machine), process.oom_score
        if oom_score(rule, points, total_pages, bits) == shown:
            count += 1
        elif shown is not None and (slack := error(process)):
            low, high = (oom_score(rule, points + pages, total_pages, bits) for pages in (-slack, slack))
            count += low <= shown <= high
    return count
