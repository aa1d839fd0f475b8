"""``score`` as CSV: the columns of the JSON document, safe to open in a spreadsheet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight.sinks.score_document import CGROUP, PROCESS, cgroup_rows, process_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.score.answer import Answer

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")  # a spreadsheet runs cells that begin like this


def csv_cell(value: object) -> str:
    """
    Return *value* for CSV: numbers as they are, ``None`` as nothing, names so that no spreadsheet takes them for a
    formula (an apostrophe before) and no control or non-UTF-8 byte gets through (escaped).
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(value)
    text = value.encode("utf-8", "backslashreplace").decode()
    text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    # Spaces, also before the sign, do not stop a spreadsheet; neither do full-width signs.
    first = value.lstrip()[:1]
    return "'" + text if value.startswith(_FORMULA) or first in {"=", "+", "-", "@", "＝", "＋", "－", "＠"} else text


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([csv_cell(cell) for cell in row] for row in rows)
    return out.getvalue()


def score_csv(answer: Answer) -> str:
    """Return one line per process of the ranking (or per limited cgroup), columns named as in the JSON document."""
    if answer.cgroups is not None:
        skip = {"owner", "victim", "rivals"}
        header = [row.name for row in CGROUP.fields if row.name not in skip] + ["victim_pid", "victim_comm"]
        lines = []
        for pair in cgroup_rows(answer) or ():
            written, victim = CGROUP.write(pair), pair.cgroup.ranking.victim
            names = (victim.process.pid, victim.process.comm) if victim else (None, None)
            lines.append([written[name] for name in header[:-2]] + list(names))
        return _csv(header, lines)
    header = [row.name for row in PROCESS.fields if row.name != "owner"]
    ranking = answer.ranking
    if ranking is None:
        return _csv(header, ())
    rows = process_rows((*ranking.rows, *ranking.exempt)[: answer.limit], answer)
    return _csv(header, [[written[name] for name in header] for written in map(PROCESS.write, rows)])
