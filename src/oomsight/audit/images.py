"""What the name of an image says about the release inside."""

from __future__ import annotations

from typing import Final

from oomsight._lazy import lazy

_TAG = lazy(r"v?(\d{1,3}(?:u\d{1,4}|(?:\.\d{1,4})*(?:_\d{1,4})?))(?![\w])")
_JAVA_IN_TAG = lazy(r"(?:jdk|jre|java|openjdk|temurin|corretto|zulu)-?(\d{1,2})(?![\w.])")
_OWN: Final = {
    "jvm": lazy(r"openjdk|java|eclipse-temurin|amazoncorretto|ibm-semeru-runtimes|sapmachine|.*-(?:jre|jdk|openjdk)"),
    "node": lazy(r"node"), "postgres": lazy(r"postgres|postgresql|postgis"),
}  # fmt: skip
"""Images whose tag is the release of the runtime itself, by runtime."""
LAST_OF: Final = {("openjdk", "8"): "8u342", ("java", "8"): "8u111", ("java", "7"): "7", ("openjdk", "9"): "9.0.4"}
"""Images that are no longer built: what their short tags stand at for ever (hub.docker.com, openjdk and java)."""


def image_release(image: str | None, runtime: str | None) -> str | None:
    """
    Return the release of *runtime* that the name of *image* gives, as :func:`oomsight.audit.runtimes.jvm.parse_version`
    and its like read it; ``None`` = it gives none. A short tag (``:8``, ``:17-jre``) follows the newest update.
    """
    bare = (image or "").partition("@")[0]
    name, _, tag = bare.rpartition("/")[2].lower().partition(":")
    pattern = _OWN.get(runtime or "")
    if pattern is not None and pattern.fullmatch(name):
        found = _TAG.match(tag)
        release = found[1] if found else None
    elif runtime == "jvm":  # tomcat:10-jre17, maven:3.9-eclipse-temurin-21
        inside = _JAVA_IN_TAG.search(tag)
        release = inside[1] if inside else None
    else:
        return None
    if release is not None and (fixed := LAST_OF.get((name, release))):
        return fixed
    return "8u999" if release == "8" and runtime == "jvm" else release
