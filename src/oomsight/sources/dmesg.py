"""The kernel's ring buffer through ``dmesg``, for kernels and containers without a usable ``/dev/kmsg``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from oomsight.sources.errors import NotReadable, SourceError
from oomsight.sources.kmsg import RIGHT
from oomsight.sources.program import Program, find

if TYPE_CHECKING:
    from oomsight.sources.source import Kind, Progress

# --raw keeps facility and level (util-linux and busybox); very old ones know no option.
_OPTIONS: Final[tuple[list[str], ...]] = (["-r"], [])


@dataclass(slots=True)
class DmesgSource:
    """What ``dmesg`` prints."""

    program: str = "dmesg"
    notes: list[str] = field(default_factory=list)

    name: str = field(default="dmesg", init=False)
    kind: Kind = field(default="dmesg", init=False)
    size_bytes: int | None = field(default=None, init=False)
    follows: str | None = field(default=None, init=False)

    def blocks(self, progress: Progress | None = None) -> Iterator[bytes]:
        """Yield its output."""
        program = find(self.program)
        if program is None:
            raise SourceError(self.name, "is not installed")
        done, complaint = 0, ""
        for options in _OPTIONS:
            run = Program([program, *options])
            for block in run:
                done += len(block)
                yield block
                if progress:
                    progress(done)
            if done or not run.status:
                return
            complaint = run.complaint
        if "not permitted" in complaint or "ermission denied" in complaint:
            raise NotReadable(self.name, "operation not permitted", RIGHT)
        raise SourceError(self.name, complaint or "failed")
