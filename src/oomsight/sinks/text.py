"""
Blocks as terminal text: any width from 40 columns, with or without colour, UTF-8 or ASCII.

Nothing here reads the environment: the caller decides width, colour and character set. Colour only repeats what
letters, fills and words already say.
"""

from __future__ import annotations

from oomsight.sinks.blocks import (
    Bar,
    Block,
    Bullets,
    Code,
    Heading,
    KeyValues,
    Paragraph,
    Segment,
    Table,
    human_kib,
    human_pct,
)
from oomsight.sinks.safe import ascii_text, display_width, pad, plain, shorten, wrap

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Final

    from oomsight.sinks.blocks import Tone

MIN_WIDTH: Final = 40
PROSE_WIDTH: Final = 100  #: lines of prose longer than this are hard to follow, however wide the terminal is

# SGR parameters. Tones use the 16 basic colours only: they follow the reader's theme.
_TONES: Final[dict[Tone, str]] = {"plain": "", "strong": "1", "bad": "1;31", "warn": "33", "good": "32", "dim": "2"}
# One row per memory_bar.MEMORY_KINDS: SGR, UTF-8 fill, ASCII fill. Neighbours differ in fill, so the bar reads in
# black and white; free memory looks empty and unaccounted memory questionable.
_FILLS: Final = (
    ("34", "█", "#"), ("35", "▓", "="), ("95", "▒", "%"), ("32", "░", "-"), ("34", "█", "#"), ("36", "▓", "="),
    ("33", "▒", "%"), ("93", "█", "#"), ("96", "▓", "="), ("94", "░", "-"), ("36", "▒", "%"), ("31", "?", "?"),
    ("90", "·", "."),
)  # fmt: skip
_LEGEND_WIDTH = 21  # of a legend line without its label: letter, size, share
_LONG_NAME, _MIN_FLEXIBLE = 24, 10  # columns a name keeps before, and after, less important columns are dropped


def render_text(blocks: Iterable[Block], *, width: int = 80, colour: bool = False, unicode: bool = True) -> str:
    """
    Return *blocks* as text ending in a newline.

    ``width`` is in terminal columns (at least 40 are used), ``colour`` adds SGR sequences, without ``unicode`` the
    text is pure ASCII. Only commands may be longer than a line: breaking them would break them.
    """
    return _Paper(max(width, MIN_WIDTH), colour, unicode).render(blocks)


class _Paper:
    """What is known about the surface, and how each block is put on it."""

    def __init__(self, width: int, colour: bool, unicode: bool) -> None:
        self.width, self.colour, self.unicode = width, colour, unicode
        self.show = {
            Heading: self._heading, Paragraph: self._paragraph, Bullets: self._bullets, KeyValues: self._key_values,
            Table: self._table, Bar: self._bar, Code: self._code,
        }  # fmt: skip

    def render(self, blocks: Iterable[Block]) -> str:
        return "\n".join(line.rstrip() for line in self._spaced(blocks)) + "\n"

    def _spaced(self, blocks: Iterable[Block]) -> Iterator[str]:
        """Lines of *blocks* with one empty line where the matter changes."""
        before: Block | None = None
        indent = ""
        for block in blocks:
            if before is not None:
                yield from [""] * _gap(before, block)
            yield from self.show[type(block)](block, indent)  # type: ignore[operator]
            if isinstance(block, Heading):
                indent = "" if block.level == 1 else "  "
            before = block

    # --- pieces

    def paint(self, text: str, tone: Tone) -> str:
        return f"\x1b[{_TONES[tone]}m{text}\x1b[0m" if self.colour and _TONES[tone] and text else text

    def plain(self, text: str) -> str:
        return plain(text, ascii_only=not self.unicode)

    def wrapped(self, text: str, first: str, rest: str, tone: Tone = "plain") -> Iterator[str]:
        """*text* wrapped behind *first* on the first line and *rest* on the others."""
        room = min(self.width, PROSE_WIDTH) - display_width(rest)
        lead = first
        for line in wrap(plain(text, ascii_only=not self.unicode, glue=True), room):
            yield lead + self.paint(line, tone)
            lead = rest

    # --- blocks

    def _heading(self, block: Heading, _indent: str) -> Iterator[str]:
        across = min(self.width, PROSE_WIDTH)
        if block.level == 1:
            yield from self.wrapped(block.text, "", "", "strong")
            yield self.paint(("━" if self.unicode else "=") * across, "dim")
        elif block.level == 2:
            rule = "─" if self.unicode else "-"
            text = self.plain(block.text)
            tail = rule * max(across - display_width(text) - 4, 0)
            yield f"{self.paint(rule * 2, 'dim')} {self.paint(text, 'strong')} {self.paint(tail, 'dim')}"
        else:
            yield from self.wrapped(block.text + ":", "  ", "  ", "strong")

    def _paragraph(self, block: Paragraph, indent: str) -> Iterator[str]:
        return self.wrapped(block.text, indent, indent, block.tone)

    def _bullets(self, block: Bullets, indent: str) -> Iterator[str]:
        dot = "•" if self.unicode else "*"
        for number, item in enumerate(block.items, 1):
            lead = f"{indent}{number}. " if block.numbered else f"{indent}{dot} "
            rest = " " * display_width(lead)
            yield from self.wrapped(item.text, lead, rest, item.tone)
            for index, below in enumerate(item.below):
                if index and isinstance(below, Code):
                    yield ""  # a command and a piece of configuration are copied separately
                yield from self.show[type(below)](below, rest)  # type: ignore[operator]

    def _key_values(self, block: KeyValues, indent: str) -> Iterator[str]:
        keys = [self.plain(key) for key, _ in block.rows]
        size = min(max(map(display_width, keys), default=0), self.width // 3)
        before = None
        for key, (_, value) in zip(keys, block.rows, strict=True):
            shown = pad(shorten("" if key == before else key, size), size)
            lead = f"{indent}{self.paint(shown, 'dim')}  "
            yield from self.wrapped(value, lead, " " * (len(indent) + size + 2))
            before = key

    def _code(self, block: Code, indent: str) -> Iterator[str]:
        for line in block.text.split("\n"):
            yield f"{indent}    {self.paint(line if self.unicode else ascii_text(line), 'good')}"

    def _table(self, block: Table, indent: str) -> Iterator[str]:
        heads = [self.plain(column.title) for column in block.columns]
        cells = [[self.plain(cell) for cell in row.cells] for row in block.rows]
        sizes = [max(display_width(line[i]) for line in [heads, *cells]) for i in range(len(heads))]
        kept = self._fit(block, sizes, self.width - len(indent))
        columns = [(i, block.columns[i].right, sizes[i]) for i in kept]

        def line(texts: Sequence[str]) -> str:
            ellipsis = "…" if self.unicode else "..."
            fitted = (pad(shorten(texts[i], size, ellipsis=ellipsis), size, right=right) for i, right, size in columns)
            return "  ".join(fitted).rstrip()

        yield indent + self.paint(line(heads), "dim")
        for texts, row in zip(cells, block.rows, strict=True):
            yield indent + self.paint(line(texts), row.tone)
        if block.more:
            yield from self.wrapped(f"… {block.more}", indent, indent, "dim")

    def _fit(self, block: Table, sizes: list[int], room: int) -> list[int]:
        """
        Choose the columns that fit *room* and set their *sizes*: very long names give way first, then the least
        important columns, then names further.
        """
        kept = list(range(len(sizes)))
        natural = list(sizes)

        def excess() -> int:
            return sum(sizes[i] for i in kept) + 2 * (len(kept) - 1) - room

        def squeeze(least: int) -> None:
            for i in sorted(kept, key=lambda i: -sizes[i]):
                if block.columns[i].flexible and (over := excess()) > 0:
                    sizes[i] = max(least, sizes[i] - over) if sizes[i] > least else sizes[i]

        squeeze(_LONG_NAME)
        while excess() > 0 and block.columns[worst := max(kept, key=lambda i: block.columns[i].drop)].drop:
            kept.remove(worst)
        sizes[:] = natural  # a dropped column may have left room
        squeeze(_LONG_NAME)
        squeeze(_MIN_FLEXIBLE)
        return kept

    def _bar(self, block: Bar, indent: str) -> Iterator[str]:
        yield from self.wrapped(block.title, indent, indent, "strong")
        left, right = ("▕", "▏") if self.unicode else ("[", "]")
        room = min(self.width, PROSE_WIDTH) - len(indent) - 2
        drawn = []
        for segment, columns in zip(block.segments, bar_columns([s.kib for s in block.segments], room), strict=True):
            sgr, fill, ascii_fill = _FILLS[segment.fill]
            text = (segment.letter + (fill if self.unicode else ascii_fill) * columns)[:columns]
            drawn.append(f"\x1b[{sgr}m{text}\x1b[0m" if self.colour and text else text)
        yield f"{indent}{left}{''.join(drawn)}{right}"
        size = max((display_width(self.plain(s.label)) for s in block.segments), default=0)
        size = min(size, self.width - len(indent) - _LEGEND_WIDTH)
        for segment in block.segments:
            yield from self._legend(segment, block.total_kib, size, indent)

    def _legend(self, segment: Segment, total_kib: int, size: int, indent: str) -> Iterator[str]:
        letter = f"\x1b[{_FILLS[segment.fill][0]}m{segment.letter}\x1b[0m" if self.colour else segment.letter
        label = pad(shorten(self.plain(segment.label), size), size)
        lead = f"{indent} {letter} {label} {human_kib(segment.kib):>10} {human_pct(segment.kib, total_kib):>6}"
        used = len(indent) + size + _LEGEND_WIDTH
        if not segment.detail:
            yield lead
        elif min(self.width, PROSE_WIDTH) - used >= 34:  # enough room beside the numbers; else on lines of its own
            yield from self.wrapped(segment.detail, lead + "  ", " " * (used + 2), "dim")
        else:
            yield lead
            yield from self.wrapped(segment.detail, indent + "     ", indent + "     ", "dim")


def _gap(before: Block, block: Block) -> int:
    """Return how many empty lines belong between two blocks."""
    if isinstance(block, Heading):
        return 2 if block.level == 1 else 1
    if isinstance(before, Heading):
        return 0
    return 0 if isinstance(block, Paragraph) and (block.tone == "dim" or isinstance(before, Paragraph)) else 1


def bar_columns(kib: Sequence[int], columns: int) -> list[int]:
    """
    Share *columns* out to segments of *kib* KiB; the result sums to *columns* if any segment is above zero.

    Rounding is by edges, so no segment is off by more than one column; one of at least 1 % of the whole gets a column
    of its own even where a column is more than that.
    """
    total = sum(kib)
    if total <= 0:
        return [0] * len(kib)
    widths, edge, running = [], 0, 0
    for part in kib:
        running += part
        here = running * columns // total
        widths.append(here - edge)
        edge = here
    for index, part in enumerate(kib):
        if not widths[index] and part * 100 >= total:
            widest = max(range(len(widths)), key=widths.__getitem__)
            if widths[widest] > 1:
                widths[widest] -= 1
                widths[index] = 1
    return widths
