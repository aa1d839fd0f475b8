"""
Kernel release numbers as ordered keys.

Releases are only ever a tie-breaker here: distributions back-port, so the *shape* of a report decides first
(:func:`oomsight.kernel.era.rule_for_shape`). A key is a tuple of the leading numbers, ``"5.10.0-8-amd64"`` ->
``(5, 10, 0)``; ranges in the tables name whole release lines, so ``until=(4, 14)`` contains 4.14.74.
"""

from __future__ import annotations

from oomsight._lazy import remembered

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from typing import Final

Release = tuple[int, ...]
"""Leading numbers of a kernel release, most significant first."""

NEWEST: Final[Release] = (9999,)
"""Stands for "the newest kernel there is" where no release is known."""

_DIGITS: Final = "0123456789"


@remembered(256)
def parse_release(text: str | None) -> Release | None:
    """The leading ``a.b[.c]`` of a release string (``uname -r``, the ``CPU: … #`` line); ``None`` if there is none."""
    numbers: list[int] = []
    for part in (text or "").lstrip().split(".", 3)[:3]:
        digits = part[: len(part) - len(part.lstrip(_DIGITS))][:4]
        if digits:
            numbers.append(int(digits))
        if digits != part:  # "10-amd64": no more numbers belong to it
            break
    return tuple(numbers) if len(numbers) > 1 else None


def release_text(release: Release | None) -> str:
    """``(5, 10)`` as ``"5.10"``; ``None`` as ``"now"`` (the open end of a range)."""
    return "now" if release is None or release == NEWEST else ".".join(map(str, release))


def in_range(release: Release, since: Release, until: Release | None) -> bool:
    """Whether ``release`` lies in ``since`` .. ``until``, both included; ``until=None`` is open."""
    return release >= since and (until is None or release[: len(until)] <= until)


def overlaps(since: Release, until: Release | None, other_since: Release, other_until: Release | None) -> bool:
    """Whether two ranges share a release; ``None`` ends are open."""
    return (until is None or other_since[: len(until)] <= until) and (
        other_until is None or since[: len(other_until)] <= other_until
    )
