"""One finished draft to one :class:`~oomsight.report.model.OomReport`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomsight._lazy import lazy
from oomsight.naming.marked import Kind, mark
from oomsight.report.draft import REPORTING
from oomsight.report.memory import Numbered, parse_memcg, parse_meminfo
from oomsight.report.model import (
    EventKind,
    Note,
    OomReport,
    Selected,
    Span,
    Task,
    Victim,
    When,
)
from oomsight.report.openvz import of_beancounter, read_rage
from oomsight.report.page_size import infer_page_size
from oomsight.report.summary import read_summary
from oomsight.report.table import build_tasks, guess_columns, header_columns, looks_like_table, row_pattern
from oomsight.report.task_rows import TaskRows
from oomsight.report.times import Clock, is_minute, when_at, year_in
from oomsight.report.trigger import read_trigger, stack
from oomsight.report.unwrap import unescape_name

if TYPE_CHECKING:
    from oomsight.report.carriers import Lines
    from oomsight.report.draft import Draft
    from oomsight.report.kills import Kill

_TASK_IN = lazy(r"Task in (?P<task>.*?)(?: killed as a result of limit of (?P<oom>.*))?$")
_GROUP = lazy(r"Tasks in (.*) are going to be killed")
# Panics because nobody was left to kill (until 4.18, and since); the others are asked for by vm.panic_on_oom.
_NOBODY_LEFT = lazy(r"no killable processes|deadlocked on memory")
_EXITING = lazy(r"OOM victim (\d{1,10}) \((.*)\) is already exiting")
_SHARING = lazy(r"Kill process (\d{1,10}) \((.*)\) sharing same memory")
# Whoever writes about the line leaves its numbers out: "oom-kill:constraint=CONSTRAINT_MEMCG,...,pid=N,...".
_OF_ONE_KILL = lazy(r"nodemask=|[,\s]pid=\d|constraint=[A-Z_]*\s*$")
_FOOTNOTE = lazy(r"\[[ \t]*\d+\][ \t]+[A-Za-z]|\[\d+\]:?[ \t]+https?:")
_BLOCKS = ("zone", "counters", "usage")  #: memory of the machine or of a cgroup
_NOT_NUMBERED = frozenset({"row", "frame", "regs", "trace"})
"""Lines that are many and are read in bulk, or not at all."""
_KINDS = {
    "CONSTRAINT_MEMCG": EventKind.MEMCG,
    "CONSTRAINT_CPUSET": EventKind.CPUSET,
    "CONSTRAINT_MEMORY_POLICY": EventKind.MEMPOLICY,
}


def build_report(draft: Draft, lines: Lines, name: str, clock: Clock) -> OomReport | None:
    """Return the report of *draft*, or ``None`` when its lines are no event (a Mem-Info somebody asked for)."""
    if not _is_event(draft, lines):
        return None
    texts, nos = lines.texts, lines.nos
    parts: dict[str, list[Numbered]]
    parts = {k: [(nos[i], texts[i]) for i in v] for k, v in draft.parts.items() if k not in _NOT_NUMBERED}
    # Line numbers fall where the text stood newest line first.
    report = OomReport(EventKind.GLOBAL, Span(name, *sorted((nos[draft.start], nos[draft.last]))))
    # Of a head whose name has a newline in it, the line before has the stamp.
    in_name = 1 if draft.comm_prefix else 0
    anchor = draft.head - in_name if draft.head is not None else (draft.kills[0].index if draft.kills else draft.start)
    report.when = _when(lines, anchor, clock)
    if report.when.time_text is None and report.when.time is None and anchor != draft.start:
        report.when = _when(lines, draft.start, clock)  # wrapped by hand: only its first line has the stamp
    read_trigger(report, draft, lines, parts)
    _tasks(report, draft, lines)
    if _two_tables(report):
        # All above the table is of another event, the head and its time too.
        draft.head, report.trigger = None, None
        if draft.kills:
            report.when = _when(lines, draft.kills[0].index, clock)
        if report.tasks:
            report.source.first_line = report.tasks[0].line
    else:
        report.meminfo = parse_meminfo(parts)
        report.memcg = parse_memcg(parts, parts.get("stat", []) if "memcg_stats" in parts else [])
    read_summary(report, draft, lines)
    _memcg_paths(report, parts)
    _victims(report, draft, lines, clock)
    _extras(report, draft, lines)
    _kind(report, draft, lines)
    infer_page_size(report)
    _landmarks(report, draft, nos)
    if report.when.year_derived:
        _year(report, lines)
    if is_minute(report.when.time_text):
        early = "the log shows minutes, and seconds since the line before: the time may be up to a minute early"
        report.notes.append(Note("minutes_only", None, early))
    has_block = report.memcg is not None or report.meminfo is not None
    report.complete = draft.head is not None and has_block and bool(report.tasks) and bool(report.victims)
    _missing_notes(report, draft)
    return report


def _when(lines: Lines, index: int, clock: Clock) -> When:
    """What the carrier of a line says of its time; nothing where it has none."""
    raw = lines.raws[index]
    return When() if raw == lines.texts[index] else when_at(lines.raws, index, clock)


def _year(report: OomReport, lines: Lines) -> None:
    """Give the year the log does not print: that of another line of the same day, else the latest that fits stands."""
    time = report.when.time or ""
    day = time[:11]
    if day not in lines.years:  # there may be many reports of one day
        lines.years[day] = year_in(lines.raws, time)
    year = lines.years[day]
    for when_ in (report.when, *(v.time for v in report.victims if v.time is not None)):
        if year is not None and when_.year_derived and when_.time is not None:
            when_.time = year + when_.time[4:]
    how = "another line of that day has it" if year else "the latest that is not after the text was written or read"
    report.notes.append(Note("year_derived", None, f"the log prints no year; {year or time[:4]} is taken: {how}"))


def _is_event(draft: Draft, lines: Lines) -> bool:
    if draft.shown:
        return False
    if draft.kills or draft.head is not None or draft.alloc is not None or draft.reaper_only is not None:
        return True
    if draft.panic is not None or draft.no_killable is not None or draft.ignored or draft.rage is not None:
        return True
    if any(kind == "exiting" for kind, _ in draft.extra):
        return True
    # A lone "oom-kill:" line is a kill whose kill line was filtered out; cgroup blocks and tables exist only for OOM.
    parts = draft.parts
    if any(" killed as a result of limit of /" in lines.texts[i] for i in parts.get("task_in", ())):
        return True  # the kernel's own sentence about one kill, whatever was cut off around it
    if any(_OF_ONE_KILL.search(lines.texts[i]) for i in parts.get("oom_kill", ())):
        return True
    if "task_in" in parts and not parts.keys().isdisjoint(("usage", "memcg_stats")):
        return True
    if "memcg_stats" in parts and not parts.keys().isdisjoint(("stat", "header", "usage")):
        return True
    if any(": cache:" in lines.texts[i] for i in parts.get("memcg_stats", ())):  # up to 5.2 all on its line
        return True
    if "table" in parts:  # its title
        return True
    if any(REPORTING in lines.texts[i] for i in parts.get("frame", ())):
        return True
    rows = [lines.texts[i] for i in parts.get("row", ())]
    if "header" in parts:
        return len(rows) > 1 or not parts.keys().isdisjoint(_BLOCKS)
    return looks_like_table(rows)


def _tasks(report: OomReport, draft: Draft, lines: Lines) -> None:
    rows = draft.parts.get("row", [])
    header = draft.parts.get("header")
    columns = None
    if header:
        text = lines.texts[header[0]]
        columns = header_columns(text)
        if columns is None:
            # The header itself is wrapped: its further words stand on the next lines.
            for extra in range(1, 4):
                if header[0] + extra >= len(lines.texts):
                    break
                following = lines.texts[header[0] + extra]
                for glue in ("", " "):
                    columns = columns or header_columns(text + glue + following)
                if columns is not None:
                    break
                text += ("" if not text.endswith(" ") else " ") + following
        report.table_columns = columns
    if not rows:
        return
    first, last = rows[0], rows[-1]
    if last - first + 1 == len(rows):
        texts, nos = lines.texts[first : last + 1], lines.nos[first : last + 1]
    else:
        texts, nos = [lines.texts[i] for i in rows], [lines.nos[i] for i in rows]
    if columns is None:
        columns = guess_columns(texts)
        if columns is None:
            unknown = "the task table has columns this version does not know"
            report.notes.append(Note("table_unreadable", nos[0], unknown))
            return
        report.notes.append(
            Note("table_no_header", nos[0],
                 "the task table's header is not in the text; columns recognised by their count")
        )
    tails = {lines.nos[i]: t for i, t in draft.tails.items()}
    report.tasks, bad = build_tasks(texts, nos, columns, tails)
    while bad and bad[-1] == nos[-1] and _FOOTNOTE.match(texts[-1]):  # of the text around it: "[1] commit …"
        del bad[-1], nos[-1], texts[-1]
    if bad:
        repaired = _repair(draft, lines, bad, columns)
        if repaired:
            report.tasks = sorted([*report.tasks, *repaired], key=lambda t: t.line)
        left = len(bad) - len(repaired)
        if left:
            unread = f"{left} row(s) of the task table could not be read"
            report.notes.append(Note("table_rows_damaged", bad[0], unread))


def _two_tables(report: OomReport) -> bool:
    """
    Whether the table names a process twice: then text between two reports is missing (a cut log, a console that lost
    lines), and what stands above the second table's rows is not about this kill. Keeps the rows of the second.
    """
    tasks = report.tasks
    rows = TaskRows.of(tasks)
    if rows.distinct("pid") == len(rows):
        return False
    pids = rows.numbers("pid")
    last_at = {pid: i for i, pid in enumerate(pids)}
    again = min(last_at[pid] for i, pid in enumerate(pids) if last_at[pid] != i)
    # The tear is where a line is missing or unreadable, if there is such a place before the repetition.
    tear = next((i for i in range(again, 0, -1) if tasks[i].line - tasks[i - 1].line > 1), again)
    rest = tasks[tear:]
    report.tasks = rest if len({t.pid for t in rest}) == len(rest) else []
    report.notes.append(
        Note("reports_mixed", tasks[again].line, "the table starts over: lines between two reports are missing,"
             " and what stands above is of the earlier one")
    )
    return True


def _repair(draft: Draft, lines: Lines, bad: list[int], columns: tuple[str, ...]) -> list[Task]:
    """Rows broken by hard wrapping: append the next one or two lines until the row has its shape."""
    pattern = row_pattern(len(columns))
    by_no = {lines.nos[i]: i for i in draft.parts["row"]}
    out: list[Task] = []
    for no in bad:
        i = by_no.get(no)
        if i is None:
            continue
        for glue in ("", " "):
            text = lines.texts[i]
            done = False
            for following in lines.texts[i + 1 : i + 4]:
                if following.startswith("["):
                    break
                text = text + glue + following
                m = pattern.match(text)
                if m and m[len(columns) + 2]:
                    tasks, _ = build_tasks([text], [no], columns, {})
                    out.extend(tasks)
                    done = True
                    break
            if done:
                break
    return out


def _memcg_paths(report: OomReport, parts: dict[str, list[Numbered]]) -> None:
    """The older sentence ``Task in A killed as a result of limit of B``, also in three pieces (3.15, 3.16)."""
    task = oom = None
    for _no, text in parts.get("task_in", ()):
        at = text.find("Task in ")
        m = _TASK_IN.match(text, max(at, 0))
        if m:
            task = m["task"] if m["task"].startswith("/") else None
            oom = m["oom"]
    for _no, text in parts.get("limit_of", ()):
        oom = text[len("killed as a result of limit of ") :].strip() or oom
    if task and report.task_memcg is None:
        report.task_memcg = unescape_name(task.strip())
    if oom and report.oom_memcg is None:
        report.oom_memcg = unescape_name(oom.strip())
    if report.memcg is not None and report.oom_memcg is None and report.memcg.stats:
        # >= 5.3 prints the statistics of the cgroup whose limit was hit; older kernels print that one first.
        report.oom_memcg = report.memcg.stats[0].path
    for _no, text in parts.get("path", ()):
        key, _, shown = text.partition("=")
        if key == "oom_memcg" and report.oom_memcg is None:
            report.oom_memcg = shown.split()[0]
        elif key == "task_memcg" and report.task_memcg is None:
            report.task_memcg = shown.split()[0]
    own, limit = report.task_memcg or "/", report.oom_memcg or ""
    if own != "/" and len(own) < len(limit) and limit.startswith(own) and limit[len(own)] != "/":
        report.task_memcg = None  # who was in a cgroup above the full one would not be killed for it
        report.notes.append(Note("path_cut", None, "the victim's cgroup is cut short in the text, and left out"))
    for _no, text in parts.get("group", ()):
        m = _GROUP.match(text)
        if m:
            report.group_memcg = unescape_name(m[1])


def _victims(report: OomReport, draft: Draft, lines: Lines, clock: Clock) -> None:
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
            time=_when(lines, kill.index, clock),
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
    report.lines["reaper"] = kill.line


def _extras(report: OomReport, draft: Draft, lines: Lines) -> None:
    for kind, i in draft.extra:
        text = lines.texts[i]
        if kind == "exiting" and (m := _EXITING.search(text)):
            report.skipped_exiting.append((int(m[1]), unescape_name(m[2])))
        elif kind == "sharing" and (m := _SHARING.search(text)):
            report.sharing_killed.append((int(m[1]), unescape_name(m[2])))
        elif kind == "pinned":
            report.pinned_by.append(unescape_name(text))
    report.sysrq = draft.sysrq is not None or (report.trigger is not None and report.trigger.order == -1)
    report.suppressed_callbacks = draft.suppressed
    report.allocating_task_killed = any("oom_kill_allocating_task" in (k.prefix or "") for k in draft.kills)
    if draft.ignored and draft.sysrq is not None:
        why = "no process could be killed" if "eligible" in lines.texts[draft.sysrq] else "the killer was switched off"
        ignored = f"the kernel ignored the request for a kill: {why}"
        report.notes.append(Note("sysrq_ignored", lines.nos[draft.sysrq], ignored))
    read_rage(report, draft, lines)
    if draft.panic is not None:
        report.panic = lines.texts[draft.panic]
        report.lines["panic"] = lines.nos[draft.panic]
    repeats = sum(k.repeats for k in draft.kills)
    if repeats:
        again = f"the same kill stands {repeats + 1} times in the text; counted once"
        report.notes.append(Note("kill_line_repeated", None, again))


# Only a charge to a cgroup passes through these on its way to the killer: of 4.19+ try_charge*, which a page allocation
# reaches after it succeeded.
_CHARGING = frozenset({
    "mem_cgroup_out_of_memory", "mem_cgroup_oom_synchronize", "try_charge", "try_charge_memcg", "mem_cgroup_try_charge",
})  # fmt: skip


def _kind(report: OomReport, draft: Draft, lines: Lines) -> None:
    kills = [*draft.kills, *filter(None, [draft.announce])]  # up to 5.0 the announcement alone says whose memory it was
    prefix = next((k.prefix for k in kills if k.prefix), None) or ""
    frames = report.trigger.frames if report.trigger else stack(draft, lines.texts)
    in_memcg = (
        report.memcg is not None
        or report.constraint == "CONSTRAINT_MEMCG"
        or prefix.lower().startswith("memory cgroup")
        or of_beancounter(report, prefix)
        or ("__mem_cgroup_try_charge" in frames and "out_of_memory" not in frames)  # 3.10: inlined into it
        or not _CHARGING.isdisjoint(frames)
        or (report.oom_memcg is not None and report.meminfo is None)
    )
    if draft.alloc is not None and not report.victims:
        report.kind = EventKind.ALLOCATION_FAILURE
        return
    if report.constraint is None and (report.victims or draft.head is not None or report.memcg is not None):
        if in_memcg:
            report.constraint = "CONSTRAINT_MEMCG"
            report.notes.append(
                Note("constraint_derived", None,
                     "the constraint is not printed; the cgroup block, kill message or stack says CONSTRAINT_MEMCG")
            )
        elif "MPOL_BIND" in prefix:
            report.constraint = "CONSTRAINT_MEMORY_POLICY"
        elif "cpuset" in prefix:
            report.constraint = "CONSTRAINT_CPUSET"
    if draft.reaper_only is not None and not report.victims:
        report.kind = EventKind.REAPER_ONLY
    elif not report.victims and (draft.no_killable is not None or _NOBODY_LEFT.search(report.panic or "")):
        report.kind = EventKind.NO_KILLABLE
    elif draft.panic is not None and not report.victims:
        report.kind = EventKind.PANIC
    elif report.sysrq:
        report.kind = EventKind.SYSRQ
    elif in_memcg:
        # Trees between 5.0-rc1 and 5.0 print CONSTRAINT_NONE for cgroup OOMs; the oom_memcg= key is right.
        report.kind = EventKind.MEMCG
    else:
        report.kind = _KINDS.get(report.constraint or "", EventKind.GLOBAL)


def _landmarks(report: OomReport, draft: Draft, nos: list[int]) -> None:
    parts, lines, begin = draft.parts, report.lines, report.source.first_line
    found: dict[str, int] = {}
    for kind, indices in parts.items():
        key = _LANDMARK_OF.get(kind)
        if key is not None and (key not in found or indices[0] < found[key]):
            found[key] = indices[0]
    for key in _LANDMARKS:
        if key in found and (no := nos[found[key]]) >= begin:
            lines.setdefault(key, no)
        if key == "table_first" and "row" in parts:
            lines["table_last"] = nos[parts["row"][-1]]


_LANDMARK_KINDS = (
    ("head", ("head", "alloc")), ("cpu", ("cpu", "pid_comm")), ("meminfo", ("meminfo", "counters", "node", "zone")),
    ("memcg", ("usage", "memcg_stats", "task_in")), ("table_first", ("header", "row")), ("oom_kill", ("oom_kill",)),
    ("announce", ("announce",)), ("kill", ("kill",)), ("group", ("group",)), ("no_killable", ("no_killable",)),
    ("reaper", ("reaper",)), ("swap", ("swap",)),
)  # fmt: skip
_LANDMARKS = tuple(key for key, _ in _LANDMARK_KINDS)
_LANDMARK_OF = {kind: key for key, kinds in _LANDMARK_KINDS for kind in kinds}


def _missing_notes(report: OomReport, draft: Draft) -> None:
    """Say which parts of the report the text lacks; what is concluded rests on the rest."""
    if report.kind in {EventKind.ALLOCATION_FAILURE, EventKind.REAPER_ONLY}:
        return
    if draft.head is None and report.victims:
        report.container_lost = report.memcg is None and report.meminfo is None and not report.tasks
        unknown = "trigger and request are unknown" if report.trigger is None else "what was asked for is unknown"
        head = f"the report's head (“… invoked oom-killer”) is not in the text: {unknown}"
        report.notes.append(Note("head_missing", None, head))
    if report.victims and not report.tasks and report.when is not None:
        no_table = "the task table is not in the text: the choice cannot be recomputed"
        report.notes.append(Note("table_missing", None, no_table))
    if draft.head is not None and not report.victims and draft.no_killable is None and draft.panic is None:
        report.notes.append(Note("kill_missing", None, "no kill line follows in the text: what was killed is unknown"))
    if report.memcg is not None and report.memcg.stats_cut:
        report.notes.append(
            Note("stats_cut", report.memcg.last_line,
                 "the cgroup statistics are cut short, by the kernel's record limit (5.3 to 6.4) or in copying")
        )


