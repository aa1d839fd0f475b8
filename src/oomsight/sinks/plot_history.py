"""
Recorded figures as a picture: a panel for each figure, a line for each entity, gaps left open, moments marked.

Plain SVG without a library. Colours are those of :mod:`oomsight.sinks.plot_svg`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from oomsight.record.fields import FIELDS
from oomsight.sinks.history_words import figure_words
from oomsight.sinks.svg_words import escape, short
from oomsight.trend.series import apart

if TYPE_CHECKING:
    from oomsight.trend.series import Series

WIDTH: Final = 960
HEIGHT: Final = 260  #: of a panel
HOST_SIZES: Final = "host_bytes"  #: field of the panel that holds all sizes of the host
MOST_LINES: Final = 8  #: in one panel
_LEFT, _RIGHT, _TOP, _GAP = 84, 24, 64, 74
_PALETTE: Final = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7b5ea7", "#5f6b73",
)  # fmt: skip
_INK, _FAINT, _GRID, _MARK, _LIMIT = "#22262c", "#6b7280", "#e5e7eb", "#c1121f", "#8a1c1c"
_FONT: Final = "font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif"


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure."""

    field: str
    lines: Sequence[tuple[str, Series]]  #: (plain name, values)
    limit: float | None = None  #: drawn across

    @property
    def title(self) -> str:
        """What it shows."""
        if self.field == HOST_SIZES:
            return "memory of the host"
        meaning = next((one.meaning for rows in FIELDS.values() for one in rows if one.name == self.field), None)
        return self.field if meaning is None else f"{self.field}: {meaning}"


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it."""

    title: str  #: plain
    since: float  #: unix seconds
    until: float
    panels: Sequence[Panel]
    marks: Sequence[tuple[float, str]] = ()  #: (moment, plain words)


def pieces(series: Series) -> list[list[tuple[float, float]]]:
    """The values cut where nothing was recorded: a line across a gap would claim what nobody saw."""
    usual = max(apart(series), 5.0)
    found: list[list[tuple[float, float]]] = []
    before: float | None = None
    for moment, value in zip(series.times, series.values, strict=True):
        if not math.isfinite(value):
            before = None
            continue
        if before is None or moment - before > 4 * usual:
            found.append([])
        found[-1].append((moment, value))
        before = moment
    return found


def top_of(panel: Panel) -> float:
    """The end of the axis: a little above the highest value or the limit, if that is near."""
    high = max((value for _, series in panel.lines for value in series.values if math.isfinite(value)), default=0.0)
    if panel.limit is not None and panel.limit <= 4 * high:
        high = max(high, panel.limit)
    return high * 1.08 or 1.0


def steps(top: float, field: str, most: int = 5) -> list[float]:
    """Round values from 0 up to *top*: powers of two for bytes, of ten and their halves for the rest."""
    if field.endswith("_bytes"):
        step = 1024.0
        while top / step > most:
            step *= 2
    else:
        step = max(10.0 ** math.floor(math.log10(top / most)), 1.0)
        step = next(step * factor for factor in (1, 2, 5, 10) if top / (step * factor) <= most)
    return [i * step for i in range(int(top / step) + 1)]


def moments(since: float, until: float, most: int = 6) -> list[tuple[float, str]]:
    """(moment, words) of the time axis, local time."""
    width = until - since
    hour, day = 3600, 86400
    steps_ = (1, 2, 5, 10, 30, 60, 300, 600, 1800, hour, 3 * hour, 6 * hour, 12 * hour, day, 2 * day, 7 * day, 30 * day)
    step = next((one for one in steps_ if width / one <= most), steps_[-1] * math.ceil(width / steps_[-1] / most))
    style = "%H:%M:%S" if step < 60 else "%H:%M" if step < 86400 and width < 86400 else "%m-%d %H:%M"
    offset = datetime.fromtimestamp(since, UTC).astimezone().utcoffset()
    shift = offset.total_seconds() if offset is not None else 0.0
    first = math.ceil((since + shift) / step) * step - shift
    count = int((until - first) // step) + 1
    return [(at, datetime.fromtimestamp(at, UTC).astimezone().strftime(style))
            for at in (first + i * step for i in range(max(count, 0)))]  # fmt: skip


def days(picture: Picture) -> str:
    """The day or days of the picture, and whose clock the time axis shows."""
    first, last = (datetime.fromtimestamp(one, UTC).astimezone() for one in (picture.since, picture.until))
    to = "" if first.date() == last.date() else f" to {last:%Y-%m-%d}"
    return f"{first:%Y-%m-%d}{to}, {last:%Z}"


def history_svg(picture: Picture) -> str:
    """The picture as SVG; ends in a newline."""
    height = _TOP + len(picture.panels) * (HEIGHT + _GAP) + 8
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'role="img" aria-label="{escape(picture.title)}" style="{_FONT}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _words(24, 38, short(picture.title, 70), size=20, weight=650),
        _words(WIDTH - _RIGHT, 38, days(picture), size=12, anchor="end", colour=_FAINT),
    ]
    for number, panel in enumerate(picture.panels):
        out += _panel(picture, panel, _TOP + number * (HEIGHT + _GAP))
    out.append("</svg>")
    return "\n".join(out) + "\n"


def _panel(picture: Picture, panel: Panel, top: float) -> list[str]:
    high, width = top_of(panel), WIDTH - _LEFT - _RIGHT
    floor = top + 20 + HEIGHT - 40
    span = (picture.until - picture.since) or 1.0

    def x(moment: float) -> float:
        return _LEFT + width * (moment - picture.since) / span

    def y(value: float) -> float:
        return floor - (HEIGHT - 40) * value / high

    out = [_words(_LEFT, top + 10, panel.title, size=13, weight=600)]
    for value in steps(high, panel.field):
        out.append(_line(_LEFT, y(value), _LEFT + width, y(value), _GRID))
        words = figure_words(value, panel.field)
        out.append(_words(_LEFT - 8, y(value) + 4, words, size=11, anchor="end", colour=_FAINT))
    for moment, words in moments(picture.since, picture.until):
        out.append(_line(x(moment), floor, x(moment), floor + 5, _INK))
        out.append(_words(x(moment), floor + 18, words, size=11, anchor="middle", colour=_FAINT))
    if panel.limit is not None and panel.limit <= high:
        out.append(_line(_LEFT, y(panel.limit), _LEFT + width, y(panel.limit), _LIMIT, dash="6 4"))
        words = f"limit {figure_words(panel.limit, panel.field)}"
        out.append(_words(_LEFT + 4, y(panel.limit) - 5, words, size=11, colour=_LIMIT))
    legend, under = float(_LEFT), floor + 34
    for number, (name, series) in enumerate(panel.lines[:MOST_LINES]):
        colour = _PALETTE[number % len(_PALETTE)]
        for piece in pieces(series):
            path = "L".join(f"{x(moment):.1f} {y(value):.1f}" for moment, value in piece)
            alone = "h0.1" if len(piece) == 1 else ""
            look = f'fill="none" stroke="{colour}" stroke-width="1.8" stroke-linejoin="round" stroke-linecap="round"'
            out.append(f'<path d="M{path}{alone}" {look}><title>{escape(name)}</title></path>')
        if len(panel.lines) > 1 or name != picture.title:
            label = short(name, 28)
            wide = 17 + 6.4 * len(label)
            if legend + wide > WIDTH - _RIGHT:
                legend, under = float(_LEFT), under + 16
            out.append(f'<rect x="{legend:.1f}" y="{under - 7}" width="12" height="4" fill="{colour}"/>')
            out.append(_words(legend + 17, under, label, size=11))
            legend += wide + 18
    for moment, words in picture.marks:
        if picture.since <= moment <= picture.until:
            out.append(_line(x(moment), top + 20, x(moment), floor, _MARK, width=1.4))
            out.append(_words(x(moment) - 5, top + 32, short(words, 40), size=11, anchor="end", colour=_MARK))
    out.append(_line(_LEFT, floor, _LEFT + width, floor, _INK))
    return out


def _line(
    x1: float, y1: float, x2: float, y2: float, colour: str, *, width: float = 1.0, dash: str = ""
) -> str:
    more = f' stroke-dasharray="{dash}"' if dash else ""
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"{more}/>')  # fmt: skip


def _words(
    x: float, y: float, text: str, *, size: float = 12, weight: int = 400, anchor: str = "start", colour: str = _INK
) -> str:
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
            f'fill="{colour}">{escape(text)}</text>')  # fmt: skip
