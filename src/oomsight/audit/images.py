"""What the name of an image says about the release inside."""

from __future__ import annotations

from typing import Final

from oomsight._lazy import lazy

_TAG = lazy(r"v?(\d{1,3}(?:u\d{1,4}|(?:\.\d{1,4})*(?:_\d{1,4})?))(?![\w])|.*?(?:jdk|jre|java)-?(\d{1,2})(?![\w.])")
LAST_OF: Final = {("openjdk", "8"): "8u342", ("java", "8"): "8u111", ("java", "7"): "7", ("openjdk", "9"): "9.0.4"}
"""Images that are no longer built: what their short tags stand at for ever (hub.docker.com, openjdk and java)."""


def image_release(image: str | None) -> str | None:
    """
    Return the release that the tag of *image* gives, as :func:`oomsight.audit.runtimes.jvm.parse_version` and its like
    read it; ``None`` = no tag, ``latest``, a name. A short tag (``:8``, ``:17-jre``) follows the newest update.
    """
    bare = (image or "").partition("@")[0]
    name, _, tag = bare.rpartition("/")[2].partition(":")
    found = _TAG.match(tag)
    if found is None:
        return None
    release = found[1] or found[2]
    if fixed := LAST_OF.get((name.lower(), release)):
        return fixed
    return "8u999" if release == "8" else release
