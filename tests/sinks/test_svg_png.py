"""Our SVG as PNG: what is drawn where, long pictures, names, and nothing of the SVG left out unnoticed."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest

import oomsight.sinks
from oomsight.sinks import svg_png
from oomsight.sinks.svg_png import MissingPlotterError, png_of

PIL = pytest.importorskip("PIL", reason="PNG needs Pillow (extra plot)")

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def drawn(*shapes: str, height: int = 100):
    from PIL import Image

    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="200" height="{height}">{"".join(shapes)}</svg>'
    return Image.open(io.BytesIO(png_of(svg)))


@pytest.mark.parametrize(
    ("shape", "inside", "outside"),
    [
        ('<rect x="50" y="20" width="40" height="30" fill="#ff0000"/>', (70, 35), (95, 35)),
        ('<rect x="50" y="20" width="40" height="30" rx="8" fill="#ff0000"/>', (70, 35), (50, 20)),
        ('<circle cx="100" cy="50" r="20" fill="#ff0000"/>', (100, 35), (83, 35)),
        ('<line x1="10" y1="50" x2="190" y2="50" stroke="#ff0000" stroke-width="4"/>', (100, 50), (100, 56)),
        ('<path d="M10 10L190 10L190 90L10 90Z" fill="#ff0000"/>', (100, 50), (5, 50)),
        ('<path d="M60 20h80l-40 60z" fill="#ff0000"/>', (100, 40), (65, 70)),
        ('<path d="M10 90L100 10L190 90" fill="none" stroke="#ff0000" stroke-width="4"/>', (100, 11), (100, 50)),
    ],
)
def test_each_shape_is_where_it_belongs(shape, inside, outside) -> None:
    image = drawn(shape)
    assert image.size == (200, 100)
    assert image.getpixel(inside) == RED
    assert image.getpixel(outside) == WHITE


def test_dashes_leave_gaps_and_what_is_half_transparent_lets_through() -> None:
    image = drawn('<line x1="0" y1="50" x2="200" y2="50" stroke="#ff0000" stroke-width="3" stroke-dasharray="10 10"/>')
    assert image.getpixel((5, 50)) == RED
    assert image.getpixel((15, 50)) == WHITE
    image = drawn('<rect width="200" height="100" fill="#0000ff"/>',
                  '<path d="M0 0L200 0L200 100L0 100Z" fill="#ff0000" fill-opacity="0.5"/>')  # fmt: skip
    red, green, blue = image.getpixel((100, 50))
    assert (abs(red - 128) < 3, green, abs(blue - 128) < 3) == (True, 0, True)


def test_a_long_picture_is_the_same_across_its_bands() -> None:
    shapes = [f'<path d="M0 0L200 {3 * svg_png.BAND}" fill="none" stroke="#0000ff" stroke-width="6"/>',
              f'<circle cx="30" cy="{svg_png.BAND}" r="20" fill="#ff0000"/>']  # fmt: skip
    image = drawn(*shapes, height=3 * svg_png.BAND)
    for row in (svg_png.BAND - 1, svg_png.BAND, 2 * svg_png.BAND):
        assert image.getpixel((round(200 * row / (3 * svg_png.BAND)), row)) == BLUE
    assert image.getpixel((30, svg_png.BAND - 5)) == image.getpixel((30, svg_png.BAND + 5)) == RED


def ink(image) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is not white."""
    from PIL import ImageChops

    return ImageChops.invert(image).getbbox()


def test_words_begin_or_end_where_they_are_anchored() -> None:
    def words(anchor: str, x: int) -> str:
        return f'<text x="{x}" y="50" font-size="14" text-anchor="{anchor}" fill="#000000">HIH</text>'

    assert 100 <= ink(drawn(words("start", 100)))[0] <= 103
    assert 97 <= ink(drawn(words("end", 100)))[2] <= 100
    left, _, right, bottom = ink(drawn(words("middle", 100)))
    assert abs(left + right - 200) <= 3
    assert 49 <= bottom <= 51  # on the line


@pytest.mark.parametrize("fonts", [svg_png.FONTS, ()])
def test_names_of_any_kind_are_drawn(fonts, monkeypatch) -> None:
    monkeypatch.setattr(svg_png, "FONTS", fonts)
    svg_png._font.cache_clear()
    for words in ("worker – 3 × 4 ✓", "имя", "$x$ \u202e evil \u0007", "\N{REPLACEMENT CHARACTER}", ""):
        image = drawn(f'<text x="5" y="50" font-size="12" font-weight="650" fill="#000000">{words.replace(chr(7), "")}</text>')
        assert (ink(image) is not None) == bool(words)
    svg_png._font.cache_clear()


def test_without_pillow_it_says_so(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingPlotterError, match="PNG pictures need Pillow"):
        png_of("<svg/>")


def test_whatever_the_svg_writers_use_is_known_here() -> None:
    room = Path(oomsight.sinks.__file__).parent
    source = "".join((room / f"{name}.py").read_text() for name in ("plot_svg", "curve_svg", "plot_history"))
    assert set(re.findall(r"<([a-z]+)[ >]", source)) <= {"svg", "g", "title", "rect", "circle", "line", "path", "text"}
