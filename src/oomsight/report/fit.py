"""
Which event a kill line ends. A kill that was printed without its report (rate limit, console level, cut text) must not
take the report of another one: trigger, table and numbers would be somebody else's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomsight._lazy import lazy
from oomsight.report.draft import SECTION
from oomsight.report.grammar import classify

if TYPE_CHECKING:
    from oomsight.report.carriers import Lines
    from oomsight.report.draft import Draft
    from oomsight.report.kills import Kill
    from oomsight.report.moments import Moments

_BLOCK = frozenset({"usage", "memcg_stats", "counters", "zone", "node", "task_in", "pages", "buddy"})
_ADJACENT_LINES = 40  # lines of other programs that may stand between a report and its kill line
SAME_EVENT_S = 20.0  # a report of 20,000 tasks takes this long on a slow console
OOM_KILL_PID = lazy(r",\s*pid=(\d{1,10})(?:,\s*uid=(\d{1,10}))?\s*$")
_ROW_IDS = lazy(r"\[[ \t]*(\d{1,10})\][ \t]+-?\d+[ \t]+(\d{1,10})(?!\d)")


def fit(moments: Moments, draft: Draft, kill: Kill) -> int:
    """How well *kill* fits *draft*: 0 not at all, 3 named by it."""
    lines = moments.lines
    texts = lines.texts
    if not moments.near(draft.last, kill.index, SAME_EVENT_S):
        return 0
    if lines.has_callers and draft.caller is not None:
        caller = lines.caller(kill.index)
        if caller is not None and caller != draft.caller:
            return 0
    if draft.announce is not None:
        if kill.announced_only:
            return 1 if draft.announce.pid == kill.pid else 0
        if draft.announce.pid == kill.pid:
            return 3
        return 2 if kill.index - draft.announce.index <= _ADJACENT_LINES else 0
    rows = draft.parts.get("row", ())
    chosen = draft.parts.get("oom_kill")
    m = OOM_KILL_PID.search(texts[chosen[0]]) if chosen else None
    if m and int(m[1]) == kill.pid:
        return 3
    pid, ending = str(kill.pid), f"{kill.pid}]"
    row = next((texts[r] for r in rows if texts[r].startswith(ending, texts[r].find(pid))), None)
    own = _ROW_IDS.match(row) if row is not None else None
    if m and chosen:
        # A leader that exited: the kill line names a thread (TID) of the chosen process.
        if own is not None and int(own[1]) == kill.pid and own[2] == m[1]:
            return 3
        return 1 if kill.index - chosen[0] <= 2 and not rows else 0
    if own is not None and int(own[1]) == kill.pid:
        return 3
    if any((r := _ROW_IDS.match(texts[i])) and int(r[2]) == kill.pid for i in rows):
        return 3
    if not _prefix_fits(lines, draft, kill) or _goes_on(lines, draft, kill):
        return 0
    if rows and "header" in draft.parts and kill.index - draft.last > 3:
        return 0
    if draft.head is None and not rows and not chosen and not _has_block(draft):
        return 0
    return 1 if kill.index - draft.last <= _ADJACENT_LINES or draft.section < 5 else 0


def _goes_on(lines: Lines, draft: Draft, kill: Kill) -> bool:
    """Whether *draft* continues behind *kill*: then a kill without report was printed in its middle."""
    i = kill.index + 1
    if lines.has_callers or i >= len(lines.texts) or kill.index - draft.last > 1:
        return False
    kind = classify(lines.texts[i]) or ""
    if kind == "oom_kill":
        m = OOM_KILL_PID.search(lines.texts[i])
        return m is not None and int(m[1]) != kill.pid
    return max(draft.section, 1) <= SECTION.get(kind, 0) < 7


def _has_block(draft: Draft) -> bool:
    return not _BLOCK.isdisjoint(draft.parts)


def _prefix_fits(lines: Lines, draft: Draft, kill: Kill) -> bool:
    if kill.prefix is None:
        return True
    memcg_kill = kill.prefix.lower().startswith("memory cgroup")
    memcg_draft = _memcg_draft(lines, draft)
    return memcg_draft is None or memcg_draft == memcg_kill


def _memcg_draft(lines: Lines, draft: Draft) -> bool | None:
    if any(k in draft.parts for k in ("usage", "memcg_stats", "task_in")):
        return True
    texts = lines.texts
    frames = draft.parts.get("frame", ())
    if any("mem_cgroup_out_of_memory" in texts[f] or "mem_cgroup_oom" in texts[f] for f in frames):
        return True
    if any(k in draft.parts for k in ("counters", "zone", "node", "meminfo")) or frames:
        return False
    return None
