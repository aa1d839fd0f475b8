"""Sizes and rates in words for people, and the powers of 1024 they are counted in: the one place that rounds a size."""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30
TIB: Final = 1 << 40

_LARGER: Final = ("KiB", "MiB", "GiB", "TiB", "PiB")
_PERIODS: Final = (("s", 1), ("min", 60), ("h", 3600))


def size_words(size_bytes: float) -> str:
    """
    Return a size in three digits, and in fewer where it is exactly that: ``512 MiB``, ``1.5 GiB``, ``1.24 GiB``.

    A zero behind the point says that something was rounded away: 1025 MiB are ``1.00 GiB``, 1024 MiB are ``1 GiB``.
    Below 10 KiB bytes are counted, unless they are whole KiB.
    """
    if abs(size_bytes) < 10 * KIB and size_bytes % KIB:
        return f"{size_bytes:.0f} {'byte' if abs(size_bytes) == 1 else 'bytes'}"
    value, unit = float(size_bytes), "bytes"
    for larger in _LARGER:
        if abs(value) < 1023.5:  # from there on it would print as 1024
            break
        value, unit = value / 1024, larger
    return f"{_three(value)} {unit}"


def _three(value: float) -> str:
    size = abs(value)
    text = f"{value:.0f}" if size >= 99.95 else f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"
    return text.rstrip("0").rstrip(".") if "." in text and float(text) == value else text


def steady_size_words(size_bytes: float) -> str:
    """
    Return a size with one digit behind the point, always: ``580 KiB``, ``47.7 MiB``, ``2.0 GiB``.

    For what stands under one another or is told again and again: the same place means the same in each.
    """
    value, unit = size_bytes / 1024, "KiB"
    for larger in _LARGER[1:4]:
        if abs(value) < 1023.95:  # from there on it would print as 1024.0
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "KiB" else f"{value:.1f} {unit}"


def rate_words(bytes_per_second: float) -> str:
    """Return a rate per the shortest time in which it comes to 1 MiB, else per day: ``12.5 MiB/h``."""
    for unit, seconds in _PERIODS:
        if abs(bytes_per_second) * seconds >= MIB:
            return f"{size_words(bytes_per_second * seconds)}/{unit}"
    return f"{size_words(bytes_per_second * 86400)}/day"
