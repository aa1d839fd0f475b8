"""Who died of a draft: its kills, with what the task table and the announcement know of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomsight.naming.marked import Kind, mark
from oomsight.report.model import Note, Selected, Victim
from oomsight.report.task_rows import TaskRows
from oomsight.report.times import when_of

if TYPE_CHECKING:
    from oomsight.report.carriers import Lines
    from oomsight.report.draft import Draft
    from oomsight.report.kills import Kill
    from oomsight.report.model import OomReport
    from oomsight.report.times import Clock


def read_victims(report: OomReport, draft: Draft, lines: Lines, clock: Clock) -> None:
    """Fill ``report.victims`` and ``report.selected`` from the kills of *draft*; the table is already read."""
    rows = TaskRows.of(report.tasks)
    announce = draft.announce
    if announce is not None:
        report.selected = Selected(announce.pid, announce.comm, None, announce.score, announce.line)
    for kill in draft.kills:
        victim = Victim(
            kill.pid, kill.comm, "group" if kill.role == "group" else "child" if kill.role == "child" else "selected",
            uid=kill.uid, total_vm_kib=kill.kib.get("total-vm", kill.kib.get("vsz")),
            anon_rss_kib=kill.kib.get("anon-rss"), file_rss_kib=kill.kib.get("file-rss"),
            shmem_rss_kib=kill.kib.get("shmem-rss"),
            pgtables_kib=kill.kib.get("pgtables"), oom_score_adj=kill.oom_score_adj, reaped=kill.reaped,
            reaped_left_kib=kill.reaped_left_kib, prefix=kill.prefix or (announce.prefix if announce else None),
            line=kill.line,
            time=when_of(lines, kill.index, clock),
        )
        at = rows.find(kill.pid, "pid")
        if at is not None:
            victim.tgid = rows.numbers("tgid")[at]
            victim.comm = victim.comm or rows.names[at]  # a line cut behind the pid
            victim.uid = rows.numbers("uid")[at] if victim.uid is None else victim.uid
            if victim.oom_score_adj is None and (adj := rows.column("oom_score_adj")) is not None:
                victim.oom_score_adj = adj[at]
        elif report.selected is not None and report.selected.pid == kill.pid:
            victim.tgid = kill.pid
        if report.selected is not None and report.selected.pid in (kill.pid, victim.tgid):
            victim.uid = report.selected.uid if victim.uid is None else victim.uid
            if victim.role != "group":
                victim.role = "selected"
        if victim.role == "child" and announce is not None and _thread_of(announce, victim, rows):
            victim.role = "selected"
            report.selected = Selected(victim.tgid, announce.comm, None, announce.score, announce.line)
            report.notes.append(
                Note("chosen_thread", announce.line,
                     f"{announce.pid}, announced as chosen, is not in the task table, which lists processes: it is a"
                     f" thread of process {victim.tgid}, and these kernels compare threads")
            )
        if victim.role != "group":
            victim.task_memcg = report.task_memcg
            victim.score = announce.score if announce is not None else kill.score
        report.victims.append(victim)
        if kill.undivided:
            undivided = "resident memory is one number in the kill line; it is told as anonymous, file pages are in it"
            report.notes.append(Note("resident_undivided", kill.line, undivided))
        if kill.damaged:
            report.notes.append(
                Note("number_damaged", kill.line,
                     "the kill line holds a number of more than 18 digits; it is not believed")
            )
        if kill.announced_only:
            report.notes.append(
                Note("kill_line_missing", kill.line,
                     "only the announcement is in the text, not the kill line with its sizes;"
                     " on kernels before 5.1 a child may have been killed instead")
            )
    # The kill line may come before the thread it names was replaced as leader: table row by tgid otherwise.
    if draft.reaper_only is not None:
        _reaper_only(report, draft.reaper_only)


def _thread_of(announce: Kill, victim: Victim, rows: TaskRows) -> bool:
    """
    Whether the announced task is a thread of the *victim*, not its parent: threads have no row in the table, a parent
    has one (the victim is in it, so the table is there), and a thread goes by its process's name as a rule.
    """
    return (
        victim.tgid is not None
        and announce.comm == victim.comm
        and rows.find(announce.pid, "tgid", "pid") is None
    )


def _reaper_only(report: OomReport, kill: Kill) -> None:
    report.notes.append(
        Note("reaper_without_kill", kill.line,
             f"the reaper {'freed' if kill.reaped else 'could not free'} process {kill.pid}"
             f" ({mark(kill.comm, Kind.COMM)}),"
             " but its kill line is not in the text")
    )
    if kill.comm is not None:
        report.reaped_only.append((kill.pid, kill.comm))
    report.lines["reaper"] = kill.line
