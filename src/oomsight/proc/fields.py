"""
The fields of /proc/PID/stat and /proc/PID/status as plain tuples, and nothing imported for it.

``oomsight score`` reads thousands of these files, in a helper process that starts before anything else is loaded, so
this is the quick half of :mod:`oomsight.proc.process`, which gives the fields their names. Sources: there.
"""

from __future__ import annotations

from _operator import itemgetter  # as operator gives it, and loaded already

PF_KTHREAD = 0x00200000  #: include/linux/sched.h, 2.6.27+

MEMORY_KEYS = (
    "VmLck:", "VmRSS:", "RssAnon:", "RssFile:", "RssShmem:", "VmPTE:", "VmPMD:", "VmSwap:", "HugetlbPages:",
)  # fmt: skip
"""Lines of status that are kept, in the order of the fields of :class:`~oomsight.proc.process.Status`."""

NO_SIZES: tuple[int | None, ...] = (None,) * len(MEMORY_KEYS)
_NO_SIZES = list(NO_SIZES)

_USUAL_LINES = [  # of 4.15 and later, between the first and the last that are kept
    "VmLck:", "VmPin:", "VmHWM:", "VmRSS:", "RssAnon:", "RssFile:", "RssShmem:", "VmData:", "VmStk:", "VmExe:",
    "VmLib:", "VmPTE:", "VmSwap:", "HugetlbPages:",
]  # fmt: skip
_usual_sizes = itemgetter(*(3 * _USUAL_LINES.index(key) + 1 for key in MEMORY_KEYS if key in _USUAL_LINES))

StatFields = tuple[int, str, str, int, int, int, int, int, int, int, int, int]
"""pid, comm, state, ppid, flags, utime, stime, nice, threads, starttime, vsize in bytes, rss in pages."""

StatusFields = tuple[int | None, ...]
"""Uid, the sizes of :data:`MEMORY_KEYS` in KiB, CapEff; ``None`` = no such line."""

Brief = tuple[int, int, int, int, int, int, "int | None", "int | None"]
"""
What badness counts: pid; rss, swap and page tables in KiB; how many of the kernel's four counters; oom_score_adj; and
the rss in pages and the start of :data:`StatFields`, if that was read along.
"""


def stat_fields(text: str) -> StatFields | None:
    """Fields of the line of /proc/PID/stat; ``None`` if it is none (a process that just ended)."""
    # comm may contain ") ", but no field after it does: the last bracket closes it.
    opening, closing = text.find("("), text.rfind(")")
    fields = text[closing + 1 :].split(None, 22)
    try:
        return (
            int(text[:opening]), text[opening + 1 : closing], fields[0], int(fields[1]), int(fields[6]),
            int(fields[11]), int(fields[12]), int(fields[16]), int(fields[17]), int(fields[19]), int(fields[20]),
            int(fields[21]),
        )  # fmt: skip
    except (ValueError, IndexError):
        return None


def status_fields(text: str) -> StatusFields:
    """Fields of /proc/PID/status; those whose lines are missing (a kernel thread, an era) are ``None``."""
    block = text.find("\nVmLck:")
    sizes: list[int | None] = _NO_SIZES
    if block >= 0:
        sizes = []
        last = text.find("\nHugetlbPages:", block)
        if last < 0:  # until 4.3, or a kernel without huge pages
            last = text.find("\nVmSwap:", block)
        words = text[block : text.find("\n", last + 1)].split() if last >= 0 else []
        try:  # "VmRSS:\t    4096 kB": three words a line
            if words[::3] == _USUAL_LINES:
                lck, rss, anon, file, shmem, pte, swap, huge = _usual_sizes(words)
                sizes = [int(lck), int(rss), int(anon), int(file), int(shmem), int(pte), None, int(swap), int(huge)]
        except ValueError:
            pass
        if not sizes:
            sizes = [number_after(text, f"\n{key}") for key in MEMORY_KEYS]
    return number_after(text, "\nUid:"), *sizes, number_after(text, "\nCapEff:", 16)


def rss_and_start(stat: bytes) -> tuple[int, int]:
    """Rss in pages and start in ticks of /proc/PID/stat, and no more. Raises :class:`ValueError` if it is none."""
    fields = stat[stat.rfind(b")") + 1 :].split(None, 22)
    if len(fields) < 23:
        raise ValueError("no line of /proc/PID/stat")
    return int(fields[21]), int(fields[19])


def memory_sizes(status: bytes) -> tuple[int, int, int, int] | tuple[()] | None:
    """
    The little of /proc/PID/status that badness counts: rss, swap and page tables in KiB, and how many of the counters
    behind them (anonymous, file, shared memory, swap) are not 0. ``None`` = no memory of its own; empty = it cannot be
    told so simply, as the first thread has ended or the lines are not those of 4.15 and later, or very long.
    """
    start = status.find(b"\nVmRSS:")
    if start < 0:
        return None if status.find(b"\nThreads:\t1\n") >= 0 else ()
    # Lines of a fixed length, as the kernel fills numbers up to eight columns: "VmRSS:\t    4096 kB".
    if status[start + 20 : start + 28] != b"RssAnon:" or status[start + 161 : start + 167] != b"VmPTE:":
        return ()  # more than 95 GiB, or other lines
    swap = int(status[start + 188 : start + 196])
    none = status.count(b"\t       0 kB", start + 20, start + 84)  # of RssAnon, RssFile and RssShmem
    return int(status[start + 8 : start + 16]), swap, int(status[start + 168 : start + 176]), 3 - none + (swap > 0)


def number_after(text: str, key: str, radix: int = 10) -> int | None:
    """The number that follows ``key``; ``None`` = there is no such key, or no number."""
    at = text.find(key)
    if at < 0:
        return None
    at += len(key)
    try:
        return int(text[at : at + 24].split(None, 1)[0], radix)
    except (ValueError, IndexError):
        return None


def number(text: str | None) -> int | None:
    """A file that holds one number (oom_score, oom_score_adj, sysctls); ``None`` = it does not."""
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
