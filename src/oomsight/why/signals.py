"""Signals by number and name, for Linux on x86, ARM and most others, whatever machine this runs on."""

from __future__ import annotations

from typing import Final

SIGKILL: Final = 9
SIGTERM: Final = 15

NAMES: Final[dict[int, str]] = {
    1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 5: "TRAP", 6: "ABRT", 7: "BUS", 8: "FPE", 9: "KILL", 10: "USR1",
    11: "SEGV", 12: "USR2", 13: "PIPE", 14: "ALRM", 15: "TERM", 24: "XCPU", 25: "XFSZ", 31: "SYS",
}  # fmt: skip
"""Number -> name without SIG (include/uapi/asm-generic/signal.h)."""

CRASHES: Final = frozenset({3, 4, 5, 6, 7, 8, 11, 31})
"""Signals a program gets for what it did itself."""

_NUMBERS: Final = {name: number for number, name in NAMES.items()}
_WORDS: Final = {"TERMINATED": 15, "KILLED": 9, "INTERRUPT": 2, "HANGUP": 1, "QUIT": 3}  # Go's signal names


def signal_name(number: int) -> str:
    """Return ``SIGKILL`` for 9; ``signal 40`` for what has no name here."""
    return f"SIG{NAMES[number]}" if number in NAMES else f"signal {number}"


def signal_number(name: str) -> int | None:
    """Return 9 for ``SIGKILL``, ``KILL``, ``killed`` or ``9``; ``None`` = no signal known here."""
    text = name.upper().removeprefix("SIG")
    if text.isascii() and text.isdigit() and len(text) < 3:
        return int(text)
    return _NUMBERS.get(text, _WORDS.get(text))
