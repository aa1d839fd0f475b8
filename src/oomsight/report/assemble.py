"""
Lines to events: which lines belong to which OOM report.

The kernel prints one report as dozens of records. Logs cut its head or tail, drop whole parts (rate limit, console
level), mix in other messages, and on old kernels mix two reports. :class:`Assembler` walks classified lines once and
keeps *drafts*: open ones still wait for their kill line, closed ones still accept what follows a kill (group kills,
reaper lines, a late ``oom-kill:``). A line goes to the draft it fits; a kill never takes the head of another event.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oomsight._lazy import lazy
from oomsight.report.grammar import KILL, classify
from oomsight.report.unwrap import unescape_name

if TYPE_CHECKING:
    from oomsight.report.carriers import Lines

# Order of the sections inside one report (mm/oom_kill.c dump_header()): a line never goes back to an earlier one.
SECTION = {
    "head": 0, "cpuset": 1, "cpu": 1, "pid_comm": 1, "hardware": 1, "workqueue": 1, "trace": 2, "frame": 2, "regs": 2,
    "task_in": 3, "limit_of": 3, "usage": 3, "memcg_stats": 3, "stat": 3, "percpu": 3, "meminfo": 3, "counters": 3,
    "node": 3, "zone": 3, "reserve": 3, "buddy": 3, "hugepages": 3, "pages": 3, "swap": 3, "swapcache": 3,
    "allocs_header": 3, "allocs": 3, "slab_header": 4, "slab": 4, "protection": 4, "table": 5, "header": 5, "row": 6,
    "oom_kill": 7,
}
_ONCE = frozenset({"cpu", "pid_comm", "meminfo", "header", "table", "oom_kill", "hardware"})
_STARTS_HEADLESS = frozenset(
    {"usage", "memcg_stats", "task_in", "meminfo", "counters", "node", "zone", "header", "row", "oom_kill", "pages",
     "swap", "buddy", "table", "hugepages", "protection", "slab_header"}
)
_BLOCK = frozenset({"usage", "memcg_stats", "counters", "zone", "node", "task_in", "pages", "buddy"})
_MAX_OPEN = 6
_MAX_GAP_LINES = 20_000  # a draft this far behind has lost its end
_ADJACENT_LINES = 40  # lines of other programs that may stand between a report and its kill line
_SAME_EVENT_S = 20.0  # a report of 20,000 tasks takes this long on a slow console

_SIZES = lazy(
    r"(total-vm|vsz|anon-rss|file-rss|shmem-rss|pgtables):[ ]?(\d{1,18}) ?[kK]B"
    r"|(UID|oom_score_adj):[ ]?(-?\d{1,10})(?!\d)"
)
_SIZED = lazy(r"\((?P<comm>.*)\)(?P<rest>,? ?(?:UID:? ?\d+,? ?)?[\s,]*(?:total-vm|vsz|anon-rss)[:.].*)$", re.S)
_SCORED = lazy(r"\((?P<comm>.*)\),? score (?P<score>-?\d{1,18})(?P<rest> .*)?$", re.S)
_PLAIN = lazy(r"\((?P<comm>.{0,20}?\)?)\)(?P<rest>[\s.,;:\])}`'\"].*|)$", re.S)
_UNCLOSED = lazy(r"\((?P<comm>.{1,16}?)(?P<rest>[\s,]+(?:total-vm|vsz|anon-rss):.*|)$", re.S)
_UID_AFTER = lazy(r",? ?UID:? ?(\d{1,10})(?!\d)")
_TOO_LONG = lazy(r"\d{19}")
_MESSAGE = lazy(
    r"((?:Memory cgroup |memory cgroup )?[Oo]ut [Oo]f [Mm]emory(?: \([^)]*\))?"
    r"|No available memory(?: \([^)]*\)| in cpuset)?):?\s*$"
)
_REAPED = lazy(
    r"oom_reaper: reaped process (?P<pid>\d{1,10}) \((?P<comm>.*)\),? now"
    r" anon-rss:(?P<anon>\d{1,18})kB, file-rss:(?P<file>\d{1,18})kB"
    r"(?:, shmem-rss:(?P<shmem>\d{1,18})kB)?"
)
_UNREAPED = lazy(r"oom_reaper: (?:unable to reap|giving up) pid:(?P<pid>\d{1,10}) \((?P<comm>.*)\)")
_OOM_KILL_PID = lazy(r",\s*pid=(\d{1,10})(?:,\s*uid=(\d{1,10}))?\s*$")
_ROW_START = lazy(r"\[ *\d+\]")
_ROW_IDS = lazy(r"\[[ \t]*(\d{1,10})\][ \t]+-?\d+[ \t]+(\d{1,10})(?!\d)")


@dataclass(slots=True, eq=False, repr=False)
class Kill:
    """One ``Killed process`` line (or an announcement that got none), not yet tied to a table."""

    pid: int
    comm: str
    line: int
    index: int
    prefix: str | None
    uid: int | None = None
    kib: dict[str, int] = field(default_factory=dict)
    oom_score_adj: int | None = None
    score: int | None = None
    announced_only: bool = False
    role: str = "selected"
    reaped: bool | None = None
    reaped_left_kib: int | None = None
    repeats: int = 0
    damaged: bool = False  #: a number longer than any the kernel prints stands in it


@dataclass(slots=True, eq=False, repr=False)
class Draft:
    """The lines of one event while it is being put together. Indices point into :class:`Lines`."""

    start: int
    last: int
    caller: str | None = None
    head: int | None = None
    alloc: int | None = None
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


class Assembler:
    """Walks the lines of one window and yields finished drafts, in the order their events began."""

    def __init__(self, lines: Lines) -> None:
        """Prepare for *lines*; call :meth:`run` once."""
        self.lines = lines
        self.open: list[Draft] = []
        self.done: list[Draft] = []
        self.current: Draft | None = None
        self.others: list[int] = []  #: lines no report shape matches, for the userspace killers
        self._sysrq: int | None = None
        self._suppressed: int | None = None
        self._uptimes: dict[int, float | None] = {}

    def run(self) -> list[Draft]:
        """Classify and file every line."""
        lines = self.lines
        texts, untrusted = lines.texts, lines.untrusted
        callers = lines.has_callers
        current = self.current
        plain = not untrusted and not callers
        done = 0
        for i, text in enumerate(texts):
            if i < done:
                continue
            if plain and text[:1] == "[" and current is not None and current.section >= 5 and not current.closed:
                # The commonest lines by far, the rows of the table that is being read, all at once.
                done = self._rows(i, texts)
                if done > i:
                    current.parts.setdefault("row", []).extend(range(i, done))
                    current.last, current.section = done - 1, 6
                    continue
            kind = classify(text)
            if kind is None:
                if current is not None and current.last == i - 1 and current.section == 6 and self._continues(i):
                    current.tails[i - 1] = "\n" + text
                    continue
                self.others.append(i)
                continue
            if untrusted and i in untrusted:
                self.others.append(i)
                continue
            self._file(kind, i, text)
            current = self.current
        self._finish()
        return sorted(self.done, key=lambda d: d.start)

    @staticmethod
    def _rows(i: int, texts: list[str]) -> int:
        """Index behind the last of the rows that begin at line *i*."""
        match, end = _ROW_START.match, len(texts)
        while i < end and match(texts[i]):
            i += 1
        return i

    # -- filing -------------------------------------------------------------------------------------------------

    def _file(self, kind: str, i: int, text: str) -> None:
        handler = _HANDLERS.get(kind)
        if handler is not None:
            handler(self, i, text)
            return
        draft = self._fitting(kind, i)
        if draft is None:
            if kind not in _STARTS_HEADLESS:
                return
            draft = self._new(i)
        if kind == "stat":
            if not draft.in_stats:
                return
        elif kind == "memcg_stats":
            draft.in_stats = True
        elif SECTION.get(kind, 0) > 4:
            draft.in_stats = False
        draft.add(kind, i)
        self.current = draft

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
        if draft in self.open:
            self.open.remove(draft)
        if draft not in self.done:
            self.done.append(draft)

    def _fitting(self, kind: str, i: int) -> Draft | None:
        """The open draft a body line belongs to: same caller if printed, else the latest whose sections allow it."""
        if self.lines.has_callers:
            caller = self.lines.caller(i)
            for draft in reversed(self.open):
                if draft.caller == caller or draft.caller is None or caller is None:
                    return draft
            return None
        section = SECTION.get(kind, 0)
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
            m = _OOM_KILL_PID.search(self.lines.texts[i])
            if m and late.kills and "oom_kill" not in late.parts and late.kills[0].pid == int(m[1]):
                return late
        return None

    @staticmethod
    def _allows(draft: Draft, kind: str, section: int) -> bool:
        if draft.section > section and not (kind in {"stat", "usage"} and draft.section == 4):
            return False
        return not (kind in _ONCE and kind in draft.parts)

    # -- lines that decide --------------------------------------------------------------------------------------

    def _on_head(self, i: int, text: str) -> None:  # noqa: ARG002 - one signature for all handlers
        previous = self.current
        if previous is not None and not previous.closed and previous.alloc is not None:
            self._close(previous)
        draft = self._new(i)
        draft.head = i
        draft.add("head", i)
        draft.sysrq, self._sysrq = self._sysrq, None
        draft.suppressed, self._suppressed = self._suppressed, None
        if self.others and self.others[-1] == i - 1 and self._continues(i) and len(self.lines.texts[i - 1]) <= 15:
            draft.comm_prefix = self.lines.texts[i - 1] + "\n"
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
        if len(matches := list(KILL.finditer(text))) > 1:
            for a, b in zip(matches, [*matches[1:], None], strict=True):
                start = 0 if a is matches[0] else a.start()
                self._kill_line(i, text[start : b.start() if b else len(text)])
            return
        self._kill_line(i, text)

    def _kill_line(self, i: int, text: str) -> None:
        kill = self._parse_kill(i, text)
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
                    _merge(k, kill)
            draft.last = i
            return
        if draft.kills:
            kill.role = "group"
        elif draft.announce is not None and draft.announce.pid != kill.pid:
            kill.role = "child"
        draft.kills.append(kill)
        draft.add("kill", i)
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
            fit = self._fit(draft, kill)
            if fit > 0 and (best is None or fit > best[0]):
                best = (fit, draft)
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
        return self._near(draft.last, kill.index, 5.0)

    def _fit(self, draft: Draft, kill: Kill) -> int:
        """How well *kill* fits *draft*: 0 not at all, 3 named by it."""
        texts = self.lines.texts
        if not self._near(draft.last, kill.index, _SAME_EVENT_S):
            return 0
        if self.lines.has_callers and draft.caller is not None:
            caller = self.lines.caller(kill.index)
            if caller is not None and caller != draft.caller:
                return 0
        if draft.announce is not None:
            if kill.announced_only:
                return 1 if draft.announce.pid == kill.pid else 0
            if draft.announce.pid == kill.pid:
                return 3
            return 2 if kill.index - draft.announce.index <= _ADJACENT_LINES else 0
        rows = draft.parts.get("row", ())
        row = next((texts[r] for r in rows if texts[r].startswith(f"{kill.pid}]", texts[r].find(str(kill.pid)))), None)
        own = _ROW_IDS.match(row) if row is not None else None
        chosen = draft.parts.get("oom_kill")
        if chosen:
            m = _OOM_KILL_PID.search(texts[chosen[0]])
            if m:
                if int(m[1]) == kill.pid:
                    return 3
                # A leader that exited: the kill line names a thread (TID) of the chosen process.
                if own is not None and int(own[1]) == kill.pid and own[2] == m[1]:
                    return 3
                return 1 if kill.index - chosen[0] <= 2 and not rows else 0
        if own is not None and int(own[1]) == kill.pid:
            return 3
        if any((r := _ROW_IDS.match(texts[i])) and int(r[2]) == kill.pid for i in rows):
            return 3
        if not self._prefix_fits(draft, kill) or self._goes_on(draft, kill):
            return 0
        if rows and "header" in draft.parts and kill.index - draft.last > 3:
            return 0
        if draft.head is None and not rows and not chosen and not self._has_block(draft):
            return 0
        return 1 if kill.index - draft.last <= _ADJACENT_LINES or draft.section < 5 else 0

    def _goes_on(self, draft: Draft, kill: Kill) -> bool:
        """Whether *draft* continues behind *kill*: then a kill without report was printed in its middle."""
        i = kill.index + 1
        if self.lines.has_callers or i >= len(self.lines.texts) or kill.index - draft.last > 1:
            return False
        kind = classify(self.lines.texts[i]) or ""
        if kind == "oom_kill":
            m = _OOM_KILL_PID.search(self.lines.texts[i])
            return m is not None and int(m[1]) != kill.pid
        return max(draft.section, 1) <= SECTION.get(kind, 0) < 7

    @staticmethod
    def _has_block(draft: Draft) -> bool:
        return not _BLOCK.isdisjoint(draft.parts)

    def _prefix_fits(self, draft: Draft, kill: Kill) -> bool:
        if kill.prefix is None:
            return True
        memcg_kill = kill.prefix.lower().startswith("memory cgroup")
        memcg_draft = self._memcg_draft(draft)
        return memcg_draft is None or memcg_draft == memcg_kill

    def _memcg_draft(self, draft: Draft) -> bool | None:
        if any(k in draft.parts for k in ("usage", "memcg_stats", "task_in")):
            return True
        texts = self.lines.texts
        frames = draft.parts.get("frame", ())
        if any("mem_cgroup_out_of_memory" in texts[f] or "mem_cgroup_oom" in texts[f] for f in frames):
            return True
        if any(k in draft.parts for k in ("counters", "zone", "node", "meminfo")) or frames:
            return False
        return None

    def _near(self, a: int, b: int, seconds: float) -> bool:
        ta, tb = self._uptime(a), self._uptime(b)
        return ta is None or tb is None or abs(tb - ta) <= seconds

    def _uptime(self, i: int) -> float | None:
        if i not in self._uptimes:
            m = UPTIME.search(self.lines.raws[i][:160])
            self._uptimes[i] = (float(m[1]) if m[1] else int(m[2]) / 1e6) if m else None
        return self._uptimes[i]

    def _continues(self, i: int) -> bool:
        """Line *i* is the next piece of the record before it: indented under it, or printed with the same stamp."""
        if i in self.lines.cont:
            return True
        a, b = UPTIME.search(self.lines.raws[i - 1][:160]), UPTIME.search(self.lines.raws[i][:160])
        return a is not None and b is not None and a[0] == b[0]

    def _same(self, a: Kill, b: Kill) -> bool:
        """The same kill printed or pasted again (not another process that got the pid later)."""
        if a.pid != b.pid or (a.comm != b.comm and a.comm and b.comm):
            return False
        if any(b.kib[k] != v for k, v in a.kib.items() if k in b.kib):
            return False
        return self._near(a.index, b.index, 5.0)

    def _repeated(self, kill: Kill) -> bool:
        for draft in reversed(self.done[-40:]):
            for known in draft.kills:
                if self._same(known, kill):
                    _merge(known, kill)
                    return True
        return False

    def _parse_kill(self, i: int, text: str) -> Kill | None:
        m = KILL.search(text)
        if m is None:
            return None
        tail = text[m.end() - 1 :]
        for offset in (1, 2):
            # A line cut in two behind the name (wrapped, or a name with a newline): the sizes stand on the next lines.
            nxt = i + offset
            if nxt >= len(self.lines.texts) or _SIZED.match(tail) or _SCORED.match(tail):
                break
            following = self.lines.texts[nxt]
            if offset == 1 and not _PLAIN.match(tail) and self._continues(nxt):
                tail += "\n" + following
            elif re.match(r"[#>|\s]*(?:total-vm|vsz|anon-rss|file-rss):\d", following):
                tail = tail.rstrip() + " " + following.lstrip("#>| \t")
            else:
                break
        for pattern in (_SIZED, _SCORED, _PLAIN, _UNCLOSED):
            body = pattern.match(tail)
            if body is not None:
                break
        else:
            return None
        comm = unescape_name(body["comm"])
        if len(comm.encode("utf-8", "surrogateescape")) > 64:
            return None
        before = text[: m.start()]
        message = _MESSAGE.search(before)
        announced = m["ed"] is None and (pattern is _SCORED or "or sacrifice child" in tail or "or a child" in tail)
        if m["ed"] is None and not announced:
            return None
        kill = Kill(int(m["pid"]), comm, self.lines.nos[i], i, message[1] if message else None)
        if message is None and not m["ed"]:
            kill.prefix = None
        kill.announced_only = announced
        rest = body.groupdict().get("rest") or ""
        uid = m["uid"] or next(iter(_UID_AFTER.findall(rest)), None)
        kill.uid = int(uid) if uid else None
        for name, size, name2, value in _SIZES.findall(rest):
            if name:
                kill.kib[name] = int(size)
            elif name2 == "UID":
                kill.uid = int(value)
            else:
                kill.oom_score_adj = int(value)
        kill.damaged = _TOO_LONG.search(rest) is not None
        if pattern is _SCORED:
            kill.score = int(body["score"])
        return kill

    def _on_group(self, i: int, text: str) -> None:  # noqa: ARG002 - one signature for all handlers
        draft = self.done[-1] if self.done and self.done[-1].kills else None
        if draft is None or not self._near(draft.last, i, 5.0) or i - draft.last > 60:
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
        draft.add("panic", i)
        self._close(draft)
        draft.closed = True

    def _on_no_killable(self, i: int, text: str) -> None:  # noqa: ARG002 - one signature for all handlers
        draft = next((d for d in reversed(self.open) if d.alloc is None and d.no_killable is None), None)
        if draft is not None and not self._near(draft.last, i, _SAME_EVENT_S):
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
            if draft.alloc is None and self._near(draft.last, i, _SAME_EVENT_S):
                return draft
        for draft in reversed(self.done[-2:]):
            nobody_died = draft.no_killable is not None or not draft.kills
            if nobody_died and i - draft.last <= 30 and self._near(draft.last, i, 5.0):
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

    def _on_suppressed(self, i: int, text: str) -> None:  # noqa: ARG002 - one signature for all handlers
        if "oom_kill_process" in text or "oom" in text:
            m = re.search(r"\b(\d{1,18}) callbacks", text)
            self._suppressed = int(m[1]) if m else None

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
                if kill.pid == pid and self._near(kill.index, i, 600.0):
                    kill.reaped, kill.reaped_left_kib = reaped, left
                    if i > draft.last and i - draft.last < 200:
                        draft.parts.setdefault("reaper", []).append(i)
                    return
                # Another thread of the same process: same name, reaped at the same moment.
                if fallback is None and kill.comm == comm and self._near(kill.index, i, 15.0) and i - kill.index < 200:
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

    def _finish(self) -> None:
        for draft in list(self.open):
            if set(draft.parts) == {"announce"} and draft.announce is not None and self._repeated(draft.announce):
                self.open.remove(draft)
                continue
            self._close(draft)
        for draft in self.done:
            if draft.announce is not None and not draft.kills:
                # Only the announcement is in the text (a grep): the kernel killed this task, or a child of it.
                draft.kills.append(draft.announce)


def _merge(known: Kill, again: Kill) -> None:
    known.repeats += 1
    for key, value in again.kib.items():
        known.kib.setdefault(key, value)
    if known.oom_score_adj is None:
        known.oom_score_adj = again.oom_score_adj
    if known.uid is None:
        known.uid = again.uid


UPTIME = lazy(r"\[[ \t]*(\d{1,12}\.\d{3,9})\]|(?:^|\s)\d{1,4},\d{1,18},(\d{1,18}),[^;]*;")

_HANDLERS = {
    "head": Assembler._on_head, "alloc": Assembler._on_alloc, "kill": Assembler._on_kill, "group": Assembler._on_group,
    "panic": Assembler._on_panic, "no_killable": Assembler._on_no_killable, "sysrq": Assembler._on_sysrq,
    "suppressed": Assembler._on_suppressed, "reaper": Assembler._on_reaper, "exiting": Assembler._on_extra,
    "path": Assembler._on_path, "sharing": Assembler._on_extra, "pinned": Assembler._on_extra,
}
