"""
The agent's own memory: little of it, and not taken away when the host runs out.

Python's code lies in files that a thrashing host throws out first, and an agent that has to be read from disk again
answers seconds late. :func:`lock` keeps what was touched (mlockall(2), MCL_ONFAULT since Linux 4.4): unlike a plain
lock it does not fill the 8 MiB of stack of each thread. :func:`trim` comes before: glibc cannot return locked pages.
"""

from __future__ import annotations

import ctypes
import os
import resource
from contextlib import suppress
from typing import Final

from oomsight.sources.procread import read_if_there

MCL_CURRENT: Final = 1  # include/uapi/asm-generic/mman.h
MCL_FUTURE: Final = 2
MCL_ONFAULT: Final = 4
M_ARENA_MAX: Final = -8  # malloc.h; each arena keeps free memory of its own, and our threads allocate little at a time
CAP_IPC_LOCK: Final = 14  # include/uapi/linux/capability.h


def few_arenas() -> None:
    """Have all threads allocate from one heap; call before there are any. Nothing happens without glibc."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def trim() -> None:
    """Give back what the start needed and nothing needs any more. Nothing happens without glibc."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def may_lock(proc: str = "/proc") -> bool:
    """
    Whether :func:`lock` can work for good: by CAP_IPC_LOCK, or RLIMIT_MEMLOCK without an end.

    Any other limit counts address space, not memory, when all of it is locked (mm/mmap.c mlock_future_check()): every
    later allocation could fail.
    """
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        return True
    status = read_if_there(f"{proc}/self/status") or ""
    capabilities = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    return bool(int(capabilities, 16) >> CAP_IPC_LOCK & 1)


def lock() -> str | None:
    """Lock what is touched now and later. Return why that is not possible, or ``None``."""
    if not may_lock():
        return "it needs CAP_IPC_LOCK or an unlimited RLIMIT_MEMLOCK"
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0:
            return os.strerror(ctypes.get_errno())
    except (OSError, AttributeError):
        return "this C library has no mlockall"
    return None
