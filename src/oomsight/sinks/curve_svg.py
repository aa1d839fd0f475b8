"""
A memory curve as evidence: its samples, the low points a rate was measured on, the line on to the limit with its 80 %
interval. Plain SVG, no library; one panel per curve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from oomsight._sizes import size_words
from oomsight.sinks.plot_history import moments, steps
from oomsight.sinks.svg_words import escape, short
from oomsight.trend.series import buckets

if TYPE_CHECKING:
    from oomsight.trend.exhaust import Exhaustion
    from oomsight.trend.leak import Finding
    from oomsight.trend.series import Series

WIDTH: Final = 960
EDGE: Final = 30  #: half of a moment's words
PANEL: Final = 260
TOP, LEFT, RIGHT, GAP = 64, 84, 28, 120
POINTS: Final = 700  #: a curve is drawn as the range of each of so many stretches
AHEAD: Final = 0.6  #: of the time shown that the forecast may take at most
CURVE, LOW, LINE, LIMIT, INK, FAINT = "#0072b2", "#009e73", "#d55e00", "#c1121f", "#22262c", "#6b7280"
Scale = Callable[[float], float]
FONT: Final = "font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif"


@dataclass(frozen=True, slots=True)
class Curve:
    """One panel."""

    title: str  #: plain text; escaped here
    subtitle: str
    series: Series
    limit_bytes: float | None
    finding: Finding
    left: Exhaustion | None

    @property
    def first(self) -> float:
        """Unix seconds of the left edge."""
        return self.series.times[0]

    @property
    def last(self) -> float:
        """Unix seconds of the right edge: the samples, and what is forecast of the rest as far as there is room."""
        end = self.series.times[-1]
        if self.left is None:
            return end
        high = self.left.seconds * 1.15 if self.left.high_seconds is None else self.left.high_seconds * 1.05
        return self.left.now + min(high, (end - self.first) * AHEAD / (1 - AHEAD) or 1.0)

    @property
    def top(self) -> float:
        """Bytes at the upper edge."""
        peak = max(self.series.values)
        near = self.limit_bytes is not None and (self.left is not None or self.limit_bytes < 4 * peak)
        return 1.08 * max(peak, self.limit_bytes if near and self.limit_bytes is not None else 0.0, 1.0)


def curves_svg(curves: Sequence[Curve]) -> str:
    """The picture of *curves*, one below the other; ends in a newline."""
    height = TOP + len(curves) * (PANEL + GAP) - 40
    title = curves[0].title if curves else ""
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'role="img" aria-label="{escape(title)}" style="{FONT}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for number, curve in enumerate(curves):
        out += _panel(curve, TOP + number * (PANEL + GAP))
    return "\n".join([*out, "</svg>"]) + "\n"


def _panel(curve: Curve, top: float) -> list[str]:
    first, last, most = curve.first, max(curve.last, curve.first + 1.0), curve.top
    width = WIDTH - LEFT - RIGHT

    def x(moment: float) -> float:
        return LEFT + width * (moment - first) / (last - first)

    def y(value: float) -> float:
        return top + PANEL * (1 - min(max(value, 0.0), most) / most)

    out = [
        _text(24, top - 34, short(curve.title, 100), 17, weight=650),
        _text(24, top - 14, short(curve.subtitle, 130), 13, colour=LIMIT if curve.finding.is_leak else FAINT),
    ]
    for value in steps(most, "need_bytes"):
        out.append(_line(LEFT, y(value), WIDTH - RIGHT, y(value), "#e3e6ea"))
        out.append(_text(LEFT - 8, y(value) + 4, size_words(value) if value else "0", 11, anchor="end", colour=FAINT))
    for moment, words in moments(first, last):
        anchor = "end" if x(moment) > WIDTH - RIGHT - EDGE else "middle"  # no room is right of it
        out.append(_text(x(moment), top + PANEL + 18, words, 11, anchor=anchor, colour=FAINT))
    out += _samples(curve, x, y)
    out += _evidence(curve, x, y, last)
    if curve.limit_bytes is not None and curve.limit_bytes <= most:
        at = y(curve.limit_bytes)
        out.append(_line(LEFT, at, WIDTH - RIGHT, at, LIMIT, 1.5, "6 4"))
        out.append(_text(LEFT + 6, at - 6, f"limit {size_words(curve.limit_bytes)}", 12, colour=LIMIT))
    return [*out, *_legend(curve, top + PANEL + 42)]


def _samples(curve: Curve, x: Scale, y: Scale) -> list[str]:
    """The range of each stretch as one shape, gaps left open."""
    parts = buckets(curve.series, POINTS)
    reach = 4 * (curve.series.times[-1] - curve.first) / POINTS + 4 * (curve.series.step_seconds or 0.0)
    runs: list[list[tuple[float, float, float]]] = [[]]
    for time, low, high in zip(parts.times, parts.lows, parts.highs, strict=True):
        if runs[-1] and time - runs[-1][-1][0] > reach:
            runs.append([])
        runs[-1].append((time, low, high))
    out = []
    for run in runs:
        points = [f"{x(t):.1f} {y(high):.1f}" for t, _, high in run]
        back = [f"{x(t):.1f} {y(low):.1f}" for t, low, _ in reversed(run)]
        out.append(f'<path d="M{"L".join(points + back)}Z" fill="{CURVE}" fill-opacity="0.35" stroke="{CURVE}" '
                   'stroke-width="1.2" stroke-linejoin="round"/>')  # fmt: skip
    return out


def _evidence(curve: Curve, x: Scale, y: Scale, last: float) -> list[str]:
    """Low points, the line through them, and where it goes."""
    growth, left, out = curve.finding.growth, curve.left, []
    if growth is not None and (curve.finding.may_leak or left is not None):
        out += [f'<circle cx="{x(t):.1f}" cy="{y(v):.1f}" r="2.2" fill="{LOW}"/>'
                for t, v in curve.finding.line if curve.first <= t <= last]  # fmt: skip
    rests = left.growth if left is not None else growth if curve.finding.may_leak else None
    if rests is not None:
        begin = max(rests.since, curve.first)
        start = rests.level_bytes - rests.bytes_per_second * (rests.until - begin)
        out.append(_line(x(begin), y(start), x(rests.until), y(rests.level_bytes), LINE, 2))
        if left is not None:
            level = left.limit_bytes - left.headroom_bytes
            for seconds in (left.low_seconds, left.high_seconds):
                if seconds is not None and seconds > 0:
                    end = min(left.now + seconds, last)
                    reached = level + left.headroom_bytes * (end - left.now) / seconds
                    out.append(_line(x(left.now), y(level), x(end), y(reached), LINE, 1, "2 4"))
            end = min(left.at, last)
            share = (end - left.now) / left.seconds if left.seconds else 1.0
            out.append(_line(x(left.now), y(level), x(end), y(level + left.headroom_bytes * share), LINE, 2, "7 4"))
    return out


def _legend(curve: Curve, top: float) -> list[str]:
    entries = [("samples, lowest to highest", CURVE)]
    if curve.finding.may_leak or curve.left is not None:
        ahead = "" if curve.left is None else ", and on with 80 % interval"
        entries += [("low points", LOW), (f"growth{ahead}", LINE)]
    out, at = [], float(LEFT)
    for words, colour in entries:
        out += [f'<rect x="{at:.1f}" y="{top - 10:.1f}" width="12" height="12" rx="2" fill="{colour}"/>',
                _text(at + 17, top, words, 12)]  # fmt: skip
        at += 34 + 6.9 * len(words)
    return out


def _line(  # noqa: PLR0917 - two points and a look
    x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1.0, dash: str = ""
) -> str:
    more = f' stroke-dasharray="{dash}"' if dash else ""
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"{more}/>')  # fmt: skip


def _text(  # noqa: PLR0917 - a place and a text
    x: float, y: float, text: str, size_px: float, weight: int = 400, anchor: str = "start", colour: str = INK
) -> str:
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size_px}" font-weight="{weight}" text-anchor="{anchor}" '
            f'fill="{colour}">{escape(text)}</text>')  # fmt: skip
