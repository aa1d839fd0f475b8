"""What a text without a kernel OOM kill says instead: others' words about memory, told as what they are."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Final

from oomsight.diagnose.said import Of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from oomsight.diagnose.said import Said

LINE_CHARS: Final = 200  #: of a line that is quoted
_LINES: Final = 3  #: quoted of one kind
_KINDS: Final = 2  #: told, where a text has several
_WIDTH: Final = 80


def heard(said: Sequence[Said], *, quote: bool) -> Iterator[str]:
    """Yield lines that tell what *said* is; with *quote*, the lines themselves (they may hold names)."""
    seen = [one for one in said if one.saying.of is Of.KERNEL_KILL]
    if seen:
        number = f"{len(seen)} lines there speak" if len(seen) > 1 else "A line there speaks"
        yield from wrap(f"{number} of one that others saw; {_NOT_HERE}:", _WIDTH)
        yield from _quoted(seen, quote=quote)
        yield from wrap(_THERE, _WIDTH)
        yield "oomsight why NAME asks systemd and the container runtime what they know."
        return
    rows = list(dict.fromkeys(one.saying for one in said))
    named = [row for row in rows if row.of is not Of.WORDS] or rows  # what a runtime says of itself tells more
    signals = [row for row in named if row.of is Of.SIGKILL]
    for row in [*(row for row in named if row.of is not Of.SIGKILL), *signals[:1]][:_KINDS]:
        lines = [one for one in said if one.saying is row]
        number = "Lines there tell" if len(lines) > 1 else "A line there tells"
        yield from wrap(f"{number} of {_TOLD[row.of].format(row.who)}", _WIDTH)
        yield from _quoted(lines, quote=quote)
        yield from wrap(row.means, _WIDTH)
    if signals and signals == rows:
        yield from wrap(_ELSEWHERE, _WIDTH)


_NOT_HERE: Final = "the kernel's own words about it are not in this text"
_THERE: Final = "They are in the kernel log of that host and time: journalctl -k, or oomsight explain there."
_ELSEWHERE: Final = (
    "If it was the kernel, its log of that host and time says so: journalctl -k, or oomsight explain there; oomsight "
    "why NAME asks systemd and the container runtime."
)
_TOLD: Final = {
    Of.OWN_LIMIT: "{}: a bound of its own was reached, the kernel killed nothing.",
    Of.REFUSED: "{}: memory was refused, the kernel killed nothing.",
    Of.WORDS: "{}, not of a kernel OOM kill.",
    Of.SIGKILL: "{}, not of a kernel OOM kill.",
}


def _quoted(said: Sequence[Said], *, quote: bool) -> Iterator[str]:
    from oomsight.sinks.safe import scrub

    for one in said[:_LINES] if quote else ():
        yield f"    {scrub(one.line[:LINE_CHARS])}{'…' if len(one.line) > LINE_CHARS else ''}"
