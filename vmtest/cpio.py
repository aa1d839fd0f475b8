"""
The archive the kernel unpacks as its first root file system: format ``newc``.

Written here because it is forty lines and cpio(1) can neither set the owner without root nor leave out the times; the
same input gives the same bytes. Source: Documentation/driver-api/early-userspace/buffer-format.rst, Linux 6.x.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

_TRAILER: Final = "TRAILER!!!"


class Entry(NamedTuple):
    """One member: a path without leading slash, the whole ``st_mode``, and the content (the target of a link)."""

    name: str
    mode: int
    data: bytes = b""


def directory(name: str) -> Entry:
    """A directory that everybody may enter."""
    return Entry(name, stat.S_IFDIR | 0o755)


def regular(name: str, data: bytes, mode: int = 0o644) -> Entry:
    """A file."""
    return Entry(name, stat.S_IFREG | mode, data)


def link(name: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(name, stat.S_IFLNK | 0o777, target.encode())


def walk(root: Path, prefix: str) -> Iterator[Entry]:
    """A directory tree as entries below ``prefix``, parents first, links kept as links."""
    yield directory(prefix)
    for path in sorted(root.rglob("*")):
        name = f"{prefix}/{path.relative_to(root)}"
        if path.is_symlink():
            yield link(name, str(path.readlink()))
        elif path.is_dir():
            yield directory(name)
        elif path.is_file():
            yield regular(name, path.read_bytes(), path.stat().st_mode & 0o777)


def _padding(length: int) -> bytes:
    return bytes(-length % 4)


def _member(inode: int, entry: Entry) -> bytes:
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    # inode, mode, uid, gid, links, mtime, size, device major and minor (of the file, of the node), name size, checksum
    fields = (inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % value for value in fields) + name
    return head + _padding(len(head)) + entry.data + _padding(len(entry.data))


def archive(entries: Iterable[Entry]) -> bytes:
    """
    The archive, a multiple of 4 bytes long, so that archives can be put one behind the other: the kernel unpacks all of
    them, and a later member of the same name replaces the earlier one.
    """
    members = [_member(inode, entry) for inode, entry in enumerate(entries, 1)]
    return b"".join([*members, _member(0, Entry(_TRAILER, 0))])
