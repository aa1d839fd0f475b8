"""
Who may be among the first of a ranking, when there are thousands and only what badness counts is known of each.

On kernels of 6.2 to 6.19 badness reads rss without summing its per-CPU counters, as /proc/PID/stat does, while
/proc/PID/status may show the exact sum. So the points that a brief gives have a slack, and whoever could be among the
first within it is looked at once more: its rss by stat, and its start, which decides between equals.
"""

from __future__ import annotations

from oomsight.kernel.badness import badness_modern, rule_for_release
from oomsight.kernel.counters import counter_era, counter_error_pages
from oomsight.kernel.release import NEWEST, parse_release

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final

    from oomsight.proc.fields import Brief
    from oomsight.score.model import Machine

_RSS_COUNTERS: Final = 3  # anonymous, file and shared memory

Entrant = tuple[int, int, int, int, int, int]
"""
One process, the likelier first to die the greater: points; start, as of equals the one that started last dies first (0:
not looked at yet); pid; rss and swap in pages; error of the kernel's counters in pages. Plain, as there are thousands.
"""


class Contest:
    """
    The first ``top`` of the processes whose ``briefs`` are given, on a kernel since 6.2. Either all briefs have what
    stat says or none.
    """

    def __init__(self, briefs: Sequence[Brief], machine: Machine, top: int) -> None:
        release = parse_release(machine.release) or NEWEST
        era, floor = counter_era(release), rule_for_release(release).floor
        one = counter_error_pages(era, cpus=machine.cpus or 1) or 0
        page_size, total = machine.page_size, machine.total.pages
        page_kib = max(page_size >> 10, 1)
        self._top = top
        self._by_stat = era.rss_from == "stat"
        self._slack = _RSS_COUNTERS * one if self._by_stat else 0
        self._most_error = (_RSS_COUNTERS + 1) * one
        looked_at = bool(briefs) and briefs[0][-1] is not None
        entrants: list[Entrant] = []
        for pid, rss, swap, tables, counters, adj, by_stat, start in briefs:
            pages = by_stat if self._by_stat and by_stat is not None else rss // page_kib
            points = badness_modern(pages, swap // page_kib, tables << 10, adj, total, page_size, floor)
            entrants.append((points, start or 0, pid, pages, swap // page_kib, one * counters))
        entrants.sort(reverse=True)
        self._unknown, self._known = ([], entrants) if looked_at else (entrants, [])

    def __len__(self) -> int:
        """How many take part."""
        return len(self._unknown) + len(self._known)

    def open(self) -> list[int]:
        """Those whose rss and start by stat decide who is first, the likeliest first; none = it is decided."""
        if not self._unknown:
            return []
        slack, ahead = self._slack, self._unknown[: self._top]
        least = sorted([*(one[0] for one in self._known), *(one[0] - slack for one in ahead)], reverse=True)
        bar = least[: self._top][-1] if least else 0
        if self._known:  # and who could be the victim by the error of the counters
            bar = min(bar, self._victim_low() - self._most_error)
        pids = []
        for one in self._unknown:
            if one[0] + slack < bar:
                break
            pids.append(one[2])
        return pids

    def learn(self, asked: int, found: Iterable[tuple[int, int, int]]) -> None:
        """
        Take what stat says of the first ``asked`` of :meth:`open`: pid, rss in pages and start. Those that are not
        among ``found`` are gone.
        """
        looked_at = {one[2]: one for one in self._unknown[:asked]}
        del self._unknown[:asked]
        for pid, by_stat, start in found:
            points, _, _, by_status, swap, error = looked_at[pid]
            rss = by_stat if self._by_stat else by_status
            self._known.append((points + rss - by_status, start, pid, rss, swap, error))
        self._known.sort(reverse=True)

    def first(self) -> list[int]:
        """The first ``top``, the first to die first."""
        return [one[2] for one in self._known[: self._top]]

    @property
    def near(self) -> int:
        """How many but the first could die first by the error of the kernel's counters."""
        if not self._known:
            return 0
        low = self._victim_low()
        return sum(one[0] + one[5] >= low for one in self._known[self._top :])

    def _victim_low(self) -> int:
        """Fewest points that the kernel may count of the first."""
        points, _, _, rss, swap, error = self._known[0]
        return points - min(error, rss + swap)
