"""
What announces an out-of-memory event in a log, as byte strings to search for, and what its lines look like.

Long needles are chosen on purpose: glibc's ``memmem`` skips by the needle's length, so a needle of 15 letters is
searched at several times the speed of one of three. A hit is only a reason to look; the parser decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Role(IntEnum):
    """What a hit means for the extent of the window around it; of several hits in one line the greatest counts."""

    USER = 1  #: a userspace killer's or service manager's line: stands alone, its own few lines around it
    AFTER = 2  #: comes after a kill, seconds later and maybe far below: reaches back to it
    KILL = 3  #: a kernel line at or near the end of a report: the report, if any, is above it
    HEAD = 4  #: first line of a report: the report is below it


@dataclass(frozen=True, slots=True)
class Needle:
    """One string worth looking at."""

    text: bytes
    role: Role
    announces: str
    source: str  #: file and releases it is printed by


NEEDLES: Final = (
    Needle(b"oom-kill", Role.KILL, "report head, oom-kill: line; results of systemd, slurm", "mm/oom_kill.c 2.6.11+"),
    Needle(b"ut of memory", Role.KILL, "kill line, panic, nothing to kill", "mm/oom_kill.c 2.6.18+"),
    Needle(b"illed process ", Role.KILL, "kill line, whatever is before it", "mm/oom_kill.c 2.6.11+"),
    Needle(b"OOM request ignored", Role.KILL, "SysRq-f without a victim", "drivers/tty/sysrq.c 4.0+"),
    Needle(b"send sigkill to ", Role.KILL, "kill (Android)", "staging/android/lowmemorykiller.c -4.4"),
    Needle(b"oom_reaper: ", Role.AFTER, "memory of the victim taken, or not", "mm/oom_kill.c 4.6+"),
    Needle(b"allocation failure", Role.HEAD, "an allocation returned NULL; Mem-Info follows", "mm/page_alloc.c 2.6+"),
    Needle(b"lowmemorykiller", Role.USER, "kill (Android)", "staging/android/lowmemorykiller.c 3.10-4.11, lmkd"),
    Needle(b"OOM killer", Role.USER, "a process of a unit was killed", "systemd core/unit.c"),
    Needle(b"oomd kill", Role.USER, "kill, in /dev/kmsg; or seen by systemd", "Meta oomd, systemd core/unit.c"),
    Needle(b" due to memory ", Role.USER, "kill, with the reason", "systemd oom/oomd-manager.c"),
    Needle(b"ending SIG", Role.USER, "kill", "earlyoom kill.c, nohang"),
    Needle(b"System OOM encountered", Role.USER, "kubelet saw a kill on the node", "kubelet oom_watcher_linux.go"),
)
"""
One row per needle; the role is what the needle alone says, ``scan`` looks at the line too.

Every needle costs a pass over the log, so lines that never come alone have no row: "Manual OOM execution" (a head or
"OOM request ignored" follows), "Out of Memory: Kill" and "No available memory" of 2.6 ("Killed process" is in the
same or the next line), "killed as a result of limit of" and "System is deadlocked on memory" (in the same report).
"""

# First lines of reports: every release since 2.6.11 prints one of these two (kernel-oom: "Line 1 variants").
HEAD: Final = re.compile(rb"invoked oom-killer|oom-killer: gfp_mask")
# A kill line ends its report; "Kill process" (<= 5.0) is followed by "Killed process".
END: Final = re.compile(rb"[Kk]illed process |no killable proc|deadlocked on memory|OOM request ignored|panic_on_oom")
# Of the lines with a KILL needle, those only a kernel prints. "out of memory" alone is said by every program, and
# "oom-kill" by service managers and batch systems; such lines get a small window without looking for a report.
KERNEL: Final = re.compile(
    rb"""
      oom-kill: | [Kk]illed[ ]process[ ]\d | request[ ]ignored | send[ ]sigkill[ ]to[ ]\d
    | ut[ ]of[ ]memory (?: :[ ](?:[Kk]ill|OOM[ ]victim|compulsory|system-wide) | [ ]\(oom_kill | \(memcg\)
                         | [ ]from[ ]page | [ ]and[ ]no[ ]killable | \.+[ ]*(?:panic_on_oom|Compulsory) )
    """,
    re.VERBOSE,
)
# Fields of the journal export format other than the message, and empty lines: neither report nor something else.
NEUTRAL: Final = re.compile(rb"(?!MESSAGE=)[A-Z_][A-Z0-9_]*=|\s*$")
# Lines that look like a part of a report. Cheap and generous: it only decides how far a window reaches.
REPORT: Final = re.compile(
    rb"""
      \d[kK]B\b                                    # every size: zones, nodes, buddy lists, slab, memcg usage
    | \+0x[0-9a-f]+ | \[<[0-9a-f]+>\]              # stack frames
    | \[[ ]*\d+\][ ]+\d+[ ]+\d+[ ]                 # rows of the task table
    | (?:^|[\]:="][ ]?)[a-z][a-z_]{2,}[ ]\d+\s*(?:"|\\n|$)   # memory.stat: key number
    | \d\ (?:total\ )?pages?[ ]                    # 123 pages RAM, total pagecache pages
    | pages?\ in\ | (?:[Aa]ctive|inactive|isolated|unevictable|slab|mapped|free)[a-z_]*:\d | all_unreclaimable
    | \b(?:CPU|[Pp]id|PID|Comm|[Nn]ode|R[A-Z0-9]{1,2}|EFLAGS|Code|hi|usd)\b\ *:?\ *[0-9a-fx]+
    | Call\ Trace | </?TASK> | Hardware\ name | Mem-Info | Workqueue | lowmem_reserve | hugepages_ | cpuset=
    | per-cpu: | Tasks\ state | oom_score_adj | \buid\b.*\btgid\b | Swap\ cache | [Mm]emory\ cgroup | Tasks?\ in\ /
    | Memory\ allocations | Unreclaimable\ slab | Name\ +Used | func: | oom_|OOM | gfp_mask | callbacks\ suppressed
    """,
    re.VERBOSE,
)
