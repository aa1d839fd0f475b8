"""
What is in each file of chunks, all files at once.

A file is gone through from head to head, each behind the last one. On a disk every head that is not in memory is a
wait, and a week has hundreds: so the next one of every file is asked for before any of them is waited for.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from oomsight.record.codec import MAGIC
from oomsight.record.walk import Walk, walking

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

MOST_OPEN: Final = 64  #: files at once


class _Walked:
    """A file that is gone through."""

    __slots__ = ("fd", "found", "path", "size", "steps", "wanted")

    def __init__(self, path: str, fd: int) -> None:
        self.path, self.fd, self.size = path, fd, os.fstat(fd).st_size
        self.steps: Generator[tuple[int, int] | Walk, bytes, None] = walking(self.size)
        self.wanted = (len(MAGIC), 0)  #: what is read next: length, where
        self.found: Walk | None = None

    def begin(self) -> bool:
        """Ask for the first step, of a file that is a history's; ``False`` = there is none."""
        return self._has_next(next(self.steps))

    def go(self) -> bool:
        """Take the next step; ``False`` = it was the last."""
        return self._has_next(self.steps.send(os.pread(self.fd, *self.wanted)))

    def _has_next(self, step: tuple[int, int] | Walk) -> bool:
        if isinstance(step, Walk):
            self.found = step
            return False
        self.wanted = step
        return True


def soon(fd: int, length: int, start: int) -> None:
    """Have the system begin to read what will be asked for; of what is in memory already nothing."""
    try:  # noqa: SIM105 - of hundreds of calls this costs nothing
        os.posix_fadvise(fd, start, length, os.POSIX_FADV_WILLNEED)
    except OSError:  # a file system that cannot
        pass


def walks(paths: Sequence[str], ours: Callable[[str, bytes], bool]) -> Iterator[tuple[str, Walk | None]]:
    """
    What is in each of several files, in turn; ``None`` = it is none of ours, empty ones and those that are gone by now
    are left out. *ours*: whether a file is, by its path and its first bytes. Raises :class:`OSError` with the path.
    """
    for at in range(0, len(paths), MOST_OPEN):
        yield from _together(paths[at : at + MOST_OPEN], ours)


def _together(paths: Sequence[str], ours: Callable[[str, bytes], bool]) -> list[tuple[str, Walk | None]]:
    files: list[_Walked] = []
    now = ""
    try:
        for now in paths:
            with suppress(FileNotFoundError):
                files.append(_Walked(now, os.open(now, os.O_RDONLY | os.O_CLOEXEC)))
        for one in files:
            soon(one.fd, *one.wanted)
        going: list[_Walked] = []
        for one in files:
            now = one.path
            if ours(now, os.pread(one.fd, *one.wanted)) and one.begin():
                going.append(one)
        while going:
            for one in going:
                soon(one.fd, *one.wanted)
            left: list[_Walked] = []
            for one in going:
                now = one.path
                if one.go():
                    left.append(one)
            going = left
    except OSError as error:
        raise OSError(error.errno, error.strerror, now) from None
    finally:
        for one in files:
            os.close(one.fd)
    return [(one.path, one.found) for one in files if one.found is not None or one.size]
