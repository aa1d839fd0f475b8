"""
Pressure stall information: /proc/pressure/* and the ``*.pressure`` files of cgroups.

Source: kernel/sched/psi.c psi_show(), 4.20+; cpu has a ``full`` line since 5.13.
"""

from __future__ import annotations

import re
from typing import Final

from oomsight._named import NamedTuple

RESOURCES: Final = ("memory", "io", "cpu")

_LINE: Final = re.compile(
    r"^(some|full) avg10=(\d{1,3}\.\d+) avg60=(\d{1,3}\.\d+) avg300=(\d{1,3}\.\d+) total=(\d{1,20})$",
    re.MULTILINE | re.ASCII,
)


class Stall(NamedTuple):
    """One line: the share of time in which some, or all, tasks waited for the resource."""

    avg10_pct: float
    avg60_pct: float
    avg300_pct: float
    total_us: int  #: since boot


def parse_pressure(text: str) -> dict[str, Stall]:
    """The lines of one file by ``some`` and ``full``; empty = not such a file (PSI is off, or older than 4.20)."""
    return {
        kind: Stall(float(ten), float(sixty), float(long), int(total))
        for kind, ten, sixty, long, total in _LINE.findall(text)
    }
