"""What the commands share: options, and output that suits the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomsight.cli import declare
from oomsight.cli.exits import UsageError
from oomsight.cli.speak import answer, remark, renderer, stdout_surface

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from oomsight.naming.redact import Pseudonyms

    F = TypeVar("F", bound=Callable[..., Any])

__all__ = [
    "answer", "color_option", "exit_code_option", "format_option", "pseudonyms_of", "redact_options",
    "remark", "renderer", "root_option", "stdout_surface", "width_option",
]  # fmt: skip

def format_option(*choices: str, default: str = "text") -> Callable[[F], F]:
    """``--format`` with the formats of this command."""
    return declare.option(
        "-f", "--format", "output_format", type=declare.Choice(choices), default=default, show_default=True,
        help="How to print the answer.",
    )  # fmt: skip


def width_option(function: F) -> F:
    """``--width COLUMNS``: width of text output; default the terminal's."""
    return declare.option(
        "--width", type=declare.IntRange(40, 1000), metavar="COLUMNS",
        help="Width of text.  [default: the terminal's, or 80]",
    )(function)  # fmt: skip


def color_option(function: F) -> F:
    """``--color auto|always|never``; ``auto`` = on a terminal and without NO_COLOR."""
    return declare.option(
        "--color", "--colour", "color", type=declare.Choice(["auto", "always", "never"]), default="auto",
        show_default=True, help="Colour the text; auto: on a terminal, unless NO_COLOR is set.",
    )(function)  # fmt: skip


def exit_code_option(function: F) -> F:
    """``--exit-code``: status 3 when something was found."""
    return declare.option("--exit-code", is_flag=True, help="Exit with status 3 if something was found.")(function)


def redact_options(function: F) -> F:
    """``--redact`` and ``--redact-key``: names replaced by pseudonyms (:func:`pseudonyms_of`)."""
    key = declare.option(
        "--redact-key", metavar="TEXT", envvar="OOMSIGHT_REDACT_KEY", help="Key: same key, same pseudonyms."
    )
    what = "Replace names of hosts, users, programs, cgroups and files."
    return declare.option("--redact", is_flag=True, help=what)(key(function))


def pseudonyms_of(redact: bool, key: str | None) -> Pseudonyms | None:
    """Return what stands for names with ``--redact``; ``None`` = they are shown."""
    import os

    if not redact:
        if key is not None and os.environ.get("OOMSIGHT_REDACT_KEY") != key:
            raise UsageError("--redact-key hides nothing by itself: add --redact")
        return None
    from oomsight.naming.redact import Pseudonyms

    return Pseudonyms(key.encode("utf-8", "surrogateescape") if key else os.urandom(16))


def root_option(function: F) -> F:
    """``--root DIR``: the directory that stands for ``/``."""
    return declare.option(
        "--root", type=declare.Path(file_okay=False), default="/", metavar="DIR",
        help="Directory that stands for /: a mounted disk, a container's root.  [default: /]",
    )(function)  # fmt: skip
