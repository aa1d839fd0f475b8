"""``score`` as CSV: the columns of the JSON document, safe to open in a spreadsheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomsight.sinks.csv_cells import csv_cell
from oomsight.sinks.score_document import CGROUP, PROCESS, cgroup_rows, process_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.score.answer import Answer


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
