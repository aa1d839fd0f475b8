"""Kernel modules: which ones the guest needs, and in which order ``insmod`` will take them."""

from __future__ import annotations

import lzma
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    # The port to the host, the disks and their file system. A module that is built in is simply not found.
    "base": ("virtio_pci", "virtio_console", "nvme", "crc32c_generic", "ext4"),
    "zram": ("lz4", "lz4_compress", "lzo", "lzo_rle", "zsmalloc", "zram"),
}
"""Groups of modules; ``mods NAME`` of a scenario loads one."""

_DEPENDS: Final = re.compile(rb"\0depends=([^\0]*)")


def module_name(file: str) -> str:
    """The kernel's name of a module file: ``virtio-rng.ko.xz`` is ``virtio_rng``."""
    return file.split(".ko", 1)[0].replace("-", "_")


def dependencies(module: bytes) -> tuple[str, ...]:
    """The modules that an uncompressed module says it needs (``depends=`` of its .modinfo section)."""
    match = _DEPENDS.search(module)
    return tuple(part.replace("-", "_") for part in match[1].decode().split(",") if part) if match else ()


def load_order(wanted: Iterable[str], read: Callable[[str], bytes | None]) -> dict[str, bytes]:
    """Name -> image of all that is wanted and needed, dependencies first. ``read``: ``None`` for what is built in."""
    images: dict[str, bytes | None] = {}
    order: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in images:  # placed, built in, or further up in a (never seen) cycle
            return
        image = images[name] = read(name)
        if image is not None:
            for needed in dependencies(image):
                add(needed)
            order[name] = image

    for name in wanted:
        add(name)
    return order


def reader(tree: Path) -> Callable[[str], bytes | None]:
    """Reads modules by name from below ``tree`` (``/lib/modules/RELEASE``), decompressed."""
    files = {module_name(path.name): path for path in tree.rglob("*.ko*")}

    def read(name: str) -> bytes | None:
        path = files.get(name)
        if path is None:
            return None
        return lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()

    return read
