"""What lies beside an audited file and is named in it: ``.env``, ``env_file``, the base of ``extends``, Dockerfiles."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from oomsight.audit.compose.read import is_compose
from oomsight.audit.configs.kinds import config_kind
from oomsight.audit.configs.read import read_config_file
from oomsight.audit.dockerfile.read import read_dockerfile
from oomsight.audit.sniff import HEAD_BYTES
from oomsight.sources.yaml_documents import document, pieces

if TYPE_CHECKING:
    from oomsight.audit.configs.read import ConfigFile
    from oomsight.audit.dockerfile.read import Image
    from oomsight.audit.tree import Node

MAX_TEXT_BYTES: Final = 1 << 20
"""Of a text that is read as a whole: more is no unit, no Dockerfile and no list of variables."""


def text_beside(path: str) -> str | None:
    """
    Return the text of the file at *path*, at most :data:`MAX_TEXT_BYTES` of it; ``None`` = there is none, or it is no
    plain file. What is wrong with it is said where it is audited itself.
    """
    data = _bytes(path)
    return None if data is None else data.decode("utf-8", "replace")


def _bytes(path: str) -> bytes | None:
    if "\0" in path:
        return None
    try:
        # O_NONBLOCK: a pipe that a compose file names must not stop the audit.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with open(handle, "rb") as file:
        try:
            return file.read(MAX_TEXT_BYTES) if stat.S_ISREG(os.fstat(handle).st_mode) else None
        except OSError:
            return None


def compose_beside(path: str) -> Node | None:
    """Return the first compose document of the file at *path*; ``None`` = there is none."""
    data = _bytes(path)
    if data is None:
        return None
    for line, piece in pieces(data):
        root = document(line, piece).root
        if root is not None and is_compose(root):
            return root
    return None


def image_beside(path: str) -> Image | None:
    """Return what the Dockerfile at *path* makes; ``None`` = there is none."""
    text = text_beside(path)
    return None if text is None else read_dockerfile(os.path.normpath(path), text)


def config_beside(path: str) -> ConfigFile | None:
    """Return the settings of the server whose configuration is at *path*; ``None`` = none, or of none known."""
    text = text_beside(path)
    kind = None if text is None else config_kind(os.path.basename(path), text[:HEAD_BYTES].encode())
    return None if text is None or kind is None else read_config_file(kind, os.path.normpath(path), text)
