"""Causes that lie in the event itself: who asked for the kill, why nobody could die, why the text says so little."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight.diagnose.advice import sysctl
from oomsight.diagnose.causes.rule import Finding
from oomsight.diagnose.model import Advice, Confidence
from oomsight.diagnose.wording import count, listing, missing, prints_no_table, process, size
from oomsight.report.model import EventKind

if TYPE_CHECKING:
    from oomsight.diagnose.causes.case import Case

TINY_KIB: Final = 4096
"""A cgroup smaller than this can hardly start a process: stack, page tables and program text take more."""
NAMED_SHARE: Final = 0.2
"""A protected process with this share of the memory is named as the one that can grow."""
_KERNEL_KINDS: Final = (EventKind.GLOBAL, EventKind.MEMCG, EventKind.CPUSET, EventKind.MEMPOLICY, EventKind.REAPER_ONLY)


def manual_sysrq(case: Case) -> Finding | None:
    """Somebody or something asked for it (SysRq-f): memory need not have been short."""
    if not case.manual:
        return None
    return Finding(
        Confidence.CERTAIN,
        [
            case.at(
                "the kill was asked for by SysRq-f (order -1 or the line 'Manual OOM execution')",
                "sysrq",
                "head",
                "kill",
            )
        ],
        [
            Advice(
                "find who did: a person at the console, a write of 'f' to /proc/sysrq-trigger (shell history, audit "
                "log), or a watchdog that uses it"
            ),
            Advice(
                "to refuse it, leave the bit 64 (signalling of processes) out of the mask; see the mask in force",
                ("sysctl", "kernel.sysrq"),
            ),
        ],
        main=True,
    )


def panic_on_oom(case: Case) -> Finding | None:
    """The machine is set to panic instead of killing."""
    if case.report.kind is not EventKind.PANIC or "deadlocked" in (case.report.panic or ""):
        return None
    return Finding(
        Confidence.CERTAIN,
        [case.at("the kernel panicked because panic_on_oom says so; no process was chosen", "panic", "head")],
        [
            sysctl(
                "let the kernel kill one process instead of the machine (1 panics when the whole machine is out of "
                "memory, 2 always)",
                "vm.panic_on_oom",
                0,
            )
        ],
        main=True,
    )


def no_killable_process(case: Case) -> Finding | None:
    """Nobody could be killed."""
    report = case.report
    if report.kind is not EventKind.NO_KILLABLE and "deadlocked" not in (report.panic or ""):
        return None
    protected = sum(1 for task in report.tasks if task.oom_score_adj == -1000 or task.oom_adj == -17)
    empty = not report.tasks and report.table_columns is not None
    evidence = [
        case.at("the kernel found no process it may kill; nothing was freed", "no_killable", "panic", "kill", "head")
    ]
    if report.tasks:
        evidence.append(
            case.at(f"protected (-1000): {protected} of {count(len(report.tasks), 'listed process')}", "table_first")
        )
    if empty:
        evidence.append(case.at("the task table is empty", "table_first"))
        where = "in the cgroup" if case.in_memcg else "on the machine"
        nobody = Advice(
            f"no process {where} was left that could be killed: those there were ending already, or the request came "
            "from a process just being put in. What holds the memory is no process: kernel memory, page cache or tmpfs"
        )
        if case.plenty_free:
            nobody = Advice(
                "memory was free, so it is the request that could not be met (its size, its zone): its first line, "
                "'… invoked oom-killer: gfp_mask=…', says what was asked for"
            )
        elif not case.in_memcg:
            nobody = Advice(
                "no process was there that could be killed, as early in boot: kernel, initramfs and drivers alone ask "
                "for more than there is. Make the initramfs smaller (it is unpacked into RAM), set less aside (cma=, "
                "hugepages=, crashkernel=), or give the machine more memory"
            )
        small = Advice("a limit this small does not even hold what the kernel needs to start one process: raise it")
        tiny = isinstance(case.limit_kib, int) and case.limit_kib < TINY_KIB
        return Finding(Confidence.CERTAIN, evidence, [small, nobody] if tiny else [nobody], main=True)
    return Finding(
        Confidence.CERTAIN,
        evidence,
        [
            Advice(
                f"take oom_score_adj -1000 from {_holding(case)}; or the memory is the kernel's (slab, page tables, no "
                "counter) or tmpfs, which no kill frees: see where it was"
            )
        ],
        main=True,
    )


def _holding(case: Case) -> str:
    """The protected process that holds the memory, by name where the table shows one."""
    big = case.biggest
    if big is None or big.oom_score_adj != -1000 or not case.exceeds(case.biggest_kib, NAMED_SHARE):
        return "what can grow"
    return f"{process(big.comm, big.pid)}, which held {size(case.biggest_kib)}"


def allocating_task_killed(case: Case) -> Finding | None:
    """vm.oom_kill_allocating_task chose the victim: whoever asked last, not who holds most."""
    if not case.report.allocating_task_killed:
        return None
    return Finding(
        Confidence.CERTAIN,
        [
            case.at(
                "the kill message says oom_kill_allocating_task: the task whose request failed was killed, unranked",
                "kill",
            )
        ],
        [sysctl("let the kernel rank processes by the memory they hold", "vm.oom_kill_allocating_task", 0)],
    )


def unkillable_victim(case: Case) -> Finding | None:
    """The victim could not give its memory back."""
    stuck = [victim for victim in case.report.victims if victim.reaped is False]
    pinned = case.report.pinned_by
    if not stuck and not pinned:
        return None
    evidence = [
        case.at(
            f"the kernel's reaper could not take the memory of {process(victim.comm, victim.pid)}", "reaper", "kill"
        )
        for victim in stuck[:3]
    ]
    if pinned:
        evidence.append(
            case.at(
                f"memory of the victim is shared with a process that may not be killed ({count(len(pinned), 'line')})",
                "pinned",
                "kill",
            )
        )
    return Finding(
        Confidence.CERTAIN,
        evidence,
        [
            Advice(
                "expect more kills right after: the memory stays taken, and the next process is chosen. Look for "
                "processes stuck in state D (storage, NFS, a driver)",
                ("ps", "-eo", "pid,stat,wchan:32,comm"),
            ),
            Advice("see what they wait for in the kernel log", ("sh", "-c", "echo w > /proc/sysrq-trigger")),
        ],
    )


def partial_report(case: Case) -> Finding | None:
    """The text holds only a part of what the kernel printed, or the kernel printed only a part."""
    report = case.report
    if report.complete or report.kind not in _KERNEL_KINDS:
        return None
    absent = [
        words
        for words, there in (
            ("the first line (who asked for memory)", report.trigger is not None),
            ("the memory numbers", report.meminfo is not None or report.memcg is not None),
            ("the task table", bool(report.tasks) or prints_no_table(report)),
            ("the kill line", bool(report.victims)),
        )
        if not there
    ]
    if not absent:
        return None
    evidence = [case.at(f"not in this text: {listing(absent)}", "kill", "oom_kill", "head", "reaper")]
    if report.suppressed_callbacks:
        evidence.append(
            case.at(
                f"the kernel's rate limit dropped {count(report.suppressed_callbacks, 'report')} before this one",
                "head",
            )
        )
    advice = [Advice(f"to know more: {missing(report)}")]
    if not report.tasks and report.trigger is not None and not prints_no_table(report):
        advice.append(
            sysctl(
                "kernels of this age print the table only with this set (2.6.25 and later; before there is none)"
                if report.trigger.oom_adj is not None and report.trigger.oom_score_adj is None
                else "if the table is missing in the log itself, it is switched off or filtered by level (info)",
                "vm.oom_dump_tasks",
                1,
            )
        )
    if report.container_lost and "oom_kill" not in report.lines and "announce" not in report.lines:
        advice.append(
            Advice(
                "if it was one of many kills: after ten reports in five seconds the kernel prints kill lines only; the "
                "first kill of the burst has its report"
            )
        )
    return Finding(Confidence.CERTAIN, evidence, advice)
