"""
What the lines of a report look like; only to decide how far a window reaches, never to read them.

Apart from the scanner because compiling these costs milliseconds, and small input does not need them.
"""

from __future__ import annotations

import re
from typing import Final

from oomsight._lazy import lazy

# First lines of reports: every release since 2.6.11 prints one of these two (mm/oom_kill.c).
HEAD: Final = lazy(rb"invoked oom-killer|oom-killer: gfp_mask")
# A kill line ends its report; "Kill process" (<= 5.0) is followed by "Killed process".
END: Final = lazy(rb"[Kk]illed process |no killable proc|panic_on_oom")
# Of the lines with a KILL needle, those only a kernel prints. "out of memory" alone is said by every program, and
# "oom-kill" by service managers and batch systems; such lines get a small window without looking for a report.
KERNEL: Final = lazy(
    rb"""
      oom-kill: | [Kk]illed[ ]process[ ]\d
    | ut[ ]of[ ]memory (?: :[ ](?:[Kk]ill|OOM[ ]victim|compulsory|system-wide) | [ ]\(oom_kill | \(memcg\)
                         | [ ]from[ ]page | [ ]and[ ]no[ ]killable | \.+[ ]*(?:panic_on_oom|Compulsory) )
    """,
    re.VERBOSE,
)
# Of the lines with a PART needle, those of a report, and HTCondor's.
PART: Final = lazy(
    rb"""
      \btgid\ total | Tasks\ state\ \( | \][ ]{5}0[ ]+\d+[ ]+\d+[ ]+\d+[ ]
    | y:\ usage\ \d | limit\ of\ / | dump_header\b | memory\ limit\ of\ \d
    """,
    re.VERBOSE,
)
# Fields of the journal export format other than the message, and empty lines: neither report nor something else.
NEUTRAL: Final = lazy(rb"(?!MESSAGE=)[A-Z_][A-Z0-9_]*=|\s*$")
# Lines that look like a part of a report. Cheap and generous: it only decides how far a window reaches.
REPORT: Final = lazy(
    rb"""
      \d[kK]B\b                                    # every size: zones, nodes, buddy lists, slab, memcg usage
    | \+0x[0-9a-f]+ | \[<[0-9a-f]+>\]              # stack frames
    | \[[ ]*\d+\][ ]+\d+[ ]+\d+[ ]                 # rows of the task table
    | (?:^|[\]:;="])[ ]*[a-z][a-z_]{2,}[ ]\d+\s*(?:"|\\n|$)   # memory.stat: key number
    | \d\ (?:total\ pagecache\ )?pages?\b                  # 123 pages RAM, total pagecache pages
    | pages?\ in\ | (?:[Aa]ctive|inactive|isolated|unevictable|slab|mapped|free)[a-z_]*:\d | all_unreclaimable
    | \b(?:CPU|[Pp]id|PID|Comm|[Nn]ode|R[A-Z0-9]{1,2}|EFLAGS|Code|hi|usd)\b\ *:?\ *[0-9a-fx]+
    | Call\ Trace | </?TASK> | Hardware\ name | Mem-Info | Workqueue | lowmem_reserve | hugepages_ | cpuset=
    | per-cpu: | Tasks\ state | oom_score_adj | \buid\b.*\btgid\b | Swap\ cache | [Mm]emory\ cgroup | Tasks?\ in\ /
    | Memory\ allocations | Unreclaimable\ slab | Name\ +Used | func: | oom_|OOM | gfp_mask | callbacks\ suppressed
    """,
    re.VERBOSE,
)
