"""The ``oom-kill:`` line (>= 5.0, mm/oom_kill.c dump_oom_summary()): constraint, cgroups and the chosen task."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from oomsight._lazy import lazy
from oomsight.report.grammar import classify
from oomsight.report.model import Note, Selected
from oomsight.report.task_rows import TaskRows
from oomsight.report.trigger import MAX_COMM, to_int
from oomsight.report.unwrap import unescape_name

if TYPE_CHECKING:
    from collections.abc import Collection

    from oomsight.report.carriers import Lines
    from oomsight.report.draft import Draft
    from oomsight.report.model import OomReport

_SUMMARY = lazy(
    r"oom-kill:\s*constraint=(?P<constraint>CONSTRAINT_\w+)(?:,nodemask=(?P<nodemask>\(null\)|[\d,\-]*?))?"
    r"(?:,cpuset=(?P<cpuset>.*?),mems_allowed=(?P<mems>[\d,\-]*?))?"
    r"(?=,global_oom|,oom_memcg=|,task_memcg=|,task=|,\.\.\.|, |$)"
    r"(?P<rest>.*)$",
    re.S,
)
_TASK_MEMCG = lazy(r", ?task_memcg=")
_SUMMARY_END = lazy(r",\s*pid=(\d{1,10})(?:,\s*uid=(\d{1,10}))?\s*$")


def read_summary(report: OomReport, draft: Draft, lines: Lines) -> None:
    """Fill constraint, cgroups and the chosen task from the ``oom-kill:`` line (>= 5.0), where there is one."""
    found = draft.parts.get("oom_kill")
    if not found:
        return
    no, text = lines.nos[found[0]], lines.texts[found[0]]
    for following in lines.texts[found[0] + 1 : found[0] + 3]:
        if _SUMMARY_END.search(text) or classify(following) is not None:
            break
        text += "\n" + following  # a name with a newline in it
    at = text.find("oom-kill:")
    m = _SUMMARY.search(text, max(at, 0))
    if m is None:
        return
    report.constraint = m["constraint"]
    _drop_foreign_block(report, m["rest"], no)
    if report.trigger is not None:
        if m["nodemask"] and m["nodemask"] != "(null)":
            report.trigger.nodemask = m["nodemask"]
        if m["cpuset"] is not None:
            report.trigger.cpuset, report.trigger.mems_allowed = unescape_name(m["cpuset"]), m["mems"]
    names = [*(kill.comm for kill in draft.kills), *TaskRows.of(report.tasks).names[-2000:]]
    oom, task_memcg, task, pid, uid = split_summary(m["rest"], names)
    report.oom_memcg = unescape_name(oom) if oom else None
    report.task_memcg = unescape_name(task_memcg) if task_memcg else None
    if pid is not None or task is not None:
        report.selected = Selected(pid, unescape_name(task) if task is not None else None, uid, None, no)


def _drop_foreign_block(report: OomReport, rest: str, line: int) -> None:
    """
    Kernels that print ``oom-kill:`` print either the memory of the host or that of the cgroup, never both: the other
    one, in a text of mixed reports, is another event's.
    """
    whole_host = rest.startswith(",global_oom")
    if whole_host and report.memcg is not None:
        report.memcg = None
    elif rest.startswith(",oom_memcg=") and report.meminfo is not None and report.constraint == "CONSTRAINT_MEMCG":
        report.meminfo = None
    else:
        return
    mixed = "lines of another report are mixed in; memory that is not this event's is left out"
    report.notes.append(Note("reports_mixed", line, mixed))


def split_summary(
    rest: str, names: Collection[str]
) -> tuple[str | None, str | None, str | None, int | None, int | None]:
    """
    Split ``,oom_memcg=A,task_memcg=B,task=C,pid=P,uid=U`` although A, B and C may hold commas and equal signs.

    The end is fixed (pid and uid are numbers); A is B or an ancestor of B; C has at most 15 bytes, and where several
    readings remain, one whose name stands in the table or the kill line (*names*) is taken.
    """
    tail = _SUMMARY_END.search(rest)
    pid, uid = (int(tail[1]), to_int(tail[2])) if tail else (None, None)
    middle = rest[: tail.start()] if tail else rest
    splits: list[tuple[str, str | None]] = []
    start = 0
    while (at := middle.find("task=", start)) >= 0:
        if at == 0 or middle[at - 1] in ", ":
            last = middle[at + 5 :]
            if len(unescape_name(last).encode("utf-8", "surrogateescape")) <= MAX_COMM:
                splits.append((middle[:at].removesuffix(" ").removesuffix(","), last))
        start = at + 5
    if not splits:
        at = middle.rfind(",task=")
        splits = [(middle[:at], middle[at + 6 :])] if at >= 0 else [(middle, None)]
    if len(splits) > 1:
        splits.sort(key=lambda s: (s[1] is None or unescape_name(s[1]) not in names, len(s[0])))
    for paths, comm in splits:
        oom, task_memcg, consistent = _split_paths(paths)
        if consistent:
            return oom, task_memcg, comm, pid, uid
    oom, task_memcg, _ = _split_paths(splits[0][0])
    return oom, task_memcg, splits[0][1], pid, uid


def _split_paths(paths: str) -> tuple[str | None, str | None, bool]:
    """``,global_oom,task_memcg=B`` or ``,oom_memcg=A,task_memcg=B`` to (A, B, A is an ancestor of B)."""
    paths = paths.lstrip(", ")
    if paths.startswith("global_oom"):
        at = paths.find("task_memcg=")
        return None, (paths[at + 11 :] if at >= 0 else None), True
    if paths.startswith("oom_memcg="):
        splits = [(paths[10 : m.start()], paths[m.end() :]) for m in _TASK_MEMCG.finditer(paths)]
        for oom, task in splits:
            if task == oom or task.startswith(oom.rstrip("/") + "/"):
                return oom, task, True
        return (*splits[0], False) if splits else (paths[10:], None, True)
    if paths.startswith("task_memcg="):
        return None, paths[11:], True
    return None, None, not paths
