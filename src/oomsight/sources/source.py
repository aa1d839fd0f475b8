"""The one shape all readers have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Literal, Protocol

Kind = Literal["file", "stdin", "journal", "kmsg", "dmesg"]

Progress = Callable[[int], None]
"""Called now and then with the bytes of the source consumed so far (compressed bytes of an archive)."""

BLOCK_BYTES: Final = 256 << 10
"""Read size: small enough to stay in the L2 cache between reading and searching."""


class Source(Protocol):
    """
    Something that yields kernel log bytes.

    ``blocks`` may be iterated once per call and raises :class:`~oomsight.sources.errors.SourceError` when nothing
    can be read; whatever else went wrong on the way (an archive that is cut, records that were overwritten) is in
    ``notes`` when it ends, one line each.
    """

    @property
    def name(self) -> str:
        """Name for people: path, ``<stdin>``, ``journal``, ``/dev/kmsg``, ``dmesg``."""

    @property
    def kind(self) -> Kind:
        """What carries the log."""

    @property
    def size_bytes(self) -> int | None:
        """Bytes to be consumed in total, in the unit :data:`Progress` counts; ``None`` = not known."""

    @property
    def follows(self) -> str | None:
        """Name of the source this one goes on from (an older file of a rotated log); ``None`` = it begins anew."""

    @property
    def notes(self) -> list[str]:
        """What went wrong or was left out while reading, complete once the blocks are used up."""

    def blocks(self, progress: Progress | None = None) -> Iterator[bytes]:
        """Yield the log's bytes in order, in blocks of any size."""
