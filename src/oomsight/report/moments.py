"""When lines were printed and whether they are pieces of one record, as far as their carriers tell; looked up once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomsight._lazy import lazy

if TYPE_CHECKING:
    import re

    from oomsight.report.carriers import Lines

_UPTIME = lazy(r"\[[ \t]*(\d{1,12}\.\d{3,9})(?: <[ \d.]{1,20}>)?\]|(?:^|\s)\d{1,4},\d{1,18},(\d{1,18}),[^;]*;")
_WALL = lazy(
    r"(?:(\d{4}-\d\d-\d\d)[T ]|\b([^\W\d]{3,9}\.? +\d{1,2}) +(?:\d{4} +)?)(\d\d):(\d\d):(\d\d)(?!\d)"
)
_TIME = lazy(r"\d\d:\d\d:\d\d")  # asked first: most lines without a clock have none
_WALL_REACH = 64
_RELAYED_S = 100.0  # by which wall clocks of one event may differ more: daemons stamp a line when they read it
_DAY_S = 86_400
_REACH = 160  # characters of a line in which its carrier's clock stands


def stamp(raw: str) -> re.Match[str] | None:
    """Find the printk clock of a raw line: group 1 in seconds, or group 2 in microseconds as /dev/kmsg prints it."""
    head = raw[:_REACH]
    return _UPTIME.search(head) if "[" in head or ";" in head else None  # bare lines mostly have neither


class Moments:
    """Clocks of the lines of one window, by index into :class:`~oomsight.report.carriers.Lines`."""

    def __init__(self, lines: Lines) -> None:
        """Look at *lines*, when asked."""
        self.lines = lines
        self._uptimes: dict[int, float | None] = {}
        self._walls: dict[int, tuple[str, int] | None] = {}

    def near(self, a: int, b: int, seconds: float) -> bool:
        """
        Whether two lines were printed within *seconds*, by printk's clock or else, less strictly, by the wall clock;
        lines without a clock are near to everything.
        """
        ta, tb = self.uptime(a), self.uptime(b)
        if ta is not None and tb is not None:
            return abs(tb - ta) <= seconds
        apart = self.wall_seconds(a, b)
        return apart is None or abs(apart) <= seconds + _RELAYED_S

    def wall_seconds(self, a: int, b: int) -> float | None:
        """
        Seconds from line *a* to line *b* by the wall clock of their carriers; ``None`` = one of them shows none. Days
        are only compared: what is not of the same day is one day apart, in the order of the text.
        """
        one, other = self._wall(a), self._wall(b)
        if one is None or other is None:
            return None
        return other[1] - one[1] + (0 if one[0] == other[0] else _DAY_S)

    def _wall(self, i: int) -> tuple[str, int] | None:
        if i not in self._walls:
            head = self.lines.raws[i][:_WALL_REACH]
            m = _WALL.search(head) if _TIME.search(head) else None
            of_day = int(m[3]) * 3600 + int(m[4]) * 60 + int(m[5]) if m else 0
            self._walls[i] = (m[1] or m[2], of_day) if m else None
        return self._walls[i]

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
