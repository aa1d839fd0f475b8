"""
The task table of a draft: its rows with the columns that its header names, rows that were wrapped put together again,
and two tables in one told apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomsight._lazy import lazy
from oomsight.report.model import Note, Task
from oomsight.report.table import build_tasks, guess_columns, header_columns, row_pattern
from oomsight.report.task_rows import TaskRows

if TYPE_CHECKING:
    from oomsight.report.carriers import Lines
    from oomsight.report.draft import Draft
    from oomsight.report.model import OomReport

_FOOTNOTE = lazy(r"\[[ \t]*\d+\][ \t]+[A-Za-z]|\[\d+\]:?[ \t]+https?:")


def read_tasks(report: OomReport, draft: Draft, lines: Lines) -> None:
    """Fill ``report.tasks`` and ``report.table_columns`` from the table's lines; what cannot be read becomes a note."""
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


def two_tables(report: OomReport) -> bool:
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
