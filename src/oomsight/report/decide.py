"""
Lines that decide: those that begin an event, end it, or tell of one that ended; and what is known of the events so far.

A kill never takes the head of another event: :mod:`oomsight.report.fit` says which of the open ones it ends.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from oomsight._lazy import lazy
from oomsight.report.draft import Draft
from oomsight.report.fit import SAME_EVENT_S, fit
from oomsight.report.grammar import KILL, classify
from oomsight.report.kills import Kill, merge, parse_kill
from oomsight.report.moments import Moments
from oomsight.report.unwrap import unescape_name

if TYPE_CHECKING:
    from oomsight.report.carriers import Lines

_MAX_OPEN = 6
_MAX_GAP_LINES = 20_000  # a draft this far behind has lost its end
_REAPED = lazy(
    r"oom_reaper: reaped process (?P<pid>\d{1,10}) ?\((?P<comm>.*)\),? now"
    r" anon-rss:(?P<anon>\d{1,18})kB, file-rss:(?P<file>\d{1,18})kB"
    r"(?:, shmem-rss:(?P<shmem>\d{1,18})kB)?"
)
_UNREAPED = lazy(r"oom_reaper: (?:unable to reap|giving up) pid:(?P<pid>\d{1,10}) \((?P<comm>.*)\)")


class Events:
    """The drafts of one window: open ones, finished ones, the one that is being read; and the lines that decide."""

    def __init__(self, lines: Lines) -> None:
        """Know no event of *lines* yet."""
        self.lines = lines
        self.moments = Moments(lines)
        self._callers = lines.has_callers
        self.open: list[Draft] = []
        self.done: list[Draft] = []
        self.current: Draft | None = None
        self.others: list[int] = []  #: lines no report shape matches, for the userspace killers
        self._sysrq: int | None = None
        self._suppressed: int | None = None
        self._rage: int | None = None

    def _new(self, i: int) -> Draft:
        draft = Draft(start=i, last=i)
        if self.lines.has_callers:
            draft.caller = self.lines.caller(i)
        self.open.append(draft)
        if len(self.open) > _MAX_OPEN:
            self._close(self.open[0])
        self.current = draft
        return draft

    def _close(self, draft: Draft) -> None:
        if draft in self.open:  # as every draft is that has not been closed
            self.open.remove(draft)
            self.done.append(draft)

    def _on_head(self, i: int, text: str) -> None:  # noqa: ARG002 - one signature for all handlers
        previous = self.current
        if previous is not None and not previous.closed and previous.alloc is not None:
            self._close(previous)
        draft = self._new(i)
        draft.head = i
        draft.add("head", i)
        draft.sysrq, self._sysrq = self._sysrq, None
        draft.suppressed, self._suppressed = self._suppressed, None
        before = self.lines.texts[i - 1] if self.others and self.others[-1] == i - 1 else None
        if before is not None and len(before) <= 15 and self.moments.continues(i):
            draft.comm_prefix = before + "\n"
        # Headless parts without a kill that a new head follows directly were a cut report: no event of their own.
        for other in list(self.open):
            if other is not draft and i - other.last > _MAX_GAP_LINES:
                self._close(other)

    def _on_alloc(self, i: int, text: str) -> None:  # noqa: ARG002 - one signature for all handlers
        draft = self._new(i)
        draft.alloc = i
        draft.add("alloc", i)

    def _on_kill(self, i: int, text: str) -> None:
        # Node-problem-detector and kubectl join the announcement and the kill on one line.
        if text.count("ill") > 1 and len(matches := list(KILL.finditer(text))) > 1:
            for a, b in zip(matches, [*matches[1:], None], strict=True):
                start = 0 if a is matches[0] else a.start()
                self._kill_line(i, text[start : b.start() if b else len(text)])
            return
        self._kill_line(i, text)

    def _kill_line(self, i: int, text: str) -> None:
        kill = parse_kill(self.moments, i, text)
        if kill is None:
            return
        if kill.announced_only:
            self._announce(kill)
            return
        draft = self._draft_for(kill)
        bare = draft is None or (draft.head is None and set(draft.parts) == {"announce"})
        if bare and self._repeated(kill):
            if draft is not None:
                self.open.remove(draft)
                self.current = self.done[-1]
            return
        if draft is None:
            draft = self._new(i)
            draft.sysrq, self._sysrq = self._sysrq, None
        if draft.kills and any(self._same(k, kill) for k in draft.kills):
            for k in draft.kills:
                if self._same(k, kill):
                    merge(k, kill)
            draft.last = i
            return
        if draft.kills:
            kill.role = "group"
        elif draft.announce is not None and draft.announce.pid != kill.pid:
            kill.role = "child"
        draft.kills.append(kill)
        draft.add("kill", i)
        if self._rage is not None and self.moments.near(self._rage, i, SAME_EVENT_S):
            draft.rage, self._rage = self._rage, None
            draft.start = min(draft.start, draft.rage)
        draft.closed = True
        self._close(draft)
        self.current = draft

    def _announce(self, kill: Kill) -> None:
        candidate = self._draft_for(kill, announcement=True)
        if candidate is None:
            candidate = self._new(kill.index)
            candidate.sysrq, self._sysrq = self._sysrq, None
        if candidate.announce is not None and candidate.announce.pid != kill.pid:
            self._close(candidate)
            candidate = self._new(kill.index)
        if candidate.announce is None:
            candidate.announce = kill
        candidate.add("announce", kill.index)
        self.current = candidate

    def _draft_for(self, kill: Kill, *, announcement: bool = False) -> Draft | None:
        """The event a kill line ends: an open report it fits, or the group kill it continues."""
        last = self.done[-1] if self.done else None
        for draft in self.done[-3:]:
            if draft.group is not None and not announcement and self._continues_group(draft, kill):
                return draft
        candidates = [d for d in reversed(self.open) if d.alloc is None and not self._overtaken(d)]
        if self.current in candidates and self.current is not None:
            candidates.remove(self.current)
            candidates.insert(0, self.current)
        best: tuple[int, Draft] | None = None
        for draft in candidates:
            found = fit(self.moments, draft, kill)
            if found > 0 and (best is None or found > best[0]):
                best = (found, draft)
        if best is not None:
            return best[1]
        # A kill line right behind its own announcement's report, closed by a group line that came first.
        if last is not None and last.group is not None and not last.kills:
            return last
        return None

    def _overtaken(self, draft: Draft) -> bool:
        """
        Whether a whole later report stands behind all lines of *draft*: then its end was cut out of the text. (Reports
        of kernels before 4.2 may overlap, but then their lines are mixed.)
        """
        return any(
            d.start > draft.last and ("oom_kill" in d.parts or "row" in d.parts or d.head is not None)
            for d in self.done[-8:]
        )

    def _continues_group(self, draft: Draft, kill: Kill) -> bool:
        if kill.index - draft.last > 60:
            return False
        return self.moments.near(draft.last, kill.index, 5.0)

    def _same(self, a: Kill, b: Kill) -> bool:
        """The same kill printed or pasted again, or of a group, smaller now (no process that got the pid later)."""
        if a.pid != b.pid or (a.comm != b.comm and a.comm and b.comm):
            return False
        if any(b.kib[k] != v for k, v in a.kib.items() if k in b.kib and (k == "total-vm" or "total-vm" not in a.kib)):
            return False
        return self.moments.near(a.index, b.index, 5.0)

    def _repeated(self, kill: Kill) -> bool:
        for draft in reversed(self.done[-40:]):
            for known in draft.kills:
                if self._same(known, kill):
                    merge(known, kill)
                    return True
        return False

    def _on_group(self, i: int, text: str) -> None:  # noqa: ARG002 - one signature for all handlers
        draft = self.done[-1] if self.done and self.done[-1].kills else None
        if draft is None or not self.moments.near(draft.last, i, 5.0) or i - draft.last > 60:
            draft = next((d for d in reversed(self.open) if d.alloc is None), None) or self._new(i)
        draft.group = i
        draft.add("group", i)
        if draft.kills:
            self.current = draft

    def _on_panic(self, i: int, text: str) -> None:
        lowered = text.lower()
        if "memory" not in lowered and "oom" not in lowered:
            return
        draft = self._recent(i)
        if draft is None:
            draft = self._new(i)
        draft.panic = i
        if self._sysrq is not None and self.moments.near(self._sysrq, i, SAME_EVENT_S):
            draft.sysrq, self._sysrq = self._sysrq, None  # up to 4.2 a kill asked for by hand panics, too
            draft.start = min(draft.start, draft.sysrq)
        draft.add("panic", i)
        self._close(draft)
        draft.closed = True

    def _on_no_killable(self, i: int, text: str) -> None:  # noqa: ARG002 - one signature for all handlers
        draft = next((d for d in reversed(self.open) if d.alloc is None and d.no_killable is None), None)
        if draft is not None and not self.moments.near(draft.last, i, SAME_EVENT_S):
            draft = None
        if draft is None:
            draft = self._new(i)
        draft.no_killable = i
        draft.add("no_killable", i)
        draft.closed = True
        self._close(draft)
        self.current = draft

    def _recent(self, i: int) -> Draft | None:
        for draft in reversed(self.open):
            if draft.alloc is None and self.moments.near(draft.last, i, SAME_EVENT_S):
                return draft
        for draft in reversed(self.done[-2:]):
            nobody_died = draft.no_killable is not None or not draft.kills
            if nobody_died and i - draft.last <= 30 and self.moments.near(draft.last, i, 5.0):
                return draft
        return None

    def _on_sysrq(self, i: int, text: str) -> None:
        if "ignored" in text:
            draft = self._new(i)
            draft.sysrq, draft.ignored, self._sysrq = i, True, None
            draft.add("sysrq", i)
            draft.closed = True
            self._close(draft)
            return
        self._sysrq = i

    def _on_show_memory(self, i: int, text: str) -> None:  # noqa: ARG002 - one signature for all handlers
        # Memory numbers that belong to no event, and must not be taken for those of the next kill.
        draft = self._new(i)
        draft.alloc, draft.shown = i, True

    def _on_suppressed(self, i: int, text: str) -> None:  # noqa: ARG002 - one signature for all handlers
        if "oom_kill_process" in text or "oom" in text:
            m = re.search(r"\b(\d{1,18}) callbacks", text)
            self._suppressed = int(m[1]) if m else None

    def _on_rage(self, i: int, text: str) -> None:  # noqa: ARG002 - one signature for all handlers
        self._rage_alone()
        self._rage = i

    def _rage_alone(self) -> None:
        """Make an event of the line that counts kills, if no kill line came behind it."""
        if self._rage is not None:
            self.done.append(Draft(start=self._rage, last=self._rage, rage=self._rage, closed=True))
            self._rage = None

    def _on_reaper(self, i: int, text: str) -> None:
        m = _REAPED.search(text) or _UNREAPED.search(text)
        if m is None:
            return
        pid, comm = int(m["pid"]), unescape_name(m["comm"])
        reaped = "anon" in m.groupdict()
        left = int(m["anon"]) + int(m["file"]) + int(m["shmem"] or 0) if reaped else None
        fallback: Kill | None = None
        for draft in reversed(self.done[-200:]):
            for kill in draft.kills:
                if kill.pid == pid and self.moments.near(kill.index, i, 600.0):
                    kill.reaped, kill.reaped_left_kib = reaped, left
                    if i > draft.last and i - draft.last < 200:
                        draft.parts.setdefault("reaper", []).append(i)
                    return
                # Another thread of the same process: same name, reaped at the same moment.
                near = i - kill.index < 200 and self.moments.near(kill.index, i, 15.0)
                if fallback is None and kill.comm == comm and near:
                    fallback = kill
        if fallback is not None:
            if fallback.reaped is None:
                fallback.reaped, fallback.reaped_left_kib = reaped, left
            return
        draft = self._new(i)
        draft.reaper_only = Kill(pid, comm, self.lines.nos[i], i, None, reaped=reaped, reaped_left_kib=left)
        draft.add("reaper", i)
        draft.closed = True
        self._close(draft)

    def _on_path(self, i: int, text: str) -> None:  # noqa: ARG002 - one signature for all handlers
        """A hand-edited excerpt puts ``oom_memcg=…`` on a line of its own behind the kill line."""
        if self.done and self.done[-1].kills and i - self.done[-1].last <= 3:
            self.done[-1].add("path", i)

    def _on_extra(self, i: int, text: str) -> None:
        kind = classify(text) or ""
        draft = next((d for d in reversed(self.open) if d.alloc is None), None)
        if kind != "exiting" and self.done and i - self.done[-1].last < 60:
            draft = self.done[-1]
        if draft is None and kind == "exiting" and self.done and self.done[-1].group is not None:
            draft = self.done[-1]
        if draft is None:
            draft = self._new(i)
        draft.extra.append((kind, i))
        draft.last = max(draft.last, i)
        if kind == "exiting" and not draft.kills:
            draft.closed = True
            self._close(draft)


HANDLERS = {
    "head": Events._on_head, "alloc": Events._on_alloc, "kill": Events._on_kill, "group": Events._on_group,
    "panic": Events._on_panic, "no_killable": Events._on_no_killable, "sysrq": Events._on_sysrq,
    "show_memory": Events._on_show_memory,
    "suppressed": Events._on_suppressed, "rage": Events._on_rage, "reaper": Events._on_reaper,
    "exiting": Events._on_extra,
    "path": Events._on_path, "sharing": Events._on_extra, "pinned": Events._on_extra,
}
"""What to do with a line that decides, by its shape."""
