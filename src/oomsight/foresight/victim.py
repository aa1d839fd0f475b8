"""Who would be killed at the forecast moment: today's processes, the one that grows grown until there is no room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from oomsight.foresight.model import Victim
from oomsight.kernel.badness import badness_modern

if TYPE_CHECKING:
    from oomsight.foresight.model import Source, Task

EXEMPT = -1000


def inside(path: str | None, cgroup: str | None) -> bool:
    """Whether *path* is *cgroup* or below it; everything is in ``None``."""
    if cgroup is None or cgroup == "/":
        return True
    return path is not None and (path == cgroup or path.startswith(cgroup.rstrip("/") + "/"))


def predicted(
    tasks: Sequence[Task], cause: Source | None, room_bytes: float, total_bytes: float, page_size: int
) -> Victim | None:
    """
    Return the victim by the rules of 3.5 and later; ``None`` = nobody there may be killed.

    *room_bytes*: what *cause* will have taken by then; *total_bytes*: RAM and swap, or the limit.
    """
    best: Victim | None = None
    members = [task for task in tasks if cause is not None and task.comm == cause.name]
    for task in tasks:
        if task.oom_score_adj <= EXEMPT:
            continue
        is_cause = cause is not None and (task.pid == cause.pid if cause.pid is not None else task.comm == cause.name)
        extra = room_bytes / (1 if cause is not None and cause.pid is not None else max(len(members), 1))
        rss = task.rss_bytes + (extra if is_cause else 0.0)
        points = badness_modern(
            int(rss / page_size), int(task.swap_bytes / page_size), int(task.pgtables_bytes), task.oom_score_adj,
            int(total_bytes / page_size), page_size,
        )  # fmt: skip
        if best is None or points > best.points_pages:
            best = Victim(task.comm, task.pid, points, is_cause)
    return best
