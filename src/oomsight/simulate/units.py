"""Sizes, rates and durations as people write them: ``512MiB``, ``10MiB/min``, ``1h30min``; and back into words."""

from __future__ import annotations

import re
from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30

SIZE_UNITS: Final = {
    "": 1, "b": 1, "k": KIB, "kib": KIB, "kb": 1000, "m": MIB, "mib": MIB, "mb": 1000**2, "g": GIB, "gib": GIB,
    "gb": 1000**3, "t": 1 << 40, "tib": 1 << 40, "tb": 1000**4,
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


def size_words(size_bytes: float) -> str:
    """``1.5 GiB`` for people; whole numbers below 1 MiB in KiB."""
    sign = "-" if size_bytes < 0 else ""
    value = abs(size_bytes) / KIB
    if value < 1024:
        return f"{sign}{value:.0f} KiB"
    for unit in ("MiB", "GiB", "TiB"):
        value /= 1024
        if value < 1023.95 or unit == "TiB":
            return f"{sign}{value:.0f} {unit}" if value >= 100 else f"{sign}{value:.1f} {unit}"
    raise AssertionError


def duration_words(seconds: float) -> str:
    """``1 h 5 min`` for people: the two biggest units that are not zero."""
    whole = round(seconds)
    parts = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, whole = divmod(whole, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def rate_words(bytes_per_second: float) -> str:
    """``10.0 MiB/min`` for people: the unit of time that gives at least 1 MiB, else per day."""
    for unit, seconds in (("s", 1), ("min", 60), ("h", 3600)):
        if bytes_per_second * seconds >= MIB:
            return f"{size_words(bytes_per_second * seconds)}/{unit}"
    return f"{size_words(bytes_per_second * 86400)}/day"
