"""One finished draft to one :class:`~oomsight.report.model.OomReport`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomsight._lazy import lazy
from oomsight.report.draft import REPORTING
from oomsight.report.memory import Numbered, parse_memcg, parse_meminfo
from oomsight.report.model import EventKind, Note, OomReport, Span
from oomsight.report.openvz import of_beancounter, read_rage
from oomsight.report.page_size import infer_page_size
from oomsight.report.summary import read_summary
from oomsight.report.table import looks_like_table
from oomsight.report.task_table import read_tasks, two_tables
from oomsight.report.times import Clock, is_minute, when_of, year_in
from oomsight.report.trigger import read_trigger, stack
from oomsight.report.unwrap import unescape_name
from oomsight.report.victims import read_victims

if TYPE_CHECKING:
    from oomsight.report.carriers import Lines
    from oomsight.report.draft import Draft

_TASK_IN = lazy(r"Task in (?P<task>.*?)(?: killed as a result of limit of (?P<oom>.*))?$")
_GROUP = lazy(r"Tasks in (.*) are going to be killed")
_EXITING = lazy(r"OOM victim (\d{1,10}) \((.*)\) is already exiting")
_SHARING = lazy(r"Kill process (\d{1,10}) \((.*)\) sharing same memory")
# Panics because nobody was left to kill (until 4.18, and since); the others are asked for by vm.panic_on_oom.
_NOBODY_LEFT = lazy(r"no killable processes|deadlocked on memory")
# Whoever writes about the line leaves its numbers out: "oom-kill:constraint=CONSTRAINT_MEMCG,...,pid=N,...".
_OF_ONE_KILL = lazy(r"nodemask=|[,\s]pid=\d|constraint=[A-Z_]*\s*$")
_BLOCKS = ("zone", "counters", "usage")  #: memory of the machine or of a cgroup
_READ_BY_SHAPE = frozenset({
    "meminfo", "counters", "node", "zone", "reserve", "buddy", "hugepages", "pages", "swapcache", "swap", "slab",
    "allocs", "usage", "memcg_stats", "stat", "protection", "cpu", "pid_comm", "hardware", "workqueue", "cpuset",
    "task_in", "limit_of", "path", "group",
})  # fmt: skip
"""Shapes of lines that are handed on with their numbers; others are many and read in bulk, or known by their index."""
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
    parts: dict[str, list[Numbered]] = {}
    for kind, indices in draft.parts.items():
        if kind in _READ_BY_SHAPE:
            one = indices[0]
            parts[kind] = [(nos[i], texts[i]) for i in indices] if len(indices) > 1 else [(nos[one], texts[one])]
    # Line numbers fall where the text stood newest line first.
    report = OomReport(EventKind.GLOBAL, Span(name, *sorted((nos[draft.start], nos[draft.last]))))
    # Of a head whose name has a newline in it, the line before has the stamp.
    in_name = 1 if draft.comm_prefix else 0
    anchor = draft.head - in_name if draft.head is not None else (draft.kills[0].index if draft.kills else draft.start)
    report.when = when_of(lines, anchor, clock)
    if report.when.time_text is None and report.when.time is None and anchor != draft.start:
        report.when = when_of(lines, draft.start, clock)  # wrapped by hand: only its first line has the stamp
    read_trigger(report, draft, lines, parts)
    read_tasks(report, draft, lines)
    if two_tables(report):
        # All above the table is of another event, the head and its time too.
        draft.head, report.trigger = None, None
        if draft.kills:
            report.when = when_of(lines, draft.kills[0].index, clock)
        if report.tasks:
            report.source.first_line = report.tasks[0].line
    else:
        report.meminfo = parse_meminfo(parts)
        report.memcg = parse_memcg(parts, parts.get("stat", []) if "memcg_stats" in parts else [])
    read_summary(report, draft, lines)
    _memcg_paths(report, parts)
    read_victims(report, draft, lines, clock)
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


