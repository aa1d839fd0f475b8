"""Times and shares as the evidence says them."""

from __future__ import annotations

from typing import Final

_TIMES: Final = (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))


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
