"""``--plot FILE``: one way to check the name, to draw by its ending and to write, for every command with pictures."""

from __future__ import annotations

import os

from oomsight._extras import how_to_get
from oomsight.cli import declare
from oomsight.cli.exits import CommandError, Exit, UsageError
from oomsight.cli.speak import remark


def _known_ending(path: str | None) -> str | None:
    """A wrong name is told before the work, not after a minute of it."""
    if path is not None and _ending(path) not in {".svg", ".png"}:
        raise UsageError(f"--plot: '{path}' must end in .svg or .png")
    return path


def _ending(path: str) -> str:
    return os.path.splitext(path)[1].lower()


plot_option = declare.option(
    "--plot", type=declare.Path(dir_okay=False), metavar="FILE", callback=_known_ending,
    help="Also draw it: FILE.svg, or FILE.png.",
)  # fmt: skip
"""``--plot``, as parameter ``plot``: a path that ends in .svg or .png, or ``None``."""


def write_picture(path: str, svg: str) -> None:
    """
    Write *svg* to *path*, as it is or as PNG, whichever the ending asks for. Raises :class:`CommandError` where Pillow
    is missing (:attr:`Exit.UNSUPPORTED`) or *path* cannot be written (:attr:`Exit.INPUT`).
    """
    data = svg.encode("utf-8", "replace")  # names of processes may hold halves of characters
    if _ending(path) == ".png":
        from oomsight.sinks.svg_png import MissingPlotterError, png_of

        try:
            data = png_of(svg)
        except MissingPlotterError as error:
            hint = f"{how_to_get('plot')}, or --plot FILE.svg"
            raise CommandError(str(error), Exit.UNSUPPORTED, hint) from None
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        raise CommandError(f"{path}: {(error.strerror or str(error)).lower()}", Exit.INPUT) from None
    remark(f"wrote {path}")
