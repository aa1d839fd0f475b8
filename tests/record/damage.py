"""What a disk does to a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oomsight.sources.history_files import Chunk


def damage(chunk: Chunk, part: str) -> None:
    """Turn a byte in the middle of what stands ready in *chunk*: of the sheet or the needs that its spots call *part*."""
    spot = chunk.spots[part]
    with open(chunk.file.path, "r+b") as file:
        file.seek(chunk.start + chunk.length - spot.back + spot.length // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 255]))
