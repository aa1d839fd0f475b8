"""One event while its lines are being put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomsight._record import dataclass, field

if TYPE_CHECKING:
    from oomsight.report.kills import Kill

# Order of the sections inside one report (mm/oom_kill.c dump_header()): a line never goes back to an earlier one.
SECTION = {
    "head": 0, "cpuset": 1, "cpu": 1, "pid_comm": 1, "hardware": 1, "workqueue": 1, "trace": 2, "frame": 2, "regs": 2,
    "task_in": 3, "limit_of": 3, "usage": 3, "memcg_stats": 3, "stat": 3, "percpu": 3, "meminfo": 3, "counters": 3,
    "node": 3, "zone": 3, "reserve": 3, "buddy": 3, "hugepages": 3, "pages": 3, "swap": 3, "swapcache": 3,
    "allocs_header": 3, "allocs": 3, "slab_header": 4, "slab": 4, "protection": 4, "table": 5, "header": 5, "row": 6,
    "oom_kill": 7,
}

REPORTING = "dump_header"
"""The function that prints the report (mm/oom_kill.c): a stack with it in is one of the OOM killer's."""


@dataclass(slots=True, eq=False, repr=False)
class Draft:
    """The lines of one event while it is being put together. Indices point into :class:`Lines`."""

    start: int
    last: int
    caller: str | None = None
    head: int | None = None
    alloc: int | None = None
    shown: bool = False  #: memory was only shown because somebody asked for it (SysRq-m): no event
    parts: dict[str, list[int]] = field(default_factory=dict)
    tails: dict[int, str] = field(default_factory=dict)  #: continuation of a row's name, by row index
    section: int = 0
    announce: Kill | None = None
    kills: list[Kill] = field(default_factory=list)
    closed: bool = False
    group: int | None = None
    panic: int | None = None
    no_killable: int | None = None
    sysrq: int | None = None
    ignored: bool = False
    suppressed: int | None = None
    rage: int | None = None
    comm_prefix: str = ""
    in_stats: bool = False
    reaper_only: Kill | None = None
    extra: list[tuple[str, int]] = field(default_factory=list)  #: exiting, sharing, pinned: (shape, index)

    def add(self, kind: str, index: int) -> None:
        """File the line at *index* under its shape."""
        self.parts.setdefault(kind, []).append(index)
        self.last = index
        section = SECTION.get(kind)
        if section is not None and section > self.section:
            self.section = section
