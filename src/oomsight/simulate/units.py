"""Sizes, rates and durations as people write them: ``512MiB``, ``10MiB/min``, ``1h30min``; and back into words."""

from __future__ import annotations

import re
from typing import Final

from oomsight._sizes import GIB, KIB, MIB, TIB

SIZE_UNITS: Final = {
    "": 1, "b": 1, "k": KIB, "kib": KIB, "kb": 1000, "m": MIB, "mib": MIB, "mb": 1000**2, "g": GIB, "gib": GIB,
    "gb": 1000**3, "t": TIB, "tib": TIB, "tb": 1000**4,
}  # fmt: skip
"""Bytes of each suffix; single letters are binary, as in the kernel's own files (memparse())."""

TIME_UNITS: Final = {
    "": 1, "s": 1, "sec": 1, "second": 1, "min": 60, "m": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86400,
    "day": 86400,
}  # fmt: skip
"""Seconds of each suffix."""

_NUMBER: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", re.ASCII)


def parse_size(text: str | float) -> int | None:
    """Bytes of ``512MiB``, ``2G``, ``4096``; ``None`` = not a size."""
    if isinstance(text, int | float):
        return int(text) if not isinstance(text, bool) and text >= 0 and text == int(text) else None
    found = _NUMBER.fullmatch(text)
    if found is None or found[2].lower() not in SIZE_UNITS:
        return None
    return round(float(found[1]) * SIZE_UNITS[found[2].lower()])


def parse_duration(text: str | float) -> float | None:
    """Seconds of ``90``, ``15min``, ``1h30min``; ``None`` = not a duration."""
    if isinstance(text, int | float):
        return float(text) if not isinstance(text, bool) and text >= 0 else None
    total, at = 0.0, 0
    while at < len(text):
        found = _NUMBER.match(text, at)
        unit = found[2].lower().removesuffix("s") if found and len(found[2]) > 1 else found[2].lower() if found else ""
        if found is None or unit not in TIME_UNITS:
            return None
        total, at = total + float(found[1]) * TIME_UNITS[unit], found.end()
    return total if at else None


def parse_rate(text: str | float) -> float | None:
    """Bytes per second of ``10MiB/min``, ``2G/day``, ``4096`` (per second); ``None`` = not a rate."""
    if isinstance(text, int | float):
        return float(text) if not isinstance(text, bool) and text >= 0 else None
    amount, _, per = text.partition("/")
    size = parse_size(amount)
    seconds = parse_duration("1" + per.strip()) if per else 1.0
    return None if size is None or not seconds else size / seconds


def duration_words(seconds: float) -> str:
    """``1 h 5 min`` for people: the two biggest units that are not zero."""
    whole = round(seconds)
    parts = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, whole = divmod(whole, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
