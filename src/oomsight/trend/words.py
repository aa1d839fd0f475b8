"""Sizes, rates and times as the evidence says them."""

from __future__ import annotations

from typing import Final

_SIZES: Final = (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
_TIMES: Final = (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))


def size(count: float) -> str:
    """Return bytes with three digits: ``1.24 GiB``, ``-3.1 MiB``, ``12 B``."""
    for unit, factor in _SIZES:
        if abs(count) >= factor:
            return f"{_three(count / factor)} {unit}"
    return f"{count:.0f} B"


def rate(per_second: float) -> str:
    """Return a rate per the unit of time in which it is easiest to read: ``12.5 MiB/h``."""
    for unit, factor in (("s", 1.0), ("min", 60.0), ("h", 3600.0)):
        if abs(per_second) * factor >= 1 << 20:
            return f"{size(per_second * factor)}/{unit}"
    return f"{size(per_second * 86400.0)}/day"


def span(seconds: float) -> str:
    """Return a length of time in two units at most: ``3 d 4 h``, ``25 min``, ``40 s``."""
    if seconds >= 100 * 86400:
        return f"{seconds / 86400:,.0f} d"
    for number, (unit, factor) in enumerate(_TIMES):
        if seconds >= factor:
            whole = int(seconds / factor)
            if number == len(_TIMES) - 1 or seconds >= 10 * factor:
                return f"{seconds / factor:.0f} {unit}"
            below, smaller = _TIMES[number + 1]
            rest = round((seconds - whole * factor) / smaller)
            if rest * smaller >= factor:
                whole, rest = whole + 1, 0
            return f"{whole} {unit} {rest} {below}" if rest else f"{whole} {unit}"
    return f"{seconds:.0f} s"


def share(value: float) -> str:
    """Return a share as a percentage: ``37 %``."""
    return f"{100 * value:.0f} %"


def _three(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
