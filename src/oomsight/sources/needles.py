"""
What announces an out-of-memory event in a log, as byte strings to search for.

The search looks for the first two letters of a needle and compares the rest where it finds them, so a needle is as fast
as those two are rare: ``common`` says how many letters of the begin are better left out (there is a room in every
hotel's log). A hit is only a reason to look; the parser decides.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from oomsight._lazy import lazy
from oomsight._named import NamedTuple


class Role(IntEnum):
    """What a hit means for the extent of the window around it; of several hits in one line the greatest counts."""

    USER = 1  #: a userspace killer's or service manager's line: stands alone, its own few lines around it
    AFTER = 2  #: comes after a kill, seconds later and maybe far below: reaches back to it
    KILL = 3  #: a kernel line at or near the end of a report: the report, if any, is above it
    HEAD = 4  #: first line of a report: the report is below it


class Needle(NamedTuple):
    """One string worth looking at."""

    text: bytes
    role: Role
    announces: str
    source: str  #: file and releases it is printed by
    common: int = 0  #: letters of its begin that the search leaves out, and compares afterwards


NEEDLES: Final = (
    Needle(b"oom-kill", Role.KILL, "report head, oom-kill: line; result of systemd, slurm", "mm/oom_kill.c 2.6.11+", 2),
    Needle(b"ut of memory", Role.KILL, "kill line, panic, nothing to kill", "mm/oom_kill.c 2.6.18+"),
    Needle(b"illed process ", Role.KILL, "kill line, whatever is before it", "mm/oom_kill.c 2.6.11+"),
    Needle(b"oom_reaper: ", Role.AFTER, "memory of the victim taken, or not", "mm/oom_kill.c 4.6+", 2),
    Needle(b"allocation failure", Role.HEAD, "an allocation returned NULL; Mem-Info follows", "mm/page_alloc.c 2.6+"),
    Needle(b" to free ", Role.USER, "kill (Android)", "lowmemorykiller.c 3.10-4.11, lmkd, Simple LMK", 1),
    Needle(b"oomd kill", Role.USER, "kill, in /dev/kmsg; or seen by systemd", "Meta oomd, systemd core/unit.c", 2),
    Needle(b" due to memory ", Role.USER, "kill, with the reason", "systemd oom/oomd-manager.c", 1),
    Needle(b"ending SIG", Role.USER, "kill", "earlyoom kill.c, nohang"),
    Needle(b"System OOM encountered", Role.USER, "kubelet saw a kill on the node", "kubelet oom_watcher_linux.go", 7),
)
"""
One row per needle; the role is what the needle alone says, ``scan`` looks at the line too.

Every needle costs a pass over the log, so there is no row for lines that do not come alone: "Manual OOM execution"
(a head follows), "Out of Memory: Kill" and "No available memory" of 2.6 ("Killed process" is in the same or the next
line), "killed as a result of limit of" and "System is deadlocked on memory" (in a report). Nor for systemd's "killed by
the OOM killer", which repeats a kernel kill and names no process. Nor for two that are very rare in large logs: "OOM
request ignored because killer is disabled" (drivers/tty/sysrq.c 4.0-4.18) and "send sigkill to" (lowmemorykiller before
3.10), nor for hearsay: "container oom" of docker events and "oom_kill event" of Slurm since 20.11. In input of at most
1 MiB the parser sees them all, and rows, stacks and cgroup blocks that lack their report's head and end.
"""


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
    if b'"MESSAGE"' in text and b"[" in text:  # the journal writes what is no clean UTF-8 as a list of numbers
        return True
    letters = text.translate(_LOWER, _NO_LETTERS)
    return any(word in letters for common, words in _WORDS if common in letters for word in words)
