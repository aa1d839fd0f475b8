"""
Our own pictures as PNG, drawn by Pillow (extra ``plot``), for places that cannot show SVG.

What the SVG writers of this room use of that language is drawn, no more: rectangles, lines, paths of straight pieces,
circles, and texts in one line. Shapes are drawn at three times the size and made smaller, which smooths their edges;
a band at a time, so that a long picture takes no more memory than a short one. Letters come last, at their own size.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

SMOOTH: Final = 3  #: drawn at so many times the size
BAND: Final = 256  #: rows that are drawn at once
FONTS: Final = (
    ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"),
    ("NotoSans-Regular.ttf", "NotoSans-Bold.ttf"),
    ("LiberationSans-Regular.ttf", "LiberationSans-Bold.ttf"),
    ("FreeSans.ttf", "FreeSansBold.ttf"),
)
"""Looked for on the system: the usual one, and the bold one."""
BOLD: Final = 600  #: from that weight on
PLAIN: Final = str.maketrans({
    "–": "-", "—": "-", "…": "...", "·": "-", "×": "x", "≥": ">=", "≤": "<=", "→": "->", "µ": "u", "✓": "+", "✗": "x",
})  # fmt: skip
"""What stands for our own characters where the system has no font: Pillow's has English letters."""
_NUMBERS: Final = re.compile(r"-?\d+(?:\.\d+)?")
_STEPS: Final = re.compile(r"([MLhlZz])([^MLhlZz]*)")

Point = tuple[float, float]
Shape = tuple[float, float, Callable[[Any, float], None]]
"""From which row to which it reaches, and how it is drawn on a band that begins at a row."""


class MissingPlotterError(Exception):
    """Pillow is not installed."""


def png_of(svg: str) -> bytes:
    """*svg*, as this room writes it, as PNG. Raises :class:`MissingPlotterError`."""
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        raise MissingPlotterError("PNG pictures need Pillow") from None
    root = ElementTree.fromstring(svg)
    width, height = round(_number(root, "width")), round(_number(root, "height"))
    shapes = [shape for one in root.iter() if (shape := _shape(one)) is not None]
    whole = Image.new("RGB", (width, height), "#ffffff")
    for top in range(0, height, BAND):
        rows = min(BAND, height - top)
        band = Image.new("RGB", (width * SMOOTH, rows * SMOOTH), "#ffffff")
        brush = ImageDraw.Draw(band, "RGBA")  # what is half transparent lets through what is below
        for first, last, draw in shapes:
            if first <= top + rows and last >= top:
                draw(brush, top)
        whole.paste(band.reduce(SMOOTH), (0, top))
    brush = ImageDraw.Draw(whole)
    for one in root.iter(f"{_SPACE}text"):
        _write(brush, one)
    data = BytesIO()
    whole.save(data, "png")
    return data.getvalue()


_SPACE: Final = "{http://www.w3.org/2000/svg}"


def _number(one: Element, name: str, usual: float = 0.0) -> float:
    return float(one.get(name, usual))


def _shape(one: Element) -> Shape | None:
    match one.tag.removeprefix(_SPACE):
        case "rect":
            x, y, high = _number(one, "x"), _number(one, "y"), _number(one, "height")
            corners = [(x, y), (x + _number(one, "width"), y + high)]
            return y, y + high, _rectangle(corners, _number(one, "rx"), _fill(one))
        case "circle":
            x, y, r = _number(one, "cx"), _number(one, "cy"), _number(one, "r")
            return y - r, y + r, _circle([(x - r, y - r), (x + r, y + r)], _fill(one))
        case "line":
            ends = [(_number(one, "x1"), _number(one, "y1")), (_number(one, "x2"), _number(one, "y2"))]
            return _path(ends, one)
        case "path":
            return _path(_points(one.get("d", "")), one)
    return None


def _fill(one: Element) -> str | None:
    """The colour inside, with its transparency; ``None`` = none."""
    colour = one.get("fill")
    if colour is None or colour == "none":
        return None
    return f"{colour}{round(255 * _number(one, 'fill-opacity', 1.0)):02x}"


def _points(path: str) -> list[Point]:
    """The corners of a path; one that is closed ends where it began."""
    found: list[Point] = []
    for command, text in _STEPS.findall(path):
        numbers = list(map(float, _NUMBERS.findall(text)))
        x, y = found[-1] if found else (0.0, 0.0)
        if command in "ML":
            found += zip(numbers[::2], numbers[1::2], strict=True)
        elif command == "h":
            found.append((x + numbers[0], y))
        elif command == "l":
            found.append((x + numbers[0], y + numbers[1]))
        else:
            found.append(found[0])
    return found


def _path(points: list[Point], one: Element) -> Shape:
    wide = _number(one, "stroke-width", 1.0)
    rows = [y for _, y in points]
    pieces = [points]
    if dash := one.get("stroke-dasharray"):
        pieces = list(_dashes(points[0], points[-1], [float(part) for part in dash.split()]))
    stroke, fill = one.get("stroke"), _fill(one) if one.tag.endswith("path") else None

    def draw(brush: Any, top: float) -> None:
        if fill is not None and len(points) > 2:
            brush.polygon(_placed(points, top), fill=fill)
        if stroke is not None and stroke != "none":
            for piece in pieces:
                brush.line(_placed(piece, top), fill=stroke, width=max(round(wide * SMOOTH), 1))

    return min(rows) - wide, max(rows) + wide, draw


def _rectangle(corners: list[Point], round_by: float, fill: str | None) -> Callable[[Any, float], None]:
    def draw(brush: Any, top: float) -> None:
        brush.rounded_rectangle(_placed(corners, top), radius=round_by * SMOOTH, fill=fill)

    return draw


def _circle(corners: list[Point], fill: str | None) -> Callable[[Any, float], None]:
    return lambda brush, top: brush.ellipse(_placed(corners, top), fill=fill)


def _placed(points: Sequence[Point], top: float) -> list[Point]:
    return [(x * SMOOTH, (y - top) * SMOOTH) for x, y in points]


def _dashes(begin: Point, end: Point, pattern: Sequence[float]) -> Iterator[list[Point]]:
    """The pieces of a straight line that are drawn: on and off by turns."""
    (x1, y1), (x2, y2) = begin, end
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
    at, turn = 0.0, 0
    while at < length:
        to = min(at + pattern[turn % len(pattern)], length)
        if turn % 2 == 0:
            yield [(x1 + (x2 - x1) * part / length, y1 + (y2 - y1) * part / length) for part in (at, to)]
        at, turn = to, turn + 1


def _write(brush: Any, one: Element) -> None:
    """A text, or the halo behind it that an outline is."""
    font, plain = _font(_number(one, "font-size", 12.0), bold=_number(one, "font-weight", 400.0) >= BOLD)
    words = "".join(char if char.isprintable() else "?" for char in one.text or "")
    if plain:
        words = words.translate(PLAIN).encode("ascii", "replace").decode()
    anchor = {"end": "rs", "middle": "ms"}.get(one.get("text-anchor", ""), "ls")
    stroke = one.get("stroke")
    look = {"fill": one.get("fill")} if stroke is None else {
        "fill": stroke, "stroke_fill": stroke, "stroke_width": round(_number(one, "stroke-width") / 2)
    }  # fmt: skip
    brush.text((_number(one, "x"), _number(one, "y")), words, font=font, anchor=anchor, **look)


@lru_cache(maxsize=32)
def _font(size: float, *, bold: bool) -> tuple[Any, bool]:
    """A font of the system, or else Pillow's own, which has English letters only (``True``)."""
    from PIL import ImageFont

    for names in FONTS:
        try:
            return ImageFont.truetype(names[bold], size), False
        except OSError:
            continue
    try:
        return ImageFont.load_default(size), True
    except TypeError:  # Pillow before 10.1: one size
        return ImageFont.load_default(), True
