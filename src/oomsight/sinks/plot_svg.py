"""
A simulation as a picture: one panel for the first run, a small one for each other, kills marked. Plain SVG, no library.

Each panel stacks what fills the machine (kernel, cgroups, page cache) against its RAM, with swap on top. Colours are
told apart in print and by colour-blind readers (Okabe and Ito's palette); kills are red marks with a name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight._sizes import GIB, MIB, size_words
from oomsight.simulate.units import duration_words
from oomsight.simulate.verdict import result_words
from oomsight.sinks.svg_words import escape, short

if TYPE_CHECKING:
    from oomsight.simulate.outcome import Run
    from oomsight.simulate.sweep import Played

WIDTH: Final = 960
_MARGIN: Final = 24
_LEFT: Final = 76  # room for the labels of the axis
_SMALL_LEFT: Final = 52
_BIG_HEIGHT: Final = 300
_SMALL_HEIGHT: Final = 110
_MAX_LAYERS: Final = 6
_LABELS: Final = 4  #: kills that get a name; all get a mark
_PALETTE: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_KERNEL, _CACHE, _SWAP, _OTHER = "#8a8f98", "#e3e6ea", "#f0e442", "#b8bec7"
_INK, _FAINT, _KILL, _GUARD, _GOOD = "#22262c", "#6b7280", "#c1121f", "#7b2cbf", "#1b7f4b"
_FONT: Final = "font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif"


_Scale = Callable[[float], float]


class Layer(NamedTuple):
    """One stacked area."""

    name: str
    colour: str
    values: list[int]  #: bytes, for each sample


class _Box(NamedTuple):
    x: float
    y: float
    width: float
    height: float


def timeline_svg(played: Sequence[Played]) -> str:
    """The picture of *played*, the first one big; ends in a newline."""
    first, others = played[0], played[1:]
    rows = -(-len(others) // 2)
    legend_top = 92 + _BIG_HEIGHT + 46
    small_top = legend_top + 46
    height = small_top + rows * (_SMALL_HEIGHT + 68) + 8 if others else legend_top + 34
    layers = stack(first.run)
    title = first.run.scenario.title
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'role="img" aria-label="{escape(title)}" style="{_FONT}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(_MARGIN, 38, title, size=22, weight=650),
        _text(_MARGIN, 62, f"{first.title}: {result_words(first.run)}", size=14,
              colour=_GOOD if first.run.survived else _KILL),
        *_panel(first.run, layers, _Box(_LEFT, 92, WIDTH - _LEFT - _MARGIN, _BIG_HEIGHT), big=True),
        *_legend(legend_layers(played), played, legend_top),
    ]  # fmt: skip
    if others:
        out.append(_text(_MARGIN, small_top - 4, "What would help", size=15, weight=600))
    width = (WIDTH - 2 * _MARGIN - 28) / 2
    for number, one in enumerate(others):
        x = _MARGIN + (number % 2) * (width + 28)
        y = small_top + 12 + (number // 2) * (_SMALL_HEIGHT + 68)
        colour = _GOOD if one.run.survived else _KILL
        out.append(_text(x, y + 12, short(one.title, 58), size=12.5, weight=600))
        sign = "✓" if one.run.survived else "✗"
        out.append(_text(x, y + 28, f"{sign} {result_words(one.run)}", size=12, colour=colour))
        box = _Box(x + _SMALL_LEFT, y + 36, width - _SMALL_LEFT, _SMALL_HEIGHT)
        out += _panel(one.run, same_colours(stack(one.run), layers), box, big=False)
    out.append("</svg>")
    return "\n".join(out) + "\n"


def stack(run: Run) -> list[Layer]:
    """What fills the machine, from below: the kernel, each top cgroup (the smallest together), page cache, swap."""
    samples, cgroups = run.samples, run.cgroups
    tops = [i for i, info in enumerate(cgroups) if i and info.path.count("/") == 1]
    need = {i: [sample.need_bytes[i] for sample in samples] for i in tops}
    base = [sample.need_bytes[0] - sum(sample.need_bytes[i] for i in tops) for sample in samples]
    layers = [Layer("kernel and processes outside cgroups", _KERNEL, [max(value, 0) for value in base])]
    biggest = sorted(tops, key=lambda i: -max(need[i], default=0))[:_MAX_LAYERS]
    shown = [i for i in tops if i in biggest]
    layers += [Layer(cgroups[i].path, _PALETTE[n], need[i]) for n, i in enumerate(shown)]
    rest = [i for i in tops if i not in biggest]
    if rest:
        layers.append(Layer(f"{len(rest)} more cgroups", _OTHER, [sum(s.need_bytes[i] for i in rest) for s in samples]))
    for name, colour, values in (
        ("page cache", _CACHE, [sample.cache_bytes[0] for sample in samples]),
        ("swapped out", _SWAP, [sample.swap_bytes[0] for sample in samples]),
    ):
        if any(values):
            layers.append(Layer(name, colour, values))
    return layers


def same_colours(layers: list[Layer], like: list[Layer]) -> list[Layer]:
    """*layers* in the colours that *like* has for the same names."""
    colours = {layer.name: layer.colour for layer in like}
    return [layer._replace(colour=colours.get(layer.name, layer.colour)) for layer in layers]


def _panel(run: Run, layers: list[Layer], box: _Box, *, big: bool) -> list[str]:
    """Axes, areas, the line of RAM, kills."""
    ram, swap = int(run.scenario.machine["ram"]), int(run.scenario.machine["swap"])
    used_swap = any(layer.name == "swapped out" for layer in layers)
    whole = ram + (swap if used_swap else 0)
    end = run.end_seconds or 1.0
    top = whole * 1.06

    def x(seconds: float) -> float:
        return box.x + box.width * seconds / end

    def y(size: float) -> float:
        return box.y + box.height * (1 - size / top)

    out = ['<g shape-rendering="geometricPrecision">']
    for tick in ticks(whole, 5 if big else 3):
        out.append(_line(box.x, y(tick), box.x + box.width, y(tick), "#e5e7eb"))
        words = _tick_words(tick)
        out.append(_text(box.x - 6, y(tick) + 4, words, size=11 if big else 9.5, anchor="end", colour=_FAINT))
    below = [0] * len(run.samples)
    times = [sample.time_seconds for sample in run.samples]
    for layer in layers:
        above = [low + value for low, value in zip(below, layer.values, strict=True)]
        out.append(_area(times, below, above, x, y, layer))
        below = above
    out.append(_line(box.x, y(ram), box.x + box.width, y(ram), _INK, dash="6 4"))
    out.append(_text(box.x + box.width - 4, y(ram) - 5, f"RAM {size_words(ram)}", size=11 if big else 9, anchor="end"))
    if used_swap:
        out.append(_line(box.x, y(whole), box.x + box.width, y(whole), _FAINT, dash="2 3"))
        if big:
            out.append(_text(box.x + 4, y(whole) - 5, f"with swap {size_words(whole)}", size=11, colour=_FAINT))
    out += _kill_marks(run, box, x, big=big)
    out.append(_line(box.x, box.y + box.height, box.x + box.width, box.y + box.height, _INK))
    for share, anchor in ((0.0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"), (1.0, "end")):
        if big or share in {0.0, 0.5, 1.0}:
            at = box.x + box.width * share
            out.append(_line(at, box.y + box.height, at, box.y + box.height + 5, _INK))
            out.append(_text(at, box.y + box.height + 18, duration_words(end * share), size=11 if big else 9.5,
                             anchor=anchor, colour=_FAINT))  # fmt: skip
    out.append("</g>")
    return out


def _kill_marks(run: Run, box: _Box, x: _Scale, *, big: bool) -> list[str]:
    """A red line for each kill of the kernel, a violet one for the guard's, with the names of the first ones."""
    out: list[str] = []
    taken: list[float] = []  # right ends of the labels in each row
    for number, kill in enumerate(run.kills):
        at, colour = x(kill.time_seconds), _GUARD if kill.by == "guard" else _KILL
        name = kill.victims[0].name if kill.victims else "nobody"
        words = f"{name} after {duration_words(kill.time_seconds)}, by the {kill.by}"
        out.append(f"<g><title>{escape(words)}</title>")
        out.append(_line(at, box.y, at, box.y + box.height, colour, width=1.6 if big else 1.2))
        out.append(f'<path d="M{at - 5:.1f} {box.y:.1f}h10l-5 8z" fill="{colour}"/></g>')
        if big and number < _LABELS:
            how = "ended by the guard" if kill.by == "guard" else "killed"
            words = short(f"{name} {how}, {duration_words(kill.time_seconds)}", 48)
            size = 7.0 * len(words)
            left = at - 8 - size if at + size > box.x + box.width else at + 8
            row = next((number for number, end in enumerate(taken) if end < left), len(taken))
            taken[row : row + 1] = [left + size]
            anchor = "end" if left < at else "start"
            out.append(_text(at - 8 if left < at else left, box.y + 34 + 17 * row, words, size=12, weight=600,
                             anchor=anchor, colour=colour, halo=True))  # fmt: skip
    return out


def _area(  # noqa: PLR0917
    times: Sequence[float], below: Sequence[int], above: Sequence[int], x: _Scale, y: _Scale, layer: Layer
) -> str:
    """One stacked area as a closed path."""
    points = [f"{x(t):.1f} {y(v):.1f}" for t, v in zip(times, above, strict=True)]
    points += [f"{x(t):.1f} {y(v):.1f}" for t, v in reversed(list(zip(times, below, strict=True)))]
    path = f'<path d="M{"L".join(points)}Z" fill="{layer.colour}" fill-opacity="0.9">'
    return f"{path}<title>{escape(layer.name)}</title></path>"


def legend_layers(played: Sequence[Played]) -> list[Layer]:
    """Every layer that is in one of the pictures, those of the first before others, each once."""
    layers: dict[str, Layer] = {}
    for one in played:
        for layer in stack(one.run):
            layers.setdefault(layer.name, layer)
    return list(layers.values())


def _legend(layers: list[Layer], played: Sequence[Played], top: float) -> list[str]:
    entries = [(layer.name, layer.colour) for layer in layers]
    by = {kill.by for one in played for kill in one.run.kills}
    if "kernel" in by:
        entries.append(("killed by the kernel", _KILL))
    if "guard" in by:
        entries.append(("ended by the guard", _GUARD))
    out, x = [], float(_LEFT)
    for name, colour in entries:
        label = short(name, 36)
        out.append(f'<rect x="{x:.1f}" y="{top - 10}" width="12" height="12" rx="2" fill="{colour}"/>')
        out.append(_text(x + 17, top, label, size=12))
        x += 17 + 6.9 * len(label) + 18
        if x > WIDTH - 150:
            x, top = float(_LEFT), top + 18
    return out


def ticks(whole: float, most: int) -> list[int]:
    """Round values from 0 to *whole*, at most *most* steps apart by a power of two."""
    step = MIB
    while whole / step > most:
        step *= 2
    return list(range(0, int(whole) + 1, step))


def _tick_words(size: int) -> str:
    if size % GIB == 0 and size:
        return f"{size // GIB} GiB"
    return "0" if not size else f"{size // MIB} MiB" if size < GIB else f"{size / GIB:g} GiB"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, width: float = 1.0, dash: str = "") -> str:
    more = f' stroke-dasharray="{dash}"' if dash else ""
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"{more}/>')  # fmt: skip


def _text(x: float, y: float, text: str, *, size: float = 12, weight: int = 400, anchor: str = "start",
          colour: str = _INK, halo: bool = False) -> str:  # fmt: skip
    look = f'font-size="{size}" font-weight="{weight}" text-anchor="{anchor}"'
    words = escape(text)
    # Not every viewer knows paint-order: the halo is a text of its own behind the other.
    around = (f'<text x="{x:.1f}" y="{y:.1f}" {look} fill="none" stroke="#ffffff" stroke-width="4" '
              f'stroke-linejoin="round" aria-hidden="true">{words}</text>') if halo else ""  # fmt: skip
    return f'{around}<text x="{x:.1f}" y="{y:.1f}" {look} fill="{colour}">{words}</text>'
