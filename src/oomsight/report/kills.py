"""
Kill lines: ``Killed process N (comm) total-vm:…`` and the announcement ``Kill process N (comm) score S or sacrifice
child``, of every kernel, also wrapped, cut, or with a name that holds brackets, newlines or the words of the line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from oomsight._lazy import lazy
from oomsight._record import dataclass, field
from oomsight.report.grammar import KILL
from oomsight.report.unwrap import unescape_name

if TYPE_CHECKING:
    from oomsight.report.moments import Moments

_SIZES = lazy(
    r"(total-vm|vsz|vm|anon-rss|file-rss|shmem-rss|rss|pgtables):[ ]?(\d{1,18}) ?[kK]B"
    r"|(UID|oom_score_adj):[ ]?(-?\d{1,10})(?!\d)"
)
_SIZED = lazy(r"\((?P<comm>.*)\)(?P<rest>,? ?(?:UID:? ?\d+,? ?)?[\s,]*(?:total-vm|vsz|anon-rss)[:.].*)$", re.S)
_SCORED = lazy(r"\((?P<comm>.*)\),? score (?P<score>-?\d{1,18})(?P<rest> .*)?$", re.S)
_PLAIN = lazy(r"\((?P<comm>.{0,20}?\)?)\)(?P<rest>[\s.,;:\])}`'\"].*|)$", re.S)
_UNCLOSED = lazy(r"\((?P<comm>.{1,16}?)(?P<rest>[\s,]+(?:total-vm|vsz|anon-rss):.*|)$", re.S)
_CUT = lazy(r"\((?P<comm>)(?P<rest>)$")
_UID_AFTER = lazy(r"UID:? ?(\d{1,10})(?!\d)")
_ALIKE = bytes(48 if 48 <= byte <= 57 else byte for byte in range(256))
_TOO_LONG = b"0" * 19
_MESSAGE = lazy(
    r"((?:Memory cgroup |memory cgroup )?[Oo]ut [Oo]f [Mm]emory(?: \([^)]*\)| in UB \S{1,64}: OOM)?"
    r"|No available memory(?: \([^)]*\)| in cpuset)?):?\s*$"
)


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
    undivided: bool = False  #: resident memory is one number, filed as anonymous
    damaged: bool = False  #: a number longer than any the kernel prints stands in it


def parse_kill(moments: Moments, i: int, text: str) -> Kill | None:
    """Read the kill line *text*, which is or is part of line *i*; ``None`` when it is none after all."""
    lines = moments.lines
    m = KILL.search(text)
    if m is None:
        return None
    # Knowledge bases print the name of 2.6.18 without the brackets it had: "Killed process 7919, UID 504 oracle".
    tail = text[m.end() - 1 :] if m["uid_of_bare"] is None else f"({text[m.end() :].rstrip('.')})"
    sized, scored = _SIZED.match(tail), None
    for offset in (1, 2):
        # A line cut in two behind the name (wrapped, or a name with a newline): the sizes stand on the next lines.
        nxt = i + offset
        if sized or nxt >= len(lines.texts) or _SCORED.match(tail):
            break
        following = lines.texts[nxt]
        if offset == 1 and not _PLAIN.match(tail) and moments.continues(nxt):
            tail += "\n" + following
        elif re.match(r"[#>|\s]*(?:total-vm|vsz|anon-rss|file-rss):\d", following):
            tail = tail.rstrip() + " " + following.lstrip("#>| \t")
        else:
            break
        sized = _SIZED.match(tail)
    if not sized:
        scored = _SCORED.match(tail)
    body = sized or scored or _PLAIN.match(tail) or _UNCLOSED.match(tail) or _CUT.match(tail)
    if body is None:
        return None
    comm = unescape_name(body["comm"])
    if len(comm.encode("utf-8", "surrogateescape")) > 64:
        return None
    before = text[: m.start()]
    message = _MESSAGE.search(before)
    announced = m["ed"] is None and (scored is not None or "or sacrifice child" in tail or "or a child" in tail)
    if m["ed"] is None and not announced:
        return None
    kill = Kill(int(m["pid"]), comm, lines.nos[i], i, message[1] if message else None)
    if message is None and not m["ed"]:
        kill.prefix = None
    kill.announced_only = announced
    rest = body["rest"] or ""
    uid = m["uid"] or m["uid_of_bare"] or ((after := _UID_AFTER.search(rest)) and after[1])
    kill.uid = int(uid) if uid else None
    for name, size, name2, value in _SIZES.findall(rest):
        if name:
            kill.kib[name] = int(size)
        elif name2 == "UID":
            kill.uid = int(value)
        else:
            kill.oom_score_adj = int(value)
    if "rss" in kill.kib:  # of OpenVZ, whose line has other names for the sizes
        kill.undivided = "anon-rss" not in kill.kib
        kill.kib.setdefault("anon-rss", kill.kib.pop("rss"))
        if "vm" in kill.kib:
            kill.kib.setdefault("total-vm", kill.kib.pop("vm"))
    kill.damaged = _TOO_LONG in rest.encode("utf-8", "surrogatepass").translate(_ALIKE)
    if scored is not None:
        kill.score = int(scored["score"])
    return kill


def merge(known: Kill, again: Kill) -> None:
    """Add to *known* what another copy of the same line says."""
    known.repeats += 1
    for key, value in again.kib.items():
        known.kib.setdefault(key, value)
    if known.oom_score_adj is None:
        known.oom_score_adj = again.oom_score_adj
    if known.uid is None:
        known.uid = again.uid
