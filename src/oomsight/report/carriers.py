"""
Carriers taken off the lines of a log: :func:`strip_lines`.

A log line is a kernel message inside zero or more layers (:mod:`oomsight.report.layers`). Lines of one log share
theirs, so the sequence found for one line is tried first on the others: clean logs cost one regex match a line at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from oomsight._lazy import lazy
from oomsight._record import Record, dataclass, field
from oomsight.report.grammar import BARE, classify
from oomsight.report.layers import BRACKETED, COULD, FACILITIES, find_layers, is_record, joined
from oomsight.report.prefixes import cut_off, matched, shapes

_CALLER = lazy(r"\[ *\d+\.\d+\] ?\[ *([TC]\d+)\]|^(?:\d[^,\n]{0,60},)?\d+,\d+,\d+,[^;]*caller=([TC]\d+)")


@dataclass(slots=True, eq=False, repr=False)
class Lines(Record):
    """The lines of one window with their carriers taken off; parallel lists, as there may be many lines."""

    raws: list[str] = field(default_factory=list)  #: whole lines, for times and hosts
    texts: list[str] = field(default_factory=list)  #: kernel messages, leading blanks removed
    nos: list[int] = field(default_factory=list)  #: 1-based line numbers in the source
    cont: set[int] = field(default_factory=set)  #: indices that continue the record of the line before
    untrusted: set[int] = field(default_factory=set)  #: indices whose facility says they come from user space
    tables: dict[int, int] = field(default_factory=dict)  #: runs of task rows as far as known: first, behind the last
    kinds: list[str | None] = field(default_factory=list)  #: shapes as far as known, by index; may be empty
    has_callers: bool = False  #: printk caller ids are present
    years: dict[str, str | None] = field(default_factory=dict)  #: by day, what ``times.year_in`` found in ``raws``

    def caller(self, index: int) -> str | None:
        """printk caller id (``T123`` task, ``C1`` CPU) of a line, if the kernel prints them."""
        m = _CALLER.search(self.raws[index])
        return (m[1] or m[2]) if m else None


_FIRST_WORDS = ("oom-kill:constraint=", "Out of memory: Kill", "Memory cgroup out of memory: Kill")
"""What some lines begin with whose telling words stand further back: nothing of a carrier is in front of these."""
_CLOSED = frozenset({"printk", "syslog"})
"""Layers behind which, but for a bracket, nothing can be a part of them."""
_NEVER = lazy(r"(?!)")
_SAMPLE = 50  # lines looked at for the layers of a window
_USER_PRIO = lazy(r"[\s>|]*(?:(?:\d+\.\d[\w.\-+~]{0,60},)?(\d{1,4}),\d+,\d+,[^;]*;|<(\d{1,3})>)")


def strip_lines(lines: Iterable[str], first_no: int = 1) -> Lines:
    """
    Take the carriers off *lines*. Blank lines are dropped; numbers stay those of the source.

    A line that has no layer but blanks, where the line before it had a real one, is a continuation (dmesg and
    journalctl indent the further lines of one record); its index is in :attr:`Lines.cont`.
    """
    out = Lines()
    rows = list(lines)
    while rows and not rows[-1]:
        rows.pop()
    out.raws, out.nos = rows, list(range(first_no, first_no + len(rows)))
    # Lines of one window share their layers: strip all with the commonest of a sample in one tight pass, then look at
    # the lines they did not fit one by one. Of a log whose lines have some, the first line mostly shows them.
    names: tuple[str, ...] = ()
    looked_at: dict[str, tuple[int, tuple[str, ...]]] = {}
    for end in (1, _SAMPLE):
        for line in () if names else _bare(out, end):
            found = looked_at[line] = find_layers(line)
            if is_record(found[1]):
                names = _commonest(rows, found[1])
                break
    if names:
        maybe = rows
        _strip(out, names)
    else:
        maybe = [*looked_at, *_bare(out, len(rows))]
    if not all(out.texts):
        _strip_rest(out, names, looked_at)
    _find_untrusted(out, maybe)
    return out


def _bare(out: Lines, until: int) -> list[str]:
    """
    Go on to fill *out* with the lines up to *until* as if they had no carriers; return those that could have one, whose
    texts and shapes are then still missing. A line that is in the kernel's own words has none.
    """
    begin = len(out.texts)
    rows = out.raws[begin:until]
    kinds, tables, others = shapes(rows)
    texts: list[str | None] = []
    for first, end in tables.items():
        texts += map(str.lstrip, rows[len(texts) : first])
        texts += rows[first:end]
        # Of few rows each is looked at: a number in brackets may begin a footnote.
        kinds[first:end] = map(classify, rows[first:end]) if begin < _SAMPLE else ["row"] * (end - first)
        out.tables[begin + first] = begin + end
    texts += map(str.lstrip, rows[len(texts) :])
    maybe = []
    for i in others:
        text = texts[i] or ""
        kind = kinds[i] = classify(text)
        if kind not in BARE and not text.startswith(_FIRST_WORDS) and COULD.match(rows[i]):
            texts[i] = kinds[i] = None
            maybe.append(rows[i])
    out.texts += texts  # type: ignore[arg-type]
    out.kinds += kinds
    return maybe


def _strip(out: Lines, names: tuple[str, ...]) -> None:
    """Fill *out* with its lines without the layers *names*; texts and shapes of what has others are still missing."""
    rows, match = out.raws, joined(names).match
    closed = names[-1] in _CLOSED
    texts = cut_off(rows, match) if closed else matched(rows, match)
    kinds, tables, _ = shapes([text or "" for text in texts])
    behind = 0
    for begin, after in (*tables.items(), (len(rows), len(rows))) if closed else ():
        for row in range(behind, begin):
            if (texts[row] or "")[:1] == "[":  # it may be one more layer, or a part of the last
                texts[row : row + 1] = matched([rows[row]], match)
                kinds[row] = None
        behind = after
    out.texts, out.kinds, out.tables = texts, kinds, tables  # type: ignore[assignment]


def _strip_rest(
    out: Lines, names: tuple[str, ...], looked_at: dict[str, tuple[int, tuple[str, ...]]]
) -> None:
    """Strip those lines whose text is still ``None`` layer by layer, and drop blank lines."""
    raws, texts, nos = out.raws, out.texts, out.nos
    if not all(raws) or any(map(str.isspace, raws)):
        keep = [i for i, line in enumerate(raws) if line and not line.isspace()]
        raws[:], texts[:], nos[:] = [raws[i] for i in keep], [texts[i] for i in keep], [nos[i] for i in keep]
        out.kinds = [out.kinds[i] for i in keep] if out.kinds else []
        out.tables = {}  # their indices were those of all lines; they are found again when they are needed
    match = _NEVER.match  # the layers of the last record looked at, which its neighbours mostly share
    for i in [i for i, text in enumerate(texts) if text is None]:
        line = raws[i]
        if line[0] == "[" and BRACKETED.match(line):
            texts[i] = line
            continue
        end = 0
        if m := match(line):
            end = m.end()
        elif COULD.match(line):
            end, layers = looked_at.get(line) or find_layers(line)
            if is_record(layers):
                if not names:  # bare lines before; what is indented from here on belongs to records
                    late = [n for n in range(i + 1, len(raws)) if texts[n] is not None and raws[n][0] in " \t"]
                    out.cont.update(late)
                names, match = layers, joined(layers).match
            elif layers == ("indent",) and names and i:
                out.cont.add(i)
        elif names and i and line[0] in " \t":
            out.cont.add(i)
        texts[i] = line[end:].lstrip()


def _commonest(rows: list[str], names: tuple[str, ...]) -> tuple[str, ...]:
    """The layers most of *rows* have, judged by three of them; *names* are those of the first record."""
    match, others = joined(names).match, []
    for line in (rows[len(rows) // 2], rows[len(rows) // 4], rows[len(rows) * 3 // 4]):
        if match(line):
            return names
        found = find_layers(line)[1] if COULD.match(line) else ()
        if found in others and is_record(found):
            return found
        others.append(found)
    return next((found for found in others if is_record(found)), names)


def _find_untrusted(out: Lines, carried: Sequence[str]) -> None:
    """
    Note lines that user space wrote, where a sample of *carried*, the lines that may have a carrier, shows priorities.

    /dev/kmsg and syslog priorities hold facility * 8 + level; the kernel's own facility is 0 and it forces another one
    on anything written through /dev/kmsg, so facility != 0 is not the kernel (kernel/printk/printk.c devkmsg_write()).
    """
    sample = carried[:: max(1, len(carried) // 16)]
    out.has_callers = any(_CALLER.search(r, 0, 72) for r in sample[:8])
    if not any(_USER_PRIO.match(r) or _LEVEL.match(r) for r in sample):
        return
    for i, raw in enumerate(out.raws):
        m = _USER_PRIO.match(raw)
        if m:
            if int(m[1] or m[2]) >> 3 and not _SYSLOG_KERNEL.match(raw):
                out.untrusted.add(i)
        else:
            lev = _LEVEL.match(raw)
            if lev and (facility := lev[1] or lev[2]) != "kern" and facility in FACILITIES:
                out.untrusted.add(i)


_LEVEL = lazy(
    r"[\s>|]*(?:([a-z0-9]+)[ \t]*:[a-z]+[ \t]*: "
    r"|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d [\d:]{8} \d{4} ([a-z0-9]+)\.[a-z]+ )"
)
# A relay may rewrite the priority but keeps the tag (imuxsock never writes tag "kernel" for user programs by itself).
_SYSLOG_KERNEL = lazy(r"[\s>|]*<\d+>(?:1 )?\S.* kernel(?:: | - )")
