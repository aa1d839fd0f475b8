"""The last step of every sink: text out of the process, whatever the stream can take."""

from __future__ import annotations

from oomsight._named import NamedTuple

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

MAX_AUTO_WIDTH = 160
DEFAULT_WIDTH = 80


class Surface(NamedTuple):
    """What the output can show."""

    width: int  #: columns
    colour: bool
    unicode: bool


def surface(
    stream: TextIO, environ: Mapping[str, str], *, columns: int | None, width: int | None = None, colour: str = "auto"
) -> Surface:
    """
    Decide what *stream* can show.

    *columns* is the terminal's width if the stream is a terminal, *width* and *colour* (``auto``, ``always``,
    ``never``) are what the user asked for. ``NO_COLOR`` (any value but the empty one) and ``TERM=dumb`` switch
    automatic colour off; an explicit ``always`` wins. Where the locale is said to be C there are no boxes and bars:
    Python writes UTF-8 there all the same, which such a terminal does not show.
    """
    terminal = stream.isatty()
    if colour == "auto":
        painted = terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    else:
        painted = colour == "always"
    if width is None:
        width = min(columns or DEFAULT_WIDTH, MAX_AUTO_WIDTH) if terminal else DEFAULT_WIDTH
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG")
    encoding = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "").replace("_", "")
    return Surface(width, painted, encoding in ("utf8", "utf8sig") and locale not in {"C", "POSIX"})


def emit(stream: TextIO, text: str) -> None:
    """Write *text*; a character the stream's encoding lacks becomes a visible escape instead of an error."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
