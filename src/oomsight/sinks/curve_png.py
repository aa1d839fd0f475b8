"""Memory curves as a PNG, drawn by matplotlib (extra ``plot``): the panels of :mod:`oomsight.sinks.curve_svg`."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

from oomsight._sizes import MIB
from oomsight.sinks.curve_svg import CURVE, LIMIT, LINE, LOW, POINTS
from oomsight.sinks.plot_png import MissingPlotterError
from oomsight.sinks.plot_svg import short
from oomsight.trend.series import buckets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.sinks.curve_svg import Curve

WIDEST = 120  # characters of a title that the picture has room for


def curves_png(curves: Sequence[Curve]) -> bytes:
    """The picture of *curves*. Raises :class:`~oomsight.sinks.plot_png.MissingPlotterError`."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingPlotterError("PNG pictures need matplotlib") from None
    figure = Figure(figsize=(9.6, 3.4 * max(len(curves), 1)), layout="constrained")
    for number, curve in enumerate(curves):
        _panel(figure.add_subplot(len(curves), 1, number + 1), curve)
    data = BytesIO()
    canvas: Any = FigureCanvasAgg(figure)  # its methods carry no types
    canvas.print_png(data)
    return data.getvalue()


def _panel(axes: Any, curve: Curve) -> None:
    parts = buckets(curve.series, POINTS)
    times = [_when(part.time) for part in parts]
    axes.fill_between(times, [p.low / MIB for p in parts], [p.high / MIB for p in parts], color=CURVE, alpha=0.5)
    growth, left = curve.finding.growth, curve.left
    if growth is not None and (curve.finding.may_leak or left is not None):
        axes.plot([_when(t) for t, _ in curve.finding.line], [v / MIB for _, v in curve.finding.line], ".", color=LOW)
    rests = left.growth if left is not None else growth if curve.finding.may_leak else None
    if rests is not None:
        start = rests.level_bytes - rests.bytes_per_second * (rests.until - rests.since)
        axes.plot([_when(rests.since), _when(rests.until)], [start / MIB, rests.level_bytes / MIB], color=LINE)
    if left is not None:
        end, level = min(left.at, curve.last), left.limit_bytes - left.headroom_bytes
        share = (end - left.now) / left.seconds if left.seconds else 1.0
        axes.plot([_when(left.now), _when(end)], [level / MIB, (level + left.headroom_bytes * share) / MIB], "--",
                  color=LINE)  # fmt: skip
    if curve.limit_bytes is not None and curve.limit_bytes <= curve.top:
        axes.axhline(curve.limit_bytes / MIB, color=LIMIT, linestyle="--", linewidth=1)
    title = "\n".join(_literal(short(words, WIDEST)) for words in (curve.title, curve.subtitle))
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_ylim(0, curve.top / MIB)
    axes.set_ylabel("MiB")


def _when(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC).astimezone()


def _literal(text: str) -> str:
    """Names as they are: matplotlib reads dollar signs as mathematics."""
    return "".join(char if char.isprintable() else "?" for char in text).replace("$", r"\$")
