"""Why nothing is recorded any more, as far as the file system of a history tells."""

from __future__ import annotations

import os
from typing import Final

LEAST_BYTES: Final = 64 << 10  #: with less left on its disk a recorder has no room
NOT_RUNNING: Final = "`oomsight record`, or the agent, does not run"


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
