"""Whether the recorder's store can be written: told when that changes, not at every sample of a disk at its brink."""

from __future__ import annotations

import os
from typing import Final

from oomsight.record.tiers import TIERS

SETTLED_MS: Final = 20_000
"""So long nothing may fail before it is told to work again: what is packed frees a page, and the next row fails."""
DISK_SHARE: Final = 0.8  #: of its file system, at most, is filled by the history itself


class Health:
    """
    What of a store at *path* fails. :attr:`remarks` is what has to be told; :attr:`trouble` why something cannot be
    written now. Its time is :attr:`now_ms`, of the newest sample, in milliseconds since boot.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.remarks: list[str] = []
        self.trouble: str | None = None
        self.now_ms = 0
        self._failing: set[int] = set()  # tiers
        self._told: str | None = None
        self._failed_ms = 0
        self._cramped = False
        self._lost: dict[int, int] = {}  # rows, by tier

    def failed(self, tier: int, error: OSError) -> None:
        """Remember that writing a *tier* failed."""
        self.trouble = (error.strerror or str(error)).lower()
        self._failing.add(tier)
        self._failed_ms = self.now_ms
        if self._told is None:
            self._told = self.trouble
            self.remarks.append(f"{self.path}: {self.trouble}; samples wait in memory")

    def lost(self, tier: int, rows: int) -> None:
        """Remember that so many *rows* waited for too long, and are in no tier as dense as theirs."""
        if tier not in self._lost:
            self.remarks.append(f"{self.path}: {self.trouble} still; {_left_of(tier)}")
        self._lost[tier] = self._lost.get(tier, 0) + rows

    def worked(self, tier: int) -> None:
        """Remember that writing a *tier* works."""
        self._failing.discard(tier)
        if self._failing:
            return
        self.trouble = None
        if self._told is not None and self.now_ms - self._failed_ms >= SETTLED_MS:
            lost = _left_of(max(self._lost)) if self._lost else "nothing was lost"
            self.remarks.append(f"{self.path}: can be written again; {lost}")
            self._told = None
            self._lost.clear()

    def takes(self, size: int, room: int | None) -> None:
        """Remember that *size* bytes are left after what may go has gone; more than *room* is told once."""
        if room is not None and size > room and not self._cramped:
            self._cramped = True
            self.remarks.append(f"{self.path}: the newest files alone take {-(-size >> 20)} MiB, more than is allowed")

    def ended(self, rows: int) -> None:
        """Remember that it ends with so many newest *rows* that could not be written."""
        if rows:
            what = "the last sample" if rows == 1 else f"the last {rows:,} samples"
            self.remarks.append(f"{self.path}: {self.trouble}; {what} could not be written")


def _left_of(tier: int) -> str:
    """What there is of a time of which the samples of *tier* are lost."""
    if tier + 1 < len(TIERS):
        return f"of a part of this time only every {TIERS[tier + 1].step_seconds:g} s is kept"
    return "samples are lost, the history has a gap"


def room_on(path: str, wanted: int | None) -> int | None:
    """
    How many bytes may be kept at *path*: as many as *wanted* (``None`` = all there is), and never all of a file system,
    as then nothing of what happens now could be recorded.
    """
    try:
        disk = os.statvfs(path)
    except OSError:
        return wanted
    most = int(disk.f_blocks * disk.f_frsize * DISK_SHARE)
    return most if wanted is None else min(wanted, most) if most else wanted
