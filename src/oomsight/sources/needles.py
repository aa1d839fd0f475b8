"""
What announces an out-of-memory event in a log, as byte strings to search for.

The search looks for the first two letters of a needle and compares the rest where it finds them, so a needle is as fast
as those two are rare: ``common`` says how many letters of the begin are better left out (there is a room in every
hotel's log). A hit is only a reason to look; the parser decides.

Each needle is a pass over the log: there is one for every kind of line that may come alone, and none for others.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from oomsight._lazy import lazy
from oomsight._named import NamedTuple


class Role(IntEnum):
    """What a hit means for the extent of the window around it; of several hits in one line the greatest counts."""

    USER = 1  #: a userspace killer's or service manager's line: stands alone, its own few lines around it
    PART = 2  #: a line from the middle of a report: the rest, whatever is left of it, is above and below
    AFTER = 3  #: comes after a kill, seconds later and maybe far below: reaches back to it
    KILL = 4  #: a kernel line at or near the end of a report: the report, if any, is above it
    HEAD = 5  #: first line of a report: the report is below it


class Needle(NamedTuple):
    """One string worth looking at."""

    text: bytes
    role: Role
    announces: str
    source: str  #: file and releases it is printed by
    common: int = 0  #: letters of its begin that the search leaves out, and compares afterwards
    apart_bytes: int = 0  #: after a hit the search goes on this much further: the next few say the same


NEEDLES: Final = (
    Needle(b"oom-kill", Role.KILL, "report head, oom-kill: line; result of systemd, slurm", "mm/oom_kill.c 2.6.11+", 3),
    Needle(b"ut of memory", Role.KILL, "kill line, panic, nothing to kill", "mm/oom_kill.c 2.6.18+"),
    Needle(b"illed process ", Role.KILL, "kill line, whatever is before it", "mm/oom_kill.c 2.6.11+", 3),
    Needle(b"oom_reaper: ", Role.AFTER, "memory of the victim taken, or not", "mm/oom_kill.c 4.6+", 2),
    Needle(b"allocation failure", Role.HEAD, "an allocation returned NULL; Mem-Info follows", "mm/page_alloc.c 2.6+"),
    Needle(b"dump_header", Role.PART, "the stack of a report", "mm/oom_kill.c 2.6.25+", 4),
    Needle(b"limit of ", Role.PART, "cgroup at its limit; kill by HTCondor", "mm/memcontrol.c 2.6.28-4.20, condor", 1),
    Needle(b"y: usage ", Role.PART, "the cgroup's usage and limit", "mm/memcontrol.c 2.6.28+"),
    Needle(b"Tasks state (", Role.PART, "title of the task table", "mm/oom_kill.c 4.15+", 2),
    Needle(b"tgid total", Role.PART, "header of the task table", "mm/oom_kill.c 2.6.25+"),
    Needle(b"]     0 ", Role.PART, "rows of the task table: a process of root", "mm/oom_kill.c 2.6.25+", 0, 4096),
    Needle(b"adj ", Role.USER, "kill (Android)", "lowmemorykiller.c up to 4.11, lmkd, Simple LMK", 1),
    Needle(b"oomd kill", Role.USER, "kill, in /dev/kmsg; or seen by systemd", "Meta oomd, systemd core/unit.c", 2),
    Needle(b" due to memory ", Role.USER, "kill, with the reason", "systemd oom/oomd-manager.c", 1),
    Needle(b"nding SIG", Role.USER, "kill", "earlyoom kill.c, nohang"),
    Needle(b"illing process ", Role.USER, "kill", "earlyoom kill.c 1.1, 1.2", 2),
    Needle(b"System OOM encountered", Role.USER, "kubelet saw a kill on the node", "kubelet oom_watcher_linux.go", 7),
    Needle(b"oom_kill event", Role.USER, "a kill in a job's cgroup was counted", "Slurm cgroup plugin 20.11+", 3),
    Needle(b"container oom ", Role.USER, "a kill in a container was counted", "docker events", 8),
)
"""
One row per needle; the role is what the needle alone says, ``scan`` looks at the line too.

There is no row for lines that do not come alone: "Manual OOM execution" (a head follows), "Out of Memory: Kill" and
"No available memory" of 2.6 ("Killed process" is in the same or the next line), "System is deadlocked on memory" (in a
report), "Memory cgroup stats for" (behind its usage). Nor for systemd's "killed by the OOM killer", which repeats a
kernel kill and names no process, nor for "OOM request ignored because killer is disabled" (drivers/tty/sysrq.c
4.0-4.18), after which nobody died. What else small input shows and large input hides: rows of a task table where
neither one of a process of root's nor the header is left (what all rows have in common is nine blanks, which take a
fifth of the whole search to look for), words broken by a line end that come nowhere whole, nohang's "Send SIG" before
its first release and LSF's TERM_MEMLIMIT, which stands in the output of one job: a pass for each takes 2 to 8 % of the
search.
"""
LONGEST: Final = max(len(needle.text) for needle in NEEDLES)


# Shapes whose words alone would be too common.
_SHAPES: Final = (
    b"oom-kill", b"Killed /", b"Killed .", "Killed …".encode(), b"Marked /", b"Marked .", "Marked …".encode(),
    b"Kill '", b"Killing '", b"Reclaim '",
    b"\x1b",  # colours may stand in the middle of a word
)  # fmt: skip
# By what all of a row have in common, which most texts have not.
_TRACES: Final = (
    (b"oom", b"oomkill oomreaper oomvictim oomscoreadj oommemcg oomexecution oomrequest oomdkill"),
    (b"oom", b"systemoom taskoom tasksoom containeroom"),
    (b"kill", b"killedprocess killprocess killingprocess nokillable sendsigkill lowmemorykiller simplelmkkill"),
    (b"alloc", b"allocationfailure allocationstalls vmallocerror vmapallocation"),
    (b"header", b"dumpheader"),
    (b"memory", b"memorycgroup duetomemory memoryvaluesinpages overmemorylimit overcgroupmemorylimit"),
    (b"t", b"panicnotsyncing asaresultoflimit uidtgid taskmemcg"),
    (b"ending", b"endingsig"),
    (b"sendsig", b"sendsigterm sendsigkill"),
    (b"memlimit", b"termmemlimit"),
)
_ROWS: Final = lazy(rb"\] +-?\d+ +\d+ +\d+ +\d+ +\d+ +-?\d+ ")
_WORDS: Final = tuple((common, tuple(words.split())) for common, words in _TRACES)
_LOWER: Final = bytes(range(256)).lower()
_NO_LETTERS: Final = bytes(byte for byte in range(256) if not chr(byte).isascii() or not chr(byte).isalpha())


def could_matter(text: bytes) -> bool:
    """
    Whether a small *text* could hold anything the parser finds: for whatever it says no to, so would the parser.

    Reads letters only, so that a text wrapped in the middle of a word, quoted or escaped still shows its words.
    """
    if any(shape in text for shape in _SHAPES):
        return True
    if _ROWS.search(text):  # of a task table whose header is not there: few letters, and those are names
        return True
    if b"encoding: base64" in text.lower():  # parts of a mail, which show no words
        return True
    if b'"MESSAGE"' in text and b"[" in text:  # the journal writes what is no clean UTF-8 as a list of numbers
        return True
    letters = text.translate(_LOWER, _NO_LETTERS)
    return any(word in letters for common, words in _WORDS if common in letters for word in words)
