"""When lines were printed and whether they are pieces of one record, as far as their carriers tell; looked up once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomsight._lazy import lazy

if TYPE_CHECKING:
    from oomsight.report.carriers import Lines

UPTIME = lazy(r"\[[ \t]*(\d{1,12}\.\d{3,9})\]|(?:^|\s)\d{1,4},\d{1,18},(\d{1,18}),[^;]*;")


class Moments:
    """printk clocks of the lines of one window, by index into :class:`~oomsight.report.carriers.Lines`."""

    def __init__(self, lines: Lines) -> None:
        """Look at *lines*, when asked."""
        self.lines = lines
        self._uptimes: dict[int, float | None] = {}

    def near(self, a: int, b: int, seconds: float) -> bool:
        """Whether two lines were printed within *seconds*; lines without a clock are near to everything."""
        ta, tb = self.uptime(a), self.uptime(b)
        return ta is None or tb is None or abs(tb - ta) <= seconds

    def uptime(self, i: int) -> float | None:
        """Seconds since boot at which line *i* was printed."""
        if i not in self._uptimes:
            m = UPTIME.search(self.lines.raws[i][:160])
            self._uptimes[i] = (float(m[1]) if m[1] else int(m[2]) / 1e6) if m else None
        return self._uptimes[i]

    def continues(self, i: int) -> bool:
        """Line *i* is the next piece of the record before it: indented under it, or printed with the same stamp."""
        if i in self.lines.cont:
            return True
        a, b = UPTIME.search(self.lines.raws[i - 1][:160]), UPTIME.search(self.lines.raws[i][:160])
        return a is not None and b is not None and a[0] == b[0]
