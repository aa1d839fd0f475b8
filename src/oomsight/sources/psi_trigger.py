"""
A PSI trigger: a file that becomes ready when tasks have waited for memory.

Source: Documentation/accounting/psi.rst, kernel/sched/psi.c psi_trigger_create() (5.2+). Windows that are no multiple
of 2 s need CAP_SYS_RESOURCE (6.5+); before, every trigger did.
"""

from __future__ import annotations

import os
from contextlib import suppress

TRIGGERS = (b"some 150000 1000000\0", b"some 300000 2000000\0")
"""15 % of a second; for those who may not have that, of two. The kernel wants the terminator."""


def open_trigger(path: str = "/proc/pressure/memory") -> int | None:
    """
    Return a descriptor on which ``POLLPRI`` means pressure; ``None`` = no PSI, or no right to a trigger. The caller
    closes it.
    """
    for trigger in TRIGGERS:
        try:
            fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            os.write(fd, trigger)
        except OSError:
            with suppress(OSError):
                os.close(fd)
            continue
        return fd
    return None
