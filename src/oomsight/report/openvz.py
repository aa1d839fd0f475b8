"""What kernels of OpenVZ and Virtuozzo print of their own: containers by user beancounter, kills as a mere number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomsight._lazy import lazy
from oomsight.report.model import Note

if TYPE_CHECKING:
    from oomsight.report.carriers import Lines
    from oomsight.report.draft import Draft
    from oomsight.report.model import OomReport

# The user beancounter of a kill line's message, whose number is that of the container; 0 is the host itself.
_OF_BEANCOUNTER = lazy(r"in UB (\S{1,64}):")
_IN_RAGE = lazy(r"(\d{1,9}) tasks killed(?: in ub (\S{1,64}))?")


def of_beancounter(report: OomReport, message: str) -> bool:
    """Whether the kill line's *message* names the container, which has the limit; *report* is told which."""
    m = _OF_BEANCOUNTER.search(message)
    return m is not None and _limit_of(report, m[1])


def read_rage(report: OomReport, draft: Draft, lines: Lines) -> None:
    """Read the line that counts kills: called again soon, the killer ends twice as many as before, and names none."""
    m = _IN_RAGE.search(lines.texts[draft.rage]) if draft.rage is not None else None
    if m is None or draft.rage is None:
        return
    report.killed_unnamed = int(m[1])
    if not report.victims and m[2] is not None:
        _limit_of(report, m[2])
    report.lines["rage"] = no = lines.nos[draft.rage]
    report.notes.append(
        Note("killed_in_rage", no,
             "OpenVZ's killer, called again within a short time, kills several tasks at once (“in rage”) and prints"
             " their number only")
    )


def _limit_of(report: OomReport, beancounter: str) -> bool:
    if beancounter != "0" and report.oom_memcg is None:
        report.oom_memcg = f"UB {beancounter}"
    return beancounter != "0"
