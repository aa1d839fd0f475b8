"""Times, host and boot of a raw log line, as far as its carrier tells. Called for landmark lines only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from oomsight._lazy import lazy, remembered
from oomsight._named import NamedTuple
from oomsight.report.layers import LAYERS, kind_of, may_be_carried
from oomsight.report.model import When

if TYPE_CHECKING:
    from oomsight.report.carriers import Lines

_LAYER = {layer.name: lazy(layer.pattern) for layer in LAYERS}
_MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {m: i for i, m in enumerate(_MONTH_NAMES, 1)}
_SYSLOG = lazy(
    r"(?:([^\W\d_]{3,9})\.?\s+|(\d{1,2})[月월]\s*)?(\d{1,2})\s+(?:(\d{4})\s+)?(\d\d):(\d\d):(\d\d)(?:\.(\d+))?"
)
_SYSLOG_YEAR = lazy(r"\d{1,2}\s+\d{4}\s+\d\d:")
_SINCE = lazy(r"\[(?:((?:[^\W\d_]{2,9}\.?|\d{1,2}[월月])[ \d]\d \d\d:\d\d)| *\+(\d{1,9}\.\d{1,9}))\]")
_BEFORE_DAY = r"(?<=[^\d ])(?=[ \d]\d )"
_REACH = 96  # characters of a line in which its carrier's time stands
_CTIME_DATE = lazy(r"(\d\d):(\d\d):(\d\d)")


@remembered(16)
def _of_kind(kind: str) -> list[tuple[str, re.Pattern[str]]]:
    """The layers that can begin with a character of *kind*, with their patterns."""
    return [(layer.name, _LAYER[layer.name]) for layer in LAYERS if kind in layer.starts]


class Clock(NamedTuple):
    """What is known about time outside the text."""

    reference: datetime | None = None  #: no event is later than this (file mtime, now); gives RFC 3164 dates a year
    boot: datetime | None = None  #: wall time of boot, where the text is this host's own current kernel log


NO_CLOCK = Clock()
"""Nothing is known outside the text."""


def when(raw: str, clock: Clock = NO_CLOCK) -> When:
    """
    Return the times of one raw line.

    ``time`` is ISO 8601: with offset where the carrier prints one, naive where it prints a date without, ``None``
    where there is no date at all. A date without a year (RFC 3164) takes the year that puts it closest before
    ``clock.reference``; without a reference it stays ``None``.
    """
    out = When()
    if not may_be_carried(raw):
        return out
    pos = 0
    texts: list[str] = []
    for _ in range(8):
        kind = kind_of(raw[pos : pos + 1])
        for name, pattern in _of_kind(kind):
            m = pattern.match(raw, pos)
            if m is None or m.end() == pos or (name == "monotonic" and out.uptime_s is None):
                continue
            if name == "printk" and out.uptime_s is not None:
                continue
            _take(out, m, texts, clock)
            pos = m.end()
            break
        else:
            break
        if name in {"printk", "monotonic", "kmsg"} and not _LAYER["monotonic"].match(raw, pos):
            break
    if texts:
        out.time_text = texts[0]
    if out.time is None and out.uptime_s is not None and clock.boot is not None:
        with suppress(OverflowError):  # a clock of a million years is damage
            out.time = (clock.boot + timedelta(seconds=out.uptime_s)).isoformat(timespec="microseconds")
    return out


def when_at(raws: Sequence[str], i: int, clock: Clock = NO_CLOCK) -> When:
    """
    Return the times of line *i* of *raws* as :func:`when` does. ``dmesg -H`` (util-linux ``dmesg.c``, ``print_record``)
    shows a minute where it begins and then the seconds since the line before: such a line gets the minute above it, and
    what was printed since.
    """
    out = when(raws[i], clock)
    if out.time is not None or out.uptime_s is not None or "[ " not in (head := raws[i][:_REACH]) or "+" not in head:
        return out
    seconds = 0.0
    for at in range(i, -1, -1):
        m = _SINCE.search(raws[at][:_REACH])
        if m is None:
            continue  # a further line of one record
        if m[2]:
            seconds += float(m[2])
            continue
        out.time_text = m[1]
        minute = _minute(m[1], clock)
        if minute is not None:
            out.time = (datetime.fromisoformat(minute) + timedelta(seconds=seconds)).isoformat(timespec="seconds")
            out.year_derived = True
        break
    return out


def when_of(lines: Lines, index: int, clock: Clock) -> When:
    """Return what the carrier of a line says of its time; nothing where it has none."""
    raw = lines.raws[index]
    return When() if raw == lines.texts[index] else when_at(lines.raws, index, clock)


def is_minute(time_text: str | None) -> bool:
    """Whether *time_text*, that of some :class:`~oomsight.report.model.When`, tells a time to the minute only."""
    return time_text is not None and _SINCE.fullmatch(f"[{time_text}]") is not None


def _minute(text: str, clock: Clock) -> str | None:
    """ISO form of what ``dmesg -H`` shows of a date: ``Nov29 15:13``."""
    return _syslog(f"{re.sub(_BEFORE_DAY, ' ', text)}:00", clock.reference)


def year_in(raws: Sequence[str], time: str) -> str | None:
    """
    Year of *time*, whose own line prints none, as another line of the same text has it: one that gives the same day in
    full (``2022-03-09T…``, as the messages of container runtimes do). ``None`` = no line does, or several years fit.
    """
    day = time[4:11]
    if day not in "\n".join(raws):
        return None
    found = {raw[at - 4 : at] for raw in raws if (at := raw.find(day)) >= 4}
    years = {year for year in found if year.isdecimal() and year.isascii() and year <= time[:4]}
    return years.pop() if len(years) == 1 else None


def _take(out: When, m: re.Match[str], texts: list[str], clock: Clock) -> None:
    groups = {k: v for k, v in m.groupdict().items() if v is not None}
    for key, value in groups.items():
        if key.startswith("host"):
            if out.host is None and value[:1] not in "*#.…<[":  # else somebody took the name out
                out.host = value
        elif key == "uptime":
            out.uptime_s = float(value)
            texts.append(m[0].strip())
        elif key == "usec":
            out.uptime_s = int(value) / 1e6
            out.seq = int(groups["seq"])
            texts.append(f"[{int(value) / 1e6:12.6f}]")
        elif key in {"iso", "iso5", "cri", "full"}:
            texts.append(value)
            out.time = out.time or _iso(value)
        elif key == "syslog":
            texts.append(value)
            if out.time is None:
                out.time = _syslog(value, clock.reference)
                out.year_derived = out.time is not None and not _SYSLOG_YEAR.search(value)
        elif key == "logcat":
            texts.append(value)
            if out.time is None:
                out.time = _syslog(f"{_MONTH_NAMES[int(value[:2]) % 13 - 1]} {value[3:]}", clock.reference)
                out.year_derived = out.time is not None
        elif key == "logread":
            texts.append(value)
            out.time = out.time or _ctime(value)
        elif key == "ctime":
            texts.append(f"[{value}]")
            out.time = out.time or _ctime(value)
        elif key == "unix":
            texts.append(value)
            out.time = datetime.fromtimestamp(float(value), UTC).isoformat(timespec="microseconds")
        elif key == "human":
            texts.append(value)
            out.time = out.time or _minute(value, clock)
            out.year_derived = out.time is not None


def _iso(text: str) -> str | None:
    text = text.replace("/", "-").replace(",", ".").replace(" UTC", "+00:00").replace("Z", "+00:00")
    text = re.sub(r" (?=[+\-]\d)", "", text).replace(" ", "T", 1)
    text = re.sub(r"([+\-]\d\d)(\d\d)$", r"\1:\2", text)
    m = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?([+\-]\d\d:\d\d)?", text)
    if m is None:
        return None
    fraction = (m[2] or "")[:7]
    try:
        datetime.fromisoformat(m[1])
    except ValueError:
        return None
    return m[1] + fraction + (m[3] or "")


def _syslog(text: str, reference: datetime | None) -> str | None:
    m = _SYSLOG.search(text)
    if m is None or not (m[1] or m[2]):
        return None
    month = int(m[2]) if m[2] else _MONTHS.get(m[1]) or _month(m[1])
    if month is None:
        return None
    year, day = int(m[4]) if m[4] else None, int(m[3])
    if year is None:
        if reference is None:
            return None
        year = reference.year
        # A log is never from the future (a day of slack for time zones): later in the year means last year.
        if (month, day) > ((reference + timedelta(days=1)).month, (reference + timedelta(days=1)).day):
            year -= 1
    fraction = f".{m[8][:6]}" if m[8] else ""
    try:
        return datetime(year, month, day, int(m[5]), int(m[6]), int(m[7])).isoformat() + fraction  # noqa: DTZ001 - naive on purpose
    except ValueError:
        return None


def _ctime(text: str) -> str | None:
    """``dmesg -T`` in any locale: the year is the only four-digit number, month a name or ``11月``, day the other."""
    clock = _CTIME_DATE.search(text)
    if clock is None:
        return None
    rest = text[: clock.start()] + " " + text[clock.end() :]
    year = re.search(r"\b(\d{4})\b|(\d{4})年", rest)
    if year is None:
        return None
    rest = rest.replace(year[0], " ")
    month = _month(rest)
    cjk = re.search(r"(\d{1,2})\s*[月월]", rest)
    if cjk:
        month, rest = int(cjk[1]), rest.replace(cjk[0], " ")
    days = [int(d) for d in re.findall(r"\d{1,2}", rest) if 1 <= int(d) <= 31]
    if month is None or not days:
        return None
    try:
        moment = datetime(int(year[1] or year[2]), month, days[0], int(clock[1]), int(clock[2]), int(clock[3]))  # noqa: DTZ001 - naive on purpose
    except ValueError:
        return None
    return moment.isoformat()


# First letters of month names in the locales dmesg -T is seen in, longest unambiguous prefix first (CLDR).
_MONTH_PREFIXES = (
    ("jan gen ene янв sty led tam oca ian ιαν", 1), ("feb fév fev febr фев lut úno hel şub φεβ", 2),
    ("mar mär mrt maa мар bře μαρ mär", 3), ("apr avr abr апр kwi dub huh nis απρ", 4),
    ("may mai mag maj mei май мая kvě tou μαϊ μάι", 5), ("jun jui̇n juin giu июн cze čvn kes haz ιουν", 6),
    ("jul juil lug июл lip čvc hei tem ιουλ", 7), ("aug aoû aou ago авг sie srp elo ağu αυγ", 8),
    ("sep set wrz сен zář syy eyl σεπ", 9), ("oct okt ott out paź окт říj lok eki οκτ", 10),
    ("nov lis ноя kas noe νοε", 11), ("dec dez déc dic des gru дек pro jou ara δεκ", 12),
)


def _month(text: str) -> int | None:
    words = [w.lower() for w in re.findall(r"[^\W\d_]{3,}", text)]
    # The month stands after the weekday in C and most locales: try words from the right.
    for word in reversed(words):
        for prefixes, month in _MONTH_PREFIXES:
            if any(word.startswith(p) for p in prefixes.split()):
                return month
    return None
