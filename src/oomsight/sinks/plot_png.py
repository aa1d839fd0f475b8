"""
A simulation as a PNG, drawn by matplotlib (extra ``plot``): the same panels and layers as
:mod:`oomsight.sinks.plot_svg`, for places that cannot show SVG.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from oomsight._sizes import GIB, size_words
from oomsight.simulate.units import duration_words
from oomsight.simulate.verdict import result_words
from oomsight.sinks.plot_svg import Layer, same_colours, short, stack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.simulate.outcome import Run
    from oomsight.simulate.sweep import Played


_KILLS = {"kernel": ("killed by the kernel", "#c1121f"), "guard": ("ended by the guard", "#7b2cbf")}


class MissingPlotterError(Exception):
    """matplotlib is not installed."""


def timeline_png(played: Sequence[Played]) -> bytes:
    """The picture of *played*, the first one big. Raises :class:`MissingPlotterError`."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingPlotterError("PNG pictures need matplotlib") from None
    rows = -(-(len(played) - 1) // 2)
    figure = Figure(figsize=(9.6, 4.6 + 2.1 * rows), layout="constrained")
    grid = figure.add_gridspec(1 + rows, 2, height_ratios=[2.4, *[1.0] * rows])
    first = played[0]
    layers = stack(first.run)
    figure.suptitle(_literal(first.run.scenario.title), fontweight="bold")
    big = figure.add_subplot(grid[0, :])
    _panel(big, first.run, layers, _title(first), big=True)
    for number, one in enumerate(played[1:]):
        axes = figure.add_subplot(grid[1 + number // 2, number % 2])
        _panel(axes, one.run, same_colours(stack(one.run), layers), _title(one), big=False)
    entries: dict[str, Any] = {}
    for axes in figure.axes:  # the first has most, but not a change's swap or guard
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            if not label.startswith("RAM ") or axes is big:
                entries.setdefault(label, handle)
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", fontsize=8, ncols=4)
    data = BytesIO()
    canvas: Any = FigureCanvasAgg(figure)  # its methods carry no types
    canvas.print_png(data)
    return data.getvalue()


def _title(one: Played) -> str:
    return f"{_literal(short(one.title, 48))}\n{result_words(one.run)}"


def _literal(text: str) -> str:
    """Names as they are: matplotlib reads dollar signs as mathematics."""
    return "".join(char if char.isprintable() else "?" for char in text).replace("$", r"\$")


def _panel(axes: Any, run: Run, layers: list[Layer], title: str, *, big: bool) -> None:
    hours = [sample.time_seconds / 3600 for sample in run.samples]
    axes.stackplot(
        hours, *[[value / GIB for value in layer.values] for layer in layers],
        colors=[layer.colour for layer in layers], labels=[_literal(layer.name) for layer in layers],
    )  # fmt: skip
    ram = run.scenario.machine["ram"]
    axes.axhline(ram / GIB, color="#22262c", linestyle="--", linewidth=1, label=f"RAM {size_words(ram)}")
    for kill in run.kills:
        words, colour = _KILLS[kill.by]
        axes.axvline(kill.time_seconds / 3600, color=colour, linewidth=1.2, label=words)
    if big and run.kills and run.kills[0].victims:
        kill = run.kills[0]
        words = f"{_literal(kill.victims[0].name)}, {duration_words(kill.time_seconds)}"
        axes.annotate(words, (kill.time_seconds / 3600, ram / GIB), xytext=(4, -14), textcoords="offset points",
                      color="#c1121f", fontweight="bold")  # fmt: skip
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlim(0, max(run.end_seconds / 3600, 1e-9))
    axes.set_ylim(0)
    axes.set_ylabel("GiB")
    if big:
        axes.set_xlabel("hours")
