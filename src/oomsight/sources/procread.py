"""
The files of one process after the other: whole, or only what tells who may be among the first of a ranking.

Nothing is imported here that takes time: :mod:`oomsight.sources.procreading` begins before anything else is loaded.
"""

from __future__ import annotations

import os

from oomsight.proc.fields import (
    NO_SIZES,
    PF_KTHREAD,
    Brief,
    StatFields,
    StatusFields,
    memory_sizes,
    number,
    rss_and_start,
    stat_fields,
    status_fields,
)

FLAGS = os.O_RDONLY | os.O_CLOEXEC
_BLOCK = 16 << 10  # more than any file of /proc/PID that is read here, but for odd Groups lines
NEVER = -1000  #: OOM_SCORE_ADJ_MIN
_ALWAYS_WHOLE = {1, 2}  # init is exempt; kthreadd tells that kernel threads can be seen
_NO_STATUS: StatusFields = (None, *NO_SIZES, None)

Row = tuple[StatFields, StatusFields, "int | None", "int | None", "str | None"]
"""One process: stat, status, oom_score_adj, oom_score, and the text of its cgroup file if that was asked for."""


def read_text(path: str) -> str:
    """The whole text of a small file, any byte kept (``surrogateescape``). Raises :class:`OSError`."""
    fd = os.open(path, FLAGS)
    try:
        data = os.read(fd, _BLOCK)
        # A short answer need not be the end: lists come in as many entries as fit into the kernel's buffer, which is a
        # page at first; the next one, as a line of mountinfo with many layers, may be long.
        while part := os.read(fd, _BLOCK):
            data += part
    finally:
        os.close(fd)
    return data.decode("utf-8", "surrogateescape")


def read_if_there(path: str) -> str | None:
    """As :func:`read_text`, ``None`` if it cannot be read."""
    try:
        return read_text(path)
    except OSError:
        return None


def _at_once(path: str) -> str:
    """The text of a file that the kernel hands out in one piece, as it does those of one process."""
    fd = os.open(path, FLAGS)
    try:
        return os.read(fd, _BLOCK).decode("utf-8", "surrogateescape")
    finally:
        os.close(fd)


def pids_of(proc: str) -> list[int]:
    """Process ids in the tree ``proc``, ascending. Raises :class:`OSError`."""
    return sorted(int(name) for name in os.listdir(proc) if name.isdecimal())


def own_pid(proc: str) -> int | None:
    """The pid of this process in the tree ``proc``; ``None`` = it is not there."""
    try:
        return int(os.readlink(f"{proc}/self"))
    except (OSError, ValueError):
        return None


def read_row(proc: str, pid: int, *, cgroup: bool = True, score: int | None = None) -> Row | None:
    """
    One process, with its ``cgroup`` file or without; ``None`` = gone. ``score``: its oom_score, if just read. Raises
    :class:`PermissionError` where it is not ours to see.
    """
    base = f"{proc}/{pid}/"
    try:
        stat = stat_fields(_at_once(base + "stat"))
        if stat is None:
            return None
        if stat[4] & PF_KTHREAD:  # the rest of its files would say nothing
            return stat, _NO_STATUS, None, None, None
        status = status_fields(_at_once(base + "status"))
        if score is None:
            score = number(_at_once(base + "oom_score"))
        if not stat[10] and score and stat[8] > 1:
            stat, status = _living_thread(base, stat, status)
        adj = number(_at_once(base + "oom_score_adj"))
        return stat, status, adj, score, read_if_there(base + "cgroup") if cgroup else None
    except PermissionError:
        raise
    except OSError:
        return None


def _living_thread(base: str, stat: StatFields, status: StatusFields) -> tuple[StatFields, StatusFields]:
    """Memory of a process whose first thread has ended: the kernel looks at the first that has not."""
    for tid in sorted(os.listdir(base + "task"), key=int):
        thread = stat_fields(_at_once(f"{base}task/{tid}/stat"))
        if thread is not None and thread[10]:
            return (*stat[:10], *thread[10:]), status_fields(_at_once(f"{base}task/{tid}/status"))
    return stat, status


def read_rows(
    proc: str, pids: list[int], *, cgroups: bool = True, scores: dict[int, int] | None = None
) -> tuple[list[Row], int]:
    """Those of ``pids`` that are there, and how many could not be read for lack of a right. ``scores``: as known."""
    rows: list[Row] = []
    denied = 0
    known = scores or {}
    for pid in pids:
        try:
            row = read_row(proc, pid, cgroup=cgroups, score=known.get(pid))
        except PermissionError:
            denied += 1
            continue
        if row is not None:
            rows.append(row)
    return rows, denied


def read_scores(proc: str, pids: list[int]) -> tuple[dict[int, int], list[int]]:
    """The oom_score of those of ``pids`` that are there, and those that are not ours to see."""
    scores: dict[int, int] = {}
    denied: list[int] = []
    for pid in pids:
        try:
            fd = os.open(f"{proc}/{pid}/oom_score", FLAGS)
            try:
                scores[pid] = int(os.read(fd, 32))
            finally:
                os.close(fd)
        except (PermissionError, ValueError):
            denied.append(pid)
        except OSError:
            continue  # gone
    return scores, denied


def read_briefs(proc: str, pids: list[int], *, stat: bool = False) -> tuple[list[Brief], list[int]]:
    """
    The brief of those of ``pids`` that have memory, and those that must be read whole: exempt, not ours to see, or with
    a first thread that has ended. ``stat``: with what stat says.
    """
    briefs: list[Brief] = []
    others: list[int] = []
    look: tuple[int | None, int | None] = (None, None)
    for pid in pids:
        if pid in _ALWAYS_WHOLE:
            others.append(pid)
            continue
        try:
            base = f"{proc}/{pid}/"
            fd = os.open(base + "status", FLAGS)
            try:
                sizes = memory_sizes(os.read(fd, _BLOCK))
            finally:
                os.close(fd)
            if sizes is None:  # a kernel thread, or on its way out
                continue
            fd = os.open(base + "oom_score_adj", FLAGS)
            try:
                adj = int(os.read(fd, 32))
            finally:
                os.close(fd)
            if stat:
                fd = os.open(base + "stat", FLAGS)
                try:
                    look = rss_and_start(os.read(fd, _BLOCK))
                finally:
                    os.close(fd)
        except (PermissionError, ValueError):
            others.append(pid)
            continue
        except OSError:
            continue  # gone
        if sizes and adj != NEVER:
            briefs.append((pid, *sizes, adj, *look))
        else:
            others.append(pid)
    return briefs, others


def read_rss(proc: str, pids: list[int]) -> list[tuple[int, int, int]]:
    """Those of ``pids`` that are there, each with its rss in pages and its start, as stat has them."""
    found = []
    for pid in pids:
        try:
            fd = os.open(f"{proc}/{pid}/stat", FLAGS)
            try:
                found.append((pid, *rss_and_start(os.read(fd, _BLOCK))))
            finally:
                os.close(fd)
        except (OSError, ValueError):
            continue
    return found
