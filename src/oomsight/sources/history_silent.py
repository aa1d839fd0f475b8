"""Whether something is recorded still, and if not why, as far as the file system of a history tells."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from oomsight.sources.history import History

LEAST_BYTES: Final = 64 << 10  #: with less left on its disk a recorder has no room
LATE_SECONDS: Final = 60.0  #: a machine that hardly runs is late for so long
PACE_SECONDS: Final = 600.0  #: of the record, by which its pace is known
SELDOM_SECONDS: Final = 3600.0  #: apart, at most, where one sample in that time does not tell
MISSED: Final = 4  #: samples that did not come
NOT_RUNNING: Final = "`oomsight record`, or the agent, does not run"


def silent_seconds(history: History, now: float) -> float | None:
    """
    For how long nothing has been recorded at *now*, if at the pace at which it was it should have been; ``None`` = it
    is recorded as ever, or nothing was yet.
    """
    span = history.span()
    if span is None or now - span[1] <= LATE_SECONDS:
        return None
    moments = history.hours(span[1] - PACE_SECONDS, span[1])[-2 * MISSED :]
    apart = max((b - a for a, b in pairwise(moments)), default=SELDOM_SECONDS)
    return now - span[1] if now - span[1] > MISSED * apart else None


def why_silent(path: str) -> str:
    """The likeliest reason why a history at *path* has ended, in words."""
    try:
        disk = os.statvfs(path)
    except OSError:
        return NOT_RUNNING
    if disk.f_flag & os.ST_RDONLY:
        return "its file system is mounted read-only"
    if disk.f_blocks and disk.f_bavail * disk.f_frsize < LEAST_BYTES:
        return "its disk is full"
    if disk.f_files and not disk.f_favail:
        return "its disk has no inodes left"
    return NOT_RUNNING
