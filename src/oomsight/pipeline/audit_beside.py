"""What lies beside an audited file and is named in it: ``.env``, ``env_file``, the base of ``extends``, Dockerfiles."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from oomsight.audit.compose.read import includes, is_compose
from oomsight.audit.configs.kinds import config_kind
from oomsight.audit.configs.read import read_config_file
from oomsight.audit.dockerfile.read import read_dockerfile
from oomsight.audit.sniff import HEAD_BYTES
from oomsight.sources.yaml_documents import Document, document, pieces

if TYPE_CHECKING:
    from oomsight.audit.configs.read import ConfigFile
    from oomsight.audit.dockerfile.read import Image
    from oomsight.audit.model import Where
    from oomsight.audit.tree import Node

MAX_TEXT_BYTES: Final = 1 << 20
"""Of a text that is read as a whole: more is no unit, no Dockerfile and no list of variables."""

MAX_ROOTS: Final = 12
SYSTEM: Final = ("/etc/", "/usr/lib/systemd/", "/lib/systemd/", "/run/systemd/", "/usr/local/lib/systemd/")


def text_beside(path: str) -> str | None:
    """
    Return the text of the file at *path*, at most :data:`MAX_TEXT_BYTES` of it; ``None`` = there is none, or it is no
    plain file. What is wrong with it is said where it is audited itself.
    """
    data = _bytes(path)
    return None if data is None else data.decode("utf-8", "replace")


def environment_beside(path: str, where: Where) -> str | None:
    """
    Return the text of the file of variables *path* that the unit at *where* names: beside the unit, or below one of the
    directories it lies in, as in an image or a repository with ``etc/``. ``None`` = not there.
    """
    folder = os.path.dirname(where.path or "")
    if not path.startswith("/"):  # podman takes it from the unit's directory; systemd refuses it
        return text_beside(os.path.join(folder, path))
    roots = [folder]
    while roots[-1] not in {"", "/", "."} and len(roots) < MAX_ROOTS:
        roots.append(os.path.dirname(roots[-1]))
    if not f"{folder}/".startswith(SYSTEM):  # a repository is no host: what lies in this one's /etc says nothing
        roots = [root for root in roots if root != "/"]
    places = [os.path.join(folder, os.path.basename(path)), *(os.path.join(root, path.lstrip("/")) for root in roots)]
    return next((text for place in places if (text := text_beside(place)) is not None), None)


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
    found = document_beside(path)
    return None if found is None else found.root


def document_beside(path: str) -> Document | None:
    """Return the first compose document of the file at *path* with its text; ``None`` = there is none."""
    data = _bytes(path)
    for line, piece in pieces(data) if data is not None else ():
        found = document(line, piece)
        if found.root is not None and (is_compose(found.root) or includes(found.root, path)):
            return found
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
