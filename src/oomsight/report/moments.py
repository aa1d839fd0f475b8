"""When lines were printed and whether they are pieces of one record, as far as their carriers tell; looked up once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomsight._lazy import lazy

if TYPE_CHECKING:
    import re

    from oomsight.report.carriers import Lines

_UPTIME = lazy(r"\[[ \t]*(\d{1,12}\.\d{3,9})\]|(?:^|\s)\d{1,4},\d{1,18},(\d{1,18}),[^;]*;")
_REACH = 160  # characters of a line in which its carrier's clock stands


def stamp(raw: str) -> re.Match[str] | None:
    """Find the printk clock of a raw line: group 1 in seconds, or group 2 in microseconds as /dev/kmsg prints it."""
    head = raw[:_REACH]
    return _UPTIME.search(head) if "[" in head or ";" in head else None  # bare lines mostly have neither


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
            m = stamp(self.lines.raws[i])
            self._uptimes[i] = (float(m[1]) if m[1] else int(m[2]) / 1e6) if m else None
        return self._uptimes[i]

    def continues(self, i: int) -> bool:
        """Line *i* is the next piece of the record before it: indented under it, or printed with the same stamp."""
        if i in self.lines.cont:
            return True
        a, b = stamp(self.lines.raws[i - 1]), stamp(self.lines.raws[i])
        return a is not None and b is not None and a[0] == b[0]
