"""
The blocks an explanation is made of: built once by :mod:`oomsight.sinks.story`, shown by every human sink.

All texts are marked text (:mod:`oomsight.naming.marked`). Blocks say what a thing is, never how it looks; tuples,
because they are cheap to make and cannot change on their way to a sink.
"""

from __future__ import annotations

from oomsight._named import NamedTuple
from oomsight._sizes import steady_size_words

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from typing import Literal

    Tone = Literal["plain", "strong", "bad", "warn", "good", "dim"]
    """What a text means to the reader: ``bad`` what was killed or failed, ``warn`` the culprit, ``dim`` provenance."""


class Heading(NamedTuple):
    """Title of the incident (level 1), of a section (2) or of a part of it (3)."""

    text: str
    level: Literal[1, 2, 3] = 2


class Paragraph(NamedTuple):
    """Running sentences."""

    text: str
    tone: Tone = "plain"


class Item(NamedTuple):
    """One bullet, with blocks that belong under it (evidence, command)."""

    text: str
    tone: Tone = "plain"
    below: tuple[Block, ...] = ()


class Bullets(NamedTuple):
    """A list of statements; numbered where the order is to be followed."""

    items: tuple[Item, ...]
    numbered: bool = False


class KeyValues(NamedTuple):
    """Short facts by name."""

    rows: tuple[tuple[str, str], ...]


class Column(NamedTuple):
    """One column of a table. Narrow sinks drop the highest ``drop`` first; 0 = always shown."""

    title: str
    right: bool = False
    drop: int = 0
    flexible: bool = False  #: may be shortened (names)


class Row(NamedTuple):
    """Cells in column order."""

    cells: tuple[str, ...]
    tone: Tone = "plain"


class Table(NamedTuple):
    """Rows of the same kind. ``more`` says what was left out."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    more: str | None = None


class Segment(NamedTuple):
    """One addend of a bar."""

    letter: str  #: one ASCII letter, unique within the bar
    label: str
    kib: int
    fill: int  #: look of the segment: index into the sink's fills, constant per kind of memory
    detail: str | None = None


class Bar(NamedTuple):
    """A stacked bar whose segments sum to ``total_kib``."""

    title: str
    total_kib: int
    segments: tuple[Segment, ...]


class Code(NamedTuple):
    """Text to copy as it is: a shell command or a piece of configuration. Not marked; checked by the builder."""

    text: str
    language: Literal["sh", "yaml", "ini", "text"] = "sh"


Block = Heading | Paragraph | Bullets | KeyValues | Table | Bar | Code


def human_kib(kib: int) -> str:
    """Return *kib* KiB in the unit a reader compares at a glance: ``580 KiB``, ``47.7 MiB``, ``1.9 GiB``."""
    return steady_size_words(kib << 10)


def human_pct(part: int, total: int) -> str:
    """Return *part* of *total* as a rounded percentage; anything between 0 and 1 % is ``<1 %``."""
    if total <= 0:
        return ""
    pct = 100 * part / total
    return "<1 %" if 0 < pct < 1 else f"{pct:.0f} %"
