"""
Lines to events: which lines belong to which OOM report.

The kernel prints one report as dozens of records. Logs cut its head or tail, drop whole parts (rate limit, console
level), mix in other messages, and on old kernels mix two reports. :class:`Assembler` walks classified lines once and
keeps *drafts*: open ones still wait for their kill line, closed ones still accept what follows a kill (group kills,
reaper lines, a late ``oom-kill:``). A line goes to the draft it fits; what those do that begin or end an event stands
in :mod:`oomsight.report.decide`.
"""

from __future__ import annotations

from oomsight.report.decide import HANDLERS, Events
from oomsight.report.draft import REPORTING, SECTION, Draft
from oomsight.report.fit import OOM_KILL_PID
from oomsight.report.grammar import ROW, RUNS, classify, end_of_run

_ONCE = frozenset({"cpu", "pid_comm", "meminfo", "header", "table", "oom_kill", "hardware"})
_AFTER_SLAB = frozenset({"stat", "usage"})
# Lines that go on with the report that is being read, and their sections: no more has to be known to file them.
_GOES_ON = {
    kind: section for kind, section in SECTION.items()
    if 0 < section <= 4 and kind not in _ONCE | {"stat", "memcg_stats"}
}
_STARTS_HEADLESS = frozenset(
    {"usage", "memcg_stats", "task_in", "meminfo", "counters", "node", "zone", "header", "row", "oom_kill", "pages",
     "swap", "buddy", "table", "hugepages", "protection", "slab_header"}
)
# Lines between the head and the numbers: about who asked.
_ABOVE_MEMORY = frozenset(kind for kind, section in SECTION.items() if 1 <= section <= 2) | {"cpuset"}
_MAX_STACK = 100  # of its lines looked at
_KILLING = "oom_kill_process"


def _end_of_known(kinds: list[str | None], first: int) -> int:
    """Index behind the last of the lines from *first* on that have the shape of the one before it."""
    kind, end = kinds[first - 1], first
    while end < len(kinds) and kinds[end] == kind:
        end += 1
    return end


class Assembler(Events):
    """Walks the lines of one window and yields finished drafts, in the order their events began."""

    def run(self) -> list[Draft]:
        """Classify and file every line."""
        lines = self.lines
        texts, untrusted, tables = lines.texts, lines.untrusted, lines.tables
        kinds = lines.kinds or [None] * len(texts)
        plain = not untrusted and not lines.has_callers
        current = self.current
        i, size = 0, len(texts)
        while i < size:
            text = texts[i]
            at, i = i, i + 1
            if plain and current is not None and current.section >= 5 and not current.closed and text[:1] == "[":
                # The commonest lines by far, the rows of the table that is being read, all at once.
                end = tables.get(at) or end_of_run(ROW, texts, at)
                if end > at:
                    current.parts.setdefault("row", []).extend(range(at, end))
                    current.last, current.section = end - 1, 6
                    i = end
                    continue
            kind = kinds[at] or classify(text)
            if kind is None:
                behind_row = current is not None and current.last == at - 1 and current.section == 6
                if behind_row and current is not None and self.moments.continues(at):
                    current.tails[at - 1] = "\n" + text
                    continue
                self.others.append(at)
                continue
            if untrusted and at in untrusted:
                self.others.append(at)
                continue
            section = _GOES_ON.get(kind, -1) if plain else -1
            if current is not None and section >= current.section and not current.closed:
                if kinds[at]:  # all that follow and have this shape as well
                    i = _end_of_known(kinds, i)
                if kind in current.parts:
                    current.parts[kind].extend(range(at, i))
                else:
                    current.parts[kind] = [*range(at, i)]
                    current.section = section
                current.last = i - 1
            else:
                self._file(kind, at, text)
                current = self.current
            if plain and kind in RUNS and current is not None and current.last == i - 1:
                # All of them go where the first one went.
                begin = i
                i = _end_of_known(kinds, i) if kinds[at] else end_of_run(RUNS[kind], texts, i)
                current.parts[kind].extend(range(begin, i))
                current.last = i - 1
        self._finish()
        return sorted(self.done, key=lambda d: d.start)

    def _file(self, kind: str, i: int, text: str) -> None:
        handler = HANDLERS.get(kind)
        if handler is not None:
            handler(self, i, text)
            return
        section = SECTION.get(kind, 0)
        draft = self.current
        if self._callers or draft is None or draft.closed or section < draft.section or kind in _ONCE:
            draft = self._fitting(kind, i, section)  # else it goes on as it should: most lines by far
        if draft is None:
            if kind not in _STARTS_HEADLESS and not (kind == "frame" and REPORTING in text):
                return
            draft = self._new(i)
            self._look_back(draft)
        if kind == "stat":
            if not draft.in_stats:
                return
        elif kind == "memcg_stats":
            draft.in_stats = True
        elif section > 4:
            draft.in_stats = False
        if kind in draft.parts:
            draft.parts[kind].append(i)
        else:
            draft.parts[kind] = [i]
            draft.section = max(draft.section, section)
        draft.last = i
        self.current = draft

    def _look_back(self, draft: Draft) -> None:
        """Add to a *draft* that begins without its head the lines just above about who asked, if they are of OOM."""
        texts, nos = self.lines.texts, self.lines.nos
        found: list[tuple[str, int]] = []
        first = draft.start
        while first and len(found) < _MAX_STACK and nos[first - 1] == nos[first] - 1:
            kind = classify(texts[first - 1])
            if kind is None and texts[first - 1].startswith("Tainted: ["):  # 6.12+: the flags spelled out
                first -= 1
                continue
            if kind not in _ABOVE_MEMORY or kind in (k for k, _ in found if k in _ONCE):
                break
            first -= 1
            found.append((kind, first))
        above = texts[first : draft.start + 1]
        if not any(REPORTING in text or _KILLING in text for text in above):
            return
        for kind, i in reversed(found):
            draft.parts.setdefault(kind, []).append(i)
        draft.start = first

    def _fitting(self, kind: str, i: int, section: int) -> Draft | None:
        """The open draft a body line belongs to: same caller if printed, else the latest whose sections allow it."""
        if self.lines.has_callers:
            caller = self.lines.caller(i)
            for draft in reversed(self.open):
                if draft.caller == caller or draft.caller is None or caller is None:
                    return draft
            return None
        current = self.current
        if current is not None and not current.closed and self._allows(current, kind, section):
            return current
        for draft in reversed(self.open):
            if self._allows(draft, kind, section):
                return draft
        if current is not None and not current.closed and kind not in _STARTS_HEADLESS:
            return current
        if kind == "oom_kill" and self.done:
            # Printed or pasted after its kill line: only if it names that victim.
            late = self.done[-1]
            m = OOM_KILL_PID.search(self.lines.texts[i])
            if m and late.kills and "oom_kill" not in late.parts and late.kills[0].pid == int(m[1]):
                return late
        return None

    @staticmethod
    def _allows(draft: Draft, kind: str, section: int) -> bool:
        if draft.section > section and not (draft.section == 4 and kind in _AFTER_SLAB):
            return False
        return kind not in _ONCE or kind not in draft.parts

    def _finish(self) -> None:
        self._rage_alone()
        for draft in list(self.open):
            if set(draft.parts) == {"announce"} and draft.announce is not None and self._repeated(draft.announce):
                self.open.remove(draft)
                continue
            self._close(draft)
        for draft in self.done:
            if draft.announce is not None and not draft.kills:
                # Only the announcement is in the text (a grep): the kernel killed this task, or a child of it.
                draft.kills.append(draft.announce)
